/* What stands in the way is said in one true sentence: which path, whose, its mode, what to do. */
#include "refusals.h"
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { SOMEBODY = 54001 };

#define SAYS(text)                                                                                 \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!strstr(traced, text))                                                         \
			FAIL("the trace does not say \"%s\":\n%s", text, traced);                 \
	} while (0)

TEST(a_liveness_file_that_is_none_is_passed_over)
{
	SHIM_ONLY();
	own_base();
	for (int i = 0; i < 6; i++) {
		char path[PATH_MAX], *base = own_base();
		use_base(base, "user");
		EXPECT_STEPS("get 0\n", "get,0x231,4096,01600");
		snprintf(path, sizeof path, "%s", in_runtime_dir("live/1")); /* where the next one would like to be */
		unlink(path);
		switch (i) {
		case 0: MUST(mkfifo(path, 0600)); break;
		case 1: MUST(mkdir(path, 0700)); break;
		case 2: MUST(symlink("/nowhere", path)); break;
		case 3: MUST(symlink("../registry", path)); break;
		case 4: MUST(link(in_runtime_dir("registry"), path)); break;
		case 5: {
			struct sockaddr_un a = { .sun_family = AF_UNIX };
			int fd = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
			MUST(chdir(in_runtime_dir("live")));
			strcpy(a.sun_path, "1");
			MUST(bind(fd, (struct sockaddr *)&a, sizeof a));
			close(fd);
			break;
		}
		}
		if (i == 4) {
			/* The table must not have a second name either. */
			unlink(path);
			close(MUST(open(path, O_CREAT | O_WRONLY, 0600)));
			MUST(link(path, in_runtime_dir("live/ns.other")));
		}
		EXPECT_STEPS("get 0\nat 0\ncount 1\n", "get,0x231,0,0", "at", "count");
		remove(path);
	}
}

TEST_SEVERAL_UIDS(so_is_one_that_is_closed_to_this_user)
{
	SHIM_ONLY();
	need_programs_for(SOMEBODY);
	char *base = own_base();
	MUST(chmod(base, 01777));
	use_base(base, "user");
	IN_CHILD
	{
		drop_to(SOMEBODY, SOMEBODY);
		MUST(chdir("/"));
		EXPECT_STEPS("get 0\n", "get,0x232,4096,01600");
		close(MUST(open(in_runtime_dir("live/1"), O_CREAT | O_EXCL | O_WRONLY, 0)));
		EXPECT_STEPS("get 0\nat 0\n", "get,0x232,0,0", "at");
	}
}

TEST(where_there_is_no_liveness_file_that_is_one_that_is_said)
{
	SHIM_ONLY();
	char path[PATH_MAX];
	use_base(own_base(), "user");
	EXPECT_STEPS("get 0\n", "get,0x233,4096,01600");
	unlink(in_runtime_dir("live/0"));
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof path, "%s/%d", in_runtime_dir("live"), i);
		MUST(mkfifo(path, 0600));
	}
	run_traced(STEPS_ARGV("get,0x233,0,0", "at"));
	CHECK_STR(refused_run.out, "get 0\nat -1 EACCES\n");
	SAYS(" is a fifo of uid");
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof path, "%s/%d", in_runtime_dir("live"), i);
		MUST(unlink(path));
	}
}

TEST(a_base_that_does_not_exist_is_said_to_be_that_of_the_variable)
{
	SHIM_ONLY();
	char missing[PATH_MAX];
	snprintf(missing, sizeof missing, "%s/ns.missing", own_base());
	use_base(missing, "user");
	REFUSED("a missing base", missing);
	SAYS("which SHMSHIM_DIR leads to, does not exist; make it");
}

TEST_SEVERAL_UIDS(a_base_that_may_not_be_searched_is_said_to_be_so)
{
	SHIM_ONLY();
	need_programs_for(SOMEBODY);
	char *base = own_base(), inner[PATH_MAX];
	snprintf(inner, sizeof inner, "%s/ns.inner", base);
	MUST(mkdir(inner, 0700));
	use_base(inner, "user");
	IN_CHILD
	{
		drop_to(SOMEBODY, SOMEBODY);
		MUST(chdir("/"));
		REFUSED("a base below one that is closed", base);
		SAYS("has mode 0700 and may not be searched by this user");
	}
}

TEST_SEVERAL_UIDS(so_is_a_base_that_is_closed_itself_and_one_that_may_not_be_written_to)
{
	SHIM_ONLY();
	need_programs_for(SOMEBODY);
	char *base = own_base();
	use_base(base, "user");
	for (mode_t mode = 0700; mode <= 0755; mode += 055) {
		MUST(chmod(base, mode));
		IN_CHILD
		{
			drop_to(SOMEBODY, SOMEBODY);
			MUST(chdir("/"));
			REFUSED("root's base", base);
			SAYS(mode == 0700 ? " of uid 0 has mode 0700 and may not be searched by this user; chmod it"
					  : " of uid 0 has mode 0755 and may not be written to by this user; chmod it");
		}
	}
}

TEST(no_namespace_lies_on_a_file_system_of_the_kernels)
{
	SHIM_ONLY();
	static const char *const bases[] = { "/proc", "/proc/sys", "/sys", "/dev/pts" };
	own_base();
	for (int i = 0; i < 4; i++) {
		if (access(bases[i], F_OK) < 0)
			continue;
		use_base(bases[i], "user");
		REFUSED(bases[i], "/");
		SAYS("is on a file system of the kernel's, where no files can be made");
	}
}

TEST(a_runtime_directory_that_is_gone_is_said_to_be_so_where_room_is_asked_for)
{
	SHIM_ONLY();
	use_base(own_base(), "user");
	IN_CHILD
	{
		char command[PATH_MAX];
		int lines[2];
		setenv("SHMSHIM_TRACE", "stderr", 1);
		MUST(pipe(lines));
		MUST(dup2(lines[1], 2));
		MUST(shmget(0x239, PAGE, IPC_CREAT | 0600));
		snprintf(command, sizeof command, "rm -r '%s'", in_runtime_dir(""));
		CHECK_EQ(system(command), 0);
		/* The room that was found the first time counts for a quarter of a second. */
		nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
		CHECK(shmget(0x23a, PAGE, IPC_CREAT | 0600) == -1);
		ssize_t n = read(lines[0], traced, sizeof traced - 1);
		traced[n < 0 ? 0 : n] = 0;
		SAYS(" was removed or renamed");
	}
}

TEST_SEVERAL_UIDS(another_users_directory_is_said_to_be_his)
{
	SHIM_ONLY();
	need_programs_for(SOMEBODY);
	char *base = own_base();
	MUST(chmod(base, 0755));
	MUST(chown(base, SOMEBODY, SOMEBODY));
	use_base(base, "user");
	REFUSED("a base of mode 0755 of uid 54001", base);
	SAYS("belongs to uid 54001 (mode 0755), who could exchange what lies in it");
}

TEST(too_long_a_path_is_said_to_be_so_with_how_long_it_may_be)
{
	SHIM_ONLY();
	static char base[1000];
	own_base();
	memset(base, 'x', sizeof base - 1);
	for (size_t at = 0; at < sizeof base; at += 100)
		base[at] = '/';
	for (size_t length = 180; length < sizeof base; length += 400) {
		base[length] = 0;
		use_base(base, "user");
		REFUSED("a long path", "it may have 168 bytes at most");
		base[length] = 'x';
	}
}

TEST(a_path_with_a_line_end_stays_on_one_line)
{
	SHIM_ONLY();
	char base[PATH_MAX];
	snprintf(base, sizeof base, "%s/ns.a\nb", own_base());
	use_base(base, "user");
	run_traced(STEPS_ARGV("get,0,1,0600"));
	SAYS("ns.a\\012b, which");
}

TEST(a_link_in_the_place_of_a_segments_file_is_said_to_be_one)
{
	SHIM_ONLY();
	static struct run r;
	use_base(own_base(), "user");
	EXPECT_STEPS("get 0\n", "get,0x238,4096,01600");
	run_program(&r, (char *const[]){ "/bin/sh", "-c", "for f in \"$0\"/*; do mv $f $f.away; ln -s $f.away $f; done",
		(char *)in_runtime_dir("segments"), NULL });
	run_traced(STEPS_ARGV("get,0x238,0,0", "at"));
	CHECK_STR(refused_run.out, "get 0\nat -1 EACCES\n");
	SAYS("ELOOP (a symbolic link is there, and none may be; remove it");
	run_program(&r, (char *const[]){ "/bin/sh", "-c", "rm \"$0\"/*", (char *)in_runtime_dir("segments"), NULL });
}

TEST(a_directory_in_the_place_of_a_new_table_is_said_to_be_there)
{
	SHIM_ONLY();
	use_base(own_base(), "user");
	EXPECT_STEPS("get 0\n", "get,0x234,4096,01600");
	MUST(unlink(in_runtime_dir("registry")));
	MUST(mkdir(in_runtime_dir("registry.new"), 0700));
	REFUSED("a directory in the new table's place", in_runtime_dir("registry.new"));
	SAYS("registry.new is a directory of uid");
	MUST(rmdir(in_runtime_dir("registry.new")));
	EXPECT_STEPS("get 0\n", "get,0x234,0,0");
}

TEST_SEVERAL_UIDS(root_that_became_another_user_is_told_of_system_scope)
{
	SHIM_ONLY();
	char *base = own_base(), path[PATH_MAX];
	MUST(chmod(base, 01777));
	use_base(base, "user");
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMTEST_HOME"));
	int fd = MUST(open(path, O_CREAT | O_WRONLY, 0666));
	MUST(fchmod(fd, 0666));
	MUST(fchown(fd, SOMEBODY, SOMEBODY));
	close(fd);
	setenv("SHMSHIM_TRACE", path, 1);
	IN_CHILD
	{
		int id = new_segment(PAGE);
		drop_to(SOMEBODY, SOMEBODY);
		struct timespec soon = { .tv_nsec = 50000000 };
		nanosleep(&soon, NULL);
		shmat(id, NULL, 0);
		CHECK(shmget(IPC_PRIVATE, PAGE, 0600) < 0);
	}
	fd = MUST(open(path, O_RDONLY));
	ssize_t n = read(fd, traced, sizeof traced - 1);
	traced[n < 0 ? 0 : n] = 0;
	close(fd);
	unlink(path);
	if (strstr(traced, "shmget"))
		SAYS("programs that change their user need SHMSHIM_SCOPE=system");
}

TEST(it_works_on_a_ramfs)
{
	SHIM_ONLY();
	need_root();
	char *base = own_base();
	if (unshare_as_self(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("shmtest", base, "ramfs", 0, "mode=700") < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	use_base(base, "user");
	EXPECT_STEPS("get 0\nat 0\n", "get,0x235,4096,01600", "at", "put,on a ramfs");
	/* More than the table has room for at first. */
	CHECK_LIFE(0x236);
	static struct run r;
	run_program(&r, (char *const[]){ "/bin/sh", "-c",
		"for i in 1 2 3 4 5 6 7 8 9 10; do \"$0\" get,0,1,0600 get,0,1,0600 get,0,1,0600 get,0,1,0600 get,0,1,0600 "
		"get,0,1,0600 get,0,1,0600 get,0,1,0600 get,0,1,0600 get,0,1,0600 || exit 1; done; \"$0\" count",
		(char *)built("helper_steps"), NULL });
	CHECK(strstr(r.out, "count 101\n") != NULL);
	EXPECT_STEPS("get 0\nat 0\nshow on a ramfs\n", "get,0x235,0,0", "at", "show");
	umount2(base, MNT_DETACH);
}

TEST_SEVERAL_UIDS(a_limit_that_is_too_low_is_named)
{
	SHIM_ONLY();
	need_programs_for(SOMEBODY);
	char *base = own_base();
	MUST(chmod(base, 01777));
	use_base(base, "user");
	IN_CHILD
	{
		/* Root may raise its limits, and the library does for the moment. */
		drop_to(SOMEBODY, SOMEBODY);
		MUST(chdir("/"));
		struct rlimit none = { 0, 0 }, little = { 16 << 20, 16 << 20 };
		EXPECT_STEPS("get 0\n", "get,0x237,4096,01600");
		char path[PATH_MAX];
		snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMTEST_HOME"));
		IN_CHILD
		{
			/* What is there can be used still; a trace file would be too long at once. */
			MUST(setrlimit(RLIMIT_FSIZE, &none));
			EXPECT_STEPS("get 0\nat 0\nget -1 ENOMEM\n", "get,0x237,0,0", "at", "get,0,4096,0600");
		}
		IN_CHILD
		{
			static struct run r;
			MUST(setrlimit(RLIMIT_FSIZE, &none));
			setenv("SHMSHIM_TRACE", "stderr", 1);
			run_program(&r, (char *const[]){ "/bin/sh", "-c", "exec \"$0\" get,0,4096,0600 2>&1", (char *)built("helper_steps"), NULL });
			COUNT_CHECK();
			if (!strstr(r.out, "RLIMIT_FSIZE, ulimit -f, is 0 bytes"))
				FAIL("%s", r.out);
		}
		IN_CHILD
		{
			static struct run r;
			MUST(setrlimit(RLIMIT_AS, &little));
			setenv("SHMSHIM_TRACE", "stderr", 1);
			run_program(&r, (char *const[]){ "/bin/sh", "-c", "exec \"$0\" get,0,4096,0600 2>&1", (char *)built("helper_steps"), NULL });
			COUNT_CHECK();
			if (!strstr(r.out, "RLIMIT_AS, ulimit -v, is 16777216 bytes"))
				FAIL("%s", r.out);
		}
		IN_CHILD
		{
			/* The trace needs no descriptor of its own. */
			int lines[2];
			setenv("SHMSHIM_TRACE", "stderr", 1);
			MUST(pipe(lines));
			MUST(dup2(lines[1], 2));
			MUST(setrlimit(RLIMIT_NOFILE, &none));
			CHECK(shmget(0x237, 0, 0) == -1);
			ssize_t n = read(lines[0], traced, sizeof traced - 1);
			traced[n < 0 ? 0 : n] = 0;
			SAYS("RLIMIT_NOFILE, ulimit -n, is 0; raise it");
		}
	}
}
