// A test suite, one of whose tests forgets its segment on the way out.
#include <stdio.h>
#include <sys/shm.h>

static int make(key_t key, size_t size)
{
	return shmget(key, size, IPC_CREAT | 0600);
}

static int test_create(void)
{
	int id = make(0x1001, 4096);

	return id >= 0 && shmctl(id, IPC_RMID, NULL) == 0;
}

static int test_same_key(void)
{
	int id = make(0x1002, 6144);

	if (make(0x1002, 6144) == id)
		return 1;
	return shmctl(id, IPC_RMID, NULL) == 0;
}

static int test_attach(void)
{
	int id = make(0x1003, 4096);
	char *at = shmat(id, NULL, 0);

	shmctl(id, IPC_RMID, NULL);
	return shmdt(at) == 0;
}

int main(void)
{
	printf("create   %s\n", test_create() ? "ok" : "failed");
	printf("same key %s\n", test_same_key() ? "ok" : "failed");
	printf("attach   %s\n", test_attach() ? "ok" : "failed");
	return 0;
}
