/*
 * objects_full.c - the part full of objects.c: calls while a file takes what room there is on the file system.
 */
#include "objects.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static int full_set, full_queue;

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

void test_full(void)
{
	for (int free_pages = 0; free_pages < (rounds ? rounds : 12); free_pages++) {
		if (!place(false, "8m")) {
			skipped("a full file system: none can be mounted");
			return;
		}
		by_a_child(full_round, free_pages);
	}
}
