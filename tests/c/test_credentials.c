/* Attaches outlive a change of user, of root directory, of what the process may see. */
#include "proctest.h"
#include <sys/mount.h>

enum { SOMEBODY = 54001 };

TEST_SEVERAL_UIDS(an_attach_stays_usable_after_setuid)
{
	int id = MUST(shmget(0xd1, PAGE, IPC_CREAT | 0600));
	IN_CHILD
	{
		char *p = attach(id);
		struct shmid_ds d;
		drop_to(SOMEBODY, SOMEBODY);
		CHECK(WRITABLE(p));
		strcpy(p, "as somebody");
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
		TEST_ERRNO(shmat(id, NULL, SHM_RDONLY), EACCES);
		TEST_ERRNO(shmctl(id, IPC_STAT, &d), EACCES);
		TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
		TEST_ERRNO(shmget(0xd1, 0, 0600), EACCES);
		TEST_RES(shmget(0xd1, 0, 0), _ret == id);
		TEST_SUCC(shmdt(p));
		CHECK(!READABLE(p));
		TEST_ERRNO(shmdt(p), EINVAL);
	}
	CHECK_EQ(nattch_of(id), 0);
	CHECK_STR(attach(id), "as somebody");
}

TEST_SEVERAL_UIDS(the_parent_sees_the_detach_of_a_child_that_changed_its_user)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct gate go = gate_make(), done = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		drop_to(SOMEBODY, SOMEBODY);
		TEST_SUCC(shmdt(p));
		gate_open(&done);
		gate_wait(&go);
		_exit(0);
	}
	gate_wait(&done);
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_nattch, 1);
	CHECK_EQ(d.shm_lpid, child);
	gate_open(&go);
	REAP(child);
	CHECK_EQ(nattch_of(id), 1);
}

TEST_SEVERAL_UIDS(a_process_that_changed_its_user_still_counts_until_it_dies)
{
	int id = new_segment(PAGE);
	struct gate up = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		attach(id);
		drop_to(SOMEBODY, SOMEBODY);
		gate_open(&up);
		for (;;)
			pause();
	}
	gate_wait(&up);
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(nattch_of(id), 1);
	MUST(kill(child, SIGKILL));
	wait_for(child);
	CHECK(!exists(id));
}

TEST_SEVERAL_UIDS(the_last_detach_destroys_for_a_process_that_changed_its_user)
{
	int id = new_segment(PAGE);
	IN_CHILD
	{
		char *p = attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		drop_to(SOMEBODY, SOMEBODY);
		TEST_SUCC(shmdt(p));
		struct shmid_ds d;
		TEST_ERRNO(shmctl(id, IPC_STAT, &d), EINVAL);
	}
	CHECK(!exists(id));
	CHECK_EQ(segments_in_all(), 0);
}

TEST_SEVERAL_UIDS(a_fork_after_setuid_counts)
{
	int id = new_segment(PAGE);
	IN_CHILD
	{
		char *p = attach(id);
		drop_to(SOMEBODY, SOMEBODY);
		struct gate go = gate_make();
		pid_t pid = MUST(fork());
		if (pid == 0) {
			p[0] = 'c';
			gate_wait(&go);
			TEST_SUCC(shmdt(p));
			_exit(0);
		}
		struct shmid_ds d;
		TEST_ERRNO(shmctl(id, IPC_STAT, &d), EACCES);
		TEST_RES(shmctl(id & 32767, SHM_STAT_ANY, &d), _ret == id);
		CHECK_EQ(d.shm_nattch, 2);
		gate_open(&go);
		REAP(pid);
		TEST_RES(shmctl(id & 32767, SHM_STAT_ANY, &d), _ret == id);
		CHECK_EQ(d.shm_nattch, 1);
		CHECK_EQ(d.shm_lpid, pid);
	}
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(attach(id)[0], 'c');
}

TEST_SEVERAL_UIDS(an_effective_user_taken_for_a_while_decides_for_that_while)
{
	int id = MUST(shmget(0xd2, PAGE, IPC_CREAT | 0600));
	MUST(seteuid(SOMEBODY));
	TEST_ERRNO(shmget(0xd2, 0, 0600), EACCES);
	TEST_ERRNO(shmat(id, NULL, 0), EACCES);
	int own = MUST(shmget(0xd3, PAGE, IPC_CREAT | 0600));
	CHECK_EQ(stat_of(own).shm_perm.cuid, SOMEBODY);
	MUST(seteuid(0));
	char *p = attach(id);
	CHECK_EQ(stat_of(own).shm_perm.uid, SOMEBODY);
	MUST(shmdt(p));
	TEST_SUCC(shmctl(own, IPC_RMID, NULL));
}

static gid_t group_of_a_new_segment(void)
{
	int id = new_segment(PAGE);
	struct shmid_ds d = stat_of(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(d.shm_perm.gid, d.shm_perm.cgid);
	return d.shm_perm.cgid;
}

#ifdef __x86_64__
/* By an instruction of the program's own, which no library sees. */
TEST_SEVERAL_UIDS(a_group_that_changed_unseen_is_that_of_what_is_made)
{
	CHECK_EQ(group_of_a_new_segment(), getegid());
	long changed;
	__asm__ volatile("syscall"
			 : "=a"(changed)
			 : "a"((long)SYS_setregid), "D"(-1L), "S"((long)SOMEBODY)
			 : "rcx", "r11", "memory");
	CHECK_EQ(changed, 0);
	CHECK_EQ(group_of_a_new_segment(), SOMEBODY);
}
#endif

TEST_SEVERAL_UIDS(the_effective_group_of_the_moment_is_that_of_what_is_made)
{
	gid_t first = getegid();
	CHECK_EQ(group_of_a_new_segment(), first);
	MUST(setegid(SOMEBODY));
	CHECK_EQ(group_of_a_new_segment(), SOMEBODY);
	MUST(setregid((gid_t)-1, SOMEBODY + 1));
	CHECK_EQ(group_of_a_new_segment(), SOMEBODY + 1);
	MUST(setresgid((gid_t)-1, SOMEBODY + 2, (gid_t)-1));
	CHECK_EQ(group_of_a_new_segment(), SOMEBODY + 2);
	MUST((int)syscall(SYS_setresgid, -1, SOMEBODY + 3, -1));
	CHECK_EQ(group_of_a_new_segment(), SOMEBODY + 3);
	MUST(setgid(SOMEBODY + 4));
	CHECK_EQ(group_of_a_new_segment(), SOMEBODY + 4);
}

/* -------------------------------------------------------------- chroot */

TEST(an_attach_stays_usable_after_chroot)
{
	char dir[] = "/tmp/shmtest-root.XXXXXX";
	REQUIRE(mkdtemp(dir) != NULL);
	int id = new_segment(PAGE), *status = shared_memory(sizeof *status);
	attach(id);
	pid_t child = MUST(fork());
	if (child == 0) {
		char *p = attach(id);
		if (chroot(dir) < 0 && (unshare_as_self(CLONE_NEWNS) < 0 || chroot(dir) < 0)) {
			*status = errno;
			_exit(0);
		}
		MUST(chdir("/"));
		CHECK(WRITABLE(p));
		strcpy(p, "inside");
		struct shmid_ds d;
		errno = 0;
		int r = shmctl(id, IPC_STAT, &d);
		CHECK(r == 0 ? d.shm_nattch == 3 : under_shim() && in_the_manual("shmctl", errno));
		/* The segment's file is out of reach now: refused, or not, but no harm done. */
		errno = 0;
		char *q = shmat(id, NULL, 0);
		CHECK(q != (char *)-1 ? WRITABLE(q) : under_shim() && in_the_manual("shmat", errno));
		if (q != (char *)-1)
			TEST_SUCC(shmdt(q));
		TEST_SUCC(shmdt(p));
		CHECK(!READABLE(p));
		TEST_ERRNO(shmdt(p), EINVAL);
		_exit(0);
	}
	REAP(child);
	MUST(rmdir(dir));
	if (*status)
		SKIP("chroot: %s", errno_name(*status));
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(stat_of(id).shm_lpid, child);
	CHECK_STR(attach(id), "inside");
}

TEST(a_removed_segment_detached_inside_a_chroot_is_destroyed)
{
	char dir[] = "/tmp/shmtest-root.XXXXXX";
	REQUIRE(mkdtemp(dir) != NULL);
	int id = new_segment(PAGE), *status = shared_memory(sizeof *status);
	pid_t child = MUST(fork());
	if (child == 0) {
		char *p = attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		if (chroot(dir) < 0 && (unshare_as_self(CLONE_NEWNS) < 0 || chroot(dir) < 0)) {
			*status = errno;
			_exit(0);
		}
		TEST_SUCC(shmdt(p));
		_exit(0);
	}
	REAP(child);
	MUST(rmdir(dir));
	if (*status)
		SKIP("chroot: %s", errno_name(*status));
	CHECK(!exists(id));
	CHECK_EQ(segments_in_all(), 0);
}

/* --------------------------------------- what a process may no longer see */

TEST(a_process_that_may_not_be_dumped_can_call)
{
	/* /proc/self belongs to root then. */
	int id = new_segment(PAGE);
	char *p = attach(id);
	MUST(prctl(PR_SET_DUMPABLE, 0));
	CHECK_LIFE(0xd4);
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 0);
}

TEST_SEVERAL_UIDS(a_user_that_may_not_be_dumped_can_call)
{
	IN_CHILD
	{
		drop_to(SOMEBODY, SOMEBODY);
		MUST(prctl(PR_SET_DUMPABLE, 0));
		CHECK_LIFE(0xd5);
		int id = new_segment(PAGE);
		char *p = attach(id);
		IN_CHILD
		{
			CHECK_EQ(nattch_of(id), 2);
			CHECK_LIFE(0xd5);
		}
		CHECK_EQ(nattch_of(id), 1);
		TEST_SUCC(shmdt(p));
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	}
}

TEST(a_process_without_proc_can_call)
{
	int id = MUST(shmget(0xd6, PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	int *status = shared_memory(sizeof *status);
	IN_CHILD
	{
		if (unshare_as_self(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("none", "/proc", "tmpfs", 0, NULL) < 0) {
			*status = errno;
			_exit(0);
		}
		CHECK(access("/proc/self", F_OK) < 0);
		CHECK_EQ(nattch_of(id), 2);
		CHECK_LIFE(0xd7);
		TEST_SUCC(shmdt(p));
		IN_CHILD CHECK_LIFE(0xd7);
		CHECK_EQ(nattch_of(id), 1);
	}
	if (*status)
		SKIP("hiding /proc: %s", errno_name(*status));
	CHECK_EQ(nattch_of(id), 1);
}
