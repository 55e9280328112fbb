/* race.c - processes that make the namespace at the same time, and processes that are stopped in the middle. */
#include "hostile.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { KEY = 0x4321, SIZE = 8192, MANY = 16 };

static int job_make(int argument)
{
	(void)argument;
	mark(BEGIN_MARK);
	int id = shmget(KEY, SIZE, IPC_CREAT | 0600);
	int error = errno;
	mark(END_MARK);
	errno = error;
	return id;
}

/*
 * One process is stopped at a beginning or end of a system call of its first call, another makes its own first call
 * from beginning to end, then the first goes on. Both must succeed, with the same segment.
 */
static bool pause_at(int stop, bool lost_table)
{
	struct world world;
	struct actor first, second;
	struct tracee tracee;
	struct answer one = { -1, 0 }, two = { -1, 0 };
	bool more = false;
	const char *what = lost_table ? "a lost table made again" : "a namespace made first";

	place("user", geteuid(), 0700);
	if (lost_table) {
		actor_start(&world.holder);
		if (actor_do(&world.holder, job_make, 0).value < 0)
			fatal("no segment could be made");
		actor_kill(&world.holder);
		unlink(inside("registry"));
	}
	actor_start(&first);
	if (!trace_attach(&tracee, first.pid, FOLLOW_PARENT))
		fatal("ptrace: %s", strerror(errno));
	actor_send(&first, job_make, 0);
	if (!trace_to_beginning(&tracee))
		fatal("%s does not begin", what);
	enum reached reached = trace_to(&tracee, (struct point){ stop, 0 });
	if (reached == REACHED) {
		more = true;
		bool held = table_is_locked();
		actor_start(&second);
		actor_send(&second, job_make, 0);
		/* Who need not wait may be slow all the same; who must, only has to have begun. */
		bool waits = actor_hear(&second, &two, held || lost_table ? 20 : HANG_MS) != HEARD;
		if (waits && !held && !lost_table)
			failed("%s: one that is stopped at %d holds up another", what, stop);
		trace_let_go(&tracee);
		if (actor_hear(&first, &one, HANG_MS) != HEARD || (waits && actor_hear(&second, &two, HANG_MS) != HEARD))
			failed("%s: after a stop at %d one of two hangs", what, stop);
		else if (one.value < 0 || two.value < 0)
			failed("%s: after a stop at %d one says %d (%s), the other %d (%s)", what, stop, one.value,
			       strerror(one.error), two.value, strerror(two.error));
		else if (one.value != two.value)
			failed("%s: after a stop at %d they have ids %d and %d for one key", what, stop, one.value,
			       two.value);
		else if (tree_files("") - tree_files("live") != 5)
			failed("%s: after a stop at %d %ld files are there, not 5", what, stop,
			       tree_files("") - tree_files("live"));
		else
			passed();
		actor_kill(&second);
	} else {
		kill_and_wait(tracee.pid);
		actor_is_gone(&first);
	}
	actor_kill(&first);
	place_end();
	return more;
}

/* --- many at once */

static int barrier[2];

static int job_race(int number)
{
	char byte;
	close(barrier[1]);
	if (read(barrier[0], &byte, 1) < 0)
		return -1;
	int id = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0666);
	int winner = id >= 0;
	if (id < 0 && errno == EEXIST)
		id = shmget(KEY, SIZE, 0);
	char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (at == (void *)-1)
		return -1;
	at[number] = (char)(number + 1);
	/* Everybody's own, too. */
	int own = shmget(IPC_PRIVATE, SIZE, 0600);
	if (own < 0 || shmctl(own, IPC_RMID, NULL) < 0)
		return -1;
	/* Ids begin at 2^30 or above, and the answer is an int. */
	return (id & ~(1 << 30)) * 2 + winner;
}

/* What several users share is made by root; then they come at once. */
static void crowd(const char *scope, bool many_uids, int round)
{
	struct actor racer[MANY];
	struct answer answer[MANY];
	int winners = 0;
	bool good = true;

	place(scope, many_uids ? 0 : geteuid() ? geteuid() : OWNER, 01777);
	if (many_uids) {
		actor_of(&racer[0], 0);
		actor_do(&racer[0], job_reap, 0);
		actor_kill(&racer[0]);
	}
	if (pipe(barrier) < 0)
		fatal("pipe: %s", strerror(errno));
	for (int i = 0; i < MANY; i++) {
		actor_of(&racer[i], OWNER + (many_uids ? i % 3 : 0));
		actor_send(&racer[i], job_race, i);
	}
	close(barrier[1]);
	close(barrier[0]);
	for (int i = 0; i < MANY && good; i++) {
		if (actor_hear(&racer[i], &answer[i], HANG_MS) != HEARD || answer[i].value < 0) {
			failed("%s scope, round %d: one of %d racers fails: %s", scope, round, MANY,
			       strerror(answer[i].error));
			good = false;
		} else {
			winners += answer[i].value & 1;
			if (answer[i].value / 2 != answer[0].value / 2) {
				failed("%s scope, round %d: ids %d and %d for one key", scope, round,
				       answer[i].value / 2, answer[0].value / 2);
				good = false;
			}
		}
	}
	/* The runtime directory, registry, segments, live and the segment; in system scope the file of sets and queues as well. */
	long expected = strcmp(scope, "system") == 0 ? 6 : 5;
	if (good && winners != 1)
		failed("%s scope, round %d: %d racers have made the segment", scope, round, winners);
	else if (good && tree_files("") - tree_files("live") != expected)
		failed("%s scope, round %d: %ld files are there, not %ld, %ld of them segments", scope, round,
		       tree_files("") - tree_files("live"), expected, tree_files("segments"));
	else if (good)
		passed();
	for (int i = 0; i < MANY; i++)
		actor_kill(&racer[i]);
	place_end();
}

void test_races(void)
{
	for (int stop = 0; pause_at(stop, false); stop++)
		;
	for (int stop = 0; pause_at(stop, true); stop++)
		;
	for (int round = 0; round < (full ? 200 : 5); round++) {
		crowd("user", false, round);
		crowd("system", false, round);
		if (is_root)
			crowd("system", true, round);
	}
}

/* --- stopped, not dead */

/* Wherever a system call stops a process, others must go on, unless it is inside the critical section. */
void test_stopped(void)
{
	int stops = 0, holding = 0;
	unsetenv("SHMSHIM_SCOPE");
	for (int i = 0; i < op_count; i++) {
		const struct op *op = &ops[i];
		bool more = true;
		/* Who makes a lost table again has it for himself. */
		if (op->flags & (HEAVY | EMPTY | CHILD | SYSTEM | HUGE_PAGES | FORCED) || strcmp(op->name, "make-lost-table") == 0)
			continue;
		the->handlers = i % 2 == 0;
		for (int stop = 0; more; stop += full ? 1 : 4) {
			struct world world;
			struct actor victim, other;
			struct tracee tracee;
			struct answer answer = { 0, 0 };

			world_make(&world, false);
			if (op->arrange)
				op->arrange(&world);
			prepare_victim(op, &victim);
			if (!begin_victim(op, &victim, &tracee))
				fatal("%s does not begin", op->name);
			more = trace_to(&tracee, (struct point){ stop, 0 }) == REACHED;
			if (more) {
				stops++;
				bool held = table_is_locked();
				holding += held;
				actor_start(&other);
				actor_send(&other, job_whole_life, 0x7001);
				enum heard heard = actor_hear(&other, &answer, held ? 1 : HANG_MS);
				if (heard != HEARD && !held)
					failed("%s: stopped at %d it holds up another", op->name, stop);
				else if (heard == HEARD && answer.value < 0)
					failed("%s: stopped at %d: %s", op->name, stop, the->text);
				else
					passed();
				actor_kill(&other);
			}
			end_victim(&victim, &tracee);
			world_end(&world);
		}
	}
	printf("stopped at %d system calls, %d of them with the table locked\n", stops, holding);
}
