/*
 * member.c - the life of a member: random operations, one after the other. Others do the same at the same time, and any of
 * them may be killed or stopped; so each answer is held against what it may be, and not against what it must be.
 */
#include "member.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

int here;
bool is_worker;

static const struct { void (*act)(void); unsigned weight; } operations[] = {
#define ROW(name, weight) { op_##name, weight },
	OPERATIONS(ROW)
};
const char *const operation_names[] = {
#define NAME(name, weight) #name,
	OPERATIONS(NAME)
};
const int operation_count = sizeof operations / sizeof *operations;

/* Members whose conductor was killed must not go on for ever. */
static void follow_the_conductor(void)
{
	if (kill(soak->conductor, 0) < 0 && errno == ESRCH)
		_exit(0);
}

static void rest(void)
{
	struct member *me = &soak->member[here];
	unsigned pause = atomic_load(&soak->pause);
	if (pause & 1) {
		me->resting = pause;
		while (atomic_load(&soak->pause) == pause) {
			usleep(2000);
			follow_the_conductor();
		}
	}
}

static void reap(void)
{
	siginfo_t info;
	int status;
	/* A place is free before its process's number is: nobody kills another by mistake. */
	while (info.si_pid = 0, waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
		pid_t pid = info.si_pid;
		for (int i = 0; i < MEMBERS; i++)
			if (soak->member[i].pid == pid)
				soak->member[i].pid = 0;
		if (waitpid(pid, &status, 0) == pid && !(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
		    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
			complain("a child has ended with %#x", status);
	}
}

void steps(long count)
{
	struct member *me = &soak->member[here];
	unsigned all = 0;
	for (int i = 0; i < operation_count; i++)
		all += operations[i].weight;
	while (count-- != 0) {
		me->doing = -1;
		rest();
		if (count % 64 == 0)
			follow_the_conductor();
		if (atomic_load(&soak->over))
			leave();
		reap();
		int which = 0;
		for (unsigned at = choose(all); at >= operations[which].weight; which++)
			at -= operations[which].weight;
		me->doing = which;
		operations[which].act();
		atomic_fetch_add(&soak->operations[which], 1);
	}
}

/* A segment's memory is gone under a member's eyes, or the library has lost its way. */
static void struck(int signal, siginfo_t *info, void *context)
{
	int doing = soak->member[here].doing;
	(void)context;
	complain("a member is struck by signal %d at %p while it does: %s", signal, info->si_addr,
		 doing < 0 ? "nothing" : operation_names[doing]);
	for (int i = 0; i < holding; i++)
		if ((unsigned char *)info->si_addr >= held[i].base &&
		    (unsigned char *)info->si_addr < held[i].base + (size_t)pages_of(held[i].size) * PAGE)
			complain("... in segment %d of %zu bytes at %p, pages %#x", held[i].id, held[i].size,
				 (void *)held[i].base, held[i].pages);
	_exit(1);
}

uid_t uid_of(int worker) { return soak->system ? (uid_t[]){ 54001, 54002, 0 }[worker % 3] : geteuid(); }

void member_run(int place)
{
	struct member *me = &soak->member[place];
	here = place;
	is_worker = place < WORKERS;
	holding = 0;
	me->pid = getpid();
	prctl(PR_SET_DUMPABLE, 1);
	/* Half of them have some. */
	if (place % 2 == 0) {
		struct sigaction action = { .sa_sigaction = struck, .sa_flags = SA_SIGINFO };
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
	}
	steps(is_worker ? -1 : 10);
	leave();
	_exit(0);
}
