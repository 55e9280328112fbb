/*
 * halves.c - a program is killed at any instruction of a call on a semaphore set or a message queue. The next one finds the
 * object as before the call or as behind it, and who slept in it sleeps on or is served. Or it is not killed, but handles a
 * signal there: with a call on the same set, a fork, or a jump.
 *
 *   halves [--sample N] [--only CASE] [--at STEP] [--seed N] [--leaks KILLS]
 *
 * --sample N     so many instructions of each call (20); 0: all
 * --leaks N      in place of all that: has N programs killed at random moments, and as many end, and says how the file grows
 */
#include "halves.h"

#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#ifndef MSG_INFO
#define MSG_INFO 12
#endif

/* --- the victim, step by step */

static pid_t begin_victim_of(const struct step_case *it)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		if (!it->is_cold) {
			value(0);
			OPS({ 2, 1, SEM_UNDO }, { 2, -1, SEM_UNDO });
			/* It has a block for the next call. */
			for (int i = 0; i < 4; i++)
				OPS({ 2, 1, 0 }, { 2, -1, 0 });
		}
		if (it->meanwhile)
			signal(SIGUSR1, it->meanwhile);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		if (sigsetjmp(jump, 1) == 0) {
			may_jump = true;
			it->act();
		}
		if (it->meanwhile)
			go_on();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		fatal("the victim does not stop");
	ptrace(PTRACE_SETOPTIONS, pid, 0, (long)PTRACE_O_EXITKILL);
	return pid;
}

/* At most so many steps; how many there were, less than 0 if that was all until its end, or until it stops itself. */
static long step(pid_t pid, long most)
{
	int signal = 0, status;
	long steps = 0;
	while (steps < most) {
		if (ptrace(PTRACE_SINGLESTEP, pid, 0, (long)signal) < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			return -steps;
		signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		if (signal == SIGSTOP)
			return -steps;
		steps++;
	}
	return steps;
}

/* It gets a signal, or none, and goes on to its end. Whether that is a good one. */
static bool interrupt(pid_t pid, int signal)
{
	int status;
	while (ptrace(PTRACE_CONT, pid, 0, (long)signal) == 0 && waitpid(pid, &status, 0) == pid)
		if (WIFSTOPPED(status))
			signal = WSTOPSIG(status) == SIGSTOP ? 0 : WSTOPSIG(status);
		else
			return status == 0;
	return false;
}

static bool try(const struct step_case *it, long at, long *steps)
{
	scene->set = semget(IPC_PRIVATE, SEMAPHORES, 0600);
	scene->queue = msgget(IPC_PRIVATE, 0600);
	scene->key++;
	for (int i = 0; i < SLEEPERS; i++)
		atomic_store(&scene->slept[i].pid, 0);
	if (scene->set < 0 || scene->queue < 0)
		fatal("no set or queue: %s", strerror(errno));
	it->arrange();
	pid_t victim = begin_victim_of(it);
	*steps = step(victim, at);
	bool right = true;
	if (it->meanwhile) {
		snprintf(reason, sizeof reason, "it has come to no good end");
		right = interrupt(victim, *steps < 0 ? 0 : SIGUSR1);
	} else {
		kill(victim, SIGKILL);
		waitpid(victim, NULL, 0);
	}
	right = right && it->is_right();
	for (int i = 0; i < SLEEPERS; i++) {
		pid_t pid = atomic_load(&scene->slept[i].pid);
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
	semctl(scene->set, 0, IPC_RMID);
	msgctl(scene->queue, IPC_RMID, NULL);
	int keyed = semget(scene->key, 0, 0);
	if (keyed >= 0)
		semctl(keyed, 0, IPC_RMID);
	/* Nothing is left that anybody could see. */
	struct seminfo sets;
	struct msginfo queues;
	if (right && (semctl(0, 0, SEM_INFO, (void *)&sets) < 0 || sets.semusz != 0 || sets.semaem != 0)) {
		snprintf(reason, sizeof reason, "%d sets with %d semaphores are left", sets.semusz, sets.semaem);
		right = false;
	}
	if (right && (msgctl(0, MSG_INFO, (void *)&queues) < 0 || queues.msgpool != 0)) {
		snprintf(reason, sizeof reason, "%d queues are left", queues.msgpool);
		right = false;
	}
	if (right)
		passed();
	else
		failed("%s, killed or interrupted behind %ld instructions: %s", it->name, *steps, reason);
	return right;
}

static void try_all(const struct step_case *it, int sample, long at)
{
	long steps, begun = now(), tried = 1, had_failed = counted.failed;
	try(it, at >= 0 ? at : 10000000, &steps);
	long total = labs(steps), every = sample ? (total + sample - 1) / sample : 1;
	if (at < 0)
		for (long step_at = sample ? pick(every) : 0; step_at < total; step_at += sample ? 1 + pick(2 * every - 1) : 1, tried++)
			try(it, step_at, &steps);
	printf("%-20s %6ld instructions, %4ld tries, %ld failed; %ld ms\n", it->name, total, tried, counted.failed - had_failed,
	       now() - begun);
	fflush(stdout);
}

int main(int argc, char **arguments)
{
	static const struct option options[] = {
		{ "sample", 1, 0, 's' }, { "only", 1, 0, 'o' }, { "at", 1, 0, 'a' }, { "seed", 1, 0, 'r' }, { "leaks", 1, 0, 'l' }, { 0 },
	};
	const struct step_case *lists[] = { set_cases, handler_cases, queue_cases };
	int sample = 20, option, kills = 0;
	long at = -1;
	const char *only = NULL;
	while ((option = getopt_long(argc, arguments, "", options, NULL)) >= 0)
		switch (option) {
		case 's': sample = atoi(optarg); break;
		case 'o': only = optarg; break;
		case 'a': at = atol(optarg); break;
		case 'r': random_state = strtoull(optarg, NULL, 0); break;
		case 'l': kills = atoi(optarg); break;
		default: return 2;
		}
	const char *root_of_all = base_begin(false);
	atexit(base_end);
	snprintf(the->base, sizeof the->base, "%s", root_of_all);
	snprintf(the->directory, sizeof the->directory, "%s/.shmshim-uid%d", the->base, (int)geteuid());
	setenv("SHMSHIM_DIR", the->base, 1);
	setenv("SHMSHIM_SCOPE", "user", 1);
	scene = mmap(NULL, sizeof *scene, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	scene->key = 0x6000;
	if (kills)
		leak(kills);
	else
		for (int i = 0; i < 3; i++)
			for (const struct step_case *it = lists[i]; it->name; it++)
				if (!only || strcmp(only, it->name) == 0)
					try_all(it, sample, at);
	printf("%ld KiB of blocks\n", arena_bytes() / 1024);
	return count_up();
}
