/* What pthread_atfork handlers of other libraries do between our own: take a lock, wait for a thread, fork, fault. */
#include "proctest.h"

static int id;
static void *nothing(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

/* With or without something attached, with or without a second thread; the handlers are older than ours. */
static const struct {
	const char *name;
	bool attached, threads;
} states[] = {
	{ "alone, nothing attached", false, false },
	{ "alone, attached", true, false },
	{ "threads, nothing attached", false, true },
	{ "threads, attached", true, true },
};
static void in_each_state(void (*prepare)(void), void (*parent)(void), void (*child)(void), void (*body)(long attached))
{
	for (size_t i = 0; i < sizeof states / sizeof *states; i++)
		IN_CHILD
		{
			pthread_t thread;
			CHECK_EQ(pthread_atfork(prepare, parent, child), 0);
			if (states[i].threads)
				thread_start(&thread, nothing, NULL);
			id = new_segment(PAGE);
			if (states[i].attached)
				attach(id);
			body(states[i].attached);
			MUST(shmctl(id, IPC_RMID, NULL));
		}
	CHECK_EQ(segments_in_all(), 0);
}

static bool signals_are_blocked(void)
{
	sigset_t now;
	MUST(sigprocmask(SIG_BLOCK, NULL, &now));
	return sigismember(&now, SIGUSR1) || sigismember(&now, SIGSEGV);
}

/* ------------------------------------------------------------ a fork in a fork */

static bool is_inside;
static void forks(void)
{
	if (is_inside)
		return;
	is_inside = true;
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(0);
	REAP(pid);
	is_inside = false;
}

static void forks_and_looks(long attached)
{
	struct gate go = gate_make();
	for (int i = 0; i < 3; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			CHECK(!signals_are_blocked());
			gate_wait(&go); /* until what the parent's handlers have forked is gone */
			CHECK_EQ(nattch_of(id), 2 * attached);
			_exit(0);
		}
		CHECK_EQ(nattch_of(id), 2 * attached);
		CHECK(!signals_are_blocked());
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), attached);
		CHECK_LIFE(IPC_PRIVATE);
	}
}

TEST(a_handler_before_the_fork_may_fork) { in_each_state(forks, NULL, NULL, forks_and_looks); }
TEST(a_handler_of_the_parent_may_fork) { in_each_state(NULL, forks, NULL, forks_and_looks); }
TEST(a_handler_of_the_child_may_fork) { in_each_state(NULL, NULL, forks, forks_and_looks); }

/* --------------------------------------------- a lock that calls are made under */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void takes(void) { pthread_mutex_lock(&mutex); }
static void lets_go(void) { pthread_mutex_unlock(&mutex); }

static atomic_bool is_in, over;
static void *calls_under_the_lock(void *arg)
{
	(void)arg;
	while (!over) {
		pthread_mutex_lock(&mutex);
		is_in = true;
		usleep(20000);
		struct life l = whole_life(IPC_PRIVATE, PAGE);
		pthread_mutex_unlock(&mutex);
		if (l.failed)
			FATAL("%s: %s", l.failed, errno_name(l.err));
		usleep(1000);
	}
	return NULL;
}

static void forks_beside_it(long attached)
{
	pthread_t thread;
	thread_start(&thread, calls_under_the_lock, NULL);
	while (!is_in)
		usleep(100);
	forks_and_looks(attached);
	over = true;
	CHECK_EQ(pthread_join(thread, NULL), 0);
}
TEST(a_handler_may_take_a_lock_that_calls_are_made_under) { in_each_state(takes, lets_go, lets_go, forks_beside_it); }

static void *lives(void *arg)
{
	for (int i = 0; i < 20; i++)
		CHECK_LIFE(IPC_PRIVATE);
	return arg;
}
static void waits_for_a_thread(void)
{
	pthread_t thread;
	thread_start(&thread, lives, NULL);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}
TEST(a_handler_may_wait_for_a_thread_that_makes_calls) { in_each_state(waits_for_a_thread, NULL, NULL, forks_and_looks); }

/* ------------------------------------------------------- a fault that is mended */

static char *guarded;
static void mends(int sig)
{
	(void)sig;
	mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
}
static void touches(void)
{
	*(volatile char *)guarded = 1;
	MUST(mprotect(guarded, PAGE, PROT_NONE));
}
static void forks_among_faults(long attached)
{
	MUST(sigaction(SIGSEGV, &(struct sigaction){ .sa_handler = mends }, NULL));
	MUST(mprotect(guarded, PAGE, PROT_NONE));
	forks_and_looks(attached);
}
TEST(a_handler_may_fault_if_the_program_mends_it)
{
	guarded = shared_memory(PAGE);
	in_each_state(touches, touches, touches, forks_among_faults);
}
