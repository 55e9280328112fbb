/*
 * member_processes.c - a member's operations that start threads and processes, run its program again, or end it.
 */
#include "member.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void *live_a_few_lives(void *times)
{
	for (long i = (long)times; i > 0; i--)
		op_life();
	return NULL;
}

/* The number that the next descriptor gets, as long as nobody has one open for the duration of a call. */
static int next_descriptor(void)
{
	int fd = dup(STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return fd;
}
static int next_of_children;

/* Fork and call wait so long for each other, and then go on: README, "For the duration of a call". A thread that gets no
   processor on a busy machine, or is stopped, can use that up. */
enum { WAITS_AT_LEAST = 200 };
static void *fork_a_few_times(void *times)
{
	for (long i = (long)times; i > 0; i--) {
		int status;
		long began = milliseconds();
		pid_t child = fork();
		if (child == 0)
			_exit(next_of_children >= 0 && milliseconds() - began < WAITS_AT_LEAST &&
			      next_descriptor() != next_of_children);
		if (child < 0 || waitpid(child, &status, 0) != child)
			complain("a child that a thread has forked: %s", strerror(errno));
		else if (status != 0)
			complain("a child that a thread has forked has one more descriptor");
	}
	return NULL;
}

/* One thread forks in the middle of another's operations. */
void op_threads(void)
{
	pthread_t thread[2];
	/* A fork that a program's first call among threads overtakes is not known of. */
	static bool had_threads;
	next_of_children = had_threads ? next_descriptor() : -1;
	had_threads = true;
	if (pthread_create(&thread[0], NULL, live_a_few_lives, (void *)6l) != 0 ||
	    pthread_create(&thread[1], NULL, fork_a_few_times, (void *)2l) != 0)
		fatal("pthread_create");
	op_life();
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
}

/* Another program, by way of vfork. */
void op_spawn(void)
{
	pid_t child;
	int status;
	char *arguments[] = { "true", NULL }, *environment[] = { NULL };
	if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environment) != 0 ||
	    waitpid(child, &status, 0) != child || status != 0)
		complain("a program that is spawned: %s", strerror(errno));
}

/* No handler runs: the child is noticed at its first call. */
void op_clone(void)
{
	int status;
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		op_ask();
		_exit(holding > 0 && shmdt(held[0].base) < 0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		complain("a child of a raw clone: %s", strerror(errno));
}

static void run_again(void)
{
	char text[20];
	snprintf(text, sizeof text, "%d", here);
	execl("/proc/self/exe", "soak", "--member", text, (char *)NULL);
	_exit(99);
}

void leave(void)
{
	switch (choose(3)) {
	case 0: exit(0);
	case 1: _exit(0);
	default: kill(getpid(), SIGKILL);
	}
}

void op_exec(void)
{
	if (is_worker && choose(10) == 0)
		run_again();
}

void op_leave(void)
{
	if (is_worker && choose(10) == 0)
		leave();
}

void op_fork(void)
{
	for (int place = WORKERS; place < MEMBERS; place++) {
		struct member *member = &soak->member[place];
		pid_t none = 0;
		if (!atomic_compare_exchange_strong(&member->pid, &none, -1))
			continue;
		member->parent = here;
		member->killed = false;
		member->resting = 0;
		member->uid = soak->member[here].uid;
		member->seed = soak->member[here].seed * 31 + (unsigned)place;
		pid_t child = fork();
		if (child < 0) {
			complain("fork: %s", strerror(errno));
			member->pid = 0;
		}
		if (child == 0) {
			here = place;
			is_worker = false;
			member->pid = getpid();
			for (int i = 0; i < holding; i++)
				see_all(&held[i]);
			steps(1 + choose(80));
			if (choose(4) == 0)
				run_again();
			leave();
		}
		return;
	}
}
