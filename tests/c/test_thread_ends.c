/* Threads that are cancelled in the middle of calls, that have little stack, that call while they end. */
#include "proctest.h"

static int id;
static struct gate running;

static void *calls_for_ever(void *type)
{
	int old;
	for (bool first = true;; first = false) {
		/* POSIX lets no call be made as long as this is so, but the three about cancellation. */
		if (type)
			pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
		for (volatile int turn = 0; type && turn < 300; turn++)
			continue;
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old);
		struct shmid_ds d;
		char *p = shmat(id, NULL, 0);
		shmctl(id, IPC_STAT, &d);
		shmget(0xc1, 0, 0);
		shmdt(p);
		shmctl(shmget(IPC_PRIVATE, PAGE, 0600), IPC_RMID, NULL);
		if (first)
			gate_open(&running);
		pthread_testcancel();
	}
	return NULL;
}

/* Other threads, other processes and this one find everything usable. */
static void check_usable(void)
{
	/* Cancelled between a call and the next: what it had attached, it leaves attached. */
	static char *at[1024];
	int n = attaches_in_maps(at, 1024);
	CHECK_EQ(nattch_of(id), n);
	for (int i = 0; i < n; i++)
		TEST_SUCC(shmdt(at[i]));
	CHECK_EQ(nattch_of(id), 0);
	CHECK_LIFE(0xc2);
	IN_CHILD CHECK_LIFE(0xc2);
}

static void cancel_many(void *type, int times)
{
	id = MUST(shmget(0xc1, PAGE, IPC_CREAT | 0600));
	running = gate_make();
	for (int i = 0; i < times; i++) {
		pthread_t t;
		void *result;
		thread_start(&t, calls_for_ever, type);
		gate_wait(&running);
		for (int turn = i % 40; turn > 0; turn--)
			sched_yield();
		pthread_cancel(t);
		pthread_join(t, &result);
		REQUIRE(result == PTHREAD_CANCELED);
	}
}

TEST(a_thread_cancelled_at_a_cancellation_point_leaves_no_harm)
{
	cancel_many(NULL, 100);
	check_usable();
	CHECK_EQ(segments_in_all(), 1);
}

TEST(a_thread_cancelled_anywhere_between_calls_leaves_no_harm)
{
	cancel_many(&id, 300);
	check_usable();
	/* A segment it had made and not yet removed may be left, one for each cancelled thread at most. */
	CHECK(segments_in_all() <= 301);
	struct shminfo info;
	int top = MUST(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
	for (int i = 0; i <= top; i++) {
		struct shmid_ds d;
		int found = shmctl(i, SHM_STAT, &d);
		if (found >= 0)
			TEST_SUCC(shmctl(found, IPC_RMID, NULL));
	}
	CHECK_EQ(segments_in_all(), 0);
	CHECK_EQ(lines_in_proc(), 0);
}

/* ------------------------------------------------------------ little stack */

static void *lives_once(void *arg)
{
	struct shm_info info;
	(void)arg;
	struct life l = whole_life(0xc3, 3 * PAGE);
	if (l.failed)
		FATAL("%s: %s", l.failed, errno_name(l.err));
	CHECK_EQ(shmctl(0, SHM_INFO, (struct shmid_ds *)&info), 0);
	return NULL;
}

TEST(a_thread_with_the_smallest_stack_can_make_every_call)
{
	pthread_attr_t attr;
	pthread_t t;
	CHECK_LIFE(0xc3); /* the first calls of the process */
	pthread_attr_init(&attr);
	CHECK_EQ(pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN)), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_create(&t, &attr, lives_once, NULL), 0);
		CHECK_EQ(pthread_join(t, NULL), 0);
	}
}

TEST(the_first_call_of_all_can_come_from_the_smallest_stack)
{
	IN_CHILD
	{
		pthread_attr_t attr;
		pthread_t t;
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN));
		CHECK_EQ(pthread_create(&t, &attr, lives_once, NULL), 0);
		CHECK_EQ(pthread_join(t, NULL), 0);
	}
}

/* ------------------------------------------------------- while a thread ends */

static atomic_int lives_at_the_end;
static void live_at_the_end(void *arg)
{
	(void)arg;
	struct life l = whole_life(IPC_PRIVATE, PAGE);
	if (l.failed)
		FAIL("at a thread's end, %s: %s", l.failed, errno_name(l.err));
	lives_at_the_end++;
}

/* What C++ registers a thread_local object's destructor with. */
extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;
static pthread_key_t key;

static void *ends_with_calls(void *calls_before)
{
	__cxa_thread_atexit_impl(live_at_the_end, NULL, __dso_handle);
	pthread_setspecific(key, "something");
	if (calls_before)
		live_at_the_end(NULL);
	__cxa_thread_atexit_impl(live_at_the_end, NULL, __dso_handle);
	pthread_cleanup_push(live_at_the_end, NULL);
	pthread_exit(NULL);
	pthread_cleanup_pop(0);
}

TEST(destructors_of_a_thread_can_call)
{
	CHECK_EQ(pthread_key_create(&key, live_at_the_end), 0);
	for (int i = 0; i < 10; i++) {
		pthread_t t;
		lives_at_the_end = 0;
		thread_start(&t, ends_with_calls, i % 2 ? &key : NULL);
		pthread_join(t, NULL);
		CHECK_EQ(lives_at_the_end, 4 + i % 2);
	}
	CHECK_EQ(segments_in_all(), 0);
}
