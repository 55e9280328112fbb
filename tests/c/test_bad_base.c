/* A base directory that is none, or that others could tamper with, is refused. */
#include "refusals.h"

TEST(a_base_that_does_not_exist_is_refused)
{
	SHIM_ONLY();
	char missing[PATH_MAX];
	snprintf(missing, sizeof missing, "%s/missing", own_base());
	use_base(missing, "user");
	REFUSED("a missing base", missing);
	CHECK_EQ(place_of(missing).mode, 0); /* nor is it made */
}

TEST(a_base_that_is_a_file_is_refused)
{
	SHIM_ONLY();
	char file[PATH_MAX];
	snprintf(file, sizeof file, "%s/ns.file", own_base());
	close(MUST(open(file, O_CREAT | O_EXCL | O_WRONLY, 0600)));
	struct place before = place_of(file);
	use_base(file, "user");
	REFUSED("a file as base", file);
	CHECK_SAME_PLACE(before, file);
}

TEST(a_base_that_is_a_symbolic_link_is_refused)
{
	SHIM_ONLY();
	char link[PATH_MAX], *target = own_base();
	snprintf(link, sizeof link, "%s/ns.link", own_base());
	MUST(symlink(target, link));
	use_base(link, "user");
	REFUSED("a link as base", link);
	CHECK_EQ(entries_of(target), 0);
	unlink(link);
}

TEST(a_base_that_others_may_write_to_is_refused_unless_it_is_sticky)
{
	SHIM_ONLY();
	static const mode_t loose[] = { 0777, 0770, 0722, 0702, 0720 };
	static const char *const scopes[] = { "user", "system", "user,session", "system,session" };
	for (size_t i = 0; i < sizeof loose / sizeof *loose; i++)
		for (int s = 0; s < 4; s++) {
			char *base = own_base(), what[64];
			MUST(chmod(base, loose[i]));
			struct place before = place_of(base);
			use_base(base, scopes[s]);
			snprintf(what, sizeof what, "a base of mode %o, %s scope", loose[i], scopes[s]);
			REFUSED(what, base);
			CHECK_SAME_PLACE(before, base);
			CHECK_EQ(entries_of(base), 0);
		}
}

TEST(a_base_of_ones_own_or_a_sticky_one_is_accepted)
{
	SHIM_ONLY();
	static const mode_t good[] = { 0700, 0755, 0750, 01777, 01770, 01733 };
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char *base = own_base();
		MUST(chmod(base, good[i]));
		use_base(base, "user");
		EXPECT_STEPS("get 0\nat 0\n", "get,0x182,4096,01600", "at");
		CHECK_EQ(place_of(base).mode & 07777, good[i]);
	}
}

TEST_SEVERAL_UIDS(a_base_that_belongs_to_another_is_refused)
{
	SHIM_ONLY();
	need_programs_for(54002);
	char *base = own_base();
	MUST(chown(base, 54001, 54001));
	struct place before = place_of(base);
	use_base(base, "user");
	REFUSED("a base of uid 54001, for root", base);
	IN_CHILD
	{
		MUST(chmod(base, 0755));
		drop_to(54002, 54002);
		MUST(chdir("/"));
		REFUSED("a base of uid 54001, for uid 54002", base);
	}
	MUST(chmod(base, 0700));
	CHECK_SAME_PLACE(before, base);
	CHECK_EQ(entries_of(base), 0);
}

TEST(a_scope_that_does_not_exist_is_refused)
{
	SHIM_ONLY();
	static const char *const none[] = { "machine", "user,", "user,login", "session", "User", "system,session,session",
					    "usersystem", " user", "system system system system system system system" };
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		char *base = own_base();
		use_base(base, none[i]);
		REFUSED(none[i], "SHMSHIM_SCOPE");
		CHECK_EQ(entries_of(base), 0);
	}
}

TEST(a_base_with_too_long_a_name_is_refused)
{
	SHIM_ONLY();
	static char base[3 * PATH_MAX];
	own_base(); /* where the trace goes */
	static const size_t lengths[] = { PATH_MAX - 20, PATH_MAX - 1, PATH_MAX, PATH_MAX + 1, 2 * PATH_MAX };
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		memset(base, '/', sizeof base);
		for (size_t at = 1; at < lengths[i]; at += 100)
			memset(base + at, 'x', 99);
		base[lengths[i]] = 0;
		use_base(base, "user");
		REFUSED("a base with a long name", "SHMSHIM_DIR");
	}
}

TEST(a_refusal_is_not_for_ever)
{
	/* A program that was started before its base was made may use it afterwards, or never: it must not crash. */
	SHIM_ONLY();
	char base[PATH_MAX], line[128];
	snprintf(base, sizeof base, "%s/ns.later", own_base());
	use_base(base, "user");
	struct talk t = TALK_STEPS("get,0x183,4096,01600", "wait", "get,0x183,4096,01600", "say,end");
	TALK_EXPECT(&t, "get -1 EACCES");
	MUST(mkdir(base, 0700));
	talk_go(&t);
	REQUIRE(talk_line(&t, line, sizeof line));
	CHECK(!strcmp(line, "get 0") || !strcmp(line, "get -1 EACCES"));
	TALK_EXPECT(&t, "end");
	CHECK_EQ(talk_end(&t), 0);
}
