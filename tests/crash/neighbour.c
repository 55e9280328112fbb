/*
 * neighbour.c - a user of a system-wide namespace who writes to the table on purpose.
 *
 * He can deny service and lie. He must never read or change what is in a segment that he has no rights to, and never
 * have his own file mapped by the program that has made a segment in place of it.
 */
#include "hostile.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { KEY = 0x777, SIZE = 8192, OWN_SEED = 9, LIES = 66 };

static int job_make(int argument)
{
	(void)argument;
	int id = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600);
	char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (at == (void *)-1)
		return -1;
	fill(at, OWN_SEED, SIZE);
	world_add(id, KEY, SIZE, OWN_SEED, 0600);
	the->address[0] = at;
	return 0;
}

static int job_attach(int flags)
{
	void *at = shmat(the->segment[0].id, NULL, flags);
	if (at == (void *)-1)
		return 0; /* refused */
	int value = filled(at, OWN_SEED, SIZE) ? 1 : filled(at, LIES, SIZE) ? 2 : 3;
	shmdt(at);
	return value;
}

static int job_detach(int argument)
{
	(void)argument;
	return shmdt(the->address[0]);
}

static int job_remove(int argument)
{
	(void)argument;
	return shmctl(the->segment[0].id, IPC_RMID, NULL);
}

/* As a program that changes nothing but the mode, and only there says what it wants. */
static int job_set(int mode)
{
	struct shmid_ds d = { .shm_perm.mode = mode };
	d.shm_perm.uid = geteuid();
	d.shm_perm.gid = getegid();
	return shmctl(the->segment[0].id, IPC_SET, &d);
}

static int job_own_set(int mode) { return job_set(mode); }

/* What the kernel lets the stranger do with the owner's file, past all of our own questions: bit 0 read, bit 1 write. */
static int job_open_file(int argument)
{
	char path[600];
	int allowed = 0;
	(void)argument;
	snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, KEY, the->segment[0].id);
	for (int write = 0; write < 2; write++) {
		int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0) {
			allowed |= 1 << write;
			close(fd);
		}
	}
	return allowed;
}

/* --- what the stranger writes */

static volatile unsigned char *table;
static unsigned slot;

static void lie(unsigned field, uint32_t value) { *slot_word(table, slot, field) = value; }

static void make_file(const char *path, unsigned mode)
{
	char bytes[SIZE];
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, mode);
	fill(bytes, LIES, SIZE);
	if (fd < 0 || fchmod(fd, mode) < 0 || write(fd, bytes, SIZE) != SIZE)
		_exit(1);
	close(fd);
}

static char *segment_path(unsigned key, int id)
{
	static char path[600];
	snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, key, id);
	return path;
}

enum lie {
	MODE_OPEN, /* everybody may */
	OWNER_IS_ME, OWNER_AND_CREATOR_ARE_ME, GROUP_IS_MINE,
	OTHER_FILE, /* the segment's name is that of a file of mine */
	ANOTHERS_FILE, /* ... of another file of the victim's, by a second name */
	JOURNAL, /* the next repair shall write it */
	LARGER, /* the segment is said to be larger than its file */
	HUGE, /* the mapping is said to be much larger */
	MARKED_ALREADY, UNATTACHED, NO_SEGMENT, NEXT_NAME_TAKEN, LIES_TOLD
};
static const char *const names[LIES_TOLD] = {
	"mode 0666", "his uid as the owner", "his uid as owner and creator", "his group", "a name that is his file's",
	"a name that is a link to another file of the owner's", "an armed journal", "another size", "huge pages",
	"the mark", "no attaches", "no segment", "a file with the next name",
};

static int job_lie(int which)
{
	size_t size;
	table = table_open(&size);
	if (!table)
		return -1;
	slot = (unsigned)the->segment[0].id % 32768;
	switch ((enum lie)which) {
	case MODE_OPEN: lie(S_MODE, 0666); break;
	case OWNER_IS_ME: lie(S_UID, STRANGER); break;
	case OWNER_AND_CREATOR_ARE_ME: lie(S_UID, STRANGER); lie(S_CUID, STRANGER); break;
	case GROUP_IS_MINE: lie(S_GID, STRANGER); lie(S_MODE, 0660); break;
	case OTHER_FILE:
		make_file(segment_path(0x888, the->segment[0].id), 0666);
		lie(S_NAME_KEY, 0x888);
		lie(S_UID, STRANGER), lie(S_CUID, STRANGER), lie(S_MODE, 0666);
		break;
	case ANOTHERS_FILE:
		/* The second name was made by somebody who could (the kernel may not let the stranger). */
		lie(S_NAME_KEY, 0x999);
		lie(S_MODE, 0666);
		break;
	case JOURNAL: {
		volatile uint32_t *journal = (volatile uint32_t *)(table + 424);
		journal[2] = SLOT_AREA + slot * 128 + S_MODE;
		journal[3] = 4;
		journal[4] = 0666;
		journal[5] = 0;
		journal[1] = 1;
		journal[0] = 1;
		break;
	}
	case LARGER: lie(S_SIZE, 1u << 30); break;
	case HUGE: lie(S_FLAGS, 30u << 8); break;
	case MARKED_ALREADY: lie(S_MODE, 01666); break;
	case UNATTACHED: lie(S_NATTCH, 0); lie(S_NATTCH + 4, 0); break;
	case NO_SEGMENT: lie(S_STATE, 0); break;
	case NEXT_NAME_TAKEN: make_file(segment_path(0, the->segment[0].id + 1), 0666); break;
	case LIES_TOLD: break;
	}
	munmap((void *)table, size);
	return 0;
}

static int job_make_next(int argument)
{
	(void)argument;
	int id = shmget(IPC_PRIVATE, SIZE, 0600);
	void *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (at == (void *)-1)
		return 0;
	int value = filled(at, 0, SIZE) ? 1 : 2;
	shmctl(id, IPC_RMID, NULL);
	shmdt(at);
	return value;
}

/* --- what the owner does next */

enum deed { ATTACHES, REMOVES, SETS, DETACHES, OWNERS_DEEDS };
static const char *const deeds[] = { "attaches", "removes", "sets the mode", "detaches" };

static bool holds(struct actor *actor, job *job, int argument, int *value, const char *what)
{
	struct answer answer;
	if (!act(actor, job, argument, &answer, what))
		return false;
	*value = answer.value;
	return true;
}

/* In system scope the namespace is root's, who makes it before others come. */
static void place_of_root(void)
{
	struct actor first;
	int value;
	place("system", 0, 01777);
	actor_of(&first, 0);
	if (!holds(&first, job_make_next, 0, &value, "root makes the namespace") || value != 1)
		fatal("root could not make the namespace");
	actor_kill(&first);
}

/* What the owner does after the lie gives away nothing, and brings in nothing. */
static bool deed_is_harmless(struct actor *owner, enum deed deed, const char *what)
{
	int value = 0;

	switch (deed) {
	case ATTACHES:
		if (!holds(owner, job_attach, 0, &value, what))
			return false;
		if (value > 1) {
			failed("%s: it is led to %s", what, value == 2 ? "his file" : "something else");
			return false;
		}
		if (!holds(owner, job_make_next, 0, &value, what))
			return false;
		if (value > 1) {
			failed("%s: a new segment is not zeroed", what);
			return false;
		}
		return true;
	case REMOVES: return holds(owner, job_remove, 0, &value, what);
	case SETS: return holds(owner, job_set, 0600, &value, what);
	case DETACHES: return holds(owner, job_detach, 0, &value, what);
	case OWNERS_DEEDS: break;
	}
	return true;
}

static void one_lie(enum lie which, enum deed then)
{
	struct actor owner, stranger, again;
	struct stat before, after;
	char what[200], secret[600];
	int value = 0, private_file;
	bool good = true;

	snprintf(what, sizeof what, "a stranger has written %s, the owner %s", names[which], deeds[then]);
	place_of_root();
	actor_of(&owner, OWNER);
	actor_of(&stranger, STRANGER);
	actor_of(&again, OWNER);
	if (!holds(&owner, job_make, 0, &value, what) || value < 0)
		fatal("no segment could be made");
	/* Another file of the owner's, on the same file system. */
	snprintf(secret, sizeof secret, "%s/private", the->base);
	private_file = open(secret, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (private_file < 0 || fchown(private_file, OWNER, OWNER) < 0)
		fatal("%s: %s", secret, strerror(errno));
	if (which == ANOTHERS_FILE && link(secret, segment_path(0x999, the->segment[0].id)) < 0)
		fatal("link: %s", strerror(errno));
	fstat(private_file, &before);
	if (!holds(&stranger, job_lie, (int)which, &value, what))
		goto out;
	good = deed_is_harmless(&owner, then, what);
	/* Others of the owner's look, repair and reap. */
	good = good && holds(&again, job_reap, 0, &value, what) && holds(&again, job_attach, SHM_RDONLY, &value, what);
	/* The stranger tries what is his by now, he says. */
	good = good && holds(&stranger, job_own_set, 0666, &value, what) && holds(&stranger, job_reap, 0, &value, what);
	for (int flags = 0; good && flags <= SHM_RDONLY; flags += SHM_RDONLY) {
		good = holds(&stranger, job_attach, flags, &value, what);
		if (good && value == 1) {
			failed("%s: he attaches it%s", what, flags ? " to read" : "");
			good = false;
		}
	}
	good = good && holds(&stranger, job_open_file, 0, &value, what);
	if (good && value != 0) {
		failed("%s: he may open its file%s", what, value & 2 ? " to write" : "");
		good = false;
	}
	fstat(private_file, &after);
	if (good && (before.st_mode != after.st_mode || after.st_uid != before.st_uid)) {
		failed("%s: the rights of another file were changed, to %o", what, after.st_mode & 07777);
		good = false;
	}
	/* The owner's mapping is what it was. */
	if (good && then != DETACHES && then != OWNERS_DEEDS)
		good = holds(&owner, job_detach, 0, &value, what);
	if (good)
		passed();
out:
	close(private_file);
	actor_kill(&owner);
	actor_kill(&stranger);
	actor_kill(&again);
	place_end();
}

/* Without any lie: what he may not, he may not. */
static void honest(void)
{
	struct actor owner, stranger;
	int value;
	place_of_root();
	actor_of(&owner, OWNER);
	actor_of(&stranger, STRANGER);
	if (holds(&owner, job_make, 0, &value, "honest") && holds(&stranger, job_attach, 0, &value, "honest") &&
	    value == 0 && holds(&stranger, job_open_file, 0, &value, "honest") && value == 0 &&
	    holds(&owner, job_set, 0644, &value, "honest") && value == 0 &&
	    holds(&stranger, job_attach, SHM_RDONLY, &value, "honest") && value == 1 &&
	    holds(&stranger, job_attach, 0, &value, "honest") && value == 0 &&
	    holds(&stranger, job_open_file, 0, &value, "honest") && value == 1)
		passed();
	else
		failed("rights between honest users of a system-wide namespace are wrong (%d)", value);
	actor_kill(&owner);
	actor_kill(&stranger);
	place_end();
}

static int job_count(int argument)
{
	struct shm_info info;
	(void)argument;
	if (job_reap(0) < 0 || shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0)
		return -1;
	return info.used_ids;
}

/* One who dies with a marked segment attached: the first process that probes sees it gone, its owner's next call takes the file. */
static void another_uid_reaps(bool root_comes)
{
	const char *what = "a segment that another uid finds dead";
	struct actor owner, stranger, again;
	int value;
	place_of_root();
	actor_of(&owner, OWNER);
	actor_of(&stranger, STRANGER);
	if (!holds(&owner, job_make, 0, &value, what) || value < 0 || !holds(&owner, job_remove, 0, &value, what) ||
	    value < 0)
		fatal("no segment could be made");
	actor_kill(&owner);
	if (holds(&stranger, job_count, 0, &value, what)) {
		if (value != 0)
			failed("%s: %d segments are there", what, value);
		actor_of(&again, root_comes ? 0 : OWNER);
		if (holds(&again, job_count, 0, &value, what) && value == 0 && tree_files("segments") == 0)
			passed();
		else
			failed("%s: its file is still there when %s has looked", what, root_comes ? "root" : "its owner");
		actor_kill(&again);
	}
	actor_kill(&stranger);
	place_end();
}

static int job_remove_marked(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	int value = shmctl(the->segment[0].id, IPC_RMID, NULL);
	mark(END_MARK);
	return value;
}

/* Two uids remove their segments, one in the middle of the other: both files are gone when both calls have returned. */
static enum reached removed_together(struct point point)
{
	const char *what = "two uids that remove at once";
	struct actor owner, stranger;
	struct tracee tracee;
	struct answer answer;
	int value;
	place_of_root();
	actor_of(&owner, OWNER);
	actor_of(&stranger, STRANGER);
	if (!holds(&stranger, job_make_next, 0, &value, what) || !holds(&owner, job_make, 0, &value, what) || value < 0 ||
	    !holds(&owner, job_detach, 0, &value, what))
		fatal("no segment could be made");
	if (!trace_attach(&tracee, owner.pid, FOLLOW_PARENT))
		fatal("ptrace: %s", strerror(errno));
	actor_send(&owner, job_remove_marked, 0);
	if (!trace_to_beginning(&tracee))
		fatal("the removal does not begin");
	enum reached reached = trace_to(&tracee, point);
	if (reached == REACHED && !table_is_locked()) {
		actor_send(&stranger, job_make_next, 0);
		bool waits = actor_hear(&stranger, &answer, 5000) != HEARD;
		trace_let_go(&tracee);
		if (actor_hear(&owner, &answer, HANG_MS) != HEARD || answer.value != 0 ||
		    (waits && actor_hear(&stranger, &answer, HANG_MS) != HEARD))
			failed("%s: after a stop at %d,%d one of them fails or hangs", what, point.stop, point.change);
		else if (tree_files("segments") != 0)
			failed("%s: after a stop at %d,%d %ld files are left", what, point.stop, point.change,
			       tree_files("segments"));
		else
			passed();
	} else if (reached != REACHED) {
		kill_and_wait(tracee.pid);
		actor_is_gone(&owner);
	}
	actor_kill(&owner);
	actor_kill(&stranger);
	table_forget();
	place_end();
	return reached;
}

void test_neighbours(void)
{
	honest();
	for (struct point point = { 0, 0 };;) {
		enum reached reached = removed_together(point);
		if (reached == REACHED)
			point.change++;
		else if (point.change > 0)
			point = (struct point){ point.stop + 1, 0 };
		else
			break;
	}
	another_uid_reaps(false);
	another_uid_reaps(true);
	for (int lie = 0; lie < LIES_TOLD; lie++)
		for (int deed = 0; deed < OWNERS_DEEDS; deed++)
			one_lie((enum lie)lie, (enum deed)deed);
}
