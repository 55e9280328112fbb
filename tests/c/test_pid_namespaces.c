/* Processes of several pid namespaces, whose pids collide, share a namespace of segments. */
#include "proctest.h"

/* A child that is pid 1 of a pid namespace of its own; its pid as we see it. */
static pid_t first_of_a_pid_namespace(void (*fn)(void *), void *arg)
{
	int *status = shared_memory(sizeof *status);
	pid_t *inner = shared_memory(sizeof *inner);
	struct gate up = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		if (unshare_as_self(CLONE_NEWPID) < 0) {
			*status = errno;
			gate_open(&up);
			_exit(0);
		}
		pid_t one = MUST(fork());
		if (one == 0) {
			CHECK_EQ(getpid(), 1);
			fn(arg);
			_exit(0);
		}
		*inner = one;
		gate_open(&up);
		REAP(one);
		_exit(0);
	}
	gate_wait(&up);
	if (*status)
		SKIP("no right to a pid namespace: %s", errno_name(*status));
	return pid;
}

struct meeting { int id; struct gate up, go; };

static void attach_and_wait(void *arg)
{
	struct meeting *m = arg;
	char *p = attach(m->id);
	atomic_fetch_add((atomic_int *)p, 1);
	gate_open(&m->up);
	gate_wait(&m->go);
}

TEST(attaches_of_other_pid_namespaces_count_and_end_with_their_process)
{
	struct meeting m = { new_segment(PAGE), gate_make(), gate_make() };
	pid_t pid[3];
	/* All three are pid 1 for themselves. */
	for (int i = 0; i < 3; i++) {
		pid[i] = first_of_a_pid_namespace(attach_and_wait, &m);
		gate_wait(&m.up);
		CHECK_EQ(nattch_of(m.id), i + 1);
	}
	MUST(shmctl(m.id, IPC_RMID, NULL));
	for (int i = 0; i < 3; i++)
		gate_open(&m.go);
	for (int i = 0; i < 3; i++)
		REAP(pid[i]);
	CHECK(!exists(m.id));
}

static void die_attached(void *arg)
{
	struct meeting *m = arg;
	strcpy(attach(m->id), "from inside");
	_exit(0);
}

TEST(a_death_in_another_pid_namespace_is_seen)
{
	struct meeting m = { new_segment(PAGE), gate_make(), gate_make() };
	char *p = attach(m.id);
	for (int i = 0; i < 5; i++) {
		REAP(first_of_a_pid_namespace(die_attached, &m));
		CHECK_EQ(nattch_of(m.id), 1);
	}
	CHECK_STR(p, "from inside");
}

static void see_the_outside(void *arg)
{
	struct meeting *m = arg;
	CHECK_EQ(nattch_of(m->id), 1); /* the process outside, whose pid means nothing here */
	char *p = attach(m->id);
	CHECK_EQ(nattch_of(m->id), 2);
	CHECK_EQ(stat_of(m->id).shm_lpid, 1);
	IN_CHILD CHECK_EQ(nattch_of(m->id), 3);
	CHECK_EQ(nattch_of(m->id), 2);
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(m->id), 1);
}

TEST(processes_outside_count_inside)
{
	struct meeting m = { new_segment(PAGE), gate_make(), gate_make() };
	pid_t outsider = MUST(fork());
	if (outsider == 0) {
		attach_and_wait(&m);
		_exit(0);
	}
	gate_wait(&m.up);
	REAP(first_of_a_pid_namespace(see_the_outside, &m));
	CHECK_EQ(nattch_of(m.id), 1);
	gate_open(&m.go);
	REAP(outsider);
	CHECK_EQ(nattch_of(m.id), 0);
}

static void work_at_a_key(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++) {
		int id = shmget(0x1d1, PAGE, IPC_CREAT | 0600);
		if (id < 0)
			FATAL("shmget: %s", errno_name(errno));
		char *p = shmat(id, NULL, 0);
		int err = errno;
		REQUIRE(p != (char *)-1 || err == EINVAL || err == EIDRM);
		if (i % 7 == 0 && shmctl(id, IPC_RMID, NULL) < 0)
			REQUIRE(errno == EINVAL || errno == EIDRM);
		if (p != (char *)-1)
			MUST(shmdt(p));
	}
}

TEST(processes_with_the_same_pid_do_not_get_in_each_others_way)
{
	pid_t pid[6];
	for (int i = 0; i < 6; i++)
		pid[i] = first_of_a_pid_namespace(work_at_a_key, NULL);
	for (int i = 0; i < 6; i++)
		REAP(pid[i]);
	int id = shmget(0x1d1, 0, 0);
	CHECK(segments_in_all() == (id >= 0));
	if (id >= 0) {
		CHECK_EQ(nattch_of(id), 0);
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	}
	CHECK_EQ(segments_in_all(), 0);
}
