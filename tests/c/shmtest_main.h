/*
 * shmtest_main.h - part of shmtest.h: how tests register, how one is run in a
 * child and a namespace of its own, and main().
 */
#ifndef SHMTEST_MAIN_H
#define SHMTEST_MAIN_H

/* ---------------------------------------------------------- registration */

struct shmtest { const char *name; void (*fn)(void); bool several_uids; struct shmtest *next; };
static struct shmtest *shmtest_first, **shmtest_last = &shmtest_first;
static const char *shmtest_dir; /* under the shim: this test's directory */

#define TEST_WITH(name_, several_uids_)                                                            \
	static void name_(void);                                                                   \
	static struct shmtest name_##_entry = { #name_, name_, several_uids_, NULL };              \
	__attribute__((constructor)) static void name_##_register(void)                            \
	{                                                                                          \
		*shmtest_last = &name_##_entry;                                                    \
		shmtest_last = &name_##_entry.next;                                                \
	}                                                                                          \
	static void name_(void)

#define TEST(name_) TEST_WITH(name_, false)
/* For a test whose processes use the namespace as several users (system scope). Skipped without root. */
#define TEST_SEVERAL_UIDS(name_) TEST_WITH(name_, true)

/* ------------------------------------------------------------ the runner */

static inline int shmtest_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static bool shmtest_all_digits(const char *s) { return *s && strspn(s, "0123456789") == strlen(s); }

/* Only what the shim is known to keep may lie in a namespace's directory. */
static inline int shmtest_inspect(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	const char *name = path + ftw->base, *rest = path + strlen(shmtest_dir);
	(void)flag;
	bool known = ftw->level == 0 || strncmp(name, "ns.", 3) == 0;
	if (S_ISDIR(st->st_mode))
		known |= strncmp(name, ".shmshim", 8) == 0 || !strcmp(name, "segments") ||
			 !strcmp(name, "live");
	else if (S_ISREG(st->st_mode) && strstr(rest, "/segments/"))
		known |= strncmp(name, "SYSV", 4) == 0 && strlen(name) > 13 && name[12] == '.' &&
			 shmtest_all_digits(name + 13);
	else if (S_ISREG(st->st_mode) && strstr(rest, "/live/"))
		known |= shmtest_all_digits(name);
	else
		known |= S_ISREG(st->st_mode) && (!strcmp(name, "registry") || !strcmp(name, "ipc"));
	if (!known)
		FAIL("left behind in the namespace's directory: %s", rest);
	return 0;
}

/*
 * Waits for a test, but not for ever. No signal handler: most programs under the shim have none, and it serves those that
 * have some in another way. Tests that want one install it.
 */
static inline bool shmtest_wait(pid_t pid, int *status)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (time_t end = time(NULL) + WATCHDOG_SECS; time(NULL) < end;) {
		if (waitpid(pid, status, WNOHANG) == pid)
			return true;
		sigtimedwait(&child, NULL, &(struct timespec){ .tv_sec = 1 });
	}
	return false;
}

/* Ends whatever a test left running: its process group, then our adopted children. */
static inline void shmtest_end_stragglers(pid_t group)
{
	char path[64], list[4096];
	kill(-group, SIGKILL);
	snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0)
			return;
		int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof list - 1);
		if (fd >= 0)
			close(fd);
		if (n <= 0)
			return;
		list[n] = 0;
		for (char *p = strtok(list, " "); p; p = strtok(NULL, " "))
			if (atoi(p) > 1)
				kill(atoi(p), SIGKILL);
		waitpid(-1, NULL, 0);
	}
}

/*
 * With SHMTEST_EXEC a test executes its program again, which runs this test alone: shmshim-static heeds the environment that a
 * program was started with, and each test has a namespace of its own in it.
 */
enum { NOTES_FD = 250 };

static inline void shmtest_execute(const struct shmtest *t)
{
	setenv("SHMTEST_ONE", t->name, 1);
	fcntl(NOTES_FD, F_SETFD, 0);
	execl("/proc/self/exe", program_invocation_name, (char *)NULL);
	FATAL("/proc/self/exe: %s", errno_name(errno));
}

static inline void *shmtest_map_notes(int fd)
{
	int flags = fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
	return mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, flags, fd, 0);
}

static inline void shmtest_executed(const char *name)
{
	notes = shmtest_map_notes(NOTES_FD);
	close(NOTES_FD);
	unsetenv("SHMTEST_ONE");
	for (const struct shmtest *t = shmtest_first; t; t = t->next)
		if (!strcmp(t->name, name))
			t->fn();
	exit(0);
}

static inline void shmtest_child(const struct shmtest *t)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	if (t->several_uids)
		need_root();
	fresh_namespace();
	if (getenv("SHMTEST_EXEC"))
		shmtest_execute(t);
	t->fn();
	exit(0);
}

/* 'p', 'f', 's' or 'n' for passed, failed, skipped, not on this side. */
static inline char shmtest_run(const struct shmtest *t, bool verbose)
{
	char dir[4096];
	const char *base = getenv("SHMTEST_BASE");
	memset(notes, 0, offsetof(struct shmtest_notes, log));
	if (under_shim()) {
		snprintf(dir, sizeof dir, "%s/shmtest.XXXXXX", base ? base : "/dev/shm");
		if (!mkdtemp(dir) || chmod(dir, t->several_uids ? 01777 : 0700) < 0) {
			printf("FAIL %s\n    %s: %s\n", t->name, dir, errno_name(errno));
			return 'f';
		}
		shmtest_dir = dir;
		setenv("SHMSHIM_DIR", dir, 1);
		setenv("SHMSHIM_SCOPE", t->several_uids ? "system" : "user", 1);
	}
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		shmtest_child(t);
	int status = 0;
	bool hung = pid > 0 && !shmtest_wait(pid, &status);
	shmtest_end_stragglers(pid);
	if (hung)
		fail_at("the test", 0, "not finished after %d seconds", WATCHDOG_SECS);
	else if (pid < 0)
		fail_at("the test", 0, "fork: %s", errno_name(errno));
	else
		check_status("the test", 0, status);
	if (under_shim()) {
		nftw(dir, shmtest_inspect, 16, FTW_PHYS);
		int removed = nftw(dir, shmtest_remove, 16, FTW_PHYS | FTW_DEPTH);
		/* What serves a program without the library may be a moment behind its end. */
		for (int i = 0; getenv("SHMTEST_EXEC") && removed < 0 && i < 500; i++) {
			usleep(10000);
			removed = nftw(dir, shmtest_remove, 16, FTW_PHYS | FTW_DEPTH);
		}
		if (removed < 0)
			FAIL("%s could not be removed: %s", dir, errno_name(errno));
	}
	/* One check is the exit status, which proves little alone. */
	if (!notes->failures && !notes->left_out && notes->checks < 2)
		fail_at("the test", 0, "nothing was checked");
	if (notes->failures) {
		size_t len = notes->used < LOG_BYTES ? notes->used : LOG_BYTES;
		printf("FAIL %s\n%.*s", t->name, (int)len, notes->log);
		if (notes->failures > MAX_NOTES)
			printf("    and %d more\n", notes->failures - MAX_NOTES);
		return 'f';
	}
	switch (notes->left_out) {
	case SKIPPED:
		printf("SKIP %s: %s\n", t->name, notes->skip_reason);
		return 's';
	case NOT_HERE:
		if (verbose)
			printf("-    %s: %s\n", t->name, notes->skip_reason);
		return 'n';
	default:
		if (verbose)
			printf("ok   %s\n", t->name);
		return 'p';
	}
}

/* [-l] [-v] [part of a name ...]; the last line says how many passed, failed, were skipped. */
int main(int argc, char **argv)
{
	int passed = 0, failed = 0, skipped = 0, first = 1;
	bool list = false, verbose = false;
	for (; first < argc && argv[first][0] == '-'; first++) {
		list |= !strcmp(argv[first], "-l");
		verbose |= !strcmp(argv[first], "-v");
	}
	if (getenv("SHMTEST_ONE"))
		shmtest_executed(getenv("SHMTEST_ONE"));
	int fd = -1;
	if (getenv("SHMTEST_EXEC")) {
		int made = memfd_create("notes", 0);
		fd = dup3(made, NOTES_FD, O_CLOEXEC);
		close(made);
		if (ftruncate(fd, sizeof *notes) < 0)
			return perror("memfd_create"), 2;
	}
	notes = shmtest_map_notes(fd);
	if (notes == MAP_FAILED)
		return perror("mmap"), 2;
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (const struct shmtest *t = shmtest_first; t; t = t->next) {
		bool wanted = first >= argc;
		for (int i = first; i < argc; i++)
			wanted |= strstr(t->name, argv[i]) != NULL;
		if (!wanted)
			continue;
		if (list) {
			puts(t->name);
			continue;
		}
		char r = shmtest_run(t, verbose);
		passed += r == 'p', failed += r == 'f', skipped += r == 's';
	}
	if (!list)
		printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}

#endif
