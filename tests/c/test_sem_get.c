/*
 * semget: what decides between an existing set, a new one and an error, what a new set looks like, its id, and the limits.
 * Errors stand in the order in which they win.
 */
#include "semtest.h"

enum { KEY = 0x162e, ABSENT = 0x99, NO_RIGHTS = 0x50, LARGEST = 32000 };

TEST(a_number_of_semaphores_out_of_range_is_einval_before_anything_else)
{
	MUST(semget(KEY, 3, IPC_CREAT | 0600));
	struct semget_case t[] = {
		{ "negative, absent key", ABSENT, -1, 0, EINVAL },
		{ "too many, absent key", ABSENT, LARGEST + 1, 0, EINVAL },
		{ "too many for a new one", ABSENT, LARGEST + 1, IPC_CREAT | 0600, EINVAL },
		{ "negative for a private one", IPC_PRIVATE, -1, 0600, EINVAL },
		{ "too many for a private one", IPC_PRIVATE, LARGEST + 1, 0600, EINVAL },
		{ "the smallest int", ABSENT, (int)0x80000000, IPC_CREAT | 0600, EINVAL },
		{ "the largest int", ABSENT, 0x7fffffff, IPC_CREAT | 0600, EINVAL },
		{ "before exclusiveness", KEY, -1, IPC_CREAT | IPC_EXCL | 0600, EINVAL },
		{ "too many before exclusiveness", KEY, LARGEST + 1, IPC_CREAT | IPC_EXCL | 0600, EINVAL },
		{ "negative, existing key", KEY, -1, 0, EINVAL },
		{ "nothing was made", ABSENT, 0, 0, ENOENT },
	};
	SEMGET_CASES(t);
}

TEST(an_existing_key_is_judged_by_exclusiveness_then_size_then_rights)
{
	MUST(semget(KEY, 3, IPC_CREAT | 0600));
	MUST(semget(NO_RIGHTS, 3, IPC_CREAT | 0000));
	set_caps(0);
	struct semget_case t[] = {
		{ "both creation flags", KEY, 3, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
		{ "exclusiveness before size", KEY, 4, IPC_CREAT | IPC_EXCL, EEXIST },
		{ "exclusiveness before size 0", KEY, 0, IPC_CREAT | IPC_EXCL, EEXIST },
		{ "exclusiveness before rights", NO_RIGHTS, 3, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
		{ "one too many", KEY, 4, 0600, EINVAL },
		{ "the most there can be", KEY, LARGEST, 0, EINVAL },
		{ "one too many, with IPC_CREAT", KEY, 4, IPC_CREAT | 0600, EINVAL },
		{ "size before rights", NO_RIGHTS, 4, 0600, EINVAL },
		{ "rights", NO_RIGHTS, 3, 0600, EACCES },
		{ "rights, 0 semaphores", NO_RIGHTS, 0, 0400, EACCES },
		{ "rights with IPC_CREAT", NO_RIGHTS, 3, IPC_CREAT | 0200, EACCES },
		{ "nothing asked, nothing refused", NO_RIGHTS, 3, 0, 0 },
		{ "nothing asked, with IPC_CREAT", NO_RIGHTS, 0, IPC_CREAT, 0 },
		{ "its size", KEY, 3, 0600, 0 },
		{ "a smaller size", KEY, 2, 0600, 0 },
		{ "0 always fits", KEY, 0, 0, 0 },
		{ "IPC_EXCL alone means nothing", KEY, 3, IPC_EXCL | 0600, 0 },
	};
	SEMGET_CASES(t);
}

TEST(an_unknown_key_without_ipc_creat_is_enoent)
{
	struct semget_case t[] = {
		{ "plain", ABSENT, 1, 0600, ENOENT },
		{ "0 semaphores", ABSENT, 0, 0, ENOENT },
		{ "the most", ABSENT, LARGEST, 0, ENOENT },
		{ "IPC_EXCL alone", ABSENT, 1, IPC_EXCL | 0600, ENOENT },
		{ "key -1 is an ordinary key", -1, 1, 0600, ENOENT },
		{ "negative key", (key_t)0x80000001, 1, 0600, ENOENT },
	};
	SEMGET_CASES(t);
}

TEST(a_new_set_has_between_1_and_semmsl_semaphores)
{
	struct semget_case t[] = {
		{ "0", ABSENT, 0, IPC_CREAT | 0600, EINVAL },
		{ "0, exclusively", ABSENT, 0, IPC_CREAT | IPC_EXCL | 0600, EINVAL },
		{ "0, private", IPC_PRIVATE, 0, 0600, EINVAL },
		{ "none of them left anything", ABSENT, 0, 0, ENOENT },
		{ "1", KEY, 1, IPC_CREAT | 0600, 0 },
		{ "the most", KEY + 1, LARGEST, IPC_CREAT | IPC_EXCL | 0600, 0 },
	};
	SEMGET_CASES(t);
	CHECK_EQ(set_stat(semget(KEY, 0, 0)).sem_nsems, 1);
	CHECK_EQ(set_stat(semget(KEY + 1, 0, 0)).sem_nsems, LARGEST);
}

TEST(a_set_of_32000_semaphores_works_to_its_last)
{
	int id = new_set(LARGEST);
	TEST_SUCC(set_value(id, LARGEST - 1, 7));
	TEST_SUCC(DO_OPS(id, OP(LARGEST - 1, -6, 0), OP(0, 2, 0)));
	CHECK_EQ(value_of(id, LARGEST - 1), 1);
	CHECK_EQ(value_of(id, 0), 2);
	CHECK_EQ(value_of(id, LARGEST / 2), 0);
	TEST_ERRNO(semctl(id, LARGEST, GETVAL), EINVAL);
	TEST_ERRNO(DO_OPS(id, OP(LARGEST, 1, 0)), EFBIG);
	unsigned short *all = calloc(LARGEST, sizeof *all);
	TEST_SUCC(ctl_arg(id, 0, GETALL, all));
	CHECK_EQ(all[0], 2);
	CHECK_EQ(all[LARGEST - 1], 1);
	all[LARGEST - 2] = 32767;
	TEST_SUCC(ctl_arg(id, 0, SETALL, all));
	CHECK_EQ(value_of(id, LARGEST - 2), 32767);
	TEST_SUCC(remove_set(id));
	TEST_ERRNO(semctl(id, 0, GETVAL), EINVAL);
}

TEST(a_new_set_is_all_zero_with_the_mode_that_was_asked)
{
	umask(0777);
	time_t before = time(NULL);
	int id = MUST(semget(KEY, 2, IPC_CREAT | IPC_EXCL | 0640));
	struct semid_ds d = set_stat(id);
	CHECK_EQ(d.sem_perm.__key, KEY);
	CHECK_EQ(d.sem_perm.mode, 0640);
	CHECK_EQ(d.sem_perm.uid, geteuid());
	CHECK_EQ(d.sem_perm.cuid, geteuid());
	CHECK_EQ(d.sem_perm.gid, getegid());
	CHECK_EQ(d.sem_perm.cgid, getegid());
	CHECK_EQ(d.sem_perm.__seq, id / SEQ);
	CHECK_EQ(d.sem_nsems, 2);
	CHECK_EQ(d.sem_otime, 0);
	CHECK_WITHIN(d.sem_ctime, before, time(NULL));
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(value_of(id, i), 0);
		CHECK_EQ(pid_of(id, i), 0);
		CHECK_EQ(ncnt_of(id, i), 0);
		CHECK_EQ(zcnt_of(id, i), 0);
	}
	id = MUST(semget(KEY + 1, 1, IPC_CREAT | 07777));
	CHECK_EQ(set_stat(id).sem_perm.mode, 0777);
}

TEST(opening_an_existing_set_changes_nothing_about_it)
{
	int id = MUST(semget(KEY, 3, IPC_CREAT | 0640));
	MUST(DO_OPS(id, OP(0, 5, 0)));
	struct semid_ds before = set_stat(id), after;
	next_second();
	IN_CHILD {
		TEST_RES(semget(KEY, 1, IPC_CREAT | 0600), _ret == id);
		TEST_ERRNO(semget(KEY, 1, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
		TEST_ERRNO(semget(KEY, 4, 0600), EINVAL);
	}
	after = set_stat(id);
	CHECK_SAME_SET(before, after);
	CHECK_EQ(value_of(id, 0), 5);
	CHECK_EQ(pid_of(id, 0), getpid());
}

TEST(ipc_private_always_makes_a_new_set)
{
	int flags[] = { 0, IPC_CREAT, IPC_EXCL, IPC_CREAT | IPC_EXCL, 0600 };
	int last = -1;
	for (size_t i = 0; i < 5; i++)
		TEST_RES(last = semget(IPC_PRIVATE, 1, flags[i]), index_of(last) == (int)i);
}

TEST(mode_0_gets_the_id_of_a_set_without_rights)
{
	int id = MUST(semget(KEY, 1, IPC_CREAT | 0000));
	set_caps(0);
	TEST_RES(semget(KEY, 1, 0), _ret == id);
	TEST_ERRNO(semctl(id, 0, GETVAL), EACCES);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0)), EACCES);
	TEST_SUCC(remove_set(id));
}

TEST(the_three_classes_of_the_mode_flags_are_asked_together)
{
	MUST(semget(KEY, 1, IPC_CREAT | 0400));
	MUST(semget(KEY + 1, 1, IPC_CREAT | 0200));
	set_caps(0);
	for (int class = 0; class < 9; class += 3) {
		struct semget_case t[] = {
			{ "read of a 0400 one", KEY, 0, 4 << class, 0 },
			{ "write of a 0400 one", KEY, 0, 2 << class, EACCES },
			{ "read of a 0200 one", KEY + 1, 0, 4 << class, EACCES },
			{ "write of a 0200 one", KEY + 1, 0, 2 << class, 0 },
			{ "both of a 0200 one", KEY + 1, 0, 6 << class, EACCES },
		};
		SEMGET_CASES(t);
	}
}

TEST_SEVERAL_UIDS(a_stranger_is_asked_for_what_the_flags_say)
{
	int id = MUST(semget(KEY, 3, IPC_CREAT | 0600));
	IN_CHILD {
		drop_to(54001, 54001);
		struct semget_case t[] = {
			{ "size before rights", KEY, 4, 0600, EINVAL },
			{ "rights", KEY, 3, 0600, EACCES },
			{ "write alone", KEY, 3, 0200, EACCES },
			{ "exclusiveness before rights", KEY, 3, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
			{ "nothing asked", KEY, 3, 0, 0 },
		};
		SEMGET_CASES(t);
		TEST_RES(semget(KEY, 0, 0), _ret == id);
	}
}

/* ------------------------------------------------------------------ ids */

TEST(a_removed_set_leaves_an_id_that_is_einval_and_a_key_that_is_free)
{
	int id = MUST(semget(KEY, 2, IPC_CREAT | 0600));
	MUST(DO_OPS(id, OP(0, 3, 0)));
	TEST_SUCC(remove_set(id));
	TEST_ERRNO(semctl(id, 0, GETVAL), EINVAL);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0)), EINVAL);
	TEST_ERRNO(DO_OPS(id, OP(0, 1, SEM_UNDO)), EINVAL);
	TEST_ERRNO(remove_set(id), EINVAL);
	TEST_ERRNO(semget(KEY, 0, 0), ENOENT);
	int again = MUST(semget(KEY, 2, IPC_CREAT | IPC_EXCL | 0600));
	CHECK(again != id);
	CHECK_EQ(value_of(again, 0), 0);
	TEST_ERRNO(semctl(id, 0, GETVAL), EINVAL);
}

TEST(ids_have_a_sequence_number_over_an_index_that_goes_round)
{
	int first = new_set(1), seq = first / SEQ;
	CHECK_EQ(index_of(first), 0);
	/* The index goes round after 64 or more, past those in use, and then the sequence number is the next. */
	for (int i = 1; i < 70; i++) {
		int id = new_set(1);
		CHECK_EQ(index_of(id), i < 64 ? i : i - 63);
		CHECK_EQ(id / SEQ, i < 64 ? seq : seq + 1);
		MUST(remove_set(id));
	}
	TEST_ERRNO(semctl(first + SEQ, 0, GETVAL), EINVAL);
	TEST_ERRNO(DO_OPS(first + SEQ, OP(0, 1, 0)), EINVAL);
	TEST_ERRNO(DO_OPS(-1, OP(0, 1, 0)), EINVAL);
	TEST_ERRNO(semctl(first + 1, 0, GETVAL), EINVAL);
}

TEST(each_kind_counts_its_ids_alone)
{
	int segment = new_segment(1), set = new_set(1);
	CHECK_EQ(index_of(segment), 0);
	CHECK_EQ(index_of(set), 0);
	new_segment(1);
	new_segment(1);
	CHECK_EQ(index_of(new_set(1)), 1);
	CHECK(exists(segment));
	CHECK(set_exists(set));
	TEST_SUCC(remove_set(set));
	CHECK(exists(segment));
}

TEST(the_next_id_can_be_chosen_once)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("Divergence: sem_next_id is not offered");
	if (try_limit("sem_next_id", "100000"))
		SKIP("/proc/sys/kernel/sem_next_id cannot be written here");
	CHECK_EQ(new_set(1), 100000);
	CHECK_EQ((int)limit("sem_next_id"), -1);
	CHECK(new_set(1) != 100000);
}

/* --------------------------------------------------------------- limits */

TEST(more_semaphores_than_semmns_are_enospc_and_too_many_sets_too)
{
	set_limit("sem", "8 10 500 3");
	MUST(semget(KEY, 3, IPC_CREAT | 0600));
	struct semget_case t[] = {
		{ "above SEMMSL", KEY + 1, 9, IPC_CREAT | 0600, EINVAL },
		{ "3 + 8 are more than 10", KEY + 1, 8, IPC_CREAT | 0600, ENOSPC },
		{ "3 + 7 are 10", KEY + 1, 7, IPC_CREAT | 0600, 0 },
		{ "0 before the sum", KEY + 2, 0, IPC_CREAT | 0600, EINVAL },
		{ "not one more", KEY + 2, 1, IPC_CREAT | 0600, ENOSPC },
		{ "not privately either", IPC_PRIVATE, 1, 0600, ENOSPC },
		{ "who exists is found", KEY, 3, IPC_CREAT | 0600, 0 },
		{ "an unknown key before the limits", KEY + 2, 1, 0, ENOENT },
	};
	SEMGET_CASES(t);
	MUST(remove_set(semget(KEY + 1, 0, 0)));
	struct semget_case sets[] = {
		{ "the second of 3", KEY + 1, 1, IPC_CREAT | 0600, 0 },
		{ "the third of 3", KEY + 2, 1, IPC_CREAT | 0600, 0 },
		{ "the fourth", KEY + 3, 1, IPC_CREAT | 0600, ENOSPC },
		{ "0 before the number of sets", KEY + 3, 0, IPC_CREAT | 0600, EINVAL },
		{ "size before the number of sets", KEY + 3, 9, IPC_CREAT | 0600, EINVAL },
	};
	SEMGET_CASES(sets);
	MUST(remove_set(semget(KEY, 0, 0)));
	TEST_SUCC(semget(KEY + 3, 1, IPC_CREAT | 0600));
}

TEST(a_lowered_semmsl_hides_a_larger_set_from_who_asks_for_all_of_it)
{
	int id = MUST(semget(KEY, 3, IPC_CREAT | 0600));
	set_limit("sem", "2 32000 500 3");
	TEST_ERRNO(semget(KEY, 3, 0), EINVAL);
	TEST_RES(semget(KEY, 2, 0), _ret == id);
	TEST_RES(semget(KEY, 0, 0), _ret == id);
	TEST_SUCC(DO_OPS(id, OP(2, 1, 0)));
	CHECK_EQ(value_of(id, 2), 1);
}
