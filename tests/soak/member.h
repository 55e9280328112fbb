/*
 * member.h - what the parts of a member share: what it has attached, and what it can do.
 *
 *   member.c            its life: which operation comes next, when it rests, what strikes it
 *   member_segments.c   operations on segments
 *   member_processes.c  operations that start threads and processes, or end the member
 */
#ifndef MEMBER_H
#define MEMBER_H

#include "soak.h"

/* What this member has attached; children inherit it. */
struct held {
	int id;
	size_t size;
	unsigned char *base;
	uint32_t pages; /* those still mapped */
	bool readonly;
};
extern struct held held[HOLDS];
extern int holding;
extern int here; /* this member's place */
extern bool is_worker;

static inline unsigned choose(unsigned below) { return pick(&soak->member[here].seed, below); }
static inline unsigned pages_of(size_t size) { return (unsigned)((size + PAGE - 1) / PAGE); }

/* The operations, and how often each comes. */
#define OPERATIONS(X)                                                                                                  \
	X(private, 8) X(keyed, 10) X(find, 6) X(attach, 16) X(attach_readonly, 6) X(attach_fixed, 6) X(attach_over, 2) \
	X(detach, 22) X(unmap_page, 5) X(move, 2) X(ask, 8) X(set, 4) X(lock, 3) X(remove, 10) X(list, 2) X(life, 6)   \
	X(threads, 1) X(spawn, 1) X(clone, 1) X(fork, 3) X(exec, 1) X(leave, 1)
#define DECLARE(name, weight) void op_##name(void);
OPERATIONS(DECLARE)
#undef DECLARE

/* --- member.c */
void steps(long count);

/* --- member_segments.c */
bool see_all(const struct held *h);

/* --- member_processes.c */
void leave(void);

#endif
