/*
 * tokens.h - what the parts of tokens.c share: the ledger, in memory of all its processes.
 *
 *   tokens.c         the conductor, and what it finds when all workers are dead
 *   tokens_worker.c  what a worker does
 */
#ifndef TOKENS_H
#define TOKENS_H

#include "ground.h"

#include <sys/msg.h>
#include <sys/sem.h>

enum { WORKERS = 64, LIVES = 400000, LETTERS = 1 << 11, SETS = 3, QUEUES = 2, PLACES = 6, TOKENS = 4, TEXT = 3000 };

union semun { int val; struct semid_ds *buf; unsigned short *array; };

/* What one process has sent, in one of its lives. */
struct life {
	atomic_uint begun[QUEUES], sent[QUEUES]; /* letters that it may have sent, and has */
	atomic_uchar received[QUEUES][LETTERS / 8];
};

struct ledger {
	int moved[SETS], borrowed[SETS], queue[QUEUES];
	atomic_uint lives, inside, kills, receiving_killed;
	atomic_ulong calls, wrong;
	atomic_bool over;
	struct worker {
		atomic_int pid;
		atomic_uint calls;
		atomic_bool receives;
	} worker[WORKERS];
	char text[400];
	struct life life[LIVES];
};
extern struct ledger *ledger;

struct letter {
	long type;
	struct {
		unsigned life, number, length, sum;
		unsigned char text[TEXT];
	} body;
};

extern unsigned long long seed;
extern struct worker *me;
extern bool doubles;

/* --- tokens_worker.c */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sum_up(unsigned long long *own);
void note(int which, const struct letter *letter, long length, bool in_order);
bool receive_letter(unsigned long long *own, bool waits);
void work(int number, unsigned life);

#endif
