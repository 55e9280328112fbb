/*
 * Asleep in semop: what ends a sleep, what becomes of a sleeper that is killed or stopped, time limits, large arrays.
 */
#include "semtest.h"

/* -------------------------------------------------------------- killed */

TEST(a_killed_sleeper_is_out_of_the_queue)
{
	int id = new_set(1);
	SLEEPER(1, id, OP(0, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	kill_sleeper(1);
	CHECK_EQ(ncnt_of(id, 0), 1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 0);
	CHECK_SERVED(2);
}

TEST(what_comes_after_the_death_of_the_only_sleeper_stays_in_the_value)
{
	int id = new_set(1);
	SLEEPER(1, id, OP(0, -1, 0));
	kill_sleeper(1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
	CHECK_EQ(ncnt_of(id, 0), 0);
}

TEST(a_killed_sleeper_is_out_of_the_queue_while_it_is_a_zombie)
{
	int id = new_set(1);
	siginfo_t info;
	SLEEPER(1, id, OP(0, -1, 0));
	MUST(kill(sleeper_pid[1], SIGKILL));
	MUST(waitid(P_PID, (id_t)sleeper_pid[1], &info, WEXITED | WNOWAIT));
	CHECK_EQ(ncnt_of(id, 0), 0);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
	wait_for(sleeper_pid[1]);
}

TEST(the_death_of_one_sleeper_leaves_the_order_of_the_others)
{
	int id = new_set(1);
	for (int i = 1; i <= 5; i++)
		SLEEPER(i, id, OP(0, -1, 0));
	kill_sleeper(3);
	kill_sleeper(1);
	CHECK_EQ(ncnt_of(id, 0), 3);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(2);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(4);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(5);
	CHECK_EQ(ncnt_of(id, 0), 0);
}

TEST(a_death_beside_a_grant_takes_no_more_than_its_own)
{
	int id = new_set(1), rounds = getenv("SHMTEST_SLOW") ? 10 : 60;
	for (int i = 0; i < rounds; i++) {
		SLEEPER(1, id, OP(0, -1, 0));
		SLEEPER(2, id, OP(0, -1, 0));
		MUST(kill(sleeper_pid[1], SIGKILL));
		MUST(DO_OPS(id, OP(0, 1, 0)));
		wait_for(sleeper_pid[1]);
		MUST(DO_OPS(id, OP(0, 1, 0)));
		CHECK_SERVED(2);
		wait_for(sleeper_pid[2]);
		/* The first may have gone to the one that was dying, and be lost with it; or it went to the other, and the second stayed. */
		CHECK(value_of(id, 0) <= 1);
		CHECK_EQ(ncnt_of(id, 0), 0);
		MUST(set_value(id, 0, 0));
	}
}

/* ------------------------------------------------------------- stopped */

TEST(a_stopped_sleeper_is_out_of_the_queue_and_gets_eintr_when_it_goes_on)
{
	if (under_library())
		NOT_ON_THIS_SIDE("Divergence: a sleeper of another process that is stopped stays in the queue");
	int id = new_set(1);
	SLEEPER(1, id, OP(0, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	MUST(kill(sleeper_pid[1], SIGSTOP));
	UNTIL(state_of(sleeper_pid[1]) == 'T');
	CHECK_EQ(ncnt_of(id, 0), 1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(2);
	MUST(kill(sleeper_pid[1], SIGCONT));
	CHECK_ENDED(1, EINTR);
	CHECK_EQ(value_of(id, 0), 0);
}

/* Divergence: under the shim the system call that a sleeper sleeps in may go on after a stop, and the sleep with it. */
TEST(stop_and_continue_end_a_sleep_with_eintr)
{
	int id = new_set(1);
	struct timespec limit = { 3000, 0 };
	SLEEPER(1, id, OP(0, -1, 0));
	SLEEPER_WITH(2, id, &limit, false, OP(0, -1, 0));
	for (int i = 1; i <= 2; i++) {
		MUST(kill(sleeper_pid[i], SIGSTOP));
		UNTIL(state_of(sleeper_pid[i]) == 'T');
		MUST(kill(sleeper_pid[i], SIGCONT));
		UNTIL(!sleeps(i) || (under_library() && state_of(sleeper_pid[i]) == 'S'));
		if (under_library() && sleeps(i)) {
			MUST(DO_OPS(id, OP(0, 1, 0)));
			CHECK_SERVED(i);
		} else {
			CHECK_ENDED(i, EINTR);
		}
		wait_for(sleeper_pid[i]);
	}
	CHECK_EQ(ncnt_of(id, 0), 0);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
}

TEST(a_bare_continue_ends_no_sleep)
{
	int id = new_set(1);
	SLEEPER(1, id, OP(0, -1, 0));
	for (int i = 0; i < 20; i++) {
		MUST(kill(sleeper_pid[1], SIGCONT));
		sched_yield();
	}
	CHECK_EQ(ncnt_of(id, 0), 1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(1);
	CHECK_EQ(value_of(id, 0), 0);
}

/* --------------------------------------------------------- time limits */

TEST(a_time_limit_ends_the_sleep_with_eagain_and_leaves_nothing)
{
	int id = new_set(2);
	struct timespec limits[] = { { 0, 0 }, { 0, 1 }, { 0, 1000 }, { 0, 1000000 }, { 0, 20000000 } };
	struct sembuf minus = OP(0, -1, 0), pair[] = { OP(1, 1, 0), OP(0, -1, SEM_UNDO) };
	for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
		struct timespec limit = limits[i], then, now;
		clock_gettime(CLOCK_MONOTONIC, &then);
		TEST_ERRNO(semtimedop(id, &minus, 1, &limit), EAGAIN);
		clock_gettime(CLOCK_MONOTONIC, &now);
		long long took = (now.tv_sec - then.tv_sec) * 1000000000ll + now.tv_nsec - then.tv_nsec;
		CHECK(took >= limits[i].tv_nsec);
		/* It is not changed. */
		CHECK_EQ(limit.tv_sec, limits[i].tv_sec);
		CHECK_EQ(limit.tv_nsec, limits[i].tv_nsec);
		TEST_ERRNO(semtimedop(id, pair, 2, &limit), EAGAIN);
		CHECK_EQ(ncnt_of(id, 0), 0);
	}
	CHECK_STR(values_of(id, 2), "0 0");
	CHECK_EQ(set_stat(id).sem_otime, 0);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
	TEST_SUCC(semtimedop(id, &minus, 1, &limits[0]));
}

TEST(a_wait_for_zero_has_time_limits_too)
{
	int id = new_set(1);
	struct sembuf zero = OP(0, 0, 0);
	struct timespec limit = { 0, 2000000 };
	MUST(set_value(id, 0, 1));
	TEST_ERRNO(semtimedop(id, &zero, 1, &limit), EAGAIN);
	CHECK_EQ(zcnt_of(id, 0), 0);
	MUST(set_value(id, 0, 0));
	TEST_SUCC(semtimedop(id, &zero, 1, &limit));
}

TEST(who_is_served_within_the_limit_succeeds)
{
	int id = new_set(1);
	struct timespec limit = { 3000, 999999999 }, longest = { LONG_MAX, 999999999 };
	SLEEPER_WITH(1, id, &limit, false, OP(0, -1, 0));
	SLEEPER_WITH(2, id, &longest, false, OP(0, -1, 0));
	CHECK_EQ(ncnt_of(id, 0), 2);
	MUST(DO_OPS(id, OP(0, 2, 0)));
	CHECK_SERVED(1);
	CHECK_SERVED(2);
	CHECK_EQ(value_of(id, 0), 0);
}

TEST(limits_that_end_beside_grants_lose_no_token)
{
	int id = new_set(1), rounds = getenv("SHMTEST_SLOW") ? 20 : 200;
	int *got = shared_memory(sizeof *got);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct sembuf minus = OP(0, -1, 0);
		for (int i = 0; i < rounds;) {
			struct timespec limit = { 0, 1000 * (i % 300) };
			if (semtimedop(id, &minus, 1, &limit) == 0)
				++*got, i++;
			else if (errno != EAGAIN)
				FATAL("semtimedop: %s", errno_name(errno));
		}
		_exit(0);
	}
	for (int i = 0; i < rounds; i++) {
		MUST(DO_OPS(id, OP(0, 1, 0)));
		if (i % 3 == 0)
			nanosleep(&(struct timespec){ 0, 100000 }, NULL);
	}
	REAP(pid);
	CHECK_EQ(*got, rounds);
	CHECK_EQ(value_of(id, 0), 0);
	CHECK_EQ(ncnt_of(id, 0), 0);
}

/* ------------------------------------------------ what a sleeper carries */

TEST(five_hundred_operations_can_sleep)
{
	int id = new_set(1);
	struct sembuf ops[500];
	for (int i = 0; i < 500; i++)
		ops[i] = OP(0, i ? 0 : -1, 0);
	start_sleeper(1, id, ops, 500, NULL, false);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(1);
	CHECK_EQ(value_of(id, 0), 0);
	struct sembuf all[500];
	id = new_set(500);
	for (int i = 0; i < 500; i++)
		all[i] = OP((unsigned short)i, i == 499 ? -1 : 1, 0);
	start_sleeper(2, id, all, 500, NULL, false);
	CHECK_EQ(ncnt_of(id, 499), 1);
	CHECK_EQ(value_of(id, 0), 0);
	MUST(DO_OPS(id, OP(499, 1, 0)));
	CHECK_SERVED(2);
	CHECK_EQ(value_of(id, 0), 1);
	CHECK_EQ(value_of(id, 498), 1);
	CHECK_EQ(value_of(id, 499), 0);
}

TEST(operations_are_copied_when_the_call_begins)
{
	int id = new_set(1);
	struct sembuf *ops = shared_memory(PAGE);
	*ops = OP(0, -1, 0);
	start_sleeper(1, id, ops, 1, NULL, false);
	ops->sem_op = -5;
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(1);
	CHECK_EQ(value_of(id, 0), 0);
}

TEST(many_sleepers_are_all_served)
{
	enum { CROWD = 30 };
	int id = new_set(3);
	for (int i = 0; i < CROWD; i++)
		SLEEPER(i, id, OP((unsigned short)(i % 3), -1, 0));
	CHECK_STR(counts_of(id, 3), "10/0 10/0 10/0");
	MUST(DO_OPS(id, OP(0, 10, 0), OP(1, 10, 0), OP(2, 10, 0)));
	CHECK_STR(counts_of(id, 3), "0/0 0/0 0/0");
	CHECK_STR(values_of(id, 3), "0 0 0");
	for (int i = 0; i < CROWD; i++)
		CHECK_SERVED(i);
}

/* ---------------------------------------------------------- two that pass */

TEST(two_processes_take_turns_a_thousand_times)
{
	int id = new_set(2), turns = getenv("SHMTEST_SLOW") ? 50 : 1000;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (int i = 0; i < turns; i++) {
			MUST(DO_OPS(id, OP(0, -1, 0)));
			MUST(DO_OPS(id, OP(1, 1, 0)));
		}
		_exit(0);
	}
	for (int i = 0; i < turns; i++) {
		MUST(DO_OPS(id, OP(0, 1, 0)));
		MUST(DO_OPS(id, OP(1, -1, 0)));
	}
	REAP(pid);
	CHECK_STR(values_of(id, 2), "0 0");
	CHECK_STR(counts_of(id, 2), "0/0 0/0");
}

TEST(a_semaphore_of_one_excludes)
{
	enum { PROCESSES = 6 };
	int id = new_set(1), turns = getenv("SHMTEST_SLOW") ? 20 : 300;
	volatile int *shared = shared_memory(sizeof *shared);
	pid_t pids[PROCESSES];
	MUST(set_value(id, 0, 1));
	for (int p = 0; p < PROCESSES; p++)
		if ((pids[p] = MUST(fork())) == 0) {
			for (int i = 0; i < turns; i++) {
				MUST(DO_OPS(id, OP(0, -1, SEM_UNDO)));
				int was = *shared;
				if (i % 8 == 0)
					sched_yield();
				*shared = was + 1;
				MUST(DO_OPS(id, OP(0, 1, SEM_UNDO)));
			}
			_exit(0);
		}
	for (int p = 0; p < PROCESSES; p++)
		REAP(pids[p]);
	CHECK_EQ(*shared, PROCESSES * turns);
	CHECK_EQ(value_of(id, 0), 1);
}
