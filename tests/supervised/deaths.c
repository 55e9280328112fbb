/*
 * deaths STEP: processes that are killed in the midst of their calls. What was begun for one of them is over when its end has been
 * seen, and nothing is begun for it afterwards. Exits with 42 when all was right.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 4, KILLS = 500, TEXT = 1000 };
static int set, queue;
static unsigned seed = 1;

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A mutex of SEM_UNDO, whose holders are killed: there is one token, and never a second. */
static int tokens(void)
{
	struct sembuf take = { 0, -1, SEM_UNDO }, give = { 0, 1, SEM_UNDO };
	pid_t process[PROCESSES] = { 0 };
	int doubled = 0;
	semctl(set, 0, SETVAL, 1);
	for (int kills = 0; kills < KILLS;) {
		pid_t *one = &process[rand_r(&seed) % PROCESSES];
		if (*one) {
			end(*one);
			kills++;
		}
		if ((*one = fork()) == 0) {
			while (semop(set, &take, 1) == 0 && semop(set, &give, 1) == 0)
				;
			_exit(1);
		}
		usleep(rand_r(&seed) % 4000);
		doubled += semctl(set, 0, GETVAL) > 1;
	}
	for (int i = 0; i < PROCESSES; i++)
		if (process[i])
			end(process[i]);
	int left = semctl(set, 0, GETVAL);
	if (doubled || left != 1)
		printf("%d tokens are left, and %d times there were more than one\n", left, doubled);
	return doubled == 0 && left == 1;
}

struct state {
	int value;
	unsigned long messages;
};

static struct state state(void)
{
	struct msqid_ds d = { 0 };
	msgctl(queue, IPC_STAT, &d);
	return (struct state){ semctl(set, 0, GETVAL), d.msg_qnum };
}

/* Changes a set and a queue without an end. */
static void change(void)
{
	struct sembuf give = { 0, 1, 0 };
	struct { long type; char text[TEXT]; } m = { 1, "" };
	for (int i = 0; semop(set, &give, 1) == 0; i++) {
		if (msgsnd(queue, &m, TEXT, IPC_NOWAIT) == 0)
			msgrcv(queue, &m, TEXT, 0, IPC_NOWAIT);
		if (i % 20000 == 19999)
			semctl(set, 0, SETVAL, 0);
	}
	_exit(1);
}

/* Nothing changes any more once a process has been waited for. */
static int afterwards(void)
{
	struct { long type; char text[TEXT]; } m;
	int late = 0;
	for (int kills = 0; kills < KILLS; kills++) {
		pid_t pid = fork();
		if (pid == 0)
			change();
		usleep(1500 + rand_r(&seed) % 2000);
		end(pid);
		struct state then = state();
		usleep(2000);
		struct state now = state();
		late += then.value != now.value || then.messages != now.messages;
		semctl(set, 0, SETVAL, 0);
		while (msgrcv(queue, &m, TEXT, 0, IPC_NOWAIT) >= 0)
			;
	}
	if (late)
		printf("%d of %d processes changed something after their end\n", late, KILLS);
	return late == 0;
}

int main(int argc, char **argv)
{
	set = semget(IPC_PRIVATE, 1, 0600);
	queue = msgget(IPC_PRIVATE, 0600);
	int is_right = argc == 2 && !strcmp(argv[1], "tokens") ? tokens() : afterwards();
	semctl(set, 0, IPC_RMID);
	msgctl(queue, IPC_RMID, NULL);
	return is_right ? 42 : 1;
}
