/*
 * Two processes with a segment of their own beside MPI's: what is sent lies in it, so that the transport registers the
 * memory, and its hooks see it go. One detaches, the other unmaps.
 */
#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>

enum { LEN = 4 << 20 };

static int attaches(int id)
{
	struct shmid_ds d;
	return shmctl(id, IPC_STAT, &d) < 0 ? -1 : (int)d.shm_nattch;
}

int main(int argc, char **argv)
{
	int rank, id = -1, before, bad = 0;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	if (rank == 0)
		id = shmget(IPC_PRIVATE, 2 * LEN, 0600);
	MPI_Bcast(&id, 1, MPI_INT, 0, MPI_COMM_WORLD);
	char *at = shmat(id, NULL, 0);
	if (at == (void *)-1)
		MPI_Abort(MPI_COMM_WORLD, 1);
	MPI_Barrier(MPI_COMM_WORLD);
	before = attaches(id);
	if (rank == 0) {
		memset(at, 'm', LEN);
		MPI_Send(at, LEN, MPI_CHAR, 1, 0, MPI_COMM_WORLD);
	} else {
		MPI_Recv(at + LEN, LEN, MPI_CHAR, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		bad = at[LEN] != 'm' || memcmp(at, at + LEN, LEN) != 0;
	}
	MPI_Barrier(MPI_COMM_WORLD);
	bad |= rank == 0 ? munmap(at, 2 * LEN) : shmdt(at);
	MPI_Barrier(MPI_COMM_WORLD);
	if (rank == 0) {
		printf("attached by %d, then by %d\n", before, attaches(id));
		bad |= shmctl(id, IPC_RMID, NULL);
	}
	MPI_Finalize();
	return bad != 0;
}
