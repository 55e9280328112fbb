/*
 * semtest.h - what the tests about semaphores share, on top of sleepers.h: calls in short, tables of errnos, and
 * processes that sleep in semop.
 *
 * A sleeper is a process with a number. SLEEPER(n, set, OP(0, -1, 0), ...) returns when it is in the queue of the set: the
 * counts of the set tell. Who is served leaves the counts within the call that serves, so what a test reads next holds
 * at any load, and nothing here waits for a time to pass.
 */
#ifndef SEMTEST_H
#define SEMTEST_H

#include "sleepers.h"
#include <sys/sem.h>

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

union semun { int val; struct semid_ds *buf; unsigned short *array; struct seminfo *info; void *any; long word; };

/* ------------------------------------------------------- calls in short */

#define OP(num, op, flg) ((struct sembuf){ (num), (op), (flg) })
/* semop with the operations that are written behind the id. */
#define DO_OPS(id, ...)                                                                            \
	({                                                                                         \
		struct sembuf ops_[] = { __VA_ARGS__ };                                            \
		semop((id), ops_, sizeof ops_ / sizeof *ops_);                                     \
	})

static inline int ctl_arg(int id, int num, int cmd, void *arg) { return semctl(id, num, cmd, (union semun){ .any = arg }); }
static inline int new_set(int nsems) { return MUST(semget(IPC_PRIVATE, nsems, 0600)); }
static inline int value_of(int id, int num) { return MUST(semctl(id, num, GETVAL)); }
static inline int pid_of(int id, int num) { return MUST(semctl(id, num, GETPID)); }
static inline int ncnt_of(int id, int num) { return MUST(semctl(id, num, GETNCNT)); }
static inline int zcnt_of(int id, int num) { return MUST(semctl(id, num, GETZCNT)); }
static inline int set_value(int id, int num, int value) { return semctl(id, num, SETVAL, (union semun){ .val = value }); }
static inline int remove_set(int id) { return semctl(id, 0, IPC_RMID); }
#define SET_ALL(id, ...) ctl_arg(id, 0, SETALL, ((unsigned short[]){ __VA_ARGS__ }))

static inline struct semid_ds set_stat(int id)
{
	struct semid_ds d;
	MUST(ctl_arg(id, 0, IPC_STAT, &d));
	return d;
}
static inline bool set_exists(int id)
{
	struct semid_ds d;
	return ctl_arg(id, 0, IPC_STAT, &d) == 0;
}
static inline int set_mode(int id, int mode)
{
	struct semid_ds d = set_stat(id);
	d.sem_perm.mode = (unsigned short)mode;
	return ctl_arg(id, 0, IPC_SET, &d);
}
static inline int set_at(int index)
{
	struct semid_ds d;
	return MUST(ctl_arg(index, 0, SEM_STAT_ANY, &d));
}

/* The values of the first semaphores of a set, as text: one comparison says all. */
static inline const char *values_of(int id, int n)
{
	static char text[256];
	int at = 0;
	for (int i = 0; i < n; i++)
		at += snprintf(text + at, sizeof text - (size_t)at, "%s%d", i ? " " : "", value_of(id, i));
	return text;
}
/* Who waits for what: "decrease/zero" for each semaphore. */
static inline const char *counts_of(int id, int n)
{
	static char text[256];
	int at = 0;
	for (int i = 0; i < n; i++)
		at += snprintf(text + at, sizeof text - (size_t)at, "%s%d/%d", i ? " " : "", ncnt_of(id, i), zcnt_of(id, i));
	return text;
}

/* Field by field, as CHECK_SAME. */
static inline void check_same_set(const char *file, int line, const struct semid_ds *was, const struct semid_ds *is)
{
#define SAME(field)                                                                                \
	if (was->field != is->field)                                                               \
		fail_at(file, line, #field " was %lld, is %lld", (long long)was->field, (long long)is->field)
	COUNT_CHECK();
	SAME(sem_perm.__key);
	SAME(sem_perm.uid);
	SAME(sem_perm.gid);
	SAME(sem_perm.cuid);
	SAME(sem_perm.cgid);
	SAME(sem_perm.mode);
	SAME(sem_perm.__seq);
	SAME(sem_otime);
	SAME(sem_ctime);
	SAME(sem_nsems);
#undef SAME
}
#define CHECK_SAME_SET(was, is) check_same_set(__FILE__, __LINE__, &(was), &(is))

/* ----------------------------------------------------- tables of errnos */

struct semget_case { const char *what; key_t key; int nsems, flags, err; };
struct semctl_case { const char *what; int id, num, cmd; union semun arg; int err; };

#define SEMGET_CASES(table)                                                                        \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct semget_case *c_ = &(table)[i_];                                       \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "semget(%#x, %d, %#o)", (unsigned)c_->key, c_->nsems, (unsigned)c_->flags); \
		errno = 0;                                                                         \
		long r_ = semget(c_->key, c_->nsems, c_->flags);                                   \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

#define SEMCTL_CASES(table)                                                                        \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct semctl_case *c_ = &(table)[i_];                                       \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "semctl(%d, %d, %d, %#lx)", c_->id, c_->num, c_->cmd, (unsigned long)c_->arg.word); \
		errno = 0;                                                                         \
		long r_ = semctl(c_->id, c_->num, c_->cmd, c_->arg);                               \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

/* ------------------------------------------------------------ sleepers */

/* How many sleep in a set: each counts for the one semaphore that it waits for. */
static inline int asleep_in(int id)
{
	int all = 0, n = (int)set_stat(id).sem_nsems;
	for (int i = 0; i < n; i++)
		all += ncnt_of(id, i) + zcnt_of(id, i);
	return all;
}

enum { SERVED = -1, NOT_YET = 0 };

/* What the sleepers of a test have got: SERVED, or an errno. */
struct outcome { atomic_int result[SLEEPERS]; };
static struct outcome *outcome;

static inline int semop_until(int id, struct sembuf *ops, size_t n, const struct timespec *limit)
{
	return limit ? semtimedop(id, ops, n, limit) : semop(id, ops, n);
}

/* Starts process n, which calls and notes what it got; `stays`: it lives on then. Returns when it sleeps. */
static inline void start_sleeper(int n, int id, struct sembuf *ops, size_t count, const struct timespec *limit, bool stays)
{
	int before = asleep_in(id);
	if (!outcome)
		outcome = shared_memory(sizeof *outcome);
	outcome->result[n] = NOT_YET;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		int r = semop_until(id, ops, count, limit);
		outcome->result[n] = r == 0 ? SERVED : errno;
		while (stays)
			pause();
		_exit(0);
	}
	sleeper_pid[n] = pid;
	while (asleep_in(id) != before + 1)
		if (outcome->result[n] != NOT_YET)
			FATAL("%d does not sleep: %s", n, outcome->result[n] == SERVED ? "served" : errno_name(outcome->result[n]));
		else
			short_pause();
}
#define SLEEPER_WITH(n, id, limit, stays, ...)                                                     \
	({                                                                                         \
		struct sembuf ops_[] = { __VA_ARGS__ };                                            \
		start_sleeper(n, id, ops_, sizeof ops_ / sizeof *ops_, limit, stays);              \
	})
#define SLEEPER(n, id, ...) SLEEPER_WITH(n, id, NULL, false, __VA_ARGS__)
/* One that does not end when it was served. */
#define STAYING_SLEEPER(n, id, ...) SLEEPER_WITH(n, id, NULL, true, __VA_ARGS__)

static inline int result_of(int n)
{
	while (outcome->result[n] == NOT_YET)
		short_pause();
	return outcome->result[n];
}
static inline bool sleeps(int n) { return outcome->result[n] == NOT_YET; }

static inline void check_result(const char *file, int line, int n, int expected)
{
	int r = result_of(n);
	COUNT_CHECK();
	if (r != expected)
		fail_at(file, line, "sleeper %d: %s, expected %s", n, r == SERVED ? "served" : errno_name(r),
			expected == SERVED ? "served" : errno_name(expected));
}
/* Sleeper n has returned (or is about to), with this. */
#define CHECK_SERVED(n) check_result(__FILE__, __LINE__, n, SERVED)
#define CHECK_ENDED(n, err) check_result(__FILE__, __LINE__, n, err)

/* Ends a child that waits in pause(). */
static inline void kill_and_reap(pid_t pid)
{
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
}

/* A child that does what stands in the block and then waits to be killed; returns when it has done it. */
static inline pid_t holder_begin(struct gate *done)
{
	*done = gate_make();
	return MUST(fork());
}
#define HOLDER(...)                                                                                \
	({                                                                                         \
		struct gate done_;                                                                 \
		pid_t pid_ = holder_begin(&done_);                                                 \
		if (pid_ == 0) {                                                                   \
			__VA_ARGS__;                                                               \
			gate_open(&done_);                                                         \
			for (;;)                                                                   \
				pause();                                                           \
		}                                                                                  \
		gate_wait(&done_);                                                                 \
		close(done_.fd[0]), close(done_.fd[1]);                                            \
		pid_;                                                                              \
	})

#endif
