/* A step in words: what the report and the trace show. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "program.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

static const char *const op_names[OP_COUNT] = {
	"get", "at", "dt", "ctl", "munmap", "mremap", "mmap", "mprotect", "madvise", "poke", "peek", "fill", "sum",
	"read", "maps", "snapshot", "procshm", "limits", "setlimit", "churn", "fork", "new", "exec", "exit", "kill",
	"vfork", "spawn", "setuid", "setgid", "setgroups", "dropcap", "memlock", "leavemain", "tick",
	"semget", "semop", "semctl", "msgget", "msgsnd", "msgrcv", "msgctl", "ipclook", "signal", "reap", "touch",
};
static const char *const mode_names[] = { "plain", "thread", "child", "as" };
static const char *const buffer_names[BUF_COUNT] = { "&buf", "NULL", "unmapped", "read-only", "tail unmapped", "kernel", "arena" };
static const char *const limit_names[LIMIT_COUNT] = { "shmmax", "shmall", "shmmni", "shm_rmid_forced" };
static const char *const ending_names[END_COUNT] = { "_exit", "exit", "abort", "SIGSEGV" };
static const char *const perturb_names[PERTURB_COUNT] = {
	"none", "nattch", "mode", "lpid", "dtime", "errno", "byte", "id", "proc-text", "limit", "maps", "signal", "size", "uid", "death",
	"semaphore", "sleeper", "wake-up", "message",
};

const char *op_name(int op)
{
	return op >= 0 && op < OP_COUNT ? op_names[op] : "?";
}

const char *perturb_name(int perturb)
{
	return perturb_names[perturb];
}

static const char *command_name(int64_t cmd)
{
	static char number[24];

	switch (cmd) {
	case IPC_RMID: return "IPC_RMID";
	case IPC_SET: return "IPC_SET";
	case IPC_STAT: return "IPC_STAT";
	case IPC_INFO: return "IPC_INFO";
	case SHM_LOCK: return "SHM_LOCK";
	case SHM_UNLOCK: return "SHM_UNLOCK";
	case SHM_STAT: return "SHM_STAT";
	case SHM_INFO: return "SHM_INFO";
	case SHM_STAT_ANY: return "SHM_STAT_ANY";
	}
	snprintf(number, sizeof number, "%" PRId64, cmd);
	return number;
}

bool step_matches(const struct step *step, const char *list)
{
	const char *names[] = { op_name(step->op), mode_names[step->mode],
		step->op == OP_CTL ? command_name(step->n[0]) : "",
		step->op == OP_SETLIMIT ? limit_names[step->n[0]] : "" };

	for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
		size_t length = strlen(names[k]);

		for (const char *at = list; length && (at = strstr(at, names[k])); at += length)
			if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
				return true;
	}
	return false;
}

static void address(char *out, size_t size, const struct addr_ref *addr)
{
	switch (addr->kind) {
	case ADDR_ARENA:
		if (addr->value % PAGE)
			snprintf(out, size, "A+%ldp+%ld", (long)(addr->value / PAGE), (long)(addr->value % PAGE));
		else
			snprintf(out, size, "A+%ldp", (long)(addr->value / PAGE));
		break;
	case ADDR_ATTACH:
		snprintf(out, size, "@%d%+ld", addr->name, (long)addr->value);
		break;
	default:
		snprintf(out, size, addr->value ? "%#lx" : "NULL", (long)addr->value);
	}
}

static void flags(char *out, size_t size, int64_t value, bool get)
{
	struct name { int64_t bit; const char *name; };
	static const struct name all[2][4] = {
		{ { SHM_RDONLY, "SHM_RDONLY" }, { SHM_RND, "SHM_RND" }, { SHM_REMAP, "SHM_REMAP" }, { SHM_EXEC, "SHM_EXEC" } },
		{ { IPC_CREAT, "IPC_CREAT" }, { IPC_EXCL, "IPC_EXCL" }, { SHM_NORESERVE, "SHM_NORESERVE" }, { SHM_HUGETLB, "SHM_HUGETLB" } },
	};
	const struct name *names = all[get];
	size_t used = 0;

	out[0] = '\0';
	for (int k = 0; k < 4; k++) {
		if (!(value & names[k].bit))
			continue;
		used += (size_t)snprintf(out + used, size - used, "%s|", names[k].name);
		value &= ~names[k].bit;
	}
	if (value & ~0777)
		snprintf(out + used, size - used, "%#lx", (long)value);
	else if (value || !used)
		snprintf(out + used, size - used, value || get ? "%04o" : "%o", (unsigned)value);
	else
		out[used - 1] = '\0';
}

static void call(char *out, size_t size, const struct step *step)
{
	const int64_t *n = step->n;
	char at[64], to[64], word[128];

	address(at, sizeof at, &step->at);
	address(to, sizeof to, &step->to);
	switch (step->op) {
	case OP_GET:
		flags(word, sizeof word, n[2], true);
		snprintf(out, size, "shmget(%#x, %" PRIu64 ", %s)", (unsigned)n[0], (uint64_t)n[1], word);
		break;
	case OP_AT:
		flags(word, sizeof word, n[0], false);
		snprintf(out, size, "shmat(%" PRId64 ", %s, %s)", step->id.value, at, word);
		break;
	case OP_DT:
		snprintf(out, size, "shmdt(%s)", at);
		break;
	case OP_CTL:
		if (n[0] == IPC_SET)
			snprintf(word, sizeof word, " {uid=%ld gid=%ld mode=%#lo}", (long)n[2], (long)n[3], (long)n[4]);
		else
			word[0] = '\0';
		snprintf(out, size, "shmctl(%" PRId64 ", %s, %s%s)", step->id.value, command_name(n[0]), n[1] == BUF_ARENA ? at : buffer_names[n[1]], word);
		break;
	case OP_MREMAP:
		snprintf(out, size, "mremap(%s, %ldp, %ldp, %s%s%s, %s)", at, (long)n[0], (long)n[1], n[2] & MREMAP_MAYMOVE ? "MAYMOVE" : "0",
			n[2] & MREMAP_FIXED ? "|FIXED" : "", n[2] & 4 ? "|DONTUNMAP" : "", n[2] & MREMAP_FIXED ? to : "");
		break;
	case OP_MMAP:
		snprintf(out, size, "mmap(%s, %ldp, prot %ld, %s)", at, (long)n[0], (long)n[1], n[2] ? "MAP_FIXED_NOREPLACE" : "MAP_FIXED");
		break;
	case OP_POKE:
		snprintf(out, size, "poke(%s, %ld)", at, (long)n[0]);
		break;
	case OP_MUNMAP: case OP_FILL: case OP_SUM: case OP_READ:
		snprintf(out, size, "%s(%s, %ldp)", op_name(step->op), at, (long)n[0]);
		break;
	case OP_MPROTECT: case OP_MADVISE:
		snprintf(out, size, "%s(all of %s, %ld)", op_name(step->op), at, (long)n[0]);
		break;
	case OP_PEEK:
		snprintf(out, size, "peek(%s)", at);
		break;
	case OP_SETLIMIT:
		snprintf(out, size, "set %s = %" PRIu64, limit_names[n[0]], (uint64_t)n[1]);
		break;
	case OP_FORK:
		snprintf(out, size, "fork() -> w%ld", (long)n[0]);
		break;
	case OP_NEW:
		snprintf(out, size, "new process, uid %ld", (long)n[1]);
		break;
	case OP_EXIT:
		snprintf(out, size, "ends by %s", ending_names[n[0]]);
		break;
	case OP_KILL:
		snprintf(out, size, "is killed (SIGKILL)");
		break;
	case OP_EXEC:
		snprintf(out, size, "exec of itself");
		break;
	case OP_SETGROUPS:
		snprintf(out, size, "setgroups(%ld, %ld)", (long)n[0], (long)n[1]);
		break;
	case OP_CHURN: case OP_SETUID: case OP_SETGID: case OP_DROPCAP: case OP_MEMLOCK:
		snprintf(out, size, "%s(%ld)", op_name(step->op), (long)n[0]);
		break;
	default:
		if (!describe_ipc(out, size, step))
			snprintf(out, size, "%s", op_name(step->op));
	}
}

void describe(char *out, size_t size, const struct step *step)
{
	char how[48] = "", what[400];

	call(what, sizeof what, step);
	if (step->mode == MODE_AS)
		snprintf(how, sizeof how, " [as uid %ld]", (long)step->as_uid);
	else if (step->mode != MODE_PLAIN)
		snprintf(how, sizeof how, " [%s]", mode_names[step->mode]);
	if (step->op == OP_TICK)
		snprintf(out, size, "s%d the clock moves to a new second", step->name);
	else
		snprintf(out, size, "s%d w%d%s %s", step->name, step->worker, how, what);
}
