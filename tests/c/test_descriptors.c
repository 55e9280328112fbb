/* The program's descriptors are its own: all closed, all used, none added. */
#include "proctest.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

static void close_from(unsigned first)
{
	if (syscall(SYS_close_range, first, ~0u, 0) < 0)
		for (int fd = (int)first; fd < 4096; fd++)
			close(fd);
}

TEST(descriptors_closed_before_between_and_after_calls_are_not_missed)
{
	IN_CHILD
	{
		struct shmid_ds d;
		close_from(3);
		int id = new_segment(2 * PAGE);
		close_from(3);
		char *p = attach(id);
		close_from(3);
		p[2 * PAGE - 1] = 'x';
		TEST_SUCC(shmctl(id, IPC_STAT, &d));
		CHECK_EQ(d.shm_nattch, 1);
		close_from(3);
		char *q = attach(id);
		CHECK_EQ(q[2 * PAGE - 1], 'x');
		close_from(3);
		TEST_SUCC(shmdt(q));
		close_from(3);
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
		close_from(3);
		CHECK_EQ(nattch_of(id), 1);
		close_from(3);
		TEST_SUCC(shmdt(p));
		CHECK(!exists(id));
	}
	CHECK_EQ(segments_in_all(), 0);
}

TEST(a_process_without_any_descriptor_can_make_every_call)
{
	IN_CHILD
	{
		struct fds before;
		close_from(0);
		fds_now(&before);
		struct shm_info info;
		struct shmid_ds d;
		int id = MUST(shmget(0xe1, PAGE, IPC_CREAT | 0600));
		char *p = attach(id);
		CHECK_EQ(shmget(0xe1, 0, 0), id);
		TEST_SUCC(shmctl(id, IPC_STAT, &d));
		TEST_SUCC(shmctl(id, IPC_SET, &d));
		TEST_SUCC(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
		TEST_SUCC(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
		CHECK_FDS(&before, "calls without any descriptor open");
		IN_CHILD
		{
			CHECK_EQ(nattch_of(id), 2);
			close_from(0);
			CHECK_LIFE(0xe2);
			TEST_SUCC(shmdt(p));
		}
		CHECK_EQ(nattch_of(id), 1);
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
		TEST_SUCC(shmdt(p));
		CHECK(!exists(id));
		CHECK_FDS(&before, "everything");
	}
}

TEST(others_count_a_process_that_closed_everything)
{
	int id = new_segment(PAGE);
	struct gate up = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		char *p = attach(id);
		gate_open(&up);
		close_from(0);
		for (p[0] = 'c';;)
			pause();
	}
	gate_wait(&up);
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(nattch_of(id), 1);
	MUST(kill(child, SIGKILL));
	wait_for(child);
	CHECK(!exists(id));
}

/* Every descriptor below the program's own is reused for something else. */
TEST(descriptors_that_are_reused_are_not_confused)
{
	IN_CHILD
	{
		int id = new_segment(PAGE);
		char *p = attach(id);
		close_from(3);
		int decoy = open("/dev/null", O_RDWR);
		for (int fd = 3; fd < 100; fd++)
			dup2(decoy, fd);
		struct fds before;
		fds_now(&before);
		CHECK_EQ(nattch_of(id), 1);
		IN_CHILD CHECK_EQ(nattch_of(id), 2);
		CHECK_LIFE(0xe3);
		CHECK(WRITABLE(p));
		TEST_SUCC(shmdt(p));
		CHECK_FDS(&before, "calls among decoys");
	}
}

/* ----------------------------------------------- no descriptor is left */

static struct fds before;
#define LEAVES_NO_FD(call)                                                                         \
	do {                                                                                       \
		fds_now(&before);                                                                  \
		(void)!(call);                                                                     \
		CHECK_FDS(&before, #call);                                                         \
	} while (0)

static void does_nothing(void *arg) { (void)arg; }

TEST(no_call_leaves_a_descriptor_behind)
{
	struct shmid_ds d = { 0 };
	struct shm_info info;
	int id = -1;
	char *p = NULL, *q = NULL;
	LEAVES_NO_FD(id = shmget(0xe4, PAGE, IPC_CREAT | 0600)); /* the first of all */
	REQUIRE(id >= 0);
	LEAVES_NO_FD(shmget(0xe4, 0, 0));
	LEAVES_NO_FD(shmget(0xe5, 0, 0));
	LEAVES_NO_FD(shmget(0xe4, 0, IPC_CREAT | IPC_EXCL));
	WIDE_ONLY(LEAVES_NO_FD(shmget(0xe6, 1ul << 60, IPC_CREAT | 0600));)
	LEAVES_NO_FD((p = shmat(id, NULL, 0)) == NULL);
	LEAVES_NO_FD((q = shmat(id, NULL, SHM_RDONLY)) == NULL);
	REQUIRE(p != (char *)-1 && q != (char *)-1);
	LEAVES_NO_FD(shmat(id, p, 0) == NULL);
	LEAVES_NO_FD(shmat(id, p + 1, 0) == NULL);
	LEAVES_NO_FD(shmat(id + 1, NULL, 0) == NULL);
	LEAVES_NO_FD(shmat(id, p, SHM_REMAP) == NULL);
	LEAVES_NO_FD(shmctl(id, IPC_STAT, &d));
	LEAVES_NO_FD(shmctl(id, IPC_STAT, NULL));
	LEAVES_NO_FD(shmctl(id, IPC_SET, &d));
	LEAVES_NO_FD(shmctl(id, SHM_LOCK, NULL));
	LEAVES_NO_FD(shmctl(id, SHM_UNLOCK, NULL));
	LEAVES_NO_FD(shmctl(0, SHM_STAT, &d));
	LEAVES_NO_FD(shmctl(0, SHM_STAT_ANY, &d));
	LEAVES_NO_FD(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	LEAVES_NO_FD(shmctl(0, IPC_INFO, (struct shmid_ds *)&d));
	LEAVES_NO_FD(lines_in_proc());
	LEAVES_NO_FD(limit("shmmax"));
	LEAVES_NO_FD(in_child(does_nothing, NULL));
	LEAVES_NO_FD(shmdt(q));
	LEAVES_NO_FD(shmdt(q));
	LEAVES_NO_FD(munmap(p, PAGE));
	LEAVES_NO_FD((p = shmat(id, NULL, 0)) == NULL);
	LEAVES_NO_FD(shmctl(id, IPC_RMID, NULL));
	LEAVES_NO_FD(shmdt(p));
	LEAVES_NO_FD(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(segments_in_all(), 0);
}

TEST(a_call_that_finds_a_user_dead_leaves_no_descriptor_behind)
{
	int id = new_segment(PAGE);
	struct shmid_ds d;
	for (int i = 0; i < 3; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			attach(id);
			kill(getpid(), SIGKILL);
		}
		wait_for(pid);
		LEAVES_NO_FD(shmctl(id, IPC_STAT, &d));
		CHECK_EQ(d.shm_nattch, 0);
	}
}

/* ------------------------------------------------------ all are in use */

static void every_call(key_t key, int existing, char *attached)
{
	struct shmid_ds d;
	struct shm_info info;
	TEST_SUCC(shmctl(existing, IPC_STAT, &d));
	long n = d.shm_nattch;
	int id = shmget(key, 3 * PAGE, IPC_CREAT | 0600);
	CHECK(id >= 0);
	TEST_RES(shmget(key, 0, 0), _ret == id);
	TEST_ERRNO(shmget(key + 1, 0, 0), ENOENT);
	char *p = shmat(id, NULL, 0), *q = shmat(existing, NULL, 0);
	CHECK(p != (char *)-1 && q != (char *)-1);
	if (p != (char *)-1) {
		CHECK(WRITABLE(p + 3 * PAGE - 1));
		CHECK_EQ(nattch_of(id), 1);
	}
	if (q != (char *)-1) {
		CHECK_EQ(q[0], 'e');
		CHECK_EQ(nattch_of(existing), n + 1);
		TEST_SUCC(shmdt(q));
	}
	TEST_SUCC(shmctl(id, IPC_STAT, &d));
	TEST_SUCC(shmctl(id, IPC_SET, &d));
	TEST_SUCC(shmctl(id, SHM_LOCK, NULL));
	TEST_SUCC(shmctl(id, SHM_UNLOCK, NULL));
	TEST_RES(shmctl(id & 32767, SHM_STAT, &d), _ret == id);
	TEST_RES(shmctl(id & 32767, SHM_STAT_ANY, &d), _ret == id);
	TEST_SUCC(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	TEST_SUCC(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
	TEST_ERRNO(open("/proc/sysvipc/shm", O_RDONLY), EMFILE);
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	TEST_SUCC(shmdt(p));
	TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EINVAL);
	if (attached) {
		TEST_SUCC(shmdt(attached));
		CHECK_EQ(nattch_of(existing), n - 1);
	}
}

TEST(with_all_descriptors_in_use_every_call_works)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	p[0] = 'e';
	IN_CHILD
	{
		use_up_descriptors();
		fds_now(&before);
		every_call(0xe7, id, p);
		CHECK_FDS(&before, "calls with no descriptor left");
	}
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(segments_in_all(), 1);
}

TEST(a_limit_of_no_descriptors_at_all_does_no_harm)
{
	/* No file can be opened by any means then: what needs one may be refused, the rest works. */
	int id = new_segment(PAGE);
	char *p = attach(id);
	IN_CHILD
	{
		struct shmid_ds d;
		MUST(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 0, 0 }));
		fds_now(&before);
		struct shmid_ds same = { .shm_perm = { .uid = geteuid(), .gid = getegid(), .mode = 0600 } };
		errno = 0;
		CHECK(shmctl(id, IPC_SET, &same) == 0 || (under_shim() && in_the_manual("shmctl", errno)));
		TEST_RES(shmctl(id & 32767, SHM_STAT, &d), _ret == id);
		CHECK_EQ(d.shm_nattch, 2);
		struct life l = whole_life(0xe8, PAGE);
		CHECK(!l.failed || (under_shim() && in_the_manual(l.failed, l.err)));
		IN_CHILD CHECK(WRITABLE(p));
		TEST_SUCC(shmdt(p));
		CHECK_FDS(&before, "calls with a limit of no descriptors");
	}
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(segments_in_all(), 1);
}

TEST(the_first_call_of_a_process_can_come_with_all_descriptors_in_use)
{
	/* The namespace exists; this process has not used it: another made the segment. */
	EXPECT_STEPS("get 0\nat 0\n", "get,0xe9,4096,01600", "at", "put,e");
	int *made = shared_memory(sizeof *made);
	IN_CHILD *made = id_at(0);
	use_up_descriptors();
	fds_now(&before);
	every_call(0xea, *made, NULL);
	CHECK_FDS(&before, "first calls with no descriptor left");
}

TEST(the_first_call_in_a_namespace_can_come_with_all_descriptors_in_use)
{
	use_up_descriptors();
	fds_now(&before);
	CHECK_LIFE(0xeb);
	CHECK_FDS(&before, "the very first calls with no descriptor left");
}

TEST(a_fork_with_all_descriptors_in_use_counts)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct gate go = gate_make();
	use_up_descriptors();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		CHECK_EQ(nattch_of(id), 2);
		CHECK_LIFE(0xec);
		gate_wait(&go);
		TEST_SUCC(shmdt(p));
		_exit(0);
	}
	CHECK_EQ(nattch_of(id), 2);
	gate_open(&go);
	REAP(pid);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(stat_of(id).shm_lpid, pid);
}

TEST(a_death_is_seen_with_all_descriptors_in_use)
{
	int id = new_segment(PAGE);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		kill(getpid(), SIGKILL);
	}
	wait_for(pid);
	use_up_descriptors();
	CHECK_EQ(nattch_of(id), 0);
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(segments_in_all(), 0);
}

static void *lives_many_times(void *arg)
{
	(void)arg;
	for (int i = 0; i < 30; i++) {
		struct life l = whole_life(IPC_PRIVATE, PAGE);
		if (l.failed)
			FATAL("%s: %s", l.failed, errno_name(l.err));
	}
	return NULL;
}

TEST(threads_with_all_descriptors_in_use_do_not_disturb_each_other)
{
	pthread_t t[4];
	use_up_descriptors();
	fds_now(&before);
	for (int i = 0; i < 4; i++)
		thread_start(&t[i], lives_many_times, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CHECK_FDS(&before, "threads with no descriptor left");
	CHECK_EQ(segments_in_all(), 0);
}
