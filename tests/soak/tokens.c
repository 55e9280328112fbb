/*
 * tokens.c - semaphores and queues by many processes at once, which are killed and stopped: nothing is made, lost or doubled.
 *
 *   tokens [--seconds N] [--seed N] [--workers N] [--calm] [--doubles]
 *
 * Each worker is killed at some moment and another takes its place. Meanwhile and at the end:
 *
 *   moved     tokens go from one semaphore of a set to another in one call: their sum never changes
 *   borrowed  tokens are taken and given back with SEM_UNDO, two semaphores in one call: when all have died, all are there
 *   inside    a semaphore of one, taken with SEM_UNDO, lets one process in at a time
 *   letters   each message has a number of its sender's. None comes twice, each receiver sees those of a sender in their
 *             order, and no more are missing than receivers were killed
 *   brief     a set and a queue that are made, used, slept in and removed all the time
 *
 * Afterwards thousands change sets of several sizes and are killed: what they leave is used again.
 *
 * --calm    nobody is killed or stopped
 * --doubles handlers fork in the midst of calls, and the children come back to them: what the library does not stand always
 */
#include "tokens.h"

#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

struct ledger *ledger;
unsigned long long seed = 1;
static int workers = 10;
bool doubles;

static void begin_worker(int number)
{
	unsigned life = atomic_fetch_add(&ledger->lives, 1);
	if (life >= LIVES)
		fatal("too many lives");
	pid_t pid = fork();
	if (pid == 0)
		work(number, life);
	atomic_store(&ledger->worker[number].pid, pid);
}

static void end_worker(int number, int how)
{
	pid_t pid = atomic_load(&ledger->worker[number].pid);
	kill(pid, how);
	kill(pid, SIGCONT);
	waitpid(pid, NULL, 0);
	/* It may have been at it when it died. */
	if (atomic_exchange(&ledger->worker[number].receives, false))
		atomic_fetch_add(&ledger->receiving_killed, 1);
}

static void must(bool holds, const char *what)
{
	if (holds && atomic_load(&ledger->wrong) == 0)
		passed();
	else
		failed("%s: %s", what, atomic_load(&ledger->wrong) ? ledger->text : strerror(errno));
	atomic_store(&ledger->wrong, 0);
}

static void make_objects(void)
{
	unsigned short moved[PLACES], borrowed[PLACES];
	for (int i = 0; i < PLACES; i++) {
		moved[i] = borrowed[i] = TOKENS;
	}
	borrowed[0] = 1;
	for (int i = 0; i < SETS; i++) {
		ledger->moved[i] = semget(IPC_PRIVATE, PLACES, 0600);
		ledger->borrowed[i] = semget(IPC_PRIVATE, PLACES, 0600);
		if (semctl(ledger->moved[i], 0, SETALL, (union semun){ .array = moved }) < 0 ||
		    semctl(ledger->borrowed[i], 0, SETALL, (union semun){ .array = borrowed }) < 0)
			fatal("SETALL: %s", strerror(errno));
	}
	for (int i = 0; i < QUEUES; i++)
		if ((ledger->queue[i] = msgget(IPC_PRIVATE, 0600)) < 0)
			fatal("msgget: %s", strerror(errno));
}

/* Nobody stands still who is not stopped: everything that is waited for comes, or has a limit. */
static void look_for_hangs(unsigned *calls, long *since, long now)
{
	for (int i = 0; i < workers; i++) {
		unsigned made = atomic_load(&ledger->worker[i].calls);
		if (made != calls[i]) {
			calls[i] = made;
			since[i] = now;
		} else if (now - since[i] > 60000) {
			wrong("worker %d (%d) has made no call for a minute", i, atomic_load(&ledger->worker[i].pid));
			since[i] = now;
		}
	}
}

/* The children of workers that were killed; a worker itself ends by nothing but a kill. */
static void reap_strays(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < workers; i++)
			if (atomic_load(&ledger->worker[i].pid) == pid) {
				wrong("worker %d (%d) has ended with status %#x", i, pid, status);
				begin_worker(i);
			}
}

static void conduct(long millis, bool calm)
{
	unsigned calls[WORKERS] = { 0 };
	long since[WORKERS], begun = milliseconds(), now;
	for (int i = 0; i < workers; i++) {
		begin_worker(i);
		since[i] = begun;
	}
	while ((now = milliseconds()) - begun < millis && atomic_load(&ledger->wrong) == 0) {
		int number = pick(&seed, workers);
		usleep(200 + pick(&seed, 20000));
		/* The conductor takes what the others wait for. */
		unsigned long long own = seed;
		struct worker conductor;
		me = &conductor;
		while (receive_letter(&own, false))
			;
		look_for_hangs(calls, since, now);
		reap_strays();
		if (calm)
			continue;
		if (pick(&seed, 3) == 0) {
			kill(atomic_load(&ledger->worker[number].pid), SIGSTOP);
			usleep(pick(&seed, 15000));
			kill(atomic_load(&ledger->worker[number].pid), SIGCONT);
		} else {
			end_worker(number, SIGKILL);
			atomic_fetch_add(&ledger->kills, 1);
			begin_worker(number);
		}
	}
	atomic_store(&ledger->over, true);
	for (int i = 0; i < workers; i++)
		atomic_fetch_add(&ledger->calls, atomic_load(&ledger->worker[i].calls));
	for (int i = 0; i < workers; i++)
		end_worker(i, SIGKILL);
	kill_strays(0);
}

/* What is there when all are dead. */
static void check_totals(void)
{
	unsigned long long own = seed;
	struct worker conductor;
	long missing = 0, sent = 0;
	me = &conductor;
	for (int i = 0; i < SETS; i++) {
		unsigned short values[PLACES];
		if (semctl(ledger->borrowed[i], 0, GETALL, (union semun){ .array = values }) < 0)
			wrong("GETALL: %s", strerror(errno));
		for (int at = 0; at < PLACES; at++)
			if (values[at] != (at == 0 ? 1 : TOKENS))
				wrong("%d of %d tokens were given back to semaphore %d of set %d", values[at], at == 0 ? 1 : TOKENS, at, i);
		for (int at = 0; at < PLACES; at++)
			if (semctl(ledger->moved[i], at, GETNCNT) != 0 || semctl(ledger->borrowed[i], at, GETNCNT) != 0)
				wrong("somebody who is dead waits");
	}
	must(true, "borrowed tokens are all there");
	for (int i = 0; i < 20 * SETS; i++)
		sum_up(&own);
	must(true, "moved tokens are neither more nor fewer");
	for (int which = 0; which < QUEUES; which++) {
		static struct letter letter;
		long got;
		while ((got = msgrcv(ledger->queue[which], &letter, sizeof letter.body, 0, IPC_NOWAIT)) >= 0)
			note(which, &letter, got, false);
		for (unsigned life = 0; life < atomic_load(&ledger->lives); life++)
			for (unsigned n = 0; n < atomic_load(&ledger->life[life].sent[which]); n++) {
				sent++;
				missing += !(atomic_load(&ledger->life[life].received[which][n / 8]) >> n % 8 & 1);
			}
	}
	if (missing > (long)atomic_load(&ledger->receiving_killed))
		wrong("%ld of %ld messages are missing, and %u receivers were killed", missing, sent, atomic_load(&ledger->receiving_killed));
	must(true, "messages come once, in order");
	printf("%u kills, %lu calls, %ld messages, %ld of them taken along by %u receivers that were killed; %ld KiB of blocks\n",
	       atomic_load(&ledger->kills), atomic_load(&ledger->calls), sent, missing, atomic_load(&ledger->receiving_killed),
	       arena_bytes() / 1024);
}

/* Each of them dies with a block of each size in its hands: 2 KiB. Several look for these at once. */
static void be_killed(const int *sets, int number)
{
	struct sembuf ops[] = { { 0, 1, 0 }, { 0, -1, 0 } };
	for (int i = 0; i < number; i++)
		if (semop(sets[i], ops, 2) < 0)
			wrong("semop of one that is to be killed: %s", strerror(errno));
	raise(SIGKILL);
}

static void have_killed(const int *sets, int number, int deaths)
{
	for (int n = 0; n < deaths; n++) {
		int status = 0;
		pid_t pid = fork();
		if (pid == 0)
			be_killed(sets, number);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
			wrong("one that was to be killed has ended with status %#x", status);
	}
	_exit(0);
}

/* They leave 15 MiB. The living have next to nothing, so there is no need for so many new blocks. */
static void look_at_deaths(void)
{
	enum { SIZES = 4, PARENTS = 8, DEATHS = 1000, MOST = 1 << 20 };
	static const int semaphores[SIZES] = { 1, 10, 30, 80 };
	int sets[SIZES];
	long before = arena_bytes();
	for (int i = 0; i < SIZES; i++)
		if ((sets[i] = semget(IPC_PRIVATE, semaphores[i], 0600)) < 0)
			fatal("semget: %s", strerror(errno));
	for (int i = 0; i < PARENTS; i++) {
		pid_t pid = fork();
		if (pid == 0)
			have_killed(sets, SIZES, DEATHS);
		if (pid < 0)
			fatal("fork: %s", strerror(errno));
	}
	while (wait(NULL) > 0)
		;
	long more = arena_bytes() - before;
	if (before == 0 || more > MOST)
		wrong("%d processes that were killed cost %ld KiB of new blocks", PARENTS * DEATHS, more / 1024);
	must(true, "what the dead leave is used again");
}

int main(int argc, char **arguments)
{
	static const struct option options[] = {
		{ "seconds", 1, 0, 's' }, { "seed", 1, 0, 'r' }, { "workers", 1, 0, 'w' }, { "calm", 0, 0, 'c' },
		{ "doubles", 0, 0, 'd' }, { 0 },
	};
	long seconds = 10;
	bool calm = false;
	int option;
	while ((option = getopt_long(argc, arguments, "", options, NULL)) >= 0)
		switch (option) {
		case 's': seconds = atol(optarg); break;
		case 'r': seed = strtoull(optarg, NULL, 0); break;
		case 'w': workers = atoi(optarg) < WORKERS ? atoi(optarg) : WORKERS; break;
		case 'c': calm = true; break;
		case 'd': doubles = true; break;
		default: return 2;
		}
	ground_begin();
	ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ledger == MAP_FAILED || !place(false, NULL))
		fatal("no ground: %s", strerror(errno));
	make_objects();
	conduct(seconds * 1000, calm);
	must(true, "nothing was wrong meanwhile");
	check_totals();
	look_at_deaths();
	place_end();
	return count_up();
}
