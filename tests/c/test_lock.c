/*
 * SHM_LOCK and SHM_UNLOCK: the mark in the mode, and the account kept against
 * RLIMIT_MEMLOCK of a caller without CAP_IPC_LOCK.
 */
#include "shmtest.h"

static void limit_locking(rlim_t bytes)
{
	set_caps(0);
	MUST(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ bytes, bytes }));
}

/*
 * The kernel's account is the user's, over all namespaces. Root becomes a user
 * of whom nobody has heard, so that nothing else is on the account.
 */
static void limit_locking_to_two_pages(void)
{
	if (!under_shim() && is_root())
		drop_to(500000 + getpid(), 54001);
	int id = new_segment(2 * PAGE);
	limit_locking(2 * PAGE);
	if (shmctl(id, SHM_LOCK, NULL) < 0 && errno == ENOMEM && !under_shim())
		SKIP("this user has locked memory elsewhere");
	MUST(shmctl(id, IPC_RMID, NULL));
}

static bool locked(int id) { return stat_of(id).shm_perm.mode & SHM_LOCKED; }

TEST(locking_marks_the_mode_and_changes_nothing_else)
{
	int id = MUST(shmget(0x162e, 5000, IPC_CREAT | 0640));
	struct shmid_ds before = stat_of(id), after;
	next_second();
	TEST_RES(shmctl(id, SHM_LOCK, NULL), _ret == 0);
	after = stat_of(id);
	CHECK_EQ(after.shm_perm.mode, SHM_LOCKED | 0640);
	after.shm_perm.mode = 0640;
	CHECK_SAME(before, after);
	TEST_SUCC(shmctl(id, SHM_LOCK, NULL)); /* twice is fine */
	CHECK(locked(id));
	TEST_RES(shmctl(id, SHM_UNLOCK, NULL), _ret == 0);
	after = stat_of(id);
	CHECK_SAME(before, after);
	TEST_SUCC(shmctl(id, SHM_UNLOCK, NULL)); /* so is this */
}

TEST(locking_brings_no_page_into_memory)
{
	int id = new_segment(4 * PAGE);
	struct shm_info info;
	MUST(shmctl(id, SHM_LOCK, NULL));
	char *p = attach(id);
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	CHECK_EQ(info.shm_rss, 0);
	CHECK(WRITABLE(p));
	MUST(shmctl(id, SHM_UNLOCK, NULL));
}

TEST(a_limit_of_0_forbids_locking_and_not_unlocking)
{
	int id = new_segment(PAGE), before = new_segment(PAGE);
	MUST(shmctl(before, SHM_LOCK, NULL));
	IN_CHILD {
		limit_locking(0);
		TEST_ERRNO(shmctl(id, SHM_LOCK, NULL), EPERM);
		TEST_ERRNO(shmctl(before, SHM_LOCK, NULL), EPERM); /* though it is locked */
		TEST_SUCC(shmctl(before, SHM_UNLOCK, NULL));
		TEST_SUCC(shmctl(before, SHM_UNLOCK, NULL));
		TEST_ERRNO(shmctl(id + 100, SHM_LOCK, NULL), EINVAL);
	}
	CHECK(!locked(before));
}

TEST(rounded_sizes_of_all_locked_segments_count_against_the_limit)
{
	limit_locking_to_two_pages();
	int big = new_segment(3 * PAGE), fits = new_segment(2 * PAGE), one = new_segment(1);
	TEST_ERRNO(shmctl(big, SHM_LOCK, NULL), ENOMEM);
	CHECK(!locked(big));
	TEST_SUCC(shmctl(fits, SHM_LOCK, NULL));
	TEST_SUCC(shmctl(fits, SHM_LOCK, NULL)); /* counted once */
	TEST_ERRNO(shmctl(one, SHM_LOCK, NULL), ENOMEM);
	MUST(shmctl(fits, SHM_UNLOCK, NULL));
	TEST_SUCC(shmctl(one, SHM_LOCK, NULL));
	TEST_ERRNO(shmctl(fits, SHM_LOCK, NULL), ENOMEM); /* 1 byte took a page */
	MUST(shmctl(one, SHM_UNLOCK, NULL));
}

TEST(removal_gives_back_what_locking_took)
{
	limit_locking_to_two_pages();
	int a = new_segment(2 * PAGE), b = new_segment(2 * PAGE);
	MUST(shmctl(a, SHM_LOCK, NULL));
	TEST_ERRNO(shmctl(b, SHM_LOCK, NULL), ENOMEM);
	MUST(shmctl(a, IPC_RMID, NULL));
	TEST_SUCC(shmctl(b, SHM_LOCK, NULL));
	MUST(shmctl(b, SHM_UNLOCK, NULL));
}

TEST(a_removed_segment_keeps_its_share_until_it_is_destroyed)
{
	limit_locking_to_two_pages();
	int a = new_segment(2 * PAGE), b = new_segment(2 * PAGE);
	char *p = attach(a);
	MUST(shmctl(a, SHM_LOCK, NULL));
	MUST(shmctl(a, IPC_RMID, NULL));
	TEST_ERRNO(shmctl(b, SHM_LOCK, NULL), ENOMEM);
	MUST(shmdt(p));
	TEST_SUCC(shmctl(b, SHM_LOCK, NULL));
	MUST(shmctl(b, SHM_UNLOCK, NULL));
}

TEST(the_account_belongs_to_the_user_not_to_the_process)
{
	limit_locking_to_two_pages();
	int a = new_segment(2 * PAGE), b = new_segment(2 * PAGE);
	IN_CHILD
		MUST(shmctl(a, SHM_LOCK, NULL));
	CHECK(locked(a));
	TEST_ERRNO(shmctl(b, SHM_LOCK, NULL), ENOMEM);
	IN_CHILD
		MUST(shmctl(a, SHM_UNLOCK, NULL));
	TEST_SUCC(shmctl(b, SHM_LOCK, NULL));
	MUST(shmctl(b, SHM_UNLOCK, NULL));
}

TEST_SEVERAL_UIDS(each_user_has_an_account)
{
	uid_t user = 10000000 + 2 * getpid();
	int *id = shared_memory(sizeof *id * 2);
	for (int i = 0; i < 2; i++)
		IN_CHILD {
			drop_to(user + i, 54001);
			limit_locking(2 * PAGE);
			id[i] = MUST(shmget(IPC_PRIVATE, 2 * PAGE, 0600));
			TEST_SUCC(shmctl(id[i], SHM_LOCK, NULL));
			TEST_ERRNO(shmctl(MUST(shmget(IPC_PRIVATE, 1, 0600)), SHM_LOCK, NULL), ENOMEM);
		}
	CHECK(locked(id[0]) && locked(id[1]));
	MUST(shmctl(id[0], IPC_RMID, NULL)); /* by another user: who locked it gets it back */
	MUST(shmctl(id[1], SHM_UNLOCK, NULL));
	for (int i = 0; i < 2; i++)
		IN_CHILD {
			drop_to(user + i, 54001);
			limit_locking(2 * PAGE);
			int again = MUST(shmget(IPC_PRIVATE, 2 * PAGE, 0600));
			TEST_SUCC(shmctl(again, SHM_LOCK, NULL));
			MUST(shmctl(again, IPC_RMID, NULL));
		}
}

TEST(cap_ipc_lock_locks_beyond_any_limit)
{
	need_root();
	if (!(caps_held() & CAP_BIT(CAP_IPC_LOCK)))
		SKIP("needs CAP_IPC_LOCK");
	int id = new_segment(8 * PAGE);
	MUST(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 0, 0 }));
	TEST_SUCC(shmctl(id, SHM_LOCK, NULL));
	CHECK(locked(id));
	MUST(shmctl(id, SHM_UNLOCK, NULL));
}
