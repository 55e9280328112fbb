/*
 * shmget: what decides between an existing segment, a new one and an error,
 * and what a new segment looks like. Errors stand in the order in which they win.
 */
#include "shmtest.h"

enum { KEY = 0x162e, ABSENT = 0x99, NO_RIGHTS = 0x50 };

TEST(an_absent_key_without_ipc_creat_is_enoent_whatever_the_size)
{
	struct get_case t[] = {
		{ "plain", ABSENT, 4096, 0600, ENOENT },
		{ "size 0", ABSENT, 0, 0, ENOENT },
		{ "absurd size", ABSENT, (size_t)-1, 0600, ENOENT },
		{ "IPC_EXCL alone", ABSENT, 4096, IPC_EXCL | 0600, ENOENT },
		{ "huge pages asked", ABSENT, 4096, SHM_HUGETLB | 0600, ENOENT },
		{ "key -1 is an ordinary key", -1, 4096, 0600, ENOENT },
		{ "negative key", (key_t)0x80000001, 4096, 0600, ENOENT },
	};
	GET_CASES(t);
}

TEST(an_existing_key_is_judged_by_exclusiveness_then_size_then_rights)
{
	MUST(shmget(KEY, 5000, IPC_CREAT | 0600));
	MUST(shmget(NO_RIGHTS, 5000, IPC_CREAT | 0000));
	set_caps(0);
	struct get_case t[] = {
		{ "both creation flags", KEY, 5000, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
		{ "exclusiveness before size", KEY, 1 << 20, IPC_CREAT | IPC_EXCL, EEXIST },
		{ "exclusiveness before size 0", KEY, 0, IPC_CREAT | IPC_EXCL, EEXIST },
		{ "exclusiveness before rights", NO_RIGHTS, 0, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
		{ "all three", NO_RIGHTS, (size_t)-1, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
		{ "one byte too many, though the page has it", KEY, 5001, 0600, EINVAL },
		{ "the page-rounded size", KEY, (5000 + PAGE - 1) / PAGE * PAGE, 0, EINVAL },
		{ "absurd size", KEY, (size_t)-1, 0, EINVAL },
		{ "size too big with IPC_CREAT", KEY, 5001, IPC_CREAT | 0600, EINVAL },
		{ "size before rights", NO_RIGHTS, 5001, 0600, EINVAL },
		{ "rights", NO_RIGHTS, 5000, 0600, EACCES },
		{ "rights, size 0", NO_RIGHTS, 0, 0400, EACCES },
		{ "rights with IPC_CREAT", NO_RIGHTS, 5000, IPC_CREAT | 0200, EACCES },
		{ "nothing asked, nothing refused", NO_RIGHTS, 5000, 0, 0 },
		{ "nothing asked, with IPC_CREAT", NO_RIGHTS, 5000, IPC_CREAT, 0 },
		{ "exact size", KEY, 5000, 0600, 0 },
		{ "smaller size", KEY, 1, 0600, 0 },
		{ "size 0", KEY, 0, 0, 0 },
		{ "IPC_EXCL alone means nothing", KEY, 5000, IPC_EXCL | 0600, 0 },
	};
	GET_CASES(t);
}

TEST(an_existing_key_gives_its_id_and_ignores_flags_for_new_segments)
{
	int id = MUST(shmget(KEY, 5000, IPC_CREAT | 0600));
	int ignored[] = { SHM_HUGETLB, SHM_HUGETLB | (16 << 26), SHM_NORESERVE, 0x8000, 0x10000,
			  1 << 30, (int)(1u << 31), IPC_CREAT };
	TEST_RES(shmget(KEY, 0, 0), _ret == id);
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
		TEST_RES(shmget(KEY, 5000, ignored[i] | 0600), _ret == id);
}

TEST(opening_an_existing_segment_changes_nothing_about_it)
{
	int id = MUST(shmget(KEY, 5000, IPC_CREAT | 0640));
	struct shmid_ds before = stat_of(id), after;
	next_second();
	IN_CHILD {
		TEST_RES(shmget(KEY, 100, IPC_CREAT | 0600), _ret == id);
		TEST_ERRNO(shmget(KEY, 100, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
		TEST_ERRNO(shmget(KEY, 6000, 0600), EINVAL);
	}
	after = stat_of(id);
	CHECK_SAME(before, after);
}

TEST(the_three_classes_of_the_mode_flags_are_asked_together)
{
	MUST(shmget(KEY, 4096, IPC_CREAT | 0400));
	MUST(shmget(KEY + 1, 4096, IPC_CREAT | 0200));
	MUST(shmget(KEY + 2, 4096, IPC_CREAT | 0100));
	set_caps(0);
	for (int class = 0; class < 9; class += 3) {
		struct get_case t[] = {
			{ "read of a 0400 one", KEY, 0, 4 << class, 0 },
			{ "write of a 0400 one", KEY, 0, 2 << class, EACCES },
			{ "exec of a 0400 one", KEY, 0, 1 << class, EACCES },
			{ "read of a 0200 one", KEY + 1, 0, 4 << class, EACCES },
			{ "write of a 0200 one", KEY + 1, 0, 2 << class, 0 },
			{ "exec of a 0100 one", KEY + 2, 0, 1 << class, 0 },
			{ "read and exec of a 0100 one", KEY + 2, 0, 5 << class, EACCES },
		};
		GET_CASES(t);
	}
}

TEST(ipc_private_always_makes_a_new_segment)
{
	int flags[] = { 0, IPC_CREAT, IPC_EXCL, IPC_CREAT | IPC_EXCL, 0600 };
	int last = -1;
	for (size_t i = 0; i < 5; i++)
		TEST_RES(last = shmget(IPC_PRIVATE, 1, flags[i]), index_of(last) == (int)i);
	struct get_case t[] = {
		{ "size 0", IPC_PRIVATE, 0, 0600, EINVAL },
		{ "size 0 with both flags", IPC_PRIVATE, 0, IPC_CREAT | IPC_EXCL | 0600, EINVAL },
		WIDE_ONLY({ "above shmmax", IPC_PRIVATE, (size_t)-1, 0600, EINVAL },)
	};
	GET_CASES(t);
}

TEST(a_new_segment_has_a_size_between_1_and_what_a_file_can_hold)
{
	WIDE_ONLY(size_t shmmax = limit("shmmax");)
	CHECK_EQ(limit("shmmax"), 18446744073692774399ull);
	struct get_case t[] = {
		{ "0", ABSENT, 0, IPC_CREAT | 0600, EINVAL },
#if __SIZEOF_LONG__ == 8
		{ "shmmax", ABSENT, shmmax, IPC_CREAT | 0600, EINVAL },
		{ "shmmax + 1", ABSENT, shmmax + 1, IPC_CREAT | 0600, EINVAL },
		{ "shmmax without reserving", ABSENT, shmmax, IPC_CREAT | SHM_NORESERVE | 0600, EINVAL },
		{ "all ones", ABSENT, (size_t)-1, IPC_CREAT | 0600, EINVAL },
		{ "2^63", ABSENT, 1ul << 63, IPC_CREAT | 0600, EINVAL },
		{ "2^63 without reserving", ABSENT, 1ul << 63, IPC_CREAT | SHM_NORESERVE | 0600, EINVAL },
#endif
		{ "none of them left anything", ABSENT, 0, 0, ENOENT },
		{ "1", KEY, 1, IPC_CREAT | 0600, 0 },
		{ "1 page + 1", KEY + 1, PAGE + 1, IPC_CREAT | 0600, 0 },
	};
	GET_CASES(t);
	CHECK_EQ(stat_of(shmget(KEY, 0, 0)).shm_segsz, 1);
	CHECK_EQ(stat_of(shmget(KEY + 1, 0, 0)).shm_segsz, PAGE + 1);
}

#if __SIZEOF_LONG__ == 8
TEST(more_than_memory_can_hold_is_enomem_unless_not_reserved)
{
	need_tmpfs();
	char mode = 0;
	int fd = MUST(open("/proc/sys/vm/overcommit_memory", O_RDONLY));
	REQUIRE(read(fd, &mode, 1) == 1);
	if (mode != '0')
		SKIP("vm.overcommit_memory is %c, the rule here is that of 0", mode);
	struct get_case t[] = {
		{ "2^46", ABSENT, 1ul << 46, IPC_CREAT | 0600, ENOMEM },
		{ "2^63 - 1", ABSENT, (1ul << 63) - 1, IPC_CREAT | 0600, ENOMEM },
		{ "they left nothing", ABSENT, 0, 0, ENOENT },
		{ "2^46 not reserved", KEY, 1ul << 46, IPC_CREAT | SHM_NORESERVE | 0600, 0 },
		{ "2^63 - 1 not reserved", KEY + 1, (1ul << 63) - 1, IPC_CREAT | SHM_NORESERVE | 0600, 0 },
		{ "2^63 - 1 page not reserved", KEY + 2, (1ul << 63) - PAGE, IPC_CREAT | SHM_NORESERVE | 0600, 0 },
	};
	GET_CASES(t);
	int id = MUST(shmget(KEY, 0, 0));
	CHECK_EQ(stat_of(id).shm_segsz, 1ul << 46);
	char *p = attach(id);
	p[1ul << 45] = 7;
	CHECK_EQ(p[1ul << 45], 7);
	CHECK_EQ(p[(1ul << 46) - 1], 0);
}
#endif

TEST(unknown_flag_bits_are_ignored)
{
	int id = MUST(shmget(KEY, 1, IPC_CREAT | 0600 | 0x8000 | 0x10000 | 1 << 30 | (int)(1u << 31)));
	CHECK_EQ(stat_of(id).shm_perm.mode, 0600);
	id = MUST(shmget(IPC_PRIVATE, 1, (16 << 26) | 0600)); /* a page size, but no SHM_HUGETLB */
	CHECK_EQ(stat_of(id).shm_perm.mode, 0600);
	TEST_ERRNO(shmget(KEY, 1, 0x8000 | IPC_CREAT | IPC_EXCL), EEXIST);
}

TEST(keys_are_compared_as_32_bits)
{
	key_t keys[] = { 1, -1, 0x7fffffff, (key_t)0x80000000, (key_t)0x80000001, 0x12345678,
			 0x5678, 0x00010000 };
	int ids[8];
	for (int i = 0; i < 8; i++)
		ids[i] = MUST(shmget(keys[i], 10, IPC_CREAT | IPC_EXCL | 0600));
	for (int i = 0; i < 8; i++) {
		TEST_RES(shmget(keys[i], 0, 0), _ret == ids[i]);
		CHECK_EQ(stat_of(ids[i]).shm_perm.__key, keys[i]);
	}
}

TEST(a_new_segment_belongs_to_the_caller_and_was_never_used)
{
	time_t from = time(NULL);
	int id = MUST(shmget(KEY, 5000, IPC_CREAT | 0642));
	time_t to = time(NULL);
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_perm.__key, KEY);
	CHECK_EQ(d.shm_perm.uid, geteuid());
	CHECK_EQ(d.shm_perm.cuid, geteuid());
	CHECK_EQ(d.shm_perm.gid, getegid());
	CHECK_EQ(d.shm_perm.cgid, getegid());
	CHECK_EQ(d.shm_perm.mode, 0642);
	CHECK_EQ(d.shm_segsz, 5000);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_atime, 0);
	CHECK_EQ(d.shm_dtime, 0);
	CHECK_WITHIN(d.shm_ctime, from, to);
	CHECK_EQ(d.shm_cpid, getpid());
	CHECK_EQ(d.shm_lpid, 0);
}

TEST(umask_is_not_applied)
{
	mode_t masks[] = { 0, 022, 077, 0777 };
	for (int i = 0; i < 4; i++) {
		umask(masks[i]);
		int id = MUST(shmget(IPC_PRIVATE, 4096, 0666));
		CHECK_EQ(stat_of(id).shm_perm.mode, 0666);
		CHECK_EQ(umask(0), masks[i]);
		attach(id);
	}
}

TEST(every_mode_of_nine_bits_is_kept)
{
	for (int mode = 0; mode <= 0777; mode++) {
		int id = MUST(shmget(IPC_PRIVATE, 1, mode));
		struct shmid_ds d;
		MUST(shmctl(id, SHM_STAT_ANY, &d));
		CHECK_EQ(d.shm_perm.mode, mode);
	}
}

TEST_SEVERAL_UIDS(owner_and_group_are_the_effective_ones_not_those_for_files)
{
	IN_CHILD {
		MUST(setresgid(54011, 54012, 54013));
		setfsgid(54014);
		MUST(setresuid(54021, 54022, 54023));
		setfsuid(54021);
		int id = MUST(shmget(KEY, 1, IPC_CREAT | 0600));
		struct shmid_ds d = stat_of(id);
		CHECK_EQ(d.shm_perm.uid, 54022);
		CHECK_EQ(d.shm_perm.cuid, 54022);
		CHECK_EQ(d.shm_perm.gid, 54012);
		CHECK_EQ(d.shm_perm.cgid, 54012);
	}
}

TEST_SEVERAL_UIDS(a_stranger_gets_the_id_by_asking_for_nothing)
{
	int id = MUST(shmget(KEY, 5000, IPC_CREAT | 0600));
	MUST(shmget(KEY + 1, 5000, IPC_CREAT | 0604));
	IN_CHILD {
		drop_to(54001, 54001);
		TEST_RES(shmget(KEY, 5000, 0), _ret == id);
		TEST_RES(shmget(KEY, 0, IPC_CREAT), _ret == id);
		struct get_case t[] = {
			{ "everything wrong", KEY, 1 << 20, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
			{ "size and rights wrong", KEY, 5001, 0600, EINVAL },
			{ "rights wrong", KEY, 10, 0600, EACCES },
			{ "exec asked", KEY, 0, 0100, EACCES },
			{ "read of a 0604 one as others", KEY + 1, 0, 0004, 0 },
			{ "read of a 0604 one as group", KEY + 1, 0, 0040, 0 },
			{ "read of a 0604 one as owner", KEY + 1, 0, 0400, 0 },
			{ "write of a 0604 one", KEY + 1, 0, 0200, EACCES },
			{ "read and write of a 0604 one", KEY + 1, 0, 0600, EACCES },
		};
		GET_CASES(t);
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
		TEST_ERRNO(shmat(id, NULL, SHM_RDONLY), EACCES);
	}
}
