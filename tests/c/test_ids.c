/*
 * Ids: seq * 32768 + index, the index handed out cyclically, and a stale id
 * refused everywhere. The sequences are exact; they start in an empty namespace.
 * Ids are counted from the first of a test, which on the kernel is 0; in a
 * namespace of the shim sequence numbers begin in the upper half of their range
 * and come back to its middle.
 */
#include "shmtest.h"

enum { LOWEST_SEQ = 32768, SEQS = 65535 };

/* The first sequence number + 1. */
static int *first;

static int counted(int id)
{
	int seq = id / SEQ;
	if (!first)
		first = shared_memory(sizeof *first);
	if (!*first)
		*first = seq + 1;
	seq -= *first - 1;
	return (seq < 0 ? seq + SEQS - LOWEST_SEQ : seq) * SEQ + id % SEQ;
}

static int whole(int id)
{
	int seq = (first && *first ? *first - 1 : 0) + id / SEQ;
	return (seq < SEQS ? seq : seq - SEQS + LOWEST_SEQ) * SEQ + id % SEQ;
}

static int create(void) { return counted(MUST(shmget(IPC_PRIVATE, 1, 0600))); }
static void destroy(int id) { MUST(shmctl(whole(id), IPC_RMID, NULL)); }

static int highest_index(void)
{
	struct shminfo info;
	return MUST(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
}

TEST(ids_start_at_0_and_count_up)
{
	for (int i = 0; i < 100; i++)
		CHECK_EQ(create(), i);
}

TEST(removing_at_once_walks_64_indices_and_then_starts_the_next_sequence)
{
	for (int i = 0; i < 64 * 3 + 5; i++) {
		int id = create();
		CHECK_EQ(id, i / 64 * SEQ + i % 64);
		destroy(id);
	}
}

TEST(an_index_in_use_is_passed_over_after_the_wrap)
{
	CHECK_EQ(create(), 0);
	for (int i = 1; i < 64; i++) {
		int id = create();
		CHECK_EQ(id, i);
		destroy(id);
	}
	for (int i = 1; i < 64; i++) {
		int id = create();
		CHECK_EQ(id, SEQ + i);
		destroy(id);
	}
	CHECK_EQ(create(), 2 * SEQ + 1);
}

TEST(holes_wait_until_the_search_wraps)
{
	for (int i = 0; i < 100; i++)
		create();
	destroy(3);
	destroy(70);
	/* 98 are in use: the search goes up to 3/2 of that, 147, and begins again. */
	for (int i = 100; i < 147; i++) {
		int id = create();
		CHECK_EQ(id, i);
		destroy(id);
	}
	CHECK_EQ(create(), SEQ + 3);
	CHECK_EQ(create(), SEQ + 70);
}

TEST(a_hole_below_is_not_taken_before_the_wrap)
{
	create(), create(), create();
	destroy(1);
	CHECK_EQ(create(), 3);
	destroy(2);
	destroy(0);
	CHECK_EQ(create(), 4);
}

TEST(indices_may_lie_beyond_shmmni)
{
	set_limit("shmmni", "5");
	for (int i = 0; i < 5; i++)
		CHECK_EQ(create(), i);
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
	destroy(2);
	CHECK_EQ(create(), 5);
	CHECK_EQ(highest_index(), 5);
}

TEST(the_default_shmmni_allows_4096_and_the_next_index_after_a_removal_is_4096)
{
	for (int i = 0; i < 4096; i++)
		CHECK_EQ(create(), i);
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
	destroy(17);
	CHECK_EQ(create(), 4096);
	CHECK_EQ(highest_index(), 4096);
}

TEST(a_creation_that_fails_uses_up_no_index)
{
	set_limit("shmmax", "1000000");
	TEST_ERRNO(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
	TEST_ERRNO(shmget(IPC_PRIVATE, 1000001, 0600), EINVAL);
	CHECK_EQ(create(), 0);
	set_limit("shmmni", "1");
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
	set_limit("shmmni", "9");
	CHECK_EQ(create(), 1);
	set_limit("shmall", "2");
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
	set_limit("shmall", "3");
	CHECK_EQ(create(), 2);
	TEST_ERRNO(shmget(1, 1, 0600), ENOENT);
}

TEST(the_sequence_number_stands_in_the_permissions)
{
	int id = -1;
	for (int i = 0; i < 64 * 2 + 3; i++) {
		if (id >= 0)
			destroy(id);
		id = create();
	}
	CHECK_EQ(id, 2 * SEQ + 2);
	CHECK_EQ(stat_of(whole(id)).shm_perm.__seq, whole(id) / SEQ);
}

/* A removed segment, its index used again, and the old id tried everywhere. */
TEST(a_stale_id_is_einval_in_every_call)
{
	char buf[4096];
	int old = create();
	destroy(old);
	for (int i = 1; i < 64; i++)
		destroy(create());
	int new = create();
	CHECK_EQ(new, old + SEQ);
	struct shmid_ds d = stat_of(whole(new));
	int stale[] = { whole(old), whole(new + SEQ), whole(new + 9 * SEQ), whole(5), 32767, 0x7fffffff };
	for (size_t i = 0; i < sizeof stale / sizeof *stale; i++) {
		struct at_case at[] = {
			{ "stale", stale[i], NULL, 0, EINVAL },
			{ "stale, read only", stale[i], NULL, SHM_RDONLY, EINVAL },
		};
		AT_CASES(at);
		struct ctl_case ctl[] = {
			{ "stat", stale[i], IPC_STAT, buf, EINVAL },
			{ "set", stale[i], IPC_SET, &d, EINVAL },
			{ "remove", stale[i], IPC_RMID, NULL, EINVAL },
			{ "lock", stale[i], SHM_LOCK, NULL, EINVAL },
			{ "unlock", stale[i], SHM_UNLOCK, NULL, EINVAL },
		};
		CTL_CASES(ctl);
	}
	CHECK(exists(whole(new)));
}

TEST(a_removed_id_is_einval_and_never_eidrm)
{
	struct shmid_ds d;
	int id = whole(create());
	d = stat_of(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	struct ctl_case t[] = {
		{ "stat", id, IPC_STAT, &d, EINVAL },	  { "by index", id, SHM_STAT, &d, EINVAL },
		{ "by index, any", id, SHM_STAT_ANY, &d, EINVAL }, { "set", id, IPC_SET, &d, EINVAL },
		{ "remove", id, IPC_RMID, NULL, EINVAL }, { "lock", id, SHM_LOCK, NULL, EINVAL },
		{ "unlock", id, SHM_UNLOCK, NULL, EINVAL },
	};
	CTL_CASES(t);
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
}

TEST(shm_stat_looks_at_the_index_only_and_returns_the_full_id)
{
	for (int i = 0; i < 64; i++) {
		int id = create();
		if (i)
			destroy(id);
	}
	int id = create(); /* index 1, seq 1 */
	CHECK_EQ(id, SEQ + 1);
	struct shmid_ds d;
	int cmds[] = { SHM_STAT, SHM_STAT_ANY };
	for (int i = 0; i < 2; i++) {
		TEST_RES(shmctl(1, cmds[i], &d), _ret == whole(id));
		TEST_RES(shmctl(whole(id), cmds[i], &d), _ret == whole(id));
		TEST_RES(shmctl(9 * SEQ + 1, cmds[i], &d), _ret == whole(id));
		TEST_RES(shmctl(0, cmds[i], &d), _ret == whole(0));
		TEST_RES(shmctl(SEQ, cmds[i], &d), _ret == whole(0));
		TEST_ERRNO(shmctl(2, cmds[i], &d), EINVAL);
		TEST_ERRNO(shmctl(7 * SEQ + 2, cmds[i], &d), EINVAL);
		TEST_ERRNO(shmctl(32767, cmds[i], &d), EINVAL);
		TEST_ERRNO(shmctl(0x7fffffff, cmds[i], &d), EINVAL);
		TEST_ERRNO(shmctl(-1, cmds[i], &d), EINVAL);
	}
	TEST_ERRNO(shmctl(whole(1), IPC_STAT, &d), EINVAL);
}

TEST(the_highest_index_falls_when_its_segment_goes)
{
	CHECK_EQ(highest_index(), 0);
	for (int i = 0; i < 4; i++)
		create();
	CHECK_EQ(highest_index(), 3);
	destroy(1);
	CHECK_EQ(highest_index(), 3);
	destroy(3);
	CHECK_EQ(highest_index(), 2);
	char *p = attach(whole(2));
	destroy(2); /* still attached */
	CHECK_EQ(highest_index(), 2);
	MUST(shmdt(p));
	CHECK_EQ(highest_index(), 0);
	destroy(0);
	CHECK_EQ(highest_index(), 0);
}

TEST(an_index_still_attached_after_removal_is_not_given_again)
{
	int id = create();
	char *p = attach(whole(id));
	destroy(id);
	for (int i = 1; i < 64; i++)
		destroy(create());
	CHECK_EQ(create(), SEQ + 1);
	MUST(shmdt(p));
	for (int i = 2; i < 64; i++)
		destroy(create());
	CHECK_EQ(create(), 2 * SEQ);
}

TEST(all_processes_of_a_namespace_draw_from_one_sequence)
{
	first = shared_memory(sizeof *first);
	for (int i = 0; i < 70; i++)
		IN_CHILD {
			int id = create();
			CHECK_EQ(id, i / 64 * SEQ + i % 64);
			destroy(id);
		}
}

TEST(another_namespace_has_its_own_ids)
{
	int *seen = shared_memory(sizeof *seen * 2);
	IN_CHILD {
		fresh_namespace();
		seen[0] = MUST(shmget(IPC_PRIVATE, 1, 0600));
		MUST(shmget(IPC_PRIVATE, 1, 0600));
	}
	IN_CHILD {
		fresh_namespace();
		seen[1] = MUST(shmget(7, 1, IPC_CREAT | IPC_EXCL | 0600));
	}
	CHECK_EQ(index_of(seen[0]), 0);
	CHECK_EQ(index_of(seen[1]), 0);
	CHECK_EQ(create(), 0);
	TEST_ERRNO(shmget(7, 0, 0), ENOENT);
}

TEST(the_kernels_ids_and_those_of_other_namespaces_name_nothing)
{
	enum { NAMESPACES = 6 };
	if (!under_shim())
		NOT_ON_THIS_SIDE("a matter of the shim alone");
	int *seen = shared_memory(sizeof *seen * NAMESPACES), different = 0;
	for (int i = 0; i < NAMESPACES; i++)
		IN_CHILD {
			char dir[4200];
			snprintf(dir, sizeof dir, "%s/ns.%d", getenv("SHMSHIM_DIR"), i);
			MUST(mkdir(dir, 0700));
			setenv("SHMSHIM_DIR", dir, 1);
			seen[i] = MUST(shmget(IPC_PRIVATE, 1, 0600));
			CHECK(seen[i] / SEQ >= LOWEST_SEQ);
			CHECK(seen[i] / SEQ < SEQS);
			for (int id = 0; id < 3 * SEQ; id += id % SEQ == 2 ? SEQ - 2 : 1) {
				struct shmid_ds d;
				TEST_ERRNO(shmctl(id, IPC_STAT, &d), EINVAL);
				TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
			}
		}
	for (int i = 1; i < NAMESPACES; i++)
		different += seen[i] != seen[0];
	CHECK(different >= NAMESPACES - 2);
}
