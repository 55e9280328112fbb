/* A library whose constructor waits a moment for another thread, and makes calls. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/shm.h>
#include <unistd.h>

static void does_nothing(int sig) { (void)sig; }

__attribute__((constructor)) static void constructor(void)
{
	const char *text = getenv("IN_CONSTRUCTOR");
	atomic_int *stage;
	if (!text || sscanf(text, "%p", (void **)&stage) != 1)
		abort();
	*stage = 1;
	usleep(100000); /* the dynamic linker's lock is held here */
	if (signal(SIGUSR1, does_nothing) == SIG_ERR)
		return;
	int id = shmget(IPC_PRIVATE, 4096, 0600);
	if (id < 0 || shmctl(id, IPC_RMID, NULL) < 0)
		return;
	*stage = 2;
}
