/* A step with semaphores or queues in words. */
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "program.h"

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif
#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif

struct word {
	int64_t value;
	const char *text;
};
static const struct word set_commands[] = {
	{ IPC_RMID, "IPC_RMID" }, { IPC_SET, "IPC_SET" }, { IPC_STAT, "IPC_STAT" }, { IPC_INFO, "IPC_INFO" }, { GETPID, "GETPID" },
	{ GETVAL, "GETVAL" }, { GETALL, "GETALL" }, { GETNCNT, "GETNCNT" }, { GETZCNT, "GETZCNT" }, { SETVAL, "SETVAL" },
	{ SETALL, "SETALL" }, { SEM_STAT, "SEM_STAT" }, { SEM_INFO, "SEM_INFO" }, { SEM_STAT_ANY, "SEM_STAT_ANY" }, { 0, NULL },
};
static const struct word queue_commands[] = {
	{ IPC_RMID, "IPC_RMID" }, { IPC_SET, "IPC_SET" }, { IPC_STAT, "IPC_STAT" }, { IPC_INFO, "IPC_INFO" },
	{ MSG_STAT, "MSG_STAT" }, { MSG_INFO, "MSG_INFO" }, { MSG_STAT_ANY, "MSG_STAT_ANY" }, { 0, NULL },
};
static const char *const waits[WAIT_COUNT] = { "", ", {0, 2ms}", ", {0, 0}", ", {1000, 0}", ", {0, -1}" };

static const char *word(const struct word *words, int64_t value)
{
	for (; words->text; words++)
		if (words->value == value)
			return words->text;
	return "an unknown command";
}

static void operations(char *out, size_t size, const struct step *step)
{
	size_t used = 0;

	out[0] = '\0';
	for (int k = 0; k < PACKED_OPS && k < step->n[0]; k++) {
		struct packed_op op = packed_op(step->n[1], k);

		used += (size_t)snprintf(out + used, size - used, "%s{%d %+d%s%s}", k ? ", " : "", op.num, op.op,
					 op.flags & PACKED_UNDO ? " UNDO" : "", op.flags & PACKED_NOWAIT ? " NOWAIT" : "");
	}
}

bool describe_ipc(char *out, size_t size, const struct step *step)
{
	const int64_t *n = step->n;
	long id = (long)step->id.value;
	char text[200], owner[100] = "";

	if (n[0] == IPC_SET)
		snprintf(owner, sizeof owner, " {uid=%ld gid=%ld mode=%#lo}", (long)n[2], (long)n[3], (long)n[4]);
	switch (step->op) {
	case OP_SEMGET:
		snprintf(out, size, "semget(%#x, %ld, %#lo)", (unsigned)n[0], (long)n[1], (long)n[2]);
		break;
	case OP_SEMOP:
		operations(text, sizeof text, step);
		snprintf(out, size, "semop(%ld, [%s], %ld%s)", id, text, (long)n[0], waits[n[2]]);
		break;
	case OP_SEMCTL:
		if (n[0] == SETVAL || n[0] == SETALL)
			snprintf(owner, sizeof owner, ", %ld", (long)n[2]);
		snprintf(out, size, "semctl(%ld, %ld, %s%s)", id, (long)n[1], word(set_commands, n[0]), owner);
		break;
	case OP_MSGGET:
		snprintf(out, size, "msgget(%#x, %#lo)", (unsigned)n[0], (long)n[1]);
		break;
	case OP_MSGSND:
		snprintf(out, size, "msgsnd(%ld, type %ld, %ld bytes, %#lo)", id, (long)n[0], (long)n[1], (long)n[2]);
		break;
	case OP_MSGRCV:
		snprintf(out, size, "msgrcv(%ld, %ld bytes, type %ld, %#lo)", id, (long)n[0], (long)n[1], (long)n[2]);
		break;
	case OP_MSGCTL:
		snprintf(text, sizeof text, n[0] == IPC_SET ? " qbytes=%ld" : "", (long)n[1]);
		snprintf(out, size, "msgctl(%ld, %s%s%s)", id, word(queue_commands, n[0]), owner, text);
		break;
	case OP_SIGNAL:
		snprintf(out, size, "is sent a signal that it handles");
		break;
	default:
		return false;
	}
	return true;
}
