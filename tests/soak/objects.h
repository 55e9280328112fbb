/*
 * objects.h - what the parts of objects.c share: calls on a set and a queue, and children that make them.
 *
 *   objects.c        what all use, and the choice of the part
 *   objects_file.c   files, words: something else lies where the file should be, or nonsense stands in it
 *   objects_full.c   full: the file system has no more room
 *   objects_stops.c  stops: a process is stopped at any moment of a call
 */
#ifndef OBJECTS_H
#define OBJECTS_H

#include "ground.h"

#include <sys/msg.h>
#include <sys/sem.h>

enum { SEMAPHORES = 4, TOKENS = 5, TEXT = 2000, PATIENCE = 60000 };

union semun { int val; struct semid_ds *buf; unsigned short *array; };

struct letter {
	long type;
	char text[TEXT];
};

extern unsigned long long seed;
extern int rounds;

int operate(int set, int from, int to, short flags);
int fill_set(int set);
/* How a child ends that does this: NULL for 0, or what is wrong. */
const char *child_does(int (*what)(int), int argument);
/* For a child: 0 if calls on sets and queues work. */
int is_served(int argument);
/* A round by a process of its own, which keeps the namespace that it calls in first. */
void by_a_child(void (*round)(int), int number);

/* --- the parts */
void test_files(void);
void test_words(void);
void test_full(void);
void test_stops(void);

#endif
