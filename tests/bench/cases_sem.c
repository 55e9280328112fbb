/*
 * cases_sem.c - semaphores and message queues: one process alone, and two that wait for each other.
 */
#include "bench.h"
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/syscall.h>

enum { KEY = 0x53454d, SEMAPHORES = 3 };

static int set;

static void prepare_set(void) { set = MUST(semget(KEY, SEMAPHORES, IPC_CREAT | 0600)); }
static void finish_set(void) { MUST(semctl(set, 0, IPC_RMID)); }

/* ------------------------------------------------- one semaphore, no sleep */

static uint64_t up_and_down(long n, short flags)
{
	struct sembuf up = { 0, 1, flags }, down = { 0, -1, flags };
	return TIMED(REPEAT(n) {
		MUST(semop(set, &up, 1));
		MUST(semop(set, &down, 1));
	}) / 2;
}

static uint64_t plain(long n) { return up_and_down(n, 0); }
static uint64_t undoable(long n) { return up_and_down(n, SEM_UNDO); }

static void handler(int sig) { (void)sig; }

static void prepare_with_handlers(void)
{
	int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGALRM, SIGUSR1, SIGUSR2 };
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		MUST(sigaction(signals[i], &act, NULL));
	prepare_set();
}

static uint64_t refused(long n)
{
	struct sembuf down = { 0, -1, IPC_NOWAIT };
	if (semop(set, &down, 1) != -1 || errno != EAGAIN)
		MUST((errno = EEXIST, -1));
	return TIMED(REPEAT(n) semop(set, &down, 1));
}

static uint64_t value(long n) { return TIMED(REPEAT(n) MUST(semctl(set, 0, GETVAL))); }

/* ---------------------------------------------------------------- arrays */

/* What PHP's sem_get does: it counts itself in while a third semaphore keeps the others out, and lets them in again. */
static uint64_t php(long n)
{
	struct sembuf enter[] = { { 2, 0, 0 }, { 2, 1, SEM_UNDO }, { 1, 1, SEM_UNDO } };
	struct sembuf leave[] = { { 1, -1, SEM_UNDO }, { 2, -1, SEM_UNDO } };
	return TIMED(REPEAT(n) {
		MUST(semop(set, enter, 3));
		MUST(semop(set, leave, 2));
	}) / 2;
}

static uint64_t idiom(long n)
{
	struct sembuf take[] = { { 0, 0, 0 }, { 0, 1, SEM_UNDO } }, give = { 0, -1, SEM_UNDO };
	return TIMED(REPEAT(n) {
		MUST(semop(set, take, 2));
		MUST(semop(set, &give, 1));
	}) / 2;
}

static uint64_t find_set(long n) { return TIMED(REPEAT(n) MUST(semget(KEY, 0, 0))); }

/* --------------------------------------------------------- two processes */

static uint64_t mutex(long n)
{
	struct sembuf take = { 0, -1, SEM_UNDO }, give = { 0, 1, SEM_UNDO };
	return TIMED(REPEAT(n) {
		MUST(semop(set, &take, 1));
		MUST(semop(set, &give, 1));
	}) / 2;
}

static void prepare_mutex(void)
{
	struct sembuf give = { 0, 1, 0 };
	prepare_set();
	MUST(semop(set, &give, 1));
	start_others(argument, mutex);
}

static void finish_mutex(void)
{
	end_others();
	finish_set();
}

/* The partner of who throws a ball; it ends when there is nothing left to play with. */
static pid_t partner;

static void start_partner(void (*play)(void))
{
	partner = MUST(fork());
	if (partner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		play();
		_exit(0);
	}
}

static void answer_by_semaphores(void)
{
	struct sembuf take = { 0, -1, 0 }, give = { 1, 1, 0 };
	while (semop(set, &take, 1) == 0 && semop(set, &give, 1) == 0)
		;
}

static void prepare_ping_pong(void)
{
	prepare_set();
	start_partner(answer_by_semaphores);
}

static uint64_t ping_pong(long n)
{
	struct sembuf give = { 0, 1, 0 }, take = { 1, -1, 0 };
	return TIMED(REPEAT(n) {
		MUST(semop(set, &give, 1));
		MUST(semop(set, &take, 1));
	});
}

static void finish_ping_pong(void)
{
	finish_set();
	MUST(waitpid(partner, NULL, 0));
}

/* Two semaphores made of a futex each: there is no faster way for one process to sleep until another goes on. */
static atomic_int *balls;

static void take_ball(atomic_int *ball)
{
	while (atomic_exchange(ball, 0) == 0)
		syscall(SYS_futex, ball, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void give_ball(atomic_int *ball)
{
	atomic_store(ball, 1);
	syscall(SYS_futex, ball, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void answer_by_futexes(void)
{
	for (;;) {
		take_ball(&balls[0]);
		give_ball(&balls[16]);
	}
}

static void prepare_bare_ping_pong(void)
{
	balls = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	start_partner(answer_by_futexes);
}

static uint64_t bare_ping_pong(long n)
{
	return TIMED(REPEAT(n) {
		give_ball(&balls[0]);
		take_ball(&balls[16]);
	});
}

static void finish_bare_ping_pong(void)
{
	MUST(kill(partner, SIGKILL));
	MUST(waitpid(partner, NULL, 0));
}

/* --------------------------------------------------------------- messages */

static int queue, back;
static struct { long type; char text[8192]; } message = { .type = 1 };

static void prepare_queue(void)
{
	queue = MUST(msgget(KEY, IPC_CREAT | 0600));
	/* Another stands before, so that the queue is never empty. */
	long kept = message.type;
	message.type = 2;
	if (bytes)
		MUST(msgsnd(queue, &message, 64, IPC_NOWAIT));
	message.type = kept;
}
static void finish_queue(void) { MUST(msgctl(queue, IPC_RMID, NULL)); }

static uint64_t through_queue(long n)
{
	return TIMED(REPEAT(n) {
		MUST(msgsnd(queue, &message, bytes, 0));
		MUST(msgrcv(queue, &message, sizeof message.text, 1, 0));
	});
}

static uint64_t find_queue(long n) { return TIMED(REPEAT(n) MUST(msgget(KEY, 0))); }

static void answer_by_messages(void)
{
	while (msgrcv(queue, &message, sizeof message.text, 1, 0) >= 0 && msgsnd(back, &message, 64, 0) == 0)
		;
}

static void prepare_message_ping_pong(void)
{
	queue = MUST(msgget(KEY, IPC_CREAT | 0600));
	back = MUST(msgget(KEY + 1, IPC_CREAT | 0600));
	start_partner(answer_by_messages);
}

static uint64_t message_ping_pong(long n)
{
	return TIMED(REPEAT(n) {
		MUST(msgsnd(queue, &message, 64, 0));
		MUST(msgrcv(back, &message, sizeof message.text, 1, 0));
	});
}

static void finish_message_ping_pong(void)
{
	finish_queue();
	MUST(waitpid(partner, NULL, 0));
	MUST(msgctl(back, IPC_RMID, NULL));
}

/* -------------------------------------------------------------- the table */

#define NONE { NULL, NULL, NULL }
#define ALONE(run) { prepare_set, run, finish_set }

static const long one = 1, fifteen = 15;

const struct bench sem_benches[] = {
	{ "sem-get", ALONE(find_set), NONE, 0, NULL, 0 },
	{ "sem-op", ALONE(plain), NONE, 0, NULL, 0 },
	{ "sem-op-undo", ALONE(undoable), NONE, 0, NULL, 0 },
	{ "sem-op-handlers", { prepare_with_handlers, undoable, finish_set }, NONE, 0, NULL, 0 },
	{ "sem-eagain", ALONE(refused), NONE, 0, NULL, 0 },
	{ "sem-value", ALONE(value), NONE, 0, NULL, 0 },
	{ "sem-array-3", ALONE(php), NONE, 0, NULL, 0 },
	{ "sem-idiom", ALONE(idiom), NONE, 0, NULL, 0 },
	{ "two-mutex", { prepare_mutex, mutex, finish_mutex }, NONE, 0, &one, 0 },
	{ "many-mutex", { prepare_mutex, mutex, finish_mutex }, NONE, 0, &fifteen, 0 },
	{ "two-sem-turns", { prepare_ping_pong, ping_pong, finish_ping_pong },
	  { prepare_bare_ping_pong, bare_ping_pong, finish_bare_ping_pong }, 0, NULL, 0 },
	{ "msg-get", { prepare_queue, find_queue, finish_queue }, NONE, 0, NULL, 0 },
	{ "msg-64", { prepare_queue, through_queue, finish_queue }, NONE, 0, NULL, 64 },
	{ "msg-1088", { prepare_queue, through_queue, finish_queue }, NONE, 0, NULL, 1088 },
	{ "msg-8192", { prepare_queue, through_queue, finish_queue }, NONE, 0, NULL, 8192 },
	{ "two-msg-turns", { prepare_message_ping_pong, message_ping_pong, finish_message_ping_pong },
	  { prepare_bare_ping_pong, bare_ping_pong, finish_bare_ping_pong }, 0, NULL, 0 },
	{ NULL, NONE, NONE, 0, NULL, 0 },
};
