/*
 * crash.c - kills a program at every point of every operation, and asks the next one what it finds.
 *
 *   crash [--kernel] [--sample N] [--only OPERATION] [--after OPERATION@STOP,CHANGE] [--point STOP,CHANGE]
 *         [--handlers yes|no] [--variant N] [--seed N] [--list] [-v]
 *
 * --sample N  at most N points of each kind per operation; none means all
 * --handlers  whether the programs have signal handlers; without it both in turns with --sample, else both of each
 * --kernel    no kills: every operation once on the kernel's own segments, which shows that what is expected is true
 * --after     the operation meets what a program killed there has left: it is the one that recovers
 */
#include "crash.h"

#include <getopt.h>
#include <sys/prctl.h>
#include <time.h>

static struct tally tally;
static long all_stops, all_changes;
static int operations, not_run;
static unsigned long long random_state = 1;

static unsigned pick(unsigned below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(random_state >> 33) % below;
}

/* An operation, and a kill that came before it. */
struct task {
	const struct op *op, *first;
	struct point first_point;
};

/* Kills the victim, and lets those go on who were stopped with it. Who remains may have something attached. */
static bool kill_victim(struct world *world, struct actor *victim, struct tracee *tracee,
			char *text, size_t size)
{
	struct answer answer;
	bool good = true;

	kill_and_wait(tracee->pid);
	if (tracee->pid == victim->pid)
		actor_is_gone(victim);
	if (!tracee->other)
		return true;
	world->extra[world->extras++] = tracee->other;
	if (tracee->other == victim->pid) {
		/* The parent lives on. */
		if (actor_hear(victim, &answer, HANG_MS) != HEARD) {
			snprintf(text, size, "the parent hangs in fork");
			good = false;
		}
	} else {
		bool waited = tracee->other_waits;
		trace_release_other(tracee);
		if (!(waited ? child_spoke() : tracee->other_spoke)) {
			snprintf(text, size, "the child hangs in fork");
			good = false;
		}
	}
	return good;
}

/* One kill, or with `profile` none: the operation runs to its end and its points are counted. */
static bool run(const struct task *task, const struct point *point, struct profile *profile, bool steps, int variant)
{
	struct world world;
	struct actor victim, earlier = { .pid = 0 };
	struct tracee tracee;
	char text[1500] = "", where[200];
	const struct op *op = task->op;
	enum reached reached;
	int allowed = 3;

	world_make(&world, op->flags);
	if (!task->first && op->arrange)
		op->arrange(&world);
	prepare_victim(op, &victim);
	if (task->first) {
		/* Prepared before the first is killed, so that it meets what the first leaves in its operation. */
		void *addresses[8];
		struct tracee first;
		memcpy(addresses, the->address, sizeof addresses);
		if (task->first->arrange)
			task->first->arrange(&world);
		prepare_victim(task->first, &earlier);
		if (!begin_victim(task->first, &earlier, &first) || trace_to(&first, task->first_point) != REACHED)
			tally.missed++;
		kill_and_wait(first.pid);
		actor_is_gone(&earlier);
		actor_kill(&earlier);
		memcpy(the->address, addresses, sizeof addresses);
	}
	if (!begin_victim(op, &victim, &tracee))
		fatal("%s does not begin", op->name);
	if (profile)
		reached = trace_profile(&tracee, profile, steps);
	else
		reached = trace_to(&tracee, *point);
	if (reached > PASSED && !task->first)
		allowed = 2;
	if (!profile && reached != REACHED) {
		tally.missed++;
		if (verbose)
			printf("%s: point %d,%d is not there\n", op->name, point->stop, point->change);
	}
	bool good = kill_victim(&world, &victim, &tracee, text, sizeof text);
	if (reached == STUCK || (reached == DIED && !(op->flags & ENDS))) {
		snprintf(text, sizeof text, "the operation %s", reached == STUCK ? "does not end" : "kills its process");
		good = false;
	}
	good = good && look_after(op, &world, variant, allowed, text, sizeof text);
	bool good_end = false;
	char end_text[1500] = "";
	actor_kill(&victim);
	if (good)
		good_end = clean_up(op, &world, end_text, sizeof end_text, &tally);
	world_end(&world);
	tally.tried++;
	if (good && good_end)
		return true;
	tally.failed++;
	snprintf(where, sizeof where, profile ? "its end" : "point %d,%d variant %d", point ? point->stop : 0,
		 point ? point->change : 0, variant);
	snprintf(where + strlen(where), sizeof where - strlen(where), " with%s handlers", the->handlers ? "" : "out");
	if (task->first)
		snprintf(where + strlen(where), sizeof where - strlen(where), " after %s@%d,%d", task->first->name,
			 task->first_point.stop, task->first_point.change);
	failure(op->name, where, good ? end_text : text);
	return false;
}

/* Up to `sample` of `count` numbers, spread by chance; all when `sample` is 0. */
static bool chosen(int sample, int *left, int *wanted)
{
	bool take = sample == 0 || (int)pick(*left) < *wanted;
	--*left;
	*wanted -= take;
	return take;
}

static void all_points(const struct task *task, int sample, struct profile *kept)
{
	struct profile profile;
	struct tally before = tally;
	int variant = (int)pick(20);

	run(task, NULL, &profile, true, variant);
	int points = profile.stops - profile.first, left = points, wanted = sample && sample < left ? sample : left;
	for (int stop = profile.first; stop < profile.stops; stop++)
		if (chosen(sample, &left, &wanted))
			run(task, &(struct point){ stop, 0 }, NULL, false, variant++ % 20);
	int changes = 0;
	for (int stop = profile.first; stop < profile.stops; stop++)
		changes += profile.changes[stop];
	left = changes;
	wanted = sample && sample < left ? sample : left;
	for (int stop = profile.first; stop < profile.stops; stop++)
		for (int change = 1; change <= profile.changes[stop]; change++)
			if (chosen(sample, &left, &wanted))
				run(task, &(struct point){ stop, change }, NULL, false, variant++ % 20);
	all_stops += points;
	all_changes += changes;
	printf("%-24s %-9s %4d system call stops, %5d table changes: %5ld tried, %ld failed", task->op->name,
	       the->handlers ? "handlers" : "", points, changes,
	       tally.tried - before.tried, tally.failed - before.failed);
	if (task->first)
		printf("   (after %s killed at %d,%d)", task->first->name, task->first_point.stop,
		       task->first_point.change);
	putchar('\n');
	fflush(stdout);
	if (kept)
		*kept = profile;
	else
		free(profile.changes), free(profile.locked);
}

/* Where a trial takes a second, not every point even in the full form. */
static int heavy_sample(int sample) { return sample == 0 ? 120 : sample > 8 ? sample / 4 : sample; }

/*
 * Killed all through the repair of what one has left who was killed as he let go of a segment that goes with its last user.
 * Then the next one asks for the sums, before anything else, and they must not count that segment.
 */
static void sums_after_repairs(int times)
{
	enum { HOLDER_SUMS_UP = 7 };
	struct task first = { .op = op_named("detach-last-of-marked") };
	struct profile profile, second;
	struct tally before = tally;
	the->handlers = true;
	run(&first, NULL, &profile, true, 0);
	for (int stop = profile.first; stop < profile.stops; stop++) {
		if (!profile.locked[stop])
			continue;
		struct task task = { op_named("attach-held"), first.op, { stop, profile.changes[stop] < 10 ? profile.changes[stop] : 10 } };
		run(&task, NULL, &second, true, 0);
		int repair = second.first;
		for (int at = second.first; at < second.stops; at++)
			if (second.changes[at] > second.changes[repair])
				repair = at;
		for (int i = 0; i < times; i++) {
			int change = 1 + (second.changes[repair] - 1) * i / times;
			run(&task, &(struct point){ repair, change }, NULL, false, HOLDER_SUMS_UP);
		}
		free(second.changes), free(second.locked);
	}
	free(profile.changes), free(profile.locked);
	printf("%-24s sums after a repair that was not finished: %ld tried, %ld failed\n", "detach-last-of-marked",
	       tally.tried - before.tried, tally.failed - before.failed);
}

/* Who recovers is killed too, and so on: one kill after another inside the critical section. */
static void recoveries(int sample)
{
	static const struct { const char *first, *then; } pairs[] = {
		{ "create-keyed", "attach-held" }, { "detach-last-of-marked", "attach-held" },
		{ "remove", "attach-marked" }, { "attach", "detach-not-last" }, { "remove-attached", "stat" },
		{ "attach-first-call", "fork" }, { "reap-by-registering", "attach-held" }, { "set", "fork-child-dies" },
	};
	int count = sizeof pairs / sizeof *pairs;
	for (int i = 0; i < count; i++) {
		struct task first = { .op = op_named(pairs[i].first) };
		struct profile profile;
		the->handlers = i % 2;
		run(&first, NULL, &profile, true, 0);
		/* In the middle of each stretch that holds the lock. */
		for (int stop = profile.first; stop < profile.stops; stop++) {
			if (!profile.locked[stop] || (sample && pick(2)))
				continue;
			struct task task = { op_named(pairs[i].then), first.op,
					     { stop, 1 + (int)pick(profile.changes[stop]) } };
			all_points(&task, sample ? (sample + 3) / 4 : 150, NULL);
		}
		free(profile.changes), free(profile.locked);
	}
}

/* Every operation without a kill: is what we expect what the kernel does? */
static bool run_plain(const struct op *op)
{
	struct world world;
	struct actor victim;
	struct answer answer = { 0, 0 };
	char text[1500] = "";

	if (op->flags & (SHIM_ONLY | FORKS))
		return true;
	world_make(&world, op->flags);
	if (op->arrange)
		op->arrange(&world);
	actor_start(&victim);
	bool good = !op->prepare || actor_do(&victim, op->prepare, 0).value == 0;
	actor_send(&victim, op->act, 0);
	enum heard heard = actor_hear(&victim, &answer, HANG_MS);
	if (op->flags & ENDS ? heard == SILENT : heard != HEARD || answer.value != 0) {
		snprintf(text, sizeof text, "the operation fails: %s", strerror(answer.error));
		good = false;
	}
	actor_kill(&victim);
	good = good && look_after(op, &world, 0, 2, text, sizeof text) &&
	       clean_up(op, &world, text, sizeof text, &tally);
	world_end(&world);
	tally.tried++;
	if (!good) {
		tally.failed++;
		failure(op->name, "its end, on the kernel", text);
	}
	return good;
}

static bool parse_point(const char *text, struct point *point)
{
	point->change = 0;
	return sscanf(text, "%d,%d", &point->stop, &point->change) >= 1;
}

int main(int count, char **arguments)
{
	static const struct option options[] = {
		{ "kernel", 0, 0, 'k' }, { "sample", 1, 0, 's' }, { "only", 1, 0, 'o' }, { "after", 1, 0, 'a' },
		{ "point", 1, 0, 'p' }, { "variant", 1, 0, 'V' }, { "seed", 1, 0, 'r' }, { "list", 0, 0, 'l' },
		{ "chains", 0, 0, 'c' }, { "handlers", 1, 0, 'h' }, { 0 },
	};
	bool kernel = false, chains = false;
	int sample = 0, option, variant = 0;
	const char *only = NULL, *after = NULL, *at = NULL, *handlers = NULL;
	struct point point;

	while ((option = getopt_long(count, arguments, "v", options, NULL)) >= 0)
		switch (option) {
		case 'k': kernel = true; break;
		case 'c': chains = true; break;
		case 's': sample = atoi(optarg); break;
		case 'o': only = optarg; break;
		case 'a': after = optarg; break;
		case 'p': at = optarg; break;
		case 'h': handlers = optarg; break;
		case 'V': variant = atoi(optarg); break;
		case 'r': random_state = strtoull(optarg, NULL, 0); break;
		case 'v': verbose = true; break;
		case 'l':
			for (int i = 0; i < op_count; i++)
				puts(ops[i].name);
			return 0;
		default: return 2;
		}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	base_begin(kernel);
	atexit(base_end);
	for (int i = 0; i < op_count && !chains; i++) {
		struct task task = { .op = &ops[i] };
		if (only && strcmp(only, ops[i].name) != 0)
			continue;
		if (ops[i].flags & SYSTEM && !kernel && geteuid() != 0) {
			printf("SKIP %s: not root, so there are no other users\n", ops[i].name);
			not_run++;
			continue;
		}
		if (ops[i].flags & HUGE_PAGES && !has_huge_pages()) {
			if (!kernel) {
				printf("SKIP %s: no hugetlbfs can be mounted\n", ops[i].name);
				not_run++;
			}
			continue;
		}
		operations++;
		if (after) {
			char name[64];
			if (sscanf(after, "%63[^@]@%d,%d", name, &task.first_point.stop, &task.first_point.change) != 3)
				fatal("--after OPERATION@STOP,CHANGE");
			task.first = op_named(name);
		}
		if (kernel)
			run_plain(&ops[i]);
		else if (at && parse_point(at, &point)) {
			the->handlers = handlers && *handlers == 'y';
			run(&task, &point, NULL, false, variant);
		} else
			for (int with = 0; with < 2; with++) {
				if (handlers ? with != (*handlers == 'y') : sample && with == i % 2)
					continue;
				the->handlers = with;
				all_points(&task, ops[i].flags & HEAVY ? heavy_sample(sample) : sample, NULL);
			}
	}
	if (!only && !kernel) {
		recoveries(sample);
		sums_after_repairs(sample ? 12 : 60);
	}
	if (tally.missed)
		printf("%ld points were not reached: the operation had ended\n", tally.missed);
	if (tally.late)
		printf("%ld times a file went only when somebody listed all segments\n", tally.late);
	if (!kernel)
		printf("%d operations, %ld system call stops and %ld table changes in them; %ld kills, %ld failures\n", operations,
		       all_stops, all_changes, tally.tried, tally.failed);
	printf("%ld passed, %ld failed, %d skipped\n", tally.tried - tally.failed, tally.failed, not_run);
	return tally.failed != 0;
}
