/*
 * Who may change, remove and lock a segment. The mode plays no part: being
 * owner or creator does, or one capability for each pair of commands.
 */
#include "shmtest.h"

enum { CREATOR = 54001, OWNER = 54002, STRANGER = 54009, NO_GROUP = 60000 };

/* A segment made by CREATOR with that mode, owned by OWNER. */
static int given_away(int mode)
{
	int *id = shared_memory(sizeof *id);
	IN_CHILD {
		drop_to(CREATOR, CREATOR);
		struct shmid_ds d = { 0 };
		*id = MUST(shmget(IPC_PRIVATE, PAGE, mode));
		d.shm_perm.uid = d.shm_perm.gid = OWNER;
		d.shm_perm.mode = mode;
		MUST(shmctl(*id, IPC_SET, &d));
	}
	return *id;
}

static void judge(const char *who, const char *what, int r, int e, int expected)
{
	COUNT_CHECK();
	if (r == -1 ? e != expected : expected != 0)
		FAIL("%s, %s: %s, expected %s", who, what, r == -1 ? errno_name(e) : "success",
		     errno_name(expected));
}

#define JUDGE(what, call, allowed)                                                                 \
	do {                                                                                       \
		errno = 0;                                                                         \
		int r_ = (call);                                                                   \
		judge(who, what, r_, errno, (allowed) ? 0 : EPERM);                                \
	} while (0)

/* All commands by this process, on a segment nobody may read and one all may. */
static void expect(const char *who, const int id[2], bool change, bool lock)
{
	for (int i = 0; i < 2; i++) {
		struct shmid_ds d = { 0 };
		d.shm_perm.uid = d.shm_perm.gid = OWNER;
		d.shm_perm.mode = i ? 0777 : 0000;
		JUDGE("IPC_SET", shmctl(id[i], IPC_SET, &d), change);
		JUDGE("SHM_LOCK", shmctl(id[i], SHM_LOCK, NULL), lock);
		JUDGE("SHM_UNLOCK", shmctl(id[i], SHM_UNLOCK, NULL), lock);
		JUDGE("IPC_RMID", shmctl(id[i], IPC_RMID, NULL), change);
	}
}

#define EXPECT_OF(who, become_who, change, lock)                                                   \
	do {                                                                                       \
		int id_[2] = { given_away(0000), given_away(0777) };                               \
		IN_CHILD {                                                                         \
			become_who;                                                                \
			expect(who, id_, change, lock);                                            \
		}                                                                                  \
	} while (0)

TEST_SEVERAL_UIDS(owner_and_creator_may_do_everything_whatever_the_mode)
{
	EXPECT_OF("the creator", drop_to(CREATOR, NO_GROUP), true, true);
	EXPECT_OF("the owner", drop_to(OWNER, NO_GROUP), true, true);
}

TEST_SEVERAL_UIDS(the_group_and_others_may_do_nothing_whatever_the_mode)
{
	EXPECT_OF("in the group", drop_to(STRANGER, OWNER), false, false);
	EXPECT_OF("in the creator's group", drop_to(STRANGER, CREATOR), false, false);
	EXPECT_OF("a stranger", drop_to(STRANGER, NO_GROUP), false, false);
	EXPECT_OF("uid 0 without capabilities", drop_to_with_caps(0, 0, NO_GROUP), false, false);
	EXPECT_OF("real uid of the owner",
		  (MUST(setresgid(NO_GROUP, NO_GROUP, NO_GROUP)), MUST(setresuid(OWNER, STRANGER, STRANGER))),
		  false, false);
}

TEST_SEVERAL_UIDS(cap_sys_admin_changes_and_cap_ipc_lock_locks)
{
	EXPECT_OF("root", (void)0, true, true);
	EXPECT_OF("CAP_SYS_ADMIN", drop_to_with_caps(CAP_BIT(CAP_SYS_ADMIN), 0, NO_GROUP), true, false);
	EXPECT_OF("a stranger with CAP_SYS_ADMIN",
		  drop_to_with_caps(CAP_BIT(CAP_SYS_ADMIN), STRANGER, NO_GROUP), true, false);
	EXPECT_OF("CAP_IPC_LOCK", drop_to_with_caps(CAP_BIT(CAP_IPC_LOCK), 0, NO_GROUP), false, true);
	EXPECT_OF("a stranger with CAP_IPC_LOCK",
		  drop_to_with_caps(CAP_BIT(CAP_IPC_LOCK), STRANGER, NO_GROUP), false, true);
}

TEST_SEVERAL_UIDS(no_other_capability_changes_or_locks)
{
	int caps[] = { CAP_IPC_OWNER, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_CHOWN, CAP_SYS_RESOURCE };
	for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
		if (!(caps_held() & CAP_BIT(caps[i])))
			continue; /* a container's root lacks some */
		char who[64];
		snprintf(who, sizeof who, "capability %d alone", caps[i]);
		EXPECT_OF(who, drop_to_with_caps(CAP_BIT(caps[i]), 0, NO_GROUP), false, false);
	}
	EXPECT_OF("all but the two",
		  drop_to_with_caps(caps_held() & ~CAP_BIT(CAP_SYS_ADMIN) & ~CAP_BIT(CAP_IPC_LOCK), 0, NO_GROUP),
		  false, false);
}

static int give(int id, uid_t to)
{
	struct shmid_ds d = { 0 };
	d.shm_perm.uid = d.shm_perm.gid = to;
	d.shm_perm.mode = 0600;
	return shmctl(id, IPC_SET, &d);
}

TEST_SEVERAL_UIDS(a_creator_keeps_its_rights_for_ever)
{
	int id = given_away(0600);
	IN_CHILD {
		drop_to(OWNER, OWNER);
		TEST_SUCC(give(id, STRANGER));
		TEST_ERRNO(give(id, OWNER), EPERM); /* an owner that gave it away does not */
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
		TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
	}
	IN_CHILD {
		drop_to(CREATOR, CREATOR);
		struct shmid_ds d;
		TEST_SUCC(shmat(id, NULL, 0));
		TEST_SUCC(shmctl(id, IPC_STAT, &d));
		CHECK_EQ(d.shm_perm.uid, STRANGER);
		CHECK_EQ(d.shm_perm.cuid, CREATOR);
		CHECK_EQ(d.shm_perm.cgid, CREATOR);
		TEST_SUCC(give(id, OWNER));
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	}
	TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EINVAL);
}

TEST_SEVERAL_UIDS(a_program_that_became_another_user_cannot_remove_what_it_made_as_root)
{
	int id = new_segment(PAGE);
	IN_CHILD {
		char *p = attach(id);
		drop_to(STRANGER, STRANGER);
		TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
		TEST_SUCC(shmdt(p));
	}
	IN_CHILD {
		MUST(setresuid(STRANGER, STRANGER, 0)); /* for now */
		TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
		MUST(seteuid(0));
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	}
	CHECK(!exists(id));
}

TEST_SEVERAL_UIDS(rights_stay_the_same_on_a_removed_segment)
{
	int id = MUST(shmget(IPC_PRIVATE, PAGE, 0644));
	attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	IN_CHILD {
		drop_to(STRANGER, STRANGER);
		TEST_SUCC(shmat(id, NULL, SHM_RDONLY));
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
		TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
		TEST_ERRNO(give(id, STRANGER), EPERM);
	}
}
