/*
 * tracer.c - runs a victim to a point.
 *
 * What others can find after a victim's death changes only when the victim enters the kernel or writes to the shared
 * table. So the points are: every beginning and end of a system call, and every instruction after which the table's
 * bytes differ. The victim is stepped through with PTRACE_SINGLESTEP; driver and victim are one program, so the
 * driver can read the victim's next instruction in its own memory.
 */
#include "crash.h"

#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifndef __x86_64__
#error "stepping knows x86-64 only"
#endif

void mark(long which) { syscall(which); }

/* --- the victim */

/* No operation needs as many system calls. */
enum { ENDLESS = 4000 };

enum event { AT_CALL, AT_STEP, AT_FORK, AT_EXEC, AT_END };

static enum event resume(struct tracee *tracee, int how)
{
	int signal = 0, status;
	for (;;) {
		if (ptrace(how, tracee->pid, 0, (long)signal) < 0 && errno != ESRCH)
			fatal("ptrace: %s", strerror(errno));
		while (waitpid(tracee->pid, &status, __WALL) < 0)
			if (errno != EINTR)
				fatal("waitpid: %s", strerror(errno));
		if (!WIFSTOPPED(status))
			return AT_END;
		signal = 0;
		switch (status >> 8) {
		case SIGTRAP | 0x80:
			return AT_CALL;
		case SIGTRAP | PTRACE_EVENT_FORK << 8:
			return AT_FORK;
		case SIGTRAP | PTRACE_EVENT_EXEC << 8:
			return AT_EXEC;
		case SIGTRAP:
			return AT_STEP;
		}
		if (status >> 16 == 0)
			signal = WSTOPSIG(status);
	}
}

enum { OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL };

/* Stops an actor that waits for its next job. */
bool trace_attach(struct tracee *tracee, pid_t pid, enum follow follow)
{
	int status;
	*tracee = (struct tracee){ .pid = pid, .follow = follow };
	if (ptrace(PTRACE_SEIZE, pid, 0, (long)OPTIONS) < 0 || ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
		return false;
	return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status);
}

static void look_at_call(struct tracee *tracee)
{
	struct __ptrace_syscall_info info;
	memset(&info, 0, sizeof info);
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tracee->pid, sizeof info, &info) < 0)
		fatal("ptrace: %s", strerror(errno));
	tracee->entering = info.op == PTRACE_SYSCALL_INFO_ENTRY;
	if (tracee->entering) {
		tracee->number = info.entry.nr;
		for (int i = 0; i < 6; i++)
			tracee->arguments[i] = info.entry.args[i];
	} else {
		tracee->result = info.exit.rval;
	}
}

void trace_release_other(struct tracee *tracee)
{
	if (tracee->other_waits)
		ptrace(PTRACE_DETACH, tracee->other, 0, 0);
	tracee->other_waits = false;
}

/* Waits until the child of a victim has returned from fork. */
bool child_spoke(void)
{
	struct pollfd poll_on = { .fd = the->forked[0], .events = POLLIN };
	char byte;
	return poll(&poll_on, 1, HANG_MS) == 1 && read(the->forked[0], &byte, 1) == 1;
}

/* The victim has forked; both are stopped. */
static void part(struct tracee *tracee)
{
	unsigned long child = 0;
	int status;
	ptrace(PTRACE_GETEVENTMSG, tracee->pid, 0, &child);
	waitpid((pid_t)child, &status, __WALL);
	tracee->other = (pid_t)child;
	tracee->other_waits = true;
	if (tracee->follow == FOLLOW_CHILD) {
		tracee->other = tracee->pid;
		tracee->pid = (pid_t)child;
		tracee->first = tracee->stop + 1;
		trace_release_other(tracee);
	} else if (tracee->follow == FOLLOW_PARENT_CHILD_FIRST) {
		trace_release_other(tracee);
		tracee->other_spoke = child_spoke();
	}
}

/*
 * A look whether the table is still in its place, which a process takes once in a while: nothing comes of it here, and
 * it would shift the numbers of the stops behind it from one run to the next.
 */
static bool looks_around(struct tracee *tracee)
{
	static const char name[] = "/registry";
	char path[300];
	if (tracee->number != SYS_newfstatat)
		return false;
	if (!tracee->entering)
		return tracee->looks_around;
	struct iovec here = { path, sizeof path - 1 }, there = { (void *)tracee->arguments[1], sizeof path - 1 };
	ssize_t size = process_vm_readv(tracee->pid, &here, 1, &there, 1, 0);
	path[size < 0 ? 0 : size] = 0;
	size_t length = strlen(path);
	tracee->looks_around = length > sizeof name && strcmp(path + length - (sizeof name - 1), name) == 0;
	return tracee->looks_around;
}

/* To the next beginning or end of a system call; ENDED at the end mark or behind an exec. */
enum reached trace_next_stop(struct tracee *tracee)
{
	for (;;) {
		switch (resume(tracee, PTRACE_SYSCALL)) {
		case AT_CALL:
			look_at_call(tracee);
			if (looks_around(tracee))
				break;
			table_look();
			if (tracee->entering && tracee->number == END_MARK)
				return ENDED;
			return ++tracee->stop > ENDLESS ? STUCK : REACHED;
		case AT_FORK:
			part(tracee);
			break;
		case AT_EXEC:
			return ENDED;
		case AT_END:
			return DIED;
		case AT_STEP:
			break;
		}
	}
}

/* Runs a victim whose job is sent to the end of its begin mark: stop 0. */
bool trace_to_beginning(struct tracee *tracee)
{
	do {
		if (trace_next_stop(tracee) != REACHED)
			return false;
	} while (tracee->number != BEGIN_MARK || tracee->entering);
	tracee->stop = 0;
	table_forget();
	table_look();
	return true;
}

/* Steps up to the next system call or to the `wanted`th change of the table. */
static enum reached step(struct tracee *tracee, int wanted, int *changes, char *locked, long *steps)
{
	*changes = 0;
	for (;;) {
		errno = 0;
		uintptr_t at = ptrace(PTRACE_PEEKUSER, tracee->pid, offsetof(struct user_regs_struct, rip), 0);
		if (errno)
			fatal("ptrace: %s", strerror(errno));
		const unsigned char *instruction = (const unsigned char *)at;
		if (instruction[0] == 0x0f && instruction[1] == 0x05)
			return PASSED;
		if (resume(tracee, PTRACE_SINGLESTEP) != AT_STEP)
			return DIED;
		++*steps;
		if (table_changed()) {
			++*changes;
			if (locked && *changes == 1)
				*locked = table_is_locked();
			if (*changes == wanted)
				return REACHED;
		}
	}
}

/* Runs the whole operation and counts its points. */
enum reached trace_profile(struct tracee *tracee, struct profile *profile, bool steps)
{
	*profile = (struct profile){ .stops = 0 };
	for (;;) {
		int room = tracee->stop + 1;
		profile->changes = realloc(profile->changes, room * sizeof *profile->changes);
		profile->locked = realloc(profile->locked, room);
		profile->changes[tracee->stop] = 0;
		profile->locked[tracee->stop] = 0;
		profile->stops = room;
		if (steps && !tracee->entering) {
			int *changes = &profile->changes[tracee->stop];
			if (step(tracee, 0, changes, &profile->locked[tracee->stop], &profile->steps) == DIED)
				return DIED;
			profile->total_changes += *changes;
		}
		enum reached reached = trace_next_stop(tracee);
		profile->first = tracee->first;
		if (reached != REACHED)
			return reached;
	}
}

enum reached trace_to(struct tracee *tracee, struct point point)
{
	while (tracee->stop < point.stop) {
		enum reached reached = trace_next_stop(tracee);
		if (reached != REACHED)
			return reached;
	}
	if (point.change == 0)
		return REACHED;
	int changes;
	long steps = 0;
	table_changed();
	return step(tracee, point.change, &changes, NULL, &steps);
}

/* At the beginning of a system call: it is not made. */
void trace_refuse(struct tracee *tracee)
{
	struct user_regs_struct registers;
	ptrace(PTRACE_GETREGS, tracee->pid, 0, &registers);
	registers.orig_rax = -1;
	ptrace(PTRACE_SETREGS, tracee->pid, 0, &registers);
}

/* At its end: what the victim is told. */
void trace_answer(struct tracee *tracee, long result)
{
	struct user_regs_struct registers;
	ptrace(PTRACE_GETREGS, tracee->pid, 0, &registers);
	registers.rax = result;
	ptrace(PTRACE_SETREGS, tracee->pid, 0, &registers);
}

/* The victim goes on by itself. */
void trace_let_go(struct tracee *tracee)
{
	trace_release_other(tracee);
	ptrace(PTRACE_DETACH, tracee->pid, 0, 0);
}
