/*
 * stops.c - a process that is stopped at any moment is not dead, and must not hold up the others; unless it is stopped
 * inside the few instructions in which it holds the table's lock. How often is that?
 *
 *   stops [--stops N] [--points N] [--seed N] [-v]
 *
 * One process performs all operations in turn. It is stopped at a random moment, by SIGSTOP or by ptrace, and a
 * neighbour does everything once. If the neighbour does not get on, the lock's word must name the one that is stopped.
 * Then the process goes on, or is killed, and the neighbour must get on: each time before it counts as hanging, and half of
 * the times within a second, for how long a busy machine takes for one of them says nothing.
 */
#include "stops.h"

#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { SHARED_KEY = 0x7a11, PATIENCE = 20 /* ms, for one who is held up */ };
/* Microseconds within which half of those get on whom nobody holds up, and half of those who are let go on. */
enum { PROMISE = 1000000 };
static unsigned long long seed = 1;

static long microseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int job_neighbour(int key)
{
	struct shmid_ds d;
	long began = microseconds();
	if (job_whole_life(key) < 0)
		return -1;
	int id = shmget(SHARED_KEY, 0, 0);
	if (id >= 0 && shmctl(id, IPC_STAT, &d) < 0) {
		snprintf(the->text, MAX_TEXT, "IPC_STAT of the shared segment: %s", strerror(errno));
		return -1;
	}
	return (int)(microseconds() - began);
}

/* --- the busy one */

static void must(bool good, const char *what)
{
	if (good)
		return;
	snprintf(the->text, MAX_TEXT, "the busy process: %s: %s", what, strerror(errno));
	_exit(3);
}

/* Everything, again and again; it answers only if something fails. */
static int job_busy(int from)
{
	unsigned long long random = (unsigned)from;
	struct shm_info info;
	struct shmid_ds d;
	int shared = shmget(SHARED_KEY, 2 * PAGE, IPC_CREAT | 0600);
	must(shared >= 0, "the shared segment");
	for (;;) {
		int key = 0x7b00 + (int)pick(&random, 16);
		int id = shmget(pick(&random, 2) ? key : IPC_PRIVATE, 3 * PAGE, IPC_CREAT | 0600);
		must(id >= 0, "shmget");
		unsigned char *at = shmat(id, NULL, 0), *again = shmat(shared, NULL, SHM_RDONLY);
		must(at != (void *)-1 && again != (void *)-1, "shmat");
		at[0] = 1;
		must(shmctl(id, IPC_STAT, &d) == 0, "IPC_STAT");
		switch (pick(&random, 12)) {
		case 0: {
			pid_t child = fork();
			must(child >= 0, "fork");
			if (child == 0) {
				pick(&random, 2) ? shmdt(at) : 0;
				_exit(0);
			}
			must(waitpid(child, NULL, 0) == child, "waitpid");
			break;
		}
		case 1:
		case 2:
			d.shm_perm.mode = 0600 | pick(&random, 8);
			must(shmctl(id, IPC_SET, &d) == 0, "IPC_SET");
			break;
		case 3: must(munmap(at + PAGE, PAGE) == 0, "munmap"); break;
		case 4: must(read_list((struct sight[1]){ { 0 } }, 1) > 0, "the list"); break;
		case 5: must(shmctl(0, SHM_INFO, (struct shmid_ds *)&info) >= 0, "SHM_INFO"); break;
		case 6: must(shmctl(id, SHM_LOCK, NULL) == 0 && shmctl(id, SHM_UNLOCK, NULL) == 0, "SHM_LOCK"); break;
		}
		bool marked = pick(&random, 2);
		must(!marked || shmctl(id, IPC_RMID, NULL) == 0, "IPC_RMID");
		must(shmdt(at) == 0 && shmdt(again) == 0, "shmdt");
		must(marked || shmctl(id, IPC_RMID, NULL) == 0, "IPC_RMID later");
	}
}

static struct actor busy, neighbour;
static bool traced;

static void start_busy(void)
{
	actor_start(&busy);
	if (traced && ptrace(PTRACE_SEIZE, busy.pid, 0, PTRACE_O_EXITKILL) < 0)
		fatal("ptrace: %s", strerror(errno));
	actor_send(&busy, job_busy, (int)pick(&seed, 1u << 30));
	usleep(2000);
}

/* Returns false when it has ended. */
static bool stop(void)
{
	int status;
	if (traced)
		ptrace(PTRACE_INTERRUPT, busy.pid, 0, 0);
	else
		kill(busy.pid, SIGSTOP);
	for (;;) {
		if (waitpid(busy.pid, &status, WUNTRACED | __WALL) != busy.pid || !WIFSTOPPED(status))
			return false;
		if (!traced || status >> 16 == PTRACE_EVENT_STOP)
			return true;
		/* SIGCHLD of a child that has ended. */
		ptrace(PTRACE_CONT, busy.pid, 0, WSTOPSIG(status));
	}
}

static void go_on(void)
{
	if (traced)
		ptrace(PTRACE_CONT, busy.pid, 0, 0);
	else
		kill(busy.pid, SIGCONT);
}

/* --- figures */

enum { BUCKETS = 22 };
static long waits[BUCKETS]; /* by powers of two microseconds */
static long longest, held_count, killed_count, longest_release, slow_releases, stop_count;

static void note(int took)
{
	int bucket = 0;
	while (bucket < BUCKETS - 1 && took >> bucket > 1)
		bucket++;
	waits[bucket]++;
	if (took > longest)
		longest = took;
}

static long below(double share)
{
	long sum = 0, all = 0;
	for (int i = 0; i < BUCKETS; i++)
		all += waits[i];
	for (int i = 0; i < BUCKETS; i++)
		if ((double)(sum += waits[i]) >= share * (double)all)
			return 2l << i;
	return longest;
}

/* --- one stop */

static bool hears(struct answer *answer, int milliseconds_at_most)
{
	return actor_hear(&neighbour, answer, milliseconds_at_most) == HEARD;
}

/* Returns false when there is no point in going on. */
static bool one_stop(long number)
{
	struct answer answer;
	bool good = true;
	for (long until = microseconds() + pick(&seed, 400); microseconds() < until;)
		;
	if (!stop()) {
		failed("stop %ld: the busy process has ended: %s", number, the->text);
		return false;
	}
	bool held = table_is_locked() && table_lock_owner() == busy.pid;
	uint32_t owner = (uint32_t)table_lock_owner();
	actor_send(&neighbour, job_neighbour, 0x7c00 + (int)(number % 8));
	if (hears(&answer, held ? PATIENCE : HANG_MS)) {
		go_on();
		if (held) {
			failed("stop %ld: the neighbour gets on although the stopped one holds the lock", number);
			good = false;
		} else if (answer.value < 0) {
			failed("stop %ld: %s", number, the->text);
			good = false;
		} else {
			note(answer.value);
		}
	} else {
		bool holds = table_is_locked() && table_lock_owner() == busy.pid;
		if (!holds) {
			failed("stop %ld: the neighbour is held up for %d ms, and the lock (of %u at first, of %d now) is not the "
			       "stopped one's, %d",
			       number, held ? PATIENCE : HANG_MS, owner, (int)table_lock_owner(), (int)busy.pid);
			good = false;
		}
		held_count++;
		bool kill_it = pick(&seed, 4) == 0;
		long began = microseconds();
		if (kill_it) {
			killed_count++;
			actor_kill(&busy);
		} else {
			go_on();
		}
		if (!hears(&answer, HANG_MS)) {
			failed("stop %ld: %d ms after the stopped one %s the neighbour waits still", number, HANG_MS,
			       kill_it ? "was killed" : "went on");
			return false;
		}
		if (answer.value < 0) {
			failed("stop %ld: %s", number, the->text);
			good = false;
		}
		long took = microseconds() - began;
		if (took > longest_release)
			longest_release = took;
		slow_releases += took > PROMISE;
		if (kill_it)
			start_busy();
	}
	return good;
}

static void random_stops(long count)
{
	place(false, NULL);
	actor_start(&neighbour);
	if (actor_do(&neighbour, job_neighbour, 0x7c00).value < 0)
		fatal("%s", the->text);
	bool good = true;
	for (long i = 0; i < count && good; i++) {
		/* By SIGSTOP and by ptrace in turns, and another process now and then. */
		if (i % 500 == 0) {
			actor_kill(&busy);
			traced = i / 500 % 2 == 1;
			start_busy();
		}
		good = one_stop(i);
		stop_count++;
		if ((i + 1) % 10000 == 0) {
			printf("%ld stops, %ld of them with the lock held\n", i + 1, held_count);
			fflush(stdout);
		}
	}
	actor_kill(&busy);
	kill_strays(neighbour.pid);
	if (good) {
		passed();
		if (actor_do(&neighbour, job_remove_all, 0).value != 0)
			failed("at the end: %s", the->text);
		else if (ground_is_empty(&neighbour, 1, "after the stops"))
			passed();
	}
	if (below(0.5) > 2 * PROMISE || 2 * slow_releases > held_count)
		failed("half of the neighbours need more than a second");
	actor_kill(&neighbour);
	place_end();
	printf("%ld stops at random moments: %ld with the lock held (%.2f %%), of which %ld were killed\n", stop_count,
	       held_count, 100.0 * (double)held_count / (double)(stop_count ? stop_count : 1), killed_count);
	printf("meanwhile a neighbour's create, attach, detach, remove, lookup and IPC_STAT took: half below %ld us, 99 %% below "
	       "%ld us, the longest %ld us\n",
	       below(0.5), below(0.99), longest);
	printf("where it was held up, it was done at most %ld us after the stopped one went on or was killed\n",
	       longest_release);
}

int main(int count, char **arguments)
{
	static const struct option options[] = {
		{ "stops", 1, 0, 's' }, { "points", 1, 0, 'p' }, { "seed", 1, 0, 'r' }, { 0 },
	};
	long stops = 1000;
	int option, points = 1;

	while ((option = getopt_long(count, arguments, "v", options, NULL)) >= 0)
		switch (option) {
		case 's': stops = atol(optarg); break;
		case 'p': points = atoi(optarg); break;
		case 'r': seed = strtoull(optarg, NULL, 0); break;
		case 'v': verbose = true; break;
		default: return 2;
		}
	printf("stops: seed %llu\n", seed);
	ground_begin();
	random_stops(stops);
	test_held(points, &seed);
	return count_up();
}
