/* In a user namespace uids have other names: who asks is who the files see. */
#include "refusals.h"
#include <sys/mount.h>

enum { SOMEBODY = 54001, ANOTHER = 54002 };

#define SAYS(text)                                                                                 \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!strstr(traced, text))                                                         \
			FAIL("the trace does not say \"%s\":\n%s", text, traced);                 \
	} while (0)

/* /dev/shm of our own, which is where everybody's namespaces lie; programs become somebody. */
static void own_dev_shm(void)
{
	SHIM_ONLY();
	need_root();
	need_programs_for(SOMEBODY);
	own_base();
	const char *home = getenv("SHMTEST_HOME"), *lib = getenv("LD_PRELOAD");
	static const char *const covered[] = { "/dev/shm/", "/tmp/", "/run/" };
	for (int i = 0; i < 3; i++)
		if (!strncmp(built("helper_steps"), covered[i], strlen(covered[i])) ||
		    !strncmp(lib ? lib : "", covered[i], strlen(covered[i])))
			SKIP("the programs or the library lie where another file system is to be mounted");
	/* Nor do namespaces count that lie elsewhere. */
	if (unshare_as_self(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("shmtest", "/dev/shm", "tmpfs", 0, "mode=1777,size=128m") < 0 ||
	    mount("shmtest", "/tmp", "tmpfs", 0, "mode=1777,size=16m") < 0 ||
	    mount("shmtest", "/run", "tmpfs", 0, "mode=755,size=16m") < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	/* Where the trace goes. */
	char path[PATH_MAX];
	strcpy(path, home);
	for (char *slash = strchr(path + strlen("/dev/shm/"), '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
	mkdir(path, 0777);
	MUST(chmod(path, 01777));
	unsetenv("SHMSHIM_DIR");
	unsetenv("SHMSHIM_SCOPE");
}

/* Runs steps as `uid`, behind "unshare ..." or what else begins a command. */
static void run_as(uid_t uid, const char *begin, const char *steps)
{
	char command[1024], path[PATH_MAX];
	snprintf(path, sizeof path, "%s/ns.trace.%d", getenv("SHMTEST_HOME"), (int)uid);
	unlink(path);
	snprintf(command, sizeof command, "exec %s \"$0\" %s", begin, steps);
	IN_CHILD
	{
		if (uid)
			drop_to(uid, uid);
		MUST(chdir("/"));
		setenv("SHMSHIM_TRACE", path, 1);
		setenv("SAID", "", 1);
		run_program(&refused_run, (char *const[]){ "/bin/sh", "-c", command, (char *)built("helper_steps"), NULL });
		FILE *f = fopen(strcat(path, ".out"), "w");
		REQUIRE(f != NULL);
		fputs(refused_run.out, f);
		fclose(f);
	}
	snprintf(path, sizeof path, "%s/ns.trace.%d", getenv("SHMTEST_HOME"), (int)uid);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(traced, 1, sizeof traced - 1, f) : 0;
	traced[n] = 0;
	if (f)
		fclose(f);
	f = fopen(strcat(path, ".out"), "r");
	REQUIRE(f != NULL);
	n = fread(refused_run.out, 1, sizeof refused_run.out - 1, f);
	refused_run.out[n] = 0;
	fclose(f);
	unlink(path);
}
#define RUN(uid, begin, steps, expected)                                                           \
	do {                                                                                       \
		run_as(uid, begin, steps);                                                         \
		CHECK_STR(refused_run.out, expected);                                              \
	} while (0)

static void need_unshare(void)
{
	if (system("setpriv --reuid 54001 --clear-groups unshare -r true 2>/dev/null") != 0)
		SKIP("ordinary users may make no user namespaces here");
}

TEST(the_root_of_a_user_namespace_has_a_namespace_under_its_own_uid)
{
	own_dev_shm();
	need_unshare();
	RUN(SOMEBODY, "unshare -r", "get,0x241,4096,01600 at", "get 0\nat 0\n");
	CHECK_EQ(place_of("/dev/shm/.shmshim-uid54001-as0").uid, SOMEBODY);
	CHECK_EQ(place_of("/dev/shm/.shmshim-uid0").mode, 0);
	/* So it locks nobody out: neither root, nor its own uid outside, nor another's such root. */
	RUN(0, "", "get,0x241,4096,03600", "get 0\n");
	RUN(SOMEBODY, "", "get,0x241,4096,03600", "get 0\n");
	RUN(ANOTHER, "unshare -r", "get,0x241,4096,03600", "get 0\n");
	RUN(SOMEBODY, "unshare -r", "get,0x241,0,0", "get 0\n");
	/* Under its own number it is who it is outside. */
	RUN(SOMEBODY, "unshare --map-current-user", "get,0x241,0,0 at", "get 0\nat 0\n");
}

TEST(a_root_two_levels_down_has_one_that_nobody_shares)
{
	own_dev_shm();
	need_unshare();
	RUN(SOMEBODY, "unshare -r unshare -r", "get,0x242,4096,01600", "get 0\n");
	CHECK_EQ(place_of("/dev/shm/.shmshim-uid0").mode, 0);
	CHECK_EQ(system("ls -d /dev/shm/.shmshim-uid0-userns[0-9]* >/dev/null"), 0);
	RUN(0, "", "get,0x242,4096,03600", "get 0\n");
}

TEST(who_has_no_uid_is_refused)
{
	own_dev_shm();
	need_unshare();
	RUN(SOMEBODY, "unshare -U", "get,0x243,4096,01600", "get -1 EACCES\n");
	SAYS("by which its user namespace calls all that it does not know");
	CHECK_EQ(system("! ls -d /dev/shm/.shmshim* 2>/dev/null"), 0);
}

TEST(the_root_of_a_user_namespace_has_no_rights_to_what_is_the_machines_roots)
{
	own_dev_shm();
	need_unshare();
	setenv("SHMSHIM_SCOPE", "system", 1);
	RUN(0, "", "get,0x244,4096,01666", "get 0\n");
	RUN(SOMEBODY, "unshare -r", "get,0x244,0,0 rmid", "get -1 EACCES\nrmid -1 EINVAL\n");
	SAYS("/dev/shm/.shmshim belongs to uid 65534");
	RUN(SOMEBODY, "unshare -r sh -c '(echo 16 >/proc/sys/kernel/shmmni) 2>/dev/null; exec \"$0\" \"$@\"'", "say,end", "end\n");
	RUN(0, "", "get,0x244,0,0 at", "get 0\nat 0\n");
}

TEST(a_base_that_only_a_setting_names_must_have_an_owner_that_is_known)
{
	own_dev_shm();
	need_unshare();
	setenv("SHMSHIM_DIR", "/dev/shm", 1);
	RUN(SOMEBODY, "unshare -r", "get,0x245,4096,01600", "get -1 EACCES\n");
	SAYS("/dev/shm belongs to uid 65534");
	RUN(SOMEBODY, "", "get,0x245,4096,01600", "get 0\n");
}

TEST_SEVERAL_UIDS(who_enters_a_user_namespace_with_the_namespace_open_stays_who_it_was)
{
	SHIM_ONLY();
	need_root();
	need_programs_for(SOMEBODY);
	char *base = own_base();
	MUST(chmod(base, 01777));
	use_base(base, "system");
	int id = MUST(shmget(0x246, PAGE, IPC_CREAT | 0666));
	need_unshare();
	IN_CHILD
	{
		struct shmid_ds d;
		drop_to(SOMEBODY, SOMEBODY);
		MUST(shmctl(id, IPC_STAT, &d));
		MUST(prctl(PR_SET_DUMPABLE, 1)); /* or the maps are root's to write */
		MUST(unshare(CLONE_NEWUSER));
		write_file("/proc/self/setgroups", "deny");
		write_file("/proc/self/uid_map", "0 54001 1");
		write_file("/proc/self/gid_map", "0 54001 1");
		CHECK_EQ(geteuid(), 0);
		TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
		d.shm_perm.mode = 0600;
		TEST_ERRNO(shmctl(id, IPC_SET, &d), EPERM);
	}
	MUST(shmctl(id, IPC_RMID, NULL));
}
