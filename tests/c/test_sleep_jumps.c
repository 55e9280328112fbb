/* A sleep in semop, msgsnd or msgrcv that is not ended by its call: a handler jumps out of it, or the thread ends in it. */
#include "proctest.h"
#include <setjmp.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/time.h>

static int set, queue;
static struct message { long type; char text[100]; } message;

static int queued(void)
{
	struct msqid_ds d;
	MUST(msgctl(queue, IPC_STAT, &d));
	return (int)d.msg_qnum;
}

static void send(void)
{
	message.type = 3;
	MUST(msgsnd(queue, &message, 5, IPC_NOWAIT));
}

static void drain(void)
{
	while (msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT) >= 0)
		;
	CHECK_EQ(errno, ENOMSG);
}

enum kind { SEMOP, MSGRCV, MSGSND };

/* Sleeps for ever, or until the queue is not full any more. */
static void sleep_in(enum kind kind)
{
	struct sembuf take = { 0, -1, 0 };
	message.type = 9;
	switch (kind) {
	case SEMOP: semop(set, &take, 1); break;
	case MSGRCV: msgrcv(queue, &message, sizeof message.text, 0, 0); break;
	case MSGSND:
		while (msgsnd(queue, &message, sizeof message.text, 0) == 0)
			;
	}
}

/* Nobody sleeps there any more: what is given stays. */
static void is_left(enum kind kind)
{
	struct sembuf give = { 0, 1, 0 };
	switch (kind) {
	case SEMOP:
		CHECK_EQ(semctl(set, 0, GETNCNT), 0);
		MUST(semop(set, &give, 1));
		CHECK_EQ(semctl(set, 0, GETVAL), 1);
		MUST(semctl(set, 0, SETVAL, 0));
		break;
	case MSGRCV:
		send();
		CHECK_EQ(queued(), 1);
		break;
	case MSGSND: break;
	}
	drain();
	CHECK_EQ(queued(), 0);
}

static void begin(void)
{
	set = MUST(semget(IPC_PRIVATE, 1, 0600));
	queue = MUST(msgget(IPC_PRIVATE, 0600));
}

static void end(void)
{
	MUST(semctl(set, 0, IPC_RMID));
	MUST(msgctl(queue, IPC_RMID, NULL));
}

static jmp_buf bare;
static sigjmp_buf with_mask;
static enum { LONGJMP, BARE_LONGJMP, SIGLONGJMP } by;

static void jump(int signal)
{
	(void)signal;
	switch (by) {
	case LONGJMP: longjmp(bare, 1);
	case BARE_LONGJMP: _longjmp(bare, 1);
	case SIGLONGJMP: siglongjmp(with_mask, 1);
	}
}

TEST(a_handler_that_jumps_out_leaves_nothing_behind)
{
	begin();
	struct sigaction on = { .sa_handler = jump, .sa_flags = SA_RESTART | SA_NODEFER };
	MUST(sigaction(SIGALRM, &on, NULL));
	for (int way = LONGJMP; way <= SIGLONGJMP; way++)
		for (volatile int kind = SEMOP; kind <= MSGSND; kind++) {
			by = way;
			/* Again, should the first one come before the sleep. */
			struct itimerval soon = { { 0, 20000 }, { 0, 20000 } }, never = { 0 };
			if ((by == SIGLONGJMP ? sigsetjmp(with_mask, 1) : setjmp(bare)) == 0) {
				MUST(setitimer(ITIMER_REAL, &soon, NULL));
				sleep_in(kind);
			}
			MUST(setitimer(ITIMER_REAL, &never, NULL));
			is_left(kind);
		}
	end();
}

static void *sleeps(void *kind)
{
	sleep_in((enum kind)(intptr_t)kind);
	return "came back";
}

/* Until that thread sleeps. */
static void wait_asleep(pid_t tid)
{
	char path[64], stat[512], state = 0;
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	while (state != 'S') {
		int fd = MUST(open(path, O_RDONLY));
		ssize_t got = MUST(read(fd, stat, sizeof stat - 1));
		close(fd);
		stat[got] = 0;
		state = strrchr(stat, ')')[2];
		usleep(1000);
	}
}

static _Atomic pid_t sleeper;
static _Atomic int cleaned;

static void clean(void *nothing)
{
	(void)nothing;
	/* Before the program's own cleanup, too. */
	send();
	cleaned = queued();
}

static void *sleeps_with_cleanup(void *kind)
{
	void *came = NULL;
	pthread_cleanup_push(clean, NULL);
	sleeper = gettid();
	came = sleeps(kind);
	pthread_cleanup_pop(0);
	return came;
}

TEST(a_cancelled_receiver_and_sender_leave_nothing_behind)
{
	begin();
	pthread_t thread;
	void *ended;
	sleeper = cleaned = 0;
	MUST(-pthread_create(&thread, NULL, sleeps_with_cleanup, (void *)MSGRCV));
	while (!sleeper)
		usleep(1000);
	wait_asleep(sleeper);
	MUST(-pthread_cancel(thread));
	MUST(-pthread_join(thread, &ended));
	CHECK(ended == PTHREAD_CANCELED);
	CHECK_EQ(cleaned, 1);
	drain();
	is_left(MSGRCV);
	MUST(-pthread_create(&thread, NULL, sleeps, (void *)MSGSND));
	for (int before = -1, now; (now = queued()) != before || now < 163; before = now)
		usleep(10000);
	MUST(-pthread_cancel(thread));
	MUST(-pthread_join(thread, &ended));
	CHECK(ended == PTHREAD_CANCELED);
	is_left(MSGSND);
	end();
}

static void *is_cancelled_already(void *nothing)
{
	(void)nothing;
	MUST(-pthread_cancel(pthread_self()));
	message.type = 1;
	msgsnd(queue, &message, 1, 0);
	return "came back";
}

TEST(a_call_that_would_not_sleep_is_a_cancellation_point_too)
{
	begin();
	pthread_t thread;
	void *ended;
	MUST(-pthread_create(&thread, NULL, is_cancelled_already, NULL));
	MUST(-pthread_join(thread, &ended));
	CHECK(ended == PTHREAD_CANCELED);
	CHECK_EQ(queued(), 0);
	end();
}

static void *does_not_want_to(void *nothing)
{
	(void)nothing;
	int was;
	MUST(-pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &was));
	MUST(-pthread_cancel(pthread_self()));
	message.type = 1;
	MUST(msgsnd(queue, &message, 1, 0));
	CHECK_EQ(MUST(msgrcv(queue, &message, sizeof message.text, 0, 0)), 1);
	return NULL;
}

TEST(who_may_not_be_cancelled_is_not)
{
	begin();
	pthread_t thread;
	MUST(-pthread_create(&thread, NULL, does_not_want_to, NULL));
	void *ended = &thread;
	MUST(-pthread_join(thread, &ended));
	CHECK(ended == NULL);
	end();
}

static void leave_thread(int signal)
{
	(void)signal;
	pthread_exit(NULL);
}

TEST(a_handler_that_ends_its_thread_leaves_no_receiver)
{
	begin();
	struct sigaction on = { .sa_handler = leave_thread, .sa_flags = SA_RESTART };
	MUST(sigaction(SIGUSR1, &on, NULL));
	pthread_t thread;
	sleeper = 0;
	MUST(-pthread_create(&thread, NULL, sleeps_with_cleanup, (void *)MSGRCV));
	while (!sleeper)
		usleep(1000);
	wait_asleep(sleeper);
	MUST(-pthread_kill(thread, SIGUSR1));
	void *ended = &thread;
	MUST(-pthread_join(thread, &ended));
	CHECK(ended == NULL);
	drain();
	is_left(MSGRCV);
	end();
}

static void makes_calls(int signal)
{
	(void)signal;
	is_left(SEMOP);
	is_left(MSGRCV);
}

TEST(a_handler_may_make_calls_and_meets_nobody_asleep)
{
	begin();
	struct sigaction on = { .sa_handler = makes_calls, .sa_flags = SA_RESTART };
	MUST(sigaction(SIGALRM, &on, NULL));
	for (int kind = SEMOP; kind <= MSGRCV; kind++) {
		struct itimerval soon = { { 0, 20000 }, { 0, 20000 } }, never = { 0 };
		errno = 0;
		MUST(setitimer(ITIMER_REAL, &soon, NULL));
		sleep_in(kind);
		int error = errno;
		MUST(setitimer(ITIMER_REAL, &never, NULL));
		CHECK_EQ(error, EINTR);
	}
	end();
}
