/*
 * Programs of semaphores and queues: a worker may fall asleep in its step, and a later step of another wakes it.
 *
 * After each step every worker is asleep in its call (asleep.c) or has answered, before the next step begins: that makes the
 * order of all events that of the steps, and the wake-up of a sleeper an event of the trace.
 *
 * What two runs on the kernel need not agree on is not asked: see order_is_open().
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "run.h"

static void pause_for(long ns)
{
	nanosleep(&(struct timespec){ 0, ns }, NULL);
}

static bool readable(int descriptor)
{
	struct pollfd event = { descriptor, POLLIN, 0 };

	return poll(&event, 1, 0) > 0;
}

bool has_answered(int w)
{
	return readable(run.workers[w].channel) || readable(run.workers[w].pidfd);
}

/* Waits until the worker sleeps or has answered; true: it sleeps. */
static bool falls_asleep(int step, int w)
{
	char missed[64];

	for (int tries = 0; tries < ANSWER_WITHIN_MS * 5; tries++) {
		switch (stage_of(w)) {
		case HAS_ANSWERED: return false;
		case SLEEPS: return true;
		case MISSES_A_WAKE_UP:
			snprintf(missed, sizeof missed, "!! w%d SLEEPS ON ALTHOUGH IT WAS WOKEN", w);
			write_record(step, missed);
			return true;
		case RUNS: pause_for(200000);
		}
	}
	return false;
}

/*
 * Divergence: an operation with SEM_UNDO that fails leaves a record on the kernel, and none under the shim. When the process ends,
 * the kernel stamps otime for it, and has sleepers with several operations look again which of them they wait for. From that end
 * on neither is told of such a set.
 */
static uint64_t stain_of(const struct step *step)
{
	int64_t index = step->id.value & 32767;
	bool undo = false;

	for (int k = 0; step->op == OP_SEMOP && k < PACKED_OPS && k < step->n[0]; k++)
		undo |= (packed_op(step->n[1], k).flags & PACKED_UNDO) != 0;
	return undo && step->id.value >= 0 && index < 64 ? (uint64_t)1 << index : 0;
}

static void note_failure(const struct step *step, int w)
{
	if (!strstr(run.raw, " = -1"))
		return;
	if (step->mode == MODE_CHILD)
		run.stained |= stain_of(step);
	else
		run.workers[w].will_stain |= stain_of(step);
}

static void hear(int step, int w)
{
	struct reply reply;

	append_answer(step, listen_to(w, run.workers[w].pidfd, &reply), w);
	run.workers[w].asleep = false;
	note_failure(&run.workers[w].sleeps_in, w);
}

/* Who was woken by what has happened, tells it now; and whom those have woken. */
static void let_sleepers_answer(int name)
{
	char *heard[MAX_WORKERS] = { NULL };
	bool again = true;

	while (again) {
		again = false;
		for (int w = 0; w < MAX_WORKERS; w++) {
			if (!run.workers[w].live || !run.workers[w].asleep || falls_asleep(name, w))
				continue;
			snprintf(run.text, sizeof run.text, "s%d then w%d wakes, from s%d", name, w, run.workers[w].sleeps_in.name);
			hear(name, w);
			heard[w] = strdup(run.text);
			again = true;
		}
	}
	/* Several that one call has woken run in no order. */
	for (int w = 0; w < MAX_WORKERS; w++) {
		if (heard[w])
			write_record(name, heard[w]);
		free(heard[w]);
	}
}

/*
 * Divergence: what the dead one is to undo the kernel has done before its parent can know, the shim does when somebody
 * asks, or a little later of itself. So somebody asks. What is told is how things stand when all who were woken have run:
 * a sender that finds room tries again by itself.
 */
static void look_after_a_death(int name)
{
	look(name, NULL);
	let_sleepers_answer(name);
	look(name, "after a death,");
	let_sleepers_answer(name);
}

void after_a_death(int name, int w)
{
	if (run.workers[w].asleep)
		run.stained |= stain_of(&run.workers[w].sleeps_in);
	run.workers[w].asleep = false;
	run.stained |= run.workers[w].will_stain;
	look_after_a_death(name);
}

static int asleep_in(int op, int64_t id)
{
	int count = 0;

	for (int w = 0; w < MAX_WORKERS; w++)
		count += run.workers[w].live && run.workers[w].asleep && run.workers[w].sleeps_in.op == op &&
			 run.workers[w].sleeps_in.id.value == id;
	return count;
}

/*
 * Several sleeping senders that one call wakes try again by themselves, the faster one first; receivers that are woken to look
 * at their rights queue up again in any order, and before or after a sender that is woken with them.
 */
static bool order_is_open(const struct step *step)
{
	switch (step->op) {
	case OP_MSGSND: return asleep_in(OP_MSGSND, step->id.value) > 0 && !(step->n[2] & IPC_NOWAIT);
	case OP_MSGCTL:
		return step->n[0] == IPC_SET && asleep_in(OP_MSGRCV, step->id.value) &&
		       asleep_in(OP_MSGRCV, step->id.value) + asleep_in(OP_MSGSND, step->id.value) > 1;
	default: return false;
	}
}

static bool may_sleep(const struct step *step)
{
	if (step->mode != MODE_PLAIN)
		return false;
	switch (step->op) {
	case OP_SEMOP: return step->n[2] == WAIT_EVER || step->n[2] == WAIT_LONG;
	case OP_MSGSND: case OP_MSGRCV: return !(step->n[2] & IPC_NOWAIT);
	default: return false;
	}
}

static void ask_who_may_sleep(const struct step *step)
{
	int w = step->worker;
	struct reply reply;

	send_step(step);
	if (may_sleep(step) && falls_asleep(step->name, w)) {
		run.workers[w].asleep = true;
		run.workers[w].sleeps_in = *step;
		strcat(run.text, " sleeps");
		return;
	}
	append_answer(step->name, listen_to(w, run.workers[w].pidfd, &reply), w);
	note_failure(step, w);
	take_answer(step, &reply);
}

/*
 * The generator does not know who sleeps when. A call that a sleeper should make another process makes in its place: the next
 * one that is awake; a signal goes to the next one that sleeps.
 */
static int stand_in(const struct step *step)
{
	bool for_sleepers = step->op == OP_SIGNAL;

	if (kind_of(step) == KIND_SHM && step->op != OP_IPCLOOK && !for_sleepers)
		return step->worker;
	for (int k = 0; k < MAX_WORKERS; k++) {
		int w = (step->worker + k) % MAX_WORKERS;

		if (w != OBSERVER && run.workers[w].live && run.workers[w].asleep == for_sleepers)
			return w;
	}
	return run.workers[OBSERVER].live && !for_sleepers ? OBSERVER : step->worker;
}

/* When all sleep, the observer goes on; it must not sleep, nor leave anything to undo. */
static void make_harmless(struct step *step)
{
	if (step->op == OP_MSGSND || step->op == OP_MSGRCV)
		step->n[2] |= IPC_NOWAIT;
	for (int k = 0; step->op == OP_SEMOP && k < PACKED_OPS; k++) {
		step->n[1] |= pack_op((struct packed_op){ 0, 0, PACKED_NOWAIT }, k);
		step->n[1] &= ~pack_op((struct packed_op){ 0, 0, PACKED_UNDO }, k);
	}
}

/* In the place of an id that there is not, because its step failed, the one before it. */
static void find_id(struct step *step)
{
	const struct step *steps = run.program->steps;

	if (step->id.kind == ID_VALUE || kind_of(step) == KIND_SHM)
		return;
	for (int name = step->id.name; name >= 0; name--)
		if (run.ids[name] >= 0 && kind_of(&steps[name]) == kind_of(step)) {
			step->id.name = name;
			return;
		}
}

/* Whether a process dies by it: the worker, or the child that the worker has call. */
static bool perform(const struct step *step)
{
	int w = step->worker;

	if (step->op == OP_KILL) {
		kill(run.workers[w].pid, SIGKILL);
		wait_for_death(w);
		return true;
	}
	if (step->op == OP_SIGNAL && run.workers[w].asleep) {
		snprintf(run.text + strlen(run.text), 32, " in s%d", run.workers[w].sleeps_in.name);
		kill(run.workers[w].pid, SIGUSR1);
		hear(step->name, w);
	} else if (step->op == OP_SIGNAL || run.workers[w].asleep) {
		strcat(run.text, step->op == OP_SIGNAL ? " skipped: awake" : " skipped: asleep");
	} else if (order_is_open(step)) {
		strcat(run.text, " skipped: the order would be open");
	} else if (step->op == OP_EXIT) {
		send(run.workers[w].channel, step, sizeof *step, MSG_NOSIGNAL);
		wait_for_death(w);
		return true;
	} else {
		ask_who_may_sleep(step);
		return step->mode == MODE_CHILD;
	}
	return false;
}

void do_step_that_may_sleep(const struct step *planned)
{
	struct step step = *planned;
	bool dies;

	step.worker = stand_in(planned);
	if (step.worker == OBSERVER)
		make_harmless(&step);
	find_id(&step);
	resolve_id(&step);
	dies = !begin_step(&step) && perform(&step);
	write_record(step.name, run.text);
	if (dies && step.mode != MODE_CHILD)
		after_a_death(step.name, step.worker);
	else if (dies)
		look_after_a_death(step.name);
	else
		let_sleepers_answer(step.name);
}
