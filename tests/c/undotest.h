/*
 * undotest.h - what the tests about SEM_UNDO share, on top of semtest.h: one set of two semaphores, and children that
 * change it.
 */
#ifndef UNDOTEST_H
#define UNDOTEST_H

#include "semtest.h"

static int id;

static inline void fresh(unsigned short a, unsigned short b)
{
	id = new_set(2);
	MUST(SET_ALL(id, a, b));
}
/* One operation that is to be undone. */
static inline void undoably(int num, int op) { MUST(DO_OPS(id, OP((unsigned short)num, (short)op, SEM_UNDO))); }
#define CHECK_VALUES(values) CHECK_STR(values_of(id, 2), values)

/* A child that runs this and ends by itself. */
#define CHILD(...)                                                                                 \
	do {                                                                                       \
		pid_t pid_ = MUST(fork());                                                         \
		if (pid_ == 0) {                                                                   \
			__VA_ARGS__;                                                               \
			_exit(0);                                                                  \
		}                                                                                  \
		REAP(pid_);                                                                        \
	} while (0)

#endif
