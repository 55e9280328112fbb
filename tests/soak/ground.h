/*
 * ground.h - what the programs of this directory share: a namespace of their own, and what it holds on to as seen from
 * outside. The rest comes from tests/crash.
 *
 *   scale.c    many of everything, and too little of everything
 *   stops.c    a process that is stopped at any moment
 *   soak.c     all operations at once, for as long as one likes: conductor, with member*.c and quiet.c
 */
#ifndef GROUND_H
#define GROUND_H

#include "crash.h"

#include <stdatomic.h>

extern const char *root; /* the base of everything; a file system of its own where that is allowed */
extern bool is_root;

void ground_begin(void);
/* A base of its own, with a tmpfs of `size` mounted on it if given; false if that is not allowed. */
bool place(bool system, const char *size);
void place_end(void);
long place_blocks(void); /* in use on that tmpfs, in 512 bytes; -1 without one */
/* All children but one: such as those whose parent was killed before it knew of them. */
void kill_strays(pid_t spared);
long milliseconds(void);
unsigned pick(unsigned long long *seed, unsigned below);

/* A segment's line in /proc/sysvipc/shm. */
int read_list(struct sight *, int room);
/* A job for a process that no other knows: create, attach, fill, ask, detach, remove. Its milliseconds, or -1. */
job job_life;
/* Looks at everybody, by the list; so many segments are there. */
job job_look;
/* Whether the table is at peace and holds nothing, but for `cells` processes; says what it holds. */
bool ground_is_empty(struct actor *observer, unsigned cells, const char *after);

#endif
