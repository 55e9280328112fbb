/*
 * SHM_HUGETLB on a machine that has no huge pages to give, which is the usual
 * one: who is refused for which reason.
 */
#include "hugepages.h"

static void need_a_machine_without_huge_pages(void)
{
	if (number_in("/proc/sys/vm/nr_hugepages") || number_in("/proc/sys/vm/nr_overcommit_hugepages"))
		SKIP("this machine has huge pages");
	need_2_mib_by_default();
}

/* No capability, and not in the group that vm.hugetlb_shm_group names (root's, by default). */
static void without_the_right_to_huge_pages(void)
{
	unsigned long group = number_in("/proc/sys/vm/hugetlb_shm_group");
	if (geteuid() == 0 && setgroups(0, NULL) == 0)
		setresgid(group + 1, group + 1, group + 1);
	else if (geteuid() != 0 && group == getegid())
		SKIP("vm.hugetlb_shm_group is ours");
	set_caps(0);
}

TEST(with_the_right_but_without_pages_it_is_enomem)
{
	need_a_machine_without_huge_pages();
	need_ipc_lock();
	only_hugetlbfs("pagesize=2M");
	struct get_case t[] = {
		{ "default size", IPC_PRIVATE, 2 << 20, SHM_HUGETLB | 0600, ENOMEM },
		{ "one byte", IPC_PRIVATE, 1, SHM_HUGETLB | 0600, ENOMEM },
		{ "2 MiB named", IPC_PRIVATE, 1, SHM_HUGETLB | PAGE_SIZE_LOG2(21) | 0600, ENOMEM },
		{ "keyed", 0x11, 1, SHM_HUGETLB | IPC_CREAT | 0600, ENOMEM },
		{ "it left nothing", 0x11, 0, 0, ENOENT },
	};
	GET_CASES(t);
}

TEST(a_page_size_that_the_machine_lacks_is_einval_before_any_right)
{
	need_a_machine_without_huge_pages();
	struct get_case t[] = {
		{ "8 KiB", IPC_PRIVATE, 1, SHM_HUGETLB | PAGE_SIZE_LOG2(13) | 0600, EINVAL },
		{ "2 bytes", IPC_PRIVATE, 1, SHM_HUGETLB | PAGE_SIZE_LOG2(1) | 0600, EINVAL },
		{ "not reserved", IPC_PRIVATE, 1, SHM_HUGETLB | SHM_NORESERVE | PAGE_SIZE_LOG2(13) | 0600, EINVAL },
		{ "size 0 first", IPC_PRIVATE, 0, SHM_HUGETLB | 0600, EINVAL },
	};
	GET_CASES(t);
	without_the_right_to_huge_pages();
	GET_CASES(t);
}

TEST(without_the_right_it_is_eperm)
{
	need_a_machine_without_huge_pages();
	without_the_right_to_huge_pages();
	struct get_case t[] = {
		{ "private", IPC_PRIVATE, 2 << 20, SHM_HUGETLB | 0600, EPERM },
		{ "not reserved", IPC_PRIVATE, 1, SHM_HUGETLB | SHM_NORESERVE | 0600, EPERM },
		{ "keyed", 0x11, 1, SHM_HUGETLB | IPC_CREAT | 0600, EPERM },
		{ "absent key without IPC_CREAT", 0x11, 1, SHM_HUGETLB | 0600, ENOENT },
	};
	GET_CASES(t);
}

TEST(the_limits_of_the_namespace_stand_around_the_other_errors)
{
	need_a_machine_without_huge_pages();
	need_ipc_lock();
	only_hugetlbfs("pagesize=2M");
	MUST(shmget(0x31, 1, IPC_CREAT | 0600));
	set_limit("shmmni", "1");
	TEST_ERRNO(shmget(0x36, 1, SHM_HUGETLB | IPC_CREAT | 0600), ENOMEM);
	TEST_ERRNO(shmget(0x36, 1, SHM_HUGETLB | SHM_NORESERVE | IPC_CREAT | 0600), ENOSPC);
	set_limit("shmall", "1");
	TEST_ERRNO(shmget(0x36, 1, SHM_HUGETLB | IPC_CREAT | 0600), ENOSPC);
	set_limit("shmmax", "100");
	TEST_ERRNO(shmget(0x36, 101, SHM_HUGETLB | IPC_CREAT | 0600), EINVAL);
	set_caps(0);
	TEST_ERRNO(shmget(0x36, 1, SHM_HUGETLB | IPC_CREAT | 0600), ENOSPC);
}

TEST(an_existing_ordinary_segment_ignores_the_flag)
{
	int id = MUST(shmget(0x11, 4096, IPC_CREAT | 0600));
	without_the_right_to_huge_pages();
	TEST_RES(shmget(0x11, 4096, SHM_HUGETLB | 0600), _ret == id);
	TEST_RES(shmget(0x11, 4096, SHM_HUGETLB | PAGE_SIZE_LOG2(16) | 0600), _ret == id);
	TEST_ERRNO(shmget(0x11, 4097, SHM_HUGETLB | 0600), EINVAL);
}

TEST(the_group_for_huge_pages_gives_the_right_that_a_capability_gives)
{
	need_a_machine_without_huge_pages();
	need_root();
	only_hugetlbfs("pagesize=2M");
	gid_t group = number_in("/proc/sys/vm/hugetlb_shm_group");
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(group, group, group));
		set_caps(0);
		TEST_ERRNO(shmget(IPC_PRIVATE, 2 << 20, SHM_HUGETLB | 0600), ENOMEM);
	}
	IN_CHILD {
		MUST(setgroups(1, &group));
		MUST(setresgid(group + 1, group + 1, group + 1));
		set_caps(0);
		TEST_ERRNO(shmget(IPC_PRIVATE, 2 << 20, SHM_HUGETLB | 0600), ENOMEM);
	}
	IN_CHILD { /* it is the group for files that counts */
		MUST(setgroups(0, NULL));
		MUST(setresgid(group, group, group));
		setfsgid(group + 1);
		set_caps(0);
		TEST_ERRNO(shmget(IPC_PRIVATE, 2 << 20, SHM_HUGETLB | 0600), EPERM);
	}
}

/* A segment without pages: made, described, attached and aligned; only touching it fails. */
TEST(unreserved_huge_segments_exist_without_pages)
{
	need_a_machine_without_huge_pages();
	need_ipc_lock();
	only_hugetlbfs("pagesize=2M");
	int id = MUST(shmget(IPC_PRIVATE, 100, SHM_HUGETLB | SHM_NORESERVE | 0600));
	CHECK_EQ(stat_of(id).shm_segsz, 100);
	char *p = attach(id);
	CHECK_EQ((uintptr_t)p % (2 << 20), 0);
	CHECK_EQ(touch(p, false), SIGBUS);
	TEST_ERRNO(shmat(id, FREE_AREA + PAGE, 0), EINVAL);
	TEST_SUCC(shmat(id, FREE_AREA, 0));
	CHECK_EQ(nattch_of(id), 2);
	TEST_SUCC(shmdt(p));
	TEST_SUCC(shmdt(FREE_AREA));
}

/* The shim has no huge pages but those of a mounted hugetlbfs. */
TEST(without_a_hugetlbfs_it_is_enomem_and_the_trace_says_so)
{
	static const char *const without[] = { NULL, "pagesize=1G" };
	static struct run r;
	SHIM_ONLY();
	need_a_machine_without_huge_pages();
	need_ipc_lock();
	for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
		no_hugetlbfs();
		if (without[i])
			add_hugetlbfs("other", without[i]);
		for (int noreserve = 0; noreserve < 2; noreserve++) {
			setenv("SHMSHIM_TRACE", "stderr", 1);
			run_program(&r, (char *[]){ "/bin/sh", "-c", "exec \"$0\" \"$@\" 2>&1", (char *)built("helper_steps"),
						    noreserve ? "get,0,1,014600" : "get,0,1,04600", NULL });
			unsetenv("SHMSHIM_TRACE");
			CHECK_EQ(r.status, 0);
			CHECK(strstr(r.out, "get -1 ENOMEM") != NULL);
			CHECK(strstr(r.out, "no hugetlbfs with pages of 2 MiB is mounted; as root: ") != NULL);
		}
		CHECK_EQ(segments_in_all(), 0);
	}
}
