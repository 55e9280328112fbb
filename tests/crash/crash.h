/*
 * crash.h - programs that are killed, refused or attacked while they use shared memory, and the question what the
 * next one finds.
 *
 * One program plays all parts. The driver (no shared memory of its own) forks actors: a holder that has segments
 * attached all the time, a victim that is traced while it performs one operation, and observers. An actor executes
 * jobs that the driver names by function pointer; what they know of each other lies in `the`, memory they share.
 *
 *   actor.c     processes that execute jobs
 *   tracer.c    runs a victim to a point: a system call's beginning or end, a change of the shared table
 *   table.c     the shared table's bytes, and how much of the file of sets and queues is in use
 *   world.c     the segments that are there before, and their removal afterwards
 *   ops*.c      the operations
 *   observe.c   what a process sees of the namespace, and whether it can be true
 *   trial.c     one operation, one point, one verdict
 */
#ifndef CRASH_H
#define CRASH_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef SHM_DEST
#define SHM_DEST 01000
#define SHM_LOCKED 02000
#endif
#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

enum { HUGE_BYTES = 2 << 20, PAGE = 4096, MAX_SEGMENTS = 640, MAX_CROWD = 80, MAX_TEXT = 4096 };

/* What a segment is to be before the operation and after it. */
struct state {
	bool exists;
	bool marked;
	unsigned mode;
};

struct segment {
	int id; /* -1: not known, because a victim makes it */
	key_t key; /* as created */
	size_t size;
	unsigned seed; /* of its contents; 0: zeros */
	struct state is[2];
};

/* What a process saw. */
struct sight {
	int id;
	key_t key;
	size_t size;
	unsigned mode;
	unsigned long nattch;
};

struct observation {
	int keys[MAX_SEGMENTS]; /* what shmget said of the model's keys: an id, or minus an errno */
	int stats[MAX_SEGMENTS]; /* what IPC_STAT said of the model's ids: 0, or minus an errno */
	struct sight stat[MAX_SEGMENTS];
	int listed, walked;
	struct sight list[MAX_SEGMENTS]; /* /proc/sysvipc/shm */
	struct sight walk[MAX_SEGMENTS]; /* SHM_STAT_ANY of every index */
	long used_ids, total_pages;
	int failed; /* an errno that no caller can expect, or 0 */
	const char *what; /* ... and of what */
};

struct answer {
	int value, error;
};

struct shared {
	char base[256], directory[300];
	bool on_kernel, system;
	int segments;
	struct segment segment[MAX_SEGMENTS];
	struct observation first, second;
	bool zeros_too; /* a segment may be shown as a new one, but not as another */
	bool handlers; /* programs have signal handlers, which the library serves in another way */
	bool child_asks; /* the child of a victim makes one more call, which nobody hinders, before it reports */
	void *address[8]; /* a victim's attaches */
	int forked[2]; /* the pipe by which the child of a victim reports */
	int leash[2]; /* the pipe whose end tells such a child to end */
	char text[MAX_TEXT];
};
extern struct shared *the;

/* The segments of every world. */
enum { LONE, HELD, TWICE, MARKED, BASE_SEGMENTS };

/* --- report.c: for the programs that count what passed by themselves */
struct count {
	long passed, failed, skipped;
};
extern struct count counted;
void passed(void);
void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
void skipped(const char *format, ...) __attribute__((format(printf, 1, 2)));
int count_up(void); /* prints the last line; the exit status */

/* --- actor.c */
typedef int job(int argument);
struct actor {
	pid_t pid;
	int to, from;
	bool open;
};
void actor_start(struct actor *);
bool actor_send(struct actor *, job *, int argument);
enum heard { HEARD, GONE, SILENT };
/* Who says nothing for so many milliseconds hangs: more than any job takes where twenty others want the processor. */
enum { HANG_MS = 60000 };
enum heard actor_hear(struct actor *, struct answer *, int milliseconds);
struct answer actor_do(struct actor *, job *, int argument);
void actor_kill(struct actor *);
void actor_is_gone(struct actor *);
void kill_and_wait(pid_t);
void fatal(const char *, ...) __attribute__((format(printf, 1, 2), noreturn));

/* --- tracer.c */
enum { BEGIN_MARK = 0x534801, END_MARK = 0x534802 };
struct point {
	int stop; /* system call stops since the beginning */
	int change; /* changes of the table since then; 0: at the stop itself */
};
struct profile {
	int first; /* the first stop that is a point */
	int stops; /* how many there are */
	int *changes; /* table changes behind each */
	char *locked; /* whether the lock was held after the first of them */
	int total_changes;
	long steps;
};
enum reached { REACHED, PASSED /* the point is not there */, ENDED, DIED, STUCK };
enum follow { FOLLOW_PARENT, FOLLOW_PARENT_CHILD_FIRST, FOLLOW_CHILD };
struct tracee {
	pid_t pid, other; /* the one that is traced; the child or parent that a fork gave it */
	bool other_waits; /* the other is stopped still */
	bool other_spoke; /* it has returned from fork */
	int first; /* the first stop of the one that is to be killed */
	enum follow follow;
	int stop;
	bool entering, looks_around;
	long number, arguments[6], result;
};
bool trace_attach(struct tracee *, pid_t, enum follow);
bool trace_to_beginning(struct tracee *);
enum reached trace_profile(struct tracee *, struct profile *, bool steps);
enum reached trace_to(struct tracee *, struct point);
enum reached trace_next_stop(struct tracee *);
void trace_let_go(struct tracee *);
void trace_refuse(struct tracee *);
void trace_answer(struct tracee *, long result);
void trace_release_other(struct tracee *);
bool child_spoke(void);
void mark(long which);

/* --- table.c */
void table_forget(void), table_look(void);
bool table_changed(void), table_is_locked(void), table_holds(char *text, size_t size);
struct books {
	unsigned slots, cells, records, free_records, dying; /* in use, but for the free ones */
	unsigned slots_ready, cells_ready, records_ready; /* backed by pages */
	uint32_t lock, journal_armed;
};
bool table_books(struct books *);
pid_t table_lock_owner(void);
long arena_bytes(void);

/* --- world.c */
struct world {
	struct actor holder, crowd[MAX_CROWD];
	int crowded;
	pid_t extra[4]; /* others that may have something attached: children of victims */
	int extras;
};
const char *base_begin(bool on_kernel);
void base_end(void);
void base_mode(unsigned mode);
void world_make(struct world *, unsigned flags);
void world_end(struct world *);
struct segment *world_add(int id, key_t key, size_t size, unsigned seed, unsigned mode);
void crowd_grow(struct world *, int count);
int crowd_shrink(struct world *);
unsigned char content(unsigned seed, size_t at);
void fill(void *, unsigned seed, size_t size);
bool filled(const void *, unsigned seed, size_t size);
unsigned long attaches_of(const struct world *, const struct segment *);
void remove_tree(const char *path);
long used_blocks(void), tree_blocks(void), blocks_below(const char *path), tree_files(const char *below);
bool owns_file_system(void), has_huge_pages(void);
long huge_files(void);
bool files_fit(const struct observation *, char *text, size_t size);

/* --- ops.c */
enum op_flags {
	EMPTY = 1, /* nothing is there: the operation makes the namespace */
	CHILD = 2, /* the child of the fork is the victim */
	CHILD_FIRST = 4, /* the child goes on before its parent does */
	HEAVY = 8, /* the world takes long to make: fewer points when sampling */
	ENDS = 16, /* the victim's process ends by it */
	FORKS = 32,
	SYSTEM = 64, /* in system scope, made by root: only root can try it */
	SHIM_ONLY = 128,
	NO_DESCRIPTORS = 256, /* nor can the victim write its trace */
	OTHER_UID = 512, /* nor can one who has become another user */
	HUGE_PAGES = 2048, /* with a hugetlbfs: only root can mount one */
	FORCED = 1024, /* with shm_rmid_forced, which the holder sets, and takes back before others look */
};
struct op {
	const char *name;
	void (*arrange)(struct world *); /* by the driver: more of the world, and what is to be */
	job *prepare; /* by the victim, before it is traced */
	job *act; /* by the victim, traced between its marks; returns what the call returned */
	unsigned flags;
	const char *call; /* the call whose errnos are allowed */
};
extern const struct op ops[];
extern const int op_count;
const struct op *op_named(const char *);

/* --- observe.c */
job job_observe_first, job_observe_second, job_contents, job_whole_life, job_remove_all, job_is_empty;
bool observation_differs(char *text, size_t size);
int observation_matches(const struct world *, char *text, size_t size); /* bit 0: before, bit 1: after */

/* --- trial.c */
void prepare_victim(const struct op *, struct actor *);
bool begin_victim(const struct op *, struct actor *, struct tracee *);
void end_victim(struct actor *, struct tracee *); /* kills both of a fork, if it came to one */
struct tally {
	long tried, failed, missed, late;
};
job job_reap, job_force;
extern bool verbose;
extern int shown_failures;
bool look_after(const struct op *, struct world *, int variant, int allowed, char *text, size_t size);
bool clean_up(const struct op *, struct world *, char *text, size_t size, struct tally *);
void failure(const char *op, const char *where, const char *text);

#endif
