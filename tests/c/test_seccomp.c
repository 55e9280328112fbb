/* A program that confines itself after start keeps what it has, and is never killed for letting it go. */
#include "filter.h"
#include "proctest.h"

/* Anything that a detach does beyond these kills the process. */
static struct filter only_detaching(void)
{
	struct filter f = filter_new();
	filter_rule(&f, SYS_munmap, SECCOMP_RET_ALLOW);
	filter_rule(&f, SYS_shmdt, SECCOMP_RET_ALLOW);
	filter_rule(&f, SYS_rt_sigprocmask, SECCOMP_RET_ALLOW);
	filter_rule(&f, SYS_exit_group, SECCOMP_RET_ALLOW);
	return f;
}

/* Checks go through shared memory: a confined process can make them. */
static void keeps_and_detaches(char *p)
{
	p[0] = 'k';
	CHECK_EQ(p[0], 'k');
	errno = 77;
	int r = shmdt(p);
	CHECK_EQ(r, 0);
	CHECK_EQ(errno, 77);
}

TEST(a_confined_program_uses_and_detaches_what_another_has_as_well)
{
	int id = new_segment(PAGE);
	char *mine = attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *p = attach_at(id, FREE_AREA);
		struct filter f = only_detaching();
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		keeps_and_detaches(p);
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(mine[0], 'k');
	CHECK_EQ(stat_of(id).shm_lpid, pid);
}

TEST(a_confined_program_detaches_the_last_attach)
{
	int id = new_segment(PAGE);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *p = attach(id), *q = attach(id);
		struct filter f = only_detaching();
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		keeps_and_detaches(p);
		keeps_and_detaches(q);
		TEST_ERRNO(shmdt(q), EINVAL);
		TEST_ERRNO(shmdt(q + 1), EINVAL);
		TEST_ERRNO(shmdt(NULL), EINVAL);
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(attach(id)[0], 'k');
}

TEST(a_confined_child_detaches_what_it_inherited)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct filter f = only_detaching();
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		keeps_and_detaches(p); /* its first call */
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(stat_of(id).shm_lpid, pid);
	CHECK(WRITABLE(p));
}

TEST(what_a_confined_child_does_not_detach_counts)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	volatile char *q = attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct filter f = only_detaching();
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		keeps_and_detaches(p);
		for (q[1] = 'd'; q[2] != 'g';)
			;
		_exit(0);
	}
	while (q[1] != 'd')
		usleep(1000);
	CHECK_EQ(nattch_of(id), 3);
	CHECK_EQ(stat_of(id).shm_lpid, pid);
	q[2] = 'g';
	REAP(pid);
	CHECK_EQ(nattch_of(id), 2);
}

TEST(a_confined_program_that_may_unlink_destroys_by_the_last_detach)
{
	int id = new_segment(PAGE);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *p = attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		struct filter f = only_detaching();
#ifdef SYS_unlink
		filter_rule(&f, SYS_unlink, SECCOMP_RET_ALLOW);
#endif
		filter_rule(&f, SYS_unlinkat, SECCOMP_RET_ALLOW);
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		keeps_and_detaches(p);
		_exit(0);
	}
	REAP(pid);
	CHECK(!exists(id));
	CHECK_EQ(segments_in_all(), 0);
}

TEST(a_removed_segment_that_another_has_needs_no_unlink)
{
	int id = new_segment(PAGE);
	char *mine = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *p = attach(id);
		struct filter f = only_detaching();
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		keeps_and_detaches(p);
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(mine));
	CHECK(!exists(id));
}

TEST(a_confined_program_unmaps_by_munmap)
{
	int id = new_segment(PAGE);
	attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *p = attach(id);
		struct filter f = only_detaching();
		filter_install(&f, SECCOMP_RET_KILL_PROCESS);
		CHECK_EQ(munmap(p, PAGE), 0);
		TEST_ERRNO(shmdt(p), EINVAL);
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(a_program_in_strict_mode_keeps_its_memory)
{
	if (getenv("SHMTEST_CONFINED"))
		NOT_ON_THIS_SIDE("strict mode cannot be entered by a process that has a filter");
	int id = new_segment(PAGE);
	char *mine = attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *p = attach(id);
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
			_exit(1);
		p[0] = 's';
		syscall(SYS_exit, p[0] == 's' ? 0 : 1);
	}
	REAP(pid);
	CHECK_EQ(mine[0], 's');
	CHECK_EQ(nattch_of(id), 1);
}

/* ---------------------------------------- calls refused with an errno */

static void refuse_opening(struct filter *f, int err)
{
#ifdef SYS_open
	filter_rule(f, SYS_open, REFUSE_WITH(err));
	filter_rule(f, SYS_creat, REFUSE_WITH(err));
#endif
	filter_rule(f, SYS_openat, REFUSE_WITH(err));
	filter_rule(f, SYS_openat2, REFUSE_WITH(err));
}

/* Under the shim a call may fail then, with an errno of its manual page; on the kernel it works. */
#define WORKS_OR_REFUSED(what, call)                                                               \
	({                                                                                         \
		errno = 0;                                                                         \
		long r_ = (long)(call);                                                            \
		int e_ = errno;                                                                    \
		COUNT_CHECK();                                                                     \
		if (r_ == -1 && !(under_shim() && in_the_manual(what, e_)))                        \
			FAIL("%s = -1 %s", #call, errno_name(e_));                                 \
		r_;                                                                                \
	})

TEST(a_program_that_may_open_nothing_is_refused_with_an_errno)
{
	int id = MUST(shmget(0x131, PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	p[0] = 'p';
	IN_CHILD
	{
		struct shmid_ds d;
		struct filter f = filter_new();
		refuse_opening(&f, EPERM);
		filter_install(&f, SECCOMP_RET_ALLOW);
		char *q = (char *)WORKS_OR_REFUSED("shmat", shmat(id, NULL, 0));
		CHECK(q == (char *)-1 || q[0] == 'p');
		if (q != (char *)-1)
			TEST_SUCC(shmdt(q));
		TEST_RES(shmget(0x131, 0, 0), _ret == id);
		TEST_ERRNO(shmget(0x132, 0, 0), ENOENT);
		WORKS_OR_REFUSED("shmctl", shmctl(id, IPC_STAT, &d));
		long made = WORKS_OR_REFUSED("shmget", shmget(0x132, PAGE, IPC_CREAT | 0600));
		if (made >= 0)
			TEST_SUCC(shmctl((int)made, IPC_RMID, NULL));
		else
			TEST_ERRNO(shmget(0x132, 0, 0), ENOENT);
		CHECK(WRITABLE(p));
		TEST_SUCC(shmdt(p));
	}
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(segments_in_all(), 1);
}

TEST(the_first_call_of_a_program_that_may_open_nothing_is_refused_with_an_errno)
{
	EXPECT_STEPS("get 0\n", "get,0x133,4096,01600");
	struct shmid_ds d;
	int *id = shared_memory(sizeof *id);
	IN_CHILD *id = id_at(0);
	struct filter f = filter_new();
	refuse_opening(&f, EPERM);
	filter_install(&f, SECCOMP_RET_ALLOW);
	WORKS_OR_REFUSED("shmget", shmget(0x133, 0, 0));
	WORKS_OR_REFUSED("shmget", shmget(IPC_PRIVATE, PAGE, 0600));
	WORKS_OR_REFUSED("shmat", shmat(*id, NULL, 0));
	WORKS_OR_REFUSED("shmctl", shmctl(*id, IPC_STAT, &d));
	WORKS_OR_REFUSED("shmctl", shmctl(*id, IPC_RMID, NULL));
	TEST_ERRNO(shmdt(NULL), EINVAL);
}

/* Whatever single call is refused, and however: an errno, never a crash, and nothing is damaged. */
TEST(a_single_refused_system_call_does_no_harm)
{
	static const struct { const char *name; long nr; } call[] = {
		{ "openat", SYS_openat }, { "close", SYS_close },
		{ "flock", SYS_flock },	  { "fcntl", SYS_fcntl },	    { "ftruncate", SYS_ftruncate },
		{ "fstat", SYS_fstat },	  { "statx", SYS_statx },
#ifdef SYS_newfstatat
		{ "mmap", SYS_mmap },	  { "newfstatat", SYS_newfstatat },
#else
		{ "mmap2", SYS_mmap2 },	  { "fstatat64", SYS_fstatat64 },   { "ftruncate64", SYS_ftruncate64 },
		{ "statfs64", SYS_statfs64 }, { "geteuid32", SYS_geteuid32 },
#endif
		{ "fchmod", SYS_fchmod }, { "fchmodat", SYS_fchmodat },	    { "fchown", SYS_fchown },
		{ "unlinkat", SYS_unlinkat }, { "renameat2", SYS_renameat2 }, { "linkat", SYS_linkat },
#ifdef SYS_unlink
		{ "unlink", SYS_unlink }, { "rename", SYS_rename },	    { "mkdir", SYS_mkdir },
#endif
		{ "madvise", SYS_madvise }, { "mprotect", SYS_mprotect },   { "fallocate", SYS_fallocate },
		{ "fstatfs", SYS_fstatfs }, { "statfs", SYS_statfs },	    { "getdents64", SYS_getdents64 },
		{ "getsid", SYS_getsid }, { "geteuid", SYS_geteuid },	    { "capget", SYS_capget },
		{ "clone", SYS_clone },	  { "clone3", SYS_clone3 },	    { "unshare", SYS_unshare },
		{ "futex", SYS_futex },	  { "memfd_create", SYS_memfd_create },
		{ "rt_sigprocmask", SYS_rt_sigprocmask }, { "process_vm_readv", SYS_process_vm_readv },
		{ "process_vm_writev", SYS_process_vm_writev }, { "pread64", SYS_pread64 },
		{ "pwrite64", SYS_pwrite64 }, { "prlimit64", SYS_prlimit64 }, { "mincore", SYS_mincore },
	};
	int id = MUST(shmget(0x134, PAGE, IPC_CREAT | 0600));
	attach(id)[0] = 'x';
	for (size_t i = 0; i < 2 * sizeof call / sizeof *call; i++) {
		int err = i % 2 ? ENOSYS : EPERM;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			struct shmid_ds d;
			struct filter f = filter_new();
			filter_rule(&f, call[i / 2].nr, REFUSE_WITH(err));
			filter_install(&f, SECCOMP_RET_ALLOW);
			WORKS_OR_REFUSED("shmget", shmget(0x134, 0, 0));
			WORKS_OR_REFUSED("shmctl", shmctl(id, IPC_STAT, &d));
			long made = WORKS_OR_REFUSED("shmget", shmget(0x135, 2 * PAGE, IPC_CREAT | 0600));
			char *p = (char *)WORKS_OR_REFUSED("shmat", shmat(id, NULL, 0));
			CHECK(p == (char *)-1 || p[0] == 'x');
			if (p != (char *)-1)
				CHECK_EQ(shmdt(p), 0);
			if (made >= 0)
				WORKS_OR_REFUSED("shmctl", shmctl((int)made, IPC_RMID, NULL));
			_exit(0);
		}
		int status = wait_for(pid), left = shmget(0x135, 0, 0);
		COUNT_CHECK();
		if (status != 0)
			FAIL("%s refused with %s: status %#x", call[i / 2].name, errno_name(err), status);
		if (left >= 0)
			MUST(shmctl(left, IPC_RMID, NULL));
		long n = nattch_of(id);
		int all = segments_in_all();
		COUNT_CHECK();
		if (n != 1 || all != 1)
			FAIL("%s refused with %s: nattch %ld, %d segments", call[i / 2].name, errno_name(err), n, all);
	}
	if (under_shim())
		CHECK_EQ(files_of_segments(), 1);
}

TEST(system_calls_that_old_kernels_lack_are_not_needed)
{
	static const long newer[] = { SYS_clone3, SYS_close_range, SYS_openat2, SYS_faccessat2, SYS_pidfd_open,
				      SYS_pidfd_getfd, SYS_io_uring_setup, SYS_rseq, SYS_memfd_create,
				      SYS_copy_file_range, SYS_process_madvise, 462 /* mseal */ };
	attach(new_segment(PAGE)); /* made before, by a program that could do anything */
	struct filter f = filter_new();
	for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
		filter_rule(&f, newer[i], REFUSE_WITH(ENOSYS));
	filter_install(&f, SECCOMP_RET_ALLOW);
	CHECK_LIFE(0x136);
	IN_CHILD CHECK_LIFE(0x136);
	CHECK_EQ(segments_in_all(), 1);
}
