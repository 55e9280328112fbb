/*
 * objects_stops.c - the part stops of objects.c: calls beside a process that is stopped in the midst of one.
 */
#include "objects.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static int full_set, full_queue;

static int work(int number)
{
	unsigned long long own = seed + number;
	static struct letter letter = { 1, "z" };
	for (int i = 0; i < 20; i++) {
		operate(full_set, pick(&own, SEMAPHORES), pick(&own, SEMAPHORES), IPC_NOWAIT | (pick(&own, 2) ? SEM_UNDO : 0));
		msgsnd(full_queue, &letter, pick(&own, 100), IPC_NOWAIT);
		msgrcv(full_queue, &letter, TEXT, 0, IPC_NOWAIT);
		int brief = semget(IPC_PRIVATE, 2, 0600), letters = msgget(IPC_PRIVATE, 0600);
		if (brief < 0 || letters < 0 || semctl(brief, 0, IPC_RMID) < 0 || msgctl(letters, IPC_RMID, NULL) < 0)
			return 1;
	}
	return 0;
}

static int by_length(const void *one, const void *other) { return *(const long *)one < *(const long *)other ? -1 : 1; }

static long microseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void stops_round(int stops)
{
	long *took = calloc(stops, sizeof *took);
	full_set = semget(0x601, SEMAPHORES, IPC_CREAT | 0600);
	full_queue = msgget(0x601, IPC_CREAT | 0600);
	if (full_set < 0 || full_queue < 0 || fill_set(full_set) < 0 || work(0) != 0)
		fatal("no set: %s", strerror(errno));
	pid_t busy = fork();
	if (busy == 0)
		for (int i = 0;; i++)
			if (work(i) != 0)
				_exit(1);
	for (int i = 0; i < stops; i++) {
		usleep(pick(&seed, 1500));
		kill(busy, SIGSTOP);
		long begun = microseconds();
		if (work(i) != 0)
			failed("a call is refused while somebody is stopped: %s", strerror(errno));
		took[i] = microseconds() - begun;
		kill(busy, SIGCONT);
	}
	int ended = waitpid(busy, NULL, WNOHANG);
	kill_and_wait(busy);
	qsort(took, stops, sizeof *took, by_length);
	if (ended || took[stops / 2] > 1000000)
		failed("beside one that is stopped 120 calls take %ld us, half of the times", took[stops / 2]);
	printf("%d stops: 120 calls beside the one that is stopped take %ld us, half of the times, and %ld us at most\n", stops,
	       took[stops / 2], took[stops - 1]);
	free(took);
}

void test_stops(void)
{
	if (!place(false, NULL))
		fatal("no place: %s", strerror(errno));
	by_a_child(stops_round, rounds ? rounds : 300);
}
