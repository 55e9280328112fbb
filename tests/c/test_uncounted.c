/*
 * A child that cannot be entered into the books, because there is no room for another entry, is not counted. It uses
 * and detaches what it has inherited as if it were, and takes nothing off anybody else's count.
 */
#include "smalltmpfs.h"

enum { MANY = 128 }; /* as many entries as there is room for at first */
static int id[MANY];
static char *at[MANY];

static void attach_many(int from, int count)
{
	for (int i = from; i < count; i++) {
		id[i] = new_segment(PAGE);
		at[i] = attach(id[i]);
		at[i][0] = (char)(i + 1);
	}
}

static void check_counts(int count, int expected)
{
	for (int i = 0; i < count; i++)
		CHECK_EQ(nattch_of(id[i]), expected);
}

TEST(a_child_for_whose_attaches_there_is_no_room_takes_nothing_off_its_parents)
{
	char options[64];
	snprintf(options, sizeof options, "size=%ld,mode=0700", 1024l * PAGE);
	small_tmpfs(options);
	attach_many(0, 10);
	/* What a child was counted in before must not be taken for a later one's. */
	IN_CHILD MUST(shmdt(at[0]));
	for (int i = 0; i < 10; i++)
		CHECK_EQ(nattch_of(id[i]), 1);
	attach_many(10, MANY);
	int fd = fill_up();
	for (int round = 0; round < 2; round++) {
		IN_CHILD
		{
			for (int i = 0; i < MANY; i++) {
				CHECK_EQ(at[i][0], (char)(i + 1));
				if (i % 2)
					TEST_SUCC(shmdt(at[i]));
				else
					TEST_SUCC(munmap(at[i], PAGE));
				CHECK(!READABLE(at[i]));
			}
			TEST_ERRNO(shmdt(at[0]), EINVAL);
		}
		check_counts(MANY, 1);
	}
	for (int i = 0; i < MANY; i++)
		MUST(shmctl(id[i], IPC_RMID, NULL));
	IN_CHILD
	{
		for (int i = 0; i < MANY; i++)
			TEST_SUCC(shmdt(at[i]));
	}
	for (int i = 0; i < MANY; i++) {
		CHECK(exists(id[i]));
		CHECK_EQ(at[i][0], (char)(i + 1));
		TEST_SUCC(shmdt(at[i]));
		CHECK(!exists(id[i]));
	}
	give_back(fd);
	CHECK_LIFE(0x1b8);
	CHECK_EQ(segments_in_all(), 0);
}

TEST(a_child_that_cannot_be_registered_detaches_what_it_has_inherited)
{
	small_tmpfs("size=4m,nr_inodes=16,mode=0700");
	attach_many(0, 4);
	char path[PATH_MAX + 32];
	for (int i = 0;; i++) {
		snprintf(path, sizeof path, "%s/filler%d", base, i);
		int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	CHECK_EQ(errno, ENOSPC);
	IN_CHILD
	{
		char *end = at[3];
		TEST_ERRNO(shmat(id[0], NULL, 0), ENOMEM);
		check_counts(4, 1);
		TEST_SUCC(shmdt(at[0]));
		CHECK(!READABLE(at[0]));
		TEST_ERRNO(shmdt(at[0]), EINVAL);
		TEST_SUCC(munmap(at[1], PAGE));
		TEST_ERRNO(shmdt(at[1]), EINVAL);
		CHECK(mmap(at[2], PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at[2]);
		TEST_ERRNO(shmdt(at[2]), EINVAL);
		CHECK(READABLE(at[2]));
		at[3] = MUST(mremap(at[3], PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at[0]));
		CHECK_EQ(at[3][0], 4);
		TEST_ERRNO(shmdt(end), EINVAL);
		/* With room again it is counted for what it has still. */
		snprintf(path, sizeof path, "%s/filler0", base);
		MUST(unlink(path));
		char *again = attach(id[0]);
		CHECK_EQ(nattch_of(id[0]), 2);
		CHECK_EQ(nattch_of(id[1]), 1);
		CHECK_EQ(nattch_of(id[3]), 2);
		TEST_SUCC(shmdt(again));
		TEST_SUCC(shmdt(at[3]));
		CHECK_EQ(nattch_of(id[3]), 1);
	}
	check_counts(4, 1);
}
