/* What happens when somebody removes files from under a namespace, as systemd-logind does at a logout. */
#include "refusals.h"
#include <sys/file.h>
#include <sys/mount.h>

static char *lived_in(const char *scope)
{
	char *base = own_base();
	use_base(base, scope);
	EXPECT_STEPS("get 0\nat 0\n", "get,0x221,4096,01600", "at", "put,precious");
	return base;
}
static const char *sh(const char *fmt, const char *path)
{
	static char command[2 * PATH_MAX];
	snprintf(command, sizeof command, fmt, path);
	CHECK_EQ(system(command), 0);
	return command;
}
/* What a traced program prints, and a reason that it gives. */
#define CHECK_SAYS(text)                                                                           \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!strstr(traced, text))                                                         \
			FAIL("the trace does not say \"%s\":\n%s", text, traced);                 \
	} while (0)

TEST(directories_that_are_missing_are_made_again)
{
	SHIM_ONLY();
	static const char *const scopes[] = { "user", "system" };
	for (int i = 0; i < 2; i++) {
		lived_in(scopes[i]);
		mode_t mode = place_of(in_runtime_dir("segments")).mode;
		sh("rm -r %s", in_runtime_dir("segments"));
		umask(0777);
		/* The segment's file was in it: it counts as removed. */
		EXPECT_STEPS("get 1\nat 0\ncount 1\n", "get,0x222,4096,01600", "at", "count");
		umask(022);
		CHECK_EQ(place_of(in_runtime_dir("segments")).mode, mode);
		EXPECT_STEPS("get -1 ENOENT\nget 1\n", "get,0x221,0,0", "get,0x222,0,0");
		sh("rm -r %s", in_runtime_dir("live"));
		EXPECT_STEPS("get 1\nat 0\n", "get,0x222,0,0", "at");
		CHECK_EQ(place_of(in_runtime_dir("live")).mode, mode);
	}
}

TEST(a_program_that_runs_makes_them_again_itself)
{
	SHIM_ONLY();
	int id = new_segment(PAGE);
	char *p = attach(id);
	sh("rm -r %s", in_runtime_dir("segments"));
	int other = MUST(shmget(0x223, PAGE, IPC_CREAT | 0600));
	CHECK(WRITABLE(attach(other)));
	strcpy(p, "still there");
	CHECK_STR(p, "still there");
	TEST_ERRNO(shmat(id, NULL, 0), EIDRM);
	TEST_SUCC(shmdt(p));
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
	sh("rm -r %s", in_runtime_dir("live"));
	IN_CHILD
	{
		CHECK(WRITABLE(attach(other)));
		CHECK_EQ(nattch_of(other), 3);
	}
}

TEST(a_segment_whose_file_is_gone_counts_as_removed)
{
	SHIM_ONLY();
	own_base(); /* where the trace goes */
	int id = MUST(shmget(0x224, PAGE, IPC_CREAT | 0600));
	char *p = attach(id), name[64];
	struct shmid_ds d;
	snprintf(name, sizeof name, "segments/SYSV00000224.%d", id);
	MUST(unlink(in_runtime_dir(name)));
	strcpy(p, "kept");
	run_traced(STEPS_ARGV("get,0x224,0,0", "at"));
	CHECK_STR(refused_run.out, "get 0\nat -1 EIDRM\n");
	CHECK_SAYS(in_runtime_dir(name));
	CHECK_SAYS("is gone");
	CHECK_STR(p, "kept");
	MUST(shmctl(id, IPC_STAT, &d));
	CHECK_EQ(d.shm_perm.mode & SHM_DEST, SHM_DEST);
	CHECK_EQ(d.shm_nattch, 1);
	int fresh = MUST(shmget(0x224, PAGE, IPC_CREAT | IPC_EXCL | 0600));
	CHECK(fresh != id);
	MUST(shmdt(p));
	TEST_ERRNO(shmctl(id, IPC_STAT, &d), EINVAL);
	MUST(shmctl(fresh, IPC_RMID, NULL));
	CHECK_EQ(files_of_segments(), 0);
	CHECK_EQ(segments_in_all(), 0);
}

/* A program with a segment attached stands still while something is done; then it makes every call. */
static struct talk attached(void)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMTEST_HOME"));
	unlink(path);
	setenv("SHMSHIM_TRACE", path, 1);
	struct talk t = TALK_STEPS("get,0x221,4096,01600", "at", "put,precious", "say,up", "wait", "show", "dt", "at", "get,0,1,0600", "say,end");
	unsetenv("SHMSHIM_TRACE");
	TALK_EXPECT(&t, "get 0");
	TALK_EXPECT(&t, "at 0");
	TALK_EXPECT(&t, "up");
	return t;
}
static void go_on_without(struct talk *t, const char *reason)
{
	char path[PATH_MAX];
	struct timespec soon = { .tv_nsec = 50000000 }; /* so long a check of its place is good for */
	nanosleep(&soon, NULL);
	talk_go(t);
	TALK_EXPECT(t, "show precious");
	TALK_EXPECT(t, "dt 0");
	TALK_EXPECT(t, "at -1 EACCES");
	TALK_EXPECT(t, "get -1 EACCES");
	TALK_EXPECT(t, "end");
	CHECK_EQ(talk_end(t), 0);
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMTEST_HOME"));
	int fd = MUST(open(path, O_RDONLY));
	ssize_t n = read(fd, traced, sizeof traced - 1);
	traced[n < 0 ? 0 : n] = 0;
	close(fd);
	unlink(path);
	CHECK_SAYS(runtime_dir());
	CHECK_SAYS(reason);
}

TEST(who_runs_without_a_directory_keeps_what_it_has_and_says_what_became_of_it)
{
	SHIM_ONLY();
	char aside[PATH_MAX];
	for (int i = 0; i < 5; i++) {
		char *base = lived_in("user");
		snprintf(aside, sizeof aside, "%s/ns.aside", base);
		struct talk t = attached();
		switch (i) {
		case 0:
			sh("rm -r %s", runtime_dir());
			go_on_without(&t, "was removed or renamed (in /dev/shm systemd-logind");
			break;
		case 1:
			MUST(rename(runtime_dir(), aside));
			MUST(mkdir(runtime_dir(), 0700));
			go_on_without(&t, "is not the directory that this program has opened");
			break;
		case 2:
			MUST(unlink(in_runtime_dir("registry")));
			go_on_without(&t, "has lost its file registry");
			break;
		case 3:
			MUST(unlink(in_runtime_dir("registry")));
			EXPECT_STEPS("get 0\nat 0\nshow precious\n", "get,0x221,0,0", "at", "show");
			go_on_without(&t, "has another file registry");
			break;
		case 4:
			MUST(rename(base, strcat(strcpy(aside, base), ".aside")));
			go_on_without(&t, "a directory on the way to it was removed or renamed");
			break;
		}
	}
}

TEST(a_file_system_that_was_unmounted_or_mounted_over_is_said_to_be)
{
	SHIM_ONLY();
	need_root();
	char *base = own_base();
	if (unshare_as_self(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("shmtest", base, "tmpfs", 0, "mode=700,size=32m") < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	for (int i = 0; i < 2; i++) {
		use_base(base, "user");
		EXPECT_STEPS("get 0\nat 0\n", "get,0x221,4096,01600", "at", "put,precious");
		struct talk t = attached();
		if (i == 0) {
			MUST(mount("shmtest", base, "tmpfs", 0, "mode=700,size=32m"));
			EXPECT_STEPS("get 0\n", "get,0x221,4096,01600");
		} else {
			MUST(umount2(base, MNT_DETACH));
		}
		go_on_without(&t, "that was unmounted, or another one was mounted over it");
		umount2(base, MNT_DETACH);
		if (i == 0)
			EXPECT_STEPS("get 0\n", "get,0x221,0,0");
	}
}

TEST(a_lock_on_the_directory_holds_nobody_up_for_ever)
{
	SHIM_ONLY();
	lived_in("user");
	int fd = MUST(open(runtime_dir(), O_RDONLY | O_DIRECTORY));
	MUST(flock(fd, LOCK_EX));
	MUST(unlink(in_runtime_dir("registry")));
	REFUSED("a directory that is locked", runtime_dir());
	CHECK_SAYS("has it locked (flock)");
	close(fd);
	EXPECT_STEPS("get 0\nat 0\nshow precious\n", "get,0x221,0,0", "at", "show");
}

TEST_SEVERAL_UIDS(in_system_scope_its_owner_makes_the_namespace_whole_again)
{
	SHIM_ONLY();
	need_programs_for(54001);
	char *base = own_base();
	MUST(chmod(base, 01777));
	use_base(base, "system");
	EXPECT_STEPS("get 0\nat 0\n", "get,0x221,4096,01666", "at", "put,precious");
	MUST(unlink(in_runtime_dir("registry")));
	IN_CHILD
	{
		drop_to(54001, 54001);
		MUST(chdir("/"));
		EXPECT_STEPS("get -1 EACCES\n", "get,0x221,0,0");
	}
	run_traced(STEPS_ARGV("get,0x221,0,0", "at", "show"));
	CHECK_STR(refused_run.out, "get 0\nat 0\nshow precious\n");
	IN_CHILD
	{
		drop_to(54001, 54001);
		MUST(chdir("/"));
		EXPECT_STEPS("get 0\nat 0\nshow precious\n", "get,0x221,0,0", "at", "show");
	}
}
