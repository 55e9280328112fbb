/* What valgrind looks at: a program that uses the library once, or from several threads at once.
 *
 *   attaches none       makes a segment, looks at it and at the list, removes it
 *   attaches some       attaches it twice, forks, unmaps in parts, detaches
 *   attaches threads    four threads make, attach, stat, detach and remove at once
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

#define MUST(call)                                                           \
	({                                                                   \
		__typeof__(call) got_ = (call);                              \
		if (got_ == (__typeof__(call))-1) {                          \
			fprintf(stderr, "%s: %s\n", #call, strerror(errno)); \
			_exit(3);                                            \
		}                                                            \
		got_;                                                        \
	})

static void look_at(int id)
{
	struct shmid_ds ds;
	struct shm_info info;
	struct shminfo limits;
	MUST(shmctl(id, IPC_STAT, &ds));
	/* Every byte must have been filled in: valgrind says if one was not. */
	unsigned long sum = 0;
	for (size_t i = 0; i < sizeof ds; i++)
		sum += ((unsigned char *)&ds)[i];
	if (sum == 0)
		_exit(4);
	ds.shm_perm.mode = 0640;
	MUST(shmctl(id, IPC_SET, &ds));
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	MUST(shmctl(0, IPC_INFO, (struct shmid_ds *)&limits));
	FILE *list = fopen("/proc/sysvipc/shm", "r");
	char line[512];
	while (list && fgets(line, sizeof line, list))
		;
	if (list)
		fclose(list);
}

static void without(void)
{
	int id = MUST(shmget(0x77, 3 * PAGE, IPC_CREAT | IPC_EXCL | 0600));
	if (shmget(0x77, 0, 0) != id || shmget(0x78, 0, 0) != -1)
		_exit(5);
	look_at(id);
	MUST(shmctl(id, IPC_RMID, NULL));
}

static void with(void)
{
	int id = MUST(shmget(IPC_PRIVATE, 3 * PAGE, 0600));
	char *one = MUST(shmat(id, NULL, 0)), *two = MUST(shmat(id, NULL, SHM_RDONLY));
	strcpy(one, "here");
	if (strcmp(two, "here"))
		_exit(6);
	pid_t child = MUST(fork());
	if (child == 0) {
		strcpy(one + PAGE, "there");
		MUST(shmdt(two));
		_exit(0);
	}
	MUST(waitpid(child, NULL, 0));
	if (strcmp(two + PAGE, "there"))
		_exit(7);
	look_at(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	MUST(munmap(one + PAGE, PAGE));
	MUST(shmdt(one));
	MUST(shmdt(two));
	if (shmdt(two) != -1)
		_exit(8);
}

static void *thread(void *number)
{
	for (int i = 0; i < 20; i++) {
		int id = MUST(shmget((key_t)(long)number, PAGE, IPC_CREAT | 0600));
		char *p = MUST(shmat(id, NULL, 0));
		p[i] = 1;
		look_at(id);
		MUST(shmdt(p));
		MUST(shmctl(id, IPC_RMID, NULL));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "none";
	if (!strcmp(what, "none")) {
		without();
	} else if (!strcmp(what, "some")) {
		without();
		with();
	} else {
		pthread_t threads[4];
		for (long i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, thread, (void *)(i + 1));
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
	}
	return 0;
}
