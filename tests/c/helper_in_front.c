/* Opens a file and unmaps an attach, for a test of what stands behind the shim. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>

int main(void)
{
	struct shmid_ds d;
	int id = shmget(IPC_PRIVATE, 4096, 0600), fd = open("/dev/null", O_RDONLY);
	void *at = shmat(id, NULL, 0);
	if (id < 0 || fd < 0 || at == (void *)-1 || munmap(at, 4096) < 0 || shmctl(id, IPC_STAT, &d) < 0)
		return 1;
	printf("attached %d times\n", (int)d.shm_nattch);
	return shmctl(id, IPC_RMID, NULL) < 0;
}
