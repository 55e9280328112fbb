/*
 * objects.c - semaphore sets and message queues in bad surroundings.
 *
 *   objects [--only PART] [--rounds N] [--seed N]
 *
 *   files     something else lies where the file of sets and queues should be: calls are refused until it is gone
 *   words     somebody writes nonsense into that file while others call: none of them is killed, none hangs
 *   full      the file system has no more room, at any moment: calls are refused, and nothing is lost
 *   stops     a process is stopped at any moment of a call: nobody waits for it
 */
#include "ground.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#ifndef MSG_STAT
#define MSG_STAT 11
#endif

enum { SEMAPHORES = 4, TOKENS = 5, TEXT = 2000, PATIENCE = 60000 };

union semun { int val; struct semid_ds *buf; unsigned short *array; };

struct letter {
	long type;
	char text[TEXT];
};

static unsigned long long seed = 1;
static int rounds;

static char *inside(const char *name)
{
	static char path[400];
	snprintf(path, sizeof path, "%s/%s", the->directory, name);
	return path;
}

static int operate(int set, int from, int to, short flags)
{
	struct sembuf ops[] = { { from, -1, flags }, { to, 1, flags } };
	struct timespec limit = { 0, 3000000 };
	return semtimedop(set, ops, 2, &limit);
}

static int fill_set(int set)
{
	unsigned short values[SEMAPHORES] = { TOKENS, TOKENS, TOKENS, TOKENS };
	return semctl(set, 0, SETALL, (union semun){ .array = values });
}

static int tokens_of(int set)
{
	unsigned short values[SEMAPHORES] = { 0 };
	int sum = 0;
	if (semctl(set, 0, GETALL, (union semun){ .array = values }) < 0)
		return -errno;
	for (int i = 0; i < SEMAPHORES; i++)
		sum += values[i];
	return sum;
}

/* How a child ends that does this: 0, or what is wrong. */
static const char *child_does(int (*what)(int), int argument)
{
	static char text[80];
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(what(argument));
	for (long begun = milliseconds(); waitpid(pid, &status, WNOHANG) == 0; usleep(1000))
		if (milliseconds() - begun > PATIENCE) {
			kill_and_wait(pid);
			return "hangs";
		}
	if (WIFSIGNALED(status))
		snprintf(text, sizeof text, "is killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(text, sizeof text, "ends with %d", WEXITSTATUS(status));
	else
		return NULL;
	return text;
}

/* --- files */

static int is_refused(int argument)
{
	(void)argument;
	if (semget(IPC_PRIVATE, 1, 0600) >= 0 || errno == ENOSYS)
		return 1;
	if (msgget(IPC_PRIVATE, 0600) >= 0)
		return 2;
	struct sembuf op = { 0, 1, 0 };
	if (semop(0, &op, 1) == 0)
		return 3;
	return 0;
}

static int is_served(int argument)
{
	(void)argument;
	int set = semget(IPC_PRIVATE, SEMAPHORES, 0600), queue = msgget(IPC_PRIVATE, 0600);
	if (set < 0 || queue < 0 || fill_set(set) < 0 || operate(set, 0, 1, SEM_UNDO) < 0)
		return 1;
	struct letter letter = { 1, "x" };
	if (msgsnd(queue, &letter, TEXT, 0) < 0 || msgrcv(queue, &letter, TEXT, 0, 0) != TEXT)
		return 2;
	return semctl(set, 0, IPC_RMID) < 0 || msgctl(queue, IPC_RMID, NULL) < 0 ? 3 : 0;
}

/* Only shared memory, which knows nothing of that file. */
static int shares_memory(int argument)
{
	int id = shmget(IPC_PRIVATE, 4096, 0600);
	(void)argument;
	return id < 0 || shmctl(id, IPC_RMID, NULL) < 0;
}

static void damage_file(int how)
{
	char *path = inside("ipc");
	uint64_t word = 0x1234567812345678;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	static const int at[] = { 0, 8, 12 };
	if (how < 3 && pwrite(fd, &word, how ? 4 : 8, at[how]) < 0)
		fatal("%s: %s", path, strerror(errno));
	if (how == 3 && ftruncate(fd, 0) < 0)
		fatal("%s: %s", path, strerror(errno));
	if (how == 4 && ftruncate(fd, 70000) < 0)
		fatal("%s: %s", path, strerror(errno));
	if (how == 5 && fchmod(fd, 0666) < 0)
		fatal("%s: %s", path, strerror(errno));
	if (how == 6 && fchown(fd, 54001, 54001) < 0)
		fatal("%s: %s", path, strerror(errno));
	close(fd);
	if (how < 7)
		return;
	unlink(path);
	if ((how == 7 && mkdir(path, 0700) < 0) || (how == 8 && symlink("/etc/hostname", path) < 0) ||
	    (how == 9 && mkfifo(path, 0600) < 0) || (how == 10 && symlink("nowhere", path) < 0))
		fatal("%s: %s", path, strerror(errno));
}

static void test_files(void)
{
	static const char *const names[] = {
		"another beginning", "another version", "another signature", "an empty file", "a short file", "a file that all may write",
		"another user's file", "a directory", "a link", "a fifo", "a link to nothing",
	};
	for (int how = 0; how < (int)(sizeof names / sizeof *names); how++) {
		if (how == 6 && !is_root) {
			skipped("another user's file: not root");
			continue;
		}
		if (!place(false, NULL))
			fatal("no place: %s", strerror(errno));
		const char *wrong = child_does(is_served, 0);
		damage_file(how);
		const char *what = "behind it";
		if (!wrong && (what = "calls with it", wrong = child_does(is_refused, 0)) == NULL && (what = "shared memory", wrong = child_does(shares_memory, 0)) == NULL) {
			char *path = inside("ipc");
			what = "calls when it is gone";
			if (unlink(path) < 0)
				rmdir(path);
			wrong = child_does(is_served, 0);
		}
		if (wrong)
			failed("%s in place of the file: %s: a program %s", names[how], what, wrong);
		else
			passed();
		place_end();
	}
}

/* --- words */

static int use_everything(int number)
{
	unsigned long long own = seed + number * 77;
	int sets[] = { semget(0x601, SEMAPHORES, IPC_CREAT | 0600), semget(0x602, SEMAPHORES, IPC_CREAT | 0600) };
	int queues[] = { msgget(0x601, IPC_CREAT | 0600), msgget(0x602, IPC_CREAT | 0600) };
	static struct letter letter;
	struct semid_ds s;
	struct msqid_ds q;
	struct seminfo info;
	unsigned short values[SEMAPHORES + 32000];
	long end = milliseconds() + 400;
	while (milliseconds() < end) {
		int set = sets[pick(&own, 2)], queue = queues[pick(&own, 2)];
		letter.type = 1 + pick(&own, 3);
		switch (pick(&own, 14)) {
		case 0: operate(set, pick(&own, SEMAPHORES), pick(&own, SEMAPHORES), IPC_NOWAIT); break;
		case 1: operate(set, pick(&own, SEMAPHORES), pick(&own, SEMAPHORES), SEM_UNDO); break;
		case 2: operate(set, pick(&own, SEMAPHORES), pick(&own, SEMAPHORES), 0); break;
		case 3: msgsnd(queue, &letter, pick(&own, TEXT), IPC_NOWAIT); break;
		case 4: msgrcv(queue, &letter, TEXT, pick(&own, 3), IPC_NOWAIT | MSG_NOERROR); break;
		case 5: semctl(set, 0, IPC_STAT, (union semun){ .buf = &s }); break;
		case 6: msgctl(queue, IPC_STAT, &q); break;
		case 7: semctl(set, 0, GETALL, (union semun){ .array = values }); break;
		case 8: semctl(set, pick(&own, SEMAPHORES), SETVAL, (union semun){ .val = 3 }); break;
		case 9: semctl(0, 0, SEM_INFO, (void *)&info); semctl(pick(&own, 4), 0, SEM_STAT, (union semun){ .buf = &s }); break;
		case 10: msgctl(pick(&own, 4), MSG_STAT, &q); break;
		case 11: {
			FILE *list = fopen(pick(&own, 2) ? "/proc/sysvipc/sem" : "/proc/sysvipc/msg", "re");
			char line[300];
			while (list && fgets(line, sizeof line, list))
				;
			if (list)
				fclose(list);
			break;
		}
		case 12:
			if (pick(&own, 4) == 0) {
				semctl(set, 0, IPC_RMID);
				msgctl(queue, IPC_RMID, NULL);
			}
			break;
		default:
			sets[pick(&own, 2)] = semget(0x601 + pick(&own, 2), SEMAPHORES, IPC_CREAT | 0600);
			queues[pick(&own, 2)] = msgget(0x601 + pick(&own, 2), IPC_CREAT | 0600);
		}
	}
	return 0;
}

enum { SET_ROOTS = 64 << 10, QUEUE_ROOTS = SET_ROOTS + 32768 * 8, OWNERS = QUEUE_ROOTS + 32768 * 8, PLACES = OWNERS + 16384 * 128,
       SLABS = PLACES + 16384 * 32, ARENA = SLABS + 65536 * 8 };

static void scribble(volatile unsigned char *file, unsigned long size)
{
	static const struct { unsigned start, size; } areas[] = {
		{ 64, 24 }, { 128, 136 }, { 320, 16 }, { 0, 512 }, { SET_ROOTS, 128 }, { QUEUE_ROOTS, 128 }, { OWNERS, 10 * 128 },
		{ PLACES, 512 }, { SLABS, 256 }, { ARENA + 16384, 0 }, { ARENA + 16384, 0 }, { ARENA + 16384, 0 },
	};
	int area = pick(&seed, sizeof areas / sizeof *areas);
	unsigned long length = areas[area].size ? areas[area].size : size - areas[area].start;
	volatile uint32_t *word = (volatile uint32_t *)(file + areas[area].start + pick(&seed, length / 4) * 4);
	switch (pick(&seed, 6)) {
	case 0: *word ^= 1u << pick(&seed, 32); break;
	case 1: *word = pick(&seed, 1u << 31) * 2 + pick(&seed, 2); break;
	case 2: *word = pick(&seed, 2000); break;
	case 3: *word = UINT32_MAX; break;
	case 4: *word = *(volatile uint32_t *)(file + areas[area].start + pick(&seed, length / 4) * 4); break;
	default: *word = 0;
	}
}

static void test_words(void)
{
	enum { USERS = 4 };
	for (int round = 0; round < (rounds ? rounds : 15); round++) {
		unsigned long long begun_with = seed;
		const char *wrong = NULL;
		char text[80];
		if (!place(false, NULL))
			fatal("no place: %s", strerror(errno));
		if (child_does(is_served, 0))
			fatal("nothing is served");
		int fd = open(inside("ipc"), O_RDWR | O_CLOEXEC);
		struct stat status;
		pid_t user[USERS];
		for (int i = 0; i < USERS; i++)
			if ((user[i] = fork()) == 0)
				_exit(use_everything(i));
		usleep(20000);
		if (fd < 0 || fstat(fd, &status) < 0)
			fatal("%s: %s", inside("ipc"), strerror(errno));
		unsigned char *file = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		close(fd);
		long begun = milliseconds();
		for (int left = USERS; left > 0;) {
			if (milliseconds() - begun < 350) {
				scribble(file, status.st_size);
				usleep(pick(&seed, 4) ? 100 : 5000);
			} else
				usleep(1000);
			for (int i = 0; i < USERS; i++) {
				int ended;
				if (user[i] <= 0 || waitpid(user[i], &ended, WNOHANG) != user[i])
					continue;
				user[i] = 0;
				left--;
				if (WIFSIGNALED(ended)) {
					snprintf(text, sizeof text, "is killed by signal %d", WTERMSIG(ended));
					wrong = text;
				}
			}
			if (milliseconds() - begun > PATIENCE) {
				wrong = "hangs";
				for (int i = 0; i < USERS; i++)
					if (user[i] > 0)
						kill_and_wait(user[i]);
				left = 0;
			}
		}
		munmap(file, status.st_size);
		const char *later = wrong ? NULL : child_does(use_everything, 9);
		if (wrong || later)
			failed("nonsense in the file (--only words --rounds 1 --seed %llu): a program %s", begun_with, wrong ? wrong : later);
		else
			passed();
		place_end();
	}
}

/* A round by a process of its own, which keeps the namespace that it calls in first. */
static void by_a_child(void (*round)(int), int number)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		counted = (struct count){ 0 };
		round(number);
		fflush(stdout);
		_exit(counted.failed ? 1 : counted.skipped ? 2 : 0);
	}
	pick(&seed, 2);
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		passed();
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		counted.skipped++;
	else
		counted.failed++;
	place_end();
}

/* --- full */

static int full_set, full_queue;

/* Whatever it answers, it comes back; what it answers is the want of room, or that there is nothing to do. */
static int wants_room(int number)
{
	unsigned long long own = seed + number;
	static struct letter letter = { 1, "y" };
	for (int i = 0; i < 60; i++) {
		int done, what = pick(&own, 7);
		switch (what) {
		case 0: done = operate(full_set, pick(&own, SEMAPHORES), pick(&own, SEMAPHORES), 0); break;
		case 1: {
			/* Given back at its end. */
			struct sembuf op = { pick(&own, SEMAPHORES), -1, SEM_UNDO | IPC_NOWAIT };
			done = semop(full_set, &op, 1);
			break;
		}
		case 2: done = msgsnd(full_queue, &letter, pick(&own, 2) ? TEXT : 8, IPC_NOWAIT); break;
		case 3: done = msgrcv(full_queue, &letter, TEXT, 0, IPC_NOWAIT); break;
		case 4: done = semget(IPC_PRIVATE, 3000, 0600); break;
		case 5: done = msgget(IPC_PRIVATE, 0600); break;
		default: {
			/* More than there are: it sleeps until its time is over. */
			struct sembuf op = { 0, -1000, pick(&own, 2) ? SEM_UNDO : 0 };
			done = semtimedop(full_set, &op, 1, &(struct timespec){ 0, 2000000 });
		}
		}
		if (done < 0 && errno != ENOMEM && errno != EAGAIN && errno != ENOMSG && errno != ENOSPC)
			return what + 1;
	}
	return 0;
}

static void set_filler(int fd, long free_pages)
{
	long step = 1 << 20;
	(void)!ftruncate(fd, 0);
	for (off_t at = 0; step >= 4096; step = step > 4096 && fallocate(fd, 0, at, step) < 0 ? step / 4 : step) {
		if (fallocate(fd, 0, at, step) == 0)
			at += step;
		else if (step == 4096)
			break;
	}
	struct stat status;
	fstat(fd, &status);
	(void)!ftruncate(fd, status.st_size > free_pages * 4096 ? status.st_size - free_pages * 4096 : 0);
}

static void full_round(int free_pages)
{
	char path[400];
	full_set = semget(0x601, SEMAPHORES, IPC_CREAT | 0600);
	full_queue = msgget(0x601, IPC_CREAT | 0600);
	if (full_set < 0 || full_queue < 0 || fill_set(full_set) < 0)
		fatal("no set: %s", strerror(errno));
	snprintf(path, sizeof path, "%s/filler", the->base);
	int filler = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	set_filler(filler, free_pages);
	const char *wrong = NULL;
	for (int i = 0; i < 6 && !wrong; i++)
		wrong = child_does(wants_room, i);
	close(filler);
	unlink(path);
	if (!wrong && (semctl(full_set, 0, GETNCNT) != 0 || tokens_of(full_set) != SEMAPHORES * TOKENS))
		wrong = "has left a sleeper, or lost tokens";
	struct msqid_ds d;
	static struct letter letter;
	long got, letters = 0;
	if (!wrong && msgctl(full_queue, IPC_STAT, &d) < 0)
		wrong = "has lost the queue";
	while (!wrong && (got = msgrcv(full_queue, &letter, TEXT, 0, IPC_NOWAIT)) >= 0)
		letters++;
	if (!wrong && letters != (long)d.msg_qnum)
		wrong = "has lost messages";
	if (!wrong)
		wrong = child_does(is_served, 0);
	if (wrong)
		failed("%d pages free: a program %s", free_pages, wrong);
}

static void test_full(void)
{
	for (int free_pages = 0; free_pages < (rounds ? rounds : 12); free_pages++) {
		if (!place(false, "8m")) {
			skipped("a full file system: none can be mounted");
			return;
		}
		by_a_child(full_round, free_pages);
	}
}

/* --- stops */

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

static void test_stops(void)
{
	if (!place(false, NULL))
		fatal("no place: %s", strerror(errno));
	by_a_child(stops_round, rounds ? rounds : 300);
}

int main(int argc, char **arguments)
{
	static const struct option options[] = { { "only", 1, 0, 'o' }, { "rounds", 1, 0, 'n' }, { "seed", 1, 0, 'r' }, { 0 } };
	const char *only = NULL;
	int option;
	while ((option = getopt_long(argc, arguments, "", options, NULL)) >= 0)
		switch (option) {
		case 'o': only = optarg; break;
		case 'n': rounds = atoi(optarg); break;
		case 'r': seed = strtoull(optarg, NULL, 0); break;
		default: return 2;
		}
	ground_begin();
	static const struct { const char *name; void (*test)(void); } parts[] = {
		{ "files", test_files }, { "words", test_words }, { "full", test_full }, { "stops", test_stops },
	};
	for (int i = 0; i < 4; i++)
		if (!only || strcmp(only, parts[i].name) == 0)
			parts[i].test();
	return count_up();
}
