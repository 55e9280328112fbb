/* ops_life.c - operations on processes and on the namespace itself. */
#include "crash.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The child of a victim: it says that it is there and stays until the driver is gone. */
static void stay(void)
{
	char byte = 'c';
	struct shmid_ds d;
	if (the->child_asks)
		shmctl(the->segment[HELD].id, IPC_STAT, &d);
	close(the->leash[1]);
	if (write(the->forked[1], &byte, 1) == 1)
		while (read(the->leash[0], &byte, 1) > 0)
			;
	_exit(0);
}

int fork_here(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	pid_t child = fork();
	int error = errno;
	mark(END_MARK);
	if (child == 0)
		stay();
	errno = error;
	return child < 0 ? -1 : 0;
}

/* No handler runs: the child enters what it has inherited at its first call. */
int clone_raw(int argument)
{
	struct shmid_ds d;
	(void)argument;
	mark(BEGIN_MARK);
	long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		shmctl(the->segment[HELD].id, IPC_STAT, &d);
		mark(END_MARK);
		stay();
	}
	int error = errno;
	mark(END_MARK);
	errno = error;
	return child < 0 ? -1 : 0;
}

int exit_here(int argument)
{
	mark(BEGIN_MARK);
	exit(argument);
}

int exec_here(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	execl("/bin/true", "true", (char *)NULL);
	mark(END_MARK);
	return -1;
}

int make_first(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	int id = shmget(0x2001, 9000, IPC_CREAT | 0600);
	int error = errno;
	mark(END_MARK);
	errno = error;
	return id < 0 ? -1 : 0;
}

void first_to_be(struct world *world)
{
	(void)world;
	world_add(-1, 0x2001, 9000, 0, 0600)->is[0].exists = false;
}

/* The table is gone, and nobody runs who had it mapped: the segments are found by their files. */
void with_lost_table(struct world *world)
{
	char path[400];
	actor_kill(&world->holder);
	/* Somebody must look, so that the marked one goes with its last attach. */
	actor_start(&world->holder);
	actor_do(&world->holder, job_reap, 0);
	actor_kill(&world->holder);
	snprintf(path, sizeof path, "%s/registry", the->directory);
	if (unlink(path) < 0)
		fatal("%s: %s", path, strerror(errno));
	the->segment[MARKED].is[0].exists = the->segment[MARKED].is[1].exists = false;
	actor_start(&world->holder);
}
