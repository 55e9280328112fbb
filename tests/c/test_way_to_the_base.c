/* Who owns the directories on the way to a namespace could exchange what lies in them: they must be root's or one's own. */
#include "refusals.h"
#include <sys/mount.h>

enum { SOMEBODY = 54001, ANOTHER = 54002 };

/* A directory for all in the test's own, and one in it. */
static char *for_all(void)
{
	char *base = own_base();
	MUST(chmod(base, 01777));
	return base;
}
static const char *below(const char *directory, const char *name)
{
	static char path[4][2 * PATH_MAX];
	static int next;
	char *p = path[next++ % 4];
	snprintf(p, sizeof path[0], "%s/%s", directory, name);
	return p;
}

TEST_SEVERAL_UIDS(a_sticky_base_of_another_user_is_refused)
{
	SHIM_ONLY();
	need_programs_for(ANOTHER);
	char *base = for_all();
	MUST(chown(base, SOMEBODY, SOMEBODY));
	struct place before = place_of(base);
	for (int s = 0; s < 2; s++) {
		use_base(base, s ? "system" : "user");
		REFUSED("a sticky base of uid 54001, for root", base);
		IN_CHILD
		{
			drop_to(ANOTHER, ANOTHER);
			MUST(chdir("/"));
			REFUSED("a sticky base of uid 54001, for uid 54002", base);
		}
	}
	CHECK_SAME_PLACE(before, base);
	CHECK_EQ(entries_of(base), 0);
}

TEST_SEVERAL_UIDS(a_directory_of_another_user_on_the_way_is_refused)
{
	SHIM_ONLY();
	const char *way = below(for_all(), "ns.way"), *base = below(way, "ns.base");
	MUST(mkdir(way, 0755));
	MUST(mkdir(base, 0700));
	MUST(chown(way, SOMEBODY, SOMEBODY));
	use_base(base, "user");
	REFUSED("a base below a directory of uid 54001", way);
	CHECK(strstr(traced, "uid 54001") != NULL);
	MUST(chown(way, 0, 0));
	EXPECT_STEPS("get 0\n", "get,0x211,4096,01600");
}

TEST(a_directory_on_the_way_that_others_may_write_to_is_refused_unless_it_is_sticky)
{
	SHIM_ONLY();
	const char *way = below(own_base(), "ns.way"), *base = below(way, "ns.base");
	MUST(mkdir(way, 0700));
	MUST(mkdir(base, 0700));
	MUST(chmod(way, 0777));
	use_base(base, "user");
	REFUSED("a base below a directory of mode 0777", way);
	CHECK(strstr(traced, "mode 0777") != NULL);
	MUST(chmod(way, 01777));
	EXPECT_STEPS("get 0\n", "get,0x212,4096,01600");
}

TEST_SEVERAL_UIDS(a_link_of_another_user_on_the_way_is_refused)
{
	SHIM_ONLY();
	char *base = for_all();
	const char *real = below(base, "ns.real"), *link = below(base, "ns.link"), *through = below(base, "ns.link/ns.base");
	MUST(mkdir(real, 0755));
	MUST(mkdir(below(base, "ns.real/ns.base"), 0700));
	MUST(symlink("ns.real", link));
	MUST(lchown(link, SOMEBODY, SOMEBODY));
	use_base(through, "user");
	REFUSED("a link of uid 54001 on the way", link);
	CHECK_EQ(entries_of(below(base, "ns.real/ns.base")), 0);
}

TEST(a_link_of_ones_own_on_the_way_is_followed_once)
{
	SHIM_ONLY();
	static char base[PATH_MAX];
	strcpy(base, own_base());
	MUST(mkdir(below(base, "ns.real"), 0700));
	MUST(mkdir(below(base, "ns.real/ns.base"), 0700));
	MUST(symlink("ns.real/./ns.base/..", below(base, "ns.relative")));
	MUST(symlink(below(base, "ns.relative"), below(base, "ns.absolute")));
	use_base(below(base, "ns.real/ns.base"), "user");
	EXPECT_STEPS("get 0\n", "get,0x213,4096,01600");
	use_base(below(base, "ns.absolute//ns.base"), "user");
	EXPECT_STEPS("get 0\ncount 1\n", "get,0x213,0,0", "count");
	/* Who leads the link elsewhere later leads nobody elsewhere that has begun. */
	struct talk t = TALK_STEPS("get,0x213,0,0", "wait", "get,0x214,4096,01600", "at");
	TALK_EXPECT(&t, "get 0");
	MUST(unlink(below(base, "ns.absolute")));
	MUST(symlink("/nowhere", below(base, "ns.absolute")));
	talk_go(&t);
	TALK_EXPECT(&t, "get 1");
	TALK_EXPECT(&t, "at 0");
	CHECK_EQ(talk_end(&t), 0);
}

TEST(links_that_lead_back_to_themselves_are_refused)
{
	SHIM_ONLY();
	char *base = own_base();
	MUST(symlink("ns.b", below(base, "ns.a")));
	MUST(symlink("ns.a", below(base, "ns.b")));
	use_base(below(base, "ns.a/ns.base"), "user");
	REFUSED("links in a circle", "ELOOP");
}

TEST_SEVERAL_UIDS(a_runtime_directory_of_another_user_is_refused_in_system_scope)
{
	SHIM_ONLY();
	need_programs_for(ANOTHER);
	char *base = for_all();
	use_base(base, "system");
	MUST(mkdir(runtime_dir(), 0755));
	MUST(chown(runtime_dir(), SOMEBODY, SOMEBODY));
	REFUSED("uid 54001's, for root", runtime_dir());
	CHECK(strstr(traced, "SHMSHIM_SCOPE=system") != NULL);
	IN_CHILD
	{
		drop_to(ANOTHER, ANOTHER);
		MUST(chdir("/"));
		REFUSED("uid 54001's, for uid 54002", runtime_dir());
	}
}

TEST_SEVERAL_UIDS(a_program_that_gives_root_up_has_made_the_namespace_as_root)
{
	SHIM_ONLY();
	char *base = for_all();
	use_base(base, "system");
	static struct run r;
	need_programs_for(SOMEBODY);
	IN_CHILD
	{
		/* This program's own namespace is open; another one is started, which becomes that user itself. */
		run_program(&r, (char *const[]){ "/bin/sh", "-c",
			"setpriv --reuid 54001 --regid 54001 --clear-groups \"$0\" get,0x215,4096,01666", (char *)built("helper_steps"), NULL });
		CHECK_STR(r.out, "get 0\n");
	}
	CHECK_EQ(place_of(runtime_dir()).uid, 0);
	CHECK_EQ(place_of(segment_file_of_key(0x215)).uid, SOMEBODY);
	IN_CHILD
	{
		drop_to(ANOTHER, ANOTHER);
		EXPECT_STEPS("get 0\nat 0\n", "get,0x215,0,0", "at");
	}
}
