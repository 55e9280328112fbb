/*
 * sleepers STEP: programs whose calls sleep, linked statically, which shmshim-static serves. Each says what went otherwise than
 * on the kernel and exits with 1; with 42 when all was right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

static int wrong, queue, set;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("sleepers.c:%d: not so: %s (errno %d)\n", __LINE__, #condition, errno); \
			wrong = 1;                                                                 \
		}                                                                                  \
	} while (0)

static long receive(void)
{
	struct { long type; char text[4]; } got;
	return msgrcv(queue, &got, sizeof got.text, 1, 0);
}

static long take(void)
{
	struct sembuf op = { 0, -1, 0 };
	return semop(set, &op, 1);
}

static long send(void)
{
	struct { long type; char text[4]; } sent = { 1, "abc" };
	return msgsnd(queue, &sent, sizeof sent.text, 0);
}

static void make_both(void)
{
	queue = msgget(IPC_PRIVATE, 0600);
	set = semget(IPC_PRIVATE, 1, 0600);
}

static void remove_both(void)
{
	CHECK(msgctl(queue, IPC_RMID, NULL) == 0);
	CHECK(semctl(set, 0, IPC_RMID) == 0);
}

static void handle(int unused) { (void)unused; }

static void handle_with_restart(int signal)
{
	struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART };
	sigaction(signal, &action, NULL);
}

/* Each thread of many is interrupted, however few descriptors there are. */
enum { MANY = 60 };
static int interrupted;

static void *sleep_until_interrupted(void *number)
{
	CHECK(((long)number % 2 ? take() : receive()) == -1 && errno == EINTR);
	__sync_fetch_and_add(&interrupted, 1);
	return NULL;
}

static void many(void)
{
	pthread_t started[MANY];
	make_both();
	handle_with_restart(SIGUSR1);
	for (long i = 0; i < MANY; i++)
		CHECK(pthread_create(&started[i], NULL, sleep_until_interrupted, (void *)i) == 0);
	/* A signal that comes before a thread sleeps is lost. */
	for (int round = 0; interrupted < MANY && round < 200; round++) {
		usleep(100000);
		for (int i = 0; i < MANY; i++)
			pthread_kill(started[i], SIGUSR1);
	}
	CHECK(interrupted == MANY);
	remove_both();
	for (int i = 0; i < MANY; i++)
		pthread_join(started[i], NULL);
}

/*
 * Processes that have a free descriptor at one moment and none at the next: what a process needs for its first sleep is refused
 * or not, at any time. Where it sleeps, it does so until it is served.
 */
enum { PROCESSES = 40, DESCRIPTORS = 8 };

static void *take_and_give_descriptor(void *unused)
{
	for (;;) {
		int last = dup(0);
		for (volatile int i = 0; i < 20000; i++)
			;
		close(last);
		for (volatile int i = 0; i < 20000; i++)
			;
	}
	return unused;
}

static int sleep_short_of_descriptors(int operates)
{
	struct rlimit few = { DESCRIPTORS, DESCRIPTORS };
	pthread_t started;
	CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
	while (dup(0) != -1)
		;
	close(DESCRIPTORS - 1);
	CHECK(pthread_create(&started, NULL, take_and_give_descriptor, NULL) == 0);
	for (;;) {
		errno = 0;
		if ((operates ? take() : receive()) >= 0)
			return wrong;
		if (errno == EINTR || errno > 133) {
			CHECK(errno == 0);
			return 1;
		}
	}
}

static void refused(void)
{
	pid_t pids[PROCESSES];
	make_both();
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(sleep_short_of_descriptors(i % 2));
	}
	usleep(500000);
	struct sembuf all = { 0, PROCESSES / 2, 0 };
	CHECK(semop(set, &all, 1) == 0);
	for (int i = 0; i < PROCESSES / 2; i++)
		CHECK(send() == 0);
	for (int i = 0; i < PROCESSES; i++) {
		int status = -1;
		CHECK(waitpid(pids[i], &status, 0) == pids[i] && status == 0);
	}
	remove_both();
}

/* Many processes sleep; how many are refused for want of the supervisor's descriptors? The kernel refuses none. */
static void processes(void)
{
	int received = 0, refused = 0, status;
	make_both();
	for (int i = 0; i < MANY; i++)
		if (fork() == 0)
			_exit(receive() == 4 ? 0 : errno);
	for (int i = 0; i < MANY; i++)
		CHECK(send() == 0);
	for (int i = 0; i < MANY; i++) {
		CHECK(wait(&status) > 0 && (status == 0 || status == ENOMEM << 8));
		received += status == 0;
		refused += status != 0;
	}
	CHECK(received > 0);
	printf("%d refused\n", refused);
	remove_both();
}

/* A process that no other may look at: its sleep would be deaf. On the kernel it is interrupted. */
static void unseen(void)
{
	make_both();
	handle_with_restart(SIGALRM);
	CHECK(send() == 0 && receive() == 4);
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
	alarm(10);
	long got = receive();
	CHECK(got == -1 && (errno == EINTR || errno == EACCES));
	remove_both();
}

/* More threads than words that can be waited for at once: each gets its message or its signal, while another thread runs. */
enum { CROWD = 300 };
static volatile int served, is_over;

static void *sleep_in_crowd(void *number)
{
	long is_odd = (long)number % 2, got = is_odd ? take() : receive();
	CHECK(is_odd ? got == -1 && errno == EINTR : got == 4);
	__sync_fetch_and_add(is_odd ? &interrupted : (int *)&served, 1);
	return NULL;
}

static void *run_on(void *unused)
{
	while (!is_over)
		;
	return unused;
}

static void crowd(void)
{
	pthread_t started[CROWD], running;
	pthread_attr_t small;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	make_both();
	handle_with_restart(SIGUSR1);
	CHECK(pthread_create(&running, NULL, run_on, NULL) == 0);
	for (long i = 0; i < CROWD; i++)
		CHECK(pthread_create(&started[i], &small, sleep_in_crowd, (void *)i) == 0);
	for (int i = 0; i < CROWD; i += 2)
		CHECK(send() == 0);
	for (int round = 0; served + interrupted < CROWD && round < 200; round++) {
		usleep(100000);
		for (int i = 1; i < CROWD; i += 2)
			pthread_kill(started[i], SIGUSR1);
	}
	CHECK(served == CROWD / 2 && interrupted == CROWD / 2);
	is_over = 1;
	remove_both();
	for (int i = 0; i < CROWD; i++)
		pthread_join(started[i], NULL);
	pthread_join(running, NULL);
}

/* A child that shares its parent's memory is interrupted. */
static int sleep_borrowing(void *unused)
{
	(void)unused;
	return take() == -1 && errno == EINTR ? 0 : 1;
}

static void borrowed(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int status = -1;
	make_both();
	handle_with_restart(SIGUSR1);
	pid_t pid = clone(sleep_borrowing, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
	for (int round = 0; round < 200 && waitpid(pid, &status, WNOHANG) == 0; round++) {
		usleep(100000);
		kill(pid, SIGUSR1);
	}
	CHECK(status == 0);
	kill(pid, SIGKILL);
	remove_both();
}

int main(int argc, char **argv)
{
	const char *step = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(step, "many"))
		many();
	else if (!strcmp(step, "refused"))
		refused();
	else if (!strcmp(step, "processes"))
		processes();
	else if (!strcmp(step, "unseen"))
		unseen();
	else if (!strcmp(step, "crowd"))
		crowd();
	else if (!strcmp(step, "borrowed"))
		borrowed();
	else
		return 2;
	return wrong ? 1 : 42;
}
