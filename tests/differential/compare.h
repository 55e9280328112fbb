/* One program on two sides, and what became of it. */
#ifndef DIFFERENTIAL_COMPARE_H
#define DIFFERENTIAL_COMPARE_H

#include <stdio.h>

#include "conductor.h"

struct trace {
	int count;
	struct record *records;
	char **texts;
	char *bytes;
};

enum verdict { SAME, DIFFERENT, SKIPPED };

struct comparison {
	struct trace traces[2];
	enum verdict verdict;
	int first;          /* the first record that differs */
	char signature[96]; /* what kind of difference: equal for two programs that show the same one, more or less */
};

struct pair {
	const struct program *program;
	bool kept[MAX_STEPS];
	struct side sides[2];
	const char *names[2]; /* "kernel", "shim" */
	const char *base;     /* for fresh base directories */
};

/* Both sides at the same time; release() the result. */
struct comparison run_pair(const struct pair *pair);
/* Does the kernel say the same once more, up to the difference? */
bool kernel_is_steady(const struct pair *pair, const struct comparison *comparison);
void release(struct comparison *comparison);
void report(FILE *out, const struct pair *pair, const struct comparison *comparison, int before);
/* Everything up to the first difference; of each step the first line, or all. */
void print_traces(FILE *out, const struct pair *pair, const struct comparison *comparison, bool all);

/* minimise.c: takes steps out of pair->kept as long as the difference stays; the number left, or -1: there was none. */
int minimise(struct pair *pair, FILE *progress);

#endif
