/* attaches.c - many attaches of one process, and as many pairs of process and segment as there can be. */
#include "scale.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

/* --- attaches of one process */

enum { KINDS = 50 };

static long lines_of_maps(void)
{
	char line[600];
	long lines = 0;
	FILE *file = fopen("/proc/self/maps", "re");
	while (file && fgets(line, sizeof line, file))
		lines += strchr(line, '\n') != NULL;
	if (file)
		fclose(file);
	return lines;
}

static long resident_pages(void)
{
	long resident = 0;
	FILE *file = fopen("/proc/self/statm", "re");
	if (file && fscanf(file, "%*d %ld", &resident) != 1)
		resident = -1;
	if (file)
		fclose(file);
	return resident;
}

static void **places;
static long lines_before, resident_before;

static int job_attach_all(int count)
{
	lines_before = lines_of_maps();
	resident_before = resident_pages();
	places = malloc(count * sizeof *places);
	for (int k = 0; k < KINDS; k++) {
		common->id[k] = shmget(k % 2 ? IPC_PRIVATE : 0x5000 + k, (1 + k % 3) * PAGE, IPC_CREAT | 0600);
		if (common->id[k] < 0)
			return wrong("shmget: %s", strerror(errno));
	}
	for (int i = 0; i < count; i++) {
		/* Half of them of the first one. */
		int k = i % 2 ? 0 : i / 2 % KINDS;
		places[i] = shmat(common->id[k], NULL, i % 3 == 0 ? SHM_RDONLY : 0);
		if (places[i] == (void *)-1)
			return wrong("attach %d: %s", i, strerror(errno));
		if (i % 3)
			*(volatile int *)places[i] = k + 1;
	}
	return 0;
}

static long attaches_of_kind(int kind, int count)
{
	long all = 0;
	for (int i = 0; i < count; i++)
		all += (i % 2 ? 0 : i / 2 % KINDS) == kind;
	return all;
}

static int job_fork_once(int argument)
{
	(void)argument;
	common->arrived = common->go = 0;
	pid_t pid = fork();
	if (pid == 0) {
		common->arrived = 1;
		while (!common->go)
			usleep(500);
		_exit(0);
	}
	common->pid[0] = pid;
	return pid < 0 ? wrong("fork: %s", strerror(errno)) : 0;
}

static int job_end_child(int argument)
{
	(void)argument;
	common->go = 1;
	return waitpid(common->pid[0], NULL, 0) == common->pid[0] ? 0 : wrong("waitpid: %s", strerror(errno));
}

static int job_detach_all(int count)
{
	for (int i = 0; i < count; i++) {
		int at = (int)((long)i * 7 % count); /* count and 7 have no common divisor */
		if (shmdt(places[at]) < 0)
			return wrong("detaching %d: %s", at, strerror(errno));
	}
	free(places);
	long lines = lines_of_maps(), resident = resident_pages();
	/* The pages that the C library and the shim's own books have touched meanwhile stay. */
	if (lines > lines_before + 8)
		return wrong("%ld mappings before, %ld after", lines_before, lines);
	if (resident > resident_before + 512)
		return wrong("%ld resident pages before, %ld after", resident_before, resident);
	return 0;
}

static int job_remove_kinds(int count)
{
	(void)count;
	for (int k = 0; k < KINDS; k++)
		if (shmctl(common->id[k], IPC_RMID, NULL) < 0)
			return wrong("removing %d: %s", k, strerror(errno));
	return 0;
}

static bool counts_are(int count, int times, const char *when)
{
	for (int k = 0; k < KINDS; k++) {
		long expected = attaches_of_kind(k, count) * times, seen = nattch_seen(common->id[k]);
		if (seen != expected) {
			failed("%s: segment %d has nattch %ld, not %ld", when, k, seen, expected);
			return false;
		}
	}
	return true;
}

void many_attaches(int count)
{
	struct actor holder;
	struct books books;
	actor_start(&holder);
	if (well(&holder, job_attach_all, count, "many attaches") && counts_are(count, 1, "many attaches") &&
	    well(&holder, job_fork_once, 0, "forking with many attaches") &&
	    (wait_until(&common->arrived, 1), counts_are(count, 2, "with a child")) &&
	    well(&holder, job_end_child, 0, "a child with many attaches") && counts_are(count, 1, "without the child") &&
	    well(&holder, job_detach_all, count, "detaching all") && counts_are(count, 0, "all detached")) {
		/* While it still lives. */
		if (table_books(&books) && books.records != 0)
			failed("many attaches: %u records are in use after all are detached", books.records);
		table_forget();
		well(&holder, job_remove_kinds, 0, "removing them");
	}
	actor_kill(&holder);
}

/* --- all records */

enum { RECORDS = 524288, HALF = 8 };

static int job_make_all(int count)
{
	if (set_shmmni(SLOTS) < 0)
		return -1;
	for (int i = 0; i < count; i++)
		if ((common->all[i] = shmget(IPC_PRIVATE, PAGE, 0600)) < 0)
			return wrong("segment %d: %s", i, strerror(errno));
	return 0;
}

static int job_remove_each(int count)
{
	for (int i = 0; i < count; i++)
		if (shmctl(common->all[i], IPC_RMID, NULL) < 0)
			return wrong("removing segment %d: %s", i, strerror(errno));
	return 0;
}

/* Attaches each segment once; as many as it could. */
static int job_attach_each(int count)
{
	int done = 0;
	places = calloc(count, sizeof *places);
	while (done < count && (places[done] = shmat(common->all[done], NULL, SHM_RDONLY)) != (void *)-1)
		done++;
	return done == count || errno == ENOMEM ? done : wrong("attach %d: %s", done, strerror(errno));
}

/* A child for which there is no record detaches, and nobody else has less for it. */
static int job_fork_uncounted(int argument)
{
	int status;
	(void)argument;
	pid_t pid = fork();
	if (pid == 0)
		_exit(shmdt(places[0]) < 0 || shmdt(places[SLOTS - 1]) < 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		return wrong("a child for which there is no record: %s", strerror(errno));
	return 0;
}

static bool every_count_is(int expected, const char *when)
{
	/* Each look is at all who have it: some of all will do. */
	for (int i = 0; i < SLOTS; i += 1011) {
		long seen = nattch_seen(common->all[i]);
		if (seen != expected) {
			failed("%s: segment %d has nattch %ld, not %d", when, i, seen, expected);
			return false;
		}
	}
	return true;
}

/* As many processes with each of 32768 segments as there are records for, and one more. */
void all_records(int count)
{
	struct actor actor[RECORDS / SLOTS], late;
	struct answer answer;
	bool good = actor_do(&observer, job_make_all, SLOTS).value == 0;
	(void)count;

	if (!good)
		failed("all records: %s", common->text);
	for (int i = 0; i < RECORDS / SLOTS; i++) {
		actor_start(&actor[i]);
		actor_send(&actor[i], job_attach_each, SLOTS);
	}
	actor_start(&late);
	for (int i = 0; i < RECORDS / SLOTS && good; i++)
		if (actor_hear(&actor[i], &answer, 240000) != HEARD || answer.value != SLOTS) {
			failed("all records: process %d of %d has attached %d segments: %s", i, RECORDS / SLOTS, answer.value,
			       common->text);
			good = false;
		}
	if (good && actor_do(&late, job_attach_each, SLOTS).value != 0) {
		failed("all records: one more than there can be is attached");
		good = false;
	}
	good = good && every_count_is(RECORDS / SLOTS, "all records") &&
	       well(&actor[0], job_fork_uncounted, 0, "all records") &&
	       every_count_is(RECORDS / SLOTS, "all records, behind a child that is not counted");
	long began = milliseconds();
	for (int i = 0; i < HALF; i++)
		kill(actor[i].pid, SIGKILL);
	for (int i = 0; i < HALF; i++)
		actor_kill(&actor[i]);
	common->figure[0] = milliseconds() - began;
	began = milliseconds();
	good = good && every_count_is(RECORDS / SLOTS - HALF, "half of them killed");
	common->figure[1] = milliseconds() - began;
	if (good && actor_do(&late, job_attach_each, SLOTS).value != SLOTS)
		failed("all records: what the dead have left cannot be had: %s", common->text);
	good = good && every_count_is(RECORDS / SLOTS - HALF + 1, "one more");
	actor_kill(&late);
	for (int i = HALF; i < RECORDS / SLOTS; i++)
		actor_kill(&actor[i]);
	well(&observer, job_remove_each, SLOTS, "all records");
}
