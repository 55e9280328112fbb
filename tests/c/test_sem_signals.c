/*
 * Signals to a process asleep in semop: which interrupt, what a handler may do and sees, and what a jump out of one leaves.
 */
#include "semtest.h"
#include <sys/ptrace.h>
#include <sys/time.h>

static int id;
static volatile int hits;
static volatile int seen;

static void counts(int sig) { (void)sig, hits++; }

static void handle(int sig, void (*handler)(int), int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags };
	MUST(sigaction(sig, &act, NULL));
}

/* A child that sends this process a signal once it sleeps in the set, the queue being `before` long until then. */
static pid_t interrupted_by(int sig)
{
	pid_t self = getpid(), pid;
	int before = asleep_in(id);
	if ((pid = MUST(fork())) != 0)
		return pid;
	UNTIL(asleep_in(id) == before + 1);
	kill(self, sig);
	_exit(0);
}

TEST(a_handler_interrupts_with_eintr_whatever_sa_restart_says)
{
	int flags[] = { 0, SA_RESTART, SA_RESTART | SA_NODEFER, SA_SIGINFO };
	struct sembuf minus = OP(0, -1, 0), zero = OP(1, 0, 0), both[] = { OP(1, 1, 0), OP(0, -1, SEM_UNDO) };
	struct timespec limit = { 3000, 0 };
	id = new_set(2);
	MUST(set_value(id, 1, 1));
	for (int i = 0; i < 4; i++) {
		handle(SIGUSR1, counts, flags[i]);
		hits = 0;
		pid_t pid = interrupted_by(SIGUSR1);
		TEST_ERRNO(semop(id, &minus, 1), EINTR);
		REAP(pid);
		pid = interrupted_by(SIGUSR1);
		TEST_ERRNO(semop(id, &zero, 1), EINTR);
		REAP(pid);
		pid = interrupted_by(SIGUSR1);
		TEST_ERRNO(semop(id, both, 2), EINTR);
		REAP(pid);
		pid = interrupted_by(SIGUSR1);
		TEST_ERRNO(semtimedop(id, &minus, 1, &limit), EINTR);
		REAP(pid);
		CHECK_EQ(hits, 4);
		CHECK_STR(counts_of(id, 2), "0/0 0/0");
		CHECK_STR(values_of(id, 2), "0 1");
	}
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
}

/* At whatever moment of the sleep it comes: none is lost between one look of the sleeper at its set and the next. */
TEST(no_signal_to_a_sleeper_is_without_effect)
{
	int rounds = getenv("SHMTEST_SLOW") ? 20 : 300;
	id = new_set(2);
	handle(SIGUSR1, counts, SA_RESTART);
	for (int i = 0; i < rounds; i++) {
		struct timespec moment = { 0, (i * 37 % 100) * 30000 };
		SLEEPER(1, id, OP(0, -1, i % 2 ? SEM_UNDO : 0));
		/* What others do in the set is no reason to go on, but one to look. */
		MUST(DO_OPS(id, OP(1, 1, 0), OP(1, -1, 0)));
		nanosleep(&moment, NULL);
		MUST(kill(sleeper_pid[1], SIGUSR1));
		CHECK_ENDED(1, EINTR);
		wait_for(sleeper_pid[1]);
	}
	CHECK_STR(counts_of(id, 2), "0/0 0/0");
}

TEST(a_call_that_need_not_sleep_is_not_interrupted)
{
	id = new_set(1);
	handle(SIGUSR1, counts, 0);
	for (int i = 0; i < 200; i++) {
		raise(SIGUSR1);
		TEST_SUCC(DO_OPS(id, OP(0, 1, 0)));
	}
	CHECK_EQ(value_of(id, 0), 200);
	CHECK_EQ(hits, 200);
}

/* ---------------------------------------------------- what interrupts nothing */

/* Sleeps, is sent the signal while it does, and is served afterwards. */
static void *gives_one(void *arg)
{
	int sig = *(int *)arg;
	UNTIL(ncnt_of(id, 0) == 1);
	for (int i = 0; i < 20; i++)
		kill(getpid(), sig);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	return NULL;
}

static void sleeps_through(int sig)
{
	pthread_t t;
	thread_start(&t, gives_one, &sig);
	TEST_SUCC(DO_OPS(id, OP(0, -1, 0)));
	pthread_join(t, NULL);
	CHECK_EQ(value_of(id, 0), 0);
	CHECK_EQ(ncnt_of(id, 0), 0);
}

TEST(ignored_signals_do_not_interrupt)
{
	id = new_set(1);
	handle(SIGUSR1, SIG_IGN, 0);
	sleeps_through(SIGUSR1);
	sleeps_through(SIGCHLD);
	sleeps_through(SIGURG);
	sleeps_through(SIGWINCH);
	sleeps_through(SIGCONT);
}

TEST(blocked_signals_do_not_interrupt)
{
	sigset_t usr1;
	id = new_set(1);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	handle(SIGUSR1, counts, 0);
	MUST(sigprocmask(SIG_BLOCK, &usr1, NULL));
	kill(getpid(), SIGUSR1);
	TEST_ERRNO(semtimedop(id, (&OP(0, -1, 0)), 1, (&(struct timespec){ 0, 2000000 })), EAGAIN);
	sleeps_through(SIGUSR1);
	CHECK_EQ(hits, 0);
	MUST(sigprocmask(SIG_UNBLOCK, &usr1, NULL));
	CHECK_EQ(hits, 1);
}

/* The signals that a call finds blocked are those it leaves blocked. */
TEST(a_sleep_leaves_the_mask_as_it_was)
{
	sigset_t before, after;
	id = new_set(1);
	handle(SIGUSR1, counts, 0);
	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	MUST(sigprocmask(SIG_SETMASK, &before, NULL));
	pid_t pid = interrupted_by(SIGUSR1);
	TEST_ERRNO(DO_OPS(id, OP(0, -1, 0)), EINTR);
	REAP(pid);
	TEST_ERRNO(DO_OPS(id, OP(0, -1, IPC_NOWAIT)), EAGAIN);
	MUST(sigprocmask(SIG_BLOCK, NULL, &after));
	for (int sig = 1; sig < 32; sig++)
		CHECK_EQ(sigismember(&after, sig), sig == SIGUSR2);
}

/* ------------------------------------------------------- calls from handlers */

static void asks_and_adds(int sig)
{
	(void)sig;
	seen = semctl(id, 0, GETNCNT);
	if (DO_OPS(id, OP(0, 1, 0)) == 0)
		hits++;
}

TEST(while_the_handler_runs_the_sleeper_is_out_of_the_queue)
{
	id = new_set(1);
	handle(SIGUSR1, asks_and_adds, 0);
	seen = -1;
	pid_t pid = interrupted_by(SIGUSR1);
	TEST_ERRNO(DO_OPS(id, OP(0, -1, 0)), EINTR);
	REAP(pid);
	CHECK_EQ(hits, 1);
	CHECK_EQ(seen, 0);
	CHECK_EQ(value_of(id, 0), 1);
}

static struct gate in_handler, leave_handler;
static void waits_in_handler(int sig)
{
	(void)sig;
	gate_open(&in_handler);
	gate_wait(&leave_handler);
}

TEST(while_the_handler_runs_others_see_nobody_asleep)
{
	if (under_library())
		NOT_ON_THIS_SIDE("Divergence: a sleeper of another process whose handler runs stays in the queue");
	id = new_set(1);
	in_handler = gate_make();
	leave_handler = gate_make();
	handle(SIGUSR1, waits_in_handler, SA_RESTART);
	SLEEPER(1, id, OP(0, -1, 0));
	MUST(kill(sleeper_pid[1], SIGUSR1));
	gate_wait(&in_handler);
	CHECK_EQ(ncnt_of(id, 0), 0);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
	gate_open(&leave_handler);
	CHECK_ENDED(1, EINTR);
	CHECK_EQ(value_of(id, 0), 1);
}

static void makes_every_call(int sig)
{
	struct semid_ds d;
	unsigned short all[2];
	(void)sig;
	int own = semget(IPC_PRIVATE, 2, 0600), good = own >= 0;
	good &= SET_ALL(own, 3, 4) == 0;
	good &= DO_OPS(own, OP(0, -3, SEM_UNDO), OP(1, 1, 0)) == 0;
	good &= DO_OPS(own, OP(0, -1, IPC_NOWAIT)) == -1 && errno == EAGAIN;
	good &= semtimedop(own, &OP(0, -1, 0), 1, &(struct timespec){ 0, 1000 }) == -1 && errno == EAGAIN;
	good &= ctl_arg(own, 0, GETALL, all) == 0 && all[0] == 0 && all[1] == 5;
	good &= ctl_arg(own, 0, IPC_STAT, &d) == 0 && ctl_arg(own, 0, IPC_SET, &d) == 0;
	good &= semctl(own, 0, IPC_RMID) == 0;
	/* And the set in whose call this interrupts. */
	good &= DO_OPS(id, OP(1, 1, 0)) == 0 && DO_OPS(id, OP(1, -1, 0)) == 0;
	seen &= good;
	hits++;
}

TEST(a_handler_may_make_every_call_while_its_process_sleeps)
{
	id = new_set(2);
	handle(SIGUSR1, makes_every_call, 0);
	seen = 1;
	for (int i = 0; i < 5; i++) {
		pid_t pid = interrupted_by(SIGUSR1);
		TEST_ERRNO(DO_OPS(id, OP(0, -1, 0)), EINTR);
		REAP(pid);
	}
	CHECK_EQ(hits, 5);
	CHECK_EQ(seen, 1);
}

TEST(a_handler_may_come_at_any_moment_of_a_call)
{
	int rounds = getenv("SHMTEST_SLOW") ? 200 : 4000;
	id = new_set(2);
	handle(SIGUSR1, makes_every_call, SA_RESTART);
	seen = 1;
	/* Where a call takes long, longer than the handler's: else there is nothing but the handler. */
	long pause = getenv("SHMTEST_SLOW") ? 5000000 : 50000;
	pid_t self = getpid(), pid = MUST(fork());
	if (pid == 0) {
		signal(SIGUSR1, SIG_DFL);
		while (getppid() == self) {
			kill(self, SIGUSR1);
			nanosleep(&(struct timespec){ 0, pause }, NULL);
		}
		_exit(0);
	}
	for (int i = 0; i < rounds || hits < 20; i++) {
		MUST(DO_OPS(id, OP(0, 1, SEM_UNDO)));
		MUST(DO_OPS(id, OP(0, -1, SEM_UNDO)));
		CHECK_EQ(value_of(id, 0), 0);
	}
	kill_and_reap(pid);
	CHECK_EQ(seen, 1);
	CHECK_STR(values_of(id, 2), "0 0");
}

static void sleeps_itself(int sig)
{
	(void)sig;
	if (hits++ == 0)
		seen = DO_OPS(id, OP(1, -1, 0)) == 0 ? SERVED : errno;
}

TEST(a_handler_may_sleep_in_semop_while_its_process_does)
{
	id = new_set(2);
	handle(SIGUSR1, sleeps_itself, 0);
	outcome = shared_memory(sizeof *outcome);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		outcome->result[1] = DO_OPS(id, OP(0, -1, 0)) == 0 ? SERVED : errno;
		CHECK_EQ(seen, SERVED);
		_exit(0);
	}
	UNTIL(ncnt_of(id, 0) == 1);
	MUST(kill(pid, SIGUSR1));
	UNTIL(ncnt_of(id, 1) == 1);
	MUST(DO_OPS(id, OP(1, 1, 0)));
	CHECK_ENDED(1, EINTR);
	REAP(pid);
	CHECK_STR(values_of(id, 2), "0 0");
	CHECK_STR(counts_of(id, 2), "0/0 0/0");
}

/* ------------------------------------------------------------------ jumping */

static sigjmp_buf jump;
static void jumps(int sig)
{
	(void)sig;
	hits++;
	siglongjmp(jump, 1);
}

TEST(a_jump_out_of_the_handler_leaves_nothing_behind)
{
	id = new_set(1);
	handle(SIGUSR1, jumps, 0);
	for (int i = 1; i <= 5; i++) {
		pid_t pid = interrupted_by(SIGUSR1);
		if (sigsetjmp(jump, 1) == 0) {
			DO_OPS(id, OP(0, -1, SEM_UNDO));
			FATAL("semop returned");
		}
		REAP(pid);
		CHECK_EQ(hits, i);
		CHECK_EQ(ncnt_of(id, 0), 0);
	}
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(value_of(id, 0), 1);
	TEST_SUCC(DO_OPS(id, OP(0, -1, 0)));
	CHECK_EQ(value_of(id, 0), 0);
}

TEST(jumps_out_of_calls_at_any_moment_lose_no_token)
{
	volatile int rounds = getenv("SHMTEST_SLOW") ? 20 : 300;
	id = new_set(1);
	handle(SIGALRM, jumps, SA_NODEFER);
	struct itimerval soon = { .it_value = { 0, 60 } };
	for (volatile int i = 0; i < rounds; i++) {
		if (sigsetjmp(jump, 1) == 0) {
			soon.it_value.tv_usec = 20 + i % 90;
			MUST(setitimer(ITIMER_REAL, &soon, NULL));
			for (;;) {
				MUST(DO_OPS(id, OP(0, 1, 0)));
				MUST(DO_OPS(id, OP(0, -1, 0)));
			}
		}
		/* Between the two calls it is one, else none. */
		CHECK(value_of(id, 0) <= 1);
		CHECK_EQ(ncnt_of(id, 0), 0);
		MUST(set_value(id, 0, 0));
	}
	CHECK_EQ(hits, rounds);
}

/* --------------------------------------------------------------- debuggers */

TEST(a_debugger_that_interrupts_ends_the_sleep_with_eintr)
{
	if (under_library())
		NOT_ON_THIS_SIDE("Divergence: a stop by a debugger does not end a sleep");
	id = new_set(1);
	SLEEPER(1, id, OP(0, -1, 0));
	if (ptrace(PTRACE_SEIZE, sleeper_pid[1], 0, 0) < 0)
		SKIP("no right to trace: %s", errno_name(errno));
	MUST(ptrace(PTRACE_INTERRUPT, sleeper_pid[1], 0, 0));
	int status;
	MUST(waitpid(sleeper_pid[1], &status, 0));
	CHECK(WIFSTOPPED(status));
	CHECK_EQ(ncnt_of(id, 0), 0);
	MUST(ptrace(PTRACE_DETACH, sleeper_pid[1], 0, 0));
	CHECK_ENDED(1, EINTR);
}
