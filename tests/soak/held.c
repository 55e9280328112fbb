/*
 * held.c - a process that is stopped inside the table's critical section, in each operation that has one: others wait
 * for it. It goes on, or is killed, and they get on at once; nothing is lost by that.
 */
#include "stops.h"

#include <signal.h>
#include <sys/ptrace.h>

enum { WAITERS = 3 };

/* Stops a victim there, if the table is locked there. */
static void one(const struct op *op, struct point point, bool kill_it, long *held)
{
	struct world world;
	struct actor victim, waiter[WAITERS];
	struct tracee tracee;
	struct answer answer;
	struct tally tally = { 0 };
	char text[1500] = "";
	bool good = true;

	world_make(&world, 0);
	if (op->arrange)
		op->arrange(&world);
	prepare_victim(op, &victim);
	for (int i = 0; i < WAITERS; i++)
		actor_start(&waiter[i]);
	if (!begin_victim(op, &victim, &tracee))
		fatal("%s does not begin", op->name);
	if (trace_to(&tracee, point) == REACHED && table_is_locked()) {
		++*held;
		for (int i = 0; i < WAITERS; i++)
			actor_send(&waiter[i], job_neighbour, 0x7100 + i);
		/* Some are asleep by now, and one has perhaps looked whether the owner lives. */
		if (actor_hear(&waiter[0], &answer, 30) == HEARD) {
			snprintf(text, sizeof text, "another gets on although the table is locked");
			good = false;
		}
		long began = milliseconds();
		if (kill_it) {
			kill_and_wait(tracee.pid);
			if (tracee.pid == victim.pid)
				actor_is_gone(&victim);
		} else {
			trace_let_go(&tracee);
		}
		for (int i = good ? 0 : WAITERS; i < WAITERS && good; i++) {
			enum heard heard = actor_hear(&waiter[i], &answer, HANG_MS);
			good = heard == HEARD && answer.value >= 0;
			if (!good)
				snprintf(text, sizeof text, "%ld ms later one that waited %.400s", milliseconds() - began,
					 heard == SILENT ? "waits still" : heard == GONE ? "is dead" : the->text);
		}
	}
	for (int i = 0; i < WAITERS; i++)
		actor_kill(&waiter[i]);
	end_victim(&victim, &tracee);
	/* It may have forked when nobody followed it any more. */
	kill_strays(world.holder.pid);
	good = good && clean_up(op, &world, text, sizeof text, &tally);
	world_end(&world);
	if (good)
		passed();
	else
		failed("%s, stopped at %d,%d and %s: %s", op->name, point.stop, point.change,
		       kill_it ? "killed" : "continued", text);
}

/* How many places there are to stop, and where the table is locked. */
static struct profile profile_of(const struct op *op)
{
	struct world world;
	struct actor victim;
	struct tracee tracee;
	struct profile profile;
	world_make(&world, 0);
	if (op->arrange)
		op->arrange(&world);
	prepare_victim(op, &victim);
	if (!begin_victim(op, &victim, &tracee))
		fatal("%s does not begin", op->name);
	trace_profile(&tracee, &profile, true);
	end_victim(&victim, &tracee);
	world_end(&world);
	return profile;
}

void test_held(int points_each, unsigned long long *seed)
{
	long held = 0;
	unsetenv("SHMSHIM_SCOPE");
	for (int i = 0; i < op_count; i++) {
		const struct op *op = &ops[i];
		/* Who makes a lost table again has it for himself. The neighbour is of the same user, and keeps its segments. */
		if (op->flags & (HEAVY | EMPTY | SYSTEM | HUGE_PAGES | FORCED) || strcmp(op->name, "make-lost-table") == 0)
			continue;
		struct profile profile = profile_of(op);
		for (int k = 0; k < points_each && profile.total_changes > 0; k++) {
			int at = (int)pick(seed, profile.total_changes), stop = profile.first;
			while (at >= profile.changes[stop])
				at -= profile.changes[stop++];
			one(op, (struct point){ stop, at + 1 }, k % 2 == i % 2, &held);
		}
		free(profile.changes);
		free(profile.locked);
	}
	printf("stopped at chosen places: %ld times with the table locked\n", held);
	if (held == 0 && points_each > 0)
		failed("at none of the chosen places the table was locked");
}
