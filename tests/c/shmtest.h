/*
 * shmtest.h - a test harness in one header, for programs that use System V
 * shared memory and must behave the same on the kernel and under the shim.
 *
 *     #include "shmtest.h"          // first: it defines _GNU_SOURCE
 *
 *     TEST(a_new_segment_is_zeroed)
 *     {
 *         int id = MUST(shmget(IPC_PRIVATE, IN_TWO_PAGES, 0600));
 *         char *p = (char *)MUST(shmat(id, NULL, 0));
 *         CHECK_EQ(p[2 * PAGE - 1], 0);
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
 *   NOT_ON_THIS_SIDE(reason)                           ends it, the test does not count: kernel or shim has no such thing
 *   IN_CHILD { ... }                                   a forked child; it must reach the end of the block
 *
 * This file has what tests need of processes, memory and segments;
 * shmtest_checks.h the checks and what they note; shmtest_rights.h limits,
 * users, capabilities and namespaces; shmtest_main.h the registration of tests
 * and main(). Include this one only.
 *
 * SHMTEST_SLOW=1 says that the machine is an emulated one, on which what is tried very often is tried less often.
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
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

#if defined __x86_64__ || defined __i386__
#define PAGE 4096ul
#else
#define PAGE ((unsigned long)sysconf(_SC_PAGESIZE))
#endif
/* A size that ends within its second page: 5000 where a page has 4096 bytes. */
#define IN_TWO_PAGES (PAGE + 904)
/* What there is only where a word has 64 bits: sizes and addresses from 2^32 on. */
#if __SIZEOF_LONG__ == 8
#define WIDE_ONLY(...) __VA_ARGS__
/* An address range that no loader, heap or stack uses; and without its last five hexadecimal digits, as text. */
#define FREE_AREA ((char *)0x300000000000ul)
#define FREE_AREA_TEXT "0x3000000"
/* No mapping ever lies here. */
#define UNMAPPED ((void *)0x2ffffff00000ul)
#define KERNEL_ADDRESS ((void *)0xffff888000000000ul)
#else
#define WIDE_ONLY(...)
#define FREE_AREA ((char *)0x80000000ul)
#define FREE_AREA_TEXT "0x800"
#define UNMAPPED ((void *)0x7ff00000ul)
#define KERNEL_ADDRESS ((void *)0xffffe000ul)
#endif
/* 2^n as a size. Where a word has 32 bits, there is none from 2^32 on. */
#define POW2(n) ((size_t)(1ull << (n)))

#include "shmtest_checks.h"

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

/* Field by field: copies of a structure need not copy its padding. */
static inline void check_same(const char *file, int line, const struct shmid_ds *was,
			      const struct shmid_ds *is)
{
#define SAME(field)                                                                                \
	if (was->field != is->field)                                                               \
		fail_at(file, line, #field " was %lld, is %lld", (long long)was->field, (long long)is->field)
	COUNT_CHECK();
	SAME(shm_perm.__key);
	SAME(shm_perm.uid);
	SAME(shm_perm.gid);
	SAME(shm_perm.cuid);
	SAME(shm_perm.cgid);
	SAME(shm_perm.mode);
	SAME(shm_perm.__seq);
	SAME(shm_segsz);
	SAME(shm_atime);
	SAME(shm_dtime);
	SAME(shm_ctime);
	SAME(shm_cpid);
	SAME(shm_lpid);
	SAME(shm_nattch);
#undef SAME
}
#define CHECK_SAME(was, is) check_same(__FILE__, __LINE__, &(was), &(is))

/* Does the id name a segment? (Reading its state must be allowed.) */
static inline bool exists(int id)
{
	struct shmid_ds d;
	return shmctl(id, IPC_STAT, &d) == 0;
}

/*
 * An id is seq * 32768 + index. The kernel's first seq is 0 and a namespace of the shim has one of its own, so tests tell
 * segments by the index. id_at() is the whole id of the segment that has it.
 */
enum { SEQ = 32768 };
static inline int index_of(int id) { return id < 0 ? id : id % SEQ; }
static inline int id_at(int index)
{
	struct shmid_ds d;
	return MUST(shmctl(index, SHM_STAT_ANY, &d));
}

/* How often to try what is tried `times` where processors are fast. */
static inline int times_here(int times) { return getenv("SHMTEST_SLOW") ? times / 20 + 1 : times; }
static inline bool under_shim(void) { return getenv("SHMTEST_UNDER_SHIM") != NULL; }
/* A static program: the shim's supervisor serves its calls and nothing else. */
static inline bool is_supervised(void) { return getenv("SHMTEST_SUPERVISED") != NULL; }
static inline bool under_library(void) { return under_shim() && !is_supervised(); }

/* How much of its structure shmctl writes. glibc copies each field where a word has 32 bits, and not the two that are reserved behind the last. */
#if __SIZEOF_LONG__ == 8
#define STATE_BYTES sizeof(struct shmid_ds)
#else
#define STATE_BYTES (offsetof(struct shmid_ds, shm_nattch) + sizeof(long))
#endif

/* Where a word has 32 bits, glibc itself copies the structure of shmctl for the kernel, and dies of a bad pointer. */
static inline bool bad_buffers_get_an_errno(void) { return sizeof(long) == 8 || under_shim(); }

/* For a test that asks the kernel itself: on a kernel without System V IPC there is nothing to ask. */
#define ASKS_THE_KERNEL()                                                                          \
	do {                                                                                       \
		if (getenv("SHMTEST_CONFINED"))                                                    \
			NOT_ON_THIS_SIDE("the kernel itself is asked");                            \
	} while (0)

/* Until then the shim may answer SHM_INFO with what was resident at the last one. */
static inline void await_next_tick(void)
{
	struct timespec then, now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &then);
	do {
		nanosleep(&(struct timespec){ 0, 500000 }, NULL);
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	} while (under_shim() && now.tv_sec == then.tv_sec && now.tv_nsec == then.tv_nsec);
}

static inline int new_segment(size_t size) { return MUST(shmget(IPC_PRIVATE, size, 0600)); }
static inline char *attach(int id) { return (char *)MUST(shmat(id, NULL, 0)); }
static inline char *attach_at(int id, void *at) { return (char *)MUST(shmat(id, at, 0)); }

/* A directory mounted noexec (containers do it to /dev/shm) cannot hold code. */
static inline void need_exec_mappings(void)
{
	struct statvfs fs;
	const char *dir = getenv("SHMSHIM_DIR");
	if (under_shim() && dir && statvfs(dir, &fs) == 0 && (fs.f_flag & ST_NOEXEC))
		SKIP("%s is mounted noexec", dir);
}

/* Files of 2^63 bytes and pages that come by reading: the kernel's segments are tmpfs files, too. */
static inline void need_tmpfs(void)
{
	struct statfs fs;
	const char *dir = getenv("SHMSHIM_DIR");
	if (under_shim() && dir && statfs(dir, &fs) == 0 && fs.f_type != 0x01021994)
		SKIP("%s is on another file system than tmpfs", dir);
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

#include "shmtest_rights.h"
#include "shmtest_main.h"

#endif
