/*
 * shmat: which error wins, which addresses are accepted, and that an attach
 * which failed left no trace.
 */
#include "shmtest.h"
#include "user_space.h"

#define TOP_PAGE ((void *)-PAGE)
#define SYS_MSEAL 462

static void occupy(void *at, size_t len)
{
	void *p = mmap(at, len, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p != at)
		FATAL("%p is not free", at);
}

TEST(the_arguments_are_judged_before_the_id)
{
	int id = new_segment(IN_TWO_PAGES);
	struct at_case t[] = {
		{ "negative id", -1, NULL, 0, EINVAL },
		{ "most negative id", (int)0x80000000, NULL, 0, EINVAL },
		{ "no such id", id + 1, NULL, 0, EINVAL },
		{ "wrong sequence", id + 32768, NULL, 0, EINVAL },
		{ "no such id, unaligned", id + 1, FREE_AREA + 1, 0, EINVAL },
		{ "no such id, NULL SHM_REMAP", id + 1, NULL, SHM_REMAP, EINVAL },
		{ "NULL with SHM_REMAP", id, NULL, SHM_REMAP, EINVAL },
		{ "unaligned", id, FREE_AREA + 1, 0, EINVAL },
		{ "unaligned by a page less one", id, FREE_AREA + PAGE - 1, 0, EINVAL },
		{ "unaligned with SHM_REMAP", id, FREE_AREA + 1, SHM_REMAP, EINVAL },
		{ "rounds to 0 with SHM_REMAP", id, (void *)(PAGE - 1), SHM_RND | SHM_REMAP, EINVAL },
		{ "unaligned beyond user space", id, (char *)KERNEL_ADDRESS + 1, 0, EINVAL },
	};
	AT_CASES(t);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(arguments_come_before_rights_and_rights_before_the_place)
{
	int id = MUST(shmget(IPC_PRIVATE, IN_TWO_PAGES, 0000));
	occupy(FREE_AREA, PAGE);
	set_caps(0);
	struct at_case t[] = {
		{ "no rights", id, NULL, 0, EACCES },
		{ "no rights, read only", id, NULL, SHM_RDONLY, EACCES },
		{ "unaligned first", id, FREE_AREA + 1, 0, EINVAL },
		{ "NULL SHM_REMAP first", id, NULL, SHM_REMAP, EINVAL },
		{ "rounds to 0 with SHM_REMAP first", id, (void *)1, SHM_RND | SHM_REMAP, EINVAL },
		{ "rights before an occupied place", id, FREE_AREA, 0, EACCES },
		{ "rights before an end beyond 2^64", id, TOP_PAGE, 0, EACCES },
		{ "rights before user space", id, KERNEL_ADDRESS, 0, EACCES },
		{ "rights before page zero", id, (void *)1, SHM_RND, EACCES },
	};
	AT_CASES(t);
}

TEST(a_place_that_is_occupied_is_einval)
{
	int id = new_segment(IN_TWO_PAGES);
	char here;
	char *other = attach_at(new_segment(1), FREE_AREA + 0x100000);
	occupy(FREE_AREA, PAGE);
	struct at_case t[] = {
		{ "its first page", id, FREE_AREA, 0, EINVAL },
		{ "its second page", id, FREE_AREA - PAGE, 0, EINVAL },
		{ "rounded down to it", id, FREE_AREA + 1, SHM_RND, EINVAL },
		{ "the stack", id, (void *)((uintptr_t)&here & -PAGE), 0, EINVAL },
		{ "another attach", id, other, 0, EINVAL },
		{ "the program itself", id, (void *)((uintptr_t)&occupy & -PAGE), 0, EINVAL },
		{ "just before", id, FREE_AREA - 2 * PAGE, 0, 0 },
		{ "just behind", id, FREE_AREA + PAGE, 0, 0 },
	};
	AT_CASES(t);
	CHECK_EQ(nattch_of(id), 2);
}

TEST(a_mapping_without_access_occupies_its_place_too)
{
	int id = new_segment(1);
	MUST(mmap(FREE_AREA, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	TEST_ERRNO(shmat(id, FREE_AREA, 0), EINVAL);
	MUST(munmap(FREE_AREA, PAGE));
	TEST_RES(shmat(id, FREE_AREA, 0), _ret == (long)FREE_AREA);
}

TEST(a_place_beyond_user_space_is_enomem)
{
	int id = new_segment(IN_TWO_PAGES), less = new_segment(PAGE - 1);
	WIDE_ONLY(int page = new_segment(PAGE);)
	struct at_case t[] = {
		{ "kernel", id, KERNEL_ADDRESS, 0, ENOMEM },
		{ "kernel, SHM_REMAP", id, KERNEL_ADDRESS, SHM_REMAP, ENOMEM },
		WIDE_ONLY({ "end beyond 2^64", id, TOP_PAGE, 0, EINVAL },)
		WIDE_ONLY({ "end exactly 2^64", page, TOP_PAGE, 0, EINVAL },)
		{ "end below the last byte by its exact size", less, TOP_PAGE, 0, ENOMEM },
		{ "top page, SHM_REMAP", id, TOP_PAGE, SHM_REMAP, ENOMEM },
	};
	AT_CASES(t);
#if __SIZEOF_LONG__ == 8
	char *end = user_space_end();
	struct at_case u[] = { { "first beyond", id, end, 0, ENOMEM }, { "second beyond", id, end + PAGE, 0, ENOMEM } };
	AT_CASES(u);
	if (touch(end - PAGE, false) == SIGSEGV) { /* not the stack, where addresses are not random */
		struct at_case free[] = { { "reaches over the end", id, end - PAGE, 0, ENOMEM } };
		AT_CASES(free);
		occupy(end - PAGE, PAGE);
		struct at_case taken[] = { { "reaches over the end, and is occupied", id, end - PAGE, 0, EINVAL } };
		AT_CASES(taken);
	}
#endif
	CHECK_EQ(nattch_of(id), 0);
}

static uintptr_t mmap_min_addr(void)
{
	unsigned long value = 0;
	FILE *f = fopen("/proc/sys/vm/mmap_min_addr", "r");
	if (!f || fscanf(f, "%lu", &value) != 1)
		SKIP("vm.mmap_min_addr cannot be read");
	fclose(f);
	return value;
}

TEST(page_zero_is_eperm_without_cap_sys_rawio)
{
	uintptr_t least = (mmap_min_addr() + PAGE - 1) & -PAGE;
	if (least == 0)
		SKIP("vm.mmap_min_addr is 0");
	int id = new_segment(1);
	set_caps(0);
	TEST_ERRNO(shmat(id, (void *)1, SHM_RND), EPERM);
	TEST_ERRNO(shmat(id, (void *)(PAGE - 1), SHM_RND), EPERM);
	TEST_RES(shmat(id, (void *)least, 0), _ret == (long)least);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(root_gets_page_zero_and_can_detach_it)
{
	need_root();
	int id = new_segment(IN_TWO_PAGES);
	errno = 0;
	void *p = shmat(id, (void *)(PAGE - 1), SHM_RND);
	CHECK_EQ((uintptr_t)p, 0);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(READABLE((char *)0 + 2 * PAGE - 1));
	TEST_SUCC(shmdt(NULL));
	CHECK_EQ(nattch_of(id), 0);
	TEST_ERRNO(shmdt(NULL), EINVAL);
}

TEST(shm_rnd_rounds_down_and_is_nothing_else)
{
	int id = new_segment(IN_TWO_PAGES);
	TEST_RES(shmat(id, FREE_AREA + PAGE - 1, SHM_RND), _ret == (long)FREE_AREA);
	TEST_RES(shmat(id, FREE_AREA + 4 * PAGE + 1, SHM_RND), _ret == (long)(FREE_AREA + 4 * PAGE));
	TEST_RES(shmat(id, FREE_AREA + 8 * PAGE, SHM_RND), _ret == (long)(FREE_AREA + 8 * PAGE));
	TEST_RES(shmat(id, NULL, SHM_RND), _ret % PAGE == 0 && _ret != 0);
	CHECK_EQ(nattch_of(id), 4);
}

TEST(the_kernel_chooses_distinct_aligned_places)
{
	int id = new_segment(IN_TWO_PAGES);
	char *at[100];
	for (int i = 0; i < 100; i++) {
		at[i] = attach(id);
		CHECK_EQ((uintptr_t)at[i] % SHMLBA, 0);
		at[i][i] = 1;
		for (int j = 0; j < i; j++)
			CHECK(at[i] >= at[j] + 2 * PAGE || at[j] >= at[i] + 2 * PAGE);
	}
	for (int i = 0; i < 100; i++)
		CHECK_EQ(at[99 - i][i], 1);
	CHECK_EQ(nattch_of(id), 100);
}

/* Where the last attach was may be taken by then, wholly or in part, or be of another length. */
TEST(a_place_that_an_attach_has_left_is_somebody_elses_when_he_takes_it)
{
	int small = new_segment(PAGE), large = new_segment(4 * PAGE);
	for (size_t taken = 0; taken < 4; taken++) {
		char *p = attach(large);
		memset(p, 'l', 4 * PAGE);
		MUST(shmdt(p));
		char *mine = mmap(p + taken * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		CHECK(mine == p + taken * PAGE);
		memset(mine, 'm', PAGE);
		char *q = attach(large), *r = attach(small);
		CHECK(q + 4 * PAGE <= mine || q >= mine + PAGE);
		CHECK(r != mine);
		CHECK_EQ(q[4 * PAGE - 1], 'l');
		memset(q, 'q', 4 * PAGE);
		memset(r, 'r', PAGE);
		CHECK_EQ(mine[0], 'm');
		CHECK_EQ(mine[PAGE - 1], 'm');
		TEST_SUCC(shmdt(q));
		TEST_SUCC(shmdt(r));
		CHECK_EQ(mine[0], 'm');
		MUST(munmap(mine, PAGE));
	}
	char *p = attach(small), *q = attach(small);
	CHECK(p != q);
	TEST_SUCC(shmdt(p));
	TEST_SUCC(shmdt(q));
}

TEST(segments_attach_back_to_back_at_fixed_places)
{
	int id = new_segment(IN_TWO_PAGES), one = new_segment(1);
	char *at = FREE_AREA;
	for (int i = 0; i < 20; i++, at += 2 * PAGE)
		TEST_RES(shmat(id, at, 0), _ret == (long)at);
	TEST_RES(shmat(one, at, 0), _ret == (long)at);
	TEST_RES(shmat(one, at + PAGE, 0), _ret == (long)(at + PAGE));
	TEST_ERRNO(shmat(id, at - PAGE, 0), EINVAL);
	CHECK_EQ(nattch_of(id), 20);
	CHECK_EQ(nattch_of(one), 2);
}

TEST(unknown_flag_bits_are_ignored)
{
	int id = new_segment(1);
	TEST_RES(shmat(id, FREE_AREA, 0777 | 1 << 30 | (int)(1u << 31)), _ret == (long)FREE_AREA);
	CHECK(WRITABLE(FREE_AREA));
}

TEST(shm_remap_replaces_whatever_is_there)
{
	int id = new_segment(IN_TWO_PAGES), other = new_segment(1);
	occupy(FREE_AREA, 4 * PAGE);
	FREE_AREA[0] = 1, FREE_AREA[PAGE] = 2, FREE_AREA[3 * PAGE] = 3;
	TEST_RES(shmat(id, FREE_AREA + PAGE, SHM_REMAP), _ret == (long)(FREE_AREA + PAGE));
	CHECK_EQ(FREE_AREA[0], 1);
	CHECK_EQ(FREE_AREA[PAGE], 0);
	CHECK_EQ(FREE_AREA[3 * PAGE], 3);
	TEST_RES(shmat(other, FREE_AREA + 0x100000, SHM_REMAP), true); /* nothing there */
	TEST_RES(shmat(other, FREE_AREA + 0x200000 + PAGE - 1, SHM_REMAP | SHM_RND),
		 _ret == (long)(FREE_AREA + 0x200000));
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(nattch_of(other), 2);
}

TEST(a_sealed_mapping_is_not_replaced)
{
	int id = new_segment(PAGE);
	occupy(FREE_AREA, PAGE);
	if (syscall(SYS_MSEAL, FREE_AREA, PAGE, 0) < 0)
		SKIP("mseal: %s", errno_name(errno));
	TEST_ERRNO(shmat(id, FREE_AREA, SHM_REMAP), EPERM);
	TEST_ERRNO(shmat(id, FREE_AREA, 0), EINVAL);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(an_address_space_limit_is_enomem)
{
	int id = new_segment(64 << 20);
	IN_CHILD {
		struct rlimit r = { 32 << 20, 32 << 20 };
		MUST(setrlimit(RLIMIT_AS, &r));
		TEST_ERRNO(shmat(id, NULL, 0), ENOMEM);
		TEST_ERRNO(shmat(id, FREE_AREA, 0), ENOMEM);
	}
	CHECK_EQ(nattch_of(id), 0);
}

TEST(future_locking_beyond_the_limit_is_eagain)
{
	int id = new_segment(64 << 20);
	IN_CHILD {
		struct rlimit r = { 1 << 20, 1 << 20 };
		set_caps(0);
		MUST(setrlimit(RLIMIT_MEMLOCK, &r));
		MUST(mlockall(MCL_FUTURE));
		TEST_ERRNO(shmat(id, NULL, 0), EAGAIN);
	}
	CHECK_EQ(nattch_of(id), 0);
}

TEST(attaches_are_bounded_by_the_number_of_mappings_alone)
{
	unsigned long max = 0;
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	REQUIRE(f && fscanf(f, "%lu", &max) == 1);
	fclose(f);
	if (max > 100000)
		SKIP("vm.max_map_count is %lu", max);
	int id = new_segment(1);
	unsigned long n = 0;
	while (n < max + 10 && shmat(id, NULL, 0) != (void *)-1)
		n++;
	CHECK_EQ(errno, ENOMEM);
	CHECK(n > max - 200);
	CHECK_EQ(nattch_of(id), n);
}

TEST(more_attaches_than_shmseg_says_work)
{
	int id = new_segment(1);
	for (int i = 0; i < 5000; i++)
		attach(id);
	CHECK_EQ(nattch_of(id), 5000);
}

TEST(a_failed_attach_leaves_times_and_counts_as_they_were)
{
	int id = MUST(shmget(1, IN_TWO_PAGES, IPC_CREAT | 0400));
	struct shmid_ds before = stat_of(id), after;
	occupy(FREE_AREA, PAGE);
	next_second();
	IN_CHILD {
		TEST_ERRNO(shmat(id, FREE_AREA, SHM_RDONLY), EINVAL);
		TEST_ERRNO(shmat(id, KERNEL_ADDRESS, SHM_RDONLY), ENOMEM);
		TEST_ERRNO(shmat(id, NULL, SHM_REMAP | SHM_RDONLY), EINVAL);
		set_caps(0);
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
	}
	after = stat_of(id);
	CHECK_SAME(before, after);
}

TEST(an_attach_outlives_the_loss_of_rights)
{
	int id = new_segment(PAGE);
	set_caps(0);
	char *p = attach(id);
	struct shmid_ds d = stat_of(id);
	d.shm_perm.mode = 0;
	MUST(shmctl(id, IPC_SET, &d));
	CHECK(WRITABLE(p));
	TEST_ERRNO(shmat(id, NULL, 0), EACCES);
	TEST_ERRNO(shmat(id, NULL, SHM_RDONLY), EACCES);
	TEST_ERRNO(shmctl(id, IPC_STAT, &d), EACCES);
	TEST_SUCC(shmdt(p));
}

TEST_SEVERAL_UIDS(an_attach_outlives_setuid_and_a_new_one_is_judged_anew)
{
	int id = new_segment(PAGE);
	IN_CHILD {
		char *p = attach(id);
		drop_to(54001, 54001);
		CHECK(WRITABLE(p));
		p[1] = 42;
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
		TEST_SUCC(shmdt(p));
	}
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK(d.shm_lpid != getpid() && d.shm_lpid != 0);
	CHECK_EQ(attach(id)[1], 42);
}

TEST(a_range_that_begins_where_something_is_and_ends_beyond_all_is_occupied)
{
	int id = shmget(IPC_PRIVATE, (size_t)-1 >> 1, 0600 | SHM_NORESERVE);
	if (id == -1)
		SKIP("no segment of that size: %s", errno_name(errno));
	TEST_ERRNO(shmat(id, FREE_AREA, 0), EINVAL);
	TEST_ERRNO(shmat(id, FREE_AREA, SHM_REMAP), ENOMEM);
	WIDE_ONLY(TEST_ERRNO(shmat(id, NULL, 0), ENOMEM);)
	CHECK_EQ(nattch_of(id), 0);
}
