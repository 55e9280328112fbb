/*
 * shmtest.h - a test harness in one header, for programs that use System V
 * shared memory and must behave the same on the kernel and under the shim.
 *
 *     #include "shmtest.h"          // first: it defines _GNU_SOURCE
 *
 *     TEST(a_new_segment_is_zeroed)
 *     {
 *         int id = MUST(shmget(IPC_PRIVATE, 5000, 0600));
 *         char *p = (char *)MUST(shmat(id, NULL, 0));
 *         CHECK_EQ(p[8191], 0);
 *         TEST_ERRNO(shmdt(p + 1), EINVAL);
 *     }
 *
 * The header brings main(). Every TEST runs in a forked child of its own and
 * in an IPC namespace of its own: on the kernel by unshare(2), under the shim
 * (environment SHMTEST_UNDER_SHIM=1) by a fresh SHMSHIM_DIR. A crash, a hang
 * and a test that checked nothing are failures of that test; the next one runs.
 *
 *   CHECK, CHECK_EQ, TEST_ERRNO, TEST_RES, TEST_SUCC   note a failure, go on
 *   MUST, REQUIRE                                      end the process that failed
 *   SKIP(reason)                                       ends the process, the test counts as skipped
 *   IN_CHILD { ... }                                   a forked child; it must reach the end of the block
 *
 * What a forked child notes counts for its test: notes go through a page that
 * all processes of a test share, so they need no descriptor and no stdio.
 */
#ifndef SHMTEST_H
#define SHMTEST_H

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

#define PAGE 4096ul
/* An address range that no loader, heap or stack of a 64-bit program uses. */
#define FREE_AREA ((char *)0x300000000000ul)
/* No mapping ever lies here. */
#define UNMAPPED ((void *)0x2ffffff00000ul)
#define KERNEL_ADDRESS ((void *)0xffff888000000000ul)

/* ------------------------------------------------------------- the notes */

enum { LOG_BYTES = 64 * 1024, MAX_NOTES = 40, WATCHDOG_SECS = 120, ALREADY_NOTED = 99 };

struct shmtest_notes {
	atomic_int failures, checks, skipped;
	atomic_size_t used;
	char skip_reason[256];
	char log[LOG_BYTES];
};
static struct shmtest_notes *notes;

static inline const char *errno_name(int e)
{
	const char *name = e ? strerrorname_np(e) : "success";
	return name ? name : "an unknown errno";
}

__attribute__((format(printf, 3, 4))) static inline void fail_at(const char *file, int line,
								 const char *fmt, ...)
{
	char text[1024];
	int saved = errno;
	if (atomic_fetch_add(&notes->failures, 1) >= MAX_NOTES)
		return;
	/* Line 0 is the test as a whole. */
	int n = line ? snprintf(text, sizeof text, "    %s:%d: ", file, line) :
		       snprintf(text, sizeof text, "    %s: ", file);
	va_list ap;
	va_start(ap, fmt);
	int more = vsnprintf(text + n, sizeof text - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n += more < 0 ? 0 : more;
	if (n > (int)sizeof text - 2)
		n = (int)sizeof text - 2;
	text[n++] = '\n';
	size_t at = atomic_fetch_add(&notes->used, (size_t)n);
	if (at + (size_t)n <= LOG_BYTES)
		memcpy(notes->log + at, text, (size_t)n);
	errno = saved;
}

#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
#define FATAL(...) (FAIL(__VA_ARGS__), _exit(ALREADY_NOTED))
#define COUNT_CHECK() ((void)atomic_fetch_add(&notes->checks, 1))

static inline __attribute__((noreturn, format(printf, 1, 2))) void skip_test(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (!atomic_exchange(&notes->skipped, 1))
		vsnprintf(notes->skip_reason, sizeof notes->skip_reason, fmt, ap);
	va_end(ap);
	_exit(0);
}
#define SKIP(...) skip_test(__VA_ARGS__)

/* ------------------------------------------------------------ the checks */

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!(cond))                                                                       \
			FAIL("%s is false", #cond);                                                \
	} while (0)

#define CHECK_EQ(actual, expected)                                                                 \
	do {                                                                                       \
		long long a_ = (long long)(actual), e_ = (long long)(expected);                    \
		COUNT_CHECK();                                                                     \
		if (a_ != e_)                                                                      \
			FAIL("%s is %lld (%#llx), expected %s = %lld (%#llx)", #actual, a_, a_,    \
			     #expected, e_, e_);                                                   \
	} while (0)

#define CHECK_STR(actual, expected)                                                                \
	do {                                                                                       \
		const char *a_ = (actual), *e_ = (expected);                                       \
		COUNT_CHECK();                                                                     \
		if (strcmp(a_, e_) != 0)                                                           \
			FAIL("%s is\n        \"%s\", expected\n        \"%s\"", #actual, a_, e_);  \
	} while (0)

/* A time_t set by the call made between two readings of time(2). */
#define CHECK_WITHIN(actual, from, to)                                                             \
	do {                                                                                       \
		long long a_ = (long long)(actual), f_ = (long long)(from), t_ = (long long)(to);  \
		COUNT_CHECK();                                                                     \
		if (a_ < f_ || a_ > t_)                                                            \
			FAIL("%s is %lld, expected %lld..%lld", #actual, a_, f_, t_);              \
	} while (0)

/* The call must return -1 (or a pointer of that value) and set this errno. */
#define TEST_ERRNO(call, expected)                                                                 \
	do {                                                                                       \
		errno = 0;                                                                         \
		long r_ = (long)(call);                                                            \
		int e_ = errno;                                                                    \
		COUNT_CHECK();                                                                     \
		if (r_ != -1)                                                                      \
			FAIL("%s = %ld (%#lx), expected -1 %s", #call, r_, (unsigned long)r_,      \
			     errno_name(expected));                                                \
		else if (e_ != (expected))                                                         \
			FAIL("%s = -1 %s, expected %s", #call, errno_name(e_),                     \
			     errno_name(expected));                                                \
	} while (0)

/* The call must not return -1, and `cond`, which may use `_ret`, must hold. */
#define TEST_RES(call, cond)                                                                       \
	do {                                                                                       \
		errno = 0;                                                                         \
		long _ret = (long)(call);                                                          \
		int e_ = errno;                                                                    \
		COUNT_CHECK();                                                                     \
		if (_ret == -1)                                                                    \
			FAIL("%s = -1 %s, expected success", #call, errno_name(e_));               \
		else if (!(cond))                                                                  \
			FAIL("%s = %ld (%#lx), expected %s", #call, _ret, (unsigned long)_ret,     \
			     #cond);                                                               \
	} while (0)

#define TEST_SUCC(call) TEST_RES(call, true)

/* Set-up that has to work: the value of the call, or the end of this process. */
#define MUST(call)                                                                                 \
	({                                                                                         \
		errno = 0;                                                                         \
		__auto_type m_ = (call);                                                           \
		if ((long)m_ == -1)                                                                \
			FATAL("%s = -1 %s", #call, errno_name(errno));                             \
		m_;                                                                                \
	})

#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!(cond))                                                                       \
			FATAL("%s is false (errno %s)", #cond, errno_name(errno));                 \
	} while (0)

/* ---------------------------------------------------- tables of errnos */

/* err 0: the call must succeed. `what` says why this row is as it is. */
struct get_case { const char *what; key_t key; size_t size; int flags, err; };
struct at_case { const char *what; int id; const void *addr; int flags, err; };
struct ctl_case { const char *what; int id, cmd; void *buf; int err; };

static inline void case_at(const char *file, int line, const char *what, const char *call, long r,
			   int e, int expected)
{
	COUNT_CHECK();
	if (r == -1 ? e != expected : expected != 0)
		fail_at(file, line, "%s: %s = %ld %s, expected %s", what, call, r,
			r == -1 ? errno_name(e) : "", errno_name(expected));
}

#define GET_CASES(table)                                                                           \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct get_case *c_ = &(table)[i_];                                          \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "shmget(%#x, %zu, %#o)", (unsigned)c_->key, c_->size,      \
			 (unsigned)c_->flags);                                                     \
		errno = 0;                                                                         \
		long r_ = shmget(c_->key, c_->size, c_->flags);                                    \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

#define AT_CASES(table)                                                                            \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct at_case *c_ = &(table)[i_];                                           \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "shmat(%d, %p, %#o)", c_->id, (void *)c_->addr,            \
			 (unsigned)c_->flags);                                                     \
		errno = 0;                                                                         \
		long r_ = (long)shmat(c_->id, c_->addr, c_->flags);                                \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

#define CTL_CASES(table)                                                                           \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct ctl_case *c_ = &(table)[i_];                                          \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "shmctl(%d, %d, %p)", c_->id, c_->cmd, c_->buf);           \
		errno = 0;                                                                         \
		long r_ = shmctl(c_->id, c_->cmd, (struct shmid_ds *)c_->buf);                     \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

/* ------------------------------------------------------------- processes */

static inline void check_status(const char *file, int line, int status)
{
	COUNT_CHECK();
	if (WIFSIGNALED(status))
		fail_at(file, line, "died of SIG%s", sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != ALREADY_NOTED)
		fail_at(file, line, "exited with status %d", WEXITSTATUS(status));
}

static inline int wait_for(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			FATAL("waitpid: %s", errno_name(errno));
	return status;
}
/* Waits for a forked child, which must exit with 0. */
#define REAP(pid) check_status(__FILE__, __LINE__, wait_for(pid))

/* Runs fn(arg) in a forked child; its wait status (0 when fn returned). */
static inline int in_child(void (*fn)(void *), void *arg)
{
	pid_t pid = fork();
	if (pid < 0)
		FATAL("fork: %s", errno_name(errno));
	if (pid == 0) {
		fn(arg);
		_exit(0);
	}
	return wait_for(pid);
}

static inline int child_begin(const char *file, int line)
{
	pid_t pid = fork();
	if (pid < 0)
		FATAL("fork: %s", errno_name(errno));
	if (pid > 0)
		check_status(file, line, wait_for(pid));
	return pid == 0;
}
/* A block for a forked child, waited for at its end. No break, no return inside. */
#define IN_CHILD for (int child_ = child_begin(__FILE__, __LINE__); child_; _exit(0))

/* One process waits until another says go. Make it before the fork. */
struct gate { int fd[2]; };
static inline struct gate gate_make(void)
{
	struct gate g;
	if (pipe(g.fd) < 0)
		FATAL("pipe: %s", errno_name(errno));
	return g;
}
static inline void gate_open(struct gate *g)
{
	if (write(g->fd[1], "g", 1) != 1)
		FATAL("a gate could not be opened: %s", errno_name(errno));
}
static inline void gate_wait(struct gate *g)
{
	char c;
	ssize_t n;
	while ((n = read(g->fd[0], &c, 1)) < 0 && errno == EINTR)
		;
	if (n != 1)
		FATAL("a gate was never opened");
}

/* Zeroed memory that this process and its future children share, without shm. */
static inline void *shared_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		FATAL("mmap: %s", errno_name(errno));
	return p;
}

/* Returns when the second of time(2) is another than at the call. */
static inline time_t next_second(void)
{
	time_t then = time(NULL);
	struct timespec at = { .tv_sec = then + 1 };
	do {
		clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL);
		at.tv_nsec += 1000000; /* time(2) reads a clock that ticks more slowly */
	} while (time(NULL) == then);
	return time(NULL);
}

/* --------------------------------------------------- memory, by touching */

static sigjmp_buf shmtest_jump;
static inline void shmtest_caught(int sig) { siglongjmp(shmtest_jump, sig); }

/* 0 when the byte can be read or written, else the signal that came. */
static inline int touch(volatile char *p, bool writing)
{
	struct sigaction act = { .sa_handler = shmtest_caught }, segv, bus;
	sigaction(SIGSEGV, &act, &segv);
	sigaction(SIGBUS, &act, &bus);
	int sig = sigsetjmp(shmtest_jump, 1);
	if (sig == 0) {
		char c = *p;
		if (writing)
			*p = c;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return sig;
}
#define READABLE(p) (touch((volatile char *)(p), false) == 0)
#define WRITABLE(p) (touch((volatile char *)(p), true) == 0)

/* -------------------------------------------------------------- segments */

static inline struct shmid_ds stat_of_at(const char *file, int line, int id)
{
	struct shmid_ds d;
	if (shmctl(id, IPC_STAT, &d) < 0) {
		fail_at(file, line, "IPC_STAT of %d: %s", id, errno_name(errno));
		_exit(ALREADY_NOTED);
	}
	return d;
}
#define stat_of(id) stat_of_at(__FILE__, __LINE__, id)
#define nattch_of(id) ((long)stat_of(id).shm_nattch)

/* Does the id name a segment? (Reading its state must be allowed.) */
static inline bool exists(int id)
{
	struct shmid_ds d;
	return shmctl(id, IPC_STAT, &d) == 0;
}

static inline int new_segment(size_t size) { return MUST(shmget(IPC_PRIVATE, size, 0600)); }
static inline char *attach(int id) { return (char *)MUST(shmat(id, NULL, 0)); }
static inline char *attach_at(int id, void *at) { return (char *)MUST(shmat(id, at, 0)); }

static inline bool under_shim(void) { return getenv("SHMTEST_UNDER_SHIM") != NULL; }

/* A directory mounted noexec (containers do it to /dev/shm) cannot hold code. */
static inline void need_exec_mappings(void)
{
	struct statvfs fs;
	const char *dir = getenv("SHMSHIM_DIR");
	if (under_shim() && dir && statvfs(dir, &fs) == 0 && (fs.f_flag & ST_NOEXEC))
		SKIP("%s is mounted noexec", dir);
}

/* ---------------------------------------------------- limits and rights */

/* 0 or the errno of writing /proc/sys/kernel/<name>. */
static inline int try_limit(const char *name, const char *value)
{
	char path[128];
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
	int err = 0, fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (write(fd, value, strlen(value)) < 0)
		err = errno;
	close(fd);
	return err;
}
static inline void set_limit(const char *name, const char *value)
{
	int err = try_limit(name, value);
	if (err == EACCES || err == EPERM || err == EROFS)
		SKIP("/proc/sys/kernel/%s cannot be written here: %s", name, errno_name(err));
	if (err)
		FATAL("writing %s to /proc/sys/kernel/%s: %s", value, name, errno_name(err));
}
static inline unsigned long limit(const char *name)
{
	char path[128], text[64] = "";
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		FATAL("reading %s: %s", path, errno_name(errno));
	close(fd);
	return strtoul(text, NULL, 10);
}

/* Root that may become any user; not the root of a user namespace of one. */
static inline void need_root(void)
{
	char map[256] = "";
	unsigned long inside = 1, outside = 1, len = 0;
	int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, map, sizeof map - 1) < 0)
		map[0] = 0;
	if (fd >= 0)
		close(fd);
	sscanf(map, "%lu %lu %lu", &inside, &outside, &len);
	if (geteuid() != 0 || inside != 0 || outside != 0 || len <= 65535)
		SKIP("needs root");
}

/* Effective and permitted capabilities become exactly this set. */
static inline void set_caps(uint64_t mask)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct set[2] = {
		{ .effective = (uint32_t)mask, .permitted = (uint32_t)mask },
		{ .effective = (uint32_t)(mask >> 32), .permitted = (uint32_t)(mask >> 32) },
	};
	if (syscall(SYS_capset, &head, set) < 0)
		SKIP("capset %#llx: %s", (unsigned long long)mask, errno_name(errno));
}
#define CAP_BIT(cap) ((uint64_t)1 << (cap))
static inline uint64_t caps_held(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct set[2] = { 0 };
	syscall(SYS_capget, &head, set);
	return set[0].effective | (uint64_t)set[1].effective << 32;
}
static inline void drop_cap(int cap) { set_caps(caps_held() & ~CAP_BIT(cap)); }

static inline void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n)
{
	if (setgroups(n, groups) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		SKIP("becoming uid %u: %s", uid, errno_name(errno));
}
/* drop_to(uid, gid[, supplementary group ...]): for good, without capabilities. */
#define drop_to(uid, gid, ...)                                                                     \
	do {                                                                                       \
		const gid_t g_[] = { 0, ##__VA_ARGS__ };                                           \
		become(uid, gid, g_ + 1, sizeof g_ / sizeof *g_ - 1);                              \
	} while (0)
/* The same, keeping these capabilities. */
#define drop_to_with_caps(mask, uid, ...)                                                          \
	do {                                                                                       \
		prctl(PR_SET_KEEPCAPS, 1);                                                         \
		drop_to(uid, __VA_ARGS__);                                                         \
		set_caps(mask);                                                                    \
	} while (0)

/* ------------------------------------------------------------ namespaces */

static inline void write_file(const char *path, const char *text)
{
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, text, strlen(text)) < 0)
			FAIL("writing %s: %s", path, errno_name(errno));
		close(fd);
	}
}

/* A user namespace gives an ordinary user the right to an IPC namespace. */
static inline int unshare_as_user(void)
{
	char uid[64], gid[64];
	snprintf(uid, sizeof uid, "0 %u 1", geteuid());
	snprintf(gid, sizeof gid, "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWIPC) < 0)
		return -1;
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", uid);
	write_file("/proc/self/gid_map", gid);
	return 0;
}

/*
 * An empty IPC namespace for this process and its future children. Every TEST
 * begins in one. Under the shim a process can do this only before its first
 * use of shared memory, as that binds it to its namespace.
 */
static inline void fresh_namespace(void)
{
	if (under_shim()) {
		char dir[4096];
		const char *scope = getenv("SHMSHIM_SCOPE"), *base = getenv("SHMSHIM_DIR");
		snprintf(dir, sizeof dir, "%s/ns.XXXXXX", base ? base : "/dev/shm");
		if (!mkdtemp(dir))
			FATAL("mkdtemp %s: %s", dir, errno_name(errno));
		if (scope && strncmp(scope, "system", 6) == 0)
			chmod(dir, 01777);
		setenv("SHMSHIM_DIR", dir, 1);
		return;
	}
	if (unshare(CLONE_NEWIPC) < 0) {
		if (errno == EINVAL || errno == ENOSYS)
			SKIP("the kernel has no IPC namespaces");
		if (unshare_as_user() < 0)
			SKIP("no right to an IPC namespace: %s", errno_name(errno));
	}
	if (syscall(SYS_shmget, 1, 0, 0) < 0 && errno == ENOSYS)
		SKIP("the kernel has no System V shared memory");
}

/* -------------------------------------------------------- files of ours */

/* The path of another program or library of tests/c, built beside this one. */
static inline const char *built(const char *name)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	path[n < 0 ? 0 : n] = 0;
	char *slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 2 - path) + strlen(name) > sizeof path)
		FATAL("where is %s?", name);
	strcpy(slash + 1, name);
	return path;
}

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
		known |= S_ISREG(st->st_mode) && !strcmp(name, "registry");
	if (!known)
		FAIL("left behind in the namespace's directory: %s", rest);
	return 0;
}

static void shmtest_on_alarm(int sig) { (void)sig; }

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

static inline void shmtest_child(const struct shmtest *t)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGALRM, SIG_DFL);
	setpgid(0, 0);
	if (t->several_uids)
		need_root();
	fresh_namespace();
	t->fn();
	exit(0);
}

/* 'p', 'f' or 's' for passed, failed, skipped. */
static inline char shmtest_run(const struct shmtest *t)
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
	alarm(WATCHDOG_SECS);
	bool hung = pid > 0 && waitpid(pid, &status, 0) < 0;
	alarm(0);
	shmtest_end_stragglers(pid);
	if (hung)
		fail_at("the test", 0, "not finished after %d seconds", WATCHDOG_SECS);
	else if (pid < 0)
		fail_at("the test", 0, "fork: %s", errno_name(errno));
	else
		check_status("the test", 0, status);
	if (under_shim()) {
		nftw(dir, shmtest_inspect, 16, FTW_PHYS);
		if (nftw(dir, shmtest_remove, 16, FTW_PHYS | FTW_DEPTH) < 0)
			FAIL("%s could not be removed: %s", dir, errno_name(errno));
	}
	/* One check is the exit status, which proves little alone. */
	if (!notes->failures && !notes->skipped && notes->checks < 2)
		fail_at("the test", 0, "nothing was checked");
	if (notes->failures) {
		size_t len = notes->used < LOG_BYTES ? notes->used : LOG_BYTES;
		printf("FAIL %s\n%.*s", t->name, (int)len, notes->log);
		if (notes->failures > MAX_NOTES)
			printf("    and %d more\n", notes->failures - MAX_NOTES);
		return 'f';
	}
	if (notes->skipped)
		printf("SKIP %s: %s\n", t->name, notes->skip_reason);
	return notes->skipped ? 's' : 'p';
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
	notes = mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (notes == MAP_FAILED)
		return perror("mmap"), 2;
	struct sigaction act = { .sa_handler = shmtest_on_alarm };
	sigaction(SIGALRM, &act, NULL);
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
		char r = shmtest_run(t);
		if (verbose && r == 'p')
			printf("ok   %s\n", t->name);
		passed += r == 'p', failed += r == 'f', skipped += r == 's';
	}
	if (!list)
		printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}

#endif
