/*
 * pairs.c - one operation in the middle of another: the first is stopped at a system call, the second runs from
 * beginning to end (or as far as the first lets it), then the first goes on. Both must answer as they may, and what
 * others see afterwards must fit together.
 */
#include "hostile.h"

static bool is_allowed(const char *call, const struct answer *answer)
{
	if (answer->value == 0)
		return true;
	if (!call || strncmp(call, "shm", 3) != 0 || strcmp(call, "shmdt") == 0)
		return false;
	/* The segment may be gone or somebody else's by now; the key may be free. */
	return answer->error == EINVAL || answer->error == EIDRM || answer->error == ENOENT || answer->error == EACCES;
}

static const struct sight *among(const struct sight *sights, int count, int id)
{
	const struct sight *found = NULL;
	for (int i = 0; i < count; i++)
		if (sights[i].id == id) {
			if (found)
				return NULL;
			found = &sights[i];
		}
	return found;
}

/* Without knowing what is to be: whether every way to look shows the same, and the counts are true. */
static bool fits(const struct world *world, const struct observation *o, char *text, size_t size)
{
	long pages = 0;
	for (int i = 0; i < o->listed; i++) {
		const struct sight *listed = &o->list[i], *walked = among(o->walk, o->walked, listed->id);
		struct segment segment = { .id = listed->id, .key = listed->key };
		for (int k = 0; k < the->segments; k++)
			if (the->segment[k].id == listed->id)
				segment.key = the->segment[k].key;
		if (!walked || among(o->list, o->listed, listed->id) != listed || walked->nattch != listed->nattch ||
		    walked->key != listed->key || walked->mode != listed->mode || walked->size != listed->size) {
			snprintf(text, size, "segment %d is not walked as it is listed", listed->id);
			return false;
		}
		unsigned long attaches = attaches_of(world, &segment);
		if (listed->nattch != attaches) {
			snprintf(text, size, "segment %d has nattch %lu and is attached %lu times", listed->id,
				 listed->nattch, attaches);
			return false;
		}
		if (listed->mode & SHM_DEST && attaches == 0) {
			snprintf(text, size, "segment %d is marked and attached by nobody", listed->id);
			return false;
		}
		for (int k = 0; k < i; k++)
			if (listed->key != IPC_PRIVATE && o->list[k].key == listed->key) {
				snprintf(text, size, "key %#x is there twice", (unsigned)listed->key);
				return false;
			}
		pages += (listed->size + PAGE - 1) / PAGE;
	}
	for (int i = 0; i < the->segments; i++) {
		int wanted = -ENOENT;
		for (int k = 0; k < o->listed; k++)
			if (o->list[k].key == the->segment[i].key)
				wanted = o->list[k].id;
		if (the->segment[i].key != IPC_PRIVATE && o->keys[i] != wanted) {
			snprintf(text, size, "shmget of key %#x said %d, not %d", (unsigned)the->segment[i].key,
				 o->keys[i], wanted);
			return false;
		}
	}
	if (o->used_ids != o->listed || o->walked != o->listed || o->total_pages != pages) {
		snprintf(text, size, "%d listed, %d walked, SHM_INFO says %ld of %ld pages, not %ld", o->listed, o->walked,
			 o->used_ids, o->total_pages, pages);
		return false;
	}
	return true;
}

static bool look(const struct world *world, char *text, size_t size)
{
	struct actor observer;
	struct answer answer;
	const char *what = NULL;
	actor_start(&observer);
	static const struct { job *job; int argument; const char *what; } looks[] = {
		{ job_observe_first, 0, "the first look" }, { job_whole_life, 0x7001, "the next operation" },
		{ job_observe_second, 0, "the second look" }, { job_contents, 0, "reading" },
	};
	the->text[0] = 0;
	for (size_t i = 0; i < sizeof looks / sizeof *looks && !what; i++)
		if (!actor_send(&observer, looks[i].job, looks[i].argument) ||
		    actor_hear(&observer, &answer, HANG_MS) != HEARD || answer.value < 0)
			what = looks[i].what;
	actor_kill(&observer);
	if (what)
		snprintf(text, size, "%s fails: %.400s", what, the->text);
	return !what && !observation_differs(text, size) && fits(world, &the->second, text, size);
}

/* Of a process that has forked when it was not traced any more; 0: there is none. */
static pid_t only_child_of(pid_t parent)
{
	char path[64];
	int child = 0;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
	FILE *children = fopen(path, "re");
	if (children && fscanf(children, "%d", &child) != 1)
		child = 0;
	if (children)
		fclose(children);
	return child;
}

static const char *word_of(const struct answer *answer) { return answer->value ? strerrorname_np(answer->error) : "0"; }

/* Returns whether the first operation has that many stops. */
static bool pair(const struct op *one, const struct op *two, int stop)
{
	struct world world;
	struct actor first, second;
	struct tracee tracee;
	struct answer answers[2] = { { -1, 0 }, { -1, 0 } };
	struct tally tally = { 0 };
	char text[1500] = "";
	bool good = false;

	world_make(&world, false);
	if (one->arrange)
		one->arrange(&world);
	if (two->arrange && two->arrange != one->arrange)
		two->arrange(&world);
	prepare_victim(one, &first);
	void *address = the->address[0];
	prepare_victim(two, &second);
	the->address[0] = address;
	if (!begin_victim(one, &first, &tracee))
		fatal("%s does not begin", one->name);
	if (trace_to(&tracee, (struct point){ stop, 0 }) != REACHED) {
		end_victim(&first, &tracee);
		actor_kill(&second);
		world_end(&world);
		return false;
	}
	bool held = table_is_locked();
	actor_send(&second, two->act, 0);
	enum heard heard = actor_hear(&second, &answers[1], held ? 30 : HANG_MS);
	if (heard == SILENT && !held) {
		snprintf(text, sizeof text, "the second waits for the first, which does not hold the lock");
		goto out;
	}
	trace_let_go(&tracee);
	if (actor_hear(&first, &answers[0], HANG_MS) != HEARD ||
	    (heard != HEARD && actor_hear(&second, &answers[1], HANG_MS) != HEARD)) {
		snprintf(text, sizeof text, "one of them hangs or is killed");
		goto out;
	}
	world.extra[world.extras++] = first.pid;
	world.extra[world.extras++] = second.pid;
	if (one->flags & FORKS && answers[0].value == 0) {
		pid_t child = tracee.other ? tracee.other : only_child_of(first.pid);
		if (child)
			world.extra[world.extras++] = child;
		if (!child_spoke()) {
			snprintf(text, sizeof text, "the child hangs");
			goto out;
		}
	}
	if (!is_allowed(one->call, &answers[0]) || !is_allowed(two->call, &answers[1])) {
		snprintf(text, sizeof text, "they say %s and %s", word_of(&answers[0]), word_of(&answers[1]));
		goto out;
	}
	good = look(&world, text, sizeof text);
	actor_kill(&first);
	actor_kill(&second);
	world.extra[0] = world.extra[1] = 0;
	good = good && look(&world, text, sizeof text) && clean_up(one, &world, text, sizeof text, &tally);
out:
	if (good)
		passed();
	else
		failed("%s stopped at %d for %s: %s", one->name, stop, two->name, text);
	actor_kill(&first);
	actor_kill(&second);
	world.extra[0] = world.extra[1] = 0;
	world_end(&world);
	return true;
}

void test_pairs(void)
{
	static const char *const seconds[] = { "create-keyed", "create-keyed-first-call", "remove", "remove-attached",
					       "attach", "attach-held", "set", "reap-by-info" };
	unsetenv("SHMSHIM_SCOPE");
	for (int i = 0; i < op_count; i++) {
		if (ops[i].flags & (HEAVY | EMPTY | ENDS | SHIM_ONLY | CHILD | CHILD_FIRST))
			continue;
		the->handlers = i % 2 == 0;
		for (size_t k = 0; k < sizeof seconds / sizeof *seconds; k++) {
			/* All stops, or every so many, and not always the same. */
			int step = full ? 1 : 12, stop = full ? 0 : (int)pick(step);
			while (pair(&ops[i], op_named(seconds[k]), stop))
				stop += step;
		}
	}
}
