/* Where segments of huge pages can be attached, and what can be unmapped of them. */
#include "hugepool.h"
#include "user_space.h"

TEST(addresses_are_multiples_of_the_huge_page)
{
	need_pages();
	int id = NEW(100);
	CHECK_EQ((uintptr_t)attach(id) % HUGE, 0);
	CHECK_EQ((uintptr_t)attach(id) % HUGE, 0);
	struct at_case refused[] = {
		{ "a page off", id, FREE_AREA + PAGE, 0, EINVAL },
		{ "rounded to a page", id, FREE_AREA + PAGE, SHM_RND, EINVAL },
		{ "rounded to a page off", id, FREE_AREA + PAGE + 1, SHM_RND, EINVAL },
		{ "a page off, replacing", id, FREE_AREA + PAGE, SHM_REMAP, EINVAL },
		{ "no page", id, FREE_AREA + 1, 0, EINVAL },
		WIDE_ONLY({ "the last huge page", id, (void *)-HUGE, 0, EINVAL },)
		{ "the last page", id, (void *)-PAGE, 0, EINVAL },
		{ "the last huge page, replacing", id, (void *)-HUGE, SHM_REMAP, ENOMEM },
		{ "the first page", id, (void *)PAGE, 0, EINVAL },
	};
	AT_CASES(refused);
#if __SIZEOF_LONG__ == 8
	char *end = user_space_end(), *last = (char *)((uintptr_t)(end - 1) & -HUGE);
	struct at_case at_the_end[] = {
		{ "the last page of user space", id, end - PAGE, 0, EINVAL },
		{ "beyond user space", id, last + HUGE, 0, ENOMEM },
		/* Where user space ends within a huge page: on x86-64. */
		{ "partly beyond user space", id, last + HUGE == end ? end : last, 0, ENOMEM },
	};
	AT_CASES(at_the_end);
#endif
	CHECK_EQ(nattch_of(id), 2);
	TEST_RES(shmat(id, FREE_AREA + 1, SHM_RND), (char *)_ret == FREE_AREA);
	TEST_RES(shmat(id, FREE_AREA + 3 * HUGE, 0), (char *)_ret == FREE_AREA + 3 * HUGE);
	CHECK(WRITABLE(FREE_AREA + HUGE - 1));
	CHECK_EQ(touch(FREE_AREA + HUGE, false), SIGSEGV);
	struct at_case occupied[] = {
		{ "there", id, FREE_AREA, 0, EINVAL },
		{ "inside", id, FREE_AREA + PAGE, 0, EINVAL },
		{ "over itself", id, FREE_AREA, SHM_REMAP, 0 },
	};
	AT_CASES(occupied);
	CHECK_EQ(nattch_of(id), 4);
	struct at_case detached[] = { { "again", id, FREE_AREA, 0, 0 } };
	TEST_ERRNO(shmdt(FREE_AREA + PAGE), EINVAL);
	TEST_SUCC(shmdt(FREE_AREA));
	TEST_ERRNO(shmdt(FREE_AREA), EINVAL);
	AT_CASES(detached);
}

TEST(an_ordinary_mapping_within_the_huge_page_is_in_the_way_unless_it_is_replaced)
{
	need_pages();
	int id = NEW(100);
	char *in = FREE_AREA + HUGE - PAGE;
	REQUIRE(mmap(in, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == in);
	TEST_ERRNO(shmat(id, FREE_AREA, 0), EINVAL);
	CHECK_EQ(nattch_of(id), 0);
	TEST_RES(shmat(id, FREE_AREA, SHM_REMAP), (char *)_ret == FREE_AREA);
	CHECK(WRITABLE(in));
	CHECK_EQ(nattch_of(id), 1);
	/* And the other way round: an ordinary segment over a huge one. */
	int small = new_segment(PAGE);
	/* Older kernels say ENOMEM, of any mapping. */
	void *over = mmap(FREE_AREA + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	int refusal = errno;
	CHECK(over == MAP_FAILED);
	TEST_ERRNO(shmat(small, FREE_AREA + PAGE, SHM_REMAP), refusal);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(nattch_of(small), 0);
}

TEST(part_of_a_huge_page_cannot_be_unmapped)
{
	need_pages();
	int id = NEW(3 * HUGE);
	char *p = attach(id);
	TEST_ERRNO(munmap(p, PAGE), EINVAL);
	TEST_ERRNO(munmap(p + PAGE, PAGE), EINVAL);
	TEST_ERRNO(munmap(p + 3 * HUGE - PAGE, PAGE), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(munmap(p + HUGE, HUGE));
	CHECK_EQ(nattch_of(id), 2);
	CHECK(WRITABLE(p));
	CHECK(WRITABLE(p + 2 * HUGE));
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 0);
	p = attach(id);
	TEST_SUCC(munmap(p, 2 * HUGE));
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(p));
	CHECK_EQ(touch(p + 2 * HUGE, false), SIGSEGV);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(mremap_takes_whole_huge_pages)
{
	need_pages();
	int id = NEW(3 * HUGE);
	char *p = attach_at(id, FREE_AREA), *to = FREE_AREA + 8 * HUGE;
	TEST_RES(mremap(p, 2 * HUGE + 1, HUGE + PAGE, 0), (char *)_ret == p);
	CHECK_EQ(touch(p + 2 * HUGE, false), SIGSEGV);
	CHECK(WRITABLE(p + 2 * HUGE - 1));
	CHECK_EQ(nattch_of(id), 1);
	TEST_RES(mremap(p, HUGE + PAGE, PAGE, 0), (char *)_ret == p);
	CHECK_EQ(touch(p + HUGE, false), SIGSEGV);
	CHECK_EQ(nattch_of(id), 1);
	TEST_ERRNO(mremap(p, HUGE, HUGE + 1, MREMAP_MAYMOVE), EINVAL);
	TEST_ERRNO(mremap(p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), EINVAL);
	TEST_ERRNO(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	TEST_RES(mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), (char *)_ret == to);
	CHECK_EQ(touch(p, false), SIGSEGV);
	CHECK(WRITABLE(to + HUGE - 1));
	CHECK_EQ(nattch_of(id), 1);
	TEST_ERRNO(shmdt(p), EINVAL);
	TEST_SUCC(shmdt(to));
	CHECK_EQ(touch(to, false), SIGSEGV);
	CHECK_EQ(nattch_of(id), 0);
}
