/*
 * SHM_HUGETLB where there are huge pages: segments of 2 MiB pages, as the
 * kernel makes them, and as the shim makes them on a mounted hugetlbfs. Every
 * test has a hugetlbfs of its own in a mount namespace of its own.
 */
#include "hugepool.h"

/* --------------------------------------------------- sizes and reservation */

TEST(pages_are_reserved_when_a_segment_is_made_and_free_when_it_is_removed)
{
	static const struct { size_t size; long pages; } t[] = {
		{ 1, 1 }, { 100, 1 }, { HUGE - 1, 1 }, { HUGE, 1 }, { HUGE + 1, 2 }, { 3 << 20, 2 }, { 4 * HUGE, 4 },
	};
	need_pages();
	long before = free_pages(), reserved = reserved_pages();
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		int id = NEW(t[i].size);
		CHECK_EQ(free_pages(), before - t[i].pages);
		CHECK_EQ(reserved_pages(), reserved + t[i].pages);
		char *p = attach(id);
		CHECK_EQ(free_pages(), before - t[i].pages);
		CHECK(WRITABLE(p));
		CHECK_EQ(reserved_pages(), reserved + t[i].pages - 1);
		TEST_SUCC(shmdt(p));
		CHECK_EQ(free_pages(), before - t[i].pages);
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
		CHECK_EQ(free_pages(), before);
		CHECK_EQ(reserved_pages(), reserved);
	}
}

TEST(an_unreserved_segment_takes_pages_as_they_are_touched)
{
	need_pages();
	long before = free_pages();
	int id = UNRESERVED(3 * HUGE);
	char *p = attach(id);
	CHECK_EQ(free_pages(), before);
	CHECK(WRITABLE(p + HUGE));
	CHECK_EQ(free_pages(), before - 1);
	CHECK(WRITABLE(p + 3 * HUGE - 1));
	CHECK_EQ(free_pages(), before - 2);
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(free_pages(), before - 2);
	TEST_SUCC(shmdt(p));
	CHECK_EQ(free_pages(), before);
}

TEST(the_size_is_the_one_asked_for_and_counts_in_ordinary_pages)
{
	need_pages();
	int id = GET(0x41, (2ul << 20) + 100, IPC_CREAT | 0640);
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_segsz, (2ul << 20) + 100);
	CHECK_EQ(d.shm_perm.mode, 0640);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_cpid, getpid());
	CHECK_EQ(usage().shm_tot, HUGE / PAGE + 1);
	CHECK_EQ(usage().shm_rss, 0);
	TEST_RES(shmget(0x41, (2ul << 20) + 100, 0), _ret == id);
	TEST_ERRNO(shmget(0x41, (2ul << 20) + 101, 0), EINVAL);
	TEST_ERRNO(GET(0x41, 1, IPC_CREAT | IPC_EXCL), EEXIST);
	/* The flag is no condition for finding it. */
	TEST_RES(shmget(0x41, 1, IPC_CREAT | 0600), _ret == id);
	/*
	 * Divergence: kernels since 6.7 count a resident huge page 512 times over. That something is
	 * resident, and that it is whole huge pages, is true of both.
	 */
	CHECK(READABLE(attach(id)));
	CHECK(usage().shm_rss >= HUGE / PAGE);
	CHECK_EQ(usage().shm_rss % (HUGE / PAGE), 0);
	NEW(1);
	CHECK_EQ(usage().shm_tot, HUGE / PAGE + 2);
	CHECK_EQ(usage().used_ids, 2);
}

TEST(limits_count_what_was_asked_for_not_huge_pages)
{
	need_pages();
	char one_more[32];
	snprintf(one_more, sizeof one_more, "%lu", HUGE / PAGE + 1);
	set_limit("shmall", one_more);
	int id = NEW(HUGE);
	CHECK_EQ(usage().shm_tot, HUGE / PAGE);
	int small = NEW(100);
	TEST_ERRNO(GET(IPC_PRIVATE, 1, 0600), ENOSPC);
	TEST_SUCC(shmctl(small, IPC_RMID, NULL));
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	set_limit("shmmax", "100");
	TEST_ERRNO(GET(IPC_PRIVATE, 101, 0600), EINVAL);
	TEST_RES(GET(IPC_PRIVATE, 100, 0600), exists(_ret));
}

TEST(without_enough_pages_it_is_enomem_and_nothing_is_used_up)
{
	need_pages();
	need_a_fixed_pool();
	size_t all = (size_t)free_pages() * HUGE;
	int first = NEW(1);
	TEST_ERRNO(GET(IPC_PRIVATE, all, 0600), ENOMEM);
	TEST_ERRNO(GET(0x42, all, IPC_CREAT | 0600), ENOMEM);
	TEST_ERRNO(shmget(0x42, 0, 0), ENOENT);
	TEST_ERRNO(GET(IPC_PRIVATE, MORE_THAN_ALL, 0600), ENOMEM);
	CHECK_EQ(free_pages(), all / HUGE - 1);
	int rest = NEW(all - HUGE);
	CHECK_EQ(rest, first + 1);
	CHECK_EQ(free_pages(), 0);
	TEST_ERRNO(GET(IPC_PRIVATE, 1, 0600), ENOMEM);
	/* Made, attached; what is missing shows when it is touched. */
	char *p = attach(UNRESERVED(HUGE));
	CHECK_EQ(touch(p, true), SIGBUS);
	TEST_SUCC(shmctl(rest, IPC_RMID, NULL));
	CHECK(WRITABLE(p));
}

TEST(what_is_reserved_can_be_touched_when_nothing_is_free)
{
	need_pages();
	need_a_fixed_pool();
	int id = NEW(3 * HUGE), rest = NEW((size_t)free_pages() * HUGE);
	CHECK_EQ(free_pages(), 0);
	IN_CHILD {
		char *p = attach(id);
		for (int i = 0; i < 3; i++)
			CHECK(WRITABLE(p + i * HUGE));
		strcpy(p + 2 * HUGE, "kept");
	}
	char *p = (char *)MUST(shmat(id, NULL, SHM_RDONLY));
	CHECK_STR(p + 2 * HUGE, "kept");
	CHECK(WRITABLE(attach(rest)));
}

TEST(the_number_of_segments_is_looked_at_behind_the_pages)
{
	need_2_mib_by_default();
	need_pages();
	need_a_fixed_pool();
	size_t all = (size_t)free_pages() * HUGE;
	NEW(1);
	set_limit("shmmni", "1");
	struct get_case t[] = {
		{ "enough pages", IPC_PRIVATE, 1, SHM_HUGETLB | 0600, ENOSPC },
		{ "unreserved", IPC_PRIVATE, all, SHM_HUGETLB | SHM_NORESERVE | 0600, ENOSPC },
		{ "too few", IPC_PRIVATE, all, SHM_HUGETLB | 0600, ENOMEM },
		{ "no such size", IPC_PRIVATE, 1, SHM_HUGETLB | PAGE_SIZE_LOG2(13) | 0600, EINVAL },
	};
	GET_CASES(t);
}

#if __SIZEOF_LONG__ == 8
TEST(unreserved_segments_may_be_larger_than_any_file_or_address_space)
{
	GLIBC_ONLY("musl's shmget asks for 2^64 - 1 bytes where it is asked for 2^63 or more");
	static const size_t sizes[] = { 1ul << 46, (1ul << 63) - 1, 1ul << 63, 18446744073692774399ul };
	need_pages();
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		TEST_ERRNO(GET(IPC_PRIVATE, sizes[i], 0600), ENOMEM);
		int id = UNRESERVED(sizes[i]);
		CHECK_EQ(stat_of(id).shm_segsz, sizes[i]);
		if (i == 0)
			CHECK(WRITABLE(attach(id) + (1ul << 46) - 1));
		else
			TEST_ERRNO(shmat(id, NULL, 0), ENOMEM);
		CHECK_EQ(nattch_of(id), i == 0);
	}
}
#endif

TEST(pages_of_another_size_are_another_matter)
{
	need_pages();
	if (number_at("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages") != 0)
		SKIP("this machine has huge pages of 1 GiB, or cannot have them");
	if (under_shim())
		add_hugetlbfs("gigantic", "pagesize=1G");
	int flags = SHM_HUGETLB | PAGE_SIZE_LOG2(30), small = NEW(1);
	need_a_fixed_pool();
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, flags | 0600), ENOMEM);
	int id = MUST(shmget(IPC_PRIVATE, 1, flags | SHM_NORESERVE | 0600));
	char *p = attach(id);
	CHECK_EQ((uintptr_t)p % (1ul << 30), 0);
	CHECK_EQ(touch(p, false), SIGBUS);
	TEST_ERRNO(shmat(id, FREE_AREA + HUGE, 0), EINVAL);
	/* In 32 bits there is no place for a second one. */
	WIDE_ONLY(TEST_RES(shmat(id, FREE_AREA, 0), (char *)_ret == FREE_AREA);)
	TEST_ERRNO(shmat(id, FREE_AREA + (1ul << 30) - PAGE, 0), EINVAL);
	TEST_RES(shmat(small, FREE_AREA + (1ul << 30), 0), WRITABLE((char *)_ret + HUGE - 1));
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	CHECK(WRITABLE(attach(small)));
}

/* -------------------------------------------------------------- contents */

TEST(contents_are_zero_shared_and_stay_to_the_end_of_the_last_huge_page)
{
	need_pages();
	int id = GET(0x43, 100, IPC_CREAT | 0600);
	char *p = attach(id), *q = attach(id);
	for (size_t i = 0; i < HUGE; i += 509)
		if (p[i])
			FAIL("byte %zu is %d", i, p[i]);
	p[0] = 1;
	p[HUGE - 1] = 2;
	CHECK_EQ(q[0], 1);
	CHECK_EQ(q[HUGE - 1], 2);
	IN_CHILD {
		CHECK_EQ(nattch_of(id), 4);
		CHECK_EQ(q[HUGE - 1], 2);
		p[1] = 3;
	}
	CHECK_EQ(nattch_of(id), 2);
	TEST_SUCC(shmdt(p));
	TEST_SUCC(shmdt(q));
	/* Nobody has it attached; another program finds it by its key. */
	EXPECT_STEPS("get 0\nat 0\nstat key=0x43 mode=600 size=100 nattch=1\ndt 0\n", "get,0x43,100,0", "at", "stat",
		     "put,from outside", "dt");
	p = attach(shmget(0x43, 0, 0));
	CHECK_STR(p, "from outside");
	CHECK_EQ(p[HUGE - 1], 2);
}

TEST(a_read_only_attach_is_read_only_and_an_executable_one_executes)
{
	need_pages();
	int id = MUST(GET(IPC_PRIVATE, HUGE, 0700));
	char *p = attach(id), *ro = (char *)MUST(shmat(id, NULL, SHM_RDONLY)), *x = (char *)MUST(shmat(id, NULL, SHM_EXEC));
	CHECK_EQ(touch(ro, true), SIGSEGV);
	CHECK(READABLE(ro));
	TEST_ERRNO(mprotect(ro, HUGE, PROT_READ | PROT_WRITE), EACCES);
	CHECK(WRITABLE(p));
	(void)x;
#if defined __x86_64__ || defined __i386__
	memcpy(p, "\xb8\x2a\0\0\0\xc3", 6); /* mov $42, %eax; ret */
	CHECK_EQ(((int (*)(void))x)(), 42);
#endif
	CHECK_EQ(nattch_of(id), 3);
	int closed = MUST(GET(IPC_PRIVATE, HUGE, 0400));
	IN_CHILD {
		drop_cap(CAP_IPC_OWNER);
		TEST_ERRNO(shmat(closed, NULL, 0), EACCES);
		TEST_SUCC(shmat(closed, NULL, SHM_RDONLY));
	}
}

TEST(huge_pages_are_never_swapped_out_so_locking_them_does_nothing)
{
	need_pages();
	int id = NEW(4 * HUGE);
	TEST_SUCC(shmctl(id, SHM_LOCK, NULL));
	CHECK_EQ(stat_of(id).shm_perm.mode, 0600);
	TEST_SUCC(shmctl(id, SHM_UNLOCK, NULL));
	/* The kernel's account is the user's, over all namespaces: that of one of whom nobody has heard (see test_lock.c). */
	struct shmid_ds d = stat_of(id);
	if (!under_shim())
		d.shm_perm.uid = 500000 + (uid_t)getpid();
	MUST(shmctl(id, IPC_SET, &d));
	IN_CHILD {
		if (!under_shim())
			drop_to(d.shm_perm.uid, 54001);
		MUST(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ PAGE, PAGE }));
		drop_cap(CAP_IPC_LOCK);
		TEST_SUCC(shmctl(id, SHM_LOCK, NULL));
		CHECK_EQ(stat_of(id).shm_perm.mode, 0600);
		/* Nothing of the limit is used up. */
		TEST_SUCC(shmctl(new_segment(PAGE), SHM_LOCK, NULL));
		TEST_ERRNO(shmctl(new_segment(PAGE), SHM_LOCK, NULL), ENOMEM);
	}
	IN_CHILD {
		MUST(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){ 0, 0 }));
		drop_cap(CAP_IPC_LOCK);
		TEST_ERRNO(shmctl(id, SHM_LOCK, NULL), EPERM);
		TEST_SUCC(shmctl(id, SHM_UNLOCK, NULL));
	}
}

/* -------------------------------------------------------------- life time */

TEST(a_removed_segment_lives_as_long_as_it_is_attached)
{
	need_pages();
	long before = free_pages();
	int id = GET(0x44, HUGE, IPC_CREAT | 0600);
	char *p = attach(id);
	strcpy(p, "still");
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_DEST | 0600);
	TEST_ERRNO(shmget(0x44, 0, 0), ENOENT);
	IN_CHILD {
		CHECK_STR(attach(id), "still");
		CHECK_EQ(nattch_of(id), 3);
	}
	int other = GET(0x44, HUGE, IPC_CREAT | IPC_EXCL | 0600);
	CHECK_EQ(attach(other)[0], 0);
	CHECK_EQ(free_pages(), before - 2);
	TEST_SUCC(shmdt(p));
	CHECK(!exists(id));
	CHECK_EQ(free_pages(), before - 1);
}

TEST(the_death_of_the_last_user_makes_room_for_the_next)
{
	need_pages();
	need_a_fixed_pool();
	long before = free_pages();
	for (int i = 0; i < 3; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			int id = NEW((size_t)before * HUGE);
			char *p = attach(id);
			MUST(shmctl(id, IPC_RMID, NULL));
			p[HUGE] = 1;
			kill(getpid(), SIGKILL);
		}
		wait_for(pid);
		/* Nobody has asked since: shmget itself has to find out. */
		int id = GET(0x45, (size_t)before * HUGE, IPC_CREAT | 0600);
		REQUIRE(id >= 0);
		CHECK_EQ(attach(id)[HUGE], 0);
		IN_CHILD MUST(shmctl(id, IPC_RMID, NULL));
		MUST(shmdt(attach(id)));
		char *at[8];
		for (int n = attaches_in_maps(at, 8); n > 0; n--)
			MUST(shmdt(at[n - 1]));
		CHECK_EQ(free_pages(), before);
	}
	CHECK_EQ(usage().used_ids, 0);
}

TEST(a_program_that_execs_or_ends_detaches)
{
	need_pages();
	long before = free_pages();
	int id = NEW(HUGE);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		CHECK(WRITABLE(attach(id)));
		execl(built("helper_steps"), "helper_steps", (char *)NULL);
		FATAL("exec: %s", errno_name(errno));
	}
	REAP(pid);
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(stat_of(id).shm_lpid, pid);
	IN_CHILD {
		attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		exit(0);
	}
	CHECK(!exists(id));
	CHECK_EQ(usage().used_ids, 0);
	CHECK_EQ(free_pages(), before);
}

TEST(with_shm_rmid_forced_nothing_is_left)
{
	need_pages();
	long before = free_pages();
	set_limit("shm_rmid_forced", "1");
	int id = NEW(HUGE);
	TEST_SUCC(shmdt(attach(id)));
	CHECK(!exists(id));
	CHECK_EQ(free_pages(), before);
}

/* ----------------------------------------------------------------- rights */

TEST(who_is_in_the_group_for_huge_pages_needs_no_capability)
{
	need_pages();
	gid_t group = number_in("/proc/sys/vm/hugetlb_shm_group");
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(group, group, group));
		set_caps(0);
		int id = NEW(HUGE);
		CHECK(WRITABLE(attach(id)));
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	}
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(group + 1, group + 1, group + 1));
		set_caps(0);
		TEST_ERRNO(GET(IPC_PRIVATE, HUGE, 0600), EPERM);
	}
	CHECK_EQ(usage().used_ids, 0);
}

TEST_SEVERAL_UIDS(other_users_attach_by_the_mode)
{
	enum { ALICE = 54001, BOB = 54002, GROUP = 54010 };
	gid_t huge = number_in("/proc/sys/vm/hugetlb_shm_group");
	need_pages_on("pagesize=2M,mode=1777");
	long before = free_pages();
	int *id = shared_memory(sizeof *id * 2);
	IN_CHILD {
		drop_to(ALICE, GROUP, huge);
		id[0] = MUST(GET(0x46, HUGE, IPC_CREAT | 0644));
		id[1] = MUST(GET(0x47, HUGE, IPC_CREAT | 0600));
		strcpy(attach(id[0]), "from alice");
	}
	IN_CHILD {
		drop_to(BOB, GROUP);
		CHECK_EQ(shmget(0x46, HUGE, 0400), id[0]);
		CHECK_STR((char *)MUST(shmat(id[0], NULL, SHM_RDONLY)), "from alice");
		TEST_ERRNO(shmat(id[0], NULL, 0), EACCES);
		TEST_ERRNO(shmat(id[1], NULL, SHM_RDONLY), EACCES);
		TEST_ERRNO(shmctl(id[0], IPC_RMID, NULL), EPERM);
		TEST_ERRNO(GET(IPC_PRIVATE, HUGE, 0600), EPERM);
	}
	IN_CHILD {
		drop_to(ALICE, GROUP);
		CHECK_STR(attach(id[0]), "from alice");
		TEST_SUCC(shmctl(id[0], IPC_RMID, NULL));
	}
	TEST_SUCC(shmctl(id[1], IPC_RMID, NULL));
	CHECK_EQ(usage().used_ids, 0);
	CHECK_EQ(free_pages(), before);
}
