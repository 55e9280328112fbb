/* Running a program on one side. */
#ifndef DIFFERENTIAL_CONDUCTOR_H
#define DIFFERENTIAL_CONDUCTOR_H

#include "program.h"

struct side {
	const char *library; /* NULL: the kernel, in an IPC namespace of its own */
	const char *worker;  /* path of the worker's executable */
	const char *base;    /* an existing directory; what this side makes lies in it */
	const char *trace_file; /* SHMSHIM_TRACE, or NULL */
	bool reap_at_once; /* probe after each death before anything else happens */
	int perturb, perturb_from;
};

/* What was seen at one step; text is empty when nothing was. A trace ends with a record named TRACE_END. */
struct record {
	int32_t name, length;
};
#define TRACE_END -1
#define TRACE_SKIPPED -2 /* the text says why the side could not be run at all */

/*
 * Performs the steps that kept[] marks and writes the trace to the descriptor. Call it in a process
 * of its own: it moves to other namespaces and becomes the parent of stray processes.
 */
void run_side(const struct program *program, const bool *kept, const struct side *side, int trace);

/* isolation.c. NULL, or why there is none. */
const char *enter_namespace(bool kernel);
/* Empty, or what the kernel's namespace has that it should not have. */
const char *leak(void);
void remove_all(void);

/* normalise.c: everything that may differ between two runs of the same program, and nothing else. */
struct names {
	int process_count, epoch_count;
	struct {
		int pid;
		char name[16];
	} processes[MAX_STEPS];
	int64_t epochs[MAX_STEPS]; /* the second each began with */
	bool id_seen[KINDS];
	int64_t first_seq[KINDS]; /* the sequence number of the first id of all; 0 on the kernel */
};
void name_process(struct names *names, int pid, const char *name);
void begin_epoch(struct names *names);
/* The kernel's id for one of a side whose ids begin elsewhere, and the other way round. */
int64_t told_id(const struct names *names, enum kind kind, int64_t id);
int64_t real_id(const struct names *names, enum kind kind, int64_t id);
void normalise(struct names *names, int step, const char *in, char *out, size_t size);

#endif
