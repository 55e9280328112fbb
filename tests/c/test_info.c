/*
 * SHM_INFO: how many segments, how many pages they span, how many of those are
 * in memory.
 */
#include "shmtest.h"

static struct shm_info info(void)
{
	struct shm_info i;
	memset(&i, 0xaa, sizeof i);
	await_next_tick();
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&i));
	return i;
}

#define CHECK_INFO(used, total, resident)                                                          \
	do {                                                                                       \
		struct shm_info i_ = info();                                                       \
		CHECK_EQ(i_.used_ids, used);                                                       \
		CHECK_EQ(i_.shm_tot, total);                                                       \
		CHECK_EQ(i_.shm_rss, resident);                                                    \
		CHECK_EQ(i_.shm_swp, 0);                                                           \
		CHECK_EQ(i_.swap_attempts, 0);                                                     \
		CHECK_EQ(i_.swap_successes, 0);                                                    \
	} while (0)

TEST(an_empty_namespace_is_all_zero)
{
	CHECK_INFO(0, 0, 0);
	TEST_RES(shmctl(0, SHM_INFO, (struct shmid_ds *)&(struct shm_info){ 0 }), _ret == 0);
}

TEST(pages_are_counted_when_first_touched_by_reading_or_writing)
{
	need_tmpfs();
	int id = new_segment(PAGE + IN_TWO_PAGES);
	CHECK_INFO(1, 3, 0);
	volatile char *p = attach(id);
	CHECK_INFO(1, 3, 0);
	char c = p[0];
	CHECK_INFO(1, 3, 1);
	p[1] = c;
	CHECK_INFO(1, 3, 1);
	p[PAGE] = 1;
	CHECK_INFO(1, 3, 2);
	MUST(shmdt((void *)p));
	CHECK_INFO(1, 3, 2); /* memory stays when nobody is attached */
	p = attach(id);
	p[2 * PAGE + 808] = p[PAGE];
	CHECK_INFO(1, 3, 3);
}

TEST(all_segments_are_summed_each_rounded_up)
{
	size_t sizes[] = { 1, PAGE, PAGE + 1, 3 * PAGE };
	int id[4];
	for (int i = 0; i < 4; i++)
		id[i] = new_segment(sizes[i]);
	CHECK_INFO(4, 1 + 1 + 2 + 3, 0);
	*attach(id[0]) = 1;
	memset(attach(id[3]), 1, 3 * PAGE);
	CHECK_INFO(4, 7, 4);
	MUST(shmctl(id[2], IPC_RMID, NULL));
	CHECK_INFO(3, 5, 4);
}

TEST(a_removed_segment_counts_until_it_is_destroyed)
{
	int id = new_segment(2 * PAGE);
	char *p = attach(id);
	memset(p, 1, 2 * PAGE);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK_INFO(1, 2, 2);
	MUST(shmdt(p));
	CHECK_INFO(0, 0, 0);
}

TEST(what_other_processes_touch_is_counted)
{
	int id = new_segment(4 * PAGE);
	IN_CHILD {
		char *p = attach(id);
		p[0] = p[PAGE] = 1;
		CHECK_INFO(1, 4, 2);
	}
	CHECK_INFO(1, 4, 2);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK_INFO(0, 0, 0);
}

TEST(both_informing_commands_return_the_highest_index_in_use)
{
	char buf[256];
	for (int i = 0; i < 10; i++)
		new_segment(1);
	TEST_RES(shmctl(0, IPC_INFO, (struct shmid_ds *)buf), _ret == 9);
	TEST_RES(shmctl(0, SHM_INFO, (struct shmid_ds *)buf), _ret == 9);
	MUST(shmctl(id_at(9), IPC_RMID, NULL));
	MUST(shmctl(id_at(7), IPC_RMID, NULL));
	TEST_RES(shmctl(0, IPC_INFO, (struct shmid_ds *)buf), _ret == 8);
	TEST_RES(shmctl(0, SHM_INFO, (struct shmid_ds *)buf), _ret == 8);
}

/* How ipcs(1) lists them: every index up to the highest. */
TEST(walking_the_indices_finds_every_segment_once)
{
	struct shmid_ds d;
	char buf[256];
	int found = 0;
	for (int i = 0; i < 30; i++)
		MUST(shmget(1000 + i, 1 + i, IPC_CREAT | 0600));
	for (int i = 0; i < 30; i += 3)
		MUST(shmctl(id_at(i), IPC_RMID, NULL));
	int highest = MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)buf));
	CHECK_EQ(highest, 29);
	for (int i = 0; i <= highest; i++) {
		int id = shmctl(i, SHM_STAT, &d);
		if (id < 0) {
			CHECK_EQ(errno, EINVAL);
			CHECK_EQ(i % 3, 0);
			continue;
		}
		CHECK_EQ(index_of(id), i);
		CHECK_EQ(d.shm_perm.__key, 1000 + i);
		CHECK_EQ(d.shm_segsz, 1 + i);
		found++;
	}
	CHECK_EQ(found, 20);
}

TEST_SEVERAL_UIDS(everyone_is_informed_about_every_segment)
{
	int id = MUST(shmget(IPC_PRIVATE, 2 * PAGE, 0000));
	*attach(id) = 1;
	IN_CHILD {
		drop_to(54001, 54001);
		CHECK_INFO(1, 2, 1);
		struct shminfo limits;
		TEST_RES(shmctl(0, IPC_INFO, (struct shmid_ds *)&limits), _ret == 0);
		CHECK_EQ(limits.shmmni, 4096);
	}
}
