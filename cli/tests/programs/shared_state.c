// shared_state KEY: makes a segment, keeps a structure in it, prints the segment's id and "ready", and then takes each line
// of its standard input for the next owner of slot 1; at "detach" it detaches. It ends with its input, without a detach.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

enum state { IDLE, RUNNING, DONE };

struct slot {
	int pid;
	char owner[12];
	enum state state;
};

struct shared_state {
	unsigned magic;
	int (*handler)(void);
	struct slot slots[3];
};

int handle(void) { return 1; }

int main(int argc, char **argv)
{
	int id = shmget(argc > 1 ? strtol(argv[1], NULL, 0) : IPC_PRIVATE, sizeof(struct shared_state), IPC_CREAT | 0600);
	struct shared_state *state = shmat(id, NULL, 0);
	char line[sizeof state->slots[0].owner];

	if (id < 0 || state == (void *)-1) {
		perror("shared_state");
		return 1;
	}
	state->magic = 0x162e;
	state->handler = handle;
	state->slots[1].pid = 4711;
	strcpy(state->slots[1].owner, "anna");
	printf("%d\nready\n", id);
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "detach")) {
			shmdt(state);
			continue;
		}
		strcpy(state->slots[1].owner, line);
		state->slots[1].state = RUNNING;
	}
	return 0;
}
