/*
 * Memory that shmget promised is there: what the shim's file system cannot hold
 * is refused by shmget, never later by a signal. The file system of these tests
 * is as small as that of a container.
 */
#include "shmtest.h"
#include <sys/mount.h>

enum { MIB = 1 << 20 };

/* This process gets a tmpfs of 64 MiB as its base directory, before any use of it. */
static void use_a_small_tmpfs(void)
{
	if (!under_shim())
		SKIP("a matter of the shim alone");
	char uid[64], gid[64];
	snprintf(uid, sizeof uid, "%u %u 1", geteuid(), geteuid());
	snprintf(gid, sizeof gid, "%u %u 1", getegid(), getegid());
	if (unshare(CLONE_NEWNS) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
			SKIP("no right to a mount namespace: %s", errno_name(errno));
		write_file("/proc/self/setgroups", "deny");
		write_file("/proc/self/uid_map", uid);
		write_file("/proc/self/gid_map", gid);
	}
	const char *dir = getenv("SHMSHIM_DIR");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=64m,mode=0700") < 0)
		SKIP("mounting a tmpfs on %s: %s", dir, errno_name(errno));
}

static void fill(int id, size_t len)
{
	char *p = attach(id);
	memset(p, 1, len);
	CHECK_EQ(p[len - 1], 1);
	MUST(shmdt(p));
}

TEST(a_segment_that_does_not_fit_is_enomem)
{
	use_a_small_tmpfs();
	struct get_case t[] = {
		{ "a byte more than there is", 1, 64 * MIB + 1, IPC_CREAT | 0600, ENOMEM },
		{ "far more", 1, 1ul << 40, IPC_CREAT | 0600, ENOMEM },
		{ "private", IPC_PRIVATE, 65 * MIB, 0600, ENOMEM },
		{ "nothing was left behind", 1, 0, 0, ENOENT },
		{ "what fits", 2, 60 * MIB, IPC_CREAT | 0600, 0 },
	};
	GET_CASES(t);
	fill(MUST(shmget(2, 0, 0)), 60 * MIB);
}

TEST(segments_that_do_not_fit_together_are_enomem_though_nobody_wrote_yet)
{
	use_a_small_tmpfs();
	int a = new_segment(30 * MIB), b = new_segment(20 * MIB);
	TEST_ERRNO(shmget(1, 20 * MIB, IPC_CREAT | 0600), ENOMEM);
	int c = MUST(shmget(1, 10 * MIB, IPC_CREAT | 0600));
	TEST_ERRNO(shmget(2, 10 * MIB, IPC_CREAT | 0600), ENOMEM);
	fill(a, 30 * MIB);
	fill(b, 20 * MIB);
	fill(c, 10 * MIB);
}

TEST(removal_gives_back_what_was_promised)
{
	use_a_small_tmpfs();
	for (int i = 0; i < 20; i++) {
		int id = new_segment(50 * MIB);
		TEST_ERRNO(shmget(IPC_PRIVATE, 50 * MIB, 0600), ENOMEM);
		if (i % 2)
			fill(id, 50 * MIB);
		char *p = attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		TEST_ERRNO(shmget(IPC_PRIVATE, 50 * MIB, 0600), ENOMEM);
		MUST(shmdt(p));
	}
}

TEST(the_death_of_a_process_gives_back_what_its_removed_segments_held)
{
	use_a_small_tmpfs();
	int keep = new_segment(PAGE);
	for (int i = 0; i < 5; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			int id = new_segment(50 * MIB);
			memset(attach(id), 1, 50 * MIB);
			MUST(shmctl(id, IPC_RMID, NULL));
			kill(getpid(), SIGKILL);
		}
		CHECK(WIFSIGNALED(wait_for(pid)));
	}
	fill(new_segment(50 * MIB), 50 * MIB);
	CHECK(exists(keep));
}

TEST(what_is_not_reserved_is_not_promised)
{
	use_a_small_tmpfs();
	int big = MUST(shmget(IPC_PRIVATE, 1ul << 30, SHM_NORESERVE | 0600));
	char *p = attach(big);
	p[0] = p[(1ul << 30) - 1] = 1;
	CHECK_EQ(stat_of(big).shm_segsz, 1ul << 30);
	TEST_SUCC(shmget(IPC_PRIVATE, 50 * MIB, 0600));
	TEST_ERRNO(shmget(IPC_PRIVATE, 50 * MIB, 0600), ENOMEM);
}

TEST(other_files_on_the_file_system_take_their_share)
{
	use_a_small_tmpfs();
	char path[4200];
	int keep = new_segment(PAGE);
	snprintf(path, sizeof path, "%s/other", getenv("SHMSHIM_DIR"));
	int fd = MUST(open(path, O_RDWR | O_CREAT, 0600));
	REQUIRE(posix_fallocate(fd, 0, 40 * MIB) == 0);
	TEST_ERRNO(shmget(1, 40 * MIB, IPC_CREAT | 0600), ENOMEM);
	MUST(ftruncate(fd, 0));
	int id = MUST(shmget(1, 40 * MIB, IPC_CREAT | 0600));
	fill(id, 40 * MIB);
	CHECK(exists(keep));
}
