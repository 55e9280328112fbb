/*
 * Who is served when several sleep: the waker does the sleepers' operations in its own call, in the order of the kernel.
 */
#include "semtest.h"

static int id;

/* A set of three, with these values. */
static void fresh(unsigned short a, unsigned short b, unsigned short c)
{
	id = new_set(3);
	MUST(SET_ALL(id, a, b, c));
}
#define ADD(num, op) MUST(DO_OPS(id, OP(num, op, 0)))

/* What is left after a call: the values, and who waits for what. */
#define CHECK_LEFT(values, counts)                                                                 \
	do {                                                                                       \
		CHECK_STR(values_of(id, 3), values);                                               \
		CHECK_STR(counts_of(id, 3), counts);                                               \
	} while (0)

TEST(three_that_take_one_are_served_in_the_order_in_which_they_came)
{
	fresh(0, 0, 0);
	for (int i = 1; i <= 3; i++)
		SLEEPER(i, id, OP(0, -1, 0));
	CHECK_LEFT("0 0 0", "3/0 0/0 0/0");
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "2/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK(sleeps(2) && sleeps(3));
	ADD(0, 2);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(2);
	CHECK_SERVED(3);
}

TEST(the_releaser_has_handed_over_before_its_call_returns)
{
	fresh(0, 0, 0);
	STAYING_SLEEPER(1, id, OP(0, -1, 0));
	ADD(0, 1);
	TEST_ERRNO(DO_OPS(id, OP(0, -1, IPC_NOWAIT)), EAGAIN);
	CHECK_EQ(value_of(id, 0), 0);
	CHECK_EQ(pid_of(id, 0), sleeper_pid[1]);
	CHECK_SERVED(1);
	CHECK_EQ(pid_of(id, 0), sleeper_pid[1]);
}

TEST(a_small_one_passes_a_large_one_that_does_not_fit)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(0, -2, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	SLEEPER(3, id, OP(0, -1, 0));
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "2/0 0/0 0/0");
	CHECK_SERVED(2);
	ADD(0, 1);
	CHECK_SERVED(3);
	ADD(0, 1);
	CHECK_LEFT("1 0 0", "1/0 0/0 0/0");
	CHECK(sleeps(1));
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(1);
}

TEST(a_large_one_that_fits_goes_before_a_younger_small_one)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(0, -2, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	ADD(0, 2);
	CHECK_LEFT("0 0 0", "1/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK(sleeps(2));
	ADD(0, 1);
	CHECK_SERVED(2);
}

TEST(all_who_wait_for_zero_are_served_at_once)
{
	fresh(1, 0, 0);
	for (int i = 1; i <= 3; i++)
		SLEEPER(i, id, OP(0, 0, 0));
	CHECK_LEFT("1 0 0", "0/3 0/0 0/0");
	ADD(0, -1);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	for (int i = 1; i <= 3; i++)
		CHECK_SERVED(i);
}

TEST(a_zero_between_two_sleepers_serves_who_waits_for_zero)
{
	fresh(1, 0, 0);
	SLEEPER(1, id, OP(0, 0, 0));
	SLEEPER(2, id, OP(0, -2, 0));
	CHECK_LEFT("1 0 0", "1/1 0/0 0/0");
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK_SERVED(2);
}

TEST(a_zero_that_is_passed_over_within_one_array_serves_nobody)
{
	fresh(2, 0, 0);
	SLEEPER(1, id, OP(0, 0, 0));
	MUST(DO_OPS(id, OP(0, -2, 0), OP(0, 2, 0)));
	CHECK_LEFT("2 0 0", "0/1 0/0 0/0");
	CHECK(sleeps(1));
	/* Not even of a sleeper's array. */
	SLEEPER(2, id, OP(1, -1, 0), OP(0, -2, 0), OP(0, 1, 0));
	ADD(1, 1);
	CHECK_SERVED(2);
	CHECK_LEFT("1 0 0", "0/1 0/0 0/0");
}

TEST(of_two_that_wait_for_zero_and_raise_only_the_older_goes)
{
	fresh(1, 0, 0);
	SLEEPER(1, id, OP(0, 0, 0), OP(0, 1, 0));
	SLEEPER(2, id, OP(0, 0, 0), OP(0, 1, 0));
	CHECK_LEFT("1 0 0", "0/2 0/0 0/0");
	ADD(0, -1);
	CHECK_LEFT("1 0 0", "0/1 0/0 0/0");
	CHECK_SERVED(1);
	CHECK(sleeps(2));
	ADD(0, -1);
	CHECK_LEFT("1 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(2);
}

TEST(who_only_waits_for_zero_goes_before_an_older_one_that_raises)
{
	fresh(1, 0, 0);
	SLEEPER(1, id, OP(0, 0, 0), OP(0, 1, 0));
	SLEEPER(2, id, OP(0, 0, 0));
	ADD(0, -1);
	CHECK_LEFT("1 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK_SERVED(2);
}

TEST(who_waits_for_several_zeroes_goes_before_an_older_one_that_raises_too)
{
	fresh(1, 0, 0);
	SLEEPER(1, id, OP(0, 0, 0), OP(0, 1, 0));
	SLEEPER(2, id, OP(0, 0, 0), OP(1, 0, 0));
	ADD(0, -1);
	CHECK_LEFT("1 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK_SERVED(2);
}

TEST(who_can_go_on_passes_an_older_array_that_cannot)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(0, -1, 0), OP(1, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	CHECK_LEFT("0 0 0", "2/0 0/0 0/0");
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "1/0 0/0 0/0");
	CHECK_SERVED(2);
	MUST(DO_OPS(id, OP(0, 1, 0), OP(1, 1, 0)));
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(1);
}

TEST(arrays_and_single_operations_stand_in_one_order)
{
	fresh(0, 1, 0);
	SLEEPER(1, id, OP(0, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0), OP(1, -1, 0));
	SLEEPER(3, id, OP(0, -1, 0));
	ADD(0, 1);
	CHECK_SERVED(1);
	CHECK_LEFT("0 1 0", "2/0 0/0 0/0");
	ADD(0, 1);
	CHECK_SERVED(2);
	CHECK_LEFT("0 0 0", "1/0 0/0 0/0");
	ADD(0, 1);
	CHECK_SERVED(3);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
}

TEST(what_a_served_sleeper_adds_serves_an_older_one)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(1, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0), OP(1, 1, 0));
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK_SERVED(2);
}

TEST(after_an_array_the_search_begins_with_the_oldest_again)
{
	fresh(0, 0, 1);
	SLEEPER(1, id, OP(1, -1, 0), OP(2, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0), OP(1, 1, 0));
	SLEEPER(3, id, OP(1, -1, 0), OP(2, -1, 0));
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "0/0 1/0 0/0");
	CHECK_SERVED(1);
	CHECK_SERVED(2);
	CHECK(sleeps(3));
}

TEST(a_chain_of_sleepers_is_served_by_one_call)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(2, -1, 0));
	SLEEPER(2, id, OP(1, -1, 0), OP(2, 1, 0));
	SLEEPER(3, id, OP(0, -1, 0), OP(1, 1, 0));
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	for (int i = 1; i <= 3; i++)
		CHECK_SERVED(i);
}

/* Beside an array the sleepers of later semaphores stand first, each semaphore's in their order: what waits for zeroes sees
 * semaphore 1 come to 0 before semaphore 0. */
TEST(beside_an_array_who_waits_at_a_later_semaphore_goes_first)
{
	fresh(1, 0, 0);
	SLEEPER(1, id, OP(0, -2, 0));
	SLEEPER(2, id, OP(1, -1, 0));
	SLEEPER(3, id, OP(0, 0, 0), OP(1, 0, IPC_NOWAIT));
	MUST(SET_ALL(id, 2, 1, 0));
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	for (int i = 1; i <= 3; i++)
		CHECK_SERVED(i);
}

TEST(setval_serves_as_many_as_the_value_allows)
{
	fresh(0, 0, 0);
	for (int i = 1; i <= 3; i++)
		SLEEPER(i, id, OP(0, -1, 0));
	MUST(set_value(id, 0, 2));
	CHECK_LEFT("0 0 0", "1/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK_SERVED(2);
	CHECK(sleeps(3));
	MUST(set_value(id, 0, 5));
	CHECK_LEFT("4 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(3);
}

TEST(setval_to_zero_serves_who_waits_for_it)
{
	fresh(3, 0, 0);
	SLEEPER(1, id, OP(0, 0, 0));
	SLEEPER(2, id, OP(0, 0, 0), OP(0, 4, 0));
	MUST(set_value(id, 0, 0));
	CHECK_LEFT("4 0 0", "0/0 0/0 0/0");
	CHECK_SERVED(1);
	CHECK_SERVED(2);
}

TEST(setall_serves_at_every_semaphore)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(2, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	SLEEPER(3, id, OP(1, -1, 0));
	SLEEPER(4, id, OP(0, -9, 0), OP(1, -9, 0));
	MUST(SET_ALL(id, 1, 1, 2));
	CHECK_LEFT("0 0 1", "1/0 0/0 0/0");
	for (int i = 1; i <= 3; i++)
		CHECK_SERVED(i);
	CHECK(sleeps(4));
}

TEST(a_sleeper_served_by_setval_stamps_the_time_and_its_pid)
{
	fresh(0, 0, 0);
	STAYING_SLEEPER(1, id, OP(0, -1, 0), OP(1, 0, 0));
	CHECK_EQ(set_stat(id).sem_otime, 0);
	time_t from = time(NULL);
	MUST(set_value(id, 0, 3));
	CHECK_WITHIN(set_stat(id).sem_otime, from, time(NULL));
	CHECK_WITHIN(set_stat(id).sem_ctime, from, time(NULL));
	CHECK_EQ(pid_of(id, 0), sleeper_pid[1]);
	CHECK_EQ(pid_of(id, 1), sleeper_pid[1]);
	CHECK_EQ(pid_of(id, 2), getpid());
	CHECK_LEFT("2 0 0", "0/0 0/0 0/0");
}

/* -------------------------------------------- attempts that end in an error */

TEST(an_array_whose_next_obstacle_must_not_be_waited_for_ends_with_eagain)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(0, -1, 0), OP(1, -1, IPC_NOWAIT));
	CHECK_LEFT("0 0 0", "1/0 0/0 0/0");
	ADD(0, 1);
	CHECK_LEFT("1 0 0", "0/0 0/0 0/0");
	CHECK_ENDED(1, EAGAIN);
}

TEST(an_array_that_would_exceed_a_value_ends_with_erange)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(0, -1, 0), OP(1, 1, 0));
	MUST(set_value(id, 1, 32767));
	CHECK_LEFT("0 32767 0", "1/0 0/0 0/0");
	ADD(0, 1);
	CHECK_LEFT("1 32767 0", "0/0 0/0 0/0");
	CHECK_ENDED(1, ERANGE);
}

TEST(what_a_failed_attempt_leaves_serves_the_next)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(0, -1, 0), OP(1, -1, IPC_NOWAIT));
	SLEEPER(2, id, OP(0, -1, 0));
	ADD(0, 1);
	CHECK_LEFT("0 0 0", "0/0 0/0 0/0");
	CHECK_ENDED(1, EAGAIN);
	CHECK_SERVED(2);
}

/* --------------------------------------------------------------- the counts */

TEST(a_sleeper_counts_for_its_first_obstacle_as_of_the_last_try)
{
	fresh(0, 0, 0);
	SLEEPER(1, id, OP(0, -1, 0), OP(1, -1, 0));
	CHECK_LEFT("0 0 0", "1/0 0/0 0/0");
	ADD(0, 1);
	CHECK_LEFT("1 0 0", "0/0 1/0 0/0");
	ADD(0, -1);
	SLEEPER(2, id, OP(2, 0, 0), OP(0, -1, 0));
	/* The first was tried once more when 0 was lowered, the second waits for 0 itself until 2 is no longer zero. */
	CHECK_LEFT("0 0 0", "2/0 0/0 0/0");
	MUST(set_value(id, 2, 1));
	SLEEPER(3, id, OP(2, 0, 0), OP(1, 0, 0));
	CHECK_LEFT("0 0 1", "1/0 0/0 0/2");
}

TEST(waits_for_more_and_for_zero_are_counted_apart)
{
	fresh(1, 1, 0);
	SLEEPER(1, id, OP(0, -2, 0));
	SLEEPER(2, id, OP(0, 0, 0));
	SLEEPER(3, id, OP(1, 0, 0), OP(0, -1, 0));
	CHECK_LEFT("1 1 0", "1/1 0/1 0/0");
}

/* ------------------------------------------------------------------ removal */

TEST(removal_ends_every_sleep_with_eidrm)
{
	fresh(0, 0, 1);
	SLEEPER(1, id, OP(1, -1, 0));
	SLEEPER(2, id, OP(0, -1, 0));
	SLEEPER(3, id, OP(2, 0, 0));
	SLEEPER(4, id, OP(0, -1, 0), OP(1, -1, 0));
	SLEEPER_WITH(5, id, (&(struct timespec){ 3000, 0 }), false, OP(0, -3, 0));
	TEST_SUCC(remove_set(id));
	for (int i = 1; i <= 5; i++)
		CHECK_ENDED(i, EIDRM);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0)), EINVAL);
}

TEST(who_was_served_before_the_removal_has_succeeded)
{
	for (int i = 0; i < 20; i++) {
		fresh(0, 0, 0);
		SLEEPER(1, id, OP(0, -1, 0));
		ADD(0, 1);
		TEST_SUCC(remove_set(id));
		CHECK_SERVED(1);
	}
}

TEST(a_set_in_the_place_of_a_removed_one_has_no_sleepers)
{
	int index = 0;
	fresh(0, 0, 0);
	index = index_of(id);
	SLEEPER(1, id, OP(0, -1, 0));
	TEST_SUCC(remove_set(id));
	int other;
	do {
		other = new_set(3);
		if (index_of(other) != index)
			MUST(remove_set(other));
	} while (index_of(other) != index);
	CHECK_EQ(ncnt_of(other, 0), 0);
	MUST(set_value(other, 0, 5));
	CHECK_ENDED(1, EIDRM);
	CHECK_EQ(value_of(other, 0), 5);
}

TEST_SEVERAL_UIDS(a_stranger_may_sleep_and_be_told_of_the_removal)
{
	id = MUST(semget(IPC_PRIVATE, 1, 0606));
	outcome = shared_memory(sizeof *outcome);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		drop_to(54001, 54001);
		outcome->result[1] = DO_OPS(id, OP(0, -1, 0)) == 0 ? SERVED : errno;
		outcome->result[2] = DO_OPS(id, OP(0, -1, 0)) == 0 ? SERVED : errno;
		_exit(0);
	}
	UNTIL(ncnt_of(id, 0) == 1);
	ADD(0, 1);
	CHECK_SERVED(1);
	UNTIL(ncnt_of(id, 0) == 1);
	TEST_SUCC(remove_set(id));
	CHECK_ENDED(2, EIDRM);
	REAP(pid);
}

TEST_SEVERAL_UIDS(rights_are_asked_once_when_the_call_begins)
{
	id = MUST(semget(IPC_PRIVATE, 1, 0606));
	outcome = shared_memory(sizeof *outcome);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		drop_to(54001, 54001);
		outcome->result[1] = DO_OPS(id, OP(0, -1, 0)) == 0 ? SERVED : errno;
		TEST_ERRNO(DO_OPS(id, OP(0, 1, 0)), EACCES);
		_exit(0);
	}
	UNTIL(ncnt_of(id, 0) == 1);
	MUST(set_mode(id, 0));
	CHECK_EQ(ncnt_of(id, 0), 1);
	ADD(0, 1);
	CHECK_EQ(value_of(id, 0), 0);
	CHECK_SERVED(1);
	REAP(pid);
}
