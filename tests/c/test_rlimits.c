/* Limits of a process that say nothing about shared memory do not get in its way. */
#include "proctest.h"
#include "shmtest_rights.h"

static unsigned long address_space_now(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	if (!f || fscanf(f, "%lu", &pages) != 1)
		FATAL("/proc/self/statm: %s", errno_name(errno));
	fclose(f);
	return pages * PAGE;
}
static void limit_to(int which, rlim_t value)
{
	MUST(setrlimit(which, &(struct rlimit){ value, value }));
}

TEST(an_attach_that_exceeds_the_address_space_fails_and_changes_nothing)
{
	int big = new_segment(256ul << 20), small = new_segment(PAGE);
	attach(small);
	IN_CHILD MUST(shmdt(MUST(shmat(big, NULL, 0))));
	struct shmid_ds was = stat_of(big);
	next_second();
	limit_to(RLIMIT_AS, address_space_now() + (16 << 20));
	TEST_ERRNO(shmat(big, NULL, 0), ENOMEM);
	TEST_ERRNO(shmat(big, FREE_AREA, 0), ENOMEM);
	struct shmid_ds now = stat_of(big);
	CHECK_EQ(now.shm_nattch, 0);
	CHECK_EQ(now.shm_atime, was.shm_atime);
	CHECK_EQ(now.shm_dtime, was.shm_dtime);
	CHECK_EQ(now.shm_lpid, was.shm_lpid);
	char *p = attach(small);
	CHECK(WRITABLE(p));
	TEST_SUCC(shmdt(p));
	CHECK_LIFE(0x101);
}

TEST(with_the_address_space_used_up_everything_but_attaching_works)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	IN_CHILD
	{
		struct shmid_ds d;
		limit_to(RLIMIT_AS, PAGE);
		TEST_ERRNO(shmat(id, NULL, 0), ENOMEM);
		CHECK_EQ(nattch_of(id), 2);
		int made = shmget(0x102, 64 * PAGE, IPC_CREAT | 0600);
		CHECK(made >= 0);
		TEST_RES(shmget(0x102, 0, 0), _ret == made);
		TEST_SUCC(shmctl(made, IPC_STAT, &d));
		TEST_SUCC(shmctl(made, IPC_SET, &d));
		TEST_ERRNO(shmat(made, NULL, 0), ENOMEM);
		TEST_SUCC(shmctl(made, IPC_RMID, NULL));
		TEST_SUCC(shmdt(p));
	}
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(segments_in_all(), 1);
}

TEST(a_failed_attach_of_a_removed_segment_leaves_it_to_its_user)
{
	int id = new_segment(64ul << 20);
	struct gate up = gate_make(), go = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		gate_open(&up);
		gate_wait(&go);
		_exit(0);
	}
	gate_wait(&up);
	MUST(shmctl(id, IPC_RMID, NULL));
	limit_to(RLIMIT_AS, address_space_now() + (8 << 20));
	TEST_ERRNO(shmat(id, NULL, 0), ENOMEM);
	CHECK_EQ(nattch_of(id), 1);
	gate_open(&go);
	REAP(pid);
	CHECK(!exists(id));
}

/*
 * The kernel's segments are no files to RLIMIT_FSIZE. A library's are: it may
 * have to refuse, but the program must not get a SIGXFSZ for it.
 */
TEST(the_limit_of_file_sizes_is_no_reason_to_be_killed)
{
	int id = new_segment(PAGE);
	IN_CHILD
	{
		limit_to(RLIMIT_FSIZE, 0);
		char *p = attach(id);
		CHECK(WRITABLE(p));
		errno = 0;
		int made = shmget(0x103, 1 << 20, IPC_CREAT | 0600);
		if (under_shim() && made < 0) {
			CHECK(in_the_manual("shmget", errno));
			TEST_ERRNO(shmget(0x103, 0, 0), ENOENT);
		} else {
			CHECK(made >= 0);
			char *q = attach(made);
			CHECK(WRITABLE(q + (1 << 20) - 1));
			TEST_SUCC(shmctl(made, IPC_RMID, NULL));
		}
		TEST_SUCC(shmdt(p));
		sigset_t pending;
		sigpending(&pending);
		CHECK(!sigismember(&pending, SIGXFSZ));
	}
	CHECK_EQ(segments_in_all(), 1);
}

TEST(a_soft_limit_of_file_sizes_does_not_refuse_a_segment)
{
	struct rlimit was;
	MUST(getrlimit(RLIMIT_FSIZE, &was));
	new_segment(PAGE);
	IN_CHILD
	{
		MUST(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 4096, was.rlim_max }));
		errno = 0;
		int made = shmget(0x104, 1 << 20, IPC_CREAT | 0600);
		if (under_shim() && made < 0)
			CHECK(in_the_manual("shmget", errno));
		else
			CHECK(made >= 0 && WRITABLE(attach(made) + (1 << 20) - 1));
	}
}

TEST(the_first_call_under_a_limit_of_file_sizes_does_not_kill)
{
	IN_CHILD
	{
		limit_to(RLIMIT_FSIZE, 0);
		errno = 0;
		int id = shmget(IPC_PRIVATE, PAGE, 0600);
		CHECK(id >= 0 || (under_shim() && in_the_manual("shmget", errno)));
	}
}

/* A library opens files, or has another process do it, which the kernel need not. */
TEST_SEVERAL_UIDS(who_may_neither_open_a_file_nor_start_a_process_may_be_refused_and_can_let_go)
{
	int id = MUST(shmget(0x107, PAGE, IPC_CREAT | 0666));
	IN_CHILD
	{
		struct rlimit most;
		char *p = attach(id);
		drop_to(54321, 54321);
		MUST(getrlimit(RLIMIT_NPROC, &most));
		MUST(setrlimit(RLIMIT_NPROC, &(struct rlimit){ 0, most.rlim_max }));
		use_up_descriptors();
		errno = 0;
		char *q = shmat(id, NULL, 0);
		if (under_shim())
			CHECK(q == (char *)-1 && errno == ENOMEM);
		else
			CHECK(q != (char *)-1 && shmdt(q) == 0);
		CHECK_EQ(nattch_of(id), 1);
		CHECK(WRITABLE(p));
		TEST_SUCC(shmdt(p));
		CHECK_EQ(nattch_of(id), 0);
		MUST(setrlimit(RLIMIT_NPROC, &most));
		CHECK(WRITABLE(attach(id)));
		CHECK_EQ(nattch_of(id), 1);
	}
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_limit_of_private_memory_may_refuse_but_does_no_harm)
{
	/* A library's own books are private memory. */
	int id = new_segment(PAGE);
	IN_CHILD
	{
		limit_to(RLIMIT_DATA, 0);
		struct life l = whole_life(0x106, 3 * PAGE);
		CHECK(!l.failed || (under_shim() && in_the_manual(l.failed, l.err)));
	}
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(segments_in_all(), 1);
}

TEST(limits_of_memory_locks_and_signals_do_not_matter)
{
	static const int which[] = { RLIMIT_MEMLOCK, RLIMIT_CORE, RLIMIT_SIGPENDING,
				     RLIMIT_MSGQUEUE, RLIMIT_RSS, RLIMIT_LOCKS };
	int id = new_segment(PAGE);
	for (size_t i = 0; i < sizeof which / sizeof *which; i++) {
		IN_CHILD
		{
			limit_to(which[i], 0);
			struct life l = whole_life(0x105, 3 * PAGE);
			COUNT_CHECK();
			if (l.failed)
				FAIL("limit %d: %s: %s", which[i], l.failed, errno_name(l.err));
			char *p = shmat(id, NULL, 0);
			CHECK(p != (char *)-1 && WRITABLE(p));
		}
	}
	CHECK_EQ(nattch_of(id), 0);
}
