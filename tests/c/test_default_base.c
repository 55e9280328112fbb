/* Where the namespace lies when no setting names one, and what a set-uid program does. */
#include "proctest.h"
#include <sys/mount.h>
#include <sys/statvfs.h>

enum { SOMEBODY = 54001 };

static bool lies_in(const char *path, const char *dir) { return strncmp(path, dir, strlen(dir)) == 0; }

/* /dev/shm and /tmp of our own, which vanish with this process. */
static void own_mounts(const char *shm_options)
{
	SHIM_ONLY();
	const char *lib = getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "";
	if (lies_in(built("helper_steps"), "/tmp/") || lies_in(built("helper_steps"), "/dev/shm/") ||
	    lies_in(lib, "/tmp/") || lies_in(lib, "/dev/shm/"))
		SKIP("the programs or the library lie where another file system is to be mounted");
	if (unshare_as_self(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("shmtest", "/tmp", "tmpfs", 0, "mode=1777,size=16m") < 0 ||
	    mount("shmtest", "/dev/shm", "tmpfs", 0, shm_options) < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	unsetenv("SHMSHIM_DIR");
	unsetenv("SHMSHIM_SCOPE");
	setenv("TMPDIR", "/nowhere", 1); /* has no say */
	setenv("HOME", "/nowhere", 1);
}

TEST(by_default_the_namespace_is_the_users_own_in_dev_shm)
{
	own_mounts("mode=1777,size=16m");
	EXPECT_STEPS("get 0\nat 0\n", "get,0x1c1,4096,01600", "at");
	CHECK_EQ(entries_of("/dev/shm"), 1);
	CHECK_EQ(files_of_segments(), 1); /* of /dev/shm/.shmshim-uid<euid> */
	CHECK_EQ(entries_of("/tmp"), 0);
	setenv("SHMSHIM_SCOPE", "system", 1);
	EXPECT_STEPS("get 0\n", "get,0x1c1,4096,03600");
	CHECK_EQ(entries_of("/dev/shm"), 2);
	CHECK_EQ(files_of_segments(), 1);
}

TEST(an_empty_setting_is_as_good_as_none)
{
	own_mounts("mode=1777,size=16m");
	setenv("SHMSHIM_DIR", "", 1);
	EXPECT_STEPS("get 0\n", "get,0x1c2,4096,01600");
	unsetenv("SHMSHIM_DIR");
	EXPECT_STEPS("get 0\n", "get,0x1c2,0,0");
	CHECK_EQ(files_of_segments(), 1);
}

TEST(users_do_not_meet_by_default)
{
	need_root();
	need_programs_for(SOMEBODY);
	own_mounts("mode=1777,size=16m");
	EXPECT_STEPS("get 0\n", "get,0x1c3,4096,01666");
	IN_CHILD
	{
		drop_to(SOMEBODY, SOMEBODY);
		EXPECT_STEPS("get -1 ENOENT\nget 0\n", "get,0x1c3,0,0", "get,0x1c3,4096,01666");
		CHECK_EQ(files_of_segments(), 1);
	}
	CHECK_EQ(entries_of("/dev/shm"), 2);
}

TEST(without_a_dev_shm_to_write_to_it_lies_in_tmp)
{
	own_mounts("mode=1777,size=16m,ro");
	EXPECT_STEPS("get 0\nat 0\n", "get,0x1c4,4096,01600", "at");
	EXPECT_STEPS("get 0\n", "get,0x1c4,0,0");
	CHECK_EQ(entries_of("/dev/shm"), 0);
	CHECK_EQ(entries_of("/tmp"), 1);
}

/* /run of our own, too. */
static void own_run(mode_t mode)
{
	own_mounts("mode=1777,size=16m");
	if (mount("shmtest", "/run", "tmpfs", 0, "mode=755,size=16m") < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	if (mode) {
		MUST(mkdir("/run/shmshim", 0700));
		MUST(chmod("/run/shmshim", mode));
	}
}

TEST(where_the_administrator_has_made_it_run_shmshim_comes_first)
{
	need_root();
	own_run(01777);
	EXPECT_STEPS("get 0\nat 0\n", "get,0x1c6,4096,01600", "at");
	EXPECT_STEPS("get 0\n", "get,0x1c6,0,0");
	CHECK_EQ(entries_of("/run/shmshim"), 1);
	CHECK_EQ(entries_of("/dev/shm"), 0);
	CHECK_EQ(entries_of("/tmp"), 0);
}

TEST(a_run_shmshim_that_is_not_for_all_is_passed_over)
{
	static const mode_t modes[] = { 0755, 0777, 0700, 01770 };
	own_run(01777);
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		MUST(chmod("/run/shmshim", modes[i]));
		EXPECT_STEPS("get 0\n", "get,0x1c7,4096,01600");
		CHECK_EQ(entries_of("/run/shmshim"), 0);
		CHECK_EQ(entries_of("/dev/shm"), 1);
	}
}

TEST(programs_from_before_and_after_run_shmshim_appears_meet)
{
	need_root();
	own_run(0);
	struct talk t = TALK_STEPS("get,0x1c8,4096,01600", "at", "put,old", "say,up", "wait", "show");
	TALK_EXPECT(&t, "get 0");
	TALK_EXPECT(&t, "at 0");
	TALK_EXPECT(&t, "up");
	MUST(mkdir("/run/shmshim", 0700));
	MUST(chmod("/run/shmshim", 01777));
	EXPECT_STEPS("get 0\nat 0\nshow old\n", "get,0x1c8,0,0", "at", "show");
	CHECK_EQ(entries_of("/run/shmshim"), 0);
	/* One that lies in /tmp because there was no other place, too. */
	setenv("SHMSHIM_SCOPE", "system", 1);
	MUST(mkdir("/tmp/.shmshim", 0755));
	EXPECT_STEPS("get 0\n", "get,0x1c8,4096,01600");
	CHECK_EQ(entries_of("/tmp/.shmshim/segments"), 1);
	CHECK_EQ(entries_of("/run/shmshim"), 0);
	unsetenv("SHMSHIM_SCOPE");
	talk_go(&t);
	TALK_EXPECT(&t, "show old");
	CHECK_EQ(talk_end(&t), 0);
	/* Where the old one is gone, as after a logout, the next is made in the better place. */
	CHECK_EQ(system("rm -r /dev/shm/.shmshim*"), 0);
	EXPECT_STEPS("get 0\n", "get,0x1c8,4096,01600");
	CHECK_EQ(entries_of("/run/shmshim"), 1);
	CHECK_EQ(entries_of("/dev/shm"), 0);
}

TEST(what_somebody_else_has_put_in_a_later_place_does_not_count)
{
	need_root();
	need_programs_for(SOMEBODY);
	own_run(01777);
	MUST(mkdir("/dev/shm/.shmshim-uid54001", 0700));
	IN_CHILD
	{
		drop_to(SOMEBODY, SOMEBODY);
		EXPECT_STEPS("get 0\n", "get,0x1c9,4096,01600");
	}
	CHECK_EQ(entries_of("/run/shmshim"), 1);
	CHECK_EQ(entries_of("/dev/shm/.shmshim-uid54001"), 0);
}

TEST(a_dev_shm_that_root_has_made_a_link_is_followed)
{
	own_run(0);
	need_root();
	MUST(umount("/dev/shm"));
	MUST(mount("shmtest", "/dev", "tmpfs", 0, "mode=755,size=16m"));
	MUST(mkdir("/run/shm", 0700));
	MUST(chmod("/run/shm", 01777));
	MUST(symlink("/run/shm", "/dev/shm"));
	EXPECT_STEPS("get 0\nat 0\n", "get,0x1ca,4096,01600", "at");
	CHECK_EQ(entries_of("/run/shm"), 1);
	CHECK_EQ(entries_of("/tmp"), 0);
}

TEST(without_any_place_that_is_said)
{
	own_run(0);
	need_root();
	MUST(chmod("/dev/shm", 0777));
	MUST(chmod("/tmp", 0777));
	static struct run r;
	setenv("SHMSHIM_TRACE", "stderr", 1);
	run_program(&r, (char *const[]){ "/bin/sh", "-c", "exec \"$0\" get,0,1,0600 2>&1", (char *)built("helper_steps"), NULL });
	CHECK(strstr(r.out, "get -1 EACCES") != NULL);
	CHECK(strstr(r.out, "none of /run/shmshim, /dev/shm and /tmp") != NULL);
}

TEST(a_base_on_a_file_system_whose_locks_others_do_not_see_is_refused)
{
	/* /proc stands for every file system that is no place for it. */
	SHIM_ONLY();
	setenv("SHMSHIM_DIR", "/proc", 1);
	EXPECT_STEPS("get -1 EACCES\n", "get,0,4096,0600");
}

/* ------------------------------------------------------------- AT_SECURE */

TEST(a_set_uid_program_is_not_led_by_its_callers_environment)
{
	ASKS_THE_KERNEL();
	need_root();
	char dir[] = "/tmp/shmtest-setuid.XXXXXX", program[PATH_MAX], base[PATH_MAX];
	struct statvfs v;
	REQUIRE(mkdtemp(dir) != NULL);
	snprintf(program, sizeof program, "%s/steps", dir);
	snprintf(base, sizeof base, "%s/base", dir);
	copy_file(built("helper_steps"), program);
	MUST(chmod(dir, 0755));
	MUST(mkdir(base, 0700));
	MUST(chmod(base, 01777));
	MUST(chmod(program, 04755));
	MUST(statvfs(program, &v));
	bool nosuid = v.f_flag & ST_NOSUID;
	if (!nosuid)
		IN_CHILD
		{
			/* The loader leaves the library out, so it is the kernel that answers: in a namespace of its own here. */
			static struct run r;
			MUST(unshare(CLONE_NEWIPC));
			drop_to(SOMEBODY, SOMEBODY);
			setenv("SHMSHIM_DIR", base, 1);
			setenv("SHMSHIM_SCOPE", "system", 1);
			run_program(&r, (char *const[]){ program, "get,0x1c5,4096,01666", "at", NULL });
			CHECK_EQ(r.status, 0);
			CHECK_STR(r.out, "get 0\nat 0\n");
			int list = MUST(syscall(SYS_openat, AT_FDCWD, "/proc/sysvipc/shm", O_RDONLY));
			char text[1024] = "", *row;
			unsigned creator;
			CHECK(read(list, text, sizeof text - 1) > 0);
			row = strchr(text, '\n');
			CHECK(row && sscanf(row, "%*d %*d %*o %*u %*d %*d %*u %*u %*u %u", &creator) == 1);
			CHECK_EQ(creator, 0);
			CHECK_EQ(entries_of(base), 0);
		}
	unlink(program);
	rmdir(base);
	rmdir(dir);
	if (nosuid)
		SKIP("/tmp does not allow set-uid programs");
}
