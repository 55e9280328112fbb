/* refusals.h - a place that cannot be trusted is refused: with an errno, with a reason that names it, and left alone. */
#ifndef REFUSALS_H
#define REFUSALS_H

#include "proctest.h"

/* A base directory inside the test's. Its name may be anything behind "ns."; the runner removes it. */
static inline char *own_base(void)
{
	static char base[8][PATH_MAX];
	static int next;
	char *b = base[next++ % 8];
	const char *dir = getenv("SHMTEST_HOME") ? getenv("SHMTEST_HOME") : getenv("SHMSHIM_DIR");
	setenv("SHMTEST_HOME", dir, 1);
	snprintf(b, PATH_MAX, "%s/ns.XXXXXX", dir);
	if (!mkdtemp(b))
		FATAL("mkdtemp %s: %s", b, errno_name(errno));
	return b;
}
static inline void use_base(const char *base, const char *scope)
{
	setenv("SHMSHIM_DIR", base, 1);
	setenv("SHMSHIM_SCOPE", scope, 1);
}

/* What helper_steps prints and traces in the present environment. */
static struct run refused_run;
static char traced[64 * 1024];
static inline void run_traced(char *const argv[])
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMTEST_HOME"));
	unlink(path);
	setenv("SHMSHIM_TRACE", path, 1);
	run_program(&refused_run, argv);
	unsetenv("SHMSHIM_TRACE");
	traced[0] = 0;
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, traced, sizeof traced - 1);
		traced[n < 0 ? 0 : n] = 0;
		close(fd);
	}
	unlink(path);
}

/* Every one of the four calls is refused in this environment, by an errno of its manual page; the trace names `path`. */
static inline void refused_at(const char *file, int line, const char *what, const char *path)
{
	static const struct { const char *step, *call; } expected[] = {
		{ "get", "shmget" }, { "get", "shmget" }, { "at", "shmat" },
		{ "stat", "shmctl" }, { "rmid", "shmctl" }, { "count", "shmctl" }, { "dt", "shmdt" },
	};
	char text[sizeof refused_run.out], *save = NULL;
	size_t i = 0;
	run_traced(STEPS_ARGV("get,0x181,4096,01600", "get,0,1,0600", "id,0", "at", "stat", "rmid", "count", "dt," FREE_AREA_TEXT "00000"));
	COUNT_CHECK();
	if (refused_run.status != 0)
		fail_at(file, line, "%s: the program ends with status %#x", what, refused_run.status);
	strcpy(text, refused_run.out);
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save), i++) {
		char step[32] = "", name[32] = "";
		int err = 0;
		COUNT_CHECK();
		if (i >= sizeof expected / sizeof *expected)
			break;
		sscanf(l, "%31s -1 %31s", step, name);
		for (int e = 1; e < 134; e++)
			if (strerrorname_np(e) && !strcmp(strerrorname_np(e), name))
				err = e;
		if (strcmp(step, expected[i].step) != 0 || !in_the_manual(expected[i].call, err))
			fail_at(file, line, "%s: \"%s\" is no refusal that the manual of %s knows", what, l, expected[i].call);
	}
	COUNT_CHECK();
	if (i != sizeof expected / sizeof *expected)
		fail_at(file, line, "%s: %zu lines", what, i);
	/* Among the traced lines there must be refusals that say which place it is. */
	COUNT_CHECK();
	if (!strstr(traced, path))
		fail_at(file, line, "%s: the trace does not name %s:\n%s", what, path, traced);
}
#define REFUSED(what, path) refused_at(__FILE__, __LINE__, what, path)

/* A refusal repairs nothing: what lstat says of a path before and after. */
struct place { mode_t mode; uid_t uid; ino_t ino; off_t size; nlink_t nlink; };
static inline struct place place_of(const char *path)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return (struct place){ 0 };
	return (struct place){ st.st_mode, st.st_uid, st.st_ino, S_ISREG(st.st_mode) ? st.st_size : 0,
			       S_ISREG(st.st_mode) ? st.st_nlink : 0 };
}
/* Field by field: what pads the structure is nobody's. */
static inline bool is_same_place(const struct place *a, const struct place *b)
{
	return a->mode == b->mode && a->uid == b->uid && a->ino == b->ino && a->size == b->size && a->nlink == b->nlink;
}
#define CHECK_SAME_PLACE(before, path)                                                             \
	do {                                                                                       \
		struct place b_ = (before), a_ = place_of(path);                                   \
		COUNT_CHECK();                                                                     \
		if (!is_same_place(&a_, &b_))                                              \
			FAIL("%s was touched: mode %o, uid %u; it had mode %o, uid %u", path, a_.mode, a_.uid, b_.mode, b_.uid); \
	} while (0)

#endif
