/*
 * A kernel without System V IPC has no files for it under /proc. There the library's are found all the same: a program that
 * asks whether a file is there, before opening it, is told what the open will find.
 */
#include "proctest.h"
#include <sys/mount.h>

#define LIST "/proc/sysvipc/shm"
#define LIMIT "/proc/sys/kernel/shmmax"

static const char *const files[] = {
	LIST, LIMIT, "/proc/sys/kernel/shmall", "/proc/sys/kernel/shmmni", "/proc/sys/kernel/shm_rmid_forced",
};
static const char *const others[] = {
	"/proc/sysvipc/sems", "/proc/sysvipc/msg/", "/proc/sys/kernel/auto_msgmni", "/proc/sys/kernel/shm_next_id",
	"/proc/sysvipc/shm/", "/proc/sys/kernel/shmmax2", "/tmp/no-such-directory/shmmax", "no-such-directory/shm", "",
};
#define EACH(list, file) for (size_t i_ = 0; i_ < sizeof list / sizeof *list; i_++) for (const char *file = list[i_]; file; file = NULL)

/* Nothing under the two directories, as far as the kernel is concerned. */
static void no_system_v_files(void)
{
	SHIM_ONLY();
	if (unshare_as_self(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	if (access("/proc/sysvipc", F_OK) == 0 && mount("none", "/proc/sysvipc", "tmpfs", 0, "mode=755") < 0)
		SKIP("no right to cover a directory of /proc: %s", errno_name(errno));
	MUST(mount("none", "/proc/sys/kernel", "tmpfs", 0, "mode=755"));
	REQUIRE(syscall(SYS_openat, AT_FDCWD, LIMIT, O_RDONLY) == -1 && errno == ENOENT);
}

TEST(stat_finds_what_open_finds)
{
	struct stat st;
	no_system_v_files();
	EACH(files, file)
	{
		memset(&st, 0xff, sizeof st);
		errno = 77;
		CHECK_EQ(stat(file, &st), 0);
		CHECK_EQ(errno, 77);
		CHECK_EQ(st.st_mode, S_IFREG | (strcmp(file, LIST) ? 0644 : 0444));
		CHECK(st.st_uid == 0 && st.st_gid == 0 && st.st_size == 0 && st.st_nlink == 1);
		struct stat64 st64;
		TEST_SUCC(stat64(file, &st64));
		CHECK_EQ(st64.st_mode, st.st_mode);
		TEST_SUCC(open(file, O_RDONLY));
	}
	/* Where a word has 32 bits, glibc copies the kernel's structure itself, and dies of a bad pointer; musl always. */
#if __SIZEOF_LONG__ == 8 && defined __GLIBC__
	TEST_ERRNO(stat(LIST, UNMAPPED), EFAULT);
#endif
}

TEST(access_finds_what_open_finds)
{
	no_system_v_files();
	EACH(files, file)
	{
		errno = 77;
		CHECK_EQ(access(file, F_OK) | access(file, R_OK) | faccessat(AT_FDCWD, file, R_OK, 0), 0);
		CHECK_EQ(faccessat(AT_FDCWD, file, R_OK, AT_EACCESS), 0);
		CHECK_EQ(errno, 77);
		TEST_ERRNO(access(file, X_OK), EACCES);
	}
	int kernel = MUST(open("/proc/sys/kernel", O_RDONLY | O_DIRECTORY));
	TEST_SUCC(faccessat(kernel, "shmmax", R_OK, 0));
	MUST(chdir("/proc"));
	TEST_SUCC(access("sys/kernel/shmmax", R_OK));

	/* Roundabout, where nothing is there to be followed: open does not find it either. */
	TEST_ERRNO(open("./../proc/sysvipc/shm", O_RDONLY), ENOENT);
	TEST_ERRNO(access("./../proc/sysvipc/shm", R_OK), ENOENT);
}

TEST(realpath_finds_what_open_finds)
{
	char path[PATH_MAX];
	no_system_v_files();
	EACH(files, file)
	{
		char *found = realpath(file, NULL);
		CHECK_STR(found ? found : "nothing", file);
		free(found);
		CHECK(realpath(file, path) == path);
		CHECK_STR(path, file);
	}
	MUST(chdir("/proc/sys"));
	CHECK(realpath("kernel/shmmax", path) == path);
	CHECK_STR(path, LIMIT);
}

TEST(who_may_not_write_is_told_so)
{
	no_system_v_files();
	/* A namespace in user scope: its owner sets the limits, and nobody writes the list without the right to. */
	new_segment(PAGE);
	TEST_SUCC(access(LIMIT, R_OK | W_OK));
	CHECK_EQ(access(LIST, W_OK) == 0, open(LIST, O_WRONLY) >= 0);
}

TEST(what_is_not_there_is_still_not_there)
{
	struct stat st;
	no_system_v_files();
	EACH(others, file)
	{
		CHECK(stat(file, &st) == -1 && (errno == ENOENT || errno == ENOTDIR));
		CHECK(!realpath(file, NULL) && (errno == ENOENT || errno == ENOTDIR));
		CHECK(access(file, F_OK) == -1 && (errno == ENOENT || errno == ENOTDIR));
		CHECK(faccessat(AT_FDCWD, file, R_OK, 0) == -1 && (errno == ENOENT || errno == ENOTDIR));
	}
}

static void prints(const char *command, const char *expected)
{
	static struct run r;
	run_program(&r, (char *const[]){ (char *)"/bin/sh", (char *)"-c", (char *)command, NULL });
	COUNT_CHECK();
	if (r.status == 127 << 8)
		return; /* not installed here */
	if (r.status != 0 || strcmp(r.out, expected) != 0)
		FAIL("%s: status %#x\n        %s", command, r.status, r.out);
}

TEST(programs_that_look_before_they_open_find_the_files)
{
	no_system_v_files();
	prints("test -e " LIST " && test -r " LIMIT " && echo there", "there\n");
	prints("sysctl -n -w kernel.shmmax=123456 && sysctl -n kernel.shmmax", "123456\n123456\n");
	prints("PATH=/sbin:/usr/sbin:$PATH; ipcs -m -l | grep 'max seg size'", "max seg size (kbytes) = 120\n");
	prints("command -v python3 >/dev/null || exit 127; python3 -c 'import os; print(os.path.exists(\"" LIST "\"))'", "True\n");
}
