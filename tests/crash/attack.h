/*
 * attack.h - a second user who attacks, and what the tests of him share.
 *
 *   attack.c           runs the attacks; who is served and who is refused
 *   attack_base.c      the owner of a directory above the namespace; a namespace that is taken away
 *   attack_tree.c      root is led to delete, make or change files in a directory that is none of the namespace's
 *   attack_userns.c    the root of a user namespace
 *   attack_wait.c      a lock that is never given back
 *   attack_lifetime.c  logout; a table that is gone
 *   attack_secure.c    the environment of a set-uid program; the trace file
 *
 * Each attack has a sentence for a name, which says what holds. SECURITY.md names them.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include "hostile.h"

#include <stdatomic.h>

enum needs { NEEDS_MOUNTS = 1, NEEDS_USER_NAMESPACES = 2, NEEDS_HUGE_PAGES = 4 };
struct attack {
	const char *name;
	void (*run)(void);
	unsigned needs;
};
extern const struct attack base_attacks[], tree_attacks[], userns_attacks[], wait_attacks[], lifetime_attacks[],
	secure_attacks[]; /* each ends with a name of NULL */

/* What the attacker and the driver share. */
struct duel {
	atomic_bool over; /* the attacker is to end */
	atomic_long strokes; /* what he has done so far */
};
extern struct duel *duel;

/* The attack that is run has failed. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Value of the answer, its errno in `refusal`; ANSWERLESS when there was none, which counts as a failure. */
enum { ANSWERLESS = -1000 };
extern int refusal;
int ask(struct actor *, job *, int argument);

/* A segment's whole life: the number of the first step that fails, or 0. */
job job_life;
/* The segment of every attack: made, filled, not attached any more. Its mode is the argument. */
job job_make_known;
/* Whether the known segment shows what it should: 1, or -1 when it cannot be attached; 0 shows something else. */
job job_read_known;
enum { KNOWN_KEY = 0x5eed, KNOWN_SIZE = 8192, KNOWN_SEED = 21 };

/* One process of that user, from beginning to end. */
void serves(uid_t, const char *whom);
void refuses(uid_t, const char *path, uid_t blamed);
int run_as(uid_t, job *, int argument);
/* A place in system scope, whose namespace root has made. */
void place_of_root(void);
/* A directory with this owner and mode. */
void make_directory(const char *path, uid_t, unsigned mode);

#endif
