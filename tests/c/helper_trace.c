/*
 * Makes calls for a trace, in the order in which test_trace.c expects them.
 *
 *   helper_trace successes | refusals | rights | many N
 */
#define _GNU_SOURCE
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

#if __SIZEOF_LONG__ == 8
#define AREA ((void *)0x300000000000ul)
#else
#define AREA ((void *)0x80000000ul)
#endif
#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

static struct shmid_ds d;

static void successes(void)
{
	struct shminfo limits;
	struct shm_info info;
	int id = shmget(0x162e, 5000, IPC_CREAT | 0740);
	shmget(0x162e, 0, 0);
	shmget(0x162e, 100, 0600);
	shmget(IPC_PRIVATE, 1, 0600);
	shmget(-1, 4096, IPC_CREAT | IPC_EXCL | SHM_NORESERVE | 0666);
	shmat(id, NULL, 0);
	shmat(id, AREA, SHM_RDONLY);
	shmat(id, (char *)AREA + 0x12345, SHM_RND);
	shmat(id, AREA, SHM_REMAP | SHM_EXEC);
	shmctl(id, IPC_STAT, &d);
	shmctl(id, IPC_SET, &d);
	shmctl(id, SHM_LOCK, NULL);
	shmctl(id, SHM_UNLOCK, NULL);
	shmctl(0, IPC_INFO, (struct shmid_ds *)&limits);
	shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	shmctl(1, SHM_STAT, &d);
	shmctl(1, SHM_STAT_ANY, &d);
	shmdt(AREA);
	shmctl(id, IPC_RMID, NULL);
	shmctl(id, IPC_STAT, &d);
}

static void refusals(void)
{
	int id = shmget(0x162e, 4096, IPC_CREAT | 0600);
	shmat(id, AREA, 0);
	/* From here on nothing succeeds. */
	shmget(0x162e, 8192, 0600);
	shmget(0x162e, 0, IPC_CREAT | IPC_EXCL);
	shmget(0x99, 4096, 0);
	shmget(0x99, 0, IPC_CREAT | 0600);
#if __SIZEOF_LONG__ == 8
	shmget(0x99, ~0ul, IPC_CREAT | 0600);
	shmget(0x99, 1ul << 50, IPC_CREAT | 0600);
#endif
	shmat(-7, NULL, 0);
	shmat(id, NULL, SHM_REMAP);
	shmat(id, (char *)AREA + 1, 0);
	shmat(id + 32768, NULL, 0);
	shmat(id, AREA, 0);
#if __SIZEOF_LONG__ == 8
	shmat(id, (void *)0xffff888000000000, 0);
#endif
	shmdt((char *)AREA + 0x10000);
	shmdt(NULL);
	shmctl(id, 77, &d);
	shmctl(-1, IPC_STAT, &d);
	shmctl(id + 1, IPC_STAT, &d);
	shmctl(id, IPC_STAT, (void *)8);
	shmctl(id, IPC_SET, NULL);
	shmctl(5, SHM_STAT, &d);
	memset(&d, 0xff, sizeof d);
	shmctl(id, IPC_SET, &d);
}

/* As root: what is asked then as somebody else. */
static void rights(void)
{
	int id = shmget(0x162e, 4096, IPC_CREAT | 0600);
	if (setgroups(0, NULL) < 0 || setresgid(54001, 54001, 54001) < 0 || setresuid(54001, 54001, 54001) < 0)
		_exit(1);
	shmget(0x162e, 0, 0600);
	shmat(id, NULL, SHM_RDONLY);
	shmctl(id, IPC_STAT, &d);
	shmctl(id, IPC_RMID, NULL);
	shmctl(id, SHM_LOCK, NULL);
}

static void many(int n)
{
	for (int i = 0; i < n; i++)
		shmget(0x7001, 0, 0);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "successes"))
		successes();
	else if (argc == 2 && !strcmp(argv[1], "refusals"))
		refusals();
	else if (argc == 2 && !strcmp(argv[1], "rights"))
		rights();
	else if (argc == 3 && !strcmp(argv[1], "many"))
		many(atoi(argv[2]));
	else
		return 2;
	return 0;
}
