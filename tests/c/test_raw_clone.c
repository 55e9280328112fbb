/*
 * Children that no fork handler has seen: the bare system call, _Fork, clone
 * with shared memory. The kernel counts such a child at once; a library learns
 * of it at the child's own first call, so nothing is compared before that.
 */
#include "proctest.h"

static pid_t by_bare_clone(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
#ifdef SYS_fork
static pid_t by_bare_fork(void) { return (pid_t)syscall(SYS_fork); }
#endif
static pid_t by_underscore_fork(void) { return _Fork(); }

static pid_t (*const ways[])(void) = {
	by_bare_clone,
#ifdef SYS_fork
	by_bare_fork,
#endif
	by_underscore_fork,
};
enum { WAYS = sizeof ways / sizeof *ways };

TEST(the_child_can_use_the_memory)
{
	int id = new_segment(2 * PAGE);
	char *p = attach(id);
	for (int w = 0; w < WAYS; w++) {
		memset(p, 'p', 2 * PAGE);
		pid_t pid = MUST(ways[w]());
		if (pid == 0) {
			CHECK_EQ(p[PAGE], 'p');
			memset(p, 'c', 2 * PAGE);
			_exit(0);
		}
		REAP(pid);
		CHECK_EQ(p[0], 'c');
		CHECK_EQ(p[2 * PAGE - 1], 'c');
		CHECK_EQ(nattch_of(id), 1);
	}
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(the_childs_memory_is_safe_when_the_parent_detaches_and_removes)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(4 * PAGE);
		char *p = attach(id);
		memset(p, 'p', 4 * PAGE);
		struct gate go = gate_make();
		pid_t pid = MUST(ways[w]());
		if (pid == 0) {
			gate_wait(&go);
			for (size_t i = 0; i < 4 * PAGE; i += PAGE)
				CHECK_EQ(p[i], 'p');
			p[PAGE] = 'c';
			CHECK_EQ(p[PAGE], 'c');
			TEST_SUCC(shmdt(p));
			CHECK(!READABLE(p));
			_exit(0);
		}
		TEST_SUCC(shmdt(p));
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
		gate_open(&go);
		REAP(pid);
		CHECK(!exists(id));
		CHECK_EQ(segments_in_all(), 0);
	}
}

TEST(the_child_is_counted_at_its_first_call)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(PAGE);
		attach(id);
		attach(id);
		struct gate go = gate_make(), up = gate_make();
		pid_t pid = MUST(ways[w]());
		if (pid == 0) {
			CHECK_EQ(nattch_of(id), 4);
			gate_open(&up);
			gate_wait(&go);
			_exit(0);
		}
		gate_wait(&up);
		CHECK_EQ(nattch_of(id), 4);
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 2);
		CHECK_EQ(stat_of(id).shm_lpid, pid);
	}
}

/* Each is the child's first call; after it, the child has what it inherited. */
static int first_id;
static char *first_address;
static void asks_for_a_key(void) { TEST_ERRNO(shmget(0x7777, 0, 0), ENOENT); }
static void attaches_another(void)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmdt(p));
	MUST(shmctl(id, IPC_RMID, NULL));
}
static void makes_a_segment(void) { MUST(shmctl(new_segment(PAGE), IPC_RMID, NULL)); }
static void asks_for_limits(void)
{
	struct shminfo info;
	TEST_SUCC(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
}
static void reads_the_list(void) { CHECK_EQ(lines_in_proc(), 1); }
static void fails_to_detach(void) { TEST_ERRNO(shmdt(first_address + 1), EINVAL); }
static void asks_shm_info(void) { CHECK_EQ(segments_in_all(), 1); }
static void removes_it(void) { TEST_SUCC(shmctl(first_id, IPC_RMID, NULL)); }

TEST(whatever_the_childs_first_call_is_it_is_counted)
{
	static void (*const first[])(void) = { asks_for_a_key, attaches_another, makes_a_segment, asks_for_limits,
					       reads_the_list, fails_to_detach, asks_shm_info, removes_it };
	for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
		for (int w = 0; w < WAYS; w++) {
			int id = first_id = new_segment(PAGE);
			char *p = first_address = attach(id);
			struct gate go = gate_make(), up = gate_make();
			pid_t pid = MUST(ways[w]());
			if (pid == 0) {
				first[i]();
				COUNT_CHECK();
				if (nattch_of(id) != 2)
					FAIL("first call %zu, way %d: nattch is %ld, expected 2", i, w, nattch_of(id));
				gate_open(&up);
				gate_wait(&go);
				TEST_SUCC(shmdt(p));
				_exit(0);
			}
			gate_wait(&up);
			CHECK_EQ(nattch_of(id), 2);
			gate_open(&go);
			REAP(pid);
			CHECK_EQ(nattch_of(id), 1);
			CHECK_EQ(stat_of(id).shm_lpid, pid);
			MUST(shmdt(p));
			shmctl(id, IPC_RMID, NULL);
			CHECK_EQ(segments_in_all(), 0);
		}
	}
}

TEST(a_detach_as_the_first_call_takes_only_the_childs_attach)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(PAGE);
		char *p = attach(id);
		pid_t pid = MUST(ways[w]());
		if (pid == 0) {
			TEST_SUCC(shmdt(p));
			CHECK(!READABLE(p));
			TEST_ERRNO(shmdt(p), EINVAL);
			CHECK_EQ(nattch_of(id), 1);
			_exit(0);
		}
		REAP(pid);
		CHECK_EQ(nattch_of(id), 1);
		CHECK_EQ(stat_of(id).shm_lpid, pid);
		CHECK(WRITABLE(p));
		TEST_SUCC(shmdt(p));
	}
}

TEST(a_child_that_never_calls_leaves_the_books_right)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(PAGE);
		char *p = attach(id);
		pid_t pid = MUST(ways[w]());
		if (pid == 0)
			_exit(0);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 1);
		MUST(shmctl(id, IPC_RMID, NULL));
		TEST_SUCC(shmdt(p));
		CHECK(!exists(id));
	}
}

TEST(a_child_of_such_a_child_is_counted_too)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(PAGE);
		char *p = attach(id);
		pid_t pid = MUST(ways[w]());
		if (pid == 0) {
			pid_t inner = MUST(fork()); /* before any call of the child itself */
			if (inner == 0) {
				long n = nattch_of(id);
				COUNT_CHECK();
				if (n != 3)
					FAIL("way %d: nattch is %ld, expected 3", w, n);
				p[0] = 'i';
				TEST_SUCC(shmdt(p));
				_exit(0);
			}
			REAP(inner);
			CHECK_EQ(nattch_of(id), 2);
			_exit(0);
		}
		REAP(pid);
		CHECK_EQ(p[0], 'i');
		CHECK_EQ(nattch_of(id), 1);
	}
}

/*
 * A child that fork has made, and that has made no call yet, makes one without a handler and ends before it.
 */
TEST(a_bare_child_of_a_forked_one_outlives_it)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(PAGE);
		char *p = attach(id);
		struct gate orphaned = gate_make(), up = gate_make(), go = gate_make();
		pid_t pid = MUST(fork());
		if (pid == 0) {
			pid_t inner = MUST(ways[w]());
			if (inner == 0) {
				gate_wait(&orphaned);
				CHECK_EQ(nattch_of(id), 2);
				p[0] = 'i';
				gate_open(&up);
				gate_wait(&go);
				TEST_SUCC(shmdt(p));
				gate_open(&up);
				_exit(0);
			}
			_exit(0);
		}
		REAP(pid);
		gate_open(&orphaned);
		gate_wait(&up);
		CHECK_EQ(nattch_of(id), 2);
		CHECK_EQ(p[0], 'i');
		gate_open(&go);
		gate_wait(&up);
		CHECK_EQ(nattch_of(id), 1);
		TEST_SUCC(shmdt(p));
		MUST(shmctl(id, IPC_RMID, NULL));
		CHECK_EQ(segments_in_all(), 0);
	}
}

/* The same, and the forked one lives on and calls after it, in each order. */
TEST(a_bare_child_and_the_forked_one_that_made_it_are_counted_apart)
{
	for (int w = 0; w < WAYS; w++) {
		for (int inner_first = 0; inner_first < 2; inner_first++) {
			int id = new_segment(PAGE);
			char *p = attach(id);
			struct gate inner_go = gate_make(), inner_up = gate_make(), go = gate_make(), up = gate_make();
			pid_t pid = MUST(fork());
			if (pid == 0) {
				pid_t inner = MUST(ways[w]());
				struct gate *mine = inner ? &go : &inner_go, *told = inner ? &up : &inner_up;
				gate_wait(mine);
				CHECK(nattch_of(id) >= 2);
				gate_open(told);
				gate_wait(mine);
				if (inner)
					REAP(inner);
				_exit(0);
			}
			gate_open(inner_first ? &inner_go : &go);
			gate_wait(inner_first ? &inner_up : &up);
			gate_open(inner_first ? &go : &inner_go);
			gate_wait(inner_first ? &up : &inner_up);
			CHECK_EQ(nattch_of(id), 3);
			gate_open(&inner_go);
			gate_open(&go);
			REAP(pid);
			CHECK_EQ(nattch_of(id), 1);
			CHECK_EQ(stat_of(id).shm_lpid, pid);
			TEST_SUCC(shmdt(p));
			MUST(shmctl(id, IPC_RMID, NULL));
			CHECK_EQ(segments_in_all(), 0);
		}
	}
}

/* One that makes no call at all, and forks with handlers. */
TEST(a_forked_child_of_a_forked_child_that_made_no_call)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct gate up = gate_make(), go = gate_make(), orphaned = gate_make(), end = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pid_t inner = MUST(fork());
		if (inner == 0) {
			gate_open(&up);
			gate_wait(&orphaned);
			CHECK_EQ(nattch_of(id), 2);
			gate_open(&up);
			gate_wait(&end);
			_exit(0);
		}
		gate_wait(&go);
		_exit(0);
	}
	gate_wait(&up);
	CHECK_EQ(nattch_of(id), 3);
	gate_open(&go);
	REAP(pid);
	CHECK_EQ(nattch_of(id), 2);
	gate_open(&orphaned);
	gate_wait(&up);
	CHECK_EQ(nattch_of(id), 2);
	gate_open(&end);
	TEST_SUCC(shmdt(p));
}

TEST(bare_children_of_bare_children_can_use_and_detach)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(PAGE);
		char *p = attach(id);
		pid_t pid = MUST(ways[w]());
		if (pid == 0) {
			pid_t inner = MUST(ways[w]());
			if (inner == 0) {
				p[1] = 'x';
				TEST_SUCC(shmdt(p));
				TEST_ERRNO(shmdt(p), EINVAL);
				_exit(0);
			}
			REAP(inner);
			CHECK(WRITABLE(p));
			TEST_SUCC(shmdt(p));
			CHECK_EQ(nattch_of(id), 1);
			_exit(0);
		}
		REAP(pid);
		CHECK_EQ(p[1], 'x');
		CHECK_EQ(nattch_of(id), 1);
		TEST_SUCC(shmdt(p));
	}
}

TEST(the_childs_own_attach_is_not_the_parents)
{
	for (int w = 0; w < WAYS; w++) {
		int id = new_segment(PAGE);
		attach(id);
		struct gate go = gate_make(), up = gate_make();
		pid_t pid = MUST(ways[w]());
		if (pid == 0) {
			attach_at(id, FREE_AREA);
			gate_open(&up);
			gate_wait(&go);
			_exit(0);
		}
		gate_wait(&up);
		CHECK_EQ(nattch_of(id), 3);
		TEST_ERRNO(shmdt(FREE_AREA), EINVAL);
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 1);
	}
}

/* ----------------------------------------------- clone with shared memory */

static char stack[256 * 1024] __attribute__((aligned(64)));
static int shared_id;
static char *shared_address;

static int detaches(void *arg)
{
	(void)arg;
	return shmdt(shared_address) == 0 ? 0 : 1;
}
static int attaches(void *arg)
{
	(void)arg;
	shared_address = shmat(shared_id, NULL, 0);
	return shared_address != (char *)-1 ? 0 : 1;
}
static int only_exits(void *arg)
{
	(void)arg;
	return 0;
}

static pid_t clone_sharing_memory(int (*fn)(void *))
{
	pid_t pid = MUST(clone(fn, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL));
	REAP(pid);
	return pid;
}

/* The library asks for its pid once and keeps it in the memory that both share. */
static pid_t as_left_by(pid_t sharing)
{
	return under_shim() ? getpid() : sharing;
}

TEST(a_process_that_shares_the_memory_detaches_for_both)
{
	shared_id = new_segment(PAGE);
	shared_address = attach(shared_id);
	pid_t pid = clone_sharing_memory(detaches);
	struct shmid_ds d = stat_of(shared_id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_lpid, as_left_by(pid));
	CHECK(!READABLE(shared_address));
	TEST_ERRNO(shmdt(shared_address), EINVAL);
}

TEST(what_a_process_that_shares_the_memory_attaches_outlives_it)
{
	shared_id = new_segment(PAGE);
	pid_t pid = clone_sharing_memory(attaches);
	struct shmid_ds d = stat_of(shared_id);
	CHECK_EQ(d.shm_nattch, 1);
	CHECK_EQ(d.shm_lpid, as_left_by(pid));
	CHECK(WRITABLE(shared_address));
	TEST_SUCC(shmdt(shared_address));
	d = stat_of(shared_id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_lpid, getpid());
}

TEST(a_process_that_shares_the_memory_and_exits_takes_nothing_with_it)
{
	shared_id = new_segment(PAGE);
	shared_address = attach(shared_id);
	clone_sharing_memory(only_exits);
	CHECK_EQ(nattch_of(shared_id), 1);
	CHECK_EQ(stat_of(shared_id).shm_lpid, getpid());
	CHECK(WRITABLE(shared_address));
	MUST(shmctl(shared_id, IPC_RMID, NULL));
	CHECK(exists(shared_id));
	TEST_SUCC(shmdt(shared_address));
	CHECK(!exists(shared_id));
}

static int asks(void *arg)
{
	(void)arg;
	return nattch_of(shared_id) >= 2 ? 0 : 1;
}

TEST(the_first_call_of_a_forked_child_may_come_from_one_that_shares_its_memory)
{
	int (*const firsts[])(void *) = { asks, attaches, detaches };
	static const int more[] = { 0, 1, -1 };
	shared_id = new_segment(PAGE);
	char *p = attach(shared_id);
	for (int i = 0; i < 3; i++) {
		struct gate up = gate_make(), go = gate_make();
		shared_address = p;
		pid_t child = MUST(fork());
		if (child == 0) {
			clone_sharing_memory(firsts[i]);
			CHECK_EQ(nattch_of(shared_id), 2 + more[i]);
			gate_open(&up);
			gate_wait(&go);
			CHECK_EQ(nattch_of(shared_id), 2 + more[i]);
			kill(getpid(), SIGKILL);
		}
		gate_wait(&up);
		CHECK_EQ(nattch_of(shared_id), 2 + more[i]);
		IN_CHILD CHECK_EQ(nattch_of(shared_id), 3 + more[i]);
		gate_open(&go);
		wait_for(child);
		CHECK_EQ(nattch_of(shared_id), 1);
	}
}
