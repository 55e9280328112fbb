/* Where a namespace lies, what lies in it, and which programs share one. */
#include "proctest.h"

/* A base directory of its own, inside the test's, for the programs started from here. */
static const char *new_base(void)
{
	static char base[PATH_MAX];
	const char *dir = getenv("SHMSHIM_DIR");
	snprintf(base, sizeof base, "%s/ns.XXXXXX", dir ? dir : "/tmp");
	if (!mkdtemp(base))
		FATAL("mkdtemp %s: %s", base, errno_name(errno));
	return base;
}
static void use(const char *base, const char *scope)
{
	setenv("SHMSHIM_DIR", base, 1);
	setenv("SHMSHIM_SCOPE", scope, 1);
}

#define CHECK_MODE(path_, expected)                                                                \
	do {                                                                                       \
		struct stat st_;                                                                   \
		const char *p_ = (path_);                                                          \
		COUNT_CHECK();                                                                     \
		if (lstat(p_, &st_) < 0)                                                           \
			FAIL("%s: %s", p_, errno_name(errno));                                     \
		else if (st_.st_mode != (mode_t)(expected))                                        \
			FAIL("%s has mode %o, expected %o", p_, st_.st_mode, (mode_t)(expected));  \
	} while (0)

TEST(nothing_is_made_before_the_first_call)
{
	SHIM_ONLY();
	use(new_base(), "user");
	EXPECT_STEPS("hello\n", "say,hello");
	CHECK_EQ(entries_of(getenv("SHMSHIM_DIR")), 0);
	EXPECT_STEPS("get 0\n", "get,0,1,0600");
	CHECK_EQ(entries_of(getenv("SHMSHIM_DIR")), 1);
}

TEST(the_user_scope_is_closed_to_all_others)
{
	SHIM_ONLY();
	use(new_base(), "user");
	umask(0);
	EXPECT_STEPS("get 0\n", "get,0,1,0666");
	CHECK_MODE(runtime_dir(), S_IFDIR | 0700);
	CHECK_MODE(in_runtime_dir("registry"), S_IFREG | 0600);
	CHECK_MODE(in_runtime_dir("segments"), S_IFDIR | 0700);
	CHECK_MODE(in_runtime_dir("live"), S_IFDIR | 0700);
	struct stat st;
	MUST(stat(runtime_dir(), &st));
	CHECK_EQ(st.st_uid, geteuid());
}

TEST(in_system_scope_only_the_owner_makes_names_beside_the_table_whatever_the_umask)
{
	SHIM_ONLY();
	use(new_base(), "system");
	umask(0777);
	EXPECT_STEPS("get 0\n", "get,0,1,0600");
	CHECK_MODE(runtime_dir(), S_IFDIR | 0755);
	CHECK_MODE(in_runtime_dir("registry"), S_IFREG | 0666);
	CHECK_MODE(in_runtime_dir("segments"), S_IFDIR | 01777);
	CHECK_MODE(in_runtime_dir("live"), S_IFDIR | 01777);
}

TEST(a_segment_is_a_file_that_carries_its_key_id_mode_and_size)
{
	SHIM_ONLY();
	umask(0);
	const struct { key_t key; size_t size; int mode; const char *name; } seg[] = {
		{ 0x162e, 5000, 0640, "segments/SYSV0000162e" },
		{ IPC_PRIVATE, 1, 0600, "segments/SYSV00000000" },
		{ -1, 3 * PAGE, 0666, "segments/SYSVffffffff" },
		{ (key_t)0x80000001, PAGE + 1, 0400, "segments/SYSV80000001" },
	};
	char name[64];
	int id[4];
	for (size_t i = 0; i < sizeof seg / sizeof *seg; i++) {
		struct stat st;
		id[i] = MUST(shmget(seg[i].key, seg[i].size, IPC_CREAT | seg[i].mode));
		CHECK_EQ(index_of(id[i]), (int)i);
		snprintf(name, sizeof name, "%s.%d", seg[i].name, id[i]);
		CHECK_MODE(in_runtime_dir(name), S_IFREG | seg[i].mode);
		MUST(stat(in_runtime_dir(name), &st));
		CHECK_EQ(st.st_size, seg[i].size);
		CHECK_EQ(st.st_uid, geteuid());
		CHECK_EQ(st.st_gid, getegid());
	}
	CHECK_EQ(files_of_segments(), 4);
	struct shmid_ds d = stat_of(id[0]);
	d.shm_perm.mode = 0600;
	MUST(shmctl(id[0], IPC_SET, &d));
	snprintf(name, sizeof name, "%s.%d", seg[0].name, id[0]);
	CHECK_MODE(in_runtime_dir(name), S_IFREG | 0600);
}

/*
 * The file of a new segment. Divergence: in user scope, whose directory is closed to all others, it may lack bits that
 * the umask took; the segment has them all, and its creator attaches it.
 */
static void check_file_of(int mode, mode_t mask, int in_system_scope)
{
	char name[64];
	struct stat st;
	int id = MUST(shmget(IPC_PRIVATE, PAGE, mode));
	snprintf(name, sizeof name, "segments/SYSV00000000.%d", id);
	MUST(stat(in_runtime_dir(name), &st));
	CHECK_EQ(st.st_size, PAGE);
	if (mode & 0400)
		CHECK_EQ(stat_of(id).shm_perm.mode, mode);
	mode_t whole = S_IFREG | mode, lacking = whole & ~mask;
	CHECK(st.st_mode == whole || (!in_system_scope && (mode & 0200) && st.st_mode == lacking));
	if ((mode & 0600) == 0600) {
		char *p = attach(id);
		CHECK(WRITABLE(p));
		MUST(shmdt(p));
	}
	MUST(shmctl(id, IPC_RMID, NULL));
}

static void check_files_under_changing_masks(const char *scope)
{
	static const int modes[] = { 0600, 0666, 0600, 0640, 0444, 0, 0777, 0666 };
	static const mode_t masks[] = { 0, 077, 0, 0777, 022, 0700, 0400 };
	int in_system_scope = !strcmp(scope, "system");
	setenv("SHMSHIM_SCOPE", scope, 1);
	for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) {
		umask(masks[m]);
		for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
			check_file_of(modes[i], masks[m], in_system_scope);
		/* And by the call that libc gives nobody a name for. */
		syscall(SYS_umask, ~masks[m] & 0777);
		for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
			check_file_of(modes[i], ~masks[m] & 0777, in_system_scope);
	}
}

TEST(a_segment_has_its_mode_and_is_attached_whatever_the_umask_becomes)
{
	SHIM_ONLY();
	setenv("SHMSHIM_DIR", new_base(), 1);
	IN_CHILD check_files_under_changing_masks("user");
	IN_CHILD check_files_under_changing_masks("system");
}

TEST_SEVERAL_UIDS(so_it_is_for_a_user_whom_modes_can_stop)
{
	SHIM_ONLY();
	IN_CHILD
	{
		drop_to(54001, 54001);
		check_files_under_changing_masks("user");
	}
}

TEST(the_file_goes_when_the_segment_is_destroyed)
{
	SHIM_ONLY();
	int id = MUST(shmget(0x171, PAGE, IPC_CREAT | 0600)), other = new_segment(PAGE);
	char *p = attach(id);
	CHECK_EQ(files_of_segments(), 2);
	MUST(shmctl(other, IPC_RMID, NULL));
	CHECK_EQ(files_of_segments(), 1);
	MUST(shmctl(id, IPC_RMID, NULL));
	MUST(shmdt(p));
	CHECK_EQ(files_of_segments(), 0);
}

TEST(maps_names_an_attach_by_its_segments_file)
{
	SHIM_ONLY();
	char line[PATH_MAX + 128], *found = NULL, wanted[64];
	int id = MUST(shmget(0x162e, PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	snprintf(wanted, sizeof wanted, "/segments/SYSV0000162e.%d\n", id);
	FILE *f = fopen("/proc/self/maps", "r");
	REQUIRE(f != NULL);
	while (!found && fgets(line, sizeof line, f))
		found = strstr(line, wanted);
	fclose(f);
	CHECK(found != NULL);
	CHECK(found && strtoul(line, NULL, 16) == (unsigned long)p);
	CHECK(found && strstr(line, " rw-s ") != NULL);
}

TEST(every_process_that_uses_the_namespace_has_one_file_of_its_life)
{
	SHIM_ONLY();
	struct talk t[3];
	char line[64];
	for (int i = 0; i < 3; i++) {
		t[i] = TALK_STEPS("get,0x172,4096,01600", "at", "at", "say,up", "wait");
		do
			REQUIRE(talk_line(&t[i], line, sizeof line));
		while (strcmp(line, "up") != 0);
	}
	CHECK_EQ(entries_of(in_runtime_dir("live")), 3);
	for (int i = 0; i < 3; i++) {
		talk_go(&t[i]);
		CHECK_EQ(talk_end(&t[i]), 0);
	}
	/* Those of the dead are used again, not added to: a new process may need one before it probes for dead ones. */
	for (int i = 0; i < 10; i++)
		EXPECT_STEPS("get 0\nat 0\n", "get,0x172,0,0", "at");
	CHECK(entries_of(in_runtime_dir("live")) <= 4);
}

/* ------------------------------------------- which programs meet, which do not */

TEST(two_bases_see_nothing_of_each_other)
{
	SHIM_ONLY();
	char first[PATH_MAX], second[PATH_MAX];
	strcpy(first, new_base());
	strcpy(second, new_base());
	use(first, "user");
	EXPECT_STEPS("get 0\nat 0\n", "get,0x173,4096,01600", "at", "put,first");
	use(second, "user");
	EXPECT_STEPS("get -1 ENOENT\ncount 0\nget 0\nat 0\n", "get,0x173,0,0", "count", "get,0x173,99,01640", "at", "put,second");
	use(first, "user");
	EXPECT_STEPS("get 0\nat 0\nshow first\nstat key=0x173 mode=600 size=4096 nattch=1\nrmid 0\n",
		     "get,0x173,0,0", "at", "show", "stat", "rmid");
	use(second, "user");
	EXPECT_STEPS("get 0\nat 0\nshow second\n", "get,0x173,0,0", "at", "show");
}

TEST(the_scopes_of_one_base_see_nothing_of_each_other)
{
	SHIM_ONLY();
	const char *base = new_base();
	static const char *const scopes[] = { "user", "system", "user,session", "system,session" };
	for (int i = 0; i < 4; i++) {
		use(base, scopes[i]);
		EXPECT_STEPS("count 0\nget 0\ncount 1\n", "count", "get,0x174,4096,01600", "count");
		CHECK_EQ(entries_of(base), i + 1);
		CHECK_EQ(files_of_segments(), 1);
	}
}

TEST(a_namespace_of_a_session_is_that_sessions_alone)
{
	SHIM_ONLY();
	static const char *const scopes[] = { "user,session", "system,session" };
	for (int i = 0; i < 2; i++) {
		use(new_base(), scopes[i]);
		EXPECT_STEPS("get 0\n", "get,0x175,4096,01600");
		EXPECT_STEPS("get 0\n", "get,0x175,0,0");
		CHECK_EQ(files_of_segments(), 1); /* its name ends in this session's number */
		EXPECT_STEPS("get -1 ENOENT\nget 0\ncount 1\n", "setsid", "get,0x175,0,0", "get,0x175,4096,01600", "count");
		CHECK_EQ(entries_of(getenv("SHMSHIM_DIR")), 2);
		EXPECT_STEPS("count 1\n", "count");
		IN_CHILD
		{
			MUST(setsid());
			EXPECT_STEPS("get -1 ENOENT\nget 0\n", "get,0x175,0,0", "get,0x175,4096,01600");
			EXPECT_STEPS("get 0\n", "get,0x175,0,0"); /* two programs of one session */
			CHECK_EQ(files_of_segments(), 1);
		}
		CHECK_EQ(entries_of(getenv("SHMSHIM_DIR")), 3);
	}
}

TEST(a_process_stays_in_its_namespace_when_its_session_changes)
{
	SHIM_ONLY();
	use(new_base(), "user,session");
	EXPECT_STEPS("get 0\nat 0\ncount 1\ndt 0\nget 0\n", "get,0x176,4096,01600", "at", "setsid", "count", "dt", "get,0x176,0,0");
}

TEST(a_relative_base_stays_where_it_was_when_the_program_changes_its_directory)
{
	SHIM_ONLY();
	char *base = strdup(new_base()), *slash = strrchr(base, '/');
	*slash = 0;
	MUST(chdir(base));
	use(slash + 1, "user");
	*slash = '/';
	/* Either it is refused, or it is fixed at the first call. */
	static struct run r;
	STEPS(&r, "get,0x177,4096,01600", "at", "put,here", "chdir,/", "get,0x177,0,0", "at", "show", "dt", "rmid");
	CHECK_EQ(r.status, 0);
	CHECK_STR(r.out, "get 0\nat 0\nget 0\nat 0\nshow here\ndt 0\nrmid 0\n");
	CHECK_EQ(entries_of(base), 1);
	free(base);
}

TEST(a_slash_behind_the_base_makes_no_difference)
{
	SHIM_ONLY();
	char with_slash[PATH_MAX];
	const char *base = new_base();
	use(base, "user");
	EXPECT_STEPS("get 0\n", "get,0x178,4096,01600");
	snprintf(with_slash, sizeof with_slash, "%s/", base);
	use(with_slash, "user");
	EXPECT_STEPS("get 0\ncount 1\n", "get,0x178,0,0", "count");
	CHECK_EQ(entries_of(base), 1);
}

TEST(the_environment_is_read_once)
{
	SHIM_ONLY();
	int id = MUST(shmget(0x179, PAGE, IPC_CREAT | 0600));
	use(new_base(), "system");
	CHECK_EQ(shmget(0x179, 0, 0), id);
	CHECK_EQ(entries_of(getenv("SHMSHIM_DIR")), 0);
	IN_CHILD CHECK_EQ(shmget(0x179, 0, 0), id); /* a fork is the same program still */
	EXPECT_STEPS("get -1 ENOENT\n", "get,0x179,0,0"); /* what it starts is not */
}

TEST_SEVERAL_UIDS(in_the_user_scope_each_user_has_a_namespace_of_his_own)
{
	SHIM_ONLY();
	const char *base = new_base();
	MUST(chmod(base, 01777));
	use(base, "user");
	for (uid_t uid = 54001; uid <= 54003; uid++)
		IN_CHILD
		{
			drop_to(uid, uid);
			MUST(shmget(0x17a, PAGE, IPC_CREAT | IPC_EXCL | 0666));
			CHECK_EQ(segments_in_all(), 1);
			CHECK_MODE(runtime_dir(), S_IFDIR | 0700);
		}
	CHECK_EQ(entries_of(base), 3);
}

#ifdef __x86_64__
/* The system call instruction itself, which no library sees. */
static long bare_umask(long mask)
{
	long before;
	__asm__ volatile("syscall" : "=a"(before) : "a"(SYS_umask), "D"(mask) : "rcx", "r11", "memory");
	return before;
}

TEST_SEVERAL_UIDS(a_umask_that_changed_unseen_keeps_nobody_from_his_segment)
{
	SHIM_ONLY();
	IN_CHILD
	{
		setenv("SHMSHIM_SCOPE", "user", 1);
		drop_to(54001, 54001);
		umask(0);
		check_file_of(0600, 0, 0);
		bare_umask(0777);
		int id = new_segment(PAGE);
		char *p = attach(id);
		CHECK(WRITABLE(p));
		char name[64];
		snprintf(name, sizeof name, "segments/SYSV00000000.%d", id);
		CHECK_MODE(in_runtime_dir(name), S_IFREG | 0600);
	}
}
#endif
