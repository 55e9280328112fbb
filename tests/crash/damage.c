/*
 * damage.c - a wild pointer has written to the table, before or while others use it.
 *
 * Whatever the bytes are: no program may be killed by it, none may hang, and none may be shown what is not the
 * segment that it asked for. Calls may fail. Once the table is removed, the segments are found again by their files.
 */
#include "hostile.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

volatile unsigned char *table_open(size_t *size)
{
	struct stat status;
	int fd = open(inside("registry"), O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		return NULL;
	*size = status.st_size;
	void *table = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return table == MAP_FAILED ? NULL : table;
}

volatile uint32_t *slot_word(volatile unsigned char *table, unsigned slot, unsigned field)
{
	return (volatile uint32_t *)(table + SLOT_AREA + slot * 128 + field);
}

/* --- the damage */

static const struct area { const char *name; size_t start, size; } areas[] = {
	{ "the header", 0, 512 }, { "the lock", 64, 4 }, { "the header's counters", 128, 168 }, { "the journal", 424, 520 },
	{ "the bitmap", 4096, 64 }, { "the index", 8192, 4096 }, { "cells", CELL_AREA, 10 * 64 },
	{ "slots", SLOT_AREA, 10 * 128 }, { "slots", SLOT_AREA, 10 * 128 }, { "records", RECORD_AREA, 20 * 32 },
};
enum { AREAS = sizeof areas / sizeof *areas, MUTATIONS = 6 };

static char done_to[400];

static void damage(volatile unsigned char *table)
{
	const struct area *area = &areas[pick(AREAS)];
	size_t at = area->start + pick(area->size / 4) * 4;
	volatile uint32_t *word = (volatile uint32_t *)(table + at);
	size_t length = strlen(done_to);
	const char *how;

	switch (pick(7)) {
	case 0:
	case 1: how = "a bit flipped"; *word ^= 1u << pick(32); break;
	case 2: how = "a random word"; *word = pick(1u << 31) * 2 + pick(2); break;
	case 3: how = "a small number"; *word = pick(70); break;
	case 4: how = "all ones"; *word = UINT32_MAX; break;
	case 5: how = "64 zeros"; memset((void *)(table + at / 64 * 64), 0, 64); break;
	default: {
		size_t from = area->start + pick((area->size + 63) / 64) * 64;
		how = "a copy of a neighbour";
		memmove((void *)(table + at / 64 * 64), (const void *)(table + from), 64);
	}
	}
	if (length < sizeof done_to - 80)
		snprintf(done_to + length, sizeof done_to - length, " [%s in %s at %zu]", how, area->name, at);
}

/* --- the programs that meet it */

enum { SEGMENTS = 6, SIZE = 8192, FIRST_KEY = 0x600 };

int job_make_segments(int argument)
{
	(void)argument;
	for (int i = 0; i < SEGMENTS; i++) {
		int id = shmget(FIRST_KEY + i, SIZE, IPC_CREAT | IPC_EXCL | 0600);
		char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
		if (at == (void *)-1)
			return -1;
		world_add(id, FIRST_KEY + i, SIZE, 50 + i, 0600);
		fill(at, 50 + i, SIZE);
		the->address[i] = at;
		if (i % 2 && shmdt(at) < 0)
			return -1;
	}
	the->segment[SEGMENTS - 2].is[0].marked = true;
	return shmctl(the->segment[SEGMENTS - 2].id, IPC_RMID, NULL);
}

/* 0, or which segment showed what is not its own. */
static int show(int id, int segment)
{
	void *at = id < 0 ? (void *)-1 : shmat(id, NULL, SHM_RDONLY);
	if (at == (void *)-1)
		return 0;
	bool own = filled(at, segment < 0 ? 0 : 50 + segment, SIZE) || (the->zeros_too && filled(at, 0, SIZE));
	shmdt(at);
	return own ? 0 : segment < 0 ? 1000 : segment + 1;
}

/* Every call there is, whatever the answers. */
static int job_use(int times)
{
	struct shmid_ds d;
	struct shm_info info;
	char line[256];
	int foreign = 0;
	while (times-- > 0) {
		for (int i = 0; i < SEGMENTS; i++) {
			foreign = foreign ? foreign : show(shmget(FIRST_KEY + i, 0, 0), i);
			foreign = foreign ? foreign : show(the->segment[i].id, i);
			if (shmctl(the->segment[i].id, IPC_STAT, &d) == 0)
				shmctl(the->segment[i].id, IPC_SET, &d);
			shmctl(i, SHM_STAT_ANY, &d);
		}
		shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
		FILE *list = fopen("/proc/sysvipc/shm", "re");
		while (list && fgets(line, sizeof line, list))
			;
		if (list)
			fclose(list);
		int id = shmget(0x700 + times, SIZE, IPC_CREAT | IPC_EXCL | 0600);
		foreign = foreign ? foreign : show(id, -1);
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		if (child > 0)
			waitpid(child, NULL, 0);
		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
	}
	return foreign;
}

static int job_leave(int argument)
{
	(void)argument;
	for (int i = 0; i < SEGMENTS; i += 2)
		shmdt(the->address[i]);
	return 0;
}

static int job_scribble(int times)
{
	size_t size;
	volatile unsigned char *table = table_open(&size);
	while (table && times-- > 0)
		damage(table);
	return 0;
}

static int hangs, locked_out;

/* Whether the lock word names a process that is there: then nobody can know that it does not hold the lock. */
static bool names_the_living(uint32_t *word)
{
	char path[64];
	size_t size;
	volatile unsigned char *table = table_open(&size);
	if (!table)
		return false;
	*word = *(volatile uint32_t *)(table + 64);
	munmap((void *)table, size);
	snprintf(path, sizeof path, "live/%u", *word & 16383);
	int fd = open(inside(path), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool lives = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0;
	if (fd >= 0)
		close(fd);
	return lives && *word & 1u << 30;
}

static bool use(struct actor *actor, job *job, int argument, const char *who, unsigned long long from)
{
	struct answer answer;
	uint32_t word = 0;
	enum heard heard = SILENT;
	if (actor_send(actor, job, argument))
		heard = actor_hear(actor, &answer, 10000);
	if (heard == SILENT && names_the_living(&word)) {
		locked_out++;
		return false;
	}
	if (heard == SILENT) /* a damaged count of processes makes each look long */
		heard = actor_hear(actor, &answer, 50000);
	if (heard != HEARD) {
		hangs++;
		if (heard == SILENT && verbose) {
			/* For a reader who has asked to see what the process does. */
			printf("pid %d hangs\n", (int)actor->pid);
			fflush(stdout);
			sleep(600);
		}
		failed("damage, seed %llu:%s: %s %s (the lock is %#x)", from, done_to, who,
		       heard == GONE ? "is killed" : "hangs", word);
		return false;
	}
	if (answer.value <= 0)
		return true;
	failed("damage, seed %llu:%s: %s is shown foreign bytes%s", from, done_to, who,
	       answer.value == 1000 ? " in a new segment" : "");
	return false;
}

static void one_damage(bool at_once)
{
	struct actor holder, other, scribbler = { 0 };
	struct answer answer;
	unsigned long long from = seed; /* repeats this one: --damage=1 --seed */
	size_t size;
	bool good;

	pick(2);

	place("user", OWNER, 0700);
	done_to[0] = 0;
	/* Who writes all the time also writes into what is being made: into the key of a new segment. */
	the->zeros_too = at_once;
	actor_of(&holder, OWNER);
	actor_of(&other, OWNER);
	if (!act(&holder, job_make_segments, 0, &answer, "making segments") || answer.value != 0)
		fatal("no segments could be made");
	if (at_once) {
		actor_of(&scribbler, OWNER);
		snprintf(done_to, sizeof done_to, " [20000 at once]");
		actor_send(&scribbler, job_scribble, 20000);
	} else {
		volatile unsigned char *table = table_open(&size);
		if (!table)
			fatal("%s: %s", inside("registry"), strerror(errno));
		for (unsigned i = 1 + pick(MUTATIONS); i > 0; i--)
			damage(table);
		munmap((void *)table, size);
	}
	good = use(&other, job_use, at_once ? 10 : 1, "a new process", from) &&
	       use(&holder, job_use, at_once ? 10 : 1, "one that has segments attached", from) &&
	       use(&holder, job_leave, 0, "one that detaches", from);
	actor_kill(&scribbler);
	actor_kill(&holder);
	good = good && use(&other, job_use, 1, "one that meets the dead", from);
	actor_kill(&other);
	if (good && unlink(inside("registry")) == 0) {
		/* What the files say is what there is now. */
		actor_of(&other, OWNER);
		good = use(&other, job_use, 1, "one that makes the table again", from);
		actor_kill(&other);
	}
	if (good)
		passed();
	place_end();
}

/* --- files that are cut while nobody uses them */

static void one_cut(const char *name, long length, bool refuses)
{
	struct actor actor;
	struct answer answer;
	char path[600], what[700];

	place("user", OWNER, 0700);
	the->zeros_too = false;
	actor_of(&actor, OWNER);
	if (!act(&actor, job_make_segments, 0, &answer, "making segments") || answer.value != 0)
		fatal("no segments could be made");
	actor_kill(&actor);
	if (strcmp(name, "SYSV") == 0)
		snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, FIRST_KEY, the->segment[0].id);
	else
		snprintf(path, sizeof path, "%s", inside(name));
	snprintf(what, sizeof what, "%s cut to %ld bytes", name, length);
	if (truncate(path, length) < 0)
		fatal("%s: %s", path, strerror(errno));
	trace_clear();
	actor_of(&actor, OWNER);
	if (!act(&actor, job_use, 1, &answer, what))
		;
	else if (answer.value != 0)
		failed("%s: foreign bytes are shown", what);
	else if (refuses && !trace_says(path))
		failed("%s: the trace does not name it", what);
	else
		passed();
	actor_kill(&actor);
	place_end();
}

/* --- at chosen places: what is derived from the rest must be found out and made anew, and nothing be lost */

static volatile unsigned char *victim_table;

static volatile uint32_t *word_at(size_t offset) { return (volatile uint32_t *)(victim_table + offset); }
static volatile uint32_t *record_word(unsigned record, unsigned field) { return word_at(RECORD_AREA + record * 32 + field); }

static void no_counts(void) { memset((void *)(victim_table + 204), 0, 44); }
static void all_backed(void) { *word_at(204) = *word_at(208) = *word_at(212) = UINT32_MAX; }
static void loop_of_attachers(void)
{
	all_backed();
	for (unsigned record = 0; record < 128; record++)
		*record_word(record, 12) = record + 1;
}
static void loop_in_a_slot_being_changed(void)
{
	loop_of_attachers();
	for (unsigned slot = 0; slot < SEGMENTS; slot++)
		*slot_word(victim_table, slot, 0) |= 1;
}
static void slots_said_free(void)
{
	memset((void *)(victim_table + 4096), 0, 4096);
	*word_at(192) = *word_at(200) = 0;
	*word_at(196) = UINT32_MAX;
}
static void nothing_known_of_slots(void) { no_counts(), slots_said_free(); }
static void free_record_in_use(void) { *word_at(248) = 1; }
static void free_records_in_a_loop(void)
{
	for (unsigned record = 0; record < 128; record++)
		*record_word(record, 12) = 1;
	*word_at(248) = 2;
}
static void dying_said_live(void) { *word_at(240) = 1, *word_at(244) = 7; }
static void dying_in_a_loop(void)
{
	for (unsigned slot = 0; slot < 64; slot++)
		*slot_word(victim_table, slot, 108) = slot + 1;
	*word_at(240) = SEGMENTS, *word_at(244) = 3;
}
static void versions_odd(void)
{
	*word_at(128) |= 1;
	for (unsigned slot = 0; slot < 64; slot++)
		*slot_word(victim_table, slot, 0) |= 1;
}
static void lock_of_nobody(void) { *word_at(64) = 1u << 30 | 0x3fff; }
static void lock_without_owner(void) { *word_at(64) = 0x777; }
static void journal_of_nonsense(void)
{
	for (unsigned entry = 0; entry < 32; entry++)
		*word_at(432 + entry * 16) = 22556672 - 4 + entry, *word_at(436 + entry * 16) = entry % 2 ? 4 : 8;
	*word_at(428) = UINT32_MAX;
	*word_at(424) = 1;
	lock_of_nobody();
}

static const struct chosen {
	const char *name;
	void (*damage)(void);
} chosen[] = {
	{ "counts of zero", no_counts },
	{ "counts that say that all is backed", all_backed },
	{ "attachers that lead back into themselves", loop_of_attachers },
	{ "attachers that do, of slots being changed", loop_in_a_slot_being_changed },
	{ "slots that are said to be free", slots_said_free },
	{ "slots that are said to be free and not there", nothing_known_of_slots },
	{ "a free record that is in use", free_record_in_use },
	{ "free records that lead back into themselves", free_records_in_a_loop },
	{ "a live segment among the dying", dying_said_live },
	{ "dying segments that lead back into themselves", dying_in_a_loop },
	{ "versions that are odd for ever", versions_odd },
	{ "the lock held by nobody", lock_of_nobody },
	{ "a lock word without an owner", lock_without_owner },
	{ "a journal of nonsense", journal_of_nonsense },
};

/* How many of the segments can be found by key or id and show what is theirs. */
static int job_count_whole(int argument)
{
	int whole = 0;
	(void)argument;
	for (int i = 0; i < SEGMENTS; i++) {
		bool marked = the->segment[i].is[0].marked;
		int id = marked ? the->segment[i].id : shmget(FIRST_KEY + i, SIZE, 0);
		void *at = id != the->segment[i].id ? (void *)-1 : shmat(id, NULL, SHM_RDONLY);
		if (at == (void *)-1)
			continue;
		whole += filled(at, 50 + i, SIZE);
		shmdt(at);
	}
	return whole;
}

static void one_chosen(const struct chosen *chosen)
{
	struct actor holder, other;
	struct answer answer;
	size_t size;

	place("user", OWNER, 0700);
	snprintf(done_to, sizeof done_to, " [%s]", chosen->name);
	the->zeros_too = false;
	actor_of(&holder, OWNER);
	actor_of(&other, OWNER);
	if (!act(&holder, job_make_segments, 0, &answer, "making segments") || answer.value != 0)
		fatal("no segments could be made");
	victim_table = table_open(&size);
	if (!victim_table)
		fatal("%s: %s", inside("registry"), strerror(errno));
	chosen->damage();
	munmap((void *)victim_table, size);
	if (use(&other, job_use, 1, "a new process", 0) && use(&holder, job_use, 1, "one that has segments attached", 0) &&
	    act(&other, job_count_whole, 0, &answer, chosen->name)) {
		if (answer.value == SEGMENTS)
			passed();
		else
			failed("%s: only %d of %d segments are there", chosen->name, answer.value, SEGMENTS);
	}
	actor_kill(&holder);
	actor_kill(&other);
	place_end();
}

/* Everybody at once; what comes of it depends on who is when where. */
void test_scribbled(int rounds)
{
	for (int round = 0; round < rounds && hangs < 4 && locked_out < 20; round++)
		one_damage(true);
}

void test_damage(int rounds)
{
	for (int round = 0; round < rounds && hangs < 4 && locked_out < 20; round++)
		one_damage(round % 25 == 24);
	if (hangs >= 4)
		printf("damage: given up after %d programs that hung or were killed\n", hangs);
	if (locked_out)
		printf("damage: %d times the lock named a living process, and the others waited for it\n", locked_out);
	for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++)
		one_chosen(&chosen[i]);
	static const long lengths[] = { 0, 1, 4095, 4096, 8192, 1 << 20, 22294527 };
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		one_cut("registry", lengths[i], true);
	one_cut("registry", 1 << 26, true);
	one_cut("SYSV", 0, true);
	one_cut("SYSV", SIZE / 2, true);
	one_cut("SYSV", SIZE * 2, false);
	one_cut("live/0", 0, false);
	one_cut("live/0", 1 << 20, false);
}
