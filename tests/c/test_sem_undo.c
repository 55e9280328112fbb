/*
 * SEM_UNDO: what a process did with it is undone when the process ends, in whatever way, and only then.
 */
#include "undotest.h"
#include <linux/futex.h>

/* One operation that is not. */
static void plainly(int num, int op) { MUST(DO_OPS(id, OP((unsigned short)num, (short)op, 0))); }

/* --------------------------------------------------------- the ways to end */

enum end { BY__EXIT, BY_EXIT, BY_QUICK_EXIT, BY_KILL, BY_ABORT, BY_SEGV, BY_TERM, BY_THREAD, ENDS };

static void *exits_all(void *arg)
{
	(void)arg;
	syscall(SYS_exit_group, 0);
	return NULL;
}

static void end_by(enum end how)
{
	pthread_t t;
	switch (how) {
	case BY_EXIT: exit(0);
	case BY_QUICK_EXIT: quick_exit(0);
	case BY_KILL: raise(SIGKILL); break;
	case BY_ABORT: abort();
	case BY_SEGV: raise(SIGSEGV); break;
	case BY_TERM: raise(SIGTERM); break;
	case BY_THREAD:
		thread_start(&t, exits_all, NULL);
		pthread_join(t, NULL);
		break;
	default: break;
	}
	_exit(0);
}

TEST(every_way_to_end_undoes)
{
	fresh(9, 0);
	for (enum end how = BY__EXIT; how < ENDS; how++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			undoably(0, -3);
			undoably(1, 5);
			end_by(how);
		}
		wait_for(pid);
		COUNT_CHECK();
		if (strcmp(values_of(id, 2), "9 0") != 0)
			FAIL("after end %d the values are %s", how, values_of(id, 2));
	}
}

TEST(while_the_process_lives_nothing_is_undone)
{
	fresh(5, 0);
	pid_t pid = HOLDER(undoably(0, -3));
	CHECK_VALUES("2 0");
	kill_and_reap(pid);
	CHECK_VALUES("5 0");
}

TEST(operations_with_the_flag_add_up)
{
	fresh(5, 0);
	CHILD(undoably(0, -3); undoably(0, 2); undoably(1, 4); undoably(1, -4));
	CHECK_VALUES("5 0");
	CHILD(MUST(DO_OPS(id, OP(0, -1, SEM_UNDO), OP(1, 7, 0), OP(0, -2, SEM_UNDO), OP(1, 1, SEM_UNDO))));
	CHECK_VALUES("5 7");
	CHILD(for (int i = 0; i < 100; i++) undoably(0, i % 2 ? 2 : -1));
	CHECK_VALUES("5 7");
}

TEST(an_operation_without_the_flag_is_not_undone_and_does_not_count_against)
{
	fresh(5, 0);
	CHILD(undoably(0, -3); plainly(0, 3));
	CHECK_VALUES("8 0");
	fresh(5, 0);
	CHILD(plainly(0, -3));
	CHECK_VALUES("2 0");
	fresh(0, 0);
	CHILD(MUST(DO_OPS(id, OP(0, 2, SEM_UNDO), OP(0, 3, 0))));
	CHECK_VALUES("3 0");
}

TEST(a_wait_for_zero_with_the_flag_changes_no_value)
{
	fresh(0, 4);
	CHILD(MUST(DO_OPS(id, OP(0, 0, SEM_UNDO))));
	CHECK_VALUES("0 4");
}

TEST(what_is_given_back_is_cut_at_0_and_at_32767)
{
	fresh(0, 0);
	pid_t pid = HOLDER(undoably(0, 3));
	plainly(0, -2);
	kill_and_reap(pid);
	CHECK_VALUES("0 0");
	fresh(32767, 0);
	pid = HOLDER(undoably(0, -5));
	plainly(0, 3);
	kill_and_reap(pid);
	CHECK_VALUES("32767 0");
	/* As far as it goes when both semaphores are cut at once. */
	fresh(32767, 0);
	pid = HOLDER(undoably(0, -5); undoably(1, 6));
	plainly(0, 5);
	plainly(1, -6);
	kill_and_reap(pid);
	CHECK_VALUES("32767 0");
}

TEST(an_operation_that_failed_is_not_undone)
{
	fresh(5, 0);
	CHILD(TEST_ERRNO(DO_OPS(id, OP(0, -3, SEM_UNDO), OP(1, -1, IPC_NOWAIT | SEM_UNDO)), EAGAIN);
	      TEST_ERRNO(DO_OPS(id, OP(0, -6, IPC_NOWAIT | SEM_UNDO)), EAGAIN);
	      TEST_ERRNO(DO_OPS(id, OP(0, 32767, SEM_UNDO)), ERANGE));
	CHECK_VALUES("5 0");
}

/* ----------------------------------------------------------- when, and who */

TEST(it_is_done_when_the_dead_one_is_a_zombie)
{
	fresh(1, 0);
	siginfo_t info;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		undoably(0, -1);
		_exit(0);
	}
	MUST(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	CHECK_EQ(value_of(id, 0), 1);
	TEST_SUCC(DO_OPS(id, OP(0, -1, IPC_NOWAIT)));
	REAP(pid);
	CHECK_EQ(value_of(id, 0), 0);
}

TEST(whatever_is_asked_first_sees_it_done)
{
	for (int i = 0; i < 6; i++) {
		unsigned short all[2];
		fresh(1, 0);
		CHILD(undoably(0, -1));
		switch (i) {
		case 0: CHECK_EQ(value_of(id, 0), 1); break;
		case 1: TEST_SUCC(DO_OPS(id, OP(0, -1, IPC_NOWAIT))); break;
		case 2: TEST_ERRNO(DO_OPS(id, OP(0, 0, IPC_NOWAIT)), EAGAIN); break;
		case 3:
			MUST(ctl_arg(id, 0, GETALL, all));
			CHECK_EQ(all[0], 1);
			break;
		case 4: CHECK(pid_of(id, 0) != 0 && pid_of(id, 0) != getpid()); break;
		case 5: CHECK(set_stat(id).sem_otime != 0); break;
		}
	}
}

TEST(the_dead_ones_pid_stands_where_something_was_undone)
{
	fresh(1, 0);
	pid_t pid = HOLDER(undoably(0, -1); undoably(1, 1); undoably(1, -1));
	MUST(SET_ALL(id, 0, 0)); /* forgotten, and mine */
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	CHECK_EQ(pid_of(id, 0), getpid());
	fresh(1, 0);
	pid = HOLDER(undoably(0, -1); undoably(1, 1); undoably(1, -1));
	MUST(set_value(id, 1, 0));
	plainly(0, 0);
	kill_and_reap(pid);
	CHECK_EQ(pid_of(id, 0), pid);
	CHECK_EQ(pid_of(id, 1), getpid());
	CHECK_VALUES("1 0");
}

TEST(it_stamps_otime_and_not_ctime)
{
	fresh(1, 0);
	pid_t pid = HOLDER(undoably(0, -1));
	struct semid_ds before = set_stat(id), after;
	next_second();
	time_t from = time(NULL);
	kill_and_reap(pid);
	after = set_stat(id);
	CHECK_WITHIN(after.sem_otime, from, time(NULL));
	CHECK_EQ(after.sem_ctime, before.sem_ctime);
}

TEST(it_stamps_otime_though_nothing_is_left_to_undo)
{
	fresh(1, 0);
	pid_t pid = HOLDER(undoably(0, -1); undoably(0, 1));
	next_second();
	time_t from = time(NULL);
	kill_and_reap(pid);
	CHECK_WITHIN(set_stat(id).sem_otime, from, time(NULL));
	CHECK_VALUES("1 0");
}

TEST(a_failed_operation_with_the_flag_is_enough_for_otime)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("Divergence: a failed operation leaves no record");
	fresh(1, 0);
	time_t from = time(NULL);
	CHILD(TEST_ERRNO(DO_OPS(id, OP(0, -5, SEM_UNDO | IPC_NOWAIT)), EAGAIN));
	CHECK_WITHIN(set_stat(id).sem_otime, from, time(NULL));
	fresh(1, 0);
	SLEEPER(1, id, OP(0, -5, SEM_UNDO));
	kill_sleeper(1);
	CHECK_WITHIN(set_stat(id).sem_otime, from, time(NULL));
	CHECK_VALUES("1 0");
}

/* ---------------------------------------------------------------- forgotten */

TEST(setval_forgets_what_all_processes_would_undo_of_that_semaphore)
{
	fresh(9, 9);
	pid_t one = HOLDER(MUST(DO_OPS(id, OP(0, -3, SEM_UNDO), OP(1, -3, SEM_UNDO))));
	pid_t two = HOLDER(MUST(DO_OPS(id, OP(0, -2, SEM_UNDO), OP(1, -2, SEM_UNDO))));
	CHECK_VALUES("4 4");
	MUST(set_value(id, 0, 7));
	kill_and_reap(one);
	CHECK_VALUES("7 7");
	kill_and_reap(two);
	CHECK_VALUES("7 9");
}

TEST(setall_forgets_all_of_the_set)
{
	fresh(9, 9);
	int other = new_set(1);
	pid_t pid = HOLDER(MUST(DO_OPS(id, OP(0, -3, SEM_UNDO), OP(1, -3, SEM_UNDO))); MUST(DO_OPS(other, OP(0, 2, SEM_UNDO))));
	MUST(SET_ALL(id, 1, 1));
	kill_and_reap(pid);
	CHECK_VALUES("1 1");
	CHECK_EQ(value_of(other, 0), 0);
}

TEST(after_setval_it_begins_anew)
{
	fresh(5, 0);
	CHILD(undoably(0, -3); MUST(set_value(id, 0, 5)); undoably(0, -1));
	CHECK_VALUES("5 0");
}

TEST(removal_drops_the_records_and_a_set_in_the_same_place_is_not_touched)
{
	fresh(1, 0);
	pid_t pid = HOLDER(undoably(0, -1));
	int index = index_of(id);
	MUST(remove_set(id));
	while (index_of(id = new_set(2)) != index)
		MUST(remove_set(id));
	MUST(SET_ALL(id, 3, 3));
	kill_and_reap(pid);
	CHECK_VALUES("3 3");
}

/* The kernel does not reach what libc has in the list of robust mutexes. */
static void with_a_list_of_its_own(void)
{
	static struct robust_list_head own = { .list = { &own.list } };
	undoably(0, -1);
	MUST(syscall(SYS_set_robust_list, &own, sizeof own));
}

TEST(it_is_done_for_a_process_with_a_list_of_robust_mutexes_of_its_own)
{
	siginfo_t info;
	fresh(1, 0);
	pid_t pid = HOLDER(with_a_list_of_its_own());
	SLEEPER(1, id, OP(0, -1, 0));
	MUST(kill(pid, SIGKILL));
	/* Nobody has waited for it yet. */
	CHECK_SERVED(1);
	CHECK_VALUES("0 0");
	wait_for(pid);
	fresh(1, 0);
	pid = HOLDER(with_a_list_of_its_own());
	MUST(kill(pid, SIGKILL));
	MUST(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
	CHECK_VALUES("1 0");
	wait_for(pid);
}

/* ---------------------------------------------------------------- sleepers */

TEST(what_is_given_back_serves_a_sleeper)
{
	enum end ends[] = { BY__EXIT, BY_EXIT, BY_KILL };
	for (int i = 0; i < 3; i++) {
		fresh(1, 0);
		struct gate go = gate_make();
		pid_t pid = MUST(fork());
		if (pid == 0) {
			undoably(0, -1);
			gate_wait(&go);
			end_by(ends[i]);
		}
		UNTIL(value_of(id, 0) == 0);
		SLEEPER(1, id, OP(0, -1, 0));
		gate_open(&go);
		/* Nobody asks, nobody reaps: the sleeper goes on all the same. */
		CHECK_SERVED(1);
		wait_for(pid);
		CHECK_VALUES("0 0");
	}
}

TEST(what_is_taken_back_serves_who_waits_for_zero)
{
	fresh(0, 0);
	pid_t pid = HOLDER(undoably(0, 2));
	SLEEPER(1, id, OP(0, 0, 0));
	MUST(kill(pid, SIGKILL));
	CHECK_SERVED(1);
	wait_for(pid);
	CHECK_VALUES("0 0");
}

TEST(a_sleeper_sees_all_that_one_process_gives_back_at_once)
{
	fresh(0, 0);
	pid_t pid = HOLDER(MUST(DO_OPS(id, OP(0, 1, 0), OP(1, 1, 0))); MUST(DO_OPS(id, OP(0, -1, SEM_UNDO), OP(1, -1, SEM_UNDO))));
	SLEEPER(1, id, OP(0, -1, 0), OP(1, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	kill_and_reap(pid);
	CHECK_SERVED(1);
	CHECK_STR(counts_of(id, 2), "1/0 0/0");
	CHECK_VALUES("0 0");
	CHECK(sleeps(2));
}

TEST(what_the_waker_took_for_a_sleeper_is_the_sleepers_to_undo)
{
	fresh(0, 0);
	STAYING_SLEEPER(1, id, OP(0, -1, SEM_UNDO));
	plainly(0, 1);
	CHECK_VALUES("0 0");
	CHECK_SERVED(1);
	CHECK_VALUES("0 0");
	kill_sleeper(1);
	CHECK_VALUES("1 0");
	CHECK_EQ(pid_of(id, 0), sleeper_pid[1]);
}

TEST(a_mutex_goes_from_dead_to_living_down_the_whole_queue)
{
	enum { HEIRS = 6 };
	fresh(1, 0);
	pid_t pid = HOLDER(undoably(0, -1));
	for (int i = 0; i < HEIRS; i++)
		STAYING_SLEEPER(i, id, OP(0, -1, SEM_UNDO));
	MUST(kill(pid, SIGKILL));
	for (int i = 0; i < HEIRS; i++) {
		CHECK_SERVED(i);
		CHECK_EQ(value_of(id, 0), 0);
		CHECK_EQ(ncnt_of(id, 0), HEIRS - 1 - i);
		MUST(kill(sleeper_pid[i], SIGKILL));
	}
	for (int i = 0; i < HEIRS; i++)
		wait_for(sleeper_pid[i]);
	wait_for(pid);
	CHECK_VALUES("1 0");
}
