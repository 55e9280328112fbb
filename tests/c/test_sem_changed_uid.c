/*
 * A server that makes a set as root, and workers of another user that take turns by it: what Apache does.
 */
#include "semtest.h"

enum { WORKER = 1500, WORKERS = 30 };

static int id;

/* A set of one that the workers may use, in a namespace of root's own. */
static void server_begins(void)
{
	if (geteuid() != 0)
		SKIP("needs root");
	if (under_shim())
		setenv("SHMSHIM_SCOPE", "user", 1);
	id = new_set(1);
	struct semid_ds d = set_stat(id);
	d.sem_perm.uid = WORKER;
	MUST(ctl_arg(id, 0, IPC_SET, &d));
	MUST(set_value(id, 0, 1));
}

static pid_t worker(int turns)
{
	pid_t pid = MUST(fork());
	if (pid)
		return pid;
	MUST(setgid(WORKER));
	MUST(setuid(WORKER));
	for (int i = 0; i < turns; i++) {
		MUST(DO_OPS(id, OP(0, -1, SEM_UNDO)));
		MUST(DO_OPS(id, OP(0, 1, SEM_UNDO)));
	}
	_exit(0);
}

/* The set grows with its sleepers, in a process that could not open the file any more. */
TEST(a_crowd_that_became_another_user_sleeps_and_is_served)
{
	server_begins();
	pid_t pids[WORKERS];
	MUST(DO_OPS(id, OP(0, -1, 0)));
	for (int i = 0; i < WORKERS; i++)
		pids[i] = worker(5);
	UNTIL(ncnt_of(id, 0) == WORKERS);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	for (int i = 0; i < WORKERS; i++)
		REAP(pids[i]);
	CHECK_EQ(value_of(id, 0), 1);
	CHECK_EQ(ncnt_of(id, 0), 0);
}

/* Nobody but the dead one's fellows makes a call: they find out by themselves. */
TEST(those_who_became_another_user_go_on_when_one_of_them_is_killed_that_held_it)
{
	server_begins();
	pid_t pids[3], holder = HOLDER({
		MUST(setgid(WORKER));
		MUST(setuid(WORKER));
		MUST(DO_OPS(id, OP(0, -1, SEM_UNDO)));
	});
	for (int i = 0; i < 3; i++)
		pids[i] = worker(3);
	UNTIL(ncnt_of(id, 0) == 3);
	MUST(kill(holder, SIGKILL));
	/* Before it is waited for, and then. */
	for (int i = 0; i < 3; i++)
		REAP(pids[i]);
	wait_for(holder);
	CHECK_EQ(value_of(id, 0), 1);
}
