/*
 * Memory that a successful shmget has promised is there when it is touched; what
 * cannot be promised is refused by shmget. On a file system of 64 MiB, the size
 * containers give /dev/shm.
 */
#include "smalltmpfs.h"

enum { MIB = 1 << 20, ROOM = 64 };

static void fill(char *p, size_t size) { memset(p, 0x5a, size); }
static bool filled(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE)
		if (p[i] != 0x5a || p[i + PAGE - 1] != 0x5a)
			return false;
	return true;
}

TEST(a_segment_that_does_not_fit_is_refused_by_shmget)
{
	small_tmpfs("size=64m,mode=0700");
	TEST_ERRNO(shmget(0x1b1, 100 * MIB, IPC_CREAT | 0600), ENOMEM);
	TEST_ERRNO(shmget(IPC_PRIVATE, ROOM * MIB + 1, 0600), ENOMEM);
	TEST_ERRNO(shmget(0x1b1, 0, 0), ENOENT);
	CHECK_EQ(segments_in_all(), 0);
	CHECK_EQ(files_of_segments(), 0);
	/* And takes no index: the next one is the first. */
	TEST_RES(shmget(0x1b1, MIB, IPC_CREAT | 0600), index_of(_ret) == 0);
}

TEST(a_segment_that_does_not_fit_is_made_without_a_promise)
{
	small_tmpfs("size=64m,mode=0700");
	int id = MUST(shmget(0x1b2, 100 * MIB, IPC_CREAT | SHM_NORESERVE | 0600));
	char *p = attach(id);
	CHECK_EQ(stat_of(id).shm_segsz, 100 * MIB);
	fill(p, 10 * MIB);
	CHECK(filled(p, 10 * MIB));
	CHECK(WRITABLE(p + 100 * MIB - 1));
	CHECK_EQ(files_of_segments(), 1);
	MUST(shmdt(p));
	MUST(shmctl(id, IPC_RMID, NULL));
}

TEST(everything_promised_can_be_touched)
{
	/* As many segments as are granted, all filled, by several processes. */
	small_tmpfs("size=64m,mode=0700");
	int id[16], n = 0;
	while (n < 16 && (id[n] = shmget(IPC_PRIVATE, 10 * MIB, 0600)) >= 0)
		n++;
	CHECK_EQ(errno, ENOMEM);
	CHECK(n >= 4 && n <= 6);
	CHECK_EQ(segments_in_all(), n);
	for (int i = 0; i < n; i++)
		IN_CHILD fill(attach(id[i]), 10 * MIB);
	TEST_ERRNO(shmget(IPC_PRIVATE, 10 * MIB, 0600), ENOMEM);
	for (int i = 0; i < n; i++)
		CHECK(filled(attach(id[i]), 10 * MIB));
}

TEST(small_segments_are_promised_by_whole_pages)
{
	/* Segments of one byte take a page each. */
	small_tmpfs("size=64m,mode=0700");
	char *p[1000];
	int n = 0;
	int big = MUST(shmget(IPC_PRIVATE, 56 * MIB, 0600));
	while (n < 1000) {
		int id = shmget(IPC_PRIVATE, 1, 0600);
		if (id < 0)
			break;
		p[n++] = attach(id);
	}
	for (int i = 0; i < n; i++)
		fill(p[i], PAGE);
	fill(attach(big), 56 * MIB);
	CHECK(n > 100);
	CHECK_EQ(files_of_segments(), n + 1);
	for (int i = 0; i < n; i++)
		CHECK(filled(p[i], PAGE));
}

TEST(after_a_removal_there_is_room_again)
{
	small_tmpfs("size=64m,mode=0700");
	for (int i = 0; i < 5; i++) {
		int id = MUST(shmget(IPC_PRIVATE, 40 * MIB, 0600));
		TEST_ERRNO(shmget(IPC_PRIVATE, 40 * MIB, 0600), ENOMEM);
		char *p = attach(id);
		fill(p, 40 * MIB);
		MUST(shmctl(id, IPC_RMID, NULL));
		/* Attached still: its room is not free yet. */
		TEST_ERRNO(shmget(IPC_PRIVATE, 40 * MIB, 0600), ENOMEM);
		MUST(shmdt(p));
	}
	CHECK_EQ(segments_in_all(), 0);
}

TEST(the_death_of_the_last_user_makes_room_for_the_next)
{
	small_tmpfs("size=64m,mode=0700");
	for (int i = 0; i < 3; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			int id = MUST(shmget(IPC_PRIVATE, 40 * MIB, 0600));
			char *p = attach(id);
			MUST(shmctl(id, IPC_RMID, NULL));
			fill(p, 40 * MIB);
			kill(getpid(), SIGKILL);
		}
		wait_for(pid);
		/* Nobody has asked since: shmget itself has to find out. */
		TEST_SUCC(shmget(0x1b3 + i, 40 * MIB, IPC_CREAT | 0600));
		MUST(shmctl(shmget(0x1b3 + i, 0, 0), IPC_RMID, NULL));
	}
	CHECK_EQ(segments_in_all(), 0);
}

TEST(memory_is_given_back_when_everything_is_removed)
{
	small_tmpfs("size=64m,mode=0700");
	MUST(shmctl(new_segment(PAGE), IPC_RMID, NULL)); /* the namespace itself */
	unsigned long long before = used();
	for (int round = 0; round < 3; round++) {
		int id[5];
		for (int i = 0; i < 5; i++) {
			id[i] = new_segment(8 * MIB);
			fill(attach(id[i]), 8 * MIB);
		}
		CHECK(used() >= before + 40 * MIB);
		char *at[8];
		CHECK_EQ(attaches_in_maps(at, 8), 5);
		for (int i = 0; i < 5; i++) {
			if (i % 2)
				MUST(shmdt(at[i]));
			MUST(shmctl(id[i], IPC_RMID, NULL));
			if (!(i % 2))
				MUST(shmdt(at[i]));
		}
		for (int n = attaches_in_maps(at, 8); n > 0; n--)
			MUST(shmdt(at[n - 1]));
		CHECK_EQ(used(), before);
		CHECK_EQ(files_of_segments(), 0);
	}
}

TEST(memory_is_given_back_when_its_users_are_killed)
{
	small_tmpfs("size=64m,mode=0700");
	MUST(shmctl(new_segment(PAGE), IPC_RMID, NULL));
	unsigned long long before = used();
	for (int round = 0; round < 5; round++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			for (int i = 0; i < 3; i++) {
				int id = new_segment(8 * MIB);
				fill(attach(id), 8 * MIB);
				MUST(shmctl(id, IPC_RMID, NULL));
			}
			kill(getpid(), SIGKILL);
		}
		wait_for(pid);
		CHECK_EQ(segments_in_all(), 0);
		CHECK_EQ(files_of_segments(), 0);
		CHECK(used() <= before + 16 * PAGE); /* not megabytes: the books of a process at most */
	}
}

TEST(an_untouched_segment_takes_no_memory)
{
	small_tmpfs("size=64m,mode=0700");
	new_segment(PAGE);
	unsigned long long before = used();
	int id = new_segment(40 * MIB);
	attach(id);
	CHECK(used() < before + MIB);
	struct shm_info info;
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	CHECK_EQ(info.shm_rss, 0);
	CHECK_EQ(info.shm_tot, 40 * MIB / PAGE + 1);
}

TEST(a_file_system_that_somebody_else_has_filled_is_refused_and_does_no_damage)
{
	small_tmpfs("size=64m,mode=0700");
	int id = MUST(shmget(0x1b4, 8 * MIB, IPC_CREAT | 0600));
	char *p = attach(id);
	fill(p, 8 * MIB);
	int fd = fill_up();
	CHECK_EQ(errno, ENOSPC);
	/* Not a small one: that may be granted from what was known a moment ago. */
	TEST_ERRNO(shmget(0x1b5, 8 * MIB, IPC_CREAT | 0600), ENOMEM);
	TEST_ERRNO(shmget(0x1b5, 0, 0), ENOENT);
	/* What is there goes on as before. */
	CHECK_EQ(shmget(0x1b4, 0, 0), id);
	char *q = attach(id);
	CHECK(filled(q, 8 * MIB));
	CHECK_EQ(nattch_of(id), 2);
	IN_CHILD
	{
		CHECK_EQ(nattch_of(id), 4);
		TEST_SUCC(shmdt(q));
	}
	CHECK_EQ(nattch_of(id), 2);
	TEST_SUCC(shmdt(q));
	give_back(fd);
	TEST_SUCC(shmget(0x1b5, 8 * MIB, IPC_CREAT | 0600));
	CHECK(filled(p, 8 * MIB));
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	TEST_SUCC(shmdt(p));
	CHECK_EQ(segments_in_all(), 1);
}

TEST(a_process_that_arrives_when_the_file_system_is_full_is_refused_or_served)
{
	small_tmpfs("size=64m,mode=0700");
	EXPECT_STEPS("get 0\nat 0\n", "get,0x1b6,4096,01600", "at", "put,kept");
	int fd = fill_up();
	static struct run r;
	STEPS(&r, "get,0x1b6,0,0", "at", "say,alive");
	CHECK_EQ(r.status, 0);
	CHECK(strstr(r.out, "alive") != NULL);
	CHECK(strstr(r.out, "get 0\nat 0\n") || strstr(r.out, "ENOMEM"));
	give_back(fd);
	EXPECT_STEPS("get 0\nat 0\nshow kept\ncount 1\n", "get,0x1b6,0,0", "at", "show", "count");
}

TEST(a_file_system_with_no_room_for_a_namespace_is_refused)
{
	static const char *const tiny[] = { "size=4k,mode=0700", "size=64k,mode=0700", "size=1m,nr_inodes=3,mode=0700",
					    "size=1m,nr_inodes=1,mode=0700" };
	SHIM_ONLY();
	for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++)
		IN_CHILD
		{
			char dir[PATH_MAX];
			const char *was = getenv("SHMSHIM_DIR");
			snprintf(dir, sizeof dir, "%s/ns.%zu", was, i);
			MUST(mkdir(dir, 0700));
			setenv("SHMSHIM_DIR", dir, 1);
			small_tmpfs(tiny[i]);
			errno = 0;
			int id = shmget(IPC_PRIVATE, PAGE, 0600);
			COUNT_CHECK();
			if (id < 0 && !in_the_manual("shmget", errno))
				FAIL("%s: %s", tiny[i], errno_name(errno));
			CHECK(id < 0 ? files_of_segments() <= 0 : files_of_segments() == 1);
			if (id >= 0)
				CHECK(WRITABLE(attach(id)));
		}
}

TEST(a_file_system_without_inodes_left_refuses_and_recovers)
{
	small_tmpfs("size=64m,nr_inodes=40,mode=0700");
	int id[64], n = 0;
	while (n < 64 && (id[n] = shmget(IPC_PRIVATE, PAGE, 0600)) >= 0)
		n++;
	CHECK(in_the_manual("shmget", errno));
	CHECK(n > 10 && n < 40);
	CHECK_EQ(segments_in_all(), n);
	for (int i = 0; i < n; i++)
		TEST_SUCC(shmctl(id[i], IPC_RMID, NULL));
	CHECK_EQ(segments_in_all(), 0);
	CHECK_LIFE(0x1b7);
}
