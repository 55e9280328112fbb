/*
 * Sets and queues where their file system is full: what is removed makes room.
 */
#include "smalltmpfs.h"
#include "semtest.h"
#include <sys/msg.h>

enum { SETS = 200, LARGEST = 8000 };
static struct { long mtype; char mtext[LARGEST]; } m = { .mtype = 1 };

/* Sends messages until there is no room for the smallest. */
static void fill(int queue)
{
	for (size_t size = LARGEST; size; size /= 2)
		while (msgsnd(queue, &m, size, IPC_NOWAIT) == 0)
			;
	CHECK_EQ(errno, ENOMEM);
}

TEST(sets_and_queues_can_be_removed_where_nothing_else_can_be_done)
{
	int set[SETS];
	struct msqid_ds d;
	small_tmpfs("size=8m");
	set_limit("msgmnb", "67108864");
	for (int i = 0; i < SETS; i++)
		set[i] = MUST(semget(i + 1, 20, IPC_CREAT | 0600));
	int first = MUST(msgget(1, IPC_CREAT | 0600)), second = MUST(msgget(2, IPC_CREAT | 0600));
	int filler = fill_up();
	fill(first);
	fill(second);
	TEST_ERRNO(semget(IPC_PRIVATE, 20, 0600), ENOMEM);
	for (int i = 0; i < SETS; i++) {
		TEST_SUCC(remove_set(set[i]));
		TEST_ERRNO(semctl(set[i], 0, GETVAL), EINVAL);
	}
	MUST(msgctl(second, IPC_STAT, &d));
	TEST_SUCC(msgctl(second, IPC_RMID, NULL));
	TEST_SUCC(msgctl(first, IPC_RMID, NULL));
	/* What they had is room for others, though the file cannot grow. */
	for (int i = 0; i < SETS; i++)
		set[i] = MUST(semget(i + 1, 20, IPC_CREAT | IPC_EXCL | 0600));
	CHECK_EQ(value_of(set[SETS - 1], 19), 0);
	give_back(filler);
}
