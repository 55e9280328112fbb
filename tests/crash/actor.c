/* actor.c - processes that execute jobs. */
#include "crash.h"

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct shared *the;

/* Descriptors that no other actor may keep open, or nobody would notice an actor's end. */
static int theirs[2 * (MAX_CROWD + 16)];
static int their_count;

struct order {
	job *job;
	int argument;
};

void fatal(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fflush(stdout);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	exit(2);
}

static void remember(int fd)
{
	if (their_count == (int)(sizeof theirs / sizeof *theirs))
		fatal("too many actors");
	theirs[their_count++] = fd;
}

static void forget(int fd)
{
	for (int i = 0; i < their_count; i++)
		if (theirs[i] == fd) {
			theirs[i] = theirs[--their_count];
			break;
		}
	close(fd);
}

static void note(int signal) { (void)signal; }

static void live(int orders, int answers)
{
	struct order order;
	if (the->handlers)
		signal(SIGUSR2, note);
	while (read(orders, &order, sizeof order) == sizeof order) {
		errno = 0;
		int value = order.job(order.argument);
		struct answer answer = { value, errno };
		if (write(answers, &answer, sizeof answer) != sizeof answer)
			break;
	}
	_exit(0);
}

void actor_start(struct actor *actor)
{
	int to[2], from[2];
	if (pipe(to) < 0 || pipe(from) < 0)
		fatal("pipe: %s", strerror(errno));
	pid_t driver = getpid();
	fflush(stdout);
	actor->pid = fork();
	if (actor->pid < 0)
		fatal("fork: %s", strerror(errno));
	if (actor->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != driver)
			_exit(0);
		for (int i = 0; i < their_count; i++)
			close(theirs[i]);
		close(to[1]);
		close(from[0]);
		live(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	actor->to = to[1];
	actor->from = from[0];
	remember(actor->to);
	remember(actor->from);
	actor->open = true;
}

bool actor_send(struct actor *actor, job *job, int argument)
{
	struct order order = { job, argument };
	return write(actor->to, &order, sizeof order) == sizeof order;
}

enum heard actor_hear(struct actor *actor, struct answer *answer, int milliseconds)
{
	struct pollfd poll_on = { .fd = actor->from, .events = POLLIN };
	int ready;
	do
		ready = poll(&poll_on, 1, milliseconds);
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return SILENT;
	return read(actor->from, answer, sizeof *answer) == sizeof *answer ? HEARD : GONE;
}

/* For jobs that cannot fail to answer. */
struct answer actor_do(struct actor *actor, job *job, int argument)
{
	struct answer answer;
	if (!actor_send(actor, job, argument) || actor_hear(actor, &answer, HANG_MS) != HEARD)
		return (struct answer){ -1, ESRCH };
	return answer;
}

void kill_and_wait(pid_t pid)
{
	if (pid <= 0)
		return;
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* Somebody has killed it and waited for it already. */
void actor_is_gone(struct actor *actor) { actor->pid = 0; }

void actor_kill(struct actor *actor)
{
	kill_and_wait(actor->pid);
	actor->pid = 0;
	if (!actor->open)
		return;
	forget(actor->to);
	forget(actor->from);
	actor->open = false;
}
