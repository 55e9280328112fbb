/*
 * wear.c - a namespace in which everything is used up, or about to begin anew: cells, records, slots, generations, ids.
 */
#include "hostile.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { KEY = 0x900, SIZE = 8192, CELLS = 16384, SLOTS = 32768, RECORDS = 524288, SEED = 33 };
enum { CURSOR_NEXT = 192, CURSOR_LAST = 196, CURSOR_SEQ = 200, CELLS_READY = 208, RECORDS_READY = 212, FREE_RECORD = 248 };
enum { C_STATE = 0, C_GENERATION = 4, C_PID = 8 };

static volatile unsigned char *table;

static volatile uint32_t *word(size_t offset) { return (volatile uint32_t *)(table + offset); }
static volatile uint32_t *cell_word(unsigned cell, unsigned field) { return word(CELL_AREA + cell * 64 + field); }

static int job_begin(int argument)
{
	(void)argument;
	int id = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600);
	the->address[0] = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (the->address[0] == (void *)-1)
		return -1;
	world_add(id, KEY, SIZE, SEED, 0600);
	fill(the->address[0], SEED, SIZE);
	return 0;
}

/* What a process finds that has come too late: 0 if it is refused as it should be. */
static int job_too_late(int argument)
{
	(void)argument;
	if (shmget(KEY, 0, 0) != the->segment[0].id)
		return 1;
	if (shmat(the->segment[0].id, NULL, 0) != (void *)-1 || errno != ENOMEM)
		return 2;
	if (shmget(IPC_PRIVATE, SIZE, 0600) != -1 || errno != ENOMEM)
		return 3;
	return 0;
}

/* One who was there before goes on; its children run, and end. */
static int job_goes_on(int argument)
{
	int status = 0;
	(void)argument;
	if (!filled(the->address[0], SEED, SIZE))
		return 1;
	void *at = shmat(the->segment[0].id, NULL, 0);
	if (at == (void *)-1 || shmdt(at) < 0)
		return 2;
	pid_t child = fork();
	if (child == 0)
		exit(filled(the->address[0], SEED, SIZE) ? 0 : 1);
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		return 3;
	return 0;
}

static int job_nattch(int argument)
{
	struct shmid_ds d;
	(void)argument;
	return shmctl(the->segment[0].id, IPC_STAT, &d) < 0 ? -1 : (int)d.shm_nattch;
}

/* Others' liveness files, locked as theirs. */
static int job_be_many(int from)
{
	struct rlimit limit = { CELLS + 100, CELLS + 100 };
	char path[600];
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -1;
	for (int cell = from; cell < CELLS; cell++) {
		snprintf(path, sizeof path, "live/%d", cell);
		int fd = open(inside(path), O_RDWR | O_CREAT, 0600);
		if (fd < 0 || (is_root && fchown(fd, OWNER, OWNER) < 0) || flock(fd, LOCK_EX | LOCK_NB) < 0)
			return -1;
	}
	return 0;
}

static bool is(struct actor *actor, job *job, int argument, int wanted, const char *what)
{
	struct answer answer = { 0, 0 };
	if (!act(actor, job, argument, &answer, what))
		return false;
	if (answer.value == wanted)
		return true;
	failed("%s: %d instead of %d (%s) %s", what, answer.value, wanted, strerror(answer.error), the->text);
	return false;
}

static void begin(struct actor *holder)
{
	size_t size;
	place("user", OWNER, 0700);
	the->text[0] = 0;
	actor_of(holder, OWNER);
	if (!is(holder, job_begin, 0, 0, "a segment"))
		fatal("no segment could be made");
	table = table_open(&size);
	if (!table)
		fatal("%s: %s", inside("registry"), strerror(errno));
}

static void end(struct actor *holder)
{
	actor_kill(holder);
	munmap((void *)table, 22556672);
	place_end();
}

static void no_cell_left(void)
{
	struct actor holder, many, late;
	struct answer answer;
	const char *what = "16384 processes";
	if (!is_root) {
		skipped("16384 processes: not root, so there are not enough descriptors to play them");
		return;
	}
	begin(&holder);
	actor_start(&many);
	if (!act(&many, job_be_many, 1, &answer, what) || answer.value != 0)
		fatal("%s: %s", what, strerror(errno));
	for (unsigned cell = 1; cell < CELLS; cell++)
		*cell_word(cell, C_STATE) = 1, *cell_word(cell, C_GENERATION) = 7, *cell_word(cell, C_PID) = 1;
	*word(CELLS_READY) = CELLS;
	actor_of(&late, OWNER);
	bool good = is(&late, job_too_late, 0, 0, what) && is(&holder, job_goes_on, 0, 0, what);
	if (good && !trace_says("the table holds 16384 processes and no more")) {
		failed("%s: the trace does not say so", what);
		good = false;
	}
	/* They are dead now, and not reaped. */
	actor_kill(&many);
	good = good && act(&late, job_whole_life, 0x7001, &answer, what) && is(&late, job_nattch, 0, 1, what) &&
	       is(&holder, job_goes_on, 0, 0, what);
	if (good && answer.value < 0) {
		failed("%s, all dead: %s", what, the->text);
		good = false;
	}
	if (good)
		passed();
	actor_kill(&late);
	end(&holder);
}

static void no_record_left(void)
{
	struct actor holder, late;
	const char *what = "524288 pairs of process and segment";
	begin(&holder);
	*word(FREE_RECORD) = 0;
	*word(RECORDS_READY) = RECORDS;
	actor_of(&late, OWNER);
	bool good = is(&holder, job_goes_on, 0, 0, what);
	struct answer answer = { 0, 0 };
	good = good && act(&late, job_too_late, 0, &answer, what);
	/* It can register and make a segment, but not attach. */
	if (good && answer.value != 3) {
		failed("%s: the one that comes too late says %d (%s)", what, answer.value, strerror(answer.error));
		good = false;
	}
	if (good && trace_says("the table holds 524288 attached (process, segment) pairs and no more"))
		passed();
	else if (good)
		failed("%s: the trace does not say so", what);
	actor_kill(&late);
	end(&holder);
}

static void generations_begin_anew(void)
{
	struct actor holder, next;
	struct answer answer;
	bool good = true;
	const char *what = "the 65536th process of a cell";
	begin(&holder);
	for (unsigned cell = 1; cell < 64; cell++)
		*cell_word(cell, C_GENERATION) = 65534;
	/* Past the end, each of them killed with something attached, and found dead by the next. */
	for (int i = 0; good && i < 6; i++) {
		actor_of(&next, OWNER);
		good = act(&next, job_whole_life, 0x7001, &answer, what) && is(&next, job_nattch, 0, 1, what) &&
		       is(&holder, job_goes_on, 0, 0, what) && is(&next, job_too_late, 0, 2, what);
		actor_kill(&next);
	}
	if (good && *cell_word(1, C_GENERATION) > 65535) {
		failed("%s: its generation is %u", what, *cell_word(1, C_GENERATION));
		good = false;
	}
	if (good)
		passed();
	end(&holder);
}

static int job_ids(int count)
{
	int last = -1, wraps = 0;
	while (count-- > 0) {
		int id = shmget(IPC_PRIVATE, 1, 0600);
		if (id < 0 || shmctl(id, IPC_RMID, NULL) < 0)
			return -1;
		if (shmctl(id, IPC_RMID, NULL) != -1 || errno != EINVAL)
			return -2;
		wraps += id < last;
		last = id;
	}
	return wraps;
}

static void ids_begin_anew(void)
{
	struct actor holder;
	begin(&holder);
	*word(CURSOR_SEQ) = 65533;
	if (is(&holder, job_ids, 300, 1, "ids that begin anew") && is(&holder, job_goes_on, 0, 0, "ids that begin anew"))
		passed();
	end(&holder);
}

static int job_fill(int argument)
{
	int made = 0, limit = open("/proc/sys/kernel/shmmni", O_WRONLY | O_CLOEXEC);
	(void)argument;
	if (limit < 0 || write(limit, "32768\n", 6) != 6 || close(limit) < 0)
		return -1;
	while (shmget(0x10000 + made, 1, IPC_CREAT | IPC_EXCL | 0600) >= 0)
		made++;
	return errno == ENOSPC ? made : -1;
}

static int job_find(int count)
{
	struct shmid_ds d;
	for (int i = 0; i < count; i++) {
		int id = shmget(0x10000 + i, 0, 0);
		if (id < 0 || shmctl(id, IPC_STAT, &d) < 0 || d.shm_perm.__key != 0x10000 + i)
			return i;
	}
	return count;
}

static int job_empty(int count)
{
	for (int i = 0; i < count; i++)
		if (shmctl(shmget(0x10000 + i, 0, 0), IPC_RMID, NULL) < 0)
			return i;
	return count;
}

static int job_end_segment(int argument)
{
	(void)argument;
	return shmdt(the->address[0]);
}

static void no_slot_left(void)
{
	struct actor holder, other;
	struct answer answer;
	const char *what = "32768 segments";
	begin(&holder);
	actor_of(&other, OWNER);
	/* Each job has its patience, so that the many come in parts. */
	bool good = is(&other, job_fill, 0, SLOTS - 1, what) && is(&holder, job_find, SLOTS - 1, SLOTS - 1, what) &&
		    is(&holder, job_goes_on, 0, 0, what);
	actor_kill(&other);
	/* One who rebuilds the table finds all of them. */
	unlink(inside("registry"));
	good = good && is(&holder, job_end_segment, 0, 0, what);
	actor_kill(&holder);
	actor_of(&other, OWNER);
	good = good && is(&other, job_find, SLOTS - 1, SLOTS - 1, what) && is(&other, job_empty, SLOTS - 1, SLOTS - 1, what) &&
	       act(&other, job_whole_life, 0x7001, &answer, what);
	if (good && answer.value < 0)
		failed("%s: %s", what, the->text);
	else if (good && tree_files("segments") != 1)
		failed("%s: %ld files are left", what, tree_files("segments"));
	else if (good)
		passed();
	actor_kill(&other);
	end(&holder);
}

void test_wear(void)
{
	no_cell_left();
	no_record_left();
	generations_begin_anew();
	ids_begin_anew();
	if (full)
		no_slot_left();
}
