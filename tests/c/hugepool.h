/*
 * hugepool.h - for tests that need huge pages of 2 MiB: segments of them, and
 * the pages themselves. Run as root, a program that includes this has the
 * machine set some pages aside where it has too few, and gives them back at
 * the end. The pool is the machine's: of several such programs one runs and
 * the others wait.
 */
#ifndef HUGEPOOL_H
#define HUGEPOOL_H

#include "hugepages.h"
#include <sys/file.h>

enum { POOL = 8 };
#define NR_HUGEPAGES HUGE_POOL "nr_hugepages"
#define GET(key, size, flags) shmget(key, size, SHM_HUGETLB | PAGE_SIZE_LOG2(21) | (flags))
#define NEW(size) MUST(GET(IPC_PRIVATE, size, 0600))
/* More than any machine has. */
#define MORE_THAN_ALL (sizeof(long) == 8 ? POW2(46) : (size_t)-1 >> 1)
#define UNRESERVED(size) MUST(GET(IPC_PRIVATE, size, SHM_NORESERVE | 0600))

/* --------------------------------------------- pages for the time of the run */

static long pages_before = -1;
static pid_t keeper;

static inline void write_number(const char *path, long n)
{
	char text[32];
	int len = snprintf(text, sizeof text, "%ld\n", n), fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, text, (size_t)len) < 0)
			perror(path);
		close(fd);
	}
}

static void give_back(void)
{
	if (pages_before >= 0 && getpid() == keeper)
		write_number(NR_HUGEPAGES, pages_before);
}
static void on_end(int sig)
{
	give_back();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Until the last process of this run has ended, at a number that no test looks at. */
static void wait_for_the_pool(void)
{
	int fd = syscall(SYS_openat, AT_FDCWD, HUGE_POOL, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	int kept = fcntl(fd, F_DUPFD_CLOEXEC, 900);
	while (kept >= 0 && flock(kept, LOCK_EX) < 0 && errno == EINTR)
		;
	close(fd);
}

/* Before main() and behind it: children of main() come to their ends in many ways. */
__attribute__((constructor)) static void set_aside(void)
{
	wait_for_the_pool();
	/* Surplus ones are in use and go by themselves. */
	long have = number_at(NR_HUGEPAGES) - number_at(HUGE_POOL "surplus_hugepages"), missing = POOL - free_pages();
	if (have < 0 || missing <= 0 || !is_root())
		return;
	pages_before = have;
	keeper = getpid();
	signal(SIGINT, on_end);
	signal(SIGTERM, on_end);
	signal(SIGHUP, on_end);
	write_number(NR_HUGEPAGES, have + missing);
}
__attribute__((destructor)) static void at_the_end(void) { give_back(); }

static pid_t pool_user;

/* The kernel destroys an IPC namespace some time after its last process: its segments would keep their pages. */
static void remove_all_segments(void)
{
	struct shmid_ds d;
	if (getpid() != pool_user)
		return;
	for (int i = shmctl(0, IPC_INFO, &d); i >= 0; i--) {
		int id = shmctl(i, SHM_STAT_ANY, &d);
		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
	}
}

/* Some free pages, the right to them, and for the shim a hugetlbfs; its mount point. */
static inline const char *need_pages_on(const char *options)
{
	need_ipc_lock();
	if (free_pages() < POOL)
		SKIP("the machine has %ld free huge pages of 2 MiB and %d are needed", free_pages(), POOL);
	pool_user = getpid();
	atexit(remove_all_segments);
	return only_hugetlbfs(options);
}
static inline const char *need_pages(void) { return need_pages_on("pagesize=2M,mode=0755"); }
/* Nobody but the pool may have pages for us. */
static inline void need_a_fixed_pool(void)
{
	if (number_at(HUGE_POOL "nr_overcommit_hugepages") > 0)
		SKIP("this machine makes huge pages as they are asked for");
}

static inline struct shm_info usage(void)
{
	struct shm_info info;
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	return info;
}

#endif
