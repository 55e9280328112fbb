/* ops_system.c - operations in a namespace of all users: what one uid does to another's segments. Root plays the rest. */
#include "crash.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>

enum { OWNER = 54001, THIRD = 54003 };

static int become(uid_t uid)
{
	/* As a program that this user has started. */
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		return -1;
	prctl(PR_SET_DUMPABLE, 1);
	return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Registered as that user: a segment of its own, come and gone. */
static int warm_as(uid_t uid)
{
	int id = become(uid) < 0 ? -1 : shmget(IPC_PRIVATE, PAGE, 0600);
	return id < 0 ? -1 : shmctl(id, IPC_RMID, NULL);
}

int system_third(int argument) { (void)argument; return warm_as(THIRD); }
int system_third_first_call(int argument) { (void)argument; return become(THIRD); }

static int marked_of_mine(void)
{
	int id = shmget(IPC_PRIVATE, 9000, 0600);
	if (id < 0)
		return -1;
	struct segment *segment = world_add(id, IPC_PRIVATE, 9000, 0, 0600);
	segment->is[0].exists = segment->is[1].exists = false;
	the->address[0] = shmat(id, NULL, 0);
	return the->address[0] == (void *)-1 ? -1 : shmctl(id, IPC_RMID, NULL);
}

/* Root's segment, marked, and attached only by a program that has become another user since. */
int system_third_with_roots_marked(int argument)
{
	(void)argument;
	return marked_of_mine() < 0 ? -1 : become(THIRD);
}

static int corpse_of_owner(int argument)
{
	(void)argument;
	return warm_as(OWNER) < 0 ? -1 : marked_of_mine();
}

/* A process of a user has died with a marked segment attached, and no process has reaped it yet. */
void system_with_corpse(struct world *world)
{
	struct actor dead;
	(void)world;
	actor_start(&dead);
	if (actor_do(&dead, corpse_of_owner, 0).value != 0)
		fatal("no corpse could be made: %s", strerror(errno));
	actor_kill(&dead);
	memset(the->address, 0, sizeof the->address);
}

static int set_lone(uid_t uid, unsigned mode)
{
	struct shmid_ds d = { .shm_perm.mode = mode };
	d.shm_perm.uid = uid;
	return shmctl(the->segment[LONE].id, IPC_SET, &d);
}

static int open_lone(int argument) { (void)argument; return set_lone(0, 0666); }
static int give_lone(int argument) { (void)argument; return set_lone(THIRD, 0660); }

void system_lone_open_to_all(struct world *world)
{
	if (actor_do(&world->holder, open_lone, 0).value != 0)
		fatal("IPC_SET: %s", strerror(errno));
	the->segment[LONE].is[0].mode = the->segment[LONE].is[1].mode = 0666;
}

void system_lone_given_to_third(struct world *world)
{
	if (actor_do(&world->holder, give_lone, 0).value != 0)
		fatal("IPC_SET: %s", strerror(errno));
	the->segment[LONE].is[0].mode = 0660;
	the->segment[LONE].is[1] = (struct state){ false, false, 0660 };
}

void system_lone_to_be_given(struct world *world) { (void)world; the->segment[LONE].is[1].mode = 0660; }

int system_give_away(int argument)
{
	mark(BEGIN_MARK);
	int value = give_lone(argument);
	int error = errno;
	mark(END_MARK);
	errno = error;
	return value;
}
