/*
 * A program of its own that uses a set:
 *
 *   helper_sem ID STEP ...
 *
 *   op N V F   semop of one operation, numbers as in C       value N V   semaphore N must have the value V
 *   ready FD   writes a byte there                           pause       waits to be killed
 *   exec       starts itself again with the steps that follow
 *
 * Ends with 0 when every step went well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <unistd.h>

static int number(const char *text) { return (int)strtol(text, NULL, 0); }

int main(int argc, char **argv)
{
	int id = argc > 1 ? number(argv[1]) : -1;
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "op") && i + 3 < argc) {
			struct sembuf op = { (unsigned short)number(argv[i + 1]), (short)number(argv[i + 2]), (short)number(argv[i + 3]) };
			if (semop(id, &op, 1) < 0)
				return perror("semop"), 1;
			i += 3;
		} else if (!strcmp(argv[i], "value") && i + 2 < argc) {
			int value = semctl(id, number(argv[i + 1]), GETVAL);
			if (value != number(argv[i + 2]))
				return fprintf(stderr, "value %d, expected %s\n", value, argv[i + 2]), 1;
			i += 2;
		} else if (!strcmp(argv[i], "ready") && i + 1 < argc) {
			if (write(number(argv[++i]), "g", 1) != 1)
				return perror("write"), 1;
		} else if (!strcmp(argv[i], "pause")) {
			for (;;)
				pause();
		} else if (!strcmp(argv[i], "exec")) {
			argv[i] = argv[1];
			argv[i - 1] = argv[0];
			execv("/proc/self/exe", argv + i - 1);
			return perror("exec"), 1;
		} else {
			return fprintf(stderr, "what is %s?\n", argv[i]), 2;
		}
	}
	return 0;
}
