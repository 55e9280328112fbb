/*
 * What signals do to a sleep in msgsnd and msgrcv; stopping and continuing; cancellation of threads.
 */
#include "msgtest.h"

static struct message m;

/* ------------------------------------------------------------- handlers */

static void nothing(int sig) { (void)sig; }

static void handle(int sig, void (*fn)(int), int flags)
{
	struct sigaction act = { .sa_handler = fn, .sa_flags = flags };
	MUST(sigaction(sig, &act, NULL));
}
static void with_a_handler(void) { handle(SIGUSR1, nothing, 0); }
static void with_a_handler_that_restarts(void) { handle(SIGUSR1, nothing, SA_RESTART); }

static void check_eintr(void (*prepares)(void))
{
	int id = new_queue_of(1);
	sleeper_prepares = prepares;
	MUST(send_text(id, 1, "a"));
	SENDER(1, id, 1, "b");
	RECEIVER(2, id, 7);
	struct msqid_ds before = queue_stat(id), after;
	MUST(kill(sleeper_pid[1], SIGUSR1));
	MUST(kill(sleeper_pid[2], SIGUSR1));
	CHECK_RESULT(1, "EINTR");
	CHECK_RESULT(2, "EINTR");
	after = queue_stat(id);
	CHECK_SAME_QUEUE(before, after);
	/* Nobody sleeps any more: what is sent stays, and room stays room. */
	CHECK_STR(got(id, 0, 0), "1 a");
	CHECK_HELD(id, "0/0");
	MUST(send_text(id, 7, "c"));
	CHECK_HELD(id, "1/1");
}

TEST(a_handler_interrupts) { check_eintr(with_a_handler); }
TEST(a_handler_interrupts_with_sa_restart_as_well) { check_eintr(with_a_handler_that_restarts); }

static int handlers_queue;
static atomic_int *seen_by_handler;

static void sends_in_the_handler(int sig)
{
	(void)sig;
	*seen_by_handler = 1 + (send_text(handlers_queue, 7, "x") == 0);
}
static void with_a_sending_handler(void) { handle(SIGUSR1, sends_in_the_handler, SA_RESTART); }

TEST(while_its_own_handler_runs_a_receiver_does_not_sleep)
{
	int id = handlers_queue = new_queue();
	seen_by_handler = shared_memory(sizeof *seen_by_handler);
	sleeper_prepares = with_a_sending_handler;
	RECEIVER(1, id, 7);
	MUST(kill(sleeper_pid[1], SIGUSR1));
	CHECK_RESULT(1, "EINTR");
	CHECK_EQ(*seen_by_handler, 2);
	CHECK_HELD(id, "1/1");
	CHECK_EQ(queue_stat(id).msg_lrpid, 0);
}

static void receives_in_the_handler(int sig)
{
	(void)sig;
	*seen_by_handler = 1 + !strcmp(got(handlers_queue, 0, 0), "1 abc");
}
static void with_a_receiving_handler(void) { handle(SIGUSR1, receives_in_the_handler, 0); }

TEST(a_handler_may_make_room_and_its_sender_is_interrupted_all_the_same)
{
	int id = handlers_queue = new_queue_of(3);
	seen_by_handler = shared_memory(sizeof *seen_by_handler);
	sleeper_prepares = with_a_receiving_handler;
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 1, "d");
	MUST(kill(sleeper_pid[1], SIGUSR1));
	CHECK_RESULT(1, "EINTR");
	CHECK_EQ(*seen_by_handler, 2);
	CHECK_HELD(id, "0/0");
}

static sigjmp_buf out_of_here;
static void jumps(int sig) { siglongjmp(out_of_here, sig); }
static void with_a_jumping_handler(void) { handle(SIGUSR1, jumps, 0); }

TEST(a_jump_out_of_a_handler_leaves_nobody_asleep)
{
	int id = new_queue_of(1);
	sleeper_prepares = with_a_jumping_handler;
	MUST(send_text(id, 1, "a"));
	if (sleeper_begin(1, id)) {
		if (sigsetjmp(out_of_here, 1) == 0)
			msgrcv(id, &m, MSGMAX, 7, 0);
		strcpy(outcome[1].text, "jumped");
		outcome[1].done = 1;
		pause();
	}
	if (sleeper_begin(2, id)) {
		if (sigsetjmp(out_of_here, 1) == 0)
			send_with(id, 7, "b", 0);
		strcpy(outcome[2].text, "jumped");
		outcome[2].done = 1;
		pause();
	}
	MUST(kill(sleeper_pid[1], SIGUSR1));
	MUST(kill(sleeper_pid[2], SIGUSR1));
	CHECK_RESULT(1, "jumped");
	CHECK_RESULT(2, "jumped");
	CHECK_STR(got(id, 0, 0), "1 a");
	CHECK_HELD(id, "0/0");
	MUST(send_text(id, 7, "c"));
	CHECK_HELD(id, "1/1");
	kill_sleeper(1);
	kill_sleeper(2);
}

static void ignores(void)
{
	sigset_t blocked;
	handle(SIGUSR1, SIG_IGN, 0);
	handle(SIGUSR2, nothing, 0);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR2);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

TEST(ignored_and_blocked_signals_and_a_mere_continuation_do_not_interrupt)
{
	int id = new_queue_of(1), harmless[] = { SIGUSR1, SIGUSR2, SIGCHLD, SIGURG, SIGWINCH, SIGCONT };
	sleeper_prepares = ignores;
	MUST(send_text(id, 1, "a"));
	SENDER(1, id, 1, "b");
	RECEIVER(2, id, 7);
	for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
		for (int n = 1; n <= 2; n++) {
			MUST(kill(sleeper_pid[n], harmless[i]));
			UNTIL(is_asleep(sleeper_pid[n]) || !sleeps(n));
		}
	CHECK_STR(got(id, 0, 0), "1 a");
	CHECK_RESULT(1, "sent");
	CHECK_STR(got(id, 0, 0), "1 b");
	MUST(send_text(id, 7, "c"));
	CHECK_RESULT(2, "7 c");
}

TEST(a_handler_that_ran_before_the_sleep_does_not_interrupt_it)
{
	int id = new_queue();
	sleeper_prepares = with_a_handler;
	if (sleeper_begin(1, id)) {
		raise(SIGUSR1);
		described(outcome[1].text, sizeof outcome[1].text, msgrcv(id, &m, MSGMAX, 0, 0), &m);
		sleeper_end(1);
	}
	MUST(send_text(id, 1, "a"));
	CHECK_RESULT(1, "1 a");
}

/* ---------------------------------------------------- stopped, continued */

TEST(stopped_and_continued_a_sleep_goes_on)
{
	int id = new_queue_of(3);
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 1, "b");
	RECEIVER(2, id, 7);
	for (int round = 0; round < 3; round++)
		for (int n = 1; n <= 2; n++) {
			stop_sleeper(n);
			continue_sleeper(n);
			CHECK(sleeps(n));
		}
	CHECK_STR(got(id, 0, 0), "1 abc");
	CHECK_RESULT(1, "sent");
	MUST(send_text(id, 7, "x"));
	CHECK_RESULT(2, "7 x");
	CHECK_HELD(id, "1/1");
}

TEST(a_sender_that_is_stopped_sends_when_it_is_continued)
{
	int id = new_queue_of(3);
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 1, "b");
	stop_sleeper(1);
	CHECK_STR(got(id, 0, 0), "1 abc");
	CHECK_HELD(id, "0/0");
	MUST(kill(sleeper_pid[1], SIGCONT));
	CHECK_RESULT(1, "sent");
	CHECK_HELD(id, "1/1");
}

TEST(what_comes_while_a_receiver_is_stopped_is_not_lost)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	stop_sleeper(1);
	MUST(send_text(id, 1, "x"));
	MUST(kill(sleeper_pid[1], SIGCONT));
	CHECK_RESULT(1, "1 x");
	CHECK_HELD(id, "0/0");
}

TEST(what_comes_while_a_receiver_is_stopped_goes_to_others)
{
	if (under_library())
		NOT_ON_THIS_SIDE("a stopped receiver keeps its place in the queue");
	int id = new_queue();
	RECEIVER(1, id, 0);
	RECEIVER(2, id, 0);
	stop_sleeper(1);
	MUST(send_text(id, 1, "x"));
	CHECK_RESULT(2, "1 x");
	MUST(send_text(id, 1, "y"));
	CHECK_STR(got(id, 0, 0), "1 y");
	/* Continued it stands at the end. */
	RECEIVER(3, id, 0);
	continue_sleeper(1);
	MUST(send_text(id, 1, "z"));
	CHECK_RESULT(3, "1 z");
	MUST(send_text(id, 1, "end"));
	CHECK_RESULT(1, "1 end");
}

TEST(a_stopped_process_does_not_learn_of_the_end_of_the_queue_before_it_runs)
{
	int id = new_queue_of(1);
	MUST(send_text(id, 1, "a"));
	SENDER(1, id, 1, "b");
	RECEIVER(2, id, 7);
	stop_sleeper(1);
	stop_sleeper(2);
	MUST(remove_queue(id));
	CHECK(sleeps(1) && sleeps(2));
	MUST(kill(sleeper_pid[1], SIGCONT));
	MUST(kill(sleeper_pid[2], SIGCONT));
	/* On the kernel they look the queue up again, and there is none. With the library they still sleep at it. */
	for (int n = 1; n <= 2; n++)
		CHECK_RESULT(n, under_library() ? "EIDRM" : "EINVAL");
}

/* ---------------------------------------------------------- cancellation */

struct thread { int id; atomic_int tid, returned, cleaned; };

static void cleans(void *t) { ((struct thread *)t)->cleaned = 1; }

static void *receives(void *arg)
{
	struct thread *t = arg;
	struct message in;
	pthread_cleanup_push(cleans, t);
	t->tid = (int)syscall(SYS_gettid);
	msgrcv(t->id, &in, MSGMAX, 0, 0);
	t->returned = 1;
	pthread_cleanup_pop(0);
	return NULL;
}
static void *sends(void *arg)
{
	struct thread *t = arg;
	pthread_cleanup_push(cleans, t);
	t->tid = (int)syscall(SYS_gettid);
	send_with(t->id, 1, "b", 0);
	t->returned = 1;
	pthread_cleanup_pop(0);
	return NULL;
}
static void cancel_asleep(struct thread *t, void *(*fn)(void *))
{
	pthread_t thread;
	void *result;
	thread_start(&thread, fn, t);
	UNTIL(t->tid && is_asleep(t->tid));
	CHECK_EQ(pthread_cancel(thread), 0);
	pthread_join(thread, &result);
	CHECK(result == PTHREAD_CANCELED);
	CHECK(t->cleaned && !t->returned);
}

TEST(a_receiver_that_is_cancelled_takes_nothing)
{
	struct thread t = { .id = new_queue() };
	cancel_asleep(&t, receives);
	MUST(send_text(t.id, 1, "a"));
	CHECK_HELD(t.id, "1/1");
	CHECK_EQ(queue_stat(t.id).msg_lrpid, 0);
	CHECK_STR(got(t.id, 0, 0), "1 a");
}

TEST(a_sender_that_is_cancelled_sends_nothing)
{
	struct thread t = { .id = new_queue_of(1) };
	MUST(send_text(t.id, 1, "a"));
	cancel_asleep(&t, sends);
	CHECK_STR(got(t.id, 0, 0), "1 a");
	CHECK_HELD(t.id, "0/0");
}

TEST(who_is_cancelled_leaves_its_place_to_the_next)
{
	struct thread t = { .id = new_queue() };
	pthread_t thread;
	queue_stat(t.id);
	thread_start(&thread, receives, &t);
	UNTIL(t.tid && is_asleep(t.tid));
	RECEIVER(1, t.id, 0);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	MUST(send_text(t.id, 1, "a"));
	CHECK_RESULT(1, "1 a");
}

struct late { int id; bool receives; atomic_int go, reached; };

static void *cancelled_before(void *arg)
{
	struct late *late = arg;
	while (!late->go)
		; /* without a call: almost every one is a cancellation point */
	if (late->receives)
		got(late->id, 0, 0);
	else
		send_text(late->id, 1, "b");
	late->reached = 1;
	return NULL;
}

TEST(a_call_that_would_not_sleep_is_a_cancellation_point_too)
{
	for (int receives = 0; receives <= 1; receives++) {
		struct late late = { .id = new_queue(), .receives = receives };
		pthread_t thread;
		void *result;
		if (receives)
			MUST(send_text(late.id, 1, "a"));
		thread_start(&thread, cancelled_before, &late);
		pthread_cancel(thread);
		late.go = 1;
		pthread_join(thread, &result);
		CHECK(result == PTHREAD_CANCELED);
		CHECK(!late.reached);
		CHECK_EQ(queue_stat(late.id).msg_qnum, receives);
	}
}

static void *uncancellable(void *arg)
{
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return receives(arg);
}

TEST(where_cancellation_is_off_a_sleep_goes_on)
{
	GLIBC_ONLY("musl interrupts the call");
	struct thread t = { .id = new_queue() };
	pthread_t thread;
	void *result;
	thread_start(&thread, uncancellable, &t);
	UNTIL(t.tid && is_asleep(t.tid));
	pthread_cancel(thread);
	UNTIL(is_asleep(t.tid));
	MUST(send_text(t.id, 1, "a"));
	pthread_join(thread, &result);
	CHECK(result == NULL && t.returned);
}

TEST(the_next_call_of_a_thread_that_was_not_cancelled_is_as_ever)
{
	int id = new_queue(), type = -1;
	MUST(send_text(id, 1, "a"));
	CHECK_STR(got(id, 0, 0), "1 a");
	/* The type of cancellation is the caller's own business. */
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	CHECK_EQ(type, PTHREAD_CANCEL_DEFERRED);
}
