/* The calls of semaphores and queues, and everything that can be read about them. */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif
#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif

enum { SEMS = 8, TEXT = 9000 };

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
	struct seminfo *info;
};
struct text {
	long type;
	char bytes[TEXT];
};

static void handler(int number)
{
	(void)number;
}

/* After exec they are gone, so before each call. */
static void install_handler(void)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	sigaction(SIGUSR1, &action, NULL);
}

/* ----------------------------------------------------------- semaphores */

static bool is_stained(const struct step *step, long id)
{
	return (id & 32767) < 64 && step->stained >> (id & 32767) & 1;
}

static void emit_otime(const char *name, const struct step *step, long id, long otime)
{
	if (is_stained(step, id))
		emit(" %s=?", name);
	else
		emit(" %s={t:%ld}", name, otime);
}

static void emit_set(const struct step *step, long id, const struct semid_ds *ds)
{
	emit(" key=%#x uid=%d gid=%d cuid=%d cgid=%d mode=%05o seq={S:%u}", (unsigned)ds->sem_perm.__key, ds->sem_perm.uid,
	     ds->sem_perm.gid, ds->sem_perm.cuid, ds->sem_perm.cgid, ds->sem_perm.mode, ds->sem_perm.__seq);
	emit_otime("otime", step, id, (long)ds->sem_otime);
	emit(" ctime={t:%ld} nsems=%lu", (long)ds->sem_ctime, (unsigned long)ds->sem_nsems);
}

static void emit_limits(const struct seminfo *i)
{
	emit(" map=%d mni=%d mns=%d mnu=%d msl=%d opm=%d ume=%d usz=%d vmx=%d aem=%d", i->semmap, i->semmni, i->semmns, i->semmnu,
	     i->semmsl, i->semopm, i->semume, i->semusz, i->semvmx, i->semaem);
}

static void do_semget(const struct step *step)
{
	errno = UNTOUCHED;
	reply.ret = semget((key_t)step->n[0], (int)step->n[1], (int)step->n[2]);
	reply.has_ret = 1;
	if (reply.ret < 0)
		emit_result(-1, errno);
	else
		emit(" = {s:%ld}%s", (long)reply.ret, errno == UNTOUCHED ? "" : " errno-touched");
}

static void do_semop(const struct step *step)
{
	static const struct timespec limits[WAIT_COUNT] = { { 0, 0 }, { 0, 2000000 }, { 0, 0 }, { 1000, 0 }, { 0, -1 } };
	struct sembuf ops[PACKED_OPS];
	struct timespec limit = limits[step->n[2]];
	int error;
	long ret;

	for (int k = 0; k < PACKED_OPS; k++) {
		struct packed_op op = packed_op(step->n[1], k);

		ops[k] = (struct sembuf){ (unsigned short)op.num, (short)op.op, 0 };
		ops[k].sem_flg = (short)((op.flags & PACKED_NOWAIT ? IPC_NOWAIT : 0) | (op.flags & PACKED_UNDO ? SEM_UNDO : 0));
	}
	errno = UNTOUCHED;
	if (step->n[2] == WAIT_EVER)
		ret = semop((int)step->id.value, ops, (size_t)step->n[0]);
	else
		ret = semtimedop((int)step->id.value, ops, (size_t)step->n[0], &limit);
	error = errno;
	if (current_perturb == PERTURB_WAKE && ret < 0 && error == EINTR)
		error = EAGAIN;
	emit_result(ret, error);
	if (limit.tv_sec != limits[step->n[2]].tv_sec || limit.tv_nsec != limits[step->n[2]].tv_nsec)
		emit(" limit-changed");
}

static void do_semctl(const struct step *step)
{
	int id = (int)step->id.value, number = (int)step->n[1], cmd = (int)step->n[0];
	unsigned short values[SEMS];
	struct semid_ds ds;
	struct seminfo info;
	union semun arg = { .val = (int)step->n[2] };
	long ret;

	memset(&ds, 0x5a, sizeof ds);
	memset(values, 0x5a, sizeof values);
	if (cmd == SETALL)
		for (int k = 0; k < SEMS; k++)
			values[k] = (unsigned short)step->n[2];
	if (cmd == GETALL || cmd == SETALL)
		arg.array = values;
	else if (cmd == IPC_INFO || cmd == SEM_INFO)
		arg.info = &info;
	else if (cmd != SETVAL)
		arg.buf = &ds;
	if (cmd == IPC_SET) {
		ds.sem_perm.uid = (uid_t)step->n[2];
		ds.sem_perm.gid = (gid_t)step->n[3];
		ds.sem_perm.mode = (unsigned short)step->n[4];
	}
	errno = UNTOUCHED;
	ret = semctl(id, number, cmd, arg);
	if (ret >= 0 && (cmd == SEM_STAT || cmd == SEM_STAT_ANY))
		emit(" = {s:%ld}", ret);
	else if (ret >= 0 && cmd == GETPID)
		emit(" = {p:%ld}", ret);
	else if (ret >= 0 && (cmd == GETNCNT || cmd == GETZCNT) && is_stained(step, id))
		emit(" = ?");
	else
		emit_result(ret, errno);
	if (ret < 0)
		return;
	if (cmd == IPC_STAT || cmd == SEM_STAT || cmd == SEM_STAT_ANY)
		emit_set(step, id, &ds);
	else if (cmd == IPC_INFO || cmd == SEM_INFO)
		emit_limits(&info);
	else if (cmd == GETALL)
		for (int k = 0; k < SEMS; k++)
			emit(" %d", values[k]);
}

/* ---------------------------------------------------------------- queues */

static void emit_queue(const struct msqid_ds *ds)
{
	emit(" key=%#x uid=%d gid=%d cuid=%d cgid=%d mode=%05o seq={M:%u}", (unsigned)ds->msg_perm.__key, ds->msg_perm.uid,
	     ds->msg_perm.gid, ds->msg_perm.cuid, ds->msg_perm.cgid, ds->msg_perm.mode, ds->msg_perm.__seq);
	emit(" stime={t:%ld} rtime={t:%ld} ctime={t:%ld} cbytes=%lu qnum=%lu qbytes=%lu lspid={p:%d} lrpid={p:%d}", (long)ds->msg_stime,
	     (long)ds->msg_rtime, (long)ds->msg_ctime, (unsigned long)ds->__msg_cbytes, (unsigned long)ds->msg_qnum,
	     (unsigned long)ds->msg_qbytes, ds->msg_lspid, ds->msg_lrpid);
}

static void do_msgget(const struct step *step)
{
	errno = UNTOUCHED;
	reply.ret = msgget((key_t)step->n[0], (int)step->n[1]);
	reply.has_ret = 1;
	if (reply.ret < 0)
		emit_result(-1, errno);
	else
		emit(" = {m:%ld}%s", (long)reply.ret, errno == UNTOUCHED ? "" : " errno-touched");
}

static void do_msgsnd(const struct step *step)
{
	static struct text text;
	long ret;

	text.type = (long)step->n[0];
	for (int k = 0; k < TEXT; k++)
		text.bytes[k] = (char)(step->name * 7 + k);
	errno = UNTOUCHED;
	ret = msgsnd((int)step->id.value, &text, (size_t)step->n[1], (int)step->n[2]);
	emit_result(ret, errno);
}

static void do_msgrcv(const struct step *step)
{
	static struct text text;
	unsigned sum = 0;
	long ret;

	memset(&text, 0x5a, sizeof text);
	errno = UNTOUCHED;
	ret = msgrcv((int)step->id.value, &text, (size_t)step->n[0], (long)step->n[1], (int)step->n[2]);
	emit_result(ret, errno);
	if (ret < 0)
		return;
	for (int k = 0; k < TEXT; k++)
		sum = sum * 31 + (unsigned char)text.bytes[k];
	emit(" type=%ld sum=%#x", text.type, sum + (current_perturb == PERTURB_MESSAGE));
}

static void do_msgctl(const struct step *step)
{
	int cmd = (int)step->n[0];
	union {
		struct msqid_ds ds;
		struct msginfo info;
	} buffer;
	long ret;

	memset(&buffer, 0x5a, sizeof buffer);
	if (cmd == IPC_SET) {
		buffer.ds.msg_perm.uid = (uid_t)step->n[2];
		buffer.ds.msg_perm.gid = (gid_t)step->n[3];
		buffer.ds.msg_perm.mode = (unsigned short)step->n[4];
		buffer.ds.msg_qbytes = (msglen_t)step->n[1];
	}
	errno = UNTOUCHED;
	ret = msgctl((int)step->id.value, cmd, &buffer.ds);
	if (ret >= 0 && (cmd == MSG_STAT || cmd == MSG_STAT_ANY))
		emit(" = {m:%ld}", ret);
	else
		emit_result(ret, errno);
	if (ret < 0)
		return;
	if (cmd == IPC_STAT || cmd == MSG_STAT || cmd == MSG_STAT_ANY)
		emit_queue(&buffer.ds);
	else if (cmd == IPC_INFO || cmd == MSG_INFO)
		emit(" pool=%d map=%d max=%d mnb=%d mni=%d ssz=%d tql=%d seg=%d", buffer.info.msgpool, buffer.info.msgmap, buffer.info.msgmax,
		     buffer.info.msgmnb, buffer.info.msgmni, buffer.info.msgssz, buffer.info.msgtql, buffer.info.msgseg);
}

/* ------------------------------------------------------ a look at it all */

static void look_at_set(const struct step *step, int index)
{
	struct semid_ds ds;
	int id = semctl(index, 0, SEM_STAT_ANY, (union semun){ .buf = &ds });

	if (id < 0)
		return;
	emit("\n    set %d = {s:%d}", index, id);
	emit_set(step, id, &ds);
	for (int k = 0; k < (int)ds.sem_nsems && k < SEMS; k++) {
		int value = semctl(id, k, GETVAL);

		if (value < 0) {
			emit(" values: %s", error_name(errno));
			break;
		}
		emit(" [%d: %d", k, value + (current_perturb == PERTURB_SEMVAL && value));
		if (!is_stained(step, id))
			emit(" n%d z%d", semctl(id, k, GETNCNT) + (current_perturb == PERTURB_NCNT && k == 1), semctl(id, k, GETZCNT));
		emit(" {p:%d}]", semctl(id, k, GETPID));
	}
}

static void look_at_queue(int index)
{
	struct msqid_ds ds;
	int id = msgctl(index, MSG_STAT_ANY, &ds);

	if (id < 0)
		return;
	emit("\n    queue %d = {m:%d}", index, id);
	emit_queue(&ds);
}

/* The text must be what the kernel's formats make of the values in it; then the values are shown. */
static void show_set_line(const struct step *step, const char *line)
{
	int key, id;
	unsigned mode, nsems, uid, gid, cuid, cgid;
	uint64_t otime, ctime;
	char again[512];

	if (sscanf(line, "%d %d %o %u %u %u %u %u %" SCNu64 " %" SCNu64, &key, &id, &mode, &nsems, &uid, &gid, &cuid, &cgid, &otime, &ctime) != 10) {
		emit("\n    proc, not understood: \"%s\"", line);
		return;
	}
	snprintf(again, sizeof again, "%10d %10d  %4o %10u %5u %5u %5u %5u %10" PRIu64 " %10" PRIu64, key, id, mode, nsems, uid, gid, cuid, cgid,
		 otime, ctime);
	emit("\n    proc%s key=%d id={s:%d} mode=%o nsems=%u uid=%u gid=%u cuid=%u cgid=%u", strcmp(again, line) ? " NOT THE KERNEL'S FORMAT" : "",
	     key, id, mode, nsems, uid, gid, cuid, cgid);
	emit_otime("otime", step, id, (long)otime);
	emit(" ctime={t:%" PRIu64 "}", ctime);
}

static void show_queue_line(const struct step *step, const char *line)
{
	int key, id;
	unsigned mode, lspid, lrpid, uid, gid, cuid, cgid;
	unsigned long cbytes, qnum;
	uint64_t stime, rtime, ctime;
	char again[512];

	(void)step;
	if (sscanf(line, "%d %d %o %lu %lu %u %u %u %u %u %u %" SCNu64 " %" SCNu64 " %" SCNu64, &key, &id, &mode, &cbytes, &qnum, &lspid, &lrpid,
		   &uid, &gid, &cuid, &cgid, &stime, &rtime, &ctime) != 14) {
		emit("\n    proc, not understood: \"%s\"", line);
		return;
	}
	snprintf(again, sizeof again, "%10d %10d  %4o  %10lu %10lu %5u %5u %5u %5u %5u %5u %10" PRIu64 " %10" PRIu64 " %10" PRIu64, key, id, mode,
		 cbytes, qnum, lspid, lrpid, uid, gid, cuid, cgid, stime, rtime, ctime);
	emit("\n    proc%s key=%d id={m:%d} mode=%o cbytes=%lu qnum=%lu lspid={p:%u} lrpid={p:%u} uid=%u gid=%u cuid=%u cgid=%u",
	     strcmp(again, line) ? " NOT THE KERNEL'S FORMAT" : "", key, id, mode, cbytes, qnum, lspid, lrpid, uid, gid, cuid, cgid);
	emit(" stime={t:%" PRIu64 "} rtime={t:%" PRIu64 "} ctime={t:%" PRIu64 "}", stime, rtime, ctime);
}

static void show_file(const struct step *step, const char *path, void (*show)(const struct step *, const char *))
{
	static char text[64 * 1024];
	size_t used = 0;
	ssize_t got;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && used < sizeof text - 1 && (got = read(fd, text + used, sizeof text - 1 - used)) > 0)
		used += (size_t)got;
	if (fd >= 0)
		close(fd);
	text[used] = '\0';
	if (!used || text[used - 1] != '\n') {
		emit("\n    %s does not end in a newline", path);
		return;
	}
	text[used - 1] = '\0';
	for (char *line = strtok(text, "\n"), *header = line; line; line = strtok(NULL, "\n"))
		if (line == header)
			emit("\n    proc \"%s\"", line);
		else
			show(step, line);
}

static void do_ipclook(const struct step *step)
{
	struct seminfo sets = { 0 };
	struct msginfo queues;
	int highest;

	/* Whichever comes first finds out what has happened since the last look: each gets its turn. */
	if (step->name % 2)
		show_file(step, "/proc/sysvipc/sem", show_set_line);
	highest = semctl(0, 0, SEM_INFO, (union semun){ .info = &sets });
	emit("\n    sets: highest %d, %d with %d semaphores", highest, sets.semusz, sets.semaem);
	for (int index = 0; index <= highest; index++)
		look_at_set(step, index);
	highest = msgctl(0, MSG_INFO, (struct msqid_ds *)&queues);
	emit("\n    queues: highest %d, %d with %d messages of %d bytes", highest, queues.msgpool, queues.msgmap, queues.msgtql);
	for (int index = 0; index <= highest; index++)
		look_at_queue(index);
	if (step->name % 2 == 0)
		show_file(step, "/proc/sysvipc/sem", show_set_line);
	show_file(step, "/proc/sysvipc/msg", show_queue_line);
}

bool perform_ipc(const struct step *step)
{
	install_handler();
	switch (step->op) {
	case OP_SEMGET: do_semget(step); break;
	case OP_SEMOP: do_semop(step); break;
	case OP_SEMCTL: do_semctl(step); break;
	case OP_MSGGET: do_msgget(step); break;
	case OP_MSGSND: do_msgsnd(step); break;
	case OP_MSGRCV: do_msgrcv(step); break;
	case OP_MSGCTL: do_msgctl(step); break;
	case OP_IPCLOOK: do_ipclook(step); break;
	default: return false;
	}
	return true;
}
