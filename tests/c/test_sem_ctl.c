/*
 * semctl: which error wins for each command, what each returns and changes, and what a bad pointer does.
 */
#include "semtest.h"

static void expect(const char *what, int id, int num, int cmd, void *arg, int expected)
{
	errno = 0;
	int r = ctl_arg(id, num, cmd, arg), e = errno;
	COUNT_CHECK();
	if (r == -1 ? e != expected : expected != 0)
		FAIL("semctl(%d, %d, %d, a buffer %s) = %d %s, expected %s", id, num, cmd, what, r, r == -1 ? errno_name(e) : "",
		     errno_name(expected));
}

static int removed_set(void)
{
	int id = new_set(1);
	MUST(remove_set(id));
	return id;
}

TEST(an_unknown_command_is_einval)
{
	struct semid_ds d;
	int id = new_set(1), unknown[] = { -1, (int)0x80000000, 4, 5, 6, 7, 8, 9, 10, 21, 22, 99, 0x7fffffff,
#ifndef __i386__ /* there glibc takes 0x100 for a mark of the structure's form */
					   0x100, 0x102, 0x10c, 0x110,
#endif
	};
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		expect("that is good", id, 0, unknown[i], &d, EINVAL);
		expect("that is NULL", id, 0, unknown[i], NULL, EINVAL);
		expect("and an unknown id", id + 1, 0, unknown[i], &d, EINVAL);
	}
	CHECK(set_exists(id));
}

TEST(a_negative_id_is_einval_for_every_command)
{
	char buf[256];
	int cmds[] = { IPC_RMID, IPC_STAT, IPC_INFO, GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL,
		       SEM_STAT, SEM_INFO, SEM_STAT_ANY };
	new_set(1);
	for (size_t i = 0; i < sizeof cmds / sizeof *cmds; i++) {
		void *arg = cmds[i] == SETVAL ? NULL : buf;
		expect("that is good", -1, 0, cmds[i], arg, EINVAL);
		expect("that is good", (int)0x80000000, 0, cmds[i], arg, EINVAL);
	}
	memset(buf, 0, sizeof buf);
	expect("that is good", -1, 0, IPC_SET, buf, EINVAL);
}

/* --------------------------------------------------- one semaphore's value */

TEST(setval_asks_for_the_value_then_the_id_then_the_number_then_rights)
{
	int id = new_set(3), none = MUST(semget(IPC_PRIVATE, 3, 0400)), gone = removed_set();
	set_caps(0);
	struct semctl_case t[] = {
		{ "too large", gone, 99, SETVAL, { .val = 32768 }, ERANGE },
		{ "negative", gone, 99, SETVAL, { .val = -1 }, ERANGE },
		{ "the smallest", gone, 99, SETVAL, { .val = (int)0x80000000 }, ERANGE },
		{ "too large, no rights", none, 3, SETVAL, { .val = 32768 }, ERANGE },
		{ "the id before the number", gone, 99, SETVAL, { .val = 1 }, EINVAL },
		{ "one beyond", id, 3, SETVAL, { .val = 1 }, EINVAL },
		{ "a negative number", id, -1, SETVAL, { .val = 1 }, EINVAL },
		{ "the number before rights", none, 3, SETVAL, { .val = 1 }, EINVAL },
		{ "no right to write", none, 0, SETVAL, { .val = 1 }, EACCES },
		{ "the largest value", id, 0, SETVAL, { .val = 32767 }, 0 },
		{ "the last semaphore", id, 2, SETVAL, { .val = 5 }, 0 },
		{ "0", id, 1, SETVAL, { .val = 0 }, 0 },
	};
	SEMCTL_CASES(t);
	CHECK_STR(values_of(id, 3), "32767 0 5");
	TEST_RES(set_value(id, 1, 3), _ret == 0);
}

#if __SIZEOF_LONG__ == 8
TEST(setval_takes_the_low_half_of_its_argument)
{
	int id = new_set(1);
	TEST_SUCC(semctl(id, 0, SETVAL, (union semun){ .word = 0x100000005 }));
	CHECK_EQ(value_of(id, 0), 5);
	TEST_ERRNO(semctl(id, 0, SETVAL, (union semun){ .word = 0x1ffffffff }), ERANGE);
}
#endif

TEST(asking_about_one_semaphore_asks_for_the_id_then_rights_then_the_number)
{
	int id = new_set(3), none = MUST(semget(IPC_PRIVATE, 3, 0200)), gone = removed_set();
	int cmds[] = { GETVAL, GETPID, GETNCNT, GETZCNT };
	set_caps(0);
	for (int i = 0; i < 4; i++) {
		TEST_ERRNO(semctl(gone, 3, cmds[i]), EINVAL);
		TEST_ERRNO(semctl(none, 3, cmds[i]), EACCES);
		TEST_ERRNO(semctl(none, 0, cmds[i]), EACCES);
		TEST_ERRNO(semctl(id, 3, cmds[i]), EINVAL);
		TEST_ERRNO(semctl(id, -1, cmds[i]), EINVAL);
		TEST_ERRNO(semctl(id, (int)0x80000000, cmds[i]), EINVAL);
		TEST_RES(semctl(id, 2, cmds[i]), _ret == 0);
	}
	MUST(set_value(id, 2, 77));
	TEST_RES(semctl(id, 2, GETVAL), _ret == 77);
	TEST_RES(semctl(id, 2, GETPID), _ret == getpid());
}

/* ------------------------------------------------------------ all of them */

TEST(getall_asks_for_the_id_then_rights_then_the_buffer)
{
	int id = new_set(3), none = MUST(semget(IPC_PRIVATE, 3, 0200)), gone = removed_set();
	set_caps(0);
	MUST(SET_ALL(id, 1, 2, 3));
	make_bad_pointers(3 * sizeof(unsigned short));
	for (int i = 0; i < BAD_POINTERS; i++) {
		expect(bad[i].what, gone, 0, GETALL, bad[i].p, EINVAL);
		expect(bad[i].what, none, 0, GETALL, bad[i].p, EACCES);
		expect(bad[i].what, id, 0, GETALL, bad[i].p, EFAULT);
	}
	unsigned short all[5] = { 9, 9, 9, 9, 9 };
	expect("that is good", id, 99, GETALL, all, 0);
	expect("that is good", id, -5, GETALL, all, 0);
	CHECK(all[0] == 1 && all[1] == 2 && all[2] == 3 && all[3] == 9);
}

TEST(setall_asks_for_the_id_then_rights_then_the_buffer_then_the_values)
{
	int id = new_set(3), none = MUST(semget(IPC_PRIVATE, 3, 0400)), gone = removed_set();
	unsigned short large[] = { 1, 40000, 3 }, good[] = { 4, 5, 32767 }, last[] = { 1, 2, 32768 };
	set_caps(0);
	make_bad_pointers(3 * sizeof(unsigned short));
	for (int i = 0; i < BAD_POINTERS; i++) {
		expect(bad[i].what, gone, 0, SETALL, bad[i].p, EINVAL);
		expect(bad[i].what, none, 0, SETALL, bad[i].p, EACCES);
		if (!bad[i].readable)
			expect(bad[i].what, id, 0, SETALL, bad[i].p, EFAULT);
	}
	expect("with a value too large", gone, 0, SETALL, large, EINVAL);
	expect("with a value too large", none, 0, SETALL, large, EACCES);
	expect("with a value too large", id, 0, SETALL, large, ERANGE);
	expect("whose last value is too large", id, 0, SETALL, last, ERANGE);
	CHECK_STR(values_of(id, 3), "0 0 0");
	expect("that is good", id, 99, SETALL, good, 0);
	CHECK_STR(values_of(id, 3), "4 5 32767");
	expect("that is read only", id, -1, SETALL, bad[5].p, 0);
	CHECK_STR(values_of(id, 3), "0 0 0");
}

/* ------------------------------------------------------------- the state */

/* glibc of 32 bits leaves the last two words of the structure alone. */
#define COPIED (sizeof(long) == 4 ? 56 : sizeof(struct semid_ds))

TEST(reading_the_state_asks_for_the_id_then_rights_then_the_buffer)
{
	need_errno_for_bad_structures();
	int id = new_set(3), none = MUST(semget(IPC_PRIVATE, 3, 0200)), gone = removed_set(), unused = 500;
	struct semid_ds d;
	set_caps(0);
	make_bad_pointers(COPIED);
	for (int i = 0; i < BAD_POINTERS; i++) {
		expect(bad[i].what, gone, 0, IPC_STAT, bad[i].p, EINVAL);
		expect(bad[i].what, unused, 0, SEM_STAT, bad[i].p, EINVAL);
		expect(bad[i].what, unused, 0, SEM_STAT_ANY, bad[i].p, EINVAL);
		expect(bad[i].what, none, 0, IPC_STAT, bad[i].p, EACCES);
		expect(bad[i].what, index_of(none), 0, SEM_STAT, bad[i].p, EACCES);
		expect(bad[i].what, index_of(none), 0, SEM_STAT_ANY, bad[i].p, EFAULT);
		expect(bad[i].what, id, 0, IPC_STAT, bad[i].p, EFAULT);
		expect(bad[i].what, index_of(id), 0, SEM_STAT, bad[i].p, EFAULT);
		expect(bad[i].what, index_of(id), 0, SEM_STAT_ANY, bad[i].p, EFAULT);
	}
	TEST_RES(ctl_arg(index_of(none), 0, SEM_STAT_ANY, &d), _ret == none);
}

TEST(reading_by_index_returns_the_whole_id_and_looks_at_the_index_alone)
{
	struct semid_ds d, by_id;
	new_set(1);
	int id = new_set(4);
	by_id = set_stat(id);
	memset(&d, 0xa5, sizeof d);
	TEST_RES(ctl_arg(index_of(id), 99, SEM_STAT, &d), _ret == id);
	CHECK_SAME_SET(by_id, d);
	memset(&d, 0xa5, sizeof d);
	TEST_RES(ctl_arg(index_of(id), -1, SEM_STAT_ANY, &d), _ret == id);
	CHECK_SAME_SET(by_id, d);
	TEST_RES(ctl_arg(index_of(id) + 7 * SEQ, 0, SEM_STAT, &d), _ret == id);
	TEST_RES(ctl_arg(id, 99, IPC_STAT, &d), _ret == 0);
	MUST(remove_set(id));
	TEST_ERRNO(ctl_arg(index_of(id), 0, SEM_STAT, &d), EINVAL);
	TEST_ERRNO(ctl_arg(index_of(id), 0, SEM_STAT_ANY, &d), EINVAL);
}

#if __SIZEOF_LONG__ == 8
TEST(the_state_is_as_long_as_the_kernels_and_what_means_nothing_is_zero)
{
	/* x86-64 has a word behind each time that once was its high half. */
#ifdef __x86_64__
	static const size_t unused[] = { 56, 72, 88, 96 };
	enum { SIZE = 104, CTIME = 64, NSEMS = 80 };
#else
	static const size_t unused[] = { 72, 80 };
	enum { SIZE = 88, CTIME = 56, NSEMS = 64 };
#endif
	struct { struct semid_ds d; unsigned char after[8]; } b;
	int id = new_set(3);
	CHECK_EQ(sizeof(struct semid_ds), SIZE);
	CHECK_EQ(offsetof(struct semid_ds, sem_otime), 48);
	CHECK_EQ(offsetof(struct semid_ds, sem_ctime), CTIME);
	CHECK_EQ(offsetof(struct semid_ds, sem_nsems), NSEMS);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	memset(&b, 0xa5, sizeof b);
	MUST(ctl_arg(id, 0, IPC_STAT, &b));
	unsigned char *bytes = (unsigned char *)&b;
	for (int i = 0; i < 8; i++) {
		for (size_t k = 0; k < sizeof unused / sizeof unused[0]; k++)
			CHECK_EQ(bytes[unused[k] + i], 0);
		CHECK_EQ(b.after[i], 0xa5);
	}
	CHECK_EQ(b.d.sem_nsems, 3);
}
#endif

/* --------------------------------------------------------------- IPC_SET */

TEST(ipc_set_asks_for_the_buffer_then_the_id_then_the_new_owner)
{
	need_errno_for_bad_structures();
	int id = new_set(1), gone = removed_set();
	struct semid_ds before = set_stat(id), minus_one = before, after;
	make_bad_pointers(COPIED);
	next_second();
	for (int i = 0; i < BAD_POINTERS; i++) {
		if (bad[i].readable)
			continue;
		expect(bad[i].what, gone, 0, IPC_SET, bad[i].p, EFAULT);
		expect(bad[i].what, id, 0, IPC_SET, bad[i].p, EFAULT);
	}
	expect("that is good", gone, 0, IPC_SET, &before, EINVAL);
	minus_one.sem_perm.uid = -1;
	expect("with uid -1", gone, 0, IPC_SET, &minus_one, EINVAL);
	expect("with uid -1", id, 0, IPC_SET, &minus_one, EINVAL);
	minus_one.sem_perm.uid = before.sem_perm.uid;
	minus_one.sem_perm.gid = -1;
	expect("with gid -1", id, 0, IPC_SET, &minus_one, EINVAL);
	after = set_stat(id);
	CHECK_SAME_SET(before, after);
}

TEST(ipc_set_reads_its_whole_structure_though_it_needs_three_fields)
{
	need_errno_for_bad_structures();
	int id = new_set(1);
	struct semid_ds d = set_stat(id);
	char *two = MUST(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST(munmap(two + PAGE, PAGE));
	for (size_t inside = 60; inside < COPIED; inside += 11)
		expect("whose tail is unmapped", id, 0, IPC_SET, two + PAGE - inside, EFAULT);
	memcpy(two + PAGE - COPIED, &d, COPIED);
	expect("that just fits", id, 0, IPC_SET, two + PAGE - COPIED, 0);
	expect("that just fits", id, 0, IPC_STAT, two + PAGE - COPIED, 0);
	expect("one too short", id, 0, IPC_STAT, two + PAGE - COPIED + 1, EFAULT);
}

TEST(ipc_set_takes_owner_group_and_nine_bits_of_the_mode)
{
	int id = new_set(3);
	struct semid_ds before = set_stat(id), d = before, after;
	next_second();
	d.sem_perm.mode = (unsigned short)07777;
	d.sem_perm.cuid = 54001;
	d.sem_perm.cgid = 54001;
	d.sem_perm.__key = 77;
	d.sem_nsems = 99;
	d.sem_otime = 5;
	d.sem_ctime = 5;
	time_t from = time(NULL);
	TEST_RES(ctl_arg(id, 99, IPC_SET, &d), _ret == 0);
	after = set_stat(id);
	CHECK_WITHIN(after.sem_ctime, from, time(NULL));
	CHECK_EQ(after.sem_perm.mode, 0777);
	after.sem_ctime = before.sem_ctime;
	after.sem_perm.mode = before.sem_perm.mode;
	CHECK_SAME_SET(before, after);
}

TEST_SEVERAL_UIDS(ipc_set_gives_a_set_away_and_its_creator_keeps_his_say)
{
	int id = MUST(semget(IPC_PRIVATE, 1, 0600));
	struct semid_ds d = set_stat(id);
	d.sem_perm.uid = 54001;
	d.sem_perm.gid = 54002;
	TEST_SUCC(ctl_arg(id, 0, IPC_SET, &d));
	d = set_stat(id);
	CHECK_EQ(d.sem_perm.uid, 54001);
	CHECK_EQ(d.sem_perm.gid, 54002);
	CHECK_EQ(d.sem_perm.cuid, 0);
	CHECK_EQ(d.sem_perm.cgid, 0);
	IN_CHILD {
		drop_to(54001, 54001);
		TEST_RES(semctl(id, 0, GETVAL), _ret == 0);
		TEST_SUCC(DO_OPS(id, OP(0, 1, 0)));
		TEST_SUCC(remove_set(id));
		TEST_ERRNO(semctl(id, 0, GETVAL), EINVAL);
	}
	CHECK(!set_exists(id));
}

TEST_SEVERAL_UIDS(a_stranger_is_told_in_the_order_of_each_command)
{
	int id = MUST(semget(IPC_PRIVATE, 3, 0600)), gone = removed_set();
	struct semid_ds d = set_stat(id), minus_one = d, got;
	unsigned short large[] = { 1, 40000, 3 };
	minus_one.sem_perm.uid = -1;
	IN_CHILD {
		drop_to(54001, 54001);
		struct semctl_case t[] = {
			{ "SETVAL: the number", id, 3, SETVAL, { .val = 1 }, EINVAL },
			{ "SETVAL: the value", id, 0, SETVAL, { .val = 32768 }, ERANGE },
			{ "SETVAL: rights", id, 0, SETVAL, { .val = 1 }, EACCES },
			{ "GETVAL: rights before the number", id, 3, GETVAL, { 0 }, EACCES },
			{ "SETALL: rights before the values", id, 0, SETALL, { .array = large }, EACCES },
			{ "SETALL: rights before the buffer", id, 0, SETALL, { .any = UNMAPPED }, EACCES },
			{ "GETALL: rights before the buffer", id, 0, GETALL, { .any = UNMAPPED }, EACCES },
			{ "IPC_STAT", id, 0, IPC_STAT, { .buf = &got }, EACCES },
			{ "SEM_STAT", index_of(id), 0, SEM_STAT, { .buf = &got }, EACCES },
			{ "SEM_STAT_ANY asks for none", index_of(id), 0, SEM_STAT_ANY, { .buf = &got }, 0 },
			{ "IPC_SET: the id", gone, 0, IPC_SET, { .buf = &d }, EINVAL },
			{ "IPC_SET: not the owner", id, 0, IPC_SET, { .buf = &d }, EPERM },
			{ "IPC_SET: the owner before uid -1", id, 0, IPC_SET, { .buf = &minus_one }, EPERM },
			{ "IPC_RMID: the id", gone, 0, IPC_RMID, { 0 }, EINVAL },
			{ "IPC_RMID: not the owner", id, 0, IPC_RMID, { 0 }, EPERM },
			{ "IPC_INFO is for everybody", 0, 0, IPC_INFO, { .any = &got }, 0 },
		};
		SEMCTL_CASES(t);
		if (bad_buffers_get_an_errno())
			expect("that is unmapped", id, 0, IPC_SET, UNMAPPED, EFAULT);
	}
	CHECK(set_exists(id));
}

/* -------------------------------------------------------------- IPC_RMID */

TEST(removal_is_at_once_and_ignores_its_other_arguments)
{
	int id = new_set(1);
	TEST_RES(ctl_arg(id, 99, IPC_RMID, UNMAPPED), _ret == 0);
	TEST_ERRNO(remove_set(id), EINVAL);
	id = new_set(1);
	TEST_RES(semctl(id, -1, IPC_RMID), _ret == 0);
	CHECK(!set_exists(id));
}

/* ------------------------------------------------------------------ INFO */

TEST(the_informing_commands_need_a_buffer_and_no_set)
{
	struct seminfo i;
	make_bad_pointers(sizeof i);
	for (int n = 0; n < BAD_POINTERS; n++) {
		expect(bad[n].what, 0, 0, IPC_INFO, bad[n].p, EFAULT);
		expect(bad[n].what, 77777, 0, SEM_INFO, bad[n].p, EFAULT);
	}
	expect("that is good", 77777, 99, IPC_INFO, &i, 0);
	expect("that is good", 77777, -1, SEM_INFO, &i, 0);
	expect("that is good", 0, 0, SEM_INFO, &i, 0);
}

TEST(ipc_info_tells_the_limits)
{
	struct seminfo i;
	memset(&i, 0xa5, sizeof i);
	TEST_RES(ctl_arg(0, 0, IPC_INFO, &i), _ret == 0);
	CHECK_EQ(i.semmap, 1024000000);
	CHECK_EQ(i.semmni, 32000);
	CHECK_EQ(i.semmns, 1024000000);
	CHECK_EQ(i.semmnu, 1024000000);
	CHECK_EQ(i.semmsl, 32000);
	CHECK_EQ(i.semopm, 500);
	CHECK_EQ(i.semume, 500);
	CHECK_EQ(i.semusz, 20);
	CHECK_EQ(i.semvmx, 32767);
	CHECK_EQ(i.semaem, 32767);
	/* Four are limits of the moment, the others what those limits were when the kernel was built. */
	set_limit("sem", "10 200 30 40");
	MUST(ctl_arg(0, 0, IPC_INFO, &i));
	CHECK_EQ(i.semmni, 40);
	CHECK_EQ(i.semmns, 200);
	CHECK_EQ(i.semmsl, 10);
	CHECK_EQ(i.semopm, 30);
	CHECK_EQ(i.semmap, 1024000000);
	CHECK_EQ(i.semmnu, 1024000000);
	CHECK_EQ(i.semume, 500);
	CHECK_EQ(i.semusz, 20);
}

TEST(sem_info_counts_sets_and_semaphores_and_returns_the_highest_index)
{
	struct seminfo i;
	TEST_RES(ctl_arg(0, 0, SEM_INFO, &i), _ret == 0);
	CHECK_EQ(i.semusz, 0);
	CHECK_EQ(i.semaem, 0);
	new_set(3);
	int second = new_set(5);
	new_set(7);
	TEST_RES(ctl_arg(0, 0, SEM_INFO, &i), _ret == 2);
	CHECK_EQ(i.semusz, 3);
	CHECK_EQ(i.semaem, 15);
	CHECK_EQ(i.semopm, 500);
	CHECK_EQ(i.semvmx, 32767);
	MUST(remove_set(second));
	TEST_RES(ctl_arg(0, 0, SEM_INFO, &i), _ret == 2);
	CHECK_EQ(i.semusz, 2);
	CHECK_EQ(i.semaem, 10);
	MUST(remove_set(set_at(2)));
	TEST_RES(ctl_arg(0, 0, IPC_INFO, &i), _ret == 0);
	TEST_RES(ctl_arg(0, 0, SEM_INFO, &i), _ret == 0);
	CHECK_EQ(i.semusz, 1);
}
