/*
 * Threads that sleep in semop: each is a sleeper of its own; fork, exec, cancelling and the end of the process around them.
 */
#include "semtest.h"

static int id;

/* A thread that makes one call and notes what it got. */
struct caller { pthread_t thread; atomic_int result; struct sembuf op; };

static void *calls(void *arg)
{
	struct caller *c = arg;
	int r = semop(id, &c->op, 1);
	c->result = r == 0 ? SERVED : errno;
	return c;
}

static void begin(struct caller *c, int num, int op, int flags)
{
	int before = asleep_in(id);
	c->result = NOT_YET;
	c->op = OP((unsigned short)num, (short)op, (short)flags);
	thread_start(&c->thread, calls, c);
	UNTIL(asleep_in(id) == before + 1);
}

static int ended(struct caller *c)
{
	void *returned;
	pthread_join(c->thread, &returned);
	CHECK(returned == c);
	return c->result;
}

TEST(threads_of_one_process_are_served_in_their_order)
{
	struct caller c[4];
	id = new_set(1);
	for (int i = 0; i < 4; i++)
		begin(&c[i], 0, -1, 0);
	CHECK_EQ(ncnt_of(id, 0), 4);
	for (int i = 0; i < 4; i++) {
		MUST(DO_OPS(id, OP(0, 1, 0)));
		CHECK_EQ(ended(&c[i]), SERVED);
		CHECK_EQ(ncnt_of(id, 0), 3 - i);
	}
	CHECK_EQ(pid_of(id, 0), getpid());
}

TEST(one_thread_serves_another)
{
	struct caller taker, waiter;
	id = new_set(2);
	MUST(set_value(id, 1, 1));
	begin(&taker, 0, -2, 0);
	begin(&waiter, 1, 0, 0);
	CHECK_STR(counts_of(id, 2), "1/0 0/1");
	MUST(DO_OPS(id, OP(0, 2, 0), OP(1, -1, 0)));
	CHECK_STR(counts_of(id, 2), "0/0 0/0");
	CHECK_EQ(ended(&taker), SERVED);
	CHECK_EQ(ended(&waiter), SERVED);
}

TEST(removal_ends_the_sleep_of_every_thread)
{
	struct caller c[3];
	id = new_set(1);
	for (int i = 0; i < 3; i++)
		begin(&c[i], 0, -1, 0);
	TEST_SUCC(remove_set(id));
	for (int i = 0; i < 3; i++)
		CHECK_EQ(ended(&c[i]), EIDRM);
}

/* The number of the system call that a thread of this process sleeps in; -1: none. */
static long call_of(pid_t tid)
{
	char path[64], text[64] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
	int fd = MUST(open(path, O_RDONLY | O_CLOEXEC));
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	return n > 0 && text[0] >= '0' && text[0] <= '9' ? strtol(text, NULL, 10) : -1;
}

static atomic_int sleeping_thread;
static void *tells_who_it_is(void *arg)
{
	sleeping_thread = (int)syscall(SYS_gettid);
	return calls(arg);
}

/* With the first thread glibc installs a handler with SA_RESTART, for a signal that is none of the program's. */
TEST(a_thread_sleeps_until_the_end_of_a_process_and_does_not_look_for_it)
{
	enum { FUTEX_WAITV = 449 };
	struct caller c = { .op = OP(0, -1, 0), .result = NOT_YET };
	if (!under_library() || getenv("SHMTEST_CONFINED"))
		NOT_ON_THIS_SIDE("a matter of the shim alone");
	syscall(FUTEX_WAITV, NULL, 0, 0, NULL, 0);
	if (errno == ENOSYS)
		SKIP("the kernel has no futex_waitv");
	id = new_set(1);
	MUST(set_value(id, 0, 1));
	pid_t pid = HOLDER(MUST(DO_OPS(id, OP(0, -1, SEM_UNDO))));
	thread_start(&c.thread, tells_who_it_is, &c);
	UNTIL(sleeping_thread && call_of(sleeping_thread) == FUTEX_WAITV);
	kill_and_reap(pid);
	CHECK_EQ(ended(&c), SERVED);
}

static void nothing(int sig) { (void)sig; }

TEST(a_signal_to_one_thread_interrupts_that_one)
{
	struct caller one, two;
	struct sigaction act = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	id = new_set(1);
	MUST(sigaction(SIGUSR1, &act, NULL));
	begin(&one, 0, -1, 0);
	begin(&two, 0, -1, 0);
	pthread_kill(two.thread, SIGUSR1);
	CHECK_EQ(ended(&two), EINTR);
	CHECK_EQ(ncnt_of(id, 0), 1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(ended(&one), SERVED);
}

TEST(semop_is_no_cancellation_point)
{
	GLIBC_ONLY("the signal by which musl cancels interrupts every sleep");
	struct caller c;
	id = new_set(1);
	begin(&c, 0, -1, 0);
	pthread_cancel(c.thread);
	for (int i = 0; i < 20; i++)
		sched_yield();
	CHECK_EQ(ncnt_of(id, 0), 1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(ended(&c), SERVED);
	CHECK_EQ(value_of(id, 0), 0);
}

static atomic_int cancelled_before;
static void *calls_when_cancelled(void *arg)
{
	(void)arg;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cancel(pthread_self());
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	if (DO_OPS(id, OP(0, 1, 0)) == 0 && semtimedop(id, &OP(0, -2, 0), 1, &(struct timespec){ 0, 1000 }) == -1)
		cancelled_before = 1;
	pthread_testcancel();
	return NULL;
}

TEST(a_thread_that_is_to_be_cancelled_still_makes_its_calls)
{
	pthread_t t;
	void *returned;
	id = new_set(1);
	thread_start(&t, calls_when_cancelled, NULL);
	pthread_join(t, &returned);
	CHECK(returned == PTHREAD_CANCELED);
	CHECK_EQ(cancelled_before, 1);
	CHECK_EQ(value_of(id, 0), 1);
}

TEST(a_child_of_fork_has_none_of_its_parents_sleepers)
{
	struct caller c;
	id = new_set(2);
	begin(&c, 0, -1, SEM_UNDO);
	IN_CHILD {
		CHECK_EQ(ncnt_of(id, 0), 1);
		MUST(DO_OPS(id, OP(1, 1, 0)));
	}
	CHECK_EQ(ncnt_of(id, 0), 1);
	IN_CHILD MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(ended(&c), SERVED);
	CHECK_STR(values_of(id, 2), "0 1");
}

TEST(a_child_that_was_forked_beside_a_sleeper_may_sleep_itself)
{
	struct caller c;
	id = new_set(1);
	begin(&c, 0, -1, 0);
	SLEEPER(1, id, OP(0, -1, 0));
	CHECK_EQ(ncnt_of(id, 0), 2);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(ended(&c), SERVED);
	CHECK(sleeps(1));
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(1);
}

TEST(exec_by_another_thread_ends_the_sleep)
{
	struct gate ready = gate_make();
	id = new_set(1);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct caller c;
		char id_text[16], fd[16];
		snprintf(id_text, sizeof id_text, "%d", id);
		snprintf(fd, sizeof fd, "%d", ready.fd[1]);
		begin(&c, 0, -1, 0);
		execl(built("helper_sem"), "helper_sem", id_text, "ready", fd, "pause", (char *)NULL);
		FATAL("helper_sem: %s", errno_name(errno));
	}
	gate_wait(&ready);
	CHECK_EQ(ncnt_of(id, 0), 0);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
}

TEST(the_end_of_a_process_takes_its_sleeping_threads_along)
{
	id = new_set(1);
	IN_CHILD {
		struct caller c[3];
		for (int i = 0; i < 3; i++)
			begin(&c[i], 0, -1, SEM_UNDO);
		CHECK_EQ(ncnt_of(id, 0), 3);
	}
	CHECK_EQ(ncnt_of(id, 0), 0);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
}

static void *crowds(void *arg)
{
	int *left = arg;
	for (int i = 0; i < *left; i++) {
		MUST(DO_OPS(id, OP(0, -1, SEM_UNDO), OP(1, 1, 0)));
		MUST(DO_OPS(id, OP(1, -1, 0), OP(0, 1, SEM_UNDO)));
	}
	return NULL;
}

TEST(threads_and_processes_pass_a_semaphore_round)
{
	enum { THREADS = 4, PROCESSES = 3 };
	int turns = getenv("SHMTEST_SLOW") ? 20 : 200;
	pid_t pids[PROCESSES];
	id = new_set(2);
	MUST(set_value(id, 0, 1));
	for (int p = 0; p < PROCESSES; p++)
		if ((pids[p] = MUST(fork())) == 0) {
			pthread_t t[THREADS];
			for (int i = 0; i < THREADS; i++)
				thread_start(&t[i], crowds, &turns);
			for (int i = 0; i < THREADS; i++)
				pthread_join(t[i], NULL);
			exit(0);
		}
	for (int p = 0; p < PROCESSES; p++)
		REAP(pids[p]);
	CHECK_STR(values_of(id, 2), "1 0");
	CHECK_STR(counts_of(id, 2), "0/0 0/0");
}
