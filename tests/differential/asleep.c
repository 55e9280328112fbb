/*
 * Who is asleep, and nothing that has happened so far will change that.
 *
 * The kernel tells it of every process: the state (a process that was woken is not in S any more when the call that woke it
 * returns), how often it has gone to sleep, and in which call it sleeps (/proc/PID/syscall), for it may sleep for other reasons on
 * its way. The shim sleeps on a word: one that no longer holds what it held when the process went to sleep was changed by a
 * waker, and where the sleep goes on all the same, a wake-up was lost.
 */
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "run.h"

/* What the kernel says of a process in state S. */
enum sleep {
	ELSEWHERE,  /* not in a call that waits for others */
	IN_CALL,    /* in the kernel's own call */
	ON_WORD,    /* on a word of the shim */
	ON_CHANGED, /* on one that has changed since it went to sleep */
};

static void pause_for(long ns)
{
	nanosleep(&(struct timespec){ 0, ns }, NULL);
}

/* The state of a process and how often it has gone to sleep. */
static bool read_status(int pid, char *state, long *switches)
{
	char path[64], line[256];
	FILE *file;
	int found = 0;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file)) {
		found += sscanf(line, "State: %c", state) == 1;
		found += sscanf(line, "voluntary_ctxt_switches: %ld", switches) == 1;
	}
	if (file)
		fclose(file);
	return found == 2;
}

static bool read_memory(int pid, unsigned long address, void *to, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)address, size };

	return process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

static enum sleep on_word(int pid, unsigned long address, uint32_t seen)
{
	uint32_t word;

	return read_memory(pid, address, &word, sizeof word) && word != seen ? ON_CHANGED : ON_WORD;
}

static enum sleep sleep_of(int pid)
{
	unsigned long number, args[6];
	struct futex_waitv first;
	char path[64], line[256];
	bool told;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/syscall", pid);
	file = fopen(path, "re");
	told = file && fgets(line, sizeof line, file);
	if (file)
		fclose(file);
	if (!told)
		return IN_CALL; /* a kernel that does not tell, or not this process */
	if (sscanf(line, "%lu %lx %lx %lx %lx %lx %lx", &number, args, args + 1, args + 2, args + 3, args + 4, args + 5) != 7)
		return ELSEWHERE;
	switch (number) {
	case SYS_semop: case SYS_semtimedop: case SYS_msgsnd: case SYS_msgrcv: return IN_CALL;
	case SYS_futex: return args[1] == FUTEX_WAIT ? on_word(pid, args[0], (uint32_t)args[2]) : ELSEWHERE;
	case SYS_futex_waitv:
		return read_memory(pid, args[0], &first, sizeof first) ? on_word(pid, (unsigned long)first.uaddr, (uint32_t)first.val) : ELSEWHERE;
	default: return ELSEWHERE;
	}
}

enum stage stage_of(int w)
{
	char state;
	long switches, later;
	enum sleep sleep, still;

	if (has_answered(w))
		return HAS_ANSWERED;
	if (!read_status(run.workers[w].pid, &state, &switches) || state != 'S')
		return RUNS;
	sleep = sleep_of(run.workers[w].pid);
	if (sleep == ELSEWHERE)
		return RUNS;
	if (run.workers[w].asleep && switches == run.workers[w].switches && sleep != ON_CHANGED)
		return SLEEPS;
	pause_for(3000000);
	still = sleep_of(run.workers[w].pid);
	if (!read_status(run.workers[w].pid, &state, &later) || state != 'S' || switches != later || has_answered(w) || still == ELSEWHERE)
		return RUNS;
	if (sleep == ON_CHANGED && still == ON_CHANGED)
		return MISSES_A_WAKE_UP;
	run.workers[w].switches = later;
	return SLEEPS;
}
