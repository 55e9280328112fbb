/*
 * scale.h - what the parts of scale.c share.
 *
 *   scale.c       runs each case twice, and asks what is left
 *   many.c        many segments, processes, children
 *   attaches.c    many attaches
 *   scarce.c      no memory, no descriptors, no addresses
 */
#ifndef SCALE_H
#define SCALE_H

#include "ground.h"

enum { SLOTS = 32768 };

/* What the processes of a case tell each other. */
struct common {
	_Atomic int arrived, go, rounds, killed;
	_Atomic long steps, refused;
	int id[64], all[SLOTS];
	pid_t pid[4096];
	long figure[8];
	char text[300];
};
extern struct common *common;
extern struct actor observer; /* a process that is there all the time and has nothing attached */

/* What a job says of itself when something is not as it should be; it returns -1. */
int wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Has an actor do a job, and notes a failure when it fails or takes longer than a minute or four. */
bool well(struct actor *, job *, int argument, const char *what);
/* nattch, as the observer sees it. */
long nattch_seen(int id);
void wait_until(_Atomic int *, int value);

int set_shmmni(int count);
void all_records(int count);
void many_segments(int count), many_processes(int count), many_attaches(int count), fork_bomb(int count), fork_tree(int count);
void address_space(int count), maps(int count), full(int rounds), no_inodes(int rounds), no_descriptors(int count);

#endif
