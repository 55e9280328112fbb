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
	struct gate go = gate_make(), forked = gate_make();
	for (int i = 0; i < 2; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			gate_open(&forked);
			CHECK(!signals_are_blocked());
			gate_wait(&go); /* until what the parent's handlers have forked is gone */
			CHECK_EQ(nattch_of(id), 2 * attached);
			_exit(0);
		}
		gate_wait(&forked); /* until what the child's handlers have forked is gone */
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

static void attaches_and_forks(void)
{
	if (is_inside)
		return;
	sigset_t set, before;
	char *p = attach(id);
	/* What is blocked for this fork alone is not what the fork around it has to restore. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	MUST(sigprocmask(SIG_BLOCK, &set, &before));
	forks();
	MUST(sigprocmask(SIG_SETMASK, &before, NULL));
	TEST_SUCC(shmdt(p));
}
TEST(a_handler_may_attach_and_fork) { in_each_state(attaches_and_forks, NULL, NULL, forks_and_looks); }

static void asks(void) { CHECK(nattch_of(id) <= 3); }
TEST(a_child_of_a_fork_in_a_fork_may_make_calls) { in_each_state(forks, NULL, asks, forks_and_looks); }

/* A raw child of a handler, and the child of the fork: their first calls come at the same time. */
static struct race { atomic_int go, asked, over, forked; } *race;
static pid_t raw_child;

static void asks_and_stays(void)
{
	MUST(nattch_of(id));
	race->asked++;
	while (!race->over)
		usleep(50);
	_exit(0);
}
static void makes_a_raw_child(void)
{
	*race = (struct race){ 0 };
	raw_child = (pid_t)MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	if (raw_child == 0) {
		while (!race->go)
			continue;
		asks_and_stays();
	}
}
static void says_go(void) { race->go = 1; }

static void forks_beside_a_raw_child(long attached)
{
	for (int i = 0; i < 100; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0)
			asks_and_stays();
		while (race->asked < 2)
			usleep(50);
		CHECK_EQ(nattch_of(id), 3 * attached);
		race->over = 1;
		REAP(pid);
		REAP(raw_child);
		CHECK_EQ(nattch_of(id), attached);
	}
}
TEST(a_raw_child_of_a_handler_and_the_child_may_make_calls_at_once)
{
	race = shared_memory(sizeof *race);
	in_each_state(makes_a_raw_child, NULL, says_go, forks_beside_a_raw_child);
}

/* The same, but the raw child comes first, and the other has inherited nothing. */
static char *attached_for_it;
static int moment;
static void makes_a_raw_child_and_detaches(void)
{
	*race = (struct race){ 0 };
	raw_child = (pid_t)MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
	if (raw_child == 0) {
		race->go = 1;
		asks_and_stays();
	}
	while (!race->go)
		continue;
	for (volatile int wait = moment++ % 10 * 20000; wait > 0; wait--)
		continue;
	MUST(shmdt(attached_for_it));
}

TEST(who_has_inherited_nothing_keeps_no_raw_child_of_a_handler_counted)
{
	race = shared_memory(sizeof *race);
	CHECK_EQ(pthread_atfork(makes_a_raw_child_and_detaches, NULL, NULL), 0);
	id = new_segment(PAGE);
	for (int i = 0; i < 50; i++) {
		attached_for_it = attach(id);
		pid_t pid = MUST(fork());
		if (pid == 0) {
			race->forked = 1;
			while (true)
				pause();
		}
		while (!race->forked)
			usleep(50);
		race->over = 1;
		REAP(raw_child);
		CHECK_EQ(nattch_of(id), 0);
		kill(pid, SIGKILL);
		wait_for(pid);
	}
}

static char *only;
static void detaches_and_forks(void)
{
	if (is_inside)
		return;
	if (only)
		TEST_SUCC(shmdt(only));
	only = NULL;
	forks();
}
static void forks_and_looks_at_the_mask(long attached)
{
	char *at[4];
	REQUIRE(attaches_in_maps(at, 4) == attached);
	only = attached ? at[0] : NULL;
	for (int i = 0; i < 3; i++) {
		IN_CHILD
		{
			CHECK(!signals_are_blocked());
			CHECK_EQ(nattch_of(id), attached);
			CHECK_LIFE(IPC_PRIVATE);
			IN_CHILD CHECK(!signals_are_blocked());
		}
		CHECK(!signals_are_blocked());
		CHECK_EQ(nattch_of(id), attached);
	}
}
TEST(a_handler_of_the_child_may_detach_everything_and_fork)
{
	in_each_state(NULL, NULL, detaches_and_forks, forks_and_looks_at_the_mask);
}

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

static void *forks_itself(void *arg)
{
	forks();
	return arg;
}
static void waits_for_a_forking_thread(void)
{
	pthread_t thread;
	if (is_inside)
		return;
	thread_start(&thread, forks_itself, NULL);
	CHECK_EQ(pthread_join(thread, NULL), 0);
}
TEST(a_handler_may_wait_for_a_thread_that_forks) { in_each_state(waits_for_a_forking_thread, NULL, NULL, forks_and_looks); }

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

static volatile sig_atomic_t handled;
static void asks_in_handler(int sig)
{
	struct shmid_ds d;
	int saved = errno;
	(void)sig;
	handled++;
	if (shmctl(id, IPC_STAT, &d) < 0 || shmget(0x149, 0, 0) != -1 || errno != ENOENT)
		FATAL("in the handler: %s", errno_name(errno));
	errno = saved;
}
static void forks_among_signals(long attached)
{
	MUST(sigaction(SIGTRAP, &(struct sigaction){ .sa_handler = asks_in_handler, .sa_flags = SA_RESTART }, NULL));
	pid_t target = getpid(), sender = MUST(fork());
	if (sender == 0) {
		unsigned random = 1;
		while (kill(target, SIGTRAP) == 0)
			usleep(50 + next_random(&random) % 300);
		_exit(0);
	}
	for (int i = 0; i < 200 || handled < 20; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0)
			_exit(nattch_of(id) >= 2 * attached ? 0 : 1);
		REAP(pid);
	}
	MUST(kill(sender, SIGKILL));
	wait_for(sender);
	CHECK(handled > 0);
	CHECK_EQ(nattch_of(id), attached);
}
TEST(what_else_sends_such_a_signal_does_no_harm) { in_each_state(NULL, NULL, NULL, forks_among_signals); }
