/*
 * msgtest.h - what the tests about message queues share, on top of sleepers.h: calls in short, and processes that sleep in
 * msgsnd or msgrcv.
 *
 * What a receive gives is told as text: "3 hello" for a message of type 3, or the name of an errno; so one CHECK_STR says
 * all. A sleeper is a process with a number. RECEIVER(n, ...) and SENDER(n, ...) return when it is asleep: /proc tells.
 * A call that serves a sleeper has done so when it returns, so nothing here waits for a time to pass.
 */
#ifndef MSGTEST_H
#define MSGTEST_H

#include "sleepers.h"
#include <sys/msg.h>

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

enum { MSGMAX = 8192, MSGMNB = 16384, MSGMNI = 32000 };
struct message { long mtype; char mtext[MSGMAX]; };

/* ------------------------------------------------------- calls in short */

static inline int new_queue(void) { return MUST(msgget(IPC_PRIVATE, 0600)); }
static inline int remove_queue(int id) { return msgctl(id, IPC_RMID, NULL); }

static inline struct msqid_ds queue_stat(int id)
{
	struct msqid_ds d;
	MUST(msgctl(id, IPC_STAT, &d));
	return d;
}
static inline bool queue_exists(int id)
{
	struct msqid_ds d;
	return msgctl(id, IPC_STAT, &d) == 0;
}
/* The whole id of the queue that has this index. */
static inline int set_mode(int id, int mode)
{
	struct msqid_ds d = queue_stat(id);
	d.msg_perm.mode = (unsigned short)mode;
	return msgctl(id, IPC_SET, &d);
}
static inline int set_qbytes(int id, unsigned long qbytes)
{
	struct msqid_ds d = queue_stat(id);
	d.msg_qbytes = qbytes;
	return msgctl(id, IPC_SET, &d);
}
/* A queue that holds so many bytes. */
static inline int new_queue_of(unsigned long qbytes)
{
	int id = new_queue();
	MUST(set_qbytes(id, qbytes));
	return id;
}

static inline int send_with(int id, long type, const char *text, int flags)
{
	static struct message m;
	m.mtype = type;
	strcpy(m.mtext, text);
	return msgsnd(id, &m, strlen(text), flags);
}
static inline int send_text(int id, long type, const char *text) { return send_with(id, type, text, IPC_NOWAIT); }
static inline int send_bytes(int id, size_t n)
{
	static struct message m = { .mtype = 1 };
	return msgsnd(id, &m, n, IPC_NOWAIT);
}

/* What a receive gave, as text. */
static inline const char *described(char *out, size_t size, ssize_t n, const struct message *m)
{
	if (n < 0)
		snprintf(out, size, "%s", errno == ENOMSG ? "ENOMSG" : errno_name(errno));
	else
		snprintf(out, size, "%ld %.*s", m->mtype, (int)n, m->mtext);
	return out;
}
static inline const char *got_in(int id, size_t room, long type, int flags)
{
	static struct message m;
	static char text[sizeof m + 32];
	memset(&m, 0, sizeof m);
	errno = 0;
	return described(text, sizeof text, msgrcv(id, &m, room, type, flags | IPC_NOWAIT), &m);
}
/* msgrcv of this type, without sleeping. */
static inline const char *got(int id, long type, int flags) { return got_in(id, MSGMAX, type, flags); }
#define CHECK_EMPTY(id) CHECK_STR(got(id, 0, 0), "ENOMSG")

/* "messages/bytes" of a queue. */
static inline const char *held_by(int id)
{
	static char text[64];
	struct msqid_ds d = queue_stat(id);
	snprintf(text, sizeof text, "%lu/%lu", (unsigned long)d.msg_qnum, (unsigned long)d.__msg_cbytes);
	return text;
}
#define CHECK_HELD(id, expected) CHECK_STR(held_by(id), expected)

/* Field by field, as CHECK_SAME. */
static inline void check_same_queue(const char *file, int line, const struct msqid_ds *was, const struct msqid_ds *is)
{
#define SAME(field)                                                                                \
	if (was->field != is->field)                                                               \
		fail_at(file, line, #field " was %lld, is %lld", (long long)was->field, (long long)is->field)
	COUNT_CHECK();
	SAME(msg_perm.__key);
	SAME(msg_perm.uid);
	SAME(msg_perm.gid);
	SAME(msg_perm.cuid);
	SAME(msg_perm.cgid);
	SAME(msg_perm.mode);
	SAME(msg_perm.__seq);
	SAME(msg_stime);
	SAME(msg_rtime);
	SAME(msg_ctime);
	SAME(__msg_cbytes);
	SAME(msg_qnum);
	SAME(msg_qbytes);
	SAME(msg_lspid);
	SAME(msg_lrpid);
#undef SAME
}
#define CHECK_SAME_QUEUE(was, is) check_same_queue(__FILE__, __LINE__, &(was), &(is))

/* A kernel may be built without it. */
static inline void need_msg_copy(int id)
{
	struct message m;
	if (msgrcv(id, &m, 0, 0, MSG_COPY | IPC_NOWAIT) < 0 && errno == ENOSYS)
		SKIP("the kernel has no MSG_COPY");
}

/* ----------------------------------------------------- tables of errnos */

struct msgget_case { const char *what; key_t key; int flags, err; };
struct msgsnd_case { const char *what; int id; void *p; size_t size; int flags, err; };
struct msgrcv_case { const char *what; int id; void *p; size_t size; long type; int flags, err; };
struct msgctl_case { const char *what; int id, cmd; void *buf; int err; };

#define MSG_CASES(type, table, call, format, ...)                                                  \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct type *c = &(table)[i_];                                               \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, format, __VA_ARGS__);                                      \
		errno = 0;                                                                         \
		long r_ = call;                                                                    \
		case_at(__FILE__, __LINE__, c->what, s_, r_, errno, c->err);                       \
	}
#define MSGGET_CASES(table)                                                                        \
	MSG_CASES(msgget_case, table, msgget(c->key, c->flags), "msgget(%#x, %#o)", (unsigned)c->key, (unsigned)c->flags)
#define MSGSND_CASES(table)                                                                        \
	MSG_CASES(msgsnd_case, table, msgsnd(c->id, c->p, c->size, c->flags), "msgsnd(%d, %p, %zu, %#o)", c->id, c->p, \
		  c->size, (unsigned)c->flags)
#define MSGRCV_CASES(table)                                                                        \
	MSG_CASES(msgrcv_case, table, msgrcv(c->id, c->p, c->size, c->type, c->flags),             \
		  "msgrcv(%d, %p, %zu, %ld, %#o)", c->id, c->p, c->size, c->type, (unsigned)c->flags)
#define MSGCTL_CASES(table)                                                                        \
	MSG_CASES(msgctl_case, table, msgctl(c->id, c->cmd, c->buf), "msgctl(%d, %d, %p)", c->id, c->cmd, c->buf)

/* ------------------------------------------------------------ sleepers */

/* A static program's thread is asleep as soon as it has called. Once it is in the queue, its agent watches its state in a file
 * that it has open. */
static inline bool is_watched(pid_t tid)
{
	char path[64], end[64], link[128];
	bool found = false;
	DIR *all = opendir("/proc"), *open;
	snprintf(end, sizeof end, "/task/%d/stat", tid);
	for (struct dirent *process; all && !found && (process = readdir(all));) {
		snprintf(path, sizeof path, "/proc/%.20s/fd", process->d_name);
		if (!shmtest_all_digits(process->d_name) || !(open = opendir(path)))
			continue;
		for (struct dirent *fd; !found && (fd = readdir(open));) {
			ssize_t n = readlinkat(dirfd(open), fd->d_name, link, sizeof link - 1);
			link[n > 0 ? n : 0] = 0;
			found = n > (ssize_t)strlen(end) && !strcmp(link + n - strlen(end), end);
		}
		closedir(open);
	}
	if (all)
		closedir(all);
	return found;
}

/* Three times, as under the shim a thread may doze on its way. */
static inline bool is_asleep(pid_t pid)
{
	for (int i = 0; i < 3; i++) {
		if (state_of(pid) != 'S')
			return false;
		short_pause();
	}
	return !is_supervised() || is_watched(pid);
}

struct outcome { atomic_int calling, done; char text[100]; };
static struct outcome *outcome;
/* Run by a sleeper before its call: becomes another user, installs a handler. */
static void (*sleeper_prepares)(void);

/* Starts process n; true in the process itself, which is to make one call and then sleeper_end(). */
static inline bool sleeper_begin(int n, int id)
{
	struct msqid_ds d;
	if (!outcome)
		outcome = shared_memory(SLEEPERS * sizeof *outcome);
	memset(&outcome[n], 0, sizeof outcome[n]);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		if (sleeper_prepares)
			sleeper_prepares();
		/* Whatever a first call does beside, is done. */
		msgctl(id, IPC_STAT, &d);
		outcome[n].calling = 1;
		return true;
	}
	sleeper_pid[n] = pid;
	while (!outcome[n].calling || !is_asleep(pid)) {
		if (outcome[n].done)
			FATAL("%d does not sleep: %s", n, outcome[n].text);
		if (state_of(pid) == 'Z')
			FATAL("%d has ended", n);
		short_pause();
	}
	return false;
}
static inline void sleeper_end(int n)
{
	outcome[n].done = 1;
	_exit(0);
}
static inline void start_receiver(int n, int id, size_t room, long type, int flags)
{
	static struct message m;
	if (sleeper_begin(n, id)) {
		errno = 0;
		described(outcome[n].text, sizeof outcome[n].text, msgrcv(id, &m, room, type, flags), &m);
		sleeper_end(n);
	}
}
static inline void start_sender(int n, int id, long type, const char *text)
{
	if (sleeper_begin(n, id)) {
		errno = 0;
		strcpy(outcome[n].text, send_with(id, type, text, 0) == 0 ? "sent" : errno_name(errno));
		sleeper_end(n);
	}
}
#define RECEIVER_WITH(n, id, room, type, flags) start_receiver(n, id, room, type, flags)
#define RECEIVER(n, id, type) start_receiver(n, id, MSGMAX, type, 0)
#define SENDER(n, id, type, text) start_sender(n, id, type, text)

static inline bool sleeps(int n) { return !outcome[n].done; }
/* What sleeper n has got, as described(), or "sent". */
static inline const char *result_of(int n)
{
	while (!outcome[n].done) {
		if (state_of(sleeper_pid[n]) == 'Z' && !outcome[n].done)
			FATAL("%d has ended without a result", n);
		short_pause();
	}
	return outcome[n].text;
}
#define CHECK_RESULT(n, expected) CHECK_STR(result_of(n), expected)

static inline void stop_sleeper(int n)
{
	MUST(kill(sleeper_pid[n], SIGSTOP));
	UNTIL(state_of(sleeper_pid[n]) == 'T');
}
static inline void continue_sleeper(int n)
{
	MUST(kill(sleeper_pid[n], SIGCONT));
	UNTIL(is_asleep(sleeper_pid[n]) || outcome[n].done);
}

#endif
