/*
 * scale.c - the same operations among more and more of something.
 *
 *   segments    N segments exist
 *   attaches    this process has N attaches
 *   processes   N other processes have the segment attached
 */
#include "bench.h"
#include <fcntl.h>

static int id;
static long among;

static uint64_t get(long n)
{
	key_t key = crowd_key(among / 2);
	return TIMED(REPEAT(n) MUST(shmget(key, 0, 0)));
}

static uint64_t stat(long n)
{
	struct shmid_ds ds;
	return TIMED(REPEAT(n) MUST(shmctl(id, IPC_STAT, &ds)));
}

static uint64_t attach(long n) { return TIMED(REPEAT(n) MUST(shmdt(MUST(shmat(id, NULL, 0))))); }

static uint64_t create(long n)
{
	return TIMED(REPEAT(n) MUST(shmctl(MUST(shmget(IPC_PRIVATE, 4096, 0600)), IPC_RMID, NULL)));
}

static uint64_t fork_and_exit(long n)
{
	return TIMED(REPEAT(n) {
		pid_t child = MUST(fork());
		if (child == 0)
			_exit(0);
		MUST(waitpid(child, NULL, 0));
	});
}

static void attach_it(void) { MUST(shmat(id, NULL, 0)); }

static void report(const char *operation, uint64_t (*run)(long n), double budget_ms)
{
	printf("%s %.1f\n", operation, median_ns(run, 0, budget_ms));
}

/* In a process of its own, so that having written a limit is no part of what is measured. */
static void raise_shmmni(void)
{
	static const char most[] = "32768";
	int status;
	pid_t child = MUST(fork());
	if (child == 0) {
		int fd = MUST(open("/proc/sys/kernel/shmmni", O_WRONLY | O_CLOEXEC));
		MUST(write(fd, most, strlen(most)));
		MUST(close(fd));
		exit(0);
	}
	MUST(waitpid(child, &status, 0));
	MUST(status ? -1 : 0);
}

int scale(const char *axis, long n, double budget_ms)
{
	among = n;
	if (!strcmp(axis, "segments")) {
		if (n >= 4096)
			raise_shmmni();
		make_crowd(n);
		id = crowd_id(n / 2);
		report("shmget", get, budget_ms);
		report("IPC_STAT", stat, budget_ms);
		report("shmat+shmdt", attach, budget_ms);
		report("create+remove", create, budget_ms);
	} else if (!strcmp(axis, "attaches")) {
		id = MUST(shmget(IPC_PRIVATE, 4096, 0600));
		for (long i = 0; i < n; i++)
			attach_it();
		report("IPC_STAT", stat, budget_ms);
		report("shmat+shmdt", attach, budget_ms);
		report("fork+exit", fork_and_exit, budget_ms);
	} else if (!strcmp(axis, "processes")) {
		id = MUST(shmget(IPC_PRIVATE, 4096, 0600));
		start_children(n, attach_it);
		report("IPC_STAT", stat, budget_ms);
		report("shmat+shmdt", attach, budget_ms);
		end_children();
	} else {
		fprintf(stderr, "there is no axis %s\n", axis);
		return 2;
	}
	return 0;
}
