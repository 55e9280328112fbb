/* What the parts of a worker share. */
#ifndef DIFFERENTIAL_WORKER_H
#define DIFFERENTIAL_WORKER_H

#include <errno.h>

#include "program.h"

#define CHANNEL_FD 200  /* worker n talks through descriptor 200 + n */
#define OWN_IMAGE_FD 199 /* the worker's executable, for exec */
#define UNTOUCHED 4095  /* errno before each call; a call that succeeds leaves it so */

/*
 * Text for the trace. Two kinds of token are replaced by the conductor (normalise.c):
 * {p:PID} a process, {t:SECONDS} a time; {n:PID} introduces a child of this step.
 */
void emit(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *error_name(int error);
void emit_result(long ret, int error);
void emit_id_result(long ret, int error);
void emit_address(const void *address);

/* Where attaches at system-chosen addresses are; by step. */
struct placed {
	char *address;
	long length;
	bool live;
	bool not_inherited; /* MADV_DONTFORK */
};
extern struct placed placed[MAX_STEPS];
extern int current_perturb; /* PERTURB_* of this step */
extern struct reply reply;  /* of this step */

/* false: a step that it depends on gave nothing; says so in the trace. pages (may be NULL) is cut to the attach. */
bool resolve(const struct addr_ref *addr, long *pages, char **out);

/* One line of /proc/self/maps, or several that continue one another. */
struct region {
	char *start, *end;
	char protection[5];
	bool shm, anonymous;
	unsigned key;
	long id;
	unsigned long offset;
};
/* The region that `address` lies in. */
bool region_at(const char *address, struct region *out);
bool arena_is_empty(void);
/* In a child: what it has not inherited. By now something else may be there. */
void forget_not_inherited(void);

/* 0: not an operation of this file */
bool perform_call(const struct step *step);
bool perform_memory(const struct step *step);
bool perform_ipc(const struct step *step);

#endif
