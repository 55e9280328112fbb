/*
 * The limits of a namespace and shmget: which of them is asked first, what
 * counts against them, and what they leave alone.
 */
#include "shmtest.h"

#define BAD_PAGE_SIZE (SHM_HUGETLB | 13 << 26) /* 8 KiB: no machine has it */

TEST(a_new_namespace_starts_with_the_defaults)
{
	CHECK_EQ(limit("shmmax"), 18446744073692774399ull);
	CHECK_EQ(limit("shmall"), 18446744073692774399ull);
	CHECK_EQ(limit("shmmni"), 4096);
	struct shminfo info;
	MUST(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
	/* To a program of 32 bits the one is clipped, the other cut off. */
	CHECK_EQ(info.shmmax, sizeof(long) == 8 ? 18446744073692774399ull : 0x7fffffff);
	CHECK_EQ(info.shmmin, 1);
	CHECK_EQ(info.shmmni, 4096);
	CHECK_EQ(info.shmseg, 4096);
	CHECK_EQ(info.shmall, (unsigned long)18446744073692774399ull);
}

TEST(limits_that_were_set_are_reported_and_shmseg_follows_shmmni)
{
	set_limit("shmmax", "123456789");
	set_limit("shmall", "98765");
	set_limit("shmmni", "77");
	struct shminfo info;
	MUST(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
	CHECK_EQ(info.shmmax, 123456789);
	CHECK_EQ(info.shmall, 98765);
	CHECK_EQ(info.shmmni, 77);
	CHECK_EQ(info.shmseg, 77);
	CHECK_EQ(info.shmmin, 1);
	CHECK_EQ(limit("shmmax"), 123456789);
	CHECK_EQ(limit("shmall"), 98765);
	CHECK_EQ(limit("shmmni"), 77);
}

TEST(shmmax_bounds_new_segments_and_leaves_larger_old_ones_alone)
{
	int id = MUST(shmget(0x31, 8192, IPC_CREAT | 0600));
	set_limit("shmmax", "4096");
	struct get_case t[] = {
		{ "one byte above", 0x32, 4097, IPC_CREAT | 0600, EINVAL },
		{ "private, above", IPC_PRIVATE, 4097, 0600, EINVAL },
		{ "exactly shmmax", 0x33, 4096, IPC_CREAT | 0600, 0 },
		{ "an old, larger one", 0x31, 8192, 0, 0 },
		{ "an old one, IPC_CREAT", 0x31, 8192, IPC_CREAT | 0600, 0 },
	};
	GET_CASES(t);
	attach(id)[8191] = 1;
	set_limit("shmmax", "0");
	TEST_ERRNO(shmget(0x34, 1, IPC_CREAT | 0600), EINVAL);
}

TEST(shmall_counts_whole_pages_of_all_segments)
{
	int first = MUST(shmget(0x31, 2 * PAGE + 1, IPC_CREAT | 0600)); /* 3 pages */
	set_limit("shmall", "5");
	struct get_case t[] = {
		{ "3 + 3 pages", 0x32, 2 * PAGE + 1, IPC_CREAT | 0600, ENOSPC },
		{ "3 + 2 pages", 0x33, PAGE + 1, IPC_CREAT | 0600, 0 },
		{ "full, one byte", 0x34, 1, IPC_CREAT | 0600, ENOSPC },
		{ "full, opening", 0x31, 1, IPC_CREAT | 0600, 0 },
		{ "full, not reserved", 0x34, 1, IPC_CREAT | SHM_NORESERVE | 0600, ENOSPC },
	};
	GET_CASES(t);
	MUST(shmctl(first, IPC_RMID, NULL));
	TEST_SUCC(shmget(0x35, 3 * PAGE, IPC_CREAT | 0600));
	TEST_ERRNO(shmget(0x36, 1, IPC_CREAT | 0600), ENOSPC);
}

TEST(shmall_is_asked_right_after_the_size)
{
	MUST(shmget(0x31, 1, IPC_CREAT | 0600));
	set_limit("shmall", "1");
	set_limit("shmmax", "1048576");
	struct get_case t[] = {
		{ "size 0 first", 0x35, 0, IPC_CREAT | 0600, EINVAL },
		{ "shmmax first", 0x35, 1048577, IPC_CREAT | 0600, EINVAL },
		{ "before the huge page size", 0x35, 1, BAD_PAGE_SIZE | IPC_CREAT | 0600, ENOSPC },
		{ "an absent key is only absent", 0x35, 1, 0600, ENOENT },
		{ "private, size 0", IPC_PRIVATE, 0, 0600, EINVAL },
	};
	GET_CASES(t);
	set_limit("shmmni", "1");
	TEST_ERRNO(shmget(0x35, 1, IPC_CREAT | 0600), ENOSPC);
}

TEST(shmmni_is_asked_last)
{
	MUST(shmget(0x31, 1, IPC_CREAT | 0600));
	set_limit("shmmni", "1");
	struct get_case t[] = {
		{ "full", 0x36, 1, IPC_CREAT | 0600, ENOSPC },
		{ "full, private", IPC_PRIVATE, 1, 0600, ENOSPC },
		{ "existing", 0x31, 1, IPC_CREAT | 0600, 0 },
		{ "existing, exclusive", 0x31, 1, IPC_CREAT | IPC_EXCL | 0600, EEXIST },
		{ "absent", 0x36, 1, 0600, ENOENT },
		{ "size 0 first", 0x36, 0, IPC_CREAT | 0600, EINVAL },
		{ "huge page size first", 0x36, 1, BAD_PAGE_SIZE | IPC_CREAT | 0600, EINVAL },
		WIDE_ONLY({ "file size first", 0x36, 1ul << 63, IPC_CREAT | 0600, EINVAL },)
	};
	GET_CASES(t);
}

#if __SIZEOF_LONG__ == 8
TEST(memory_is_asked_before_shmmni)
{
	char mode = 0;
	int fd = MUST(open("/proc/sys/vm/overcommit_memory", O_RDONLY));
	REQUIRE(read(fd, &mode, 1) == 1);
	if (mode != '0')
		SKIP("vm.overcommit_memory is %c, the rule here is that of 0", mode);
	MUST(shmget(0x31, 1, IPC_CREAT | 0600));
	set_limit("shmmni", "1");
	TEST_ERRNO(shmget(0x36, 1ul << 46, IPC_CREAT | 0600), ENOMEM);
	TEST_ERRNO(shmget(0x36, 1ul << 46, IPC_CREAT | SHM_NORESERVE | 0600), ENOSPC);
}
#endif

TEST(a_shmmni_of_0_allows_none)
{
	set_limit("shmmni", "0");
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
	set_limit("shmmni", "2");
	TEST_RES(shmget(IPC_PRIVATE, 1, 0600), index_of(_ret) == 0);
	TEST_RES(shmget(IPC_PRIVATE, 1, 0600), index_of(_ret) == 1);
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
}

TEST(removed_but_attached_segments_count_for_shmmni_and_shmall)
{
	int id = MUST(shmget(0x31, 3 * PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	set_limit("shmmni", "1");
	TEST_ERRNO(shmget(0x32, 1, IPC_CREAT | 0600), ENOSPC);
	set_limit("shmmni", "9");
	set_limit("shmall", "4");
	TEST_ERRNO(shmget(0x32, 2 * PAGE, IPC_CREAT | 0600), ENOSPC);
	TEST_SUCC(shmget(0x32, PAGE, IPC_CREAT | 0600));
	MUST(shmdt(p));
	TEST_SUCC(shmget(0x33, 3 * PAGE, IPC_CREAT | 0600));
}

TEST(limits_below_what_is_in_use_are_accepted_and_only_stop_creation)
{
	int a = MUST(shmget(0x31, 2 * PAGE, IPC_CREAT | 0600));
	MUST(shmget(0x32, 2 * PAGE, IPC_CREAT | 0600));
	set_limit("shmmni", "1");
	set_limit("shmall", "1");
	char *p = attach(a);
	CHECK_EQ(nattch_of(a), 1);
	MUST(shmdt(p));
	MUST(shmctl(a, IPC_RMID, NULL));
	TEST_ERRNO(shmget(0x33, 1, IPC_CREAT | 0600), ENOSPC);
	TEST_SUCC(shmget(0x32, 0, 0));
}

#if __SIZEOF_LONG__ == 8
TEST(a_page_sum_that_overflows_is_refused)
{
	need_tmpfs();
	/* 2^63 - 1 bytes are 2^51 pages of 4 KiB: two of them never fit a small shmall. */
	char most[24];
	snprintf(most, sizeof most, "%lu", (1ul << 63) / PAGE);
	set_limit("shmall", most);
	TEST_SUCC(shmget(0x31, (1ul << 63) - 1, IPC_CREAT | SHM_NORESERVE | 0600));
	TEST_ERRNO(shmget(0x32, 1, IPC_CREAT | 0600), ENOSPC);
	set_limit("shmall", "18446744073709551615");
	TEST_SUCC(shmget(0x33, (1ul << 63) - 1, IPC_CREAT | SHM_NORESERVE | 0600));
	TEST_SUCC(shmget(0x32, 1, IPC_CREAT | 0600));
}
#endif
