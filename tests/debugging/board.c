// board write | read: a score board. What was built with -DSEASONS has a field more in the middle.
#include <stdio.h>
#include <string.h>
#include <sys/shm.h>

struct board {
	char team[12];
#ifdef SEASONS
	int season;
#endif
	int wins, losses;
	double average;
};

int main(int argc, char **argv)
{
	int id = shmget(0x4001, 4096, IPC_CREAT | 0600);
	struct board *board = shmat(id, NULL, 0);

	if (board == (void *)-1) {
		perror("board: shmat");
		return 1;
	}
	if (argc > 1 && !strcmp(argv[1], "write")) {
		strcpy(board->team, "Rovers");
#ifdef SEASONS
		board->season = 1987;
#endif
		board->wins = 17;
		board->losses = 4;
		board->average = 2.25;
	}
	printf("%s: %d wins, %d losses, %.2f\n", board->team, board->wins, board->losses, board->average);
	return 0;
}
