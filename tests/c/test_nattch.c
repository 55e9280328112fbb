/*
 * nattch is the number of mappings of a segment in all processes: what
 * munmap, mmap over it and mremap do to it. (Mappings split by mprotect, mlock
 * or madvise count on the kernel only; they are not tested here.)
 */
#include "shmtest.h"

#define AT FREE_AREA
#define ELSEWHERE (FREE_AREA + 0x10000000)

static int three_pages(void)
{
	int id = new_segment(3 * PAGE);
	attach_at(id, AT);
	return id;
}

static void cover(char *at, size_t len)
{
	MUST(mmap(at, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

TEST(attach_and_detach_count_one_each)
{
	int id = new_segment(3 * PAGE);
	CHECK_EQ(nattch_of(id), 0);
	char *p = attach(id), *q = (char *)MUST(shmat(id, NULL, SHM_RDONLY));
	CHECK_EQ(nattch_of(id), 2);
	MUST(shmdt(p));
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmdt(q));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(munmap_of_a_whole_attach_detaches_it)
{
	int id = three_pages();
	MUST(munmap(AT, 3 * PAGE));
	CHECK_EQ(nattch_of(id), 0);
	attach_at(id, AT);
	MUST(munmap(AT - PAGE, 9 * PAGE)); /* and more */
	CHECK_EQ(nattch_of(id), 0);
}

TEST(munmap_of_a_last_partial_page_unmaps_the_page)
{
	int id = new_segment(IN_TWO_PAGES);
	attach_at(id, AT);
	MUST(munmap(AT, IN_TWO_PAGES)); /* lengths are rounded up */
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(touch(AT + PAGE, false), SIGSEGV);
}

TEST(munmap_at_an_end_leaves_the_count)
{
	int id = three_pages();
	MUST(munmap(AT, PAGE));
	CHECK_EQ(nattch_of(id), 1);
	MUST(munmap(AT + 2 * PAGE, PAGE));
	CHECK_EQ(nattch_of(id), 1);
	MUST(munmap(AT + PAGE, PAGE));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(munmap_in_the_middle_counts_one_more)
{
	int id = three_pages();
	MUST(munmap(AT + PAGE, PAGE));
	CHECK_EQ(nattch_of(id), 2);
	MUST(munmap(AT, PAGE));
	CHECK_EQ(nattch_of(id), 1);
	MUST(munmap(AT, 3 * PAGE));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_munmap_that_fails_changes_nothing)
{
	int id = three_pages();
	TEST_ERRNO(munmap(AT + 1, PAGE), EINVAL);
	TEST_ERRNO(munmap(AT, 0), EINVAL);
	TEST_ERRNO(munmap(AT, (size_t)-1), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(WRITABLE(AT));
}

TEST(munmap_of_unrelated_memory_leaves_the_count)
{
	int id = three_pages();
	cover(ELSEWHERE, PAGE);
	MUST(munmap(ELSEWHERE, PAGE));
	MUST(munmap(AT + 3 * PAGE, PAGE));
	MUST(munmap(AT - PAGE, PAGE));
	CHECK_EQ(nattch_of(id), 1);
}

TEST(munmap_across_two_segments_counts_each_for_itself)
{
	int a = new_segment(2 * PAGE), b = new_segment(3 * PAGE);
	attach_at(a, AT);
	attach_at(b, AT + 2 * PAGE);
	MUST(munmap(AT + PAGE, 2 * PAGE));
	CHECK_EQ(nattch_of(a), 1);
	CHECK_EQ(nattch_of(b), 1);
	MUST(munmap(AT, 4 * PAGE));
	CHECK_EQ(nattch_of(a), 0);
	CHECK_EQ(nattch_of(b), 1);
	TEST_SUCC(shmdt(AT + 2 * PAGE));
	CHECK_EQ(nattch_of(b), 0);
}

TEST(one_munmap_over_many_attaches_detaches_them_all)
{
	int id = new_segment(PAGE);
	for (int i = 0; i < 20; i++)
		attach_at(id, AT + 2 * i * PAGE);
	CHECK_EQ(nattch_of(id), 20);
	MUST(munmap(AT + 10 * PAGE, 20 * PAGE));
	CHECK_EQ(nattch_of(id), 10);
	MUST(munmap(AT, 100 * PAGE));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(covering_counts_like_unmapping)
{
	int id = three_pages();
	cover(AT, PAGE);
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmdt(AT));
	attach_at(id, ELSEWHERE);
	cover(ELSEWHERE + PAGE, PAGE);
	CHECK_EQ(nattch_of(id), 2);
	cover(ELSEWHERE, 3 * PAGE);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(covering_by_a_file_counts_too)
{
	int id = three_pages(), fd = MUST(open("/proc/self/exe", O_RDONLY));
	MUST(mmap(AT, 3 * PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0));
	CHECK_EQ(nattch_of(id), 0);
	TEST_ERRNO(shmdt(AT), EINVAL);
}

TEST(a_mapping_that_fails_or_goes_elsewhere_leaves_the_count)
{
	int id = three_pages();
	TEST_ERRNO(mmap(AT, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0), EEXIST);
	TEST_ERRNO(mmap(AT, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, -1, 0), EBADF);
	char *p = mmap(AT, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != AT && p != MAP_FAILED);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(WRITABLE(AT));
}

TEST(shm_remap_of_another_segment_over_a_part)
{
	int id = three_pages(), other = new_segment(PAGE);
	MUST(shmat(other, AT, SHM_REMAP));
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(nattch_of(other), 1);
	MUST(shmdt(AT));
	MUST(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
	attach_at(id, AT);
	MUST(shmat(other, AT + PAGE, SHM_REMAP));
	CHECK_EQ(nattch_of(id), 2);
	CHECK_EQ(nattch_of(other), 1);
	MUST(shmdt(AT + PAGE));
	CHECK_EQ(nattch_of(other), 0);
	CHECK_EQ(nattch_of(id), 2);
	MUST(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(shm_remap_over_a_whole_attach_replaces_it)
{
	int id = three_pages(), other = new_segment(3 * PAGE);
	MUST(shmat(other, AT, SHM_REMAP));
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(nattch_of(other), 1);
	MUST(shmdt(AT));
	CHECK_EQ(nattch_of(other), 0);
}

TEST(shm_remap_of_a_segment_over_itself_leaves_the_count)
{
	int id = three_pages();
	AT[5] = 5;
	MUST(shmctl(id, IPC_RMID, NULL));
	TEST_RES(shmat(id, AT, SHM_REMAP), _ret == (long)AT);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(AT[5], 5);
	MUST(shmdt(AT));
	CHECK(!exists(id));
}

TEST(mremap_that_moves_leaves_the_count)
{
	int id = three_pages();
	MUST(mremap(AT, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE));
	CHECK_EQ(nattch_of(id), 1);
	MUST(mremap(ELSEWHERE, 3 * PAGE, 6 * PAGE, MREMAP_MAYMOVE));
	CHECK_EQ(nattch_of(id), 1);
}

TEST(mremap_that_shrinks_leaves_the_count)
{
	int id = three_pages();
	MUST(mremap(AT, 3 * PAGE, PAGE, 0));
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(touch(AT + PAGE, false), SIGSEGV);
	MUST(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(mremap_of_a_middle_page_makes_three)
{
	int id = three_pages();
	MUST(mremap(AT + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE));
	CHECK_EQ(nattch_of(id), 3);
	MUST(munmap(ELSEWHERE, PAGE));
	CHECK_EQ(nattch_of(id), 2);
	MUST(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(mremap_from_size_0_makes_a_second_view)
{
	int id = three_pages();
	char *view = mremap(AT, 0, 3 * PAGE, MREMAP_MAYMOVE);
	REQUIRE(view != MAP_FAILED);
	CHECK_EQ(nattch_of(id), 2);
	MUST(munmap(view, 3 * PAGE));
	CHECK_EQ(nattch_of(id), 1);
}

TEST(mremap_that_keeps_the_old_place_counts_one_more)
{
	int id = three_pages();
	/* The last argument is a hint here; some C libraries pass on what the register holds. */
	char *view = mremap(AT, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (view == MAP_FAILED && errno == EINVAL)
		SKIP("this kernel knows MREMAP_DONTUNMAP for private memory only");
	CHECK_EQ(nattch_of(id), 2);
	TEST_SUCC(shmdt(view));
	TEST_SUCC(shmdt(AT));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(mremap_onto_another_attach_replaces_that)
{
	int id = three_pages(), other = new_segment(3 * PAGE);
	attach_at(other, ELSEWHERE);
	MUST(mremap(AT, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE));
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(nattch_of(other), 0);
	TEST_SUCC(shmdt(ELSEWHERE));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(an_mremap_that_fails_changes_nothing)
{
	int id = three_pages();
	TEST_ERRNO(mremap(AT, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE + 1), EINVAL);
	cover(AT + 3 * PAGE, PAGE);
	TEST_ERRNO(mremap(AT, 3 * PAGE, 4 * PAGE, 0), ENOMEM);
	TEST_ERRNO(mremap(AT, 3 * PAGE, 0, 0), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(AT));
}

TEST(the_last_piece_of_a_removed_segment_destroys_it)
{
	int id = three_pages();
	MUST(shmctl(id, IPC_RMID, NULL));
	MUST(munmap(AT, PAGE));
	CHECK(exists(id));
	cover(AT + PAGE, PAGE);
	CHECK(exists(id));
	MUST(munmap(AT + 2 * PAGE, PAGE));
	CHECK(!exists(id));
}

/* ------------------------------------------- what fails and still unmaps */

TEST(an_mremap_onto_an_attach_from_where_nothing_is_fails_and_detaches_nothing)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	TEST_ERRNO(mremap(UNMAPPED, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p), EFAULT);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(READABLE(p));
	TEST_SUCC(shmdt(p));
}

TEST(an_mremap_of_nothing_onto_itself_fails_and_detaches)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	TEST_ERRNO(mremap(p, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p), EFAULT);
	CHECK_EQ(nattch_of(id), 0);
	TEST_ERRNO(shmdt(p), EINVAL);
}

TEST(an_mremap_that_is_refused_outright_detaches_nothing)
{
	int id = new_segment(2 * PAGE);
	char *p = attach(id);
	TEST_ERRNO(mremap(p, PAGE, 0, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE), EINVAL);
	TEST_ERRNO(mremap(p, PAGE, PAGE, MREMAP_FIXED, UNMAPPED), EINVAL);
	TEST_ERRNO(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(WRITABLE(p));
	TEST_SUCC(shmdt(p));
}
