/* stops.h - what stops.c and held.c share. */
#ifndef STOPS_H
#define STOPS_H

#include "ground.h"

/* Microseconds that a neighbour needs for a segment's whole life, an IPC_STAT and a lookup; -1 if one fails. */
job job_neighbour;
void test_held(int points_each, unsigned long long *seed);

#endif
