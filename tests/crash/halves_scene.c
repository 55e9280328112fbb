/*
 * halves_scene.c - what every case of halves.c uses.
 */
#include "halves.h"

#include <sched.h>
#include <time.h>

struct scene *scene;
unsigned long long random_state = 1;

unsigned pick(unsigned below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(random_state >> 33) % below;
}

long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void values_are(int a, int b, int c)
{
	unsigned short values[SEMAPHORES] = { a, b, c };
	if (semctl(scene->set, 0, SETALL, (union semun){ .array = values }) < 0)
		fatal("SETALL: %s", strerror(errno));
}

struct slept *begin_sleeper(int number, void (*call)(struct slept *))
{
	struct slept *slept = &scene->slept[number];
	atomic_store(&slept->done, 0);
	pid_t pid = fork();
	if (pid == 0) {
		call(slept);
		slept->error = errno;
		atomic_store(&slept->done, 1);
		pause();
		_exit(0);
	}
	atomic_store(&slept->pid, pid);
	char path[40];
	snprintf(path, sizeof path, "/proc/%d/syscall", pid);
	for (long begun = now(); now() - begun < PATIENCE; sched_yield()) {
		int number_of_call = -1;
		FILE *file = fopen(path, "re");
		if (file && fscanf(file, "%d", &number_of_call) != 1)
			number_of_call = -1;
		if (file)
			fclose(file);
		if (number_of_call == 202 || number_of_call == 449)
			return slept;
	}
	fatal("nobody sleeps");
}

bool wait_for(struct slept *slept)
{
	for (long begun = now(); now() - begun < PATIENCE; usleep(500))
		if (atomic_load(&slept->done))
			return true;
	return false;
}

void take_one(struct slept *slept) { slept->value = OPS({ 1, -1, 0 }); }

char reason[300];

int value(int number) { return semctl(scene->set, number, GETVAL); }
int waiting(int number) { return semctl(scene->set, number, GETNCNT); }
int letters(void)
{
	struct msqid_ds d;
	return msgctl(scene->queue, IPC_STAT, &d) < 0 ? -errno : (int)d.msg_qnum;
}
int send_one(long type, size_t size)
{
	struct letter letter = { .type = type };
	memset(letter.text, 'a', sizeof letter.text);
	return msgsnd(scene->queue, &letter, size, IPC_NOWAIT);
}
int get_one(void)
{
	struct letter letter;
	int got = msgrcv(scene->queue, &letter, TEXT, 0, IPC_NOWAIT);
	for (int i = 0; i < got && letter.type != 7; i++)
		if (letter.text[i] != 'a')
			return -2;
	return got;
}

/* Tokens that go from one to the other. */
void plain_set(void) { values_are(5, 0, 2); }
void move_one(void) { OPS({ 0, -1, 0 }, { 1, 1, 0 }); }

bool nothing_moved(void)
{
	MUST_BE(value(0) == 5 && value(1) == 0 && value(2) == 2);
	MUST_BE(waiting(0) == 0 && waiting(1) == 0);
	/* Nobody who is dead takes what comes. */
	MUST_BE(OPS({ 1, 1, 0 }) == 0 && value(1) == 1);
	return true;
}
