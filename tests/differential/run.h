/* What the files of the conductor share: the program that is running on one side. */
#ifndef DIFFERENTIAL_RUN_H
#define DIFFERENTIAL_RUN_H

#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "conductor.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif
#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

#define ANSWER_WITHIN_MS 30000 /* a worker that says nothing for so long hangs */

struct run {
	const struct program *program;
	const struct side *side;
	int trace;
	struct names names;
	struct {
		int channel, pid, pidfd, parent; /* parent: a worker, or -1 */
		int64_t uid;
		bool live;
		bool asleep; /* in the call of `sleeps_in`, which it has not answered yet */
		struct step sleeps_in;
		long switches;         /* how often it had gone to sleep by then */
		uint64_t will_stain;   /* sets on which an operation with SEM_UNDO has failed */
	} workers[MAX_WORKERS];
	uint64_t stained;       /* sets whose otime the two sides need not agree on */
	int64_t ids[MAX_STEPS]; /* what each shmget step returned; -1: nothing */
	struct {
		int64_t id, creator, owner; /* owner -1: not known */
	} segments[MAX_STEPS];
	int segment_count;
	bool unseen_death;      /* since the last snapshot */
	char raw[MESSAGE_MAX], text[2 * MESSAGE_MAX];
};
extern struct run run;

enum answer { ANSWERED, DIED, HANGS };

/* conductor.c */
void write_record(int name, const char *text);
void wait_for_death(int w);
enum answer listen_to(int w, int pidfd, struct reply *reply);
void append(int step, const char *who);
void append_answer(int step, enum answer answer, int w);
void start_worker(int step, int w, int64_t uid);
void send_step(const struct step *step);
void take_answer(const struct step *step, const struct reply *answer);
void look(int name, const char *when);
void resolve_id(struct step *step);
bool begin_step(const struct step *step);

/* sleepers.c */
bool has_answered(int w);
void do_step_that_may_sleep(const struct step *planned);
void after_a_death(int name, int w);

/* asleep.c */
enum stage { RUNS, HAS_ANSWERED, SLEEPS, MISSES_A_WAKE_UP };
enum stage stage_of(int w);

#endif
