/*
 * Who may do what with a set: owner and creator, their groups, others, capabilities; and what each call asks for.
 */
#include "semtest.h"

enum { OWNER = 54001, CREATOR = 54002, STRANGER = 54003, NO_GROUP = 54009 };

/* What a process can do with a set, by trying it all. */
enum can { READS = 1, ALTERS = 2, CONTROLS = 4 };

static int tried(const char *who, int mode, int id)
{
	struct semid_ds d = { .sem_perm = { .mode = 0 } };
	unsigned short all[2];
	int can = 0, cmds[] = { GETVAL, GETPID, GETNCNT, GETZCNT };
	bool reads = ctl_arg(id, 0, IPC_STAT, &d) == 0, alters = DO_OPS(id, OP(0, 1, 0)) == 0;
	COUNT_CHECK();
	for (int i = 0; i < 4; i++)
		if ((semctl(id, 0, cmds[i]) >= 0) != reads)
			FAIL("%s, mode %o: command %d is not of one opinion with IPC_STAT", who, mode, cmds[i]);
	if ((ctl_arg(id, 0, GETALL, all) == 0) != reads)
		FAIL("%s, mode %o: GETALL", who, mode);
	if ((ctl_arg(index_of(id), 0, SEM_STAT, &d) >= 0) != reads)
		FAIL("%s, mode %o: SEM_STAT", who, mode);
	if ((DO_OPS(id, OP(1, 0, 0)) == 0) != reads)
		FAIL("%s, mode %o: a wait for zero", who, mode);
	if ((set_value(id, 0, 5) == 0) != alters)
		FAIL("%s, mode %o: SETVAL", who, mode);
	if ((SET_ALL(id, 7, 0) == 0) != alters)
		FAIL("%s, mode %o: SETALL", who, mode);
	if ((DO_OPS(id, OP(0, -1, IPC_NOWAIT)) == 0) != alters)
		FAIL("%s, mode %o: -1", who, mode);
	if ((DO_OPS(id, OP(1, 0, 0), OP(0, 1, SEM_UNDO)) == 0) != alters)
		FAIL("%s, mode %o: a wait for zero and +1", who, mode);
	if (ctl_arg(index_of(id), 0, SEM_STAT_ANY, &d) != id)
		FAIL("%s, mode %o: SEM_STAT_ANY", who, mode);
	can |= reads ? READS : 0;
	can |= alters ? ALTERS : 0;
	can |= ctl_arg(id, 0, IPC_SET, &d) == 0 ? CONTROLS : 0; /* what SEM_STAT_ANY has told: nothing is changed */
	return can;
}

/* What stands in the mode for each class. */
static int sets[8 * 3];
static int mode_of(int i) { return (i % 8) << 3 * (i / 8); }

static void make_sets(void)
{
	struct semid_ds d;
	for (int i = 0; i < 24; i++) {
		sets[i] = MUST(semget(IPC_PRIVATE, 2, mode_of(i)));
		d = set_stat(sets[i]);
		d.sem_perm.uid = OWNER;
		d.sem_perm.gid = OWNER;
		MUST(ctl_arg(sets[i], 0, IPC_SET, &d));
	}
}

/* A process of the class gets what the bits of its class say and not those of another. */
enum class { OF_OTHERS, OF_GROUP, OF_OWNER, EVERYTHING };

static void expect_class(const char *who, enum class class, bool controls)
{
	for (int i = 0; i < 24; i++) {
		int bits = class == EVERYTHING ? 7 : i / 8 == (int)class ? i % 8 : 0;
		int expected = (bits & 4 ? READS : 0) | (bits & 2 ? ALTERS : 0) | (controls ? CONTROLS : 0);
		int is = tried(who, mode_of(i), sets[i]);
		COUNT_CHECK();
		if (is != expected)
			FAIL("%s, mode %03o: can %d, expected %d", who, mode_of(i), is, expected);
	}
}

TEST_SEVERAL_UIDS(the_owner_has_what_his_bits_say)
{
	make_sets();
	IN_CHILD {
		drop_to(OWNER, NO_GROUP);
		expect_class("the owner", OF_OWNER, true);
	}
	IN_CHILD {
		drop_to(OWNER, OWNER);
		expect_class("the owner in his group", OF_OWNER, true);
	}
}

TEST_SEVERAL_UIDS(the_groups_of_owner_and_creator_have_what_their_bits_say)
{
	make_sets();
	IN_CHILD {
		drop_to(STRANGER, OWNER);
		expect_class("gid", OF_GROUP, false);
	}
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP, 60001, OWNER, 60002);
		expect_class("a supplementary group", OF_GROUP, false);
	}
	IN_CHILD {
		drop_to(STRANGER, 0);
		expect_class("the creator's group", OF_GROUP, false);
	}
}

TEST_SEVERAL_UIDS(others_have_what_their_bits_say)
{
	make_sets();
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP);
		expect_class("a stranger", OF_OTHERS, false);
	}
}

/* Root made them: without capabilities he is their creator. */
TEST_SEVERAL_UIDS(the_creator_is_as_the_owner)
{
	make_sets();
	IN_CHILD {
		drop_to_with_caps(0, 0, NO_GROUP);
		expect_class("the creator", OF_OWNER, true);
	}
}

TEST_SEVERAL_UIDS(cap_ipc_owner_grants_all_but_control)
{
	make_sets();
	expect_class("root", EVERYTHING, true);
	IN_CHILD {
		drop_to_with_caps(CAP_BIT(CAP_IPC_OWNER), STRANGER, NO_GROUP);
		expect_class("a stranger with CAP_IPC_OWNER", EVERYTHING, false);
	}
}

TEST_SEVERAL_UIDS(cap_sys_admin_grants_control_alone)
{
	make_sets();
	IN_CHILD {
		drop_to_with_caps(CAP_BIT(CAP_SYS_ADMIN), STRANGER, NO_GROUP);
		/* IPC_SET of each makes the sets what they are: the mode is put back by what was read before. */
		struct semid_ds d;
		for (int i = 0; i < 24; i++) {
			TEST_RES(ctl_arg(index_of(sets[i]), 0, SEM_STAT_ANY, &d), _ret == sets[i]);
			TEST_SUCC(ctl_arg(sets[i], 0, IPC_SET, &d));
			if (!(mode_of(i) & 2))
				TEST_ERRNO(DO_OPS(sets[i], OP(0, 1, 0)), EACCES);
			if (!(mode_of(i) & 4))
				TEST_ERRNO(semctl(sets[i], 0, GETVAL), EACCES);
		}
		TEST_SUCC(remove_set(sets[3]));
	}
	CHECK(!set_exists(sets[3]));
}

TEST_SEVERAL_UIDS(a_set_0604_lets_a_stranger_read_and_wait_and_0602_alter_alone)
{
	int reads = MUST(semget(IPC_PRIVATE, 2, 0604)), alters = MUST(semget(IPC_PRIVATE, 2, 0602));
	unsigned short all[2] = { 0, 0 };
	struct semid_ds d;
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP);
		struct semctl_case t[] = {
			{ "0604", reads, 0, GETVAL, { 0 }, 0 },
			{ "0604", reads, 0, GETPID, { 0 }, 0 },
			{ "0604", reads, 0, GETNCNT, { 0 }, 0 },
			{ "0604", reads, 0, GETZCNT, { 0 }, 0 },
			{ "0604", reads, 0, GETALL, { .array = all }, 0 },
			{ "0604", reads, 0, IPC_STAT, { .buf = &d }, 0 },
			{ "0604", reads, 0, SETVAL, { .val = 0 }, EACCES },
			{ "0604", reads, 0, SETALL, { .array = all }, EACCES },
			{ "0604", reads, 0, IPC_RMID, { 0 }, EPERM },
			{ "0602", alters, 0, GETVAL, { 0 }, EACCES },
			{ "0602", alters, 0, GETALL, { .array = all }, EACCES },
			{ "0602", alters, 0, GETNCNT, { 0 }, EACCES },
			{ "0602", alters, 0, IPC_STAT, { .buf = &d }, EACCES },
			{ "0602", alters, 0, SETVAL, { .val = 0 }, 0 },
			{ "0602", alters, 0, SETALL, { .array = all }, 0 },
			{ "0602", alters, 0, IPC_RMID, { 0 }, EPERM },
		};
		SEMCTL_CASES(t);
		TEST_SUCC(DO_OPS(reads, OP(0, 0, 0)));
		TEST_ERRNO(DO_OPS(reads, OP(0, 1, 0)), EACCES);
		TEST_ERRNO(DO_OPS(reads, OP(0, 0, IPC_NOWAIT), OP(1, 1, 0)), EACCES);
		TEST_ERRNO(DO_OPS(alters, OP(0, 0, 0)), EACCES);
		TEST_SUCC(DO_OPS(alters, OP(0, 1, 0)));
		TEST_SUCC(DO_OPS(alters, OP(1, 0, IPC_NOWAIT), OP(1, 1, 0)));
	}
}

TEST_SEVERAL_UIDS(the_owner_of_a_set_without_rights_can_open_it_for_himself_again)
{
	int *id = shared_memory(sizeof *id);
	IN_CHILD {
		drop_to(OWNER, OWNER);
		*id = MUST(semget(IPC_PRIVATE, 1, 0000));
		struct semid_ds d;
		TEST_ERRNO(DO_OPS(*id, OP(0, 1, 0)), EACCES);
		TEST_ERRNO(semctl(*id, 0, GETVAL), EACCES);
		TEST_ERRNO(ctl_arg(*id, 0, IPC_STAT, &d), EACCES);
		MUST(ctl_arg(index_of(*id), 0, SEM_STAT_ANY, &d));
		d.sem_perm.mode = 0600;
		TEST_SUCC(ctl_arg(*id, 0, IPC_SET, &d));
		TEST_SUCC(DO_OPS(*id, OP(0, 1, 0)));
		CHECK_EQ(value_of(*id, 0), 1);
	}
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP);
		TEST_ERRNO(remove_set(*id), EPERM);
	}
	IN_CHILD {
		drop_to(OWNER, NO_GROUP);
		TEST_SUCC(remove_set(*id));
	}
}

TEST_SEVERAL_UIDS(a_set_of_one_user_serves_another_who_may)
{
	int *id = shared_memory(sizeof *id);
	outcome = shared_memory(sizeof *outcome);
	IN_CHILD {
		drop_to(CREATOR, CREATOR);
		*id = MUST(semget(0x51, 2, IPC_CREAT | 0666));
	}
	pid_t pid = MUST(fork());
	if (pid == 0) {
		drop_to(OWNER, OWNER);
		TEST_RES(semget(0x51, 0, 0600), _ret == *id);
		outcome->result[1] = DO_OPS(*id, OP(0, -1, SEM_UNDO), OP(1, 1, 0)) == 0 ? SERVED : errno;
		_exit(0);
	}
	UNTIL(ncnt_of(*id, 0) == 1);
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP);
		TEST_SUCC(DO_OPS(*id, OP(0, 1, 0)));
		CHECK_STR(counts_of(*id, 2), "0/0 0/0");
	}
	CHECK_SERVED(1);
	REAP(pid);
	CHECK_STR(values_of(*id, 2), "1 1");
	CHECK_EQ(pid_of(*id, 1), pid);
}

/* What an ordinary user can see of the rule: the owner class and no fall-through. */
TEST(an_owner_without_rights_of_the_class_has_none)
{
	int none = MUST(semget(1, 1, IPC_CREAT | 0077));
	struct semid_ds d;
	set_caps(0);
	TEST_ERRNO(semctl(none, 0, GETVAL), EACCES);
	TEST_ERRNO(DO_OPS(none, OP(0, 1, 0)), EACCES);
	TEST_ERRNO(DO_OPS(none, OP(0, 0, 0)), EACCES);
	TEST_ERRNO(semget(1, 0, 0004), EACCES);
	TEST_RES(ctl_arg(index_of(none), 0, SEM_STAT_ANY, &d), _ret == none);
	TEST_SUCC(remove_set(none));
}
