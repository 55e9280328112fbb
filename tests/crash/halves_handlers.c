/*
 * halves_handlers.c - calls on a semaphore set that are not killed, but handle a signal in their midst. Nothing is carried out
 * twice, and what the call has in its hands is nobody else's.
 */
#include "halves.h"

#include <signal.h>
#include <sys/wait.h>

static pid_t forked;
bool may_jump;
sigjmp_buf jump;
static void move_to_and_fro(void)
{
	for (int i = 0; i < 20; i++)
		if (OPS({ 0, -1, 0 }, { 1, 1, 0 }) < 0 || OPS({ 1, -1, 0 }, { 0, 1, 0 }) < 0 || OPS({ 2, 1, 0 }) < 0 || OPS({ 2, -1, 0 }) < 0)
			_exit(1);
}
/* In the same set, or in another one, whose block is as large: it has one of its own behind the call, too. */
static int other = -1;
static void move_meanwhile(int signal)
{
	(void)signal;
	if (scene->key % 2) {
		move_one();
		return;
	}
	other = semget(IPC_PRIVATE, SEMAPHORES, 0600);
	semop(other, &(struct sembuf){ 2, 7, 0 }, 1);
}
static void fork_meanwhile(int signal)
{
	(void)signal;
	forked = fork();
	move_to_and_fro();
	/* Not back into the call: it would go on writing to the parent's block. */
	if (forked == 0)
		_exit(0);
}
static void jump_meanwhile(int signal)
{
	(void)signal;
	if (may_jump)
		siglongjmp(jump, 1);
}
void go_on(void)
{
	raise(SIGSTOP);
	move_to_and_fro();
	if (other >= 0 && (semctl(other, 2, GETVAL) != 7 || semctl(other, 0, GETVAL) != 0 || semctl(other, 0, IPC_RMID) < 0))
		_exit(1);
	int status = 0;
	if (forked > 0 && (waitpid(forked, &status, 0) != forked || status != 0))
		_exit(1);
}
static bool moved_at_most_twice(void)
{
	int first = value(0), second = value(1), third = value(2);
	if (second < 0 || second > 2 || first + second != 5 || third != 2) {
		snprintf(reason, sizeof reason, "the values are %d, %d, %d", first, second, third);
		return false;
	}
	MUST_BE(OPS({ 1, 1, 0 }) == 0 && OPS({ 1, -1, 0 }) == 0);
	return true;
}

const struct step_case handler_cases[] = {
	{ "semop-and-calls", plain_set, move_one, moved_at_most_twice, false, move_meanwhile },
	{ "semop-and-forks", plain_set, move_one, moved_at_most_twice, false, fork_meanwhile },
	{ "semop-and-jumps", plain_set, move_one, moved_at_most_twice, false, jump_meanwhile },
	{ 0 },
};
