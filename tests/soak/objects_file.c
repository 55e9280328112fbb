/*
 * objects_file.c - the parts files and words of objects.c: what is done to the file of sets and queues.
 */
#include "objects.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef MSG_STAT
#define MSG_STAT 11
#endif

static char *inside(const char *name)
{
	static char path[400];
	snprintf(path, sizeof path, "%s/%s", the->directory, name);
	return path;
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

void test_files(void)
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

void test_words(void)
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
