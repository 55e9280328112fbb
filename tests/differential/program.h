/*
 * The randomized differential test: one random program of calls, executed on the
 * kernel and under the shim, one step at a time, and the two traces compared.
 *
 *   generate*.c  seed -> program (a list of steps); knows no result, so both sides get the same list
 *   worker*.c    a process that performs the steps it is sent and reports what it saw
 *   conductor.c  starts the workers of one side, sends the steps, gathers the trace; never under the shim
 *   sleepers.c   the same for programs of semaphores and queues, whose calls may sleep
 *   isolation.c  the kernel's namespaces
 *   normalise.c  pids -> worker names, times -> epochs: what legitimately differs between two runs
 *   minimise.c   fewer steps, same difference
 *   compare.c    both sides of one program, and the first difference
 *   main.c       the command line; many seeds at a time; self-test
 *
 * A step refers to earlier results by the name of the step that had them ("the id that
 * step 12 created", "the attach that step 30 made, plus 4096"), never by value, so a
 * program means the same on both sides and goes on meaning something when a step is taken out.
 *
 * What is accepted to differ is marked `Divergence:` where it is normalised.
 */
#ifndef DIFFERENTIAL_PROGRAM_H
#define DIFFERENTIAL_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096L
/* Addresses a program gives itself lie here; neither kernel nor shim ever chooses one of them. */
#define ARENA ((char *)0x2000000000L)
#define ARENA_PAGES 40
#define MAX_STEPS 4000   /* steps of one program */
#define MAX_WORKERS 48   /* processes over the life of one program; worker 0 is the observer */
#define OBSERVER 0
#define MESSAGE_MAX (128 * 1024)

enum op {
	OP_GET, OP_AT, OP_DT, OP_CTL,
	OP_MUNMAP, OP_MREMAP, OP_MMAP, OP_MPROTECT, OP_MADVISE,
	OP_POKE, OP_PEEK, OP_FILL, OP_SUM, OP_READ,
	OP_MAPS, OP_SNAPSHOT, OP_PROCSHM, OP_LIMITS, OP_SETLIMIT, OP_CHURN,
	OP_FORK, OP_NEW, OP_EXEC, OP_EXIT, OP_KILL, OP_VFORK, OP_SPAWN,
	OP_SETUID, OP_SETGID, OP_SETGROUPS, OP_DROPCAP, OP_MEMLOCK, OP_LEAVEMAIN,
	OP_TICK,
	OP_SEMGET, OP_SEMOP, OP_SEMCTL, OP_MSGGET, OP_MSGSND, OP_MSGRCV, OP_MSGCTL, OP_IPCLOOK, OP_SIGNAL,
	OP_REAP, OP_TOUCH, /* never generated: the conductor's own */
	OP_COUNT
};

/* How the worker performs a step. */
enum mode {
	MODE_PLAIN,
	MODE_THREAD, /* in a thread that ends before the step does */
	MODE_CHILD,  /* in a forked child that exits before the step does */
	MODE_AS      /* with another effective uid, put back afterwards */
};

enum id_kind {
	ID_VALUE,     /* value itself */
	ID_OF,        /* what shmget step `name` returned */
	ID_WRONG_SEQ, /* that + 32768: right slot, wrong sequence number */
	ID_INDEX,     /* that & 32767 */
	ID_NEXT       /* that + 1 */
};
struct id_ref {
	int32_t kind, name;
	int64_t value; /* the number; for the other kinds the conductor fills it in */
};

enum addr_kind {
	ADDR_VALUE,  /* value itself (NULL, -1, a kernel address) */
	ADDR_ARENA,  /* ARENA + value */
	ADDR_ATTACH  /* where shmat(NULL) of step `name` went, + value */
};
struct addr_ref {
	int32_t kind, name;
	int64_t value;
};

enum buffer { BUF_GOOD, BUF_NULL, BUF_UNMAPPED, BUF_READONLY, BUF_TAIL, BUF_KERNEL, BUF_ARENA, BUF_COUNT };
enum ending { END__EXIT, END_EXIT, END_ABORT, END_SEGV, END_COUNT };
enum limit { LIMIT_MAX, LIMIT_ALL, LIMIT_MNI, LIMIT_RMID_FORCED, LIMIT_COUNT };

/* Deliberate misreports, for the self-test: a check that finds none of them checks nothing. */
enum perturb {
	PERTURB_NONE, PERTURB_NATTCH, PERTURB_MODE, PERTURB_LPID, PERTURB_DTIME, PERTURB_ERRNO,
	PERTURB_BYTE, PERTURB_ID, PERTURB_PROC_TEXT, PERTURB_LIMIT, PERTURB_MAPS, PERTURB_SIGNAL,
	PERTURB_SIZE, PERTURB_UID, PERTURB_DEATH,
	PERTURB_SEMVAL, PERTURB_NCNT, PERTURB_WAKE, PERTURB_MESSAGE, /* from here on in programs of semaphores and queues */
	PERTURB_COUNT
};

/*
 * One step. What the numbers mean, by operation:
 *   GET n0 key, n1 size, n2 flags, n3 the size is n1 + that of step n4's segment   AT id, at, n0 flags
 *   DT at   CTL id, n0 cmd, n1 buffer, at (BUF_ARENA), n2 uid n3 gid n4 mode (IPC_SET)
 *   MUNMAP at n0 pages   MREMAP at n0 old pages, n1 new pages, n2 flags, to   MMAP at n0 pages n1 prot n2 no-replace
 *   MPROTECT, MADVISE at n0 prot / advice   POKE, PEEK at n0 byte   FILL, SUM, READ at n0 pages
 *   SETLIMIT n0 which, n1 value, n2 good   CHURN n0 times   FORK, NEW n0 the new worker, n1 uid (NEW)
 *   REAP n0 child's pid   TOUCH id n0 flags: attach and detach
 *   SEMGET n0 key n1 nsems n2 flags   SEMOP id n0 how many, n1 the operations (packed_op), n2 enum wait
 *   SEMCTL id n0 cmd n1 number n2 value or uid n3 gid n4 mode
 *   MSGGET n0 key n1 flags   MSGSND id n0 type n1 bytes n2 flags   MSGRCV id n0 bytes n1 type n2 flags
 *   MSGCTL id n0 cmd n1 qbytes n2 uid n3 gid n4 mode   SIGNAL: a signal with a handler, to one that sleeps
 *   EXIT n0 ending   SETUID n0   SETGID n0   SETGROUPS n0, n1 (0 = none)   DROPCAP n0 capability   MEMLOCK n0 bytes (-1: no limit)
 */
struct step {
	int32_t name; /* position in the program as generated; stays when others are removed */
	int32_t worker, op, mode;
	int64_t as_uid;
	struct id_ref id;
	struct addr_ref at, to;
	int64_t n[5];
	int32_t perturb; /* set by the conductor */
	uint64_t stained; /* by the conductor: indices of sets whose otime is not told (see sleepers.c) */
};

/* What a program assumes about who runs it. */
struct setup {
	bool several_uids;   /* root and three more; system scope */
	int64_t base_uid;    /* the uid of all workers when there is only one */
	int64_t uids[4];     /* what setuid, IPC_SET and the like choose from */
	int64_t gids[4];     /* the same for gids */
	bool fresh_observer; /* a new process for each snapshot: the namespace may be without any process in between */
	bool alone;          /* there is no other uid to give anything to */
	bool rmid_forced;    /* may set shm_rmid_forced */
	bool limits;         /* may write /proc/sys/kernel/shm* */
	bool caps;           /* may drop capabilities */
	bool waits;          /* a program of semaphores and queues instead of segments */
};
struct program {
	uint64_t seed;
	struct setup setup;
	int count;
	struct step steps[MAX_STEPS];
};

/* What a worker answers: this, then text. */
struct reply {
	int64_t ret;
	int32_t pid;
	int32_t has_ret;
};

enum profile { PROFILE_ROOT, PROFILE_USER };

/* How long a semop may sleep: for ever, by semtimedop with a time that is over at once, nothing, very long, or no time at all. */
enum wait { WAIT_EVER, WAIT_MOMENT, WAIT_NOTHING, WAIT_LONG, WAIT_BAD, WAIT_COUNT };

enum { PACKED_NOWAIT = 1, PACKED_UNDO = 2, PACKED_OPS = 4 };
struct packed_op {
	int num, op, flags;
};
/* Four operations in a number: 4 bits for the semaphore, 8 for what is added, 4 for the flags. */
static inline struct packed_op packed_op(int64_t ops, int k)
{
	uint64_t one = (uint64_t)ops >> 16 * k;

	return (struct packed_op){ (int)(one & 15), (int8_t)(one >> 4 & 255), (int)(one >> 12 & 15) };
}
static inline int64_t pack_op(struct packed_op op, int k)
{
	return (int64_t)(((uint64_t)(op.num & 15) | (uint64_t)(uint8_t)op.op << 4 | (uint64_t)(op.flags & 15) << 12) << 16 * k);
}

/* Ids are counted for each kind alone. */
enum kind { KIND_SHM, KIND_SEM, KIND_MSG, KINDS };
static inline enum kind kind_of(const struct step *step)
{
	switch (step->op) {
	case OP_SEMGET: case OP_SEMOP: case OP_SEMCTL: return KIND_SEM;
	case OP_MSGGET: case OP_MSGSND: case OP_MSGRCV: case OP_MSGCTL: return KIND_MSG;
	default: return KIND_SHM;
	}
}
static inline bool gives_a_new_id(const struct step *step)
{
	return step->op == OP_GET || step->op == OP_SEMGET || step->op == OP_MSGGET;
}

void generate(struct program *program, uint64_t seed, int steps, enum profile profile, int64_t own_uid, int64_t own_gid, bool waits);
void describe(char *out, size_t size, const struct step *step);
bool describe_ipc(char *out, size_t size, const struct step *step); /* false: not an operation of semaphores and queues */
const char *op_name(int op);
const char *perturb_name(int perturb);
bool step_matches(const struct step *step, const char *list); /* named in a comma separated list (--without) */

#endif
