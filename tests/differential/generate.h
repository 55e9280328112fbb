/* The generator's model: what it believes exists, so that most steps hit something. It may be wrong. */
#ifndef DIFFERENTIAL_GENERATE_H
#define DIFFERENTIAL_GENERATE_H

#include "program.h"
#include "rng.h"

struct believed_attach {
	int name;   /* the shmat step */
	bool arena; /* else at an address of the system's choice */
	int page;   /* within the arena */
	int pages;
};

struct believed_worker {
	bool live, main_left;
	int64_t uid;
	uint64_t blocked; /* pages of the arena with something anonymous in them */
	int attach_count;
	struct believed_attach attaches[40];
};

struct believed_segment {
	int name; /* the shmget step */
	int32_t key;
	int64_t size, uid, mode;
	bool removed;
};

struct generator {
	struct rng rng;
	struct program *program;
	int worker_count; /* ever made, the observer included */
	struct believed_worker workers[MAX_WORKERS];
	int segment_count;
	struct believed_segment segments[MAX_STEPS];
	int set_count, queue_count;
	struct believed_set { int name, nsems; bool removed; } sets[MAX_STEPS], queues[MAX_STEPS];
	bool asleep[MAX_WORKERS]; /* may be */
	int restore_in[LIMIT_COUNT]; /* steps until a changed limit is put back; 0: it was not changed */
};

/* generate_shm.c: the attaches that step->worker is believed to have. */
struct believed_attach *pick_attach(struct generator *g, struct step *step);
void forget_attach(struct generator *g, struct step *step, struct believed_attach *attach);
void remember_attach(struct generator *g, struct step *step, struct believed_attach attach);
struct addr_ref arena_address(int page, long offset);
struct addr_ref attach_address(const struct believed_attach *attach, long offset);

/* Each fills in one step for step->worker; false: nothing sensible to do, choose again. */
bool gen_get(struct generator *g, struct step *step);
bool gen_at(struct generator *g, struct step *step);
bool gen_dt(struct generator *g, struct step *step);
bool gen_ctl(struct generator *g, struct step *step);
bool gen_mapping(struct generator *g, struct step *step);
bool gen_memory(struct generator *g, struct step *step);
bool gen_new(struct generator *g, struct step *step);
int pick_worker(struct generator *g);
int live_workers(const struct generator *g);
int live_max(const struct generator *g);
/* generate_ipc.c */
void choose_step_that_may_sleep(struct generator *g, struct step *step);

#endif
