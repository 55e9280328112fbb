/*
 * ops_huge.c - operations on segments of huge pages. No page is touched, so the machine needs to have none: they are
 * made with SHM_NORESERVE, and what the kernel keeps of them is their files.
 */
#include "crash.h"

enum { KEY = 0x2001 };

static int make(void) { return shmget(KEY, HUGE_BYTES, IPC_CREAT | SHM_HUGETLB | SHM_NORESERVE | 0600); }

static int end(long value)
{
	int error = errno;
	mark(END_MARK);
	errno = error;
	return value == -1 ? -1 : 0;
}

int create_huge(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	return end(make());
}

int attach_huge(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	return end((long)shmat(the->segment[the->segments - 1].id, NULL, 0));
}

int remove_huge(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	return end(shmctl(the->segment[the->segments - 1].id, IPC_RMID, NULL));
}

int detach_huge(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	return end(shmdt(the->address[0]));
}

void huge_to_be(struct world *world)
{
	(void)world;
	world_add(-1, KEY, HUGE_BYTES, 0, 0600)->is[0].exists = false;
}

static int job_make(int argument)
{
	(void)argument;
	int id = make();
	if (id >= 0)
		world_add(id, KEY, HUGE_BYTES, 0, 0600);
	return id;
}

void with_huge(struct world *world)
{
	if (actor_do(&world->holder, job_make, 0).value < 0)
		fatal("no segment of huge pages could be made: %s", strerror(errno));
}

void huge_goes(struct world *world)
{
	with_huge(world);
	the->segment[the->segments - 1].is[1].exists = false;
}

/* The victim's own, which goes with it. */
int prepare_huge_marked(int argument)
{
	int id = job_make(argument);
	the->address[0] = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (the->address[0] == (void *)-1)
		return -1;
	struct segment *segment = &the->segment[the->segments - 1];
	segment->is[0].exists = segment->is[1].exists = false;
	return shmctl(id, IPC_RMID, NULL);
}

/* The table is gone, and the segment of huge pages is found on its own file system. */
void with_lost_table_and_huge(struct world *world)
{
	extern void with_lost_table(struct world *);
	with_huge(world);
	with_lost_table(world);
}
