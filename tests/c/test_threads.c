/* Attaches belong to the process: whichever thread made them, whichever is left. */
#include "proctest.h"
#include <sys/time.h>

static int id;
static char *p;

static void *attaches(void *arg)
{
	(void)arg;
	p = attach(id);
	p[0] = 't';
	return NULL;
}
static void *detaches(void *arg)
{
	(void)arg;
	TEST_SUCC(shmdt(p));
	return NULL;
}
static void run_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;
	thread_start(&t, fn, arg);
	pthread_join(t, NULL);
}

TEST(an_attach_outlives_the_thread_that_made_it)
{
	id = new_segment(PAGE);
	run_thread(attaches, NULL);
	CHECK_EQ(p[0], 't');
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_thread_detaches_what_another_attached)
{
	id = new_segment(PAGE);
	p = attach(id);
	run_thread(detaches, NULL);
	CHECK_EQ(nattch_of(id), 0);
	CHECK(!READABLE(p));
	run_thread(attaches, NULL);
	run_thread(detaches, NULL);
	CHECK_EQ(nattch_of(id), 0);
}

static void *creates(void *arg)
{
	*(int *)arg = MUST(shmget(0xb1, PAGE, IPC_CREAT | 0600));
	CHECK(gettid() != getpid());
	MUST(shmat(*(int *)arg, NULL, 0));
	return NULL;
}

TEST(cpid_and_lpid_name_the_process_not_the_thread)
{
	int made;
	run_thread(creates, &made);
	CHECK_EQ(stat_of(made).shm_cpid, getpid());
	CHECK_EQ(stat_of(made).shm_lpid, getpid());
}

/* ------------------------------------------------ the main thread leaves */

static pthread_t main_thread;
static struct gate main_is_gone, go;

static void *stays_behind(void *arg)
{
	(void)arg;
	pthread_join(main_thread, NULL);
	CHECK_EQ(nattch_of(id), 1);
	p[0] = 'b';
	CHECK_LIFE(0xb2);
	gate_open(&main_is_gone);
	gate_wait(&go);
	CHECK_EQ(nattch_of(id), 1);
	return NULL;
}

static pid_t process_whose_main_thread_leaves(void)
{
	GLIBC_ONLY("musl 1.2.3 never lets a main thread be joined in a forked child");
	main_is_gone = gate_make();
	go = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pthread_t t;
		main_thread = pthread_self();
		p = attach(id);
		thread_start(&t, stays_behind, NULL);
		pthread_exit(NULL);
	}
	gate_wait(&main_is_gone);
	return pid;
}

TEST(attaches_stay_until_the_last_thread_is_gone)
{
	id = new_segment(PAGE);
	pid_t pid = process_whose_main_thread_leaves();
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(nattch_of(id), 1);
	char *q = attach(id);
	CHECK_EQ(q[0], 'b');
	MUST(shmdt(q));
	CHECK(exists(id));
	gate_open(&go);
	REAP(pid);
	CHECK(!exists(id));
}

TEST(a_process_whose_main_thread_left_is_reaped_when_it_is_killed)
{
	id = new_segment(PAGE);
	pid_t pid = process_whose_main_thread_leaves();
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(stat_of(id).shm_lpid, pid);
}

/* ------------------------------------------------------- exactly one wins */

enum { RACERS = 8, ROUNDS = 200 };
static pthread_barrier_t start, end;
static atomic_int winners, others;

static void *races(void *fn)
{
	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&start);
		((void (*)(void))fn)();
		pthread_barrier_wait(&end);
	}
	return NULL;
}

/* Each round: `prepare`, then all threads at once, then `check`. */
static void race(void (*prepare)(void), void (*fn)(void), void (*check)(void))
{
	pthread_t t[RACERS];
	pthread_barrier_init(&start, NULL, RACERS + 1);
	pthread_barrier_init(&end, NULL, RACERS + 1);
	for (int i = 0; i < RACERS; i++)
		thread_start(&t[i], races, (void *)fn);
	for (int i = 0; i < ROUNDS; i++) {
		winners = others = 0;
		prepare();
		pthread_barrier_wait(&start);
		pthread_barrier_wait(&end);
		check();
	}
	for (int i = 0; i < RACERS; i++)
		pthread_join(t[i], NULL);
}

static void count(long r, int loser, int other_loser)
{
	if (r != -1)
		winners++;
	else if (errno == loser || errno == other_loser)
		others++;
	else
		FAIL("a racer got %s", errno_name(errno));
}

static void nothing(void) {}
static void one_winner(void)
{
	CHECK_EQ(winners, 1);
	CHECK_EQ(others, RACERS - 1);
}

static void race_to_create(void) { count(shmget(0xb3, PAGE, IPC_CREAT | IPC_EXCL | 0600), EEXIST, 0); }
static void check_one_created(void)
{
	one_winner();
	MUST(shmctl(MUST(shmget(0xb3, 0, 0)), IPC_RMID, NULL));
	CHECK_EQ(segments_in_all(), 0);
}
TEST(of_threads_that_create_one_key_exclusively_one_succeeds)
{
	race(nothing, race_to_create, check_one_created);
}

static atomic_int ids[RACERS];
static void race_to_find_or_create(void)
{
	int i = atomic_fetch_add(&others, 1);
	ids[i] = shmget(0xb4, PAGE, IPC_CREAT | 0600);
}
static void check_all_the_same(void)
{
	for (int i = 0; i < RACERS; i++)
		CHECK_EQ(ids[i], ids[0]);
	CHECK(ids[0] >= 0);
	CHECK_EQ(segments_in_all(), 1);
	MUST(shmctl(ids[0], IPC_RMID, NULL));
}
TEST(threads_that_find_or_create_one_key_get_one_segment)
{
	race(nothing, race_to_find_or_create, check_all_the_same);
}

static void make_it(void) { id = new_segment(PAGE); }
static void race_to_remove(void) { count(shmctl(id, IPC_RMID, NULL), EINVAL, EIDRM); }
TEST(of_threads_that_remove_one_segment_one_succeeds)
{
	race(make_it, race_to_remove, one_winner);
	CHECK_EQ(segments_in_all(), 0);
}

static void make_and_attach(void)
{
	id = new_segment(PAGE);
	p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
}
static void race_to_detach(void) { count(shmdt(p), EINVAL, 0); }
TEST(of_threads_that_detach_one_address_one_succeeds)
{
	race(make_and_attach, race_to_detach, one_winner);
	CHECK_EQ(segments_in_all(), 0);
}

static void race_for_an_address(void) { count((long)shmat(id, FREE_AREA, 0), EINVAL, 0); }
static void check_one_attached(void)
{
	one_winner();
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(FREE_AREA));
	CHECK_EQ(nattch_of(id), 0);
}
TEST(of_threads_that_attach_at_one_address_one_succeeds)
{
	id = new_segment(PAGE);
	race(nothing, race_for_an_address, check_one_attached);
}

/* -------------------------------------------------------- all at once */

enum { CROWD = 8, TURNS = 400, STEADY = 4 };
static int steady[STEADY];

static void *churns(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)arg + 1;
	for (int i = 0; i < times_here(TURNS); i++) {
		int s = steady[next_random(&random) % STEADY];
		switch (next_random(&random) % 5) {
		case 0:
		case 1: {
			char *q = shmat(s, NULL, 0), *r = shmat(s, NULL, SHM_RDONLY);
			REQUIRE(q != (char *)-1 && r != (char *)-1);
			atomic_fetch_add((atomic_int *)q, 1);
			REQUIRE(*(int *)r > 0);
			REQUIRE(shmdt(q) == 0 && shmdt(r) == 0);
			break;
		}
		case 2: {
			struct life l = whole_life(IPC_PRIVATE, 1 + next_random(&random));
			if (l.failed)
				FATAL("a life ended at %s: %s", l.failed, errno_name(l.err));
			break;
		}
		case 3:
			REQUIRE(nattch_of(s) >= 1);
			break;
		case 4: {
			int found = shmget(0xb50 + (int)(next_random(&random) % STEADY), 0, 0);
			REQUIRE(found >= 0);
			break;
		}
		}
	}
	return NULL;
}

TEST(threads_that_attach_detach_and_create_at_once_leave_consistent_books)
{
	pthread_t t[CROWD];
	char *kept[STEADY];
	for (int i = 0; i < STEADY; i++) {
		steady[i] = MUST(shmget(0xb50 + i, PAGE, IPC_CREAT | 0600));
		kept[i] = attach(steady[i]);
	}
	for (int i = 0; i < CROWD; i++)
		thread_start(&t[i], churns, (void *)(uintptr_t)i);
	for (int i = 0; i < CROWD; i++)
		pthread_join(t[i], NULL);
	int sum = 0;
	for (int i = 0; i < STEADY; i++) {
		CHECK_EQ(nattch_of(steady[i]), 1);
		sum += *(int *)kept[i];
	}
	CHECK(sum > 0);
	char *at[16];
	CHECK_EQ(attaches_in_maps(at, 16), STEADY);
	CHECK_EQ(segments_in_all(), STEADY);
}

static atomic_bool stop;
static void *churns_until_stopped(void *arg)
{
	(void)arg;
	while (!stop) {
		char *q = shmat(id, NULL, 0);
		if (q == (char *)-1 || shmdt(q) < 0)
			FATAL("attach and detach: %s", errno_name(errno));
	}
	return NULL;
}

TEST(a_fork_while_other_threads_attach_and_detach_counts_right)
{
	int quiet = new_segment(PAGE);
	char *q = attach(quiet);
	id = new_segment(PAGE);
	pthread_t t[3];
	for (int i = 0; i < 3; i++)
		thread_start(&t[i], churns_until_stopped, NULL);
	for (int i = 0; i < 60; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			/* Only this thread is left; no lock of the others may be. */
			CHECK_EQ(nattch_of(quiet), 2);
			CHECK_LIFE(IPC_PRIVATE);
			TEST_SUCC(shmdt(q));
			char *at[16];
			int n = attaches_in_maps(at, 16);
			REQUIRE(n <= 3);
			for (int j = 0; j < n; j++)
				TEST_SUCC(shmdt(at[j]));
			_exit(0);
		}
		REAP(pid);
		CHECK_EQ(nattch_of(quiet), 1);
	}
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(nattch_of(quiet), 1);
}
