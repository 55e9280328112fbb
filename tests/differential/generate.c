/*
 * Seed -> program: which process does what kind of thing next.
 *
 * Two draws never stand in one expression: C leaves their order open, and a seed must
 * give the same program whatever compiler built this.
 */
#include <linux/capability.h>
#include <string.h>
#include <sys/shm.h>

#include "generate.h"


/* Where some sleep, more are needed. */
int live_max(const struct generator *g)
{
	return g->program->setup.waits ? 10 : 6;
}

int live_workers(const struct generator *g)
{
	int live = 0;

	for (int w = OBSERVER + 1; w < g->worker_count; w++)
		live += g->workers[w].live;
	return live;
}

int pick_worker(struct generator *g)
{
	int live = live_workers(g);
	int chosen = live ? below(&g->rng, live) : -1;

	for (int w = OBSERVER + 1; w < g->worker_count; w++)
		if (g->workers[w].live && chosen-- == 0)
			return w;
	return -1;
}

static int new_worker(struct generator *g, const struct believed_worker *like)
{
	int w = g->worker_count++;

	g->workers[w] = *like;
	g->workers[w].live = true;
	return w;
}

bool gen_new(struct generator *g, struct step *step)
{
	struct believed_worker fresh = { .uid = g->program->setup.base_uid };

	if (g->worker_count >= MAX_WORKERS || live_workers(g) >= live_max(g))
		return false;
	if (g->program->setup.several_uids && percent(&g->rng, 50))
		fresh.uid = PICK(&g->rng, g->program->setup.uids);
	step->op = OP_NEW;
	step->n[1] = fresh.uid;
	step->n[0] = new_worker(g, &fresh);
	step->worker = (int32_t)step->n[0];
	return true;
}

static bool gen_process(struct generator *g, struct step *step)
{
	struct believed_worker *worker = &g->workers[step->worker];
	int choice = below(&g->rng, 100);

	if (choice < 32) {
		struct believed_worker child = *worker;

		if (g->worker_count >= MAX_WORKERS || live_workers(g) >= live_max(g))
			return false;
		child.main_left = false;
		step->op = OP_FORK;
		step->n[0] = new_worker(g, &child);
	} else if (choice < 44) {
		return gen_new(g, step);
	} else if (choice < 58) {
		step->op = OP_EXEC;
		worker->attach_count = 0;
		worker->blocked = 0;
		worker->main_left = false;
	} else if (choice < 69) {
		step->op = OP_EXIT;
		step->n[0] = below(&g->rng, END_COUNT);
		worker->live = false;
	} else if (choice < 84) {
		step->op = OP_KILL;
		worker->live = false;
	} else if (choice < 90) {
		step->op = OP_VFORK;
	} else if (choice < 96) {
		step->op = OP_SPAWN;
	} else {
		if (worker->main_left || g->program->setup.rmid_forced)
			return false;
		step->op = OP_LEAVEMAIN;
		worker->main_left = true;
	}
	return true;
}

static bool gen_credentials(struct generator *g, struct step *step)
{
	/* Not CAP_IPC_LOCK: what root has locked is counted for the whole machine, other programs' segments included. */
	static const int64_t capabilities[] = { CAP_IPC_OWNER, CAP_SYS_ADMIN, CAP_SYS_RAWIO };
	static const int64_t lock_limits[] = { 0, 4 * PAGE, 16 * PAGE, -1 };
	const struct setup *setup = &g->program->setup;
	struct believed_worker *worker = &g->workers[step->worker];
	int choice = below(&g->rng, 100);

	if (choice < 25) {
		step->op = OP_MEMLOCK;
		step->n[0] = PICK(&g->rng, lock_limits);
		return true;
	}
	if (choice < 40) {
		if (!setup->caps || worker->uid != 0)
			return false;
		step->op = OP_DROPCAP;
		step->n[0] = PICK(&g->rng, capabilities);
		return true;
	}
	if (!setup->several_uids || worker->uid != 0)
		return false;
	if (choice < 65) {
		step->op = OP_SETUID;
		step->n[0] = PICK(&g->rng, setup->uids);
		worker->uid = step->n[0];
	} else if (choice < 82) {
		step->op = OP_SETGID;
		step->n[0] = PICK(&g->rng, setup->gids);
	} else {
		step->op = OP_SETGROUPS;
		step->n[0] = PICK(&g->rng, setup->gids);
		step->n[1] = PICK(&g->rng, setup->gids);
	}
	return true;
}

static const int64_t limit_defaults[LIMIT_COUNT] = { (int64_t)0xfffffffffeffffffu, (int64_t)0xfffffffffeffffffu, 4096, 0 };

static bool gen_limit(struct generator *g, struct step *step)
{
	static const int64_t small[LIMIT_COUNT][5] = {
		{ 4096, 8192, 12288, 5000, 0 },
		{ 4, 8, 12, 1, 0 },
		{ 3, 5, 8, 0, 32768 },
		{ 1, 1, 1, 0, 1 },
	};
	int which = below(&g->rng, LIMIT_COUNT);

	if (!g->program->setup.limits || g->workers[step->worker].uid != 0 || (which == LIMIT_RMID_FORCED && !g->program->setup.rmid_forced))
		return false;
	step->op = OP_SETLIMIT;
	step->n[0] = which;
	step->n[2] = 1;
	step->n[1] = PICK(&g->rng, small[which]);
	if (percent(&g->rng, 12) && which >= LIMIT_MNI) { /* refused by the kernel */
		step->n[1] = which == LIMIT_MNI ? 32769 : 2;
		step->n[2] = 0;
	}
	if (step->n[2])
		g->restore_in[which] = which == LIMIT_RMID_FORCED ? 24 : 12;
	return true;
}

/* A lowered limit starves the rest of the program, so it does not stay for long. */
static bool restore_limits(struct generator *g, struct step *step)
{
	for (int which = 0; which < LIMIT_COUNT; which++) {
		if (!g->restore_in[which] || --g->restore_in[which] > 0)
			continue;
		for (int w = OBSERVER + 1; w < g->worker_count; w++) {
			if (!g->workers[w].live || g->workers[w].uid != 0)
				continue;
			step->worker = w;
			step->op = OP_SETLIMIT;
			step->n[0] = which;
			step->n[1] = limit_defaults[which];
			step->n[2] = 1;
			return true;
		}
		g->restore_in[which] = 1; /* nobody may do it now: try again */
	}
	return false;
}

static bool gen_look(struct generator *g, struct step *step)
{
	static const int looks[] = { OP_SNAPSHOT, OP_SNAPSHOT, OP_PROCSHM, OP_LIMITS, OP_MAPS, OP_MAPS };

	step->op = PICK(&g->rng, looks);
	return true;
}

static bool gen_churn(struct generator *g, struct step *step)
{
	step->op = OP_CHURN;
	step->n[0] = 1 + below(&g->rng, 60);
	return true;
}

static bool may_be_wrapped(int op)
{
	switch (op) {
	case OP_GET: case OP_AT: case OP_DT: case OP_CTL: case OP_MUNMAP: case OP_POKE: case OP_PEEK:
	case OP_FILL: case OP_SUM: case OP_SNAPSHOT: case OP_PROCSHM: case OP_MREMAP: case OP_MMAP:
		return true;
	default:
		return false;
	}
}

/* An attach of a process that is gone when the step is. */
static void forget_step(struct generator *g, const struct step *step)
{
	struct believed_worker *worker = &g->workers[step->worker];

	if (worker->attach_count && worker->attaches[worker->attach_count - 1].name == step->name)
		worker->attach_count--;
}

static void choose_mode(struct generator *g, struct step *step)
{
	const struct setup *setup = &g->program->setup;
	int choice = below(&g->rng, 100);
	int64_t uid = PICK(&g->rng, setup->uids);

	if (!may_be_wrapped(step->op))
		return;
	/*
	 * Divergence: with shm_rmid_forced the kernel acts when the creating thread ends, the shim when the
	 * creating process does. Where that may be set only the thread that lives as long as its process creates.
	 */
	if (setup->rmid_forced && step->op == OP_GET && choice < 7)
		return;
	/* Locked memory is the real uid's, here root's, and root's is counted for the whole machine. */
	if (step->op == OP_CTL && step->n[0] == SHM_LOCK)
		return;
	if (choice < 7) {
		step->mode = MODE_THREAD;
	} else if (choice < 12) {
		step->mode = MODE_CHILD;
		if (step->op == OP_AT)
			forget_step(g, step);
	} else if (choice < 22 && setup->several_uids && g->workers[step->worker].uid == 0) {
		step->mode = MODE_AS;
		step->as_uid = uid;
		if (step->op == OP_GET && g->segment_count && g->segments[g->segment_count - 1].name == step->name)
			g->segments[g->segment_count - 1].uid = uid;
	}
}

static void choose_step(struct generator *g, struct step *step)
{
	static const struct {
		int weight;
		bool (*gen)(struct generator *, struct step *);
	} kinds[] = {
		{ 17, gen_get }, { 18, gen_at }, { 9, gen_dt }, { 17, gen_ctl }, { 11, gen_mapping },
		{ 10, gen_memory }, { 11, gen_process }, { 4, gen_credentials }, { 2, gen_limit },
		{ 4, gen_look }, { 1, gen_churn },
	};
	struct step blank = *step;

	if (restore_limits(g, step))
		return;
	for (;;) {
		int choice = below(&g->rng, 104);
		bool done = true;

		*step = blank;
		step->worker = pick_worker(g);
		if (step->worker < 0) {
			done = gen_new(g, step);
			if (!done)
				step->op = OP_TICK; /* every process that may be made was made and has ended */
			return;
		}
		for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
			choice -= kinds[k].weight;
			if (choice < 0) {
				done = kinds[k].gen(g, step);
				break;
			}
		}
		if (done)
			break;
	}
	choose_mode(g, step);
}

static void choose_setup(struct generator *g, enum profile profile, int64_t own_uid, int64_t own_gid)
{
	struct setup *setup = &g->program->setup;
	/* Memory locked by a user counts across namespaces: programs that run side by side use different uids. */
	int64_t block = 54000 + (int64_t)(g->program->seed % 97) * 4;
	int choice = below(&g->rng, 100);

	setup->fresh_observer = percent(&g->rng, 40);
	for (int k = 0; k < 4; k++)
		setup->uids[k] = setup->gids[k] = block + k;
	if (profile == PROFILE_USER) {
		/* In a user namespace without privilege nobody else exists: IPC_SET to another uid fails there with EINVAL. */
		setup->base_uid = own_uid;
		setup->alone = true;
		for (int k = 0; k < 4; k++) {
			setup->uids[k] = own_uid;
			setup->gids[k] = own_gid;
		}
	} else if (choice < 65) {
		setup->several_uids = true;
		setup->uids[0] = setup->gids[0] = 0;
		setup->limits = true;
	} else if (choice < 80) {
		setup->base_uid = 0;
		setup->uids[0] = setup->gids[0] = 0;
		setup->limits = true;
	} else {
		setup->base_uid = block + 1;
	}
	setup->rmid_forced = setup->limits && percent(&g->rng, 50);
	setup->caps = setup->several_uids && percent(&g->rng, 25);
}

void generate(struct program *program, uint64_t seed, int steps, enum profile profile, int64_t own_uid, int64_t own_gid, bool waits)
{
	static struct generator g;
	int first;

	memset(&g, 0, sizeof g);
	memset(program, 0, sizeof *program);
	program->seed = seed;
	g.program = program;
	g.rng.state = seed * 2654435761u + 12345;
	g.worker_count = OBSERVER + 1;
	choose_setup(&g, profile, own_uid, own_gid);
	program->setup.waits = waits;
	if (waits)
		program->setup.rmid_forced = program->setup.caps = false;
	first = 1 + below(&g.rng, 3) + 4 * waits;
	for (int k = 0; k < steps; k++) {
		struct step *step = &program->steps[program->count];

		step->name = program->count++;
		if (k < first && gen_new(&g, step))
			continue;
		if (percent(&g.rng, 3)) {
			step->op = OP_TICK;
			continue;
		}
		(waits ? choose_step_that_may_sleep : choose_step)(&g, step);
	}
}
