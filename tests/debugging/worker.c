// Works while it holds a semaphore, one process at a time. What goes wrong ends it at once.
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/sem.h>

#ifdef UNDO
enum { flags = SEM_UNDO };
#else
enum { flags = 0 };
#endif

static int change(int set, int by)
{
	struct sembuf operation = { .sem_num = 0, .sem_op = by, .sem_flg = flags };

	return semop(set, &operation, 1);
}

int main(int argc, char **argv)
{
	int set = semget(0x5001, 1, IPC_CREAT | IPC_EXCL | 0600);

	(void)argv;
	if (set >= 0)
		semctl(set, 0, SETVAL, 1);
	else
		set = semget(0x5001, 1, 0);
	if (set < 0 || change(set, -1)) {
		perror("worker");
		return 1;
	}
	if (argc > 1) {
		puts("worker: the input is bad");
		return 1;
	}
	puts("worker: done");
	return change(set, 1) != 0;
}
