/*
 * Runs a program on one side: starts workers, sends one step at a time, waits until it has
 * been performed (or the process is gone), and writes down what was seen.
 *
 * Death is seen through pidfds: they tell of any process, not only of own children, and only
 * when it is a zombie, with everything it held given up.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"
#include "worker.h"

struct run run;

void write_record(int name, const char *text)
{
	struct record record = { name, (int32_t)strlen(text) };

	if (write(run.trace, &record, sizeof record) < 0 || write(run.trace, text, (size_t)record.length) < 0)
		exit(1);
}

static void end_with(int name, const char *format, const char *detail)
{
	char text[300];

	snprintf(text, sizeof text, format, detail);
	write_record(name, text);
	exit(0);
}

static void prepare_base(void)
{
	const struct setup *setup = &run.program->setup;

	if (!run.side->library)
		return;
	if (geteuid() == 0 && chown(run.side->base, (uid_t)setup->base_uid, (gid_t)setup->base_uid))
		end_with(TRACE_SKIPPED, "chown of the base directory: %s", strerror(errno));
	if (chmod(run.side->base, setup->several_uids ? 01777 : 0700))
		end_with(TRACE_SKIPPED, "chmod of the base directory: %s", strerror(errno));
}

static void open_channels(void)
{
	int image = open(run.side->worker, O_RDONLY | O_CLOEXEC);

	if (image < 0 || dup2(image, OWN_IMAGE_FD) < 0)
		end_with(TRACE_SKIPPED, "the worker's executable: %s", strerror(errno));
	close(image);
	for (int w = 0; w < MAX_WORKERS; w++) {
		int ends[2], size = 2 * MESSAGE_MAX;

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) || dup2(ends[1], CHANNEL_FD + w) < 0)
			end_with(TRACE_SKIPPED, "socketpair: %s", strerror(errno));
		close(ends[1]);
		setsockopt(CHANNEL_FD + w, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
		run.workers[w].channel = ends[0];
	}
}

static void become_worker(int w, int64_t uid)
{
	char number[16], directory[4200], preload[4200], trace[4200];
	char *argv[] = { "worker", number, NULL }, *environment[8] = { "PATH=/usr/bin:/bin" };
	int null = open("/dev/null", O_RDONLY), count = 1;

	dup2(null, 0);
	close(null);
	if (geteuid() == 0 && (setgroups(0, NULL) || setresgid((gid_t)uid, (gid_t)uid, (gid_t)uid) || setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid)))
		_exit(1);
	snprintf(number, sizeof number, "%d", w);
	if (run.side->library) {
		snprintf(preload, sizeof preload, "LD_PRELOAD=%s", run.side->library);
		snprintf(directory, sizeof directory, "SHMSHIM_DIR=%s", run.side->base);
		environment[count++] = preload;
		environment[count++] = directory;
		if (run.program->setup.several_uids)
			environment[count++] = "SHMSHIM_SCOPE=system";
		if (run.side->trace_file) {
			snprintf(trace, sizeof trace, "SHMSHIM_TRACE=%s", run.side->trace_file);
			environment[count++] = trace;
		}
	}
	environment[count] = NULL;
	execve(run.side->worker, argv, environment);
	_exit(1);
}

static void adopt(int w, int pid, int parent, int64_t uid)
{
	char name[16];

	run.workers[w].parent = parent;
	run.workers[w].uid = uid;

	run.workers[w].pid = pid;
	run.workers[w].pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	run.workers[w].live = run.workers[w].pidfd >= 0;
	snprintf(name, sizeof name, "w%d", w);
	name_process(&run.names, pid, name);
}

static void let_parent_reap(int w);

static void mourn(int w)
{
	close(run.workers[w].pidfd);
	run.workers[w].live = false;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

void wait_for_death(int w)
{
	struct pollfd death = { run.workers[w].pidfd, POLLIN, 0 };

	while (poll(&death, 1, ANSWER_WITHIN_MS) < 0 && errno == EINTR)
		;
	mourn(w);
	let_parent_reap(w);
}

/* The next message of a worker into run.raw. A fork's child is not known yet: pidfd -1. */
enum answer listen_to(int w, int pidfd, struct reply *reply)
{
	struct pollfd events[2] = { { run.workers[w].channel, POLLIN, 0 }, { pidfd, POLLIN, 0 } };
	static char message[MESSAGE_MAX];
	ssize_t length;

	run.raw[0] = '\0';
	memset(reply, 0, sizeof *reply);
	for (;;) {
		int ready = poll(events, 2, ANSWER_WITHIN_MS);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return HANGS;
		if (!(events[0].revents & POLLIN))
			return DIED;
		length = recv(run.workers[w].channel, message, sizeof message - 1, 0);
		if (length < (ssize_t)sizeof *reply)
			return DIED;
		message[length] = '\0';
		memcpy(reply, message, sizeof *reply);
		strcpy(run.raw, message + sizeof *reply);
		return ANSWERED;
	}
}

/* Adds what run.raw says to run.text, in normalised form. */
void append(int step, const char *who)
{
	size_t used = strlen(run.text);

	used += (size_t)snprintf(run.text + used, sizeof run.text - used, "%s", who);
	normalise(&run.names, step, run.raw, run.text + used, sizeof run.text - used);
}

void append_answer(int step, enum answer answer, int w)
{
	if (answer == ANSWERED)
		append(step, "");
	else
		strcat(run.text, answer == DIED ? " !! THE PROCESS DIED" : " !! NO ANSWER");
	if (answer == HANGS && run.workers[w].live) {
		kill(run.workers[w].pid, SIGKILL);
		wait_for_death(w);
	} else if (answer == DIED && run.workers[w].live) {
		mourn(w);
	}
	if (answer != ANSWERED)
		run.unseen_death = true;
}

void start_worker(int step, int w, int64_t uid)
{
	pid_t pid = fork();
	struct reply reply;

	if (pid == 0)
		become_worker(w, uid);
	adopt(w, pid, -1, uid);
	append_answer(step, listen_to(w, run.workers[w].pidfd, &reply), w);
}

void send_step(const struct step *step)
{
	struct step sent = *step;

	sent.perturb = step->name >= run.side->perturb_from ? run.side->perturb : PERTURB_NONE;
	sent.stained = run.stained;
	send(run.workers[step->worker].channel, &sent, sizeof sent, MSG_NOSIGNAL);
}

static struct reply ask(const struct step *step)
{
	struct reply reply;
	int w = step->worker;

	send_step(step);
	append_answer(step->name, listen_to(w, run.workers[w].pidfd, &reply), w);
	return reply;
}

/*
 * Divergence: with shm_rmid_forced the kernel acts when the creator has ended, the shim when nobody has its
 * pid any more, a zombie included. So where that may be set, none is left.
 */
static void let_parent_reap(int w)
{
	int parent = run.workers[w].parent;
	struct step reap = { .name = -1, .worker = parent, .op = OP_REAP, .n = { run.workers[w].pid } };
	struct reply reply;

	if (!run.program->setup.rmid_forced || parent < 0 || !run.workers[parent].live)
		return;
	send(run.workers[parent].channel, &reap, sizeof reap, MSG_NOSIGNAL);
	listen_to(parent, run.workers[parent].pidfd, &reply);
}

/* What the observer sees; it has no attaches, and often no past. Not written down if `when` is NULL. */
void look(int name, const char *when)
{
	struct step snapshot = { .name = name, .worker = OBSERVER, .op = run.program->setup.waits ? OP_IPCLOOK : OP_SNAPSHOT };
	size_t used;

	snprintf(run.text, sizeof run.text, "looking %s s%d:", when ? when : "", name);
	used = strlen(run.text);
	if (!run.workers[OBSERVER].live)
		start_worker(name, OBSERVER, run.program->setup.base_uid);
	run.text[used] = '\0';
	ask(&snapshot);
	run.unseen_death = false;
	if (run.program->setup.fresh_observer && run.workers[OBSERVER].live) {
		struct step leave = { .name = name, .op = OP_EXIT, .n = { END_EXIT } };

		send(run.workers[OBSERVER].channel, &leave, sizeof leave, MSG_NOSIGNAL);
		wait_for_death(OBSERVER);
	}
	if (when)
		write_record(name, run.text);
}

/*
 * Divergence: nobody tells the shim of a death. It sets dtime and lpid, in the name of the dead, when
 * someone next looks. If in the meantime the second changes, another one detaches the same segment, or
 * another one dies, the kernel knows the order and the shim cannot. So before such a step somebody
 * looks. Whatever else follows a death follows it directly.
 */
static bool order_of_deaths_matters(const struct step *step)
{
	switch (step->op) {
	case OP_DT: case OP_MUNMAP: case OP_MREMAP: case OP_MMAP: case OP_FORK: case OP_EXEC: case OP_EXIT: case OP_KILL: case OP_TICK:
		return true;
	case OP_AT:
		return step->n[0] & SHM_REMAP || step->mode == MODE_CHILD;
	default:
		return step->mode == MODE_CHILD;
	}
}

/*
 * Divergence: an attach does not probe who has died, so its lpid may be overwritten by the next probe. After
 * one that directly followed a death another process probes, and then the same process attaches and detaches once
 * more: lpid, atime and dtime are its own again, on both sides.
 */
static void touch_after_attach(const struct step *step)
{
	struct step touch = { .name = step->name, .worker = step->worker, .op = OP_TOUCH, .mode = step->mode, .as_uid = step->as_uid,
		.id = step->id, .n = { step->n[0] } };
	static char kept[sizeof run.text];

	strcpy(kept, run.text);
	look(step->name, NULL);
	run.text[0] = '\0';
	ask(&touch);
	strcpy(run.text, kept);
}

/*
 * Divergence: who owns a segment without having created it cannot change the rights of its file. A mode that
 * he sets is in the table, but whom only that mode lets in is refused. Such an IPC_SET is left out.
 */
static bool set_by_mere_owner(const struct step *step)
{
	int64_t actor = step->mode == MODE_AS ? step->as_uid : run.workers[step->worker].uid;

	if (step->op != OP_CTL || step->n[0] != IPC_SET || actor == 0)
		return false;
	for (int k = 0; k < run.segment_count; k++)
		if (run.segments[k].id == step->id.value)
			return run.segments[k].creator != actor && (run.segments[k].owner == actor || run.segments[k].owner < 0);
	return false;
}

/* Keeps the books that set_by_mere_owner() reads. */
static void note_owner(const struct step *step, const char *text)
{
	int64_t actor = step->mode == MODE_AS ? step->as_uid : run.workers[step->worker].uid;
	bool done = strstr(text, " = 0") != NULL;
	int k;

	if (step->op == OP_SETUID && done)
		run.workers[step->worker].uid = step->n[0];
	if (step->op == OP_GET && run.ids[step->name] >= 0) {
		for (k = 0; k < run.segment_count && run.segments[k].id != run.ids[step->name]; k++)
			;
		if (k == run.segment_count) { /* seen for the first time: made by this step */
			run.segments[run.segment_count].id = run.ids[step->name];
			run.segments[run.segment_count].creator = actor;
			run.segments[run.segment_count++].owner = actor;
		}
	}
	if (step->op == OP_CTL && step->n[0] == IPC_SET && done)
		for (k = 0; k < run.segment_count; k++)
			if (run.segments[k].id == step->id.value)
				run.segments[k].owner = step->n[1] == BUF_GOOD ? step->n[2] : -1;
}

static bool leaves_attaches_behind(const struct step *step)
{
	return step->op == OP_EXIT || step->op == OP_KILL || step->op == OP_EXEC || step->mode == MODE_CHILD;
}

/* Whether a bare index will do, the same on both sides. */
static bool takes_index(const struct step *step)
{
	switch (step->op) {
	case OP_CTL: return step->n[0] == SHM_STAT || step->n[0] == SHM_STAT_ANY;
	case OP_SEMCTL: return step->n[0] == SEM_STAT || step->n[0] == SEM_STAT_ANY;
	case OP_MSGCTL: return step->n[0] == MSG_STAT || step->n[0] == MSG_STAT_ANY;
	default: return false;
	}
}

void resolve_id(struct step *step)
{
	int64_t id = step->id.kind == ID_VALUE ? 0 : run.ids[step->id.name];
	enum kind kind = kind_of(step);

	switch (step->id.kind) {
	case ID_VALUE: step->id.value = takes_index(step) ? step->id.value : real_id(&run.names, kind, step->id.value); break;
	case ID_OF: step->id.value = id; break;
	case ID_WRONG_SEQ: step->id.value = real_id(&run.names, kind, told_id(&run.names, kind, id) + 32768); break;
	case ID_INDEX: step->id.value = takes_index(step) ? id & 32767 : real_id(&run.names, kind, id & 32767); break;
	case ID_NEXT: step->id.value = real_id(&run.names, kind, told_id(&run.names, kind, id) + 1); break;
	}
}

/* What later steps need of an answer: an id, a child. */
void take_answer(const struct step *step, const struct reply *answer)
{
	if (gives_a_new_id(step) && answer->has_ret)
		run.ids[step->name] = answer->ret;
	else if (gives_a_new_id(step)) /* made by a child: its text tells */
		sscanf(run.raw, "%*[^=]= {%*c:%ld", &run.ids[step->name]);
	if (step->op == OP_FORK && answer->has_ret && answer->ret > 0) {
		int child = (int)step->n[0];
		struct reply up;
		enum answer heard;

		adopt(child, (int)answer->ret, step->worker, run.workers[step->worker].uid);
		heard = listen_to(child, run.workers[child].pidfd, &up);
		strcat(run.text, ",");
		append_answer(step->name, heard, child);
	}
}

/* Tells the step, and does what no process is asked for. Whether that was all. */
bool begin_step(const struct step *step)
{
	struct step told = *step;

	told.id.value = told_id(&run.names, kind_of(step), step->id.value);
	describe(run.text, sizeof run.text, &told);
	if (step->op == OP_TICK)
		begin_epoch(&run.names);
	else if (step->op == OP_NEW)
		start_worker(step->name, step->worker, step->n[1]);
	else if (!run.workers[step->worker].live)
		strcat(run.text, " skipped: no such process");
	else
		return false;
	return true;
}

static void perform(const struct step *step)
{
	int w = step->worker;

	if (set_by_mere_owner(step)) {
		strcat(run.text, " skipped: by an owner who is not the creator");
	} else if (step->op == OP_KILL) {
		kill(run.workers[w].pid, SIGKILL);
		wait_for_death(w);
	} else if (step->op == OP_EXIT) {
		send(run.workers[w].channel, step, sizeof *step, MSG_NOSIGNAL);
		wait_for_death(w);
	} else {
		struct reply reply = ask(step);
		take_answer(step, &reply);
	}
}

static void do_step(const struct step *planned)
{
	struct step step = *planned;
	bool unseen_attach;

	resolve_id(&step);
	/*
	 * Divergence: in system scope the process that reaps first may not be allowed to unlink the segment's file, and its
	 * index is free only when one who may has looked. Before indices are used up, the observer, who may, looks.
	 */
	if (run.unseen_death && (run.side->reap_at_once || step.op == OP_CHURN || order_of_deaths_matters(&step)))
		look(step.name, "before");
	unseen_attach = run.unseen_death && step.op == OP_AT;
	if (!begin_step(&step))
		perform(&step);
	note_owner(&step, run.text);
	if (unseen_attach && run.workers[step.worker].live)
		touch_after_attach(&step);
	if (leaves_attaches_behind(&step))
		run.unseen_death = true;
	else if (step.op == OP_SNAPSHOT)
		run.unseen_death = false;
	write_record(step.name, run.text);
}

void run_side(const struct program *program, const bool *kept, const struct side *side, int trace)
{
	const char *reason;

	run.program = program;
	run.side = side;
	run.trace = trace;
	memset(run.ids, 0xff, sizeof run.ids);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	reason = enter_namespace(!side->library);
	if (reason)
		end_with(TRACE_SKIPPED, "%s", reason);
	prepare_base();
	open_channels();
	begin_epoch(&run.names);
	/* A namespace of several users is root's: the first to look at it makes it. */
	if (program->setup.several_uids)
		look(0, NULL);
	for (int k = 0; k < program->count; k++)
		if (kept[k])
			(program->setup.waits ? do_step_that_may_sleep : do_step)(&program->steps[k]);
	look(program->count, "before the end,");
	for (int w = OBSERVER + 1; w < MAX_WORKERS; w++) {
		if (!run.workers[w].live)
			continue;
		kill(run.workers[w].pid, SIGKILL);
		wait_for_death(w);
		if (program->setup.waits)
			after_a_death(program->count, w);
		else
			look(program->count, "when one more is dead,");
	}
	if (!side->library)
		remove_all();
	end_with(TRACE_END, "%s", side->library && geteuid() == 0 ? leak() : "");
}
