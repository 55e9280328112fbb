/*
 * hostile.h - what the tests of hostile surroundings share.
 *
 *   places.c     things that somebody else has put where ours should be
 *   race.c       processes that make the namespace at once; processes that are stopped
 *   pairs.c      one operation in the middle of another
 *   damage.c     a table that a wild pointer has written to
 *   repair.c     files that were cut or exchanged, and what the trace says to do about it
 *   exchange.c   a runtime directory that is removed and made anew while programs run
 *   wear.c       a table in which everything is used up
 *   attack*.c    a second user who attacks: see attack.h
 *   neighbour.c  a user of a system-wide namespace who writes to the table on purpose
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include "crash.h"

enum { OWNER = 54001, STRANGER = 54002, THIRD = 54003 };

extern bool full, is_root;
extern const char *root;
void must(int result, const char *what);
extern unsigned long long seed;

unsigned pick(unsigned below);

/* A place of its own for each test: base with this mode, and the namespace's name in it. */
void place(const char *scope, uid_t owner, unsigned base_mode);
void place_end(void);
/* An actor with this uid and its group; root when the driver is not root. */
void actor_of(struct actor *, uid_t);
bool act(struct actor *, job *, int argument, struct answer *, const char *what);
job job_become_user, job_make_segments;
char *inside(const char *name); /* a path in the runtime directory */
bool trace_says(const char *what);
void trace_clear(void);

/* The table, open for writing as any user of it can have it. */
volatile unsigned char *table_open(size_t *size);
enum { CELL_AREA = 264 * 1024, SLOT_AREA = CELL_AREA + 16384 * 64, RECORD_AREA = SLOT_AREA + 32768 * 128 };
enum { S_STATE = 4, S_ID = 8, S_KEY = 12, S_NAME_KEY = 16, S_UID = 20, S_GID = 24, S_CUID = 28, S_CGID = 32,
       S_MODE = 36, S_SIZE = 40, S_FLAGS = 80, S_NATTCH = 96 };
volatile uint32_t *slot_word(volatile unsigned char *table, unsigned slot, unsigned field);

void test_places(void), test_races(void), test_pairs(void), test_stopped(void), test_damage(int rounds), test_scribbled(int rounds),
	test_repairs(void), test_exchanges(void), test_wear(void), test_neighbours(void),
	test_attacks(const char *part_of_name);
int secure_main(char **arguments);

#endif
