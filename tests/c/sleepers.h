/*
 * sleepers.h - what semtest.h and msgtest.h share, on top of proctest.h: how it is seen that a process sleeps, and pointers
 * through which nothing can be copied.
 */
#ifndef SLEEPERS_H
#define SLEEPERS_H

#include "proctest.h"

enum { SLEEPERS = 32 };
static pid_t sleeper_pid[SLEEPERS];

static inline void short_pause(void) { nanosleep(&(struct timespec){ 0, 300000 }, NULL); }

/* Waits for a state that must come, however long the machine takes; the watchdog of the test ends what never comes. */
#define UNTIL(cond)                                                                                \
	do {                                                                                       \
		while (!(cond))                                                                    \
			short_pause();                                                             \
		COUNT_CHECK();                                                                     \
	} while (0)

/* The third field of /proc/PID/stat, of a process or a thread. */
static inline char state_of(pid_t pid)
{
	char path[64], text[512] = "", *end;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0 || !(end = strrchr(text, ')')))
		return 0;
	return end[2];
}

static inline void kill_sleeper(int n)
{
	MUST(kill(sleeper_pid[n], SIGKILL));
	wait_for(sleeper_pid[n]);
}

/* On a machine whose word has 32 bits glibc copies some structures itself. */
static inline void need_errno_for_bad_structures(void)
{
	if (!bad_buffers_get_an_errno())
		NOT_ON_THIS_SIDE("glibc dies of a bad buffer");
}

/* Every kind of pointer that `tail` bytes cannot be copied through. */
struct bad_pointer { const char *what; void *p; bool readable; };
enum { BAD_POINTERS = 6 };
static struct bad_pointer bad[BAD_POINTERS];

/* The end of a page behind which nothing may be read or written. */
static inline char *page_end(void)
{
	char *two = MUST(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST(mprotect(two + PAGE, PAGE, PROT_NONE));
	return two + PAGE;
}
static inline void *page_with(int prot) { return MUST(mmap(NULL, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)); }

static inline void make_bad_pointers(size_t tail)
{
	bad[0] = (struct bad_pointer){ "NULL", NULL, false };
	bad[1] = (struct bad_pointer){ "unmapped", UNMAPPED, false };
	bad[2] = (struct bad_pointer){ "in the kernel", KERNEL_ADDRESS, false };
	bad[3] = (struct bad_pointer){ "without access", page_with(PROT_NONE), false };
	bad[4] = (struct bad_pointer){ "with its last byte out of reach", page_end() - tail + 1, false };
	bad[5] = (struct bad_pointer){ "read only", page_with(PROT_READ), true };
}

#endif
