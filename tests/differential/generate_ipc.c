/* Programs of semaphores and queues: what a worker does next. */
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "generate.h"

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif
#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

/* The id of one that is believed to exist; sometimes of one that was removed, or of none. */
static bool pick_id(struct generator *g, struct step *step, const struct believed_set *all, int count, const struct believed_set **picked)
{
	static const int kinds[] = { ID_WRONG_SEQ, ID_INDEX, ID_NEXT };
	const struct believed_set *one;

	if (!count)
		return false;
	/* The first ones and the youngest: few things that many processes use make sleepers meet. */
	one = percent(&g->rng, 40) ? &all[count - 1] : &all[below(&g->rng, count)];
	if (one->removed && percent(&g->rng, 85))
		return false;
	*picked = one;
	step->id = (struct id_ref){ ID_OF, one->name, 0 };
	if (percent(&g->rng, 3))
		step->id.kind = PICK(&g->rng, kinds);
	else if (percent(&g->rng, 1))
		step->id = (struct id_ref){ ID_VALUE, 0, -1 };
	return true;
}

static int64_t get_flags(struct generator *g)
{
	static const int64_t modes[] = { 0600, 0660, 0666, 0666, 0666, 0666, 0644, 0622, 0444, 0 };
	int64_t mode = PICK(&g->rng, modes);

	return mode | (percent(&g->rng, 95) ? IPC_CREAT : 0) | (percent(&g->rng, 8) ? IPC_EXCL : 0);
}

static bool gen_semget(struct generator *g, struct step *step)
{
	int nsems = 1 + below(&g->rng, 4);

	step->op = OP_SEMGET;
	step->n[0] = percent(&g->rng, 40) ? IPC_PRIVATE : 0x100 + below(&g->rng, 3);
	step->n[1] = percent(&g->rng, 6) ? below(&g->rng, 3) - 1 : nsems;
	step->n[2] = get_flags(g);
	g->sets[g->set_count++] = (struct believed_set){ step->name, nsems, false };
	return true;
}

static bool gen_msgget(struct generator *g, struct step *step)
{
	step->op = OP_MSGGET;
	step->n[0] = percent(&g->rng, 40) ? IPC_PRIVATE : 0x200 + below(&g->rng, 3);
	step->n[1] = get_flags(g);
	g->queues[g->queue_count++] = (struct believed_set){ step->name, 0, false };
	return true;
}

static struct packed_op gen_one(struct generator *g, int nsems)
{
	const int steps[] = { -1, -1, -1, -1, -1, 1, 1, 1, 1, 0, 0, -2, 2, -3, 2, percent(&g->rng, 20) ? 100 : 1 };
	struct packed_op op = { .num = below(&g->rng, nsems) };

	op.op = PICK(&g->rng, steps);
	if (percent(&g->rng, 2))
		op.num = nsems + below(&g->rng, 3);
	op.flags |= percent(&g->rng, 40) ? PACKED_UNDO : 0;
	op.flags |= percent(&g->rng, 18) ? PACKED_NOWAIT : 0;
	return op;
}

/*
 * The end of a process of which an operation with SEM_UNDO has failed makes the kernel alone look again at arrays that only wait
 * for zeros (docs/differences.md), which is seen if one of several has IPC_NOWAIT. Such an array has it throughout or not at all.
 */
static void make_alike(struct packed_op *ops, int count)
{
	int zeros = 0, no_waits = 0;

	for (int k = 0; k < count; k++) {
		zeros += ops[k].op == 0;
		no_waits += !!(ops[k].flags & PACKED_NOWAIT);
	}
	for (int k = 0; k < count && zeros == count && no_waits != count; k++)
		ops[k].flags &= ~PACKED_NOWAIT;
}

static bool gen_semop(struct generator *g, struct step *step)
{
	const struct believed_set *set;
	int count = percent(&g->rng, 55) ? 1 : 1 + below(&g->rng, PACKED_OPS);

	if (!pick_id(g, step, g->sets, g->set_count, &set))
		return false;
	step->op = OP_SEMOP;
	step->n[0] = count;
	struct packed_op ops[PACKED_OPS];
	for (int k = 0; k < count; k++)
		ops[k] = gen_one(g, set->nsems);
	make_alike(ops, count);
	for (int k = 0; k < count; k++)
		step->n[1] |= pack_op(ops[k], k);
	if (percent(&g->rng, 1))
		step->n[0] = percent(&g->rng, 50) ? 0 : 501;
	if (percent(&g->rng, 25))
		step->n[2] = 1 + below(&g->rng, WAIT_COUNT - 1);
	g->asleep[step->worker] |= step->n[2] == WAIT_EVER || step->n[2] == WAIT_LONG;
	return true;
}

static void gen_owner(struct generator *g, struct step *step)
{
	static const int64_t modes[] = { 0600, 0666, 0666, 0640, 0622, 0444, 0 };

	step->n[2] = PICK(&g->rng, g->program->setup.uids);
	step->n[3] = PICK(&g->rng, g->program->setup.gids);
	step->n[4] = PICK(&g->rng, modes);
}

static bool gen_semctl(struct generator *g, struct step *step)
{
	static const int64_t cmds[] = { GETVAL, GETVAL, GETALL, GETPID, GETNCNT, GETZCNT, SETVAL, SETVAL, SETVAL, SETVAL, SETALL, SETALL,
		IPC_STAT, SEM_STAT, SEM_STAT_ANY, IPC_SET, IPC_SET, IPC_RMID, IPC_INFO, SEM_INFO, 7 };
	const struct believed_set *set;

	if (!pick_id(g, step, g->sets, g->set_count, &set))
		return false;
	step->op = OP_SEMCTL;
	step->n[0] = PICK(&g->rng, cmds);
	step->n[1] = below(&g->rng, set->nsems + percent(&g->rng, 4));
	step->n[2] = percent(&g->rng, 4) ? 32767 + below(&g->rng, 2) : below(&g->rng, 3);
	if (step->n[0] == IPC_SET)
		gen_owner(g, step);
	if (step->n[0] == IPC_RMID) {
		if (percent(&g->rng, 40))
			return false;
		((struct believed_set *)set)->removed = true;
	}
	if ((step->n[0] == SEM_STAT || step->n[0] == SEM_STAT_ANY) && step->id.kind == ID_OF)
		step->id.kind = ID_INDEX;
	return true;
}

static bool gen_msgsnd(struct generator *g, struct step *step)
{
	const struct believed_set *queue;

	if (!pick_id(g, step, g->queues, g->queue_count, &queue))
		return false;
	step->op = OP_MSGSND;
	step->n[0] = percent(&g->rng, 3) ? below(&g->rng, 2) - 1 : 1 + below(&g->rng, 3);
	step->n[1] = percent(&g->rng, 3) ? 8192 + below(&g->rng, 2) : below(&g->rng, 30);
	step->n[2] = percent(&g->rng, 30) ? IPC_NOWAIT : 0;
	g->asleep[step->worker] |= percent(&g->rng, 20);
	return true;
}

static bool gen_msgrcv(struct generator *g, struct step *step)
{
	static const int64_t types[] = { 0, 0, 1, 2, 3, -1, -2, -3 };
	const struct believed_set *queue;

	if (!pick_id(g, step, g->queues, g->queue_count, &queue))
		return false;
	step->op = OP_MSGRCV;
	step->n[0] = percent(&g->rng, 70) ? 9000 : below(&g->rng, 30);
	step->n[1] = PICK(&g->rng, types);
	step->n[2] = percent(&g->rng, 40) ? IPC_NOWAIT : 0;
	step->n[2] |= percent(&g->rng, 30) ? MSG_NOERROR : 0;
	step->n[2] |= percent(&g->rng, 15) ? MSG_EXCEPT : 0;
	if (percent(&g->rng, 8)) {
		step->n[2] = MSG_COPY | IPC_NOWAIT | (percent(&g->rng, 20) ? MSG_EXCEPT : 0);
		step->n[1] = below(&g->rng, 3) - (percent(&g->rng, 10) ? 1 : 0);
	}
	g->asleep[step->worker] |= !(step->n[2] & IPC_NOWAIT);
	return true;
}

static bool gen_msgctl(struct generator *g, struct step *step)
{
	static const int64_t cmds[] = { IPC_STAT, MSG_STAT, MSG_STAT_ANY, IPC_SET, IPC_SET, IPC_SET, IPC_RMID, IPC_INFO, MSG_INFO, 7 };
	static const int64_t room[] = { 16384, 40, 20, 5, 0, 60, 16385, -1, (1ll << 32) + 9 };
	const struct believed_set *queue;

	if (!pick_id(g, step, g->queues, g->queue_count, &queue))
		return false;
	step->op = OP_MSGCTL;
	step->n[0] = PICK(&g->rng, cmds);
	if (step->n[0] == IPC_SET)
		gen_owner(g, step);
	step->n[1] = PICK(&g->rng, room);
	if (step->n[0] == IPC_RMID) {
		if (percent(&g->rng, 40))
			return false;
		((struct believed_set *)queue)->removed = true;
	}
	if ((step->n[0] == MSG_STAT || step->n[0] == MSG_STAT_ANY) && step->id.kind == ID_OF)
		step->id.kind = ID_INDEX;
	return true;
}

/* Births, deaths, signals, other users. */
static bool gen_life(struct generator *g, struct step *step)
{
	struct believed_worker *worker = &g->workers[step->worker];
	int choice = below(&g->rng, 100);

	if (choice < 26) {
		return gen_new(g, step);
	} else if (choice < 40) {
		if (g->worker_count >= MAX_WORKERS || live_workers(g) >= live_max(g))
			return false;
		step->op = OP_FORK;
		step->n[0] = g->worker_count++;
		g->workers[step->n[0]] = *worker;
	} else if (choice < 46) {
		step->op = OP_EXEC;
	} else if (choice < 56) {
		step->op = OP_EXIT;
		step->n[0] = below(&g->rng, END_COUNT);
		worker->live = g->asleep[step->worker];
	} else if (choice < 72) {
		step->op = OP_KILL;
		worker->live = false;
	} else if (choice < 88) {
		step->op = OP_SIGNAL;
		g->asleep[step->worker] = false;
	} else if (g->program->setup.several_uids && worker->uid == 0) {
		step->op = OP_SETUID;
		step->n[0] = PICK(&g->rng, g->program->setup.uids);
		worker->uid = step->n[0];
	} else {
		return false;
	}
	return true;
}

static bool gen_ipc_look(struct generator *g, struct step *step)
{
	(void)g;
	step->op = OP_IPCLOOK;
	return true;
}

/* Where another process than the worker calls, nobody must sleep. */
static void choose_mode(struct generator *g, struct step *step)
{
	int choice = below(&g->rng, 100);
	int64_t uid = PICK(&g->rng, g->program->setup.uids);

	if (kind_of(step) == KIND_SHM)
		return;
	if (choice < 6)
		step->mode = MODE_CHILD;
	else if (choice < 9)
		step->mode = MODE_THREAD;
	else if (choice < 20 && g->program->setup.several_uids && g->workers[step->worker].uid == 0)
		step->mode = MODE_AS;
	step->as_uid = step->mode == MODE_AS ? uid : 0;
	if (step->mode == MODE_PLAIN)
		return;
	if (step->op == OP_MSGSND || step->op == OP_MSGRCV)
		step->n[2] |= IPC_NOWAIT;
	for (int k = 0; step->op == OP_SEMOP && k < PACKED_OPS; k++)
		step->n[1] |= pack_op((struct packed_op){ 0, 0, PACKED_NOWAIT }, k);
}

void choose_step_that_may_sleep(struct generator *g, struct step *step)
{
	static const struct {
		int weight;
		bool (*gen)(struct generator *, struct step *);
	} kinds[] = {
		{ 2, gen_semget }, { 2, gen_msgget }, { 42, gen_semop }, { 12, gen_semctl }, { 14, gen_msgsnd }, { 12, gen_msgrcv },
		{ 5, gen_msgctl }, { 9, gen_life }, { 2, gen_ipc_look },
	};
	struct step blank = *step;
	bool done = false;

	/* First something to use. */
	if (g->worker_count > OBSERVER + 1 && (!g->set_count || !g->queue_count)) {
		step->worker = pick_worker(g);
		if (step->worker >= 0)
			(g->set_count ? gen_msgget : gen_semget)(g, step);
		done = step->worker >= 0;
	}
	while (!done) {
		int choice = below(&g->rng, 100);

		*step = blank;
		step->worker = pick_worker(g);
		if (step->worker < 0) {
			if (!gen_new(g, step))
				step->op = OP_TICK; /* every process that may be made was made and has ended */
			return;
		}
		for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
			choice -= kinds[k].weight;
			if (choice >= 0)
				continue;
			/* Who sleeps is better left to others. */
			if (g->asleep[step->worker] && kinds[k].gen != gen_life && percent(&g->rng, 60))
				break;
			done = kinds[k].gen(g, step);
			break;
		}
	}
	choose_mode(g, step);
}
