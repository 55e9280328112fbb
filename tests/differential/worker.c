/*
 * A process of the program under test. It performs the steps it is sent, one at a time, and
 * answers each with what it saw. It takes part in nothing else: which side it is on it cannot tell.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

extern char **environ;
extern int capset(cap_user_header_t header, const cap_user_data_t data);
extern int capget(cap_user_header_t header, cap_user_data_t data);

int current_perturb;
struct reply reply;

static int number; /* which worker this process is */
static char text[MESSAGE_MAX - sizeof(struct reply)];
static size_t text_length;

void emit(const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text + text_length, sizeof text - text_length, format, arguments);
	va_end(arguments);
	text_length += (size_t)length;
	if (text_length >= sizeof text)
		text_length = sizeof text - 1;
}

const char *error_name(int error)
{
	const char *name = strerrorname_np(error);

	return name ? name : "E?";
}

static void emit_result_as(const char *format, long ret, int error)
{
	if (ret == -1) {
		if (current_perturb == PERTURB_ERRNO && error == EINVAL)
			error = ENOENT;
		emit(" = -1 %s", error == UNTOUCHED ? "without errno" : error_name(error));
		return;
	}
	emit(format, ret);
	if (error != UNTOUCHED)
		emit(" errno-touched");
}

void emit_result(long ret, int error)
{
	emit_result_as(" = %ld", ret, error);
}

void emit_id_result(long ret, int error)
{
	emit_result_as(" = {i:%ld}", ret, error);
}

void emit_address(const void *address)
{
	long offset = (const char *)address - ARENA;

	if (offset >= 0 && offset < ARENA_PAGES * PAGE && offset % PAGE == 0)
		emit("A+%ldp", offset / PAGE);
	else
		emit("%#lx", (unsigned long)address);
}

/* What a call must leave alone in its host. */
struct host {
	int lowest_descriptor;
	mode_t umask;
	sigset_t blocked;
};

static struct host look_at_host(void)
{
	struct host host;

	memset(&host, 0, sizeof host);
	host.lowest_descriptor = fcntl(0, F_DUPFD, 0);
	close(host.lowest_descriptor);
	host.umask = umask(0);
	umask(host.umask);
	pthread_sigmask(SIG_BLOCK, NULL, &host.blocked);
	return host;
}

static void emit_changes(const struct host *before)
{
	struct host after = look_at_host();

	if (after.lowest_descriptor != before->lowest_descriptor)
		emit(" descriptor-left-behind(%d, was %d)", after.lowest_descriptor, before->lowest_descriptor);
	if (after.umask != before->umask)
		emit(" umask-changed");
	for (int signal = 1; signal < NSIG; signal++)
		if (sigismember(&after.blocked, signal) != sigismember(&before->blocked, signal)) {
			emit(" signal-mask-changed");
			break;
		}
}

static void send_reply(void)
{
	static char message[MESSAGE_MAX];

	reply.pid = getpid();
	memcpy(message, &reply, sizeof reply);
	memcpy(message + sizeof reply, text, text_length);
	if (send(CHANNEL_FD + number, message, sizeof reply + text_length, MSG_NOSIGNAL) < 0)
		_exit(1); /* nobody is listening any more */
}

static void start_reply(void)
{
	memset(&reply, 0, sizeof reply);
	text_length = 0;
	text[0] = '\0';
}

static void do_fork(const struct step *step)
{
	pid_t child;

	errno = UNTOUCHED;
	child = fork();
	if (child == 0) {
		number = (int)step->n[0];
		forget_not_inherited();
		start_reply();
		emit(" child up");
		return; /* and answers, on its own channel */
	}
	if (child < 0)
		emit_result(-1, errno);
	else
		emit(" parent%s", errno == UNTOUCHED ? "" : " errno-touched");
	reply.ret = child;
	reply.has_ret = 1;
}

static void do_vfork(void)
{
	int status = -1;
	pid_t child = vfork();

	if (child == 0)
		_exit(7);
	waitpid(child, &status, 0);
	emit(" status %#x", (unsigned)status);
}

static void do_spawn(void)
{
	char *argv[] = { "true", NULL };
	pid_t child;
	int status = -1, error = posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ);

	if (error) {
		emit_result(-1, error);
		return;
	}
	waitpid(child, &status, 0);
	emit(" status %#x", (unsigned)status);
}

static void do_exec(void)
{
	char argument[16], *argv[] = { "worker", argument, "exec", NULL };

	snprintf(argument, sizeof argument, "%d", number);
	fexecve(OWN_IMAGE_FD, argv, environ);
	emit_result(-1, errno);
}

static void do_exit(int ending)
{
	switch (ending) {
	case END_EXIT:
		exit(3);
	case END_ABORT:
		abort();
	case END_SEGV:
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	}
	_exit(3);
}

static void drop_capability(int which)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	unsigned bit = 1u << (which % 32);

	memset(data, 0, sizeof data);
	capget(&header, data);
	data[which / 32].effective &= ~bit;
	data[which / 32].permitted &= ~bit;
	data[which / 32].inheritable &= ~bit;
	errno = UNTOUCHED;
	emit_result(capset(&header, data), errno);
}

static void do_credentials(const struct step *step)
{
	uid_t id = (uid_t)step->n[0];
	gid_t groups[2] = { (gid_t)step->n[0], (gid_t)step->n[1] };
	struct rlimit limit;
	long ret = -1;

	errno = UNTOUCHED;
	switch (step->op) {
	case OP_SETUID:
		ret = setresuid(id, id, id);
		break;
	case OP_SETGID:
		ret = setresgid(id, id, id);
		break;
	case OP_SETGROUPS:
		ret = setgroups(groups[1] ? 2 : 1, groups);
		break;
	case OP_DROPCAP:
		drop_capability((int)step->n[0]);
		return;
	case OP_MEMLOCK:
		getrlimit(RLIMIT_MEMLOCK, &limit);
		limit.rlim_cur = step->n[0] < 0 || (rlim_t)step->n[0] > limit.rlim_max ? limit.rlim_max : (rlim_t)step->n[0];
		ret = setrlimit(RLIMIT_MEMLOCK, &limit);
		break;
	}
	emit_result(ret, errno);
}

static void perform(const struct step *step)
{
	if (current_perturb == PERTURB_DEATH && step->op == OP_PEEK)
		_exit(1);
	if (perform_call(step) || perform_memory(step) || perform_ipc(step))
		return;
	switch (step->op) {
	case OP_FORK: do_fork(step); break;
	case OP_VFORK: do_vfork(); break;
	case OP_SPAWN: do_spawn(); break;
	case OP_EXEC: do_exec(); break;
	case OP_EXIT: do_exit((int)step->n[0]); break;
	case OP_REAP: waitpid((pid_t)step->n[0], NULL, 0); break;
	case OP_LEAVEMAIN: emit(" main thread gone"); break; /* serve() saw to it */
	default: do_credentials(step);
	}
}

struct thread_work {
	const struct step *step;
	pid_t tid;
};

static void *perform_in_thread(void *argument)
{
	struct thread_work *work = argument;

	work->tid = (pid_t)syscall(SYS_gettid);
	perform(work->step);
	return NULL;
}

static void in_thread(const struct step *step)
{
	struct thread_work work = { step, 0 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, perform_in_thread, &work)) {
		emit(" no thread");
		return;
	}
	pthread_join(thread, NULL);
	/* Joined is not yet gone: with shm_rmid_forced the kernel acts a moment later. */
	while (syscall(SYS_tgkill, getpid(), work.tid, 0) == 0)
		sched_yield();
}

static void in_child(const struct step *step)
{
	int ends[2], status = -1;
	ssize_t got;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC)) {
		emit(" no pipe");
		return;
	}
	child = fork();
	if (child == 0) {
		text_length = 0;
		forget_not_inherited();
		perform(step);
		/* More than a pipe holds goes in pieces; the parent reads on. */
		for (size_t sent = 0; sent < text_length; sent += (size_t)got)
			if ((got = write(ends[1], text + sent, text_length - sent)) <= 0)
				break;
		_exit(0);
	}
	close(ends[1]);
	emit(" {n:%d}", child);
	while ((got = read(ends[0], text + text_length, sizeof text - 1 - text_length)) > 0)
		text_length += (size_t)got;
	text[text_length] = '\0';
	close(ends[0]);
	waitpid(child, &status, 0);
	emit(" status %#x", (unsigned)status);
}

static void as_other(const struct step *step)
{
	if (seteuid((uid_t)step->as_uid)) {
		emit(" skipped: seteuid %s", error_name(errno));
		return;
	}
	perform(step);
	if (seteuid(0))
		emit(" seteuid back %s", error_name(errno));
}

static void run(const struct step *step)
{
	struct host before = look_at_host();

	current_perturb = step->perturb;
	switch (step->mode) {
	case MODE_THREAD: in_thread(step); break;
	case MODE_CHILD: in_child(step); break;
	case MODE_AS: as_other(step); break;
	default: perform(step);
	}
	emit_changes(&before);
}

static void *serve(void *first);

/* true: this thread is the main one, another serves from now on. */
static bool leave_main(struct step *step)
{
	static struct step handed_over;
	pthread_attr_t attributes;
	pthread_t thread;

	handed_over = *step;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	return pthread_create(&thread, &attributes, serve, &handed_over) == 0;
}

static void wait_for_main_to_end(void)
{
	char path[64], state = '?';

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
	while (state != 'Z') {
		FILE *stat = fopen(path, "re");

		if (!stat || fscanf(stat, "%*d %*s %c", &state) != 1)
			state = 'Z';
		if (stat)
			fclose(stat);
		sched_yield();
	}
}

static void *serve(void *first)
{
	struct step step;

	if (first) {
		wait_for_main_to_end();
		start_reply();
		run(first);
		send_reply();
	}
	while (recv(CHANNEL_FD + number, &step, sizeof step, 0) == (ssize_t)sizeof step) {
		if (step.op == OP_LEAVEMAIN && (pid_t)syscall(SYS_gettid) == getpid() && leave_main(&step))
			return NULL;
		start_reply();
		run(&step);
		send_reply();
	}
	_exit(0); /* the conductor is gone */
}

int main(int argc, char **argv)
{
	struct rlimit none = { 0, 0 };

	if (argc < 2)
		return 2;
	number = atoi(argv[1]);
	setrlimit(RLIMIT_CORE, &none);
	start_reply();
	emit(argc > 2 ? " up after exec" : " up");
	if (!arena_is_empty())
		emit(" arena-not-empty");
	send_reply();
	serve(NULL);
	pthread_exit(NULL); /* the main thread leaves, the process stays */
}
