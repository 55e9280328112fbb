/*
 * halves_leaks.c - what is lost by kills: how much of the file of sets and queues blocks take.
 */
#include "halves.h"

#include <signal.h>
#include <sys/wait.h>

static void busy(void)
{
	for (;;) {
		move_one();
		OPS({ 1, -1, SEM_UNDO }, { 0, 1, SEM_UNDO });
		send_one(1 + pick(3), pick(TEXT));
		get_one();
		int brief = semget(IPC_PRIVATE, 3, 0600);
		semctl(brief, 0, IPC_RMID);
		atomic_fetch_add(&scene->rounds, 1);
	}
}

/* Sets that somebody was killed with, which is no loss. */
static void remove_brief(void)
{
	struct semid_ds d;
	struct seminfo info;
	int last = semctl(0, 0, SEM_INFO, (void *)&info);
	for (int index = 0; index <= last && info.semusz > 1; index++) {
		int id = semctl(index, 0, SEM_STAT, (union semun){ .buf = &d });
		if (id >= 0 && id != scene->set)
			semctl(id, 0, IPC_RMID);
	}
}

/* One that ends by itself, or begins another program, has blocks in its hands, too. */
static void end_otherwise(bool executes)
{
	pid_t pid = fork();
	if (pid == 0) {
		move_one();
		if (executes)
			execl("/bin/true", "true", NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

void leak(int kills)
{
	long sizes[5] = { 0 };
	scene->set = semget(IPC_PRIVATE, SEMAPHORES, 0600);
	scene->queue = msgget(IPC_PRIVATE, 0600);
	plain_set();
	for (int i = 0; i < kills; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			random_state += i;
			busy();
		}
		unsigned long seen = atomic_load(&scene->rounds);
		while (atomic_load(&scene->rounds) == seen)
			usleep(50);
		for (volatile unsigned spins = pick(20000); spins > 0; spins--)
			;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		values_are(5, 2, 2);
		end_otherwise(i % 2);
		values_are(5, 2, 2);
		while (get_one() >= 0)
			;
		remove_brief();
		if (i % (kills / 5) == kills / 5 - 1)
			sizes[i / (kills / 5)] = arena_bytes();
	}
	/* No more than what they have in use, several times over. */
	if (sizes[4] > 768 << 10)
		failed("%ld KiB of blocks behind %d kills", sizes[4] / 1024, kills);
	else
		passed();
	printf("%d kills: %ld, %ld, %ld, %ld, %ld KiB of blocks\n", kills, sizes[0] / 1024, sizes[1] / 1024, sizes[2] / 1024,
	       sizes[3] / 1024, sizes[4] / 1024);
}
