/*
 * proctest.h - what the tests about processes share, on top of shmtest.h:
 * programs that are started and listened to, the state of a process before and
 * after a call, and the whole life of a segment as one call.
 */
#ifndef PROCTEST_H
#define PROCTEST_H

#include "shmtest.h"
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>

#define SHIM_ONLY()                                                                                \
	do {                                                                                       \
		if (!under_shim())                                                                 \
			NOT_ON_THIS_SIDE("a matter of the shim alone");                            \
	} while (0)

/* ------------------------------------------------------ a segment's life */

struct life { const char *failed; int err; };

/* Made or found, attached, written, asked about, detached, removed. No check, so it may run anywhere. */
static inline struct life whole_life(key_t key, size_t size)
{
	struct shmid_ds d;
	struct life life = { NULL, 0 };
	int id = shmget(key, size, IPC_CREAT | 0600);
	if (id < 0)
		return (struct life){ "shmget", errno };
	char *p = shmat(id, NULL, 0);
	if (p == (char *)-1) {
		life = (struct life){ "shmat", errno };
	} else {
		p[0] = 1;
		p[size - 1] = 2;
		if (shmctl(id, IPC_STAT, &d) < 0)
			life = (struct life){ "IPC_STAT", errno };
		else if (d.shm_segsz != size)
			life = (struct life){ "shm_segsz", 0 };
		if (p[0] != 1 || p[size - 1] != 2)
			life = (struct life){ "contents", 0 };
		if (shmdt(p) < 0 && !life.failed)
			life = (struct life){ "shmdt", errno };
	}
	if (shmctl(id, IPC_RMID, NULL) < 0 && !life.failed)
		life = (struct life){ "IPC_RMID", errno };
	return life;
}

#define CHECK_LIFE(key)                                                                            \
	do {                                                                                       \
		struct life l_ = whole_life(key, 3 * PAGE - 5);                                    \
		COUNT_CHECK();                                                                     \
		if (l_.failed)                                                                     \
			FAIL("the life of a segment ends at %s: %s", l_.failed, errno_name(l_.err)); \
	} while (0)

/* Is this an errno that the manual page of the call names? */
static inline bool in_the_manual(const char *call, int err)
{
	static const int get[] = { EACCES, EEXIST, EINVAL, ENFILE, ENOENT, ENOMEM, ENOSPC, EPERM, 0 };
	static const int at[] = { EACCES, EIDRM, EINVAL, ENOMEM, 0 };
	static const int dt[] = { EINVAL, 0 };
	static const int ctl[] = { EACCES, EFAULT, EIDRM, EINVAL, ENOMEM, EOVERFLOW, EPERM, 0 };
	const int *list = !strcmp(call, "shmget") ? get
			: !strcmp(call, "shmat")  ? at
			: !strcmp(call, "shmdt")  ? dt
						  : ctl;
	for (; *list; list++)
		if (*list == err)
			return true;
	return false;
}

/* How many segments there are, by SHM_INFO. */
static inline int segments_in_all(void)
{
	struct shm_info info;
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	return info.used_ids;
}

/* How many lines /proc/sysvipc/shm has, its header apart. */
static inline int lines_in_proc(void)
{
	char line[512];
	int n = -1;
	FILE *f = fopen("/proc/sysvipc/shm", "r");
	if (!f)
		FATAL("/proc/sysvipc/shm: %s", errno_name(errno));
	while (fgets(line, sizeof line, f))
		n++;
	fclose(f);
	return n;
}

/* The attaches that /proc/self/maps shows, without malloc or stdio. */
static inline int attaches_in_maps(char **addr, int max)
{
	static char text[1 << 20];
	size_t len = 0;
	int n = 0, fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
	for (ssize_t got; fd >= 0 && (got = read(fd, text + len, sizeof text - 1 - len)) > 0;)
		len += (size_t)got;
	if (fd >= 0)
		close(fd);
	text[len] = 0;
	for (char *line = text, *end; *line; line = end) {
		end = strchrnul(line, '\n');
		end += *end == '\n';
		char *name = memmem(line, (size_t)(end - line), "/SYSV", 5);
		if (name && n < max)
			addr[n] = (char *)strtoul(line, NULL, 16);
		n += name != NULL;
	}
	return n;
}

/* ------------------------------------------------------------- programs */

/* A program that was started, with its standard input and output in our hands. */
struct talk { pid_t pid; int in, out; };

static inline struct talk talk_to(char *const argv[])
{
	int in[2], out[2], forked[2];
	char c;
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(forked, O_CLOEXEC) < 0)
		FATAL("pipe2: %s", errno_name(errno));
	struct talk t = { .pid = fork(), .in = in[1], .out = out[0] };
	if (t.pid < 0)
		FATAL("fork: %s", errno_name(errno));
	if (t.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		/*
		 * Under the shim what the child inherited counts at least until its parent has left fork.
		 * The program must not be there before, to count.
		 */
		close(forked[1]);
		(void)!read(forked[0], &c, 1);
		execv(argv[0], argv);
		FATAL("%s: %s", argv[0], errno_name(errno));
	}
	close(forked[0]);
	close(forked[1]);
	close(in[0]);
	close(out[1]);
	return t;
}

/* Everything up to the next newline (which is dropped); false at the end. */
static inline bool talk_line(struct talk *t, char *line, size_t size)
{
	size_t n = 0;
	char c;
	ssize_t got;
	while ((got = read(t->out, &c, 1)) == 1 || (got < 0 && errno == EINTR)) {
		if (got == 1 && c == '\n')
			break;
		if (got == 1 && n + 1 < size)
			line[n++] = c;
	}
	line[n] = 0;
	return got == 1;
}
#define TALK_EXPECT(t, expected)                                                                   \
	do {                                                                                       \
		char line_[512];                                                                   \
		talk_line(t, line_, sizeof line_);                                                 \
		CHECK_STR(line_, expected);                                                        \
	} while (0)

static inline void talk_go(struct talk *t)
{
	if (write(t->in, "g", 1) != 1)
		FATAL("a program does not listen: %s", errno_name(errno));
}
static inline int talk_end(struct talk *t)
{
	close(t->in);
	int status = wait_for(t->pid);
	close(t->out);
	return status;
}

/* What a program printed until it ended. */
struct run { int status; size_t len; char out[64 * 1024]; };

static inline void run_program(struct run *r, char *const argv[])
{
	struct talk t = talk_to(argv);
	ssize_t got;
	r->len = 0;
	while ((got = read(t.out, r->out + r->len, sizeof r->out - 1 - r->len)) > 0 ||
	       (got < 0 && errno == EINTR))
		r->len += got > 0 ? (size_t)got : 0;
	r->out[r->len] = 0;
	r->status = talk_end(&t);
}

/* helper_steps.c tells which steps there are; it prints a line for each. */
#define STEPS_ARGV(...) ((char *const[]){ (char *)built("helper_steps"), ##__VA_ARGS__, NULL })
#define STEPS(r, ...) run_program(r, STEPS_ARGV(__VA_ARGS__))
#define TALK_STEPS(...) talk_to(STEPS_ARGV(__VA_ARGS__))

/* A program of the test's own, to be given another owner or mode. */
static inline void copy_file(const char *from, const char *to)
{
	char block[64 * 1024];
	int in = MUST(open(from, O_RDONLY)), out = MUST(open(to, O_CREAT | O_EXCL | O_WRONLY, 0755));
	for (ssize_t n; (n = read(in, block, sizeof block)) > 0;)
		REQUIRE(write(out, block, (size_t)n) == n);
	close(in);
	close(out);
}

/* For tests in which another user starts programs: one can clone into a directory that others may not enter. */
static inline void need_programs_for(uid_t uid)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(setresuid(uid, uid, uid) < 0 || access(built("helper_steps"), X_OK) < 0);
	if (pid < 0 || wait_for(pid) != 0)
		SKIP("the programs lie where other users may not go");
}

/* The steps print exactly these lines, and end well. */
#define EXPECT_STEPS(expected, ...)                                                                \
	do {                                                                                       \
		static struct run r_;                                                              \
		STEPS(&r_, __VA_ARGS__);                                                           \
		CHECK_EQ(r_.status, 0);                                                            \
		CHECK_STR(r_.out, expected);                                                       \
	} while (0)

/* --------------------------------------------------------- descriptors */

enum { FDS_WATCHED = 256 };
struct fds { struct { int flags; dev_t dev; ino_t ino; } fd[FDS_WATCHED]; };

static inline void fds_now(struct fds *s)
{
	memset(s, 0, sizeof *s);
	for (int i = 0; i < FDS_WATCHED; i++) {
		struct stat st;
		s->fd[i].flags = fcntl(i, F_GETFD);
		if (s->fd[i].flags >= 0 && fstat(i, &st) == 0) {
			s->fd[i].dev = st.st_dev;
			s->fd[i].ino = st.st_ino;
		}
	}
}
static inline void fds_check(const char *file, int line, const struct fds *before, const char *what)
{
	struct fds now;
	fds_now(&now);
	COUNT_CHECK();
	for (int i = 0; i < FDS_WATCHED; i++)
		if (memcmp(&now.fd[i], &before->fd[i], sizeof now.fd[i]) != 0)
			fail_at(file, line, "%s: descriptor %d is not what it was (flags %d, were %d)",
				what, i, now.fd[i].flags, before->fd[i].flags);
}
#define CHECK_FDS(before, what) fds_check(__FILE__, __LINE__, before, what)

/* From here on the process has not one descriptor left. */
static inline void use_up_descriptors(void)
{
	MUST(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 64, 64 }));
	while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		;
	REQUIRE(errno == EMFILE);
}

/* ---------------------------------------------------------------- others */

/* How many entries a directory has; -1 if it cannot be read. */
static inline int entries_of(const char *path)
{
	int n = 0;
	DIR *d = opendir(path);
	if (!d)
		return -1;
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n;
}

/* unshare(2); for an ordinary user inside a user namespace in which he remains who he is. 0 or -1. */
static inline int unshare_as_self(int flags)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];
	if (unshare(flags) == 0)
		return 0;
	if (unshare(CLONE_NEWUSER | flags) < 0)
		return -1;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1", uid, uid);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "%u %u 1", gid, gid);
	write_file("/proc/self/gid_map", map);
	return 0;
}

/* Where the shim keeps this namespace, by the rule its documentation gives. */
static inline const char *runtime_dir(void)
{
	static char path[PATH_MAX];
	const char *base = getenv("SHMSHIM_DIR"), *scope = getenv("SHMSHIM_SCOPE");
	char user[32] = "", session[32] = "";
	if (!scope || strncmp(scope, "system", 6) != 0)
		snprintf(user, sizeof user, "-uid%u", geteuid());
	if (scope && strstr(scope, ",session"))
		snprintf(session, sizeof session, "-session%d", getsid(0));
	snprintf(path, sizeof path, "%s/.shmshim%s%s", base ? base : "/dev/shm", user, session);
	return path;
}
static inline const char *in_runtime_dir(const char *name)
{
	static char path[4][PATH_MAX + 64];
	static int next;
	char *p = path[next++ % 4];
	snprintf(p, sizeof path[0], "%s/%s", runtime_dir(), name);
	return p;
}
/* The file of a segment. */
static inline const char *segment_file(key_t key, int id)
{
	char name[64];
	snprintf(name, sizeof name, "segments/SYSV%08x.%d", (unsigned)key, id);
	return in_runtime_dir(name);
}
/* The file of the only segment that was made with this key, whose id the caller does not know. */
static inline const char *segment_file_of_key(key_t key)
{
	static char path[PATH_MAX + 64];
	char pattern[64];
	glob_t found;
	snprintf(pattern, sizeof pattern, "segments/SYSV%08x.*", (unsigned)key);
	if (glob(in_runtime_dir(pattern), 0, NULL, &found))
		FATAL("there is no %s", pattern);
	snprintf(path, sizeof path, "%s", found.gl_pathv[0]);
	globfree(&found);
	return path;
}
/* How many files of segments the shim keeps. */
static inline int files_of_segments(void) { return entries_of(in_runtime_dir("segments")); }

/* A few random bits, the same in every run. */
static inline unsigned next_random(unsigned *state)
{
	*state = *state * 1103515245u + 12345u;
	return *state >> 16 & 0x7fff;
}

static inline void thread_start(pthread_t *t, void *(*fn)(void *), void *arg)
{
	int err = pthread_create(t, NULL, fn, arg);
	if (err)
		FATAL("pthread_create: %s", errno_name(err));
}

#endif
