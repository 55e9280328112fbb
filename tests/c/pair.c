/*
 * Two programs of different kinds (64 and 32 bits, glibc and musl) that share a namespace: scripts/check-target runs
 * this one, compiled for one kind, and it starts the same program compiled for the other.
 *
 *     pair PRELOAD OTHER_PROGRAM
 *
 * PRELOAD is one value for both, with $LIB in it.
 *
 * Each must find what the other has made, count its attaches, see what it writes, meanwhile and afterwards, and
 * the last to detach destroys.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY 0x2a1
enum { BYTES = 10000, ROUNDS = 2000 };

static int failed;
#define CHECK(condition)                                                                                \
	do {                                                                                            \
		if (!(condition)) {                                                                     \
			failed = 1;                                                                     \
			fprintf(stderr, "pair.c:%d: %s, %zu bits: %s is false (errno %s)\n", __LINE__,  \
				role, 8 * sizeof(long), #condition, strerror(errno));                   \
		}                                                                                       \
	} while (0)

static const char *role = "first";

struct shared {
	_Atomic uint32_t second_is_up, second_may_go;
	char text[64];
};

static struct shmid_ds state_of(int id)
{
	struct shmid_ds state = { 0 };
	CHECK(shmctl(id, IPC_STAT, &state) == 0);
	return state;
}

/* Both at once: segments come and go, and no id and no byte is mixed up. */
static void work(int which)
{
	for (int i = 0; i < ROUNDS; i++) {
		key_t key = 0x300 + i % 7;
		int id = shmget(key, 4096, IPC_CREAT | 0600);
		if (id < 0)
			continue;
		char *p = shmat(id, NULL, 0);
		if (p != (char *)-1) {
			((atomic_int *)p)[which]++;
			CHECK(shmdt(p) == 0);
		}
		if (i % 3 == which)
			shmctl(id, IPC_RMID, NULL);
	}
}

static int second(void)
{
	role = "second";
	int id = shmget(KEY, 0, 0);
	CHECK(id >= 0);
	struct shared *shared = shmat(id, NULL, 0);
	if (shared == (void *)-1)
		return 1;
	struct shmid_ds state = state_of(id);
	CHECK(state.shm_segsz == BYTES && state.shm_nattch == 2 && state.shm_perm.mode == 0640);
	CHECK(state.shm_cpid == getppid() && state.shm_lpid == getpid());
	CHECK(strcmp(shared->text, "from the first") == 0);
	strcpy(shared->text, "from the second");
	atomic_store(&shared->second_is_up, 1);
	work(1);
	while (!atomic_load(&shared->second_may_go))
		usleep(1000);
	return failed;
}

int main(int count, char **arguments)
{
	if (count == 2)
		return second();
	/* The first is started under its own library by an exec of itself. */
	if (!getenv("LD_PRELOAD")) {
		setenv("LD_PRELOAD", arguments[1], 1);
		execv(arguments[0], arguments);
		return 99;
	}
	int id = shmget(KEY, BYTES, IPC_CREAT | IPC_EXCL | 0640);
	CHECK(id >= 0);
	struct shared *shared = shmat(id, NULL, 0);
	if (shared == (void *)-1)
		return 1;
	strcpy(shared->text, "from the first");
	pid_t pid = fork();
	if (pid == 0) {
		execl(arguments[2], arguments[2], "second", NULL);
		_exit(98);
	}
	int status = 0;
	while (!atomic_load(&shared->second_is_up)) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			fprintf(stderr, "pair.c: the second ended with %#x\n", status);
			return 1;
		}
		usleep(1000);
	}
	CHECK(strcmp(shared->text, "from the second") == 0);
	CHECK(state_of(id).shm_nattch == 2 && state_of(id).shm_lpid == pid);
	work(0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
	CHECK(shmget(KEY, 0, 0) == -1 && errno == ENOENT);
	CHECK(state_of(id).shm_nattch == 2);
	atomic_store(&shared->second_may_go, 1);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(state_of(id).shm_nattch == 1);
	CHECK(shmdt(shared) == 0);
	struct shmid_ds gone;
	CHECK(shmctl(id, IPC_STAT, &gone) == -1 && errno == EINVAL);
	for (int i = 0; i < 7; i++)
		shmctl(shmget(0x300 + i, 0, 0), IPC_RMID, NULL);
	struct shm_info info;
	CHECK(shmctl(0, SHM_INFO, (struct shmid_ds *)&info) >= 0 && info.used_ids == 0 && info.shm_tot == 0);
	return failed;
}
