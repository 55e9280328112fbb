/*
 * The times and pids of a set: which call changes which.
 */
#include "semtest.h"

/* As long ago as the clock of the stamps can tell, everything is made, and one call follows. */
static struct semid_ds aged(int *id)
{
	*id = new_set(3);
	MUST(DO_OPS(*id, OP(2, 1, 0)));
	struct semid_ds d = set_stat(*id);
	next_second();
	return d;
}

TEST(what_only_asks_changes_no_stamp)
{
	int id;
	unsigned short all[3];
	struct semid_ds before = aged(&id), d;
	IN_CHILD {
		semctl(id, 0, GETVAL), semctl(id, 0, GETPID), semctl(id, 0, GETNCNT), semctl(id, 0, GETZCNT);
		MUST(ctl_arg(id, 0, GETALL, all));
		MUST(ctl_arg(id, 0, IPC_STAT, &d));
		MUST(ctl_arg(index_of(id), 0, SEM_STAT, &d));
		MUST(ctl_arg(0, 0, SEM_INFO, &(struct seminfo){ 0 }));
		TEST_ERRNO(DO_OPS(id, OP(0, -1, IPC_NOWAIT)), EAGAIN);
	}
	d = set_stat(id);
	CHECK_SAME_SET(before, d);
	CHECK_EQ(pid_of(id, 0), 0);
	CHECK_EQ(pid_of(id, 2), getpid());
}

TEST(setval_stamps_ctime_and_one_pid_though_the_value_is_the_same)
{
	int id;
	struct semid_ds before = aged(&id), d;
	time_t from = time(NULL);
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(set_value(id, 0, 0) != 0);
	REAP(pid);
	d = set_stat(id);
	CHECK_WITHIN(d.sem_ctime, from, time(NULL));
	CHECK_EQ(d.sem_otime, before.sem_otime);
	CHECK_EQ(pid_of(id, 0), pid);
	CHECK_EQ(pid_of(id, 1), 0);
	CHECK_EQ(pid_of(id, 2), getpid());
}

TEST(setall_stamps_ctime_and_all_pids)
{
	int id;
	struct semid_ds before = aged(&id), d;
	time_t from = time(NULL);
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(SET_ALL(id, 0, 0, 1) != 0);
	REAP(pid);
	d = set_stat(id);
	CHECK_WITHIN(d.sem_ctime, from, time(NULL));
	CHECK_EQ(d.sem_otime, before.sem_otime);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pid_of(id, i), pid);
}

TEST(ipc_set_stamps_ctime_alone)
{
	int id;
	struct semid_ds before = aged(&id), d;
	time_t from = time(NULL);
	IN_CHILD MUST(set_mode(id, 0640));
	d = set_stat(id);
	CHECK_WITHIN(d.sem_ctime, from, time(NULL));
	CHECK_EQ(d.sem_otime, before.sem_otime);
	CHECK_EQ(pid_of(id, 0), 0);
	CHECK_EQ(pid_of(id, 2), getpid());
}

TEST(a_wait_for_zero_that_succeeds_stamps_otime_and_pid)
{
	int id;
	struct semid_ds before = aged(&id), d;
	time_t from = time(NULL);
	MUST(DO_OPS(id, OP(0, 0, 0)));
	d = set_stat(id);
	CHECK_WITHIN(d.sem_otime, from, time(NULL));
	CHECK_EQ(d.sem_ctime, before.sem_ctime);
	CHECK_EQ(pid_of(id, 0), getpid());
	CHECK_EQ(pid_of(id, 1), 0);
}
