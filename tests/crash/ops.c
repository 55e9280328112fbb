/* ops.c - operations on segments. Each runs between two marks in a victim that is traced. */
#include "crash.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* --- what victims do */

#define MARKED_CALL(call)                                                                          \
	({                                                                                         \
		mark(BEGIN_MARK);                                                                  \
		long value_ = (long)(call);                                                        \
		int error_ = errno;                                                                \
		mark(END_MARK);                                                                    \
		errno = error_;                                                                    \
		(int)(value_ == -1 ? -1 : 0);                                                      \
	})

static int id_of(int segment) { return the->segment[segment].id; }

/* A victim that has called before is registered; one that has not does that within its operation. */
static int warm(int argument)
{
	(void)argument;
	void *at = shmat(id_of(TWICE), NULL, 0);
	return at == (void *)-1 ? -1 : shmdt(at);
}

static int attach(int segment)
{
	for (int i = 0; i < 8; i++)
		if (!the->address[i]) {
			void *at = shmat(id_of(segment), NULL, 0);
			the->address[i] = at == (void *)-1 ? NULL : at;
			return at == (void *)-1 ? -1 : 0;
		}
	return -1;
}

static int prepare_lone(int argument) { return warm(argument) + attach(LONE); }
static int prepare_held(int argument) { return warm(argument) + attach(HELD); }
static int prepare_lone_twice(int argument) { return prepare_lone(argument) + attach(LONE); }

/* A segment of the victim's own that is marked: it goes with the victim. */
static int prepare_marked(int argument)
{
	int id = shmget(IPC_PRIVATE, 9000, 0600);
	if (id < 0)
		return -1;
	struct segment *segment = world_add(id, IPC_PRIVATE, 9000, 0, 0600);
	segment->is[0].exists = segment->is[1].exists = false;
	(void)argument;
	return attach(the->segments - 1) + shmctl(id, IPC_RMID, NULL);
}

/* A program that has used up its descriptors. */
static int use_up_descriptors(int argument)
{
	struct rlimit limit = { 64, 64 };
	(void)argument;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -1;
	while (dup(the->leash[0]) >= 0)
		;
	return 0;
}
static int warm_then_use_up(int argument) { return warm(argument) + use_up_descriptors(argument); }

static int create_keyed(int a) { (void)a; return MARKED_CALL(shmget(0x2001, 9000, IPC_CREAT | 0600)); }
static int create_private(int a) { (void)a; return MARKED_CALL(shmget(IPC_PRIVATE, 9000, 0600)); }
static int attach_lone(int a) { (void)a; return MARKED_CALL(shmat(id_of(LONE), NULL, 0)); }
static int attach_held(int a) { (void)a; return MARKED_CALL(shmat(id_of(HELD), NULL, SHM_RDONLY)); }
static int attach_marked(int a) { (void)a; return MARKED_CALL(shmat(id_of(MARKED), NULL, 0)); }
static int attach_over(int a) { (void)a; return MARKED_CALL(shmat(id_of(TWICE), the->address[0], SHM_REMAP)); }
static int detach_first(int a) { (void)a; return MARKED_CALL(shmdt(the->address[0])); }
static int remove_lone(int a) { (void)a; return MARKED_CALL(shmctl(id_of(LONE), IPC_RMID, NULL)); }
static int remove_held(int a) { (void)a; return MARKED_CALL(shmctl(id_of(HELD), IPC_RMID, NULL)); }
static int stat_held(int a)
{
	struct shmid_ds d;
	(void)a;
	return MARKED_CALL(shmctl(id_of(HELD), IPC_STAT, &d));
}
static int stat_twice(int a)
{
	struct shmid_ds d;
	(void)a;
	return MARKED_CALL(shmctl(id_of(TWICE), IPC_STAT, &d));
}
static int look_up_lone(int a) { (void)a; return MARKED_CALL(shmget(0x1001, 0, 0)); }
static int sum_up(int a)
{
	struct shm_info info;
	(void)a;
	return MARKED_CALL(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
}
static int set_lone(int a)
{
	struct shmid_ds d;
	(void)a;
	if (shmctl(id_of(LONE), IPC_STAT, &d) < 0)
		return -1;
	d.shm_perm.mode = 0640;
	return MARKED_CALL(shmctl(id_of(LONE), IPC_SET, &d));
}
static int lock_lone(int a) { (void)a; return MARKED_CALL(shmctl(id_of(LONE), SHM_LOCK, NULL)); }
static int unlock_lone(int a) { (void)a; return MARKED_CALL(shmctl(id_of(LONE), SHM_UNLOCK, NULL)); }
static int prepare_locked(int a) { return warm(a) + shmctl(id_of(LONE), SHM_LOCK, NULL); }

static int unmap_whole(int a) { (void)a; return MARKED_CALL(munmap(the->address[0], 12288)); }
static int unmap_middle(int a) { (void)a; return MARKED_CALL(munmap((char *)the->address[0] + PAGE, PAGE)); }
static int map_over(int a)
{
	(void)a;
	return MARKED_CALL(mmap(the->address[0], PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}
static int move(int a)
{
	char *to = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)a;
	return MARKED_CALL(mremap(the->address[0], 12288, 12288, MREMAP_MAYMOVE | MREMAP_FIXED, to));
}
static int move_middle(int a)
{
	char *to = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)a;
	return MARKED_CALL(mremap((char *)the->address[0] + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
}
static int shrink(int a) { (void)a; return MARKED_CALL(mremap(the->address[0], 12288, PAGE, 0)); }

static int write_limit(int a)
{
	(void)a;
	mark(BEGIN_MARK);
	int fd = open("/proc/sys/kernel/shmmni", O_WRONLY);
	ssize_t written = fd < 0 ? -1 : write(fd, "777\n", 4);
	close(fd);
	struct shminfo info;
	int value = shmctl(0, IPC_INFO, (struct shmid_ds *)&info);
	mark(END_MARK);
	return written == 4 && value >= 0 && info.shmmni == 777 ? 0 : -1;
}

/* --- what is to be */

static struct segment *new_segment(key_t key)
{
	struct segment *segment = world_add(-1, key, 9000, 0, 0600);
	segment->is[0].exists = false;
	return segment;
}
static void to_be_keyed(struct world *w) { (void)w; new_segment(0x2001); }
static void to_be_private(struct world *w) { (void)w; new_segment(IPC_PRIVATE); }
static void lone_goes(struct world *w) { (void)w; the->segment[LONE].is[1].exists = false; }
static void held_is_marked(struct world *w) { (void)w; the->segment[HELD].is[1].marked = true; }
static void mode_of_lone(struct world *w) { (void)w; the->segment[LONE].is[1].mode = 0640; }
static void lone_locked(struct world *w) { (void)w; the->segment[LONE].is[1].mode |= SHM_LOCKED; }
static void lone_unlocked(struct world *w) { (void)w; the->segment[LONE].is[0].mode |= SHM_LOCKED; }

/* A process that has died and has not been reaped yet: HELD and TWICE attached, and a marked segment. */
static int corpse(int a)
{
	return warm(a) + attach(HELD) + attach(TWICE) + prepare_marked(a);
}
static void with_corpse(struct world *world)
{
	struct actor dead;
	(void)world;
	actor_start(&dead);
	if (actor_do(&dead, corpse, 0).value != 0)
		fatal("no corpse could be made: %s", strerror(errno));
	actor_kill(&dead);
	memset(the->address, 0, sizeof the->address);
}
/* What nobody has attached goes, when its creator is gone or its last user leaves. */
static void lone_forced_away(struct world *world)
{
	if (actor_do(&world->holder, job_force, 1).value != 0)
		fatal("shm_rmid_forced: %s", strerror(errno));
	the->segment[LONE].is[0].exists = the->segment[LONE].is[1].exists = false;
}
static void lone_attached_and_forced_away(struct world *world)
{
	lone_forced_away(world);
	the->segment[LONE].is[0].exists = true;
}
static void with_corpse_and_removal(struct world *world)
{
	with_corpse(world);
	held_is_marked(world);
}
static void with_corpse_and_new(struct world *world)
{
	with_corpse(world);
	to_be_keyed(world);
}

/* --- a table that grows */

static int add_many(int count)
{
	for (int i = 0; i < count; i++) {
		key_t key = 0x5000 + the->segments;
		int id = shmget(key, PAGE, IPC_CREAT | 0600);
		if (id < 0)
			return -1;
		world_add(id, key, PAGE, 0, 0600);
	}
	return 0;
}
static int attach_all(int count)
{
	for (int i = 0; i < count; i++)
		if (shmat(id_of(BASE_SEGMENTS + i % (the->segments - BASE_SEGMENTS)), NULL, 0) == (void *)-1)
			return -1;
	return 0;
}
static void must(struct world *world, job *job, int argument)
{
	if (actor_do(&world->holder, job, argument).value != 0)
		fatal("the world could not be made large");
}
static void slots_full(struct world *world)
{
	must(world, add_many, 64 - BASE_SEGMENTS);
	to_be_keyed(world);
}
static void records_full(struct world *world)
{
	must(world, add_many, 126);
	/* Three of the base are attached already. */
	must(world, attach_all, 125);
}
static void cells_full(struct world *world)
{
	crowd_grow(world, 63);
}
static void index_full(struct world *world)
{
	must(world, add_many, 512 - BASE_SEGMENTS);
	to_be_keyed(world);
}

const struct op *op_named(const char *name)
{
	for (int i = 0; i < op_count; i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	fatal("there is no operation %s", name);
}

/* In ops_life.c. */
extern job fork_here, fork_plain_child, exit_here, exec_here, make_first, clone_raw;
/* In ops_huge.c. */
extern job create_huge, attach_huge, remove_huge, detach_huge, prepare_huge_marked;
extern void huge_to_be(struct world *), with_huge(struct world *), huge_goes(struct world *),
	with_lost_table_and_huge(struct world *);
/* In ops_system.c. */
extern job system_third, system_third_first_call, system_third_with_roots_marked, system_give_away;
extern void system_with_corpse(struct world *), system_lone_open_to_all(struct world *),
	system_lone_given_to_third(struct world *), system_lone_to_be_given(struct world *);
extern void with_lost_table(struct world *), first_to_be(struct world *);

const struct op ops[] = {
	{ "create-keyed", to_be_keyed, warm, create_keyed, 0, "shmget" },
	{ "create-keyed-first-call", to_be_keyed, NULL, create_keyed, 0, "shmget" },
	{ "create-private", to_be_private, warm, create_private, 0, "shmget" },
	{ "look-up", NULL, NULL, look_up_lone, 0, "shmget" },
	{ "attach", NULL, warm, attach_lone, 0, "shmat" },
	{ "attach-first-call", NULL, NULL, attach_lone, 0, "shmat" },
	{ "attach-held", NULL, warm, attach_held, 0, "shmat" },
	{ "attach-again", NULL, prepare_lone, attach_lone, 0, "shmat" },
	{ "attach-marked", NULL, warm, attach_marked, 0, "shmat" },
	{ "attach-over", NULL, prepare_held, attach_over, 0, "shmat" },
	{ "create-out-of-descriptors", to_be_keyed, warm_then_use_up, create_keyed, NO_DESCRIPTORS, "shmget" },
	{ "attach-out-of-descriptors", NULL, warm_then_use_up, attach_lone, NO_DESCRIPTORS, "shmat" },
	{ "attach-first-call-out-of-descriptors", NULL, use_up_descriptors, attach_lone, NO_DESCRIPTORS, "shmat" },
	{ "detach-last", NULL, prepare_lone, detach_first, 0, "shmdt" },
	{ "detach-not-last", NULL, prepare_held, detach_first, 0, "shmdt" },
	{ "detach-one-of-two", NULL, prepare_lone_twice, detach_first, 0, "shmdt" },
	{ "detach-last-of-marked", NULL, prepare_marked, detach_first, 0, "shmdt" },
	{ "stat", NULL, NULL, stat_held, 0, "shmctl" },
	{ "stat-own", NULL, prepare_held, stat_held, 0, "shmctl" },
	{ "set", mode_of_lone, warm, set_lone, 0, "shmctl" },
	{ "lock", lone_locked, warm, lock_lone, 0, "shmctl" },
	{ "unlock", lone_unlocked, prepare_locked, unlock_lone, 0, "shmctl" },
	{ "remove", lone_goes, warm, remove_lone, 0, "shmctl" },
	{ "remove-first-call", lone_goes, NULL, remove_lone, 0, "shmctl" },
	{ "remove-attached", held_is_marked, warm, remove_held, 0, "shmctl" },
	{ "remove-own", lone_goes, prepare_lone, remove_lone, 0, "shmctl" },
	{ "set-limit", NULL, warm, write_limit, SHIM_ONLY, NULL },
	{ "reap-by-stat", with_corpse, warm, stat_twice, 0, "shmctl" },
	{ "reap-by-info", with_corpse, NULL, sum_up, 0, "shmctl" },
	{ "reap-by-remove", with_corpse_and_removal, NULL, remove_held, 0, "shmctl" },
	{ "reap-by-registering", with_corpse_and_new, NULL, create_keyed, 0, "shmget" },
	{ "unmap", NULL, prepare_held, unmap_whole, 0, "memory" },
	{ "unmap-middle", NULL, prepare_held, unmap_middle, 0, "memory" },
	{ "map-over", NULL, prepare_held, map_over, 0, "memory" },
	{ "move", NULL, prepare_held, move, 0, "memory" },
	{ "move-middle", NULL, prepare_held, move_middle, 0, "memory" },
	{ "shrink", NULL, prepare_held, shrink, 0, "memory" },
	{ "fork", NULL, prepare_held, fork_here, FORKS, "fork" },
	{ "fork-child-runs", NULL, prepare_held, fork_here, FORKS | CHILD_FIRST, "fork" },
	{ "fork-child-dies", NULL, prepare_held, fork_here, FORKS | CHILD, "fork" },
	{ "fork-own-marked", NULL, prepare_marked, fork_here, FORKS | CHILD, "fork" },
	{ "raw-clone-child-dies", NULL, prepare_held, clone_raw, FORKS | CHILD, "fork" },
	{ "exit", NULL, prepare_held, exit_here, ENDS, NULL },
	{ "exit-with-marked", NULL, prepare_marked, exit_here, ENDS, NULL },
	{ "exec", NULL, prepare_held, exec_here, ENDS, NULL },
	{ "make-first", first_to_be, NULL, make_first, EMPTY, "shmget" },
	{ "make-lost-table", with_lost_table, NULL, attach_lone, SHIM_ONLY, "shmat" },
	{ "detach-last-forced", lone_forced_away, prepare_lone, detach_first, FORCED | SHIM_ONLY, "shmdt" },
	{ "exit-forced", lone_forced_away, prepare_lone, exit_here, FORCED | ENDS | SHIM_ONLY, NULL },
	{ "attach-forced", lone_attached_and_forced_away, warm, attach_lone, FORCED | SHIM_ONLY, "shmat" },
	{ "create-huge", huge_to_be, warm, create_huge, HUGE_PAGES | SHIM_ONLY, "shmget" },
	{ "attach-huge", with_huge, warm, attach_huge, HUGE_PAGES | SHIM_ONLY, "shmat" },
	{ "remove-huge", huge_goes, warm, remove_huge, HUGE_PAGES | SHIM_ONLY, "shmctl" },
	{ "detach-last-of-huge-marked", NULL, prepare_huge_marked, detach_huge, HUGE_PAGES | SHIM_ONLY, "shmdt" },
	{ "make-lost-table-with-huge", with_lost_table_and_huge, NULL, attach_huge, HUGE_PAGES | SHIM_ONLY, "shmat" },
	{ "make-first-for-all", first_to_be, NULL, make_first, EMPTY | SYSTEM | SHIM_ONLY, "shmget" },
	{ "create-as-another-uid", to_be_keyed, system_third_first_call, create_keyed, SYSTEM | OTHER_UID | SHIM_ONLY, "shmget" },
	{ "attach-another-uids", system_lone_open_to_all, system_third, attach_lone, SYSTEM | OTHER_UID | SHIM_ONLY, "shmat" },
	{ "give-away", system_lone_to_be_given, warm, system_give_away, SYSTEM | SHIM_ONLY, "shmctl" },
	{ "remove-what-was-given", system_lone_given_to_third, system_third, remove_lone, SYSTEM | OTHER_UID | SHIM_ONLY,
	  "shmctl" },
	{ "detach-another-uids-marked", NULL, system_third_with_roots_marked, detach_first, SYSTEM | OTHER_UID | SHIM_ONLY,
	  "shmdt" },
	{ "reap-another-uids", system_with_corpse, system_third, sum_up, SYSTEM | OTHER_UID | SHIM_ONLY, "shmctl" },
	{ "grow-slots", slots_full, warm, create_keyed, HEAVY, "shmget" },
	{ "grow-records", records_full, warm, attach_lone, HEAVY, "shmat" },
	{ "grow-cells", cells_full, NULL, attach_lone, HEAVY, "shmat" },
	{ "grow-index", index_full, warm, create_keyed, HEAVY, "shmget" },
};
const int op_count = sizeof ops / sizeof *ops;
