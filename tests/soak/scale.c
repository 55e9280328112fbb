/*
 * scale.c - many of everything, and too little of everything.
 *
 *   scale [--full] [--only CASE] [-v]
 *
 * Each case runs twice in one namespace, and up to five times as long as it grows. After each time nothing may be there any
 * more, the next operation must work, and in the end nothing may grow: what was made room for before is enough.
 */
#include "scale.h"

#include <getopt.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct common *common;
struct actor observer;

int wrong(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(common->text, sizeof common->text, format, arguments);
	va_end(arguments);
	return -1;
}

bool well(struct actor *actor, job *job, int argument, const char *what)
{
	struct answer answer;
	enum heard heard = SILENT;
	if (actor_send(actor, job, argument))
		heard = actor_hear(actor, &answer, 240000);
	if (heard == HEARD && answer.value >= 0)
		return true;
	failed("%s: %s", what,
	       heard == SILENT ? "it hangs" : heard == GONE ? "its process is gone" : common->text[0] ? common->text : "it fails");
	return false;
}

static int job_nattch(int id)
{
	struct shmid_ds d;
	return shmctl(id, IPC_STAT, &d) < 0 ? -errno : (int)d.shm_nattch;
}

long nattch_seen(int id)
{
	struct answer answer;
	if (!actor_send(&observer, job_nattch, id) || actor_hear(&observer, &answer, 60000) != HEARD)
		return -ETIMEDOUT;
	return answer.value;
}

void wait_until(_Atomic int *word, int value)
{
	while (*word < value)
		usleep(500);
}

static const struct scene {
	const char *name;
	void (*run)(int);
	int few, many;
	const char *size; /* of a tmpfs of its own */
} scenes[] = {
	{ "segments", many_segments, 4096, 4096, NULL },
	{ "all-segments", many_segments, 0, 32768, NULL },
	{ "processes", many_processes, 200, 2000, NULL },
	{ "attaches", many_attaches, 5000, 5000, NULL },
	{ "fork-bomb", fork_bomb, 150, 500, NULL },
	{ "fork-tree", fork_tree, 10, 24, NULL },
	{ "address-space", address_space, 32, 512, NULL },
	{ "maps", maps, 0, 1, NULL },
	{ "all-records", all_records, 0, 524288, NULL },
	{ "full", full, 3, 25, "16m" },
	{ "no-inodes", no_inodes, 3, 25, "16m,nr_inodes=48" },
	{ "no-descriptors", no_descriptors, 8, 24, NULL },
};

/* The namespace remembers its last 4096 events: what these take is no growth any more when they are there. */
static int job_fill_events(int key)
{
	for (int i = 0; i < 4096; i++)
		if (job_life(key) < 0)
			return -1;
	return 0;
}

static void play(const struct scene *scene, int amount)
{
	enum { TIMES = 5 };
	long began = milliseconds(), before = -1;
	long failures = counted.failed;
	int times = 0;

	if (!place(false, scene->size)) {
		skipped("%s: no right to mount a file system of its own", scene->name);
		return;
	}
	actor_start(&observer);
	if (actor_do(&observer, job_fill_events, 0x7005).value < 0)
		fatal("%s: %s", scene->name, the->text);
	/* Twice; and more often where it grows the second time as well, as where what was refused the first time differs. */
	for (bool grows = true; grows && times < TIMES && counted.failed == failures;) {
		memset(common, 0, sizeof *common);
		scene->run(amount);
		times++;
		if (counted.failed != failures || !ground_is_empty(&observer, 1, scene->name))
			break;
		long blocks = place_blocks();
		/* A liveness file may be found locked by one who only looks. */
		grows = times == 1 || (before >= 0 && blocks > before + 8);
		if (grows && times == TIMES)
			failed("%s: %ld blocks are in use after %d times, %ld after one more", scene->name, before,
			       TIMES - 1, blocks);
		before = blocks;
	}
	actor_kill(&observer);
	place_end();
	if (counted.failed == failures)
		passed();
	printf("%-16s %6d %d times in %5ld ms", scene->name, amount, times, milliseconds() - began);
	for (int i = 0; i < 8 && common->figure[i]; i++)
		printf("%s%ld", i ? ", " : ": ", common->figure[i]);
	putchar('\n');
	fflush(stdout);
}

int main(int count, char **arguments)
{
	static const struct option options[] = { { "full", 0, 0, 'f' }, { "only", 1, 0, 'o' }, { 0 } };
	const char *only = NULL;
	bool all = false;
	int option;

	while ((option = getopt_long(count, arguments, "v", options, NULL)) >= 0)
		switch (option) {
		case 'f': all = true; break;
		case 'o': only = optarg; break;
		case 'v': verbose = true; break;
		default: return 2;
		}
	common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (common == MAP_FAILED)
		fatal("mmap: %s", strerror(errno));
	ground_begin();
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
		int amount = all ? scenes[i].many : scenes[i].few;
		if (only ? strcmp(only, scenes[i].name) == 0 : amount > 0)
			play(&scenes[i], amount ? amount : scenes[i].many);
	}
	return count_up();
}
