/* Where the shim keeps segments of huge pages: which mount it takes, what it trusts, what it leaves behind. */
#include "filter.h"
#include "hugepool.h"

TEST(files_lie_where_the_documentation_says_and_go_with_their_segments)
{
	struct stat st;
	SHIM_ONLY();
	const char *mounted = need_pages();
	int id = GET(0x1234abcd, 3 << 20, IPC_CREAT | 0640);
	REQUIRE(index_of(id) == 0);
	MUST(lstat(huge_dir(mounted), &st));
	CHECK_EQ(st.st_mode, S_IFDIR | 0700);
	CHECK_EQ(st.st_uid, geteuid());
	CHECK_EQ(entries_of(mounted), 1);
	MUST(lstat(segment_in_huge_dir(mounted, 0x1234abcd, id), &st));
	CHECK_EQ(st.st_mode, S_IFREG | 0640);
	CHECK_EQ(st.st_size, 2 * HUGE);
	CHECK_EQ(files_of_segments(), 0);
	umask(077);
	int other = GET(0x1234abce, 1, IPC_CREAT | 0666);
	MUST(lstat(segment_in_huge_dir(mounted, 0x1234abce, other), &st));
	CHECK_EQ(st.st_mode, S_IFREG | 0666);
	struct shmid_ds d = stat_of(id);
	d.shm_perm.mode = 0600;
	TEST_SUCC(shmctl(id, IPC_SET, &d));
	MUST(lstat(segment_in_huge_dir(mounted, 0x1234abcd, id), &st));
	CHECK_EQ(st.st_mode, S_IFREG | 0600);
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 1);
	char *p = attach(other);
	IN_CHILD TEST_SUCC(shmctl(other, IPC_RMID, NULL));
	CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 1);
	CHECK(WRITABLE(p));
	TEST_SUCC(shmdt(p));
	CHECK(!exists(other));
	CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 0);
}

TEST(two_namespaces_do_not_meet_on_one_mount)
{
	SHIM_ONLY();
	const char *mounted = need_pages(), *base = getenv("SHMSHIM_DIR");
	static char other[PATH_MAX];
	snprintf(other, sizeof other, "%s/ns.other", base);
	MUST(mkdir(other, 0700));
	IN_CHILD CHECK_EQ(index_of(GET(0x48, HUGE, IPC_CREAT | 0600)), 0);
	IN_CHILD {
		setenv("SHMSHIM_DIR", other, 1);
		CHECK_EQ(index_of(GET(0x48, HUGE, IPC_CREAT | IPC_EXCL | 0600)), 0);
		strcpy(attach(id_at(0)), "the other");
		CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 1);
	}
	CHECK_EQ(entries_of(mounted), 2);
	CHECK_EQ(attach(id_at(0))[0], 0);
	TEST_SUCC(shmctl(id_at(0), IPC_RMID, NULL));
	IN_CHILD {
		setenv("SHMSHIM_DIR", other, 1);
		EXPECT_STEPS("get 0\nat 0\nshow the other\n", "get,0x48,0,0", "at", "show");
	}
}

/* A program of its own, which knows no mount yet. */
#define ON_HUGE_PAGES "0x54000b80" /* IPC_CREAT | SHM_HUGETLB, 2 MiB, 0600 */

TEST(mounts_are_found_wherever_they_are_and_segments_on_whichever_they_lie)
{
	SHIM_ONLY();
	need_pages();
	no_hugetlbfs();
	add_hugetlbfs("wrong size", "pagesize=1G");
	const char *first = add_hugetlbfs("a \\ b", "pagesize=2M");
	EXPECT_STEPS("get 0\nat 0\n", "get,0x49,100," ON_HUGE_PAGES, "at", "put,on the first");
	CHECK_EQ(entries_of(in_huge_dir(first, "segments")), 1);
	/* Nothing can be made there any more, and there is another one. */
	const char *second = add_hugetlbfs("second", "pagesize=2M");
	MUST(mount(NULL, first, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	EXPECT_STEPS("get 0\nat 0\nshow on the first\nget 1\nat 0\n", "get,0x49,100,0", "at,0,010000", "show",
		     "get,0x4a,100," ON_HUGE_PAGES, "at", "put,on the second");
	CHECK_EQ(entries_of(in_huge_dir(first, "segments")), 1);
	CHECK_EQ(entries_of(in_huge_dir(second, "segments")), 1);
	MUST(mount(NULL, first, NULL, MS_REMOUNT | MS_BIND, NULL));
	EXPECT_STEPS("at 0\nshow on the second\nrmid 0\nat 0\nshow on the first\ndt 0\nrmid 0\ncount 1\n", "index,1", "at",
		     "show", "rmid", "index,0", "at", "show", "dt", "rmid", "count");
	CHECK_EQ(entries_of(in_huge_dir(first, "segments")), 0);
	CHECK_EQ(entries_of(in_huge_dir(second, "segments")), 0);
}

TEST(a_segment_whose_mount_is_not_to_be_seen_is_refused_and_not_lost)
{
	static struct run r;
	SHIM_ONLY();
	const char *mounted = need_pages();
	EXPECT_STEPS("get 0\nat 0\n", "get,0x49,100," ON_HUGE_PAGES, "at", "put,still there");
	EXPECT_STEPS("get 1\n", "get,0x4a,100," ON_HUGE_PAGES);
	IN_CHILD {
		no_hugetlbfs();
		STEPS(&r, "get,0x49,0,0", "at", "stat", "get,0x4a,0,0", "rmid", "count");
		CHECK_STR(r.out, "get 0\nat -1 ENOMEM\nstat key=0x49 mode=600 size=100 nattch=0\nget 1\nrmid 0\ncount 1\n");
	}
	/* The file of the removed one is unlinked by the next who can. */
	CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 2);
	EXPECT_STEPS("get 0\nat 0\nshow still there\ndt 0\ncount 1\n", "get,0x49,0,0", "at", "show", "dt", "count");
	CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 1);
}

TEST(a_directory_that_cannot_be_trusted_is_refused_and_left_alone)
{
	SHIM_ONLY();
	const char *mounted = need_pages();
	struct stat before, after;
	TEST_ERRNO(shmget(0x4a, 0, 0), ENOENT); /* the namespace, whose name is needed */
	MUST(mkdir(huge_dir(mounted), 0755));
	MUST(chmod(huge_dir(mounted), 0755));
	MUST(stat(huge_dir(mounted), &before));
	TEST_ERRNO(GET(IPC_PRIVATE, 1, 0600), ENOMEM);
	MUST(chmod(huge_dir(mounted), 0700));
	MUST(chown(huge_dir(mounted), 54001, 54001));
	TEST_ERRNO(GET(IPC_PRIVATE, 1, 0600), ENOMEM);
	CHECK_EQ(entries_of(huge_dir(mounted)), 0);
	MUST(chown(huge_dir(mounted), 0, 0));
	TEST_SUCC(shmctl(MUST(GET(IPC_PRIVATE, 1, 0600)), IPC_RMID, NULL)); /* what is missing in it is made again */
	MUST(stat(huge_dir(mounted), &after));
	CHECK_EQ(before.st_ino, after.st_ino);
	MUST(rmdir(in_huge_dir(mounted, "segments")));
	MUST(rmdir(in_huge_dir(mounted, "live")));
	MUST(rmdir(huge_dir(mounted)));
	/* The mount itself must not let others exchange what lies in it. */
	MUST(chmod(mounted, 0777));
	TEST_ERRNO(GET(IPC_PRIVATE, 1, 0600), ENOMEM);
	CHECK_EQ(entries_of(mounted), 0);
	MUST(chmod(mounted, 01777));
	TEST_SUCC(GET(IPC_PRIVATE, 1, 0600));
	/* An ordinary segment has nothing to do with all that. */
	CHECK_LIFE(0x4a);
}

TEST(a_mount_that_cannot_be_used_is_passed_over)
{
	SHIM_ONLY();
	need_pages();
	no_hugetlbfs();
	const char *loose = add_hugetlbfs("loose", "pagesize=2M,mode=0777");
	TEST_ERRNO(GET(IPC_PRIVATE, 1, 0600), ENOMEM);
	const char *good = add_hugetlbfs("good", "pagesize=2M,mode=0700");
	TEST_SUCC(GET(IPC_PRIVATE, 1, 0600));
	CHECK_EQ(entries_of(loose), 0);
	CHECK_EQ(entries_of(good), 1);
}

TEST(it_works_without_descriptors_and_leaves_none_open)
{
	struct fds before;
	SHIM_ONLY();
	need_pages();
	fds_now(&before);
	int id = NEW(HUGE);
	CHECK(WRITABLE(attach(id)));
	CHECK_FDS(&before, "a segment of huge pages");
	IN_CHILD {
		use_up_descriptors();
		fds_now(&before);
		int other = NEW(HUGE);
		char *p = attach(other), *q = attach(id);
		CHECK(WRITABLE(p));
		CHECK(WRITABLE(q));
		TEST_SUCC(shmctl(other, IPC_RMID, NULL));
		TEST_SUCC(shmdt(p));
		TEST_ERRNO(GET(IPC_PRIVATE, MORE_THAN_ALL, 0600), ENOMEM);
		CHECK_FDS(&before, "without descriptors");
	}
	IN_CHILD {
		MUST(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ PAGE, RLIM_INFINITY }));
		CHECK(WRITABLE(attach(NEW(HUGE))));
	}
}

/* The first use of a process, on the smallest stack there is. */
static void *on_a_small_stack(void *arg)
{
	int id = GET(IPC_PRIVATE, HUGE, 0600);
	char *p = id < 0 ? (char *)-1 : shmat(id, NULL, 0);
	if (p != (char *)-1)
		p[HUGE - 1] = 1;
	*(int *)arg = p != (char *)-1 && shmdt(p) == 0 && shmctl(id, IPC_RMID, NULL) == 0;
	return NULL;
}

TEST(the_smallest_stack_is_enough)
{
	need_pages();
	pthread_attr_t small;
	pthread_t t;
	int ok = 0;
	pthread_attr_init(&small);
	if (pthread_attr_setstacksize(&small, 16384) != 0) /* AArch64's glibc wants more */
		REQUIRE(pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN) == 0);
	REQUIRE(pthread_create(&t, &small, on_a_small_stack, &ok) == 0);
	REQUIRE(pthread_join(t, NULL) == 0);
	CHECK(ok);
	CHECK_EQ(usage().used_ids, 0);
}

TEST(segments_are_found_again_when_the_table_is_gone)
{
	SHIM_ONLY();
	const char *mounted = need_pages();
	long before = free_pages();
	EXPECT_STEPS("get 0\nat 0\nget 1\n", "get,0x49,100," ON_HUGE_PAGES, "at", "put,kept", "get,0x4c,100,01600");
	MUST(unlink(in_runtime_dir("registry")));
	/* Of the size only the pages are known. */
	EXPECT_STEPS("get 0\nat 0\nshow kept\nstat key=0x49 mode=600 size=2097152 nattch=1\ncount 2\ndt 0\nrmid 0\ncount 1\nget 1\n",
		     "get,0x49,0,0", "at", "show", "stat", "count", "dt", "rmid", "count", "get,0x4c,0,0");
	CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 0);
	CHECK_EQ(free_pages(), before);
}

/*
 * The process is killed by the system call with this number and this argument. Installed by the instruction
 * itself, so that the shim does not know of it and is killed in the middle of what it does.
 */
static void die_at(long nr, int arg, unsigned long value)
{
	struct filter f = filter_new();
	filter_add(&f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 3));
	filter_add(&f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[arg])));
	filter_add(&f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)value, 0, 1));
	filter_add(&f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	filter_add(&f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	struct sock_fprog prog = { .len = f.len, .filter = f.code };
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
#ifdef __x86_64__
	long r = SYS_seccomp;
	__asm__ volatile("syscall" : "+a"(r) : "D"(SECCOMP_SET_MODE_FILTER), "S"(0), "d"(&prog) : "rcx", "r11", "memory");
	if (r < 0)
		SKIP("seccomp filters: %s", errno_name((int)-r));
#else
	(void)prog;
#endif
}

TEST(a_process_that_is_killed_in_the_middle_leaves_no_pages_behind)
{
	static const struct { const char *what; long nr; int arg; unsigned long value; } t[] = {
		{ "the file is there", SYS_ftruncate, 1, 2 * HUGE },
		{ "about to reserve", SYS_mmap, 1, 2 * HUGE },
		{ "reserved", SYS_munmap, 1, 2 * HUGE },
		{ "made, removed", SYS_unlinkat, 2, 0 },
	};
	SHIM_ONLY();
#ifndef __x86_64__
	SKIP("putting a filter on unseen is not written for this machine");
#endif
	const char *mounted = need_pages();
	long before = free_pages();
	TEST_SUCC(shmctl(NEW(1), IPC_RMID, NULL));
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			die_at(t[i].nr, t[i].arg, t[i].value);
			shmctl(GET(0x4b, 2 * HUGE, IPC_CREAT | 0600), IPC_RMID, NULL);
			_exit(0);
		}
		int status = wait_for(pid);
		COUNT_CHECK();
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			FAIL("%s: not killed there, status %#x", t[i].what, status);
		/* The file is there still, and nothing else tells of it. */
		CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 1);
		TEST_ERRNO(shmget(0x4b, 0, 0), ENOENT);
		/* Asking for more than is free makes shmget look for what the dead have left. */
		TEST_ERRNO(GET(IPC_PRIVATE, MORE_THAN_ALL, 0600), ENOMEM);
		CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 0);
		CHECK_EQ(free_pages(), before);
		CHECK_EQ(usage().used_ids, 0);
	}
}

TEST(a_confined_program_destroys_what_it_has_attached)
{
	const char *mounted = need_pages();
	long before = free_pages();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *p = attach(NEW(HUGE));
		MUST(shmctl(id_at(0), IPC_RMID, NULL));
		struct filter f = filter_new();
		filter_rule(&f, SYS_munmap, SECCOMP_RET_ALLOW);
		filter_rule(&f, SYS_shmdt, SECCOMP_RET_ALLOW);
		filter_rule(&f, SYS_rt_sigprocmask, SECCOMP_RET_ALLOW);
		filter_rule(&f, SYS_unlinkat, SECCOMP_RET_ALLOW);
		filter_rule(&f, SYS_exit_group, SECCOMP_RET_ALLOW);
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		p[0] = 'k';
		TEST_SUCC(shmdt(p));
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(free_pages(), before);
	if (mounted)
		CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 0);
	CHECK_EQ(usage().used_ids, 0);
}

TEST(after_a_chroot_what_is_attached_can_be_detached_and_the_next_one_cleans_up)
{
	SHIM_ONLY();
	const char *mounted = need_pages();
	long before = free_pages();
	int id = NEW(HUGE);
	IN_CHILD {
		char *p = attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		MUST(chroot(getenv("SHMSHIM_DIR")));
		MUST(chdir("/"));
		CHECK(WRITABLE(p));
		TEST_SUCC(shmdt(p));
		CHECK(!exists(id));
	}
	CHECK(!exists(id));
	int next = NEW(HUGE);
	CHECK_EQ(usage().used_ids, 1);
	CHECK_EQ(entries_of(in_huge_dir(mounted, "segments")), 1);
	CHECK_EQ(free_pages(), before - 1);
	TEST_SUCC(shmctl(next, IPC_RMID, NULL));
}
