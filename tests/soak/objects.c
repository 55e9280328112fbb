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
#include "objects.h"

#include <getopt.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

unsigned long long seed = 1;
int rounds;

int operate(int set, int from, int to, short flags)
{
	struct sembuf ops[] = { { from, -1, flags }, { to, 1, flags } };
	struct timespec limit = { 0, 3000000 };
	return semtimedop(set, ops, 2, &limit);
}

int fill_set(int set)
{
	unsigned short values[SEMAPHORES] = { TOKENS, TOKENS, TOKENS, TOKENS };
	return semctl(set, 0, SETALL, (union semun){ .array = values });
}

const char *child_does(int (*what)(int), int argument)
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

int is_served(int argument)
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

void by_a_child(void (*round)(int), int number)
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
