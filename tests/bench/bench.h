/*
 * bench.h - what the files of the benchmark share.
 *
 * One program, run three ways by scripts/bench: on the kernel, under the shim,
 * and with bare system calls in place of System V ones (the floor). It
 * measures one case per run, so that the three take turns quickly.
 */
#ifndef BENCH_H
#define BENCH_H

#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Ends the run: a case that does not do what it says must not give a number. */
#define MUST(call)                                                                                 \
	({                                                                                         \
		__typeof__(call) must_ = (call);                                                   \
		if ((intptr_t)must_ == -1) {                                                       \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,              \
				strerror(errno));                                                  \
			exit(1);                                                                   \
		}                                                                                  \
		must_;                                                                             \
	})

static inline uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The time that a statement takes. */
#define TIMED(statement)                                                                           \
	({                                                                                         \
		uint64_t begin_ = now_ns();                                                        \
		statement;                                                                         \
		now_ns() - begin_;                                                                 \
	})

#define REPEAT(n) for (long repeat_ = (n); repeat_ > 0; repeat_--)

/* How something is measured. */
struct side {
	void (*prepare)(void);
	uint64_t (*run)(long n); /* does it n times, returns the nanoseconds that took */
	void (*finish)(void);
};

/* One line of the table. */
struct bench {
	const char *name;
	struct side shm;    /* through shmget, semget and the others */
	struct side bare;   /* the system calls that cannot be done without; run NULL: none */
	long batch;         /* how often it is done in one go; 0: as often as fits in a millisecond */
	const long *number; /* what `argument` is set to before `prepare` */
	size_t bytes;       /* what `bytes` is set to */
};

extern const struct bench shm_benches[], process_benches[], sem_benches[];

/* Set from the case that runs. */
extern long argument;
extern size_t bytes;

/* The median time of one, in nanoseconds, of the batches that `budget_ms` has room for, or of one. */
double median_ns(uint64_t (*run)(long n), long batch, double budget_ms);

/* Segments to be among. */
void make_crowd(long n);
void drop_crowd(void);
key_t crowd_key(long i);
int crowd_id(long i);

/* Other processes. */
void start_children(long n, void (*child)(void)); /* each calls `child`, then waits for its end */
void end_children(void);
void start_others(int count, uint64_t (*run)(long n)); /* so many processes that do the same all the time */
void end_others(void);

/* A directory as deep as the shim's, for bare system calls. */
const char *bare_path(void);
void bare_directory(void);

/* bench --scale AXIS N: prints a line per operation. */
int scale(const char *axis, long n, double budget_ms);

#endif
