/*
 * A process that has become another user, in the namespace of the user that it was: what the rules grant it is done, what
 * they refuse is refused for that reason, whether or not it has used the namespace before.
 */
#include "proctest.h"

#include <grp.h>
#include <sys/syscall.h>

enum { NEW_OWNER = 1500, NOBODY_HERE = 1501 };

/* A namespace of root's own, also where the test's may be shared. */
static void users_own(void)
{
	if (geteuid() != 0)
		SKIP("needs root");
	if (under_shim())
		setenv("SHMSHIM_SCOPE", "user", 1);
}

static int given_away(key_t key)
{
	int id = MUST(shmget(key, PAGE, IPC_CREAT | 0600));
	struct shmid_ds d = stat_of(id);
	d.shm_perm.uid = NEW_OWNER;
	MUST(shmctl(id, IPC_SET, &d));
	return id;
}

static void by_libc(int uid)
{
	MUST(setgid(uid));
	MUST(setuid(uid));
}

static void effective(int uid) { MUST(seteuid(uid)); }

/* As libc's `syscall` does it, for this thread alone. */
static void by_number(int uid) { MUST((int)syscall(SYS_setresuid, uid, uid, uid)); }

static void (*const becomes[])(int) = { by_libc, effective, by_number };
enum { WAYS = sizeof becomes / sizeof *becomes };

TEST(the_new_owner_removes_what_it_has_never_attached)
{
	users_own();
	for (int i = 0; i < WAYS; i++) {
		int id = given_away(0x4355);
		IN_CHILD {
			becomes[i](NEW_OWNER);
			TEST_SUCC(shmctl(id, IPC_RMID, NULL));
			TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EINVAL);
		}
		CHECK(!exists(id));
		/* What the key named is gone, and what it names next is new. */
		TEST_RES(shmget(0x4355, PAGE, IPC_CREAT | IPC_EXCL | 0600), _ret >= 0 && _ret != id);
		MUST(shmctl(MUST(shmget(0x4355, 0, 0)), IPC_RMID, NULL));
	}
	if (under_shim()) {
		struct shm_info info;
		MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
		CHECK_EQ(files_of_segments(), 0); /* those that the new owner might not unlink, too */
	}
}

TEST(the_new_owner_marks_what_others_have_attached)
{
	users_own();
	int id = given_away(0x4356);
	char *p = attach(id);
	IN_CHILD {
		MUST(shmdt(p));
		by_libc(NEW_OWNER);
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	}
	CHECK_EQ(stat_of(id).shm_perm.mode, 0600 | SHM_DEST);
	MUST(shmdt(p));
	CHECK(!exists(id));
}

TEST(the_new_owner_sets_locks_and_unlocks)
{
	users_own();
	int id = given_away(0x4357);
	struct shmid_ds d = stat_of(id);
	for (int i = 0; i < WAYS; i++)
		IN_CHILD {
			becomes[i](NEW_OWNER);
			d.shm_perm.mode = 0640 + i;
			TEST_SUCC(shmctl(id, IPC_SET, &d));
			CHECK_EQ(stat_of(id).shm_perm.mode, 0640 + i);
			TEST_SUCC(shmctl(id, SHM_LOCK, NULL));
			CHECK_EQ(stat_of(id).shm_perm.mode, (0640 + i) | SHM_LOCKED);
			TEST_SUCC(shmctl(id, SHM_UNLOCK, NULL));
		}
	CHECK_EQ(stat_of(id).shm_perm.mode, 0640 + WAYS - 1);
}

static void check_refusals(int id)
{
	struct shmid_ds d = { .shm_perm.uid = NOBODY_HERE, .shm_perm.gid = NOBODY_HERE };
	TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
	TEST_ERRNO(shmctl(id, IPC_SET, &d), EPERM);
	TEST_ERRNO(shmctl(id, SHM_LOCK, NULL), EPERM);
	TEST_ERRNO(shmctl(id, SHM_UNLOCK, NULL), EPERM);
	TEST_ERRNO(shmctl(id, IPC_STAT, &d), EACCES);
	TEST_ERRNO(shmctl(id + 1, IPC_RMID, NULL), EINVAL);
	TEST_ERRNO(shmget(IPC_PRIVATE, 0, SHM_HUGETLB | 0600), EINVAL);
	TEST_ERRNO(shmget(IPC_PRIVATE, 0, 0600), EINVAL);
	TEST_ERRNO(shmget(0x4359, 0, 0), ENOENT);
	TEST_ERRNO(shmget(0x4358, 2 * PAGE, 0), EINVAL);
}

TEST(a_stranger_is_refused_for_want_of_rights)
{
	users_own();
	int id = given_away(0x4358);
	for (int i = 0; i < WAYS; i++)
		IN_CHILD {
			/* Group 0 may have huge pages. */
			MUST(setgroups(0, NULL));
			MUST(setresgid(NOBODY_HERE, NOBODY_HERE, NOBODY_HERE));
			becomes[i](NOBODY_HERE);
			check_refusals(id);
			TEST_ERRNO(shmget(IPC_PRIVATE, PAGE, SHM_HUGETLB | 0600), EPERM);
		}
	CHECK(exists(id));
}

TEST(so_is_one_that_cannot_see_the_namespaces_files)
{
	users_own();
	int id = given_away(0x4358);
	IN_CHILD {
		MUST(chroot("/proc/self/fdinfo"));
		MUST(setgroups(0, NULL));
		by_libc(NOBODY_HERE);
		check_refusals(id);
	}
	CHECK(exists(id));
}

TEST(a_child_of_vfork_that_changes_its_uid_leaves_its_parent_alone)
{
	users_own();
	int id = given_away(0x435a);
	pid_t pid = vfork();
	if (pid == 0) {
		setuid(NEW_OWNER);
		_exit(0);
	}
	CHECK(pid > 0);
	wait_for(pid);
	char *p = attach(id);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(stat_of(id).shm_lpid, getpid());
	MUST(shmdt(p));
	CHECK_EQ(nattch_of(id), 0);
}
