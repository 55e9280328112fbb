/*
 * remap_file_pages(2) on an attach. The kernel counts the piece as an attach of its own, and fails (and unmaps) on a
 * segment that is removed already. The library does not look at the call: it counts the attach once, as before. What is
 * held here is what both promise: the piece shows the page that was asked for, and nothing of it outlives the process.
 */
#include "proctest.h"

TEST(the_piece_shows_the_page_asked_for_and_the_segment_goes_with_its_last_user)
{
	int id = new_segment(3 * PAGE);
	char *observer = attach(id);
	IN_CHILD
	{
		char *p = attach(id);
		strcpy(p + 2 * PAGE, "third");
		MUST(remap_file_pages(p, PAGE, 0, 2, 0));
		CHECK_STR(p, "third");
		strcpy(p, "through the first");
		CHECK_STR(p + 2 * PAGE, "through the first");
		CHECK_STR(observer + 2 * PAGE, "through the first");
	}
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmctl(id, IPC_RMID, NULL));
	TEST_SUCC(shmdt(observer));
	CHECK(!exists(id));
	CHECK_EQ(segments_in_all(), 0);
}

TEST(an_attach_of_which_a_piece_was_remapped_can_be_detached)
{
	int id = new_segment(3 * PAGE);
	IN_CHILD
	{
		char *p = attach(id);
		MUST(remap_file_pages(p + PAGE, PAGE, 0, 0, 0));
		TEST_SUCC(shmdt(p));
		CHECK(nattch_of(id) <= 1); /* the kernel leaves the piece and counts it */
		CHECK(!READABLE(p));
	}
	CHECK_EQ(nattch_of(id), 0);
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	CHECK(!exists(id));
}

TEST(of_a_removed_segment_nothing_is_left_either)
{
	int id = new_segment(PAGE);
	IN_CHILD
	{
		char *p = attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		CHECK_EQ(remap_file_pages(p, PAGE, 0, 0, 0), under_shim() ? 0 : -1);
	}
	CHECK(!exists(id));
	CHECK_EQ(segments_in_all(), 0);
}
