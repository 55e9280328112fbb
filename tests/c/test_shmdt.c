/*
 * shmdt: which addresses name an attach, above all after parts of it were
 * unmapped, covered, split or moved.
 */
#include "shmtest.h"

#define AT FREE_AREA
#define ELSEWHERE (FREE_AREA + 0x10000000)
#define SYS_MSEAL 462

static int three_pages_at(char *at)
{
	int id = new_segment(3 * PAGE);
	attach_at(id, at);
	return id;
}

static void cover(char *at, size_t len)
{
	MUST(mmap(at, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

static void move_page(char *from, char *to)
{
	MUST(mremap(from, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
}

/* Nothing of shared memory is left in these pages. */
static bool unmapped(char *at, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		if (READABLE(at + i * PAGE))
			return false;
	return true;
}

TEST(an_address_that_is_no_attach_is_einval)
{
	int id = three_pages_at(AT);
	cover(ELSEWHERE, PAGE);
	TEST_ERRNO(shmdt(NULL), EINVAL);
	TEST_ERRNO(shmdt(UNMAPPED), EINVAL);
	TEST_ERRNO(shmdt(ELSEWHERE), EINVAL);
	TEST_ERRNO(shmdt((void *)-1), EINVAL);
	TEST_ERRNO(shmdt((void *)-PAGE), EINVAL);
	TEST_ERRNO(shmdt(KERNEL_ADDRESS), EINVAL);
	TEST_ERRNO(shmdt((void *)((uintptr_t)&id & -PAGE)), EINVAL);
	TEST_ERRNO(shmdt(&id), EINVAL);
	TEST_ERRNO(shmdt(AT + 1), EINVAL);
	TEST_ERRNO(shmdt(AT + PAGE - 1), EINVAL);
	TEST_ERRNO(shmdt(AT + PAGE), EINVAL);
	TEST_ERRNO(shmdt(AT + 2 * PAGE), EINVAL);
	TEST_ERRNO(shmdt(AT - PAGE), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(WRITABLE(ELSEWHERE));
}

TEST(a_base_detaches_once)
{
	int id = three_pages_at(AT);
	TEST_RES(shmdt(AT), _ret == 0);
	CHECK(unmapped(AT, 3));
	CHECK_EQ(nattch_of(id), 0);
	TEST_ERRNO(shmdt(AT), EINVAL);
	attach_at(id, AT);
	TEST_SUCC(shmdt(AT));
}

TEST(each_of_many_attaches_goes_by_its_own_base)
{
	char *at[50];
	int id = new_segment(IN_TWO_PAGES);
	for (int i = 0; i < 50; i++)
		at[i] = attach(id);
	for (int i = 0; i < 50; i++) {
		int j = i * 7 % 50;
		TEST_SUCC(shmdt(at[j]));
		CHECK(unmapped(at[j], 2));
		CHECK_EQ(nattch_of(id), 49 - i);
	}
}

TEST(of_two_attaches_back_to_back_only_the_named_one_goes)
{
	int id = three_pages_at(AT);
	attach_at(id, AT + 3 * PAGE);
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
	CHECK(WRITABLE(AT + 3 * PAGE) && WRITABLE(AT + 5 * PAGE));
	TEST_ERRNO(shmdt(AT), EINVAL);
	TEST_SUCC(shmdt(AT + 3 * PAGE));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(without_its_first_page_an_attach_keeps_its_name)
{
	int id = three_pages_at(AT);
	MUST(munmap(AT, PAGE));
	TEST_ERRNO(shmdt(AT + PAGE), EINVAL);
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_last_page_alone_still_goes_by_the_base)
{
	int id = three_pages_at(AT);
	MUST(munmap(AT, 2 * PAGE));
	CHECK_EQ(nattch_of(id), 1);
	TEST_ERRNO(shmdt(AT + 2 * PAGE), EINVAL);
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(both_halves_go_together)
{
	int id = three_pages_at(AT);
	MUST(munmap(AT + PAGE, PAGE));
	CHECK(WRITABLE(AT) && WRITABLE(AT + 2 * PAGE));
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_foreign_page_over_the_first_one_stays)
{
	int id = three_pages_at(AT);
	cover(AT, PAGE);
	AT[0] = 9;
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(AT[0], 9);
	CHECK(unmapped(AT + PAGE, 2));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_foreign_page_in_the_middle_stays)
{
	int id = three_pages_at(AT);
	cover(AT + PAGE, PAGE);
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 1) && WRITABLE(AT + PAGE) && unmapped(AT + 2 * PAGE, 1));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(what_was_unmapped_or_covered_altogether_is_no_attach_any_more)
{
	int id = three_pages_at(AT);
	MUST(munmap(AT, 3 * PAGE));
	TEST_ERRNO(shmdt(AT), EINVAL);
	attach_at(id, AT);
	cover(AT, 3 * PAGE);
	TEST_ERRNO(shmdt(AT), EINVAL);
	CHECK(WRITABLE(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(pieces_made_by_mprotect_mlock_and_madvise_all_go)
{
	int id = three_pages_at(AT);
	MUST(mprotect(AT + PAGE, PAGE, PROT_READ));
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
	attach_at(id, AT);
	if (mlock(AT + PAGE, PAGE) == 0)
		CHECK(READABLE(AT));
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
	attach_at(id, AT);
	MUST(madvise(AT, PAGE, MADV_DONTFORK));
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_moved_attach_goes_by_its_new_base)
{
	int id = three_pages_at(AT);
	AT[0] = 5;
	MUST(mremap(AT, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE));
	CHECK_EQ(ELSEWHERE[0], 5);
	TEST_ERRNO(shmdt(AT), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(ELSEWHERE));
	CHECK(unmapped(ELSEWHERE, 3));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_moved_page_goes_by_where_the_base_would_be)
{
	int id = three_pages_at(AT);
	move_page(AT + PAGE, ELSEWHERE);
	TEST_ERRNO(shmdt(ELSEWHERE), EINVAL);
	TEST_SUCC(shmdt(ELSEWHERE - PAGE));
	CHECK(unmapped(ELSEWHERE, 1));
	CHECK(WRITABLE(AT) && WRITABLE(AT + 2 * PAGE));
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_grown_attach_goes_by_its_new_base_altogether)
{
	int id = three_pages_at(AT);
	MUST(mremap(AT, 3 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE));
	CHECK(WRITABLE(ELSEWHERE + 2 * PAGE));
	CHECK_EQ(touch(ELSEWHERE + 3 * PAGE, false), SIGBUS);
	TEST_ERRNO(shmdt(AT), EINVAL);
	TEST_SUCC(shmdt(ELSEWHERE));
	CHECK_EQ(touch(ELSEWHERE, false), SIGSEGV);
	CHECK_EQ(touch(ELSEWHERE + 4 * PAGE, false), SIGSEGV);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_second_view_made_by_mremap_goes_by_its_own_base)
{
	int id = three_pages_at(AT);
	char *view = mremap(AT, 0, 3 * PAGE, MREMAP_MAYMOVE);
	REQUIRE(view != MAP_FAILED);
	AT[7] = 7;
	CHECK_EQ(view[7], 7);
	TEST_SUCC(shmdt(view));
	CHECK(unmapped(view, 3) && WRITABLE(AT));
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(another_segment_over_the_first_page_is_named_first)
{
	int id = three_pages_at(AT), other = new_segment(PAGE);
	TEST_SUCC(shmat(other, AT, SHM_REMAP));
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(nattch_of(other), 0);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(unmapped(AT, 1) && WRITABLE(AT + PAGE) && WRITABLE(AT + 2 * PAGE));
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
	TEST_ERRNO(shmdt(AT), EINVAL);
}

TEST(another_segments_page_at_a_fitting_offset_waits_for_a_second_call)
{
	int id = three_pages_at(AT), other = three_pages_at(ELSEWHERE);
	MUST(munmap(AT + PAGE, 2 * PAGE));
	move_page(ELSEWHERE + PAGE, AT + PAGE);
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
	CHECK(unmapped(AT, 1) && WRITABLE(AT + PAGE));
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 2));
	TEST_SUCC(shmdt(ELSEWHERE));
	CHECK_EQ(nattch_of(other), 0);
}

TEST(a_second_attach_of_the_same_segment_at_a_fitting_offset_is_another_attach)
{
	int id = three_pages_at(AT);
	attach_at(id, ELSEWHERE);
	MUST(munmap(AT + PAGE, 2 * PAGE));
	move_page(ELSEWHERE + PAGE, AT + PAGE);
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 1) && WRITABLE(AT + PAGE));
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 2));
	TEST_SUCC(shmdt(ELSEWHERE));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_sealed_attach_reports_success_and_stays)
{
	int id = three_pages_at(AT);
	if (syscall(SYS_MSEAL, AT, 3 * PAGE, 0) < 0)
		SKIP("mseal: %s", errno_name(errno));
	TEST_RES(shmdt(AT), _ret == 0);
	CHECK(WRITABLE(AT));
	CHECK_EQ(nattch_of(id), 1);
}

TEST(a_child_detaches_what_it_inherited_and_the_parent_keeps_its_own)
{
	int id = three_pages_at(AT);
	IN_CHILD {
		CHECK_EQ(nattch_of(id), 2);
		TEST_SUCC(shmdt(AT));
		CHECK_EQ(nattch_of(id), 1);
		TEST_ERRNO(shmdt(AT), EINVAL);
	}
	CHECK(WRITABLE(AT));
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(an_attach_of_another_namespace_can_be_detached)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("a process under the shim stays in one namespace");
	three_pages_at(AT);
	struct shmid_ds d;
	fresh_namespace();
	TEST_ERRNO(shmctl(0, IPC_STAT, &d), EINVAL);
	CHECK(WRITABLE(AT));
	TEST_SUCC(shmdt(AT));
	CHECK(unmapped(AT, 3));
}

TEST(a_failed_detach_changes_nothing)
{
	int id = three_pages_at(AT);
	struct shmid_ds before = stat_of(id), after;
	next_second();
	TEST_ERRNO(shmdt(AT + PAGE), EINVAL);
	TEST_ERRNO(shmdt(AT + 1), EINVAL);
	after = stat_of(id);
	CHECK_SAME(before, after);
}
