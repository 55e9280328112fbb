/* What a child of fork(2) inherits, and who counts it when. */
#include "proctest.h"

/* A child that stays until the gate opens. */
static pid_t waiting_child(struct gate *go)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		gate_wait(go);
		_exit(0);
	}
	return pid;
}

TEST(the_parent_sees_the_child_counted_the_moment_fork_returns)
{
	int id = new_segment(PAGE);
	attach(id);
	struct gate go = gate_make();
	for (int i = 0; i < 50; i++) {
		pid_t pid = waiting_child(&go);
		CHECK_EQ(nattch_of(id), 2);
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 1);
	}
}

TEST(the_child_sees_itself_counted_the_moment_fork_returns)
{
	int id = new_segment(PAGE);
	attach(id);
	for (int i = 0; i < 50; i++)
		IN_CHILD CHECK_EQ(nattch_of(id), 2);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(fork_sets_atime_and_makes_the_parent_lpid)
{
	int id = new_segment(PAGE);
	pid_t me = getpid();
	attach(id);
	struct shmid_ds was = stat_of(id);
	/* lpid becomes another's, so that its return to us shows. */
	IN_CHILD MUST(shmdt(MUST(shmat(id, NULL, 0))));
	CHECK(stat_of(id).shm_lpid != me);
	struct gate go = gate_make();
	time_t from = next_second();
	pid_t pid = waiting_child(&go);
	struct shmid_ds now = stat_of(id);
	CHECK_EQ(now.shm_lpid, me);
	CHECK_WITHIN(now.shm_atime, from, time(NULL));
	CHECK_EQ(now.shm_cpid, me);
	CHECK_EQ(now.shm_ctime, was.shm_ctime);
	CHECK(now.shm_dtime < from);
	gate_open(&go);
	REAP(pid);
}

TEST(the_child_too_sees_atime_and_the_parent_as_lpid)
{
	int id = new_segment(PAGE);
	pid_t me = getpid();
	attach(id);
	time_t from = next_second();
	IN_CHILD
	{
		struct shmid_ds now = stat_of(id);
		CHECK_EQ(now.shm_lpid, me);
		CHECK_EQ(now.shm_lpid, getppid());
		CHECK_EQ(now.shm_cpid, me);
		CHECK_WITHIN(now.shm_atime, from, time(NULL));
		CHECK_EQ(now.shm_dtime, 0);
	}
}

TEST(fork_without_attaches_leaves_a_segment_alone)
{
	int id = new_segment(PAGE);
	struct gate go = gate_make();
	pid_t pid = waiting_child(&go);
	struct shmid_ds now = stat_of(id);
	CHECK_EQ(now.shm_nattch, 0);
	CHECK_EQ(now.shm_atime, 0);
	CHECK_EQ(now.shm_lpid, 0);
	gate_open(&go);
	REAP(pid);
}

TEST(every_attach_of_every_segment_is_inherited_and_counted)
{
	int a = new_segment(PAGE), b = new_segment(5 * PAGE), c = new_segment(1);
	char *first = attach(a);
	attach(a);
	MUST(shmat(a, NULL, SHM_RDONLY));
	attach(b);
	struct gate go = gate_make();
	pid_t pid = waiting_child(&go);
	CHECK_EQ(nattch_of(a), 6);
	CHECK_EQ(nattch_of(b), 2);
	CHECK_EQ(nattch_of(c), 0);
	shmdt(first);
	CHECK_EQ(nattch_of(a), 5);
	gate_open(&go);
	REAP(pid);
	CHECK_EQ(nattch_of(a), 2);
	CHECK_EQ(nattch_of(b), 1);
}

TEST(a_fork_with_a_thousand_attaches_counts_them_all)
{
	enum { SEGMENTS = 20, EACH = 50 };
	int id[SEGMENTS];
	for (int i = 0; i < SEGMENTS; i++) {
		id[i] = new_segment(PAGE);
		for (int j = 0; j < EACH; j++)
			attach(id[i]);
	}
	struct gate go = gate_make();
	pid_t pid = waiting_child(&go);
	for (int i = 0; i < SEGMENTS; i++)
		CHECK_EQ(nattch_of(id[i]), 2 * EACH);
	gate_open(&go);
	REAP(pid);
	for (int i = 0; i < SEGMENTS; i++)
		CHECK_EQ(nattch_of(id[i]), EACH);
	IN_CHILD
	{
		for (int i = 0; i < SEGMENTS; i++)
			CHECK_EQ(nattch_of(id[i]), 2 * EACH);
		static char *at[SEGMENTS * EACH + 1];
		CHECK_EQ(attaches_in_maps(at, SEGMENTS * EACH + 1), SEGMENTS * EACH);
		for (int i = 0; i < SEGMENTS * EACH; i++)
			TEST_SUCC(shmdt(at[i]));
		for (int i = 0; i < SEGMENTS; i++)
			CHECK_EQ(nattch_of(id[i]), EACH);
	}
}

TEST(parent_and_child_see_each_others_writing_at_the_same_address)
{
	int id = new_segment(2 * PAGE);
	char *p = attach(id);
	p[0] = 'p';
	IN_CHILD
	{
		CHECK_EQ(p[0], 'p');
		p[2 * PAGE - 1] = 'c';
	}
	CHECK_EQ(p[2 * PAGE - 1], 'c');
}

TEST(a_read_only_attach_is_inherited_read_only)
{
	int id = new_segment(PAGE);
	char *p = MUST(shmat(id, NULL, SHM_RDONLY));
	IN_CHILD
	{
		CHECK(READABLE(p));
		CHECK(!WRITABLE(p));
		TEST_ERRNO(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
	}
}

TEST(the_child_detaches_its_own_copy_only)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	pid_t child = fork();
	if (child == 0) {
		TEST_SUCC(shmdt(p));
		CHECK(!READABLE(p));
		TEST_ERRNO(shmdt(p), EINVAL);
		struct shmid_ds d = stat_of(id);
		CHECK_EQ(d.shm_nattch, 1);
		CHECK_EQ(d.shm_lpid, getpid());
		_exit(0);
	}
	REAP(child);
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_nattch, 1);
	CHECK_EQ(d.shm_lpid, child); /* a process that has nothing attached changes nothing by dying */
	CHECK(WRITABLE(p));
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(the_child_keeps_its_copy_when_the_parent_detaches)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct gate go = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		gate_wait(&go);
		CHECK_EQ(nattch_of(id), 1);
		CHECK(WRITABLE(p));
		p[7] = 7;
		TEST_SUCC(shmdt(p));
		CHECK_EQ(nattch_of(id), 0);
		_exit(0);
	}
	MUST(shmdt(p));
	gate_open(&go);
	REAP(child);
	CHECK_EQ(attach(id)[7], 7);
}

TEST(what_the_child_attaches_is_its_own)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct gate go = gate_make(), done = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		char *q = attach_at(id, FREE_AREA);
		CHECK_EQ(nattch_of(id), 3);
		q[1] = 1;
		gate_open(&done);
		gate_wait(&go);
		_exit(0);
	}
	gate_wait(&done);
	CHECK_EQ(nattch_of(id), 3);
	CHECK_EQ(p[1], 1);
	TEST_ERRNO(shmdt(FREE_AREA), EINVAL);
	gate_open(&go);
	REAP(child);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(a_segment_that_the_child_makes_outlives_it)
{
	int *id = shared_memory(sizeof *id);
	pid_t child = MUST(fork());
	if (child == 0) {
		*id = MUST(shmget(0x51, PAGE, IPC_CREAT | 0600));
		strcpy(attach(*id), "made by the child");
		_exit(0);
	}
	REAP(child);
	CHECK_EQ(shmget(0x51, 0, 0), *id);
	struct shmid_ds d = stat_of(*id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_cpid, child);
	CHECK_EQ(d.shm_lpid, child);
	CHECK_STR(attach(*id), "made by the child");
}

TEST(a_fork_of_a_fork_counts_each_generation)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct gate go = gate_make(), forked = gate_make();
	pid_t *grandchild = shared_memory(sizeof *grandchild);
	pid_t child = MUST(fork());
	if (child == 0) {
		pid_t me = getpid();
		pid_t pid = MUST(fork());
		if (pid == 0) {
			struct shmid_ds d = stat_of(id);
			CHECK_EQ(d.shm_nattch, 3);
			CHECK_EQ(d.shm_lpid, me);
			gate_open(&forked);
			gate_wait(&go);
			CHECK_EQ(nattch_of(id), 2); /* its parent is gone */
			p[0] = 'g';
			gate_open(&forked);
			gate_wait(&go);
			_exit(0);
		}
		*grandchild = pid;
		CHECK_EQ(nattch_of(id), 3);
		gate_wait(&forked);
		_exit(0);
	}
	REAP(child);
	CHECK_EQ(nattch_of(id), 2);
	CHECK_EQ(stat_of(id).shm_lpid, child);
	gate_open(&go);
	gate_wait(&forked);
	CHECK_EQ(p[0], 'g');
	/* Not our child, so not ours to wait for: ask until it is dead. */
	MUST(kill(*grandchild, SIGKILL));
	while (nattch_of(id) != 1)
		sched_yield();
	CHECK_EQ(stat_of(id).shm_lpid, *grandchild);
}

TEST(a_child_that_has_detached_everything_forks_and_attaches_as_any_other)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	IN_CHILD
	{
		TEST_SUCC(shmdt(p));
		struct gate go = gate_make();
		pid_t plain = waiting_child(&go);
		CHECK_EQ(nattch_of(id), 1);
		attach(id);
		pid_t pid = waiting_child(&go);
		CHECK_EQ(nattch_of(id), 3);
		CHECK_EQ((pid_t)stat_of(id).shm_lpid, getpid());
		gate_open(&go);
		gate_open(&go);
		REAP(plain);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 2);
	}
	CHECK_EQ(nattch_of(id), 1);
}

TEST(a_child_that_never_asked_passes_on_what_it_has)
{
	int id = new_segment(PAGE), other = new_segment(PAGE);
	attach(id);
	attach(id);
	attach(other);
	struct gate go = gate_make(), up = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		/* Its first call of any kind is a fork. */
		pid_t grandchild = MUST(fork());
		if (grandchild == 0) {
			gate_open(&up);
			gate_wait(&go);
			_exit(0);
		}
		REAP(grandchild);
		_exit(0);
	}
	gate_wait(&up);
	CHECK_EQ(nattch_of(id), 6);
	CHECK_EQ(nattch_of(other), 3);
	gate_open(&go);
	REAP(child);
	CHECK_EQ(nattch_of(id), 2);
	CHECK_EQ(nattch_of(other), 1);
}

TEST(a_fork_after_removal_keeps_the_segment_alive)
{
	int id = MUST(shmget(0x52, PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	struct gate go = gate_make();
	pid_t child = waiting_child(&go);
	CHECK_EQ(nattch_of(id), 2);
	MUST(shmdt(p));
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_nattch, 1);
	CHECK_EQ(d.shm_perm.mode, 0600 | SHM_DEST);
	TEST_ERRNO(shmget(0x52, 0, 0), ENOENT);
	char *q = attach(id); /* by its id, while someone has it */
	MUST(shmdt(q));
	gate_open(&go);
	REAP(child);
	CHECK(!exists(id));
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
	CHECK_EQ(segments_in_all(), 0);
}

TEST(a_child_that_detaches_last_destroys_a_removed_segment)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	struct gate go = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		gate_wait(&go);
		CHECK(exists(id));
		TEST_SUCC(shmdt(p));
		CHECK(!exists(id));
		_exit(0);
	}
	MUST(shmdt(p));
	gate_open(&go);
	REAP(child);
	CHECK(!exists(id));
}

TEST(what_madvise_dontfork_covers_is_not_inherited)
{
	int id = new_segment(PAGE);
	char *kept = attach(id), *lost = attach(id);
	MUST(madvise(lost, PAGE, MADV_DONTFORK));
	struct gate go = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		CHECK(WRITABLE(kept));
		CHECK(!READABLE(lost));
		gate_wait(&go);
		_exit(0);
	}
	/* The advice is invisible to a library: it may count what the child could have had. */
	long n = nattch_of(id);
	CHECK(n == 3 || (under_shim() && n == 4));
	gate_open(&go);
	REAP(child);
	CHECK_EQ(nattch_of(id), 2);
	CHECK(WRITABLE(lost));
	TEST_SUCC(shmdt(lost));
	TEST_SUCC(shmdt(kept));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(many_processes_forking_at_once_are_all_counted)
{
	enum { CHILDREN = 6, GRANDCHILDREN = 5 };
	int id = new_segment(PAGE);
	attach(id);
	struct gate forked = gate_make(), go = gate_make();
	pid_t child[CHILDREN];
	for (int i = 0; i < CHILDREN; i++) {
		child[i] = MUST(fork());
		if (child[i] == 0) {
			for (int j = 0; j < GRANDCHILDREN; j++) {
				pid_t pid = waiting_child(&go);
				CHECK(pid > 0);
				gate_open(&forked);
			}
			for (int j = 0; j < GRANDCHILDREN; j++)
				REAP(-1);
			_exit(0);
		}
	}
	for (int i = 0; i < CHILDREN * GRANDCHILDREN; i++)
		gate_wait(&forked);
	CHECK_EQ(nattch_of(id), 1 + CHILDREN + CHILDREN * GRANDCHILDREN);
	for (int i = 0; i < CHILDREN * GRANDCHILDREN; i++)
		gate_open(&go);
	for (int i = 0; i < CHILDREN; i++)
		REAP(child[i]);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(a_daemon_keeps_what_it_attached)
{
	int id = new_segment(PAGE);
	struct gate go = gate_make(), ready = gate_make();
	pid_t starter = MUST(fork());
	if (starter == 0) {
		char *p = attach(id);
		strcpy(p, "before");
		if (daemon(0, 0) < 0)
			FATAL("daemon: %s", errno_name(errno));
		gate_wait(&go); /* until the starter has been waited for */
		CHECK_EQ(nattch_of(id), 1);
		CHECK_STR(p, "before");
		strcpy(p, "after");
		CHECK_LIFE(0x53);
		TEST_SUCC(shmdt(p));
		CHECK_EQ(stat_of(id).shm_lpid, getpid());
		gate_open(&ready);
		_exit(0);
	}
	REAP(starter);
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_nattch, 1);
	CHECK_EQ(d.shm_lpid, starter);
	gate_open(&go);
	gate_wait(&ready);
	CHECK_EQ(nattch_of(id), 0);
	CHECK_STR(attach(id), "after");
}
