/*
 * semop and semtimedop without sleeping: which error wins, and what the operations of one call do together.
 */
#include "semtest.h"

enum { MOST = 500, LARGEST_VALUE = 32767 };

static struct sembuf many[MOST + 1];
static struct sembuf *const nowhere = UNMAPPED;
/* The compiler knows that semop's pointer is not to be NULL. */
static struct sembuf *volatile no_ops = NULL;

static int removed_set(void)
{
	int id = new_set(1);
	MUST(remove_set(id));
	return id;
}

/* --------------------------------------------------- the order of errors */

TEST(more_operations_than_semopm_are_e2big_before_anything_else)
{
	int id = new_set(1);
	TEST_ERRNO(semop(id, many, MOST + 1), E2BIG);
	TEST_ERRNO(semop(-1, no_ops, MOST + 1), E2BIG);
	TEST_ERRNO(semop(removed_set(), nowhere, MOST + 1), E2BIG);
	TEST_ERRNO(semop(id, many, (size_t)-1), E2BIG);
	TEST_SUCC(semop(id, many, MOST));
}

#if __SIZEOF_LONG__ == 8
TEST(the_number_of_operations_is_taken_as_32_bits)
{
	int id = new_set(1);
	struct sembuf one = OP(0, 1, 0);
	TEST_SUCC(semop(id, &one, (1ul << 32) + 1));
	CHECK_EQ(value_of(id, 0), 1);
	TEST_ERRNO(semop(id, &one, 1ul << 32), EINVAL);
	TEST_ERRNO(semop(id, &one, (1ul << 32) + MOST + 1), E2BIG);
}
#endif

TEST(no_operations_are_einval)
{
	int id = new_set(1);
	struct sembuf one = OP(0, 1, 0);
	TEST_ERRNO(semop(id, &one, 0), EINVAL);
	TEST_ERRNO(semop(id, no_ops, 0), EINVAL);
	TEST_ERRNO(semop(-1, nowhere, 0), EINVAL);
}

TEST(operations_that_cannot_be_read_are_efault_whatever_the_id)
{
	int id = new_set(1), gone = removed_set();
	make_bad_pointers(sizeof(struct sembuf));
	for (int i = 0; i < BAD_POINTERS; i++) {
		if (bad[i].readable)
			continue;
		struct sembuf *volatile p = (struct sembuf *)bad[i].p;
		TEST_ERRNO(semop(id, p, 1), EFAULT);
		TEST_ERRNO(semop(-1, p, 1), EFAULT);
		TEST_ERRNO(semop(gone, p, 1), EFAULT);
		TEST_ERRNO(semtimedop(id, p, 1, (&(struct timespec){ -1, 0 })), EFAULT);
		TEST_ERRNO(semtimedop(id, p, 1, (&(struct timespec){ 0, 1000000000 })), EFAULT);
	}
	/* Zeroes that may only be read are a wait for zero. */
	TEST_SUCC(semop(id, (struct sembuf *)bad[5].p, 1));
}

TEST(an_array_must_be_readable_to_its_last_byte)
{
	int id = new_set(1);
	make_bad_pointers(MOST * sizeof(struct sembuf));
	TEST_ERRNO(semop(id, (struct sembuf *)bad[4].p, MOST), EFAULT);
	TEST_SUCC(semop(id, (struct sembuf *)bad[4].p, MOST - 1));
}

TEST(a_bad_id_or_a_bad_time_is_einval_before_numbers_and_rights)
{
	int id = new_set(3), gone = removed_set();
	struct sembuf one = OP(0, 1, 0), beyond = OP(3, 1, 0);
	struct timespec bad_times[] = { { 0, 1000000000 }, { -1, 0 }, { 0, -1 }, { -1, -1 } };
	TEST_ERRNO(semop(-1, &one, 1), EINVAL);
	TEST_ERRNO(semop(-1, &beyond, 1), EINVAL);
	TEST_ERRNO(semop((int)0x80000000, &one, 1), EINVAL);
	TEST_ERRNO(semop(gone, &beyond, 1), EINVAL);
	TEST_ERRNO(semop(gone, &one, 1), EINVAL);
	for (int i = 0; i < 4; i++) {
		TEST_ERRNO(semtimedop(id, &one, 1, &bad_times[i]), EINVAL);
		TEST_ERRNO(semtimedop(id, &beyond, 1, &bad_times[i]), EINVAL);
		TEST_ERRNO(semtimedop(gone, &one, 1, &bad_times[i]), EINVAL);
		TEST_ERRNO(semtimedop(id, &one, MOST + 1, &bad_times[i]), E2BIG);
		TEST_ERRNO(semtimedop(id, &one, 0, &bad_times[i]), EINVAL);
	}
	CHECK_STR(values_of(id, 3), "0 0 0");
}

TEST(a_time_that_cannot_be_read_is_efault_before_all_else)
{
	need_errno_for_bad_structures();
	int id = new_set(1);
	make_bad_pointers(sizeof(struct timespec));
	for (int i = 1; i < BAD_POINTERS; i++) {
		if (bad[i].readable)
			continue;
		struct timespec *volatile p = (struct timespec *)bad[i].p;
		struct sembuf one = OP(0, 1, 0);
		TEST_ERRNO(semtimedop(id, &one, 1, p), EFAULT);
		TEST_ERRNO(semtimedop(-1, no_ops, MOST + 1, p), EFAULT);
		TEST_ERRNO(semtimedop(id, &one, 0, p), EFAULT);
	}
	CHECK_EQ(value_of(id, 0), 0);
}

TEST(a_number_beyond_the_set_is_efbig_before_rights)
{
	int id = MUST(semget(IPC_PRIVATE, 3, 0000));
	set_caps(0);
	TEST_ERRNO(DO_OPS(id, OP(3, 1, 0)), EFBIG);
	TEST_ERRNO(DO_OPS(id, OP(65535, 0, 0)), EFBIG);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0), OP(3, 1, 0)), EFBIG);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0)), EACCES);
	TEST_ERRNO(DO_OPS(id, OP(0, 0, 0)), EACCES);
}

TEST(a_number_beyond_the_set_anywhere_in_the_array_stops_all_of_it)
{
	int id = new_set(2);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0), OP(1, 1, 0), OP(2, 1, 0)), EFBIG);
	TEST_ERRNO(DO_OPS(id, OP(0, -1, IPC_NOWAIT), OP(2, 1, 0)), EFBIG);
	CHECK_STR(values_of(id, 2), "0 0");
	CHECK_EQ(set_stat(id).sem_otime, 0);
}

TEST(altering_needs_write_and_waiting_for_zero_needs_read)
{
	int reads = MUST(semget(IPC_PRIVATE, 2, 0400)), writes = MUST(semget(IPC_PRIVATE, 2, 0200));
	set_caps(0);
	TEST_SUCC(DO_OPS(reads, OP(0, 0, 0)));
	TEST_SUCC(DO_OPS(reads, OP(0, 0, 0), OP(1, 0, SEM_UNDO)));
	TEST_ERRNO(DO_OPS(reads, OP(0, 1, 0)), EACCES);
	TEST_ERRNO(DO_OPS(reads, OP(0, -1, IPC_NOWAIT)), EACCES);
	TEST_ERRNO(DO_OPS(reads, OP(0, 0, 0), OP(0, 1, 0)), EACCES);
	TEST_ERRNO(DO_OPS(writes, OP(0, 0, 0)), EACCES);
	TEST_ERRNO(DO_OPS(writes, OP(0, 0, 0), OP(1, 0, 0)), EACCES);
	TEST_SUCC(DO_OPS(writes, OP(0, 1, 0)));
	/* Write alone is asked for an array with an alteration, though it waits for zero as well. */
	TEST_SUCC(DO_OPS(writes, OP(1, 0, 0), OP(1, 1, 0)));
	TEST_SUCC(DO_OPS(writes, OP(0, -1, 0), OP(0, 0, 0)));
}

TEST(rights_come_before_what_the_operations_would_say)
{
	int id = MUST(semget(IPC_PRIVATE, 1, 0400));
	set_caps(0);
	TEST_ERRNO(DO_OPS(id, OP(0, -1, IPC_NOWAIT)), EACCES);
	TEST_ERRNO(DO_OPS(id, OP(0, 32767, 0), OP(0, 1, 0)), EACCES);
}

/* -------------------------------------------------- one call, all or none */

TEST(an_operation_that_would_block_is_eagain_with_ipc_nowait_and_leaves_no_trace)
{
	int id = new_set(2);
	struct semid_ds before = set_stat(id), after;
	next_second();
	TEST_ERRNO(DO_OPS(id, OP(0, -1, IPC_NOWAIT)), EAGAIN);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0), OP(1, -1, IPC_NOWAIT)), EAGAIN);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0), OP(0, 0, IPC_NOWAIT)), EAGAIN);
	TEST_ERRNO(DO_OPS(id, OP(0, -32768, IPC_NOWAIT)), EAGAIN);
	CHECK_STR(values_of(id, 2), "0 0");
	CHECK_EQ(pid_of(id, 0), 0);
	CHECK_EQ(pid_of(id, 1), 0);
	after = set_stat(id);
	CHECK_SAME_SET(before, after);
	CHECK_STR(counts_of(id, 2), "0/0 0/0");
}

TEST(operations_see_what_those_before_them_have_left)
{
	int id = new_set(1);
	TEST_SUCC(DO_OPS(id, OP(0, 1, 0), OP(0, -1, 0)));
	TEST_ERRNO(DO_OPS(id, OP(0, -1, IPC_NOWAIT), OP(0, 1, 0)), EAGAIN);
	TEST_SUCC(DO_OPS(id, OP(0, 0, 0), OP(0, 1, 0)));
	TEST_ERRNO(DO_OPS(id, OP(0, 0, IPC_NOWAIT), OP(0, 1, 0)), EAGAIN);
	CHECK_EQ(value_of(id, 0), 1);
	TEST_SUCC(DO_OPS(id, OP(0, -1, 0), OP(0, 0, 0), OP(0, 2, 0), OP(0, -2, 0)));
	CHECK_EQ(value_of(id, 0), 0);
}

TEST(the_flag_of_the_operation_that_blocks_decides)
{
	int id = new_set(2);
	struct timespec moment = { 0, 1000000 };
	struct sembuf first_sleeps[] = { OP(1, -1, 0), OP(0, -1, IPC_NOWAIT) }, first_returns[] = { OP(1, -1, IPC_NOWAIT), OP(0, -1, 0) };
	/* Both end with EAGAIN here: which of them slept, its count tells. */
	SLEEPER_WITH(1, id, NULL, false, first_sleeps[0], first_sleeps[1]);
	CHECK_STR(counts_of(id, 2), "0/0 1/0");
	TEST_ERRNO(semop(id, first_returns, 2), EAGAIN);
	TEST_ERRNO(semtimedop(id, first_sleeps, 2, &moment), EAGAIN);
	kill_sleeper(1);
	MUST(set_value(id, 1, 1));
	TEST_ERRNO(semop(id, first_sleeps, 2), EAGAIN);
	CHECK_EQ(value_of(id, 1), 1);
}

TEST(a_value_above_32767_is_erange)
{
	int id = new_set(2);
	MUST(set_value(id, 0, LARGEST_VALUE));
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0)), ERANGE);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, IPC_NOWAIT)), ERANGE);
	TEST_ERRNO(DO_OPS(id, OP(0, 32767, 0)), ERANGE);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0), OP(0, -1, 0)), ERANGE);
	TEST_SUCC(DO_OPS(id, OP(0, -1, 0), OP(0, 1, 0)));
	TEST_ERRNO(DO_OPS(id, OP(1, 5, 0), OP(0, 1, 0)), ERANGE);
	CHECK_STR(values_of(id, 2), "32767 0");
	TEST_ERRNO(DO_OPS(id, OP(0, -32768, IPC_NOWAIT)), EAGAIN);
	TEST_SUCC(DO_OPS(id, OP(0, -32767, IPC_NOWAIT)));
	CHECK_STR(values_of(id, 2), "0 0");
}

TEST(the_first_operation_that_cannot_go_on_decides_which_error)
{
	int id = new_set(2);
	MUST(set_value(id, 0, LARGEST_VALUE));
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0), OP(1, -1, IPC_NOWAIT)), ERANGE);
	TEST_ERRNO(DO_OPS(id, OP(1, -1, IPC_NOWAIT), OP(0, 1, 0)), EAGAIN);
	TEST_ERRNO(DO_OPS(id, OP(1, -1, IPC_NOWAIT), OP(0, 32767, 0)), EAGAIN);
}

TEST(the_sum_of_what_is_to_be_undone_stays_within_a_short)
{
	int id = new_set(2);
	MUST(set_value(id, 0, LARGEST_VALUE));
	TEST_SUCC(DO_OPS(id, OP(0, -32767, SEM_UNDO)));
	MUST(DO_OPS(id, OP(0, 32767, 0)));
	TEST_ERRNO(DO_OPS(id, OP(0, -1, SEM_UNDO)), ERANGE);
	TEST_ERRNO(DO_OPS(id, OP(1, 5, 0), OP(0, -1, SEM_UNDO)), ERANGE);
	CHECK_STR(values_of(id, 2), "32767 0");
	TEST_SUCC(DO_OPS(id, OP(0, -1, 0)));
	/* The other way one more fits. */
	id = new_set(1);
	TEST_SUCC(DO_OPS(id, OP(0, 32767, SEM_UNDO)));
	MUST(DO_OPS(id, OP(0, -32767, 0)));
	TEST_SUCC(DO_OPS(id, OP(0, 1, SEM_UNDO)));
	TEST_ERRNO(DO_OPS(id, OP(0, 1, SEM_UNDO)), ERANGE);
	TEST_ERRNO(DO_OPS(id, OP(0, 2, SEM_UNDO)), ERANGE);
	CHECK_EQ(value_of(id, 0), 1);
	/* What was forgotten leaves room again. */
	MUST(set_value(id, 0, 0));
	TEST_SUCC(DO_OPS(id, OP(0, 32767, SEM_UNDO)));
}

TEST(five_hundred_operations_are_done_all_or_none)
{
	int id = new_set(MOST);
	for (int i = 0; i < MOST; i++)
		many[i] = OP((unsigned short)i, 1, 0);
	TEST_SUCC(semop(id, many, MOST));
	unsigned short all[MOST];
	MUST(ctl_arg(id, 0, GETALL, all));
	for (int i = 0; i < MOST; i++)
		if (all[i] != 1)
			FAIL("semaphore %d is %d", i, all[i]);
	many[MOST - 1] = OP(MOST - 1, -2, IPC_NOWAIT);
	TEST_ERRNO(semop(id, many, MOST), EAGAIN);
	MUST(ctl_arg(id, 0, GETALL, all));
	for (int i = 0; i < MOST; i++)
		if (all[i] != 1)
			FAIL("semaphore %d is %d", i, all[i]);
	/* One semaphore as often. */
	for (int i = 0; i < MOST; i++)
		many[i] = OP(3, i % 2 ? -2 : 3, i % 3 ? 0 : SEM_UNDO);
	TEST_SUCC(semop(id, many, MOST));
	CHECK_EQ(value_of(id, 3), 1 + MOST / 2);
}

TEST(unknown_flags_are_ignored)
{
	int id = new_set(1);
	TEST_SUCC(DO_OPS(id, OP(0, 1, 0x4fff & ~SEM_UNDO)));
	CHECK_EQ(value_of(id, 0), 1);
	TEST_ERRNO(DO_OPS(id, OP(0, -2, (short)0xefff)), EAGAIN);
}

/* -------------------------------------------------------------- success */

TEST(each_semaphore_named_gets_the_pid_and_the_set_the_time)
{
	int id = new_set(4);
	struct semid_ds before = set_stat(id);
	next_second();
	time_t from = time(NULL);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		MUST(DO_OPS(id, OP(0, 1, 0), OP(1, 0, 0), OP(3, 2, 0), OP(3, -2, 0)));
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(pid_of(id, 0), pid);
	CHECK_EQ(pid_of(id, 1), pid);
	CHECK_EQ(pid_of(id, 2), 0);
	CHECK_EQ(pid_of(id, 3), pid);
	struct semid_ds after = set_stat(id);
	CHECK_WITHIN(after.sem_otime, from, time(NULL));
	CHECK_EQ(after.sem_ctime, before.sem_ctime);
	MUST(DO_OPS(id, OP(2, 0, 0)));
	CHECK_EQ(pid_of(id, 2), getpid());
	CHECK_EQ(pid_of(id, 0), pid);
}

static void *add_one(void *arg)
{
	MUST(DO_OPS(*(int *)arg, OP(0, 1, 0)));
	return NULL;
}

TEST(the_pid_is_that_of_the_process_not_of_the_thread)
{
	int id = new_set(1);
	pthread_t t;
	thread_start(&t, add_one, &id);
	pthread_join(t, NULL);
	CHECK_EQ(pid_of(id, 0), getpid());
}

TEST(semtimedop_without_a_time_is_semop)
{
	int id = new_set(1);
	struct sembuf one = OP(0, 1, 0), minus = OP(0, -1, IPC_NOWAIT);
	TEST_SUCC(semtimedop(id, &one, 1, NULL));
	TEST_SUCC(semtimedop(id, &minus, 1, NULL));
	TEST_ERRNO(semtimedop(id, &minus, 1, NULL), EAGAIN);
	/* A time of nothing tries. */
	TEST_SUCC(semtimedop(id, &one, 1, (&(struct timespec){ 0, 0 })));
	CHECK_EQ(value_of(id, 0), 1);
}

TEST(operations_may_lie_anywhere_readable)
{
	int id = new_set(1);
	char *own = calloc(1, 64);
	struct sembuf one = OP(0, 1, 0);
	memcpy(own + 3, &one, sizeof one);
	TEST_SUCC(semop(id, (struct sembuf *)(own + 3), 1));
	char *p = attach(new_segment(PAGE));
	memcpy(p + PAGE - sizeof one, &one, sizeof one);
	TEST_SUCC(semop(id, (struct sembuf *)(p + PAGE - sizeof one), 1));
	CHECK_EQ(value_of(id, 0), 2);
}

TEST(semopm_is_that_of_the_moment)
{
	int id = new_set(1);
	set_limit("sem", "32000 1024000000 2 32000");
	TEST_ERRNO(semop(id, many, 3), E2BIG);
	TEST_SUCC(semop(id, many, 2));
	set_limit("sem", "32000 1024000000 0 32000");
	TEST_ERRNO(semop(id, many, 1), E2BIG);
	set_limit("sem", "32000 1024000000 500 32000");
	TEST_SUCC(semop(id, many, MOST));
}
