/*
 * Makes one call that may sleep, and exits with its errno.
 *
 *   helper_sleep semop ID CHANGE FLAGS
 *   helper_sleep semtimedop ID CHANGE FLAGS MILLISECONDS
 *   helper_sleep msgsnd | msgrcv ID TYPE FLAGS
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>

static void handler(int signal) { (void)signal; }

int main(int argc, char **argv)
{
	if (argc < 5)
		return 125;
	const char *call = argv[1];
	int id = atoi(argv[2]), number = atoi(argv[3]), flags = 0;
	long r = -1;
	flags |= strstr(argv[4], "nowait") ? IPC_NOWAIT : 0;
	signal(SIGUSR1, handler);
	errno = 0;
	if (!strcmp(call, "semop") || !strcmp(call, "semtimedop")) {
		short bits = (short)(flags | (strstr(argv[4], "undo") ? SEM_UNDO : 0));
		struct sembuf op = { 0, (short)number, bits };
		long ms = argc > 5 ? atol(argv[5]) : 0;
		struct timespec limit = { ms / 1000, ms % 1000 * 1000000 };
		r = argc > 5 ? semtimedop(id, &op, 1, &limit) : semop(id, &op, 1);
	} else {
		static struct { long type; char text[1000]; } message;
		message.type = number;
		r = !strcmp(call, "msgsnd") ? msgsnd(id, &message, sizeof message.text, flags)
					    : msgrcv(id, &message, sizeof message.text, number, flags);
	}
	return r < 0 ? errno : 0;
}
