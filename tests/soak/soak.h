/*
 * soak.h - what the conductor of a soak and its members know of each other. It lies in memory that survives everybody,
 * an exec as well, and is written without locks: a member can be killed at any instruction.
 *
 *   soak.c     the conductor: starts, kills, stops and continues members, calls them to rest
 *   ledger.c   what is known of the segments
 *   member*.c  random operations, each answer held against what may be: see member.h
 *   quiet.c    while all rest: what there is against what there should be
 */
#ifndef SOAK_H
#define SOAK_H

#include "ground.h"

enum { WORKERS = 16, MEMBERS = 48, KEYS = 24, FIRST_KEY = 0x50A4, HOLDS = 10, SOAK_FD = 100, SLOTS = 32768 };
enum { MOST_PAGES = 32, MANY_SEGMENTS = 120, COMPLAINTS = 40 };

/* One that performs operations: a worker, or the child of one. */
struct member {
	_Atomic pid_t pid; /* 0: the place is free; -1: taken for a child that is not there yet */
	_Atomic int parent; /* the place of who started it; -1: the conductor */
	_Atomic unsigned resting; /* the pause that it has seen */
	_Atomic int doing; /* an operation, for the case that it never comes back */
	_Atomic bool killed; /* by the conductor */
	unsigned long long seed;
	uid_t uid;
};

struct soak {
	char base[256], directory[300];
	bool system, forced; /* several users; shm_rmid_forced */
	pid_t conductor;
	_Atomic unsigned pause; /* odd: rest */
	_Atomic bool over;
	struct member member[MEMBERS];
	/*
	 * What is known of the segment in each slot. A segment that somebody has been given, and that nobody has begun
	 * to remove, is there.
	 */
	_Atomic uint64_t ledger[SLOTS]; /* id << 8 | what has become of it */
	/* Which of its first 32 pages bear its stamp: they must go on doing so. */
	_Atomic uint64_t witness[SLOTS]; /* id << 32 | a bit for each page */
	_Atomic long operations[40];
	_Atomic int complaints;
	char complaint[COMPLAINTS][300];
	/* For and from the observer. */
	int processes;
	pid_t process[4 * MEMBERS];
	long kills; /* since the last rest: as many segments may have been made of which nobody told */
	long segments, attaches, marked, unknown, stamped;
	struct sight list[4096];
};
extern struct soak *soak;

enum { GIVEN = 1, REMOVING = 2, REMOVED = 3 };
void ledger_given(int id);
void ledger_put(int id, int state);

void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t stamp_of(int id, unsigned page);
/* Whether the page that is seen at `at` may belong to this segment; `may_write`: it gets its stamp. */
bool look_at_page(int id, size_t size, unsigned page, unsigned char *at, bool may_write);

extern const char *const operation_names[];
extern const int operation_count;
void member_run(int place) __attribute__((noreturn));
uid_t uid_of(int worker);

job job_quiet, job_sweep_all;

#endif
