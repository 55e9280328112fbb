// Counts its runs in a segment. Version 2 of it keeps more, and does not expect the segment of version 1.
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>

#if VERSION == 1
struct counter { long runs; };
#else
struct counter { long runs, history[1000]; };
#endif

int main(void)
{
	int id = shmget(0x2001, sizeof(struct counter), IPC_CREAT | 0600);
	struct counter *counter;

	if (id < 0) {
		perror("counter: shmget");
		return 1;
	}
	counter = shmat(id, NULL, 0);
	if (counter == (void *)-1) {
		perror("counter: shmat");
		return 1;
	}
	printf("run %ld\n", ++counter->runs);
	return 0;
}
