/*
 * halves.h - what the parts of halves.c share: the scene of a trial, who sleeps in it, and the cases.
 *
 *   halves_scene.c     what every case uses: values, messages, sleepers
 *   halves_sets.c      cases of semaphore sets
 *   halves_queues.c    cases of message queues
 *   halves_handlers.c  cases that are not killed, but handle a signal in the midst of the call
 *   halves_leaks.c     what is lost by kills
 */
#ifndef HALVES_H
#define HALVES_H

#include "crash.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <sys/msg.h>
#include <sys/sem.h>

/* A lost wake-up is made up for within 1.4 s; the rest is for a loaded machine. */
enum { SEMAPHORES = 3, SLEEPERS = 3, PATIENCE = 20000, TEXT = 600 };

union semun { int val; struct semid_ds *buf; unsigned short *array; };

struct letter {
	long type;
	char text[TEXT];
};

/* What is between the processes of a trial. */
struct scene {
	int set, queue;
	key_t key;
	atomic_ulong rounds;
	struct slept {
		atomic_int pid, done;
		int value, error;
		struct letter letter;
	} slept[SLEEPERS];
};
extern struct scene *scene;

extern unsigned long long random_state;
unsigned pick(unsigned below);
long now(void);

#define OPS(...)                                                                                   \
	({                                                                                         \
		struct sembuf ops_[] = { __VA_ARGS__ };                                            \
		semop(scene->set, ops_, sizeof ops_ / sizeof *ops_);                               \
	})

extern char reason[300];
#define MUST_BE(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			snprintf(reason, sizeof reason, "not so: %s", #condition);                  \
			return false;                                                              \
		}                                                                                  \
	} while (0)

int value(int number);
int waiting(int number);
int letters(void);
int send_one(long type, size_t size);
int get_one(void);

/* --- processes that sleep */
struct slept *begin_sleeper(int number, void (*call)(struct slept *));
bool wait_for(struct slept *);
void take_one(struct slept *);

/* --- a set of 5, 0 and 2: tokens go from the first semaphore to the second */
void values_are(int a, int b, int c);
void plain_set(void);
void move_one(void);
bool nothing_moved(void);

/* --- cases: what is there, what the victim does, and what is right afterwards; the last of a list has no name */
struct step_case {
	const char *name;
	void (*arrange)(void), (*act)(void);
	bool (*is_right)(void);
	bool is_cold; /* the victim's first call */
	void (*meanwhile)(int); /* in place of the kill */
};
extern const struct step_case set_cases[], handler_cases[], queue_cases[];

/* --- halves_handlers.c: how the victim goes on behind its call */
extern bool may_jump;
extern sigjmp_buf jump;
void go_on(void);

/* --- halves_leaks.c */
void leak(int kills);

#endif
