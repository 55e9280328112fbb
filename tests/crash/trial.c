/* trial.c - a victim begins; what is asked of the survivors when a victim is gone, and of the directory when everything is removed. */
#include "crash.h"

#include <fcntl.h>
#include <sys/wait.h>

bool verbose;
int shown_failures;

void failure(const char *op, const char *where, const char *text)
{
	if (shown_failures++ < 60 || verbose)
		printf("FAIL %s at %s: %s\n", op, where, text);
	fflush(stdout);
}

static enum follow follow_of(const struct op *op)
{
	return op->flags & CHILD ? FOLLOW_CHILD : op->flags & CHILD_FIRST ? FOLLOW_PARENT_CHILD_FIRST : FOLLOW_PARENT;
}

void prepare_victim(const struct op *op, struct actor *victim)
{
	actor_start(victim);
	memset(the->address, 0, sizeof the->address);
	if (op->prepare && actor_do(victim, op->prepare, 0).value != 0)
		fatal("%s: the victim could not be prepared", op->name);
}

bool begin_victim(const struct op *op, struct actor *victim, struct tracee *tracee)
{
	if (!trace_attach(tracee, victim->pid, follow_of(op)))
		fatal("ptrace: %s", strerror(errno));
	actor_send(victim, op->act, 0);
	return trace_to_beginning(tracee);
}

void end_victim(struct actor *victim, struct tracee *tracee)
{
	kill_and_wait(tracee->pid);
	if (tracee->pid == victim->pid)
		actor_is_gone(victim);
	if (tracee->other) {
		trace_release_other(tracee);
		kill_and_wait(tracee->other);
	}
	actor_kill(victim);
}

/* Milliseconds, without those in which others had the processor. */
enum { PROMISE = 1000 };

/* Has an actor look; what it costs is part of the promise. */
static bool look(struct actor *actor, job *job, int argument, const char *what, char *text, size_t size)
{
	struct answer answer;
	actor_send(actor, job, argument);
	enum heard heard = actor_hear(actor, &answer, HANG_MS);
	if (heard == SILENT)
		snprintf(text, size, "%s hangs", what);
	else if (heard == GONE)
		snprintf(text, size, "%s dies", what);
	else if (answer.value < 0)
		snprintf(text, size, "%s: %.*s", what, 400, the->text);
	else if (answer.value > PROMISE)
		snprintf(text, size, "%s takes %d ms", what, answer.value);
	else
		return true;
	return false;
}

/*
 * Others look at what a victim has left. `variant` chooses who looks first and at what; `allowed` says which states
 * may be found: bit 0 that before the operation, bit 1 that after it.
 */
bool look_after(const struct op *op, struct world *world, int variant, int allowed, char *text, size_t size)
{
	struct actor observer = { 0 }, second;
	char reason[1300];
	bool by_holder = variant / 5 % 2 == 1 && !(op->flags & EMPTY);
	bool good = false;

	the->text[0] = 0;
	if (op->flags & FORCED && !look(&world->holder, job_force, 0, "unsetting shm_rmid_forced", text, size))
		return false;
	if (!by_holder)
		actor_start(&observer);
	struct actor *first = by_holder ? &world->holder : &observer;
	if (variant / 10 % 2 == 1 && !look(first, job_whole_life, 0x7001, "the next operation", text, size))
		goto out;
	if (!look(first, job_observe_first, variant % 5, "the first look", text, size))
		goto out;
	actor_start(&second);
	good = look(&second, job_whole_life, 0x7002, "the next operation", text, size) &&
	       look(&second, job_observe_second, 0, "the second look", text, size);
	if (good && observation_differs(reason, sizeof reason)) {
		snprintf(text, size, "%s", reason);
		good = false;
	}
	if (good && (observation_matches(world, reason, sizeof reason) & allowed) == 0) {
		snprintf(text, size, "%s", reason);
		good = false;
	}
	good = good && files_fit(&the->second, text, size);
	good = good && look(&second, job_contents, 0, "reading", text, size);
	actor_kill(&second);
out:
	actor_kill(&observer);
	return good;
}

/* Reads the list, which probes every process. */
int job_reap(int argument)
{
	(void)argument;
	FILE *list = fopen("/proc/sysvipc/shm", "re");
	char line[256];
	while (list && fgets(line, sizeof line, list))
		;
	return list ? fclose(list) : -1;
}

/* Sets shm_rmid_forced. */
int job_force(int value)
{
	int limit = open("/proc/sys/kernel/shm_rmid_forced", O_WRONLY | O_CLOEXEC);
	ssize_t written = limit < 0 ? -1 : write(limit, value ? "1\n" : "0\n", 2);
	if (limit >= 0)
		close(limit);
	return written == 2 ? 0 : -1;
}

/* Everything is removed by its owners; nothing may be left of it. */
bool clean_up(const struct op *op, struct world *world, char *text, size_t size, struct tally *tally)
{
	struct actor last;
	bool good = false;

	for (int i = 0; i < world->extras; i++)
		kill_and_wait(world->extra[i]);
	world->extras = 0;
	crowd_shrink(world);
	actor_kill(&world->holder);

	actor_start(&last);
	if (!look(&last, job_remove_all, 0, "removing", text, size))
		goto out;
	if (!the->on_kernel && tree_files("segments") != 0)
		tally->late++;
	if (!look(&last, job_is_empty, 0, "after removing", text, size))
		goto out;
	if (the->on_kernel) {
		good = true;
		goto out;
	}
	if (!look(&last, job_reap, 0, "listing", text, size))
		goto out;
	actor_kill(&last);
	long files = tree_files("segments");
	if (files != 0) {
		snprintf(text, size, "%ld segment files are left", files);
		goto out;
	}
	if (huge_files() != 0) {
		snprintf(text, size, "%ld files of huge pages are left", huge_files());
		goto out;
	}
	if (table_holds(text, size))
		goto out;
	table_forget();
	if (owns_file_system() && used_blocks() != tree_blocks()) {
		snprintf(text, size, "%ld blocks are in use that no file has", used_blocks() - tree_blocks());
		goto out;
	}
	if (op->flags & EMPTY) {
		/* Who makes the namespace next clears away what a killed maker has left. */
		remove_tree(the->directory);
		actor_start(&last);
		if (!look(&last, job_whole_life, 0x7003, "making it again", text, size))
			goto out;
		actor_kill(&last);
	}
	files = tree_files("") - tree_files("live");
	/* The runtime directory, registry, segments, live; in system scope the file of sets and queues from the beginning. */
	long made = op->flags & SYSTEM ? 5 : 4;
	if (files != made) {
		snprintf(text, size, "%ld files and directories in the base instead of %ld", files, made);
		goto out;
	}
	good = true;
out:
	actor_kill(&last);
	return good;
}
