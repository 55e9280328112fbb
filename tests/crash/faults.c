/*
 * faults.c - refuses each system call of each operation, with each errno that it can give, once and for ever.
 *
 *   faults [--sample N] [--only OPERATION] [--stop N --errno NAME [--ever]] [--seed N] [-v]
 *
 * The caller must be told an errno that its call may return, with the reason in the trace; what others see must be
 * as before, or as after if the call succeeded all the same; and the next attempt, which nobody hinders, must succeed.
 */
#include "crash.h"

#include <fcntl.h>
#include <getopt.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static struct tally tally;
static char trace_path[300];
static unsigned long long random_state = 1;

static unsigned pick(unsigned below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(random_state >> 33) % below;
}

/* What the manual pages let each system call fail with, as far as the surroundings decide it. */
static const struct fault {
	long call;
	const char *name;
	bool made; /* it is made all the same, and only its answer is another */
	int errors[12];
} faults[] = {
	{ SYS_openat, "openat", false, { EMFILE, ENFILE, ENOMEM, EACCES, EPERM, EROFS, EINTR, EIO, ENOSPC, EDQUOT } },
	{ SYS_flock, "flock", false, { ENOLCK, EINTR, ENOMEM, EIO } },
	{ SYS_fstat, "fstat", false, { ENOMEM, EIO } },
	{ SYS_newfstatat, "newfstatat", false, { ENOMEM, EACCES, EIO } },
	{ SYS_statfs, "statfs", false, { EINTR, EIO, ENOMEM, EACCES } },
	{ SYS_mmap, "mmap", false, { ENOMEM, EAGAIN, ENFILE, EPERM } },
	{ SYS_munmap, "munmap", false, { ENOMEM } },
	{ SYS_mremap, "mremap", false, { ENOMEM, EAGAIN } },
	{ SYS_madvise, "madvise", false, { ENOMEM, EAGAIN, EIO } },
	{ SYS_mknodat, "mknodat", false, { EACCES, EDQUOT, EIO, ENOMEM, ENOSPC, EPERM, EROFS } },
	{ SYS_truncate, "truncate", false, { EINTR, EIO, EFBIG, ENOMEM, EDQUOT, EROFS, ENOSPC, EACCES } },
	{ SYS_ftruncate, "ftruncate", false, { EINTR, EIO, EFBIG, ENOMEM, EDQUOT, EROFS, ENOSPC } },
	{ SYS_fallocate, "fallocate", false, { ENOSPC, EDQUOT, EINTR, EIO, EFBIG, ENOMEM } },
	{ SYS_fchmod, "fchmod", false, { EIO, EROFS, EPERM, ENOMEM } },
	{ SYS_fchmodat, "fchmodat", false, { EIO, EROFS, EPERM, ENOMEM } },
	{ SYS_setxattr, "setxattr", false, { ENOSPC, EDQUOT, EOPNOTSUPP, EIO } },
	{ SYS_removexattr, "removexattr", false, { EOPNOTSUPP, EIO } },
	{ SYS_unlinkat, "unlinkat", false, { EACCES, EPERM, EBUSY, EIO, ENOMEM, EROFS } },
	{ SYS_mkdirat, "mkdirat", false, { EACCES, EDQUOT, EMLINK, ENOMEM, ENOSPC, EROFS, EIO } },
	{ SYS_renameat2, "renameat2", false, { ENOSPC, EDQUOT, EIO, ENOMEM, EROFS, EINVAL, EACCES } },
	{ SYS_getdents64, "getdents64", false, { EIO, ENOMEM } },
	{ SYS_lseek, "lseek", true, { EINVAL, EOVERFLOW, ESPIPE, ENXIO } },
	{ SYS_getpgid, "getpgid", true, { ESRCH, EPERM, EACCES } },
	{ SYS_close, "close", true, { EINTR, EIO, EDQUOT } },
	{ SYS_futex, "futex", false, { EINTR } },
	{ SYS_clone, "clone", false, { EAGAIN, ENOMEM } },
};
enum { FAULTS = sizeof faults / sizeof *faults };

static const struct fault *fault_of(long call)
{
	for (int i = 0; i < FAULTS; i++)
		if (faults[i].call == call)
			return &faults[i];
	return NULL;
}

/* What the manual page of a call allows, and what the kernel was seen to return besides. */
static bool may_return(const char *call, int error)
{
	static const struct { const char *call; int errors[12]; } manual[] = {
		{ "shmget", { EACCES, EEXIST, EINVAL, ENFILE, ENOENT, ENOMEM, ENOSPC, EPERM } },
		{ "shmat", { EACCES, EIDRM, EINVAL, ENOMEM, EPERM, EAGAIN } },
		{ "shmdt", { EINVAL } },
		{ "shmctl", { EACCES, EFAULT, EIDRM, EINVAL, ENOMEM, EOVERFLOW, EPERM } },
		{ "fork", { EAGAIN, ENOMEM } },
		{ "memory", { EAGAIN, ENOMEM, EPERM, ENFILE } },
	};
	for (size_t i = 0; i < sizeof manual / sizeof *manual; i++)
		for (const int *allowed = manual[i].errors; strcmp(manual[i].call, call) == 0 && *allowed; allowed++)
			if (*allowed == error)
				return true;
	return false;
}

/* Only who makes or writes something can be told that there is no room, or no writing here. */
static bool sensible(long call, int error, long flags)
{
	bool changes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
	if (call != SYS_openat)
		return true;
	return error == ENOSPC || error == EDQUOT ? flags & O_CREAT : error != EROFS || changes;
}

/* --- the trace of the victim: its own system calls are left alone */

struct tracing {
	bool inside;
	long fd;
};

static bool names_trace(const struct tracee *tracee, long address)
{
	char path[sizeof trace_path];
	struct iovec here = { path, sizeof path }, there = { (void *)address, strlen(trace_path) + 1 };
	return process_vm_readv(tracee->pid, &here, 1, &there, 1, 0) == (ssize_t)strlen(trace_path) + 1 &&
	       strcmp(path, trace_path) == 0;
}

/* At a stop: does it belong to the writing of the trace? */
static bool is_tracing(struct tracee *tracee, struct tracing *tracing)
{
	if (tracee->entering) {
		if (!tracing->inside && tracee->number == SYS_openat && names_trace(tracee, tracee->arguments[1]))
			*tracing = (struct tracing){ true, -1 };
		return tracing->inside;
	}
	bool was = tracing->inside;
	if (was && tracee->number == SYS_close)
		tracing->inside = false;
	return was;
}

/* The last line that the victim wrote of `call`. */
static void last_line(const char *call, char *line, size_t size)
{
	char read_line[2048];
	FILE *file = fopen(trace_path, "re");
	line[0] = 0;
	while (file && fgets(read_line, sizeof read_line, file))
		if (strstr(read_line, call))
			snprintf(line, size, "%.*s", (int)strcspn(read_line, "\n"), read_line);
	if (file)
		fclose(file);
}

/* "... = -1 ENAME (reason)": a rule's sentence, or "cannot do something: " and the errno that the surroundings gave. */
static bool has_reason(const char *line, int error, int refused)
{
	char wanted[64], number[32];
	snprintf(wanted, sizeof wanted, "= -1 %s (", strerrorname_np(error));
	snprintf(number, sizeof number, "error %d", refused); /* one that has no name there */
	const char *found = strstr(line, wanted);
	if (found && strncmp(found + strlen(wanted), "cannot ", 7) == 0 &&
	    !strstr(found, strerrorname_np(refused)) && !strstr(found, number))
		return false;
	return found && strlen(found + strlen(wanted)) > 5 && line[strlen(line) - 1] == ')';
}

/* --- one refusal */

struct attempt {
	const struct op *op;
	int stop; /* the beginning of a system call */
	int error;
	bool ever;
};

/* Runs to the end mark, refusing on the way. Returns how the run ended. */
static enum reached run_refused(struct tracee *tracee, const struct attempt *attempt, long *refused_call, int *refusals)
{
	struct tracing tracing = { false, -1 };
	enum reached reached;
	long call = -1;
	*refusals = 0;
	while ((reached = trace_next_stop(tracee)) == REACHED) {
		bool ours = is_tracing(tracee, &tracing);
		if (!tracee->entering || ours)
			continue;
		if (tracee->stop == attempt->stop)
			call = *refused_call = tracee->number;
		else if (!attempt->ever || tracee->number != call)
			continue;
		const struct fault *fault = fault_of(tracee->number);
		if (!fault || !fault->made)
			trace_refuse(tracee);
		/* A fork's event would come in between, but a refused one does not happen. */
		if ((reached = trace_next_stop(tracee)) != REACHED)
			break;
		trace_answer(tracee, -attempt->error);
		++*refusals;
	}
	return reached;
}

/* Whether the call may fail so, and the trace, whose line is put into `line`, says why; else what is wrong is put into `text`. */
static bool error_is_right(const struct attempt *attempt, int error, char *line, size_t line_size, char *text, size_t size)
{
	const struct op *op = attempt->op;

	if (!may_return(op->call, error)) {
		snprintf(text, size, "%s must not fail with %s", op->call, strerrorname_np(error));
		return false;
	}
	last_line(op->call, line, line_size);
	if (strncmp(op->call, "shm", 3) == 0 && !(op->flags & NO_DESCRIPTORS) && !has_reason(line, error, attempt->error)) {
		snprintf(text, size, "%s, and the trace says: %.600s", strerrorname_np(error), line);
		return false;
	}
	return true;
}

/* Nobody hinders the next attempt: at the same operation `again`, or at another one. */
static bool next_attempt_succeeds(const struct op *op, struct actor *victim, bool again, char *text, size_t size)
{
	struct answer answer = { -1, 0 };

	actor_send(victim, again ? op->act : job_whole_life, again ? 0 : 0x7004);
	if (actor_hear(victim, &answer, HANG_MS) == HEARD && answer.value >= 0)
		return true;
	snprintf(text, size, "afterwards, unhindered: %.400s", again ? strerror(answer.error) : the->text);
	return false;
}

static void tell(const struct attempt *attempt, long call, const char *text)
{
	char where[200];

	snprintf(where, sizeof where, "stop %d (%s) with %s%s", attempt->stop, fault_of(call) ? fault_of(call)->name : "?",
		 strerrorname_np(attempt->error), attempt->ever ? " for ever" : "");
	failure(attempt->op->name, where, text);
}

static bool run(const struct attempt *attempt)
{
	const struct op *op = attempt->op;
	struct world world;
	struct actor victim;
	struct tracee tracee;
	struct answer answer = { -1, 0 };
	char text[2000] = "", line[1500] = "";
	bool good = false, ended = false;
	long call = -1;
	int refusals;

	world_make(&world, op->flags);
	if (op->arrange)
		op->arrange(&world);
	unlink(trace_path);
	setenv("SHMSHIM_TRACE", trace_path, 1);
	prepare_victim(op, &victim);
	unsetenv("SHMSHIM_TRACE");
	the->child_asks = op->flags & CHILD;
	if (!begin_victim(op, &victim, &tracee))
		fatal("%s does not begin", op->name);
	enum reached reached = run_refused(&tracee, attempt, &call, &refusals);
	if (reached == STUCK || (reached == DIED && !(op->flags & ENDS))) {
		snprintf(text, sizeof text, "the operation %s", reached == STUCK ? "does not end" : "kills its process");
		kill_and_wait(tracee.pid);
		goto out;
	}
	ended = reached == DIED;
	if (!ended)
		trace_let_go(&tracee);
	world.extra[world.extras++] = victim.pid;
	if (tracee.other || tracee.pid != victim.pid) {
		world.extra[world.extras++] = tracee.pid == victim.pid ? tracee.other : tracee.pid;
		if (!tracee.other_spoke && !child_spoke()) {
			snprintf(text, sizeof text, "the child hangs");
			goto out;
		}
	}
	if (!ended && actor_hear(&victim, &answer, HANG_MS) != HEARD) {
		snprintf(text, sizeof text, "the victim does not come back");
		goto out;
	}
	int allowed = ended ? 3 : answer.value == 0 ? 2 : 1;
	if (!ended && answer.value != 0 && op->call && !error_is_right(attempt, answer.error, line, sizeof line, text, sizeof text))
		goto out;
	if (verbose)
		printf("%s: stop %d %s %s%s: %s  %s\n", op->name, attempt->stop, fault_of(call) ? fault_of(call)->name : "?",
		       strerrorname_np(attempt->error), attempt->ever ? " for ever" : "",
		       ended ? "ended" : answer.value == 0 ? "done" : strerrorname_np(answer.error), line);
	good = look_after(op, &world, (int)pick(20), allowed, text, sizeof text);
	if (good && !ended && !(op->flags & FORKS))
		good = next_attempt_succeeds(op, &victim, answer.value != 0, text, sizeof text) &&
		       look_after(op, &world, (int)pick(20), 2, text, sizeof text);
	if (good) {
		actor_kill(&victim);
		world.extra[0] = 0;
		good = clean_up(op, &world, text, sizeof text, &tally);
	}
out:
	actor_kill(&victim);
	world.extra[0] = 0;
	world_end(&world);
	tally.tried++;
	if (!good) {
		tally.failed++;
		tell(attempt, call, text);
	}
	return good;
}

/* The system calls of an operation that nobody hinders. Returns how many there are; each is at the stop of its index. */
static int calls_of(const struct op *op, long *calls, long *flags, int room)
{
	struct world world;
	struct actor victim;
	struct tracee tracee;
	struct tracing tracing = { false, -1 };
	int count = 0;

	world_make(&world, op->flags);
	if (op->arrange)
		op->arrange(&world);
	setenv("SHMSHIM_TRACE", trace_path, 1);
	prepare_victim(op, &victim);
	unsetenv("SHMSHIM_TRACE");
	if (!begin_victim(op, &victim, &tracee))
		fatal("%s does not begin", op->name);
	for (int i = 0; i < room; i++)
		calls[i] = -1;
	while (trace_next_stop(&tracee) == REACHED && tracee.stop < room) {
		bool ours = is_tracing(&tracee, &tracing);
		if (tracee.entering && !ours && tracee.stop >= tracee.first) {
			calls[tracee.stop] = tracee.number;
			flags[tracee.stop] = tracee.arguments[2];
		}
		count = tracee.stop + 1;
	}
	if (tracee.other)
		world.extra[world.extras++] = tracee.pid == victim.pid ? tracee.other : tracee.pid;
	actor_kill(&victim);
	world_end(&world);
	return count;
}

static void all_faults(const struct op *op, int sample)
{
	enum { ROOM = 1000 };
	static long calls[ROOM], flags[ROOM];
	struct tally before = tally;
	struct attempt *attempts = NULL;
	int count = 0, made = 0, stops = calls_of(op, calls, flags, ROOM);

	for (int stop = 0; stop < stops; stop++) {
		const struct fault *fault = calls[stop] < 0 ? NULL : fault_of(calls[stop]);
		made += calls[stop] >= 0;
		for (const int *error = fault ? fault->errors : NULL; error && *error; error++)
			for (int ever = 0; ever < (*error == EINTR ? 1 : 2); ever++) {
				if (!sensible(calls[stop], *error, flags[stop]))
					continue;
				/* A mount that one may not look at is as none. */
				if (op->flags & HUGE_PAGES && *error == EACCES &&
				    (calls[stop] == SYS_statfs || calls[stop] == SYS_newfstatat || calls[stop] == SYS_openat))
					continue;
				attempts = realloc(attempts, (count + 1) * sizeof *attempts);
				attempts[count++] = (struct attempt){ op, stop, *error, ever };
			}
	}
	int left = count, wanted = sample && sample < count ? sample : count;
	for (int i = 0; i < count; i++, left--)
		if ((int)pick(left) < wanted) {
			wanted--;
			run(&attempts[i]);
		}
	free(attempts);
	printf("%-24s %4d system calls, %4d ways to refuse one: %5ld tried, %ld failed\n", op->name, made, count,
	       tally.tried - before.tried, tally.failed - before.failed);
	fflush(stdout);
}

static int error_named(const char *name)
{
	for (int error = 1; error < 140; error++)
		if (strerrorname_np(error) && strcmp(strerrorname_np(error), name) == 0)
			return error;
	fatal("no errno is called %s", name);
}

int main(int count, char **arguments)
{
	static const struct option options[] = {
		{ "sample", 1, 0, 's' }, { "only", 1, 0, 'o' }, { "stop", 1, 0, 'p' }, { "errno", 1, 0, 'e' },
		{ "ever", 0, 0, 'E' }, { "seed", 1, 0, 'r' }, { 0 },
	};
	int sample = 0, option;
	const char *only = NULL;
	struct attempt one = { NULL, -1, 0, false };

	while ((option = getopt_long(count, arguments, "v", options, NULL)) >= 0)
		switch (option) {
		case 's': sample = atoi(optarg); break;
		case 'o': only = optarg; break;
		case 'p': one.stop = atoi(optarg); break;
		case 'e': one.error = error_named(optarg); break;
		case 'E': one.ever = true; break;
		case 'r': random_state = strtoull(optarg, NULL, 0); break;
		case 'v': verbose = true; break;
		default: return 2;
		}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	snprintf(trace_path, sizeof trace_path, "%s/trace", base_begin(false));
	atexit(base_end);
	for (int i = 0; i < op_count; i++) {
		if (only && strcmp(only, ops[i].name) != 0)
			continue;
		/* Who has become another user writes no trace, and there are others for root alone. */
		/* And where what fails may end a segment, what is to be is not one of two states. */
		if (ops[i].flags & (OTHER_UID | FORCED) || (ops[i].flags & SYSTEM && geteuid() != 0) ||
		    (ops[i].flags & HUGE_PAGES && !has_huge_pages()))
			continue;
		the->handlers = i % 2 == 0;
		if (one.stop >= 0) {
			one.op = &ops[i];
			run(&one);
		} else {
			all_faults(&ops[i], ops[i].flags & HEAVY && sample > 8 ? sample / 4 : sample);
		}
	}
	printf("%ld passed, %ld failed, 0 skipped\n", tally.tried - tally.failed, tally.failed);
	return tally.failed != 0;
}
