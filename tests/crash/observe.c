/* observe.c - what a process sees of the namespace, by every call there is, and whether all of it can be true. */
#include "crash.h"

#include <fcntl.h>
#include <time.h>

static long slowest_milliseconds;
static long long began;

/*
 * Nanoseconds of the clock, without those in which this process was ready and others had the processor: that a machine is
 * busy is no fault of the library's. Where the kernel does not tell, with them.
 */
static long long own_nanoseconds(void)
{
	struct timespec now;
	char text[100] = "";
	long long waited = 0;
	int kept = errno, fd = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text - 1) < 0 || sscanf(text, "%*d %lld", &waited) != 1)
		waited = 0;
	if (fd >= 0)
		close(fd);
	errno = kept;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ll + now.tv_nsec - waited;
}

static void start(void) { began = own_nanoseconds(); }

static void stop(void)
{
	long took = (long)((own_nanoseconds() - began) / 1000000);
	if (took > slowest_milliseconds)
		slowest_milliseconds = took;
}

static void look_up(struct observation *o)
{
	for (int i = 0; i < the->segments; i++) {
		if (the->segment[i].key == IPC_PRIVATE)
			continue;
		start();
		int id = shmget(the->segment[i].key, 0, 0);
		o->keys[i] = id < 0 ? -errno : id;
		stop();
	}
}

static void see(struct sight *sight, int id, const struct shmid_ds *d)
{
	*sight = (struct sight){ id, d->shm_perm.__key, d->shm_segsz, d->shm_perm.mode, d->shm_nattch };
}

static void ask(struct observation *o)
{
	for (int i = 0; i < the->segments; i++) {
		struct shmid_ds d;
		if (the->segment[i].id < 0)
			continue;
		start();
		o->stats[i] = shmctl(the->segment[i].id, IPC_STAT, &d) < 0 ? -errno : 0;
		stop();
		if (o->stats[i] == 0)
			see(&o->stat[i], the->segment[i].id, &d);
	}
}

static void sum_up(struct observation *o)
{
	struct shm_info info;
	memset(&info, 0, sizeof info);
	start();
	if (shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0) {
		o->failed = errno;
		o->what = "SHM_INFO";
	}
	stop();
	o->used_ids = info.used_ids;
	o->total_pages = info.shm_tot;
}

static void read_list(struct observation *o)
{
	char line[512];
	start();
	FILE *list = fopen("/proc/sysvipc/shm", "re");
	stop();
	if (!list) {
		o->failed = errno;
		o->what = "/proc/sysvipc/shm";
		return;
	}
	o->listed = 0;
	while (fgets(line, sizeof line, list)) {
		struct sight *sight = &o->list[o->listed];
		if (o->listed < MAX_SEGMENTS &&
		    sscanf(line, "%d %d %o %zu %*d %*d %lu", &sight->key, &sight->id, &sight->mode, &sight->size,
			   &sight->nattch) == 5)
			o->listed++;
	}
	fclose(list);
}

static void walk(struct observation *o)
{
	struct shm_info info;
	struct shmid_ds d;
	int highest = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	o->walked = 0;
	for (int index = 0; index <= highest && o->walked < MAX_SEGMENTS; index++) {
		int id = shmctl(index, SHM_STAT_ANY, &d);
		if (id >= 0)
			see(&o->walk[o->walked++], id, &d);
	}
}

static int observe(struct observation *o, int variant)
{
	static void (*const pieces[])(struct observation *) = { look_up, ask, sum_up, read_list, walk };
	memset(o, 0, sizeof *o);
	slowest_milliseconds = 0;
	/* Who looks for something else first must not see something else. */
	for (int i = 0; i < 5; i++)
		pieces[(i + variant) % 5](o);
	return (int)slowest_milliseconds;
}

int job_observe_first(int variant) { return observe(&the->first, variant); }
int job_observe_second(int variant) { return observe(&the->second, variant); }

static bool same(const struct sight *a, const struct sight *b)
{
	return a->id == b->id && a->key == b->key && a->size == b->size && a->mode == b->mode && a->nattch == b->nattch;
}

static void describe(char *text, size_t size, const struct sight *s)
{
	snprintf(text, size, "{id %d key %#x size %zu mode %o nattch %lu}", s->id, (unsigned)s->key, s->size, s->mode,
		 s->nattch);
}

/* Nothing has happened between the two, so they must be the same. */
bool observation_differs(char *text, size_t size)
{
	const struct observation *a = &the->first, *b = &the->second;
	char one[128], two[128];
	for (int i = 0; i < the->segments; i++) {
		if (a->keys[i] != b->keys[i]) {
			snprintf(text, size, "key %#x: shmget said %d at first, %d later", (unsigned)the->segment[i].key,
				 a->keys[i], b->keys[i]);
			return true;
		}
		if (a->stats[i] != b->stats[i] || !same(&a->stat[i], &b->stat[i])) {
			describe(one, sizeof one, &a->stat[i]);
			describe(two, sizeof two, &b->stat[i]);
			snprintf(text, size, "id %d: IPC_STAT said %d %s at first, %d %s later", the->segment[i].id,
				 a->stats[i], one, b->stats[i], two);
			return true;
		}
	}
	if (a->used_ids != b->used_ids || a->total_pages != b->total_pages) {
		snprintf(text, size, "SHM_INFO said %ld ids, %ld pages at first, %ld and %ld later", a->used_ids,
			 a->total_pages, b->used_ids, b->total_pages);
		return true;
	}
	if (a->listed != b->listed || a->walked != b->walked) {
		snprintf(text, size, "%d segments listed and %d walked at first, %d and %d later", a->listed, a->walked,
			 b->listed, b->walked);
		return true;
	}
	for (int i = 0; i < a->listed; i++)
		if (!same(&a->list[i], &b->list[i])) {
			describe(one, sizeof one, &a->list[i]);
			describe(two, sizeof two, &b->list[i]);
			snprintf(text, size, "listed as %s at first, %s later", one, two);
			return true;
		}
	for (int i = 0; i < a->walked; i++)
		if (!same(&a->walk[i], &b->walk[i])) {
			describe(one, sizeof one, &a->walk[i]);
			describe(two, sizeof two, &b->walk[i]);
			snprintf(text, size, "walked as %s at first, %s later", one, two);
			return true;
		}
	return false;
}

static bool known(int id)
{
	for (int i = 0; i < the->segments; i++)
		if (the->segment[i].id == id)
			return true;
	return false;
}

/* The segment's line among `count`, when there is exactly one. */
static const struct sight *find(const struct segment *segment, const struct sight *sights, int count)
{
	const struct sight *found = NULL;
	for (int i = 0; i < count; i++) {
		bool it = segment->id >= 0 ? sights[i].id == segment->id : !known(sights[i].id);
		if (!it)
			continue;
		if (found)
			return NULL;
		found = &sights[i];
	}
	return found;
}

/* A segment that is to be gone stays, marked, for as long as a living process has it attached. */
static bool matches(const struct world *world, const struct observation *o, int when, char *text, size_t size)
{
	long pages = 0;
	int expected = 0;
	char one[128];
#define SAY(...) return snprintf(text, size, __VA_ARGS__), false
	for (int i = 0; i < the->segments; i++) {
		struct segment segment = the->segment[i];
		struct state state = segment.is[when], *is = &state;
		if (!is->exists && segment.id >= 0 && attaches_of(world, &segment) > 0)
			state = (struct state){ true, true, state.mode };
		const struct sight *listed = find(&segment, o->list, o->listed);
		const struct sight *walked = find(&segment, o->walk, o->walked);
		if (!is->exists) {
			if (listed || walked)
				SAY("a segment of key %#x is there", (unsigned)segment.key);
			if (segment.id >= 0 && o->stats[i] != -EINVAL)
				SAY("IPC_STAT of id %d, which is gone, said %d", segment.id, o->stats[i]);
			continue;
		}
		if (!listed || !walked)
			SAY("segment %d of key %#x is listed %s, walked %s", segment.id, (unsigned)segment.key,
			    listed ? "once" : "not once", walked ? "once" : "not once");
		segment.id = listed->id;
		struct sight wanted = { segment.id, is->marked ? 0 : segment.key, segment.size,
					is->mode | (is->marked ? SHM_DEST : 0), attaches_of(world, &segment) };
		const struct sight *asked = the->segment[i].id < 0 ? listed : &o->stat[i];
		if (o->stats[i] != 0)
			SAY("IPC_STAT of id %d said %d", segment.id, o->stats[i]);
		for (int k = 0; k < 3; k++) {
			const struct sight *seen = k == 0 ? asked : k == 1 ? listed : walked;
			if (!same(seen, &wanted)) {
				char two[128];
				describe(one, sizeof one, &wanted);
				describe(two, sizeof two, seen);
				SAY("%s shows %s, it is %s", k == 0 ? "IPC_STAT" : k == 1 ? "the list" : "SHM_STAT_ANY",
				    two, one);
			}
		}
		pages += (segment.size + PAGE - 1) / PAGE;
		expected++;
	}
	for (int i = 0; i < the->segments; i++) {
		int wanted = -ENOENT;
		if (the->segment[i].key == IPC_PRIVATE)
			continue;
		for (int k = 0; k < the->segments; k++) {
			const struct segment *other = &the->segment[k];
			if (other->key != the->segment[i].key || !other->is[when].exists || other->is[when].marked)
				continue;
			const struct sight *listed = find(other, o->list, o->listed);
			wanted = listed ? listed->id : other->id;
		}
		if (o->keys[i] != wanted)
			SAY("shmget of key %#x said %d, not %d", (unsigned)the->segment[i].key, o->keys[i], wanted);
	}
	if (o->listed != expected || o->walked != expected || o->used_ids != expected || o->total_pages != pages)
		SAY("%d segments of %ld pages: listed %d, walked %d, SHM_INFO says %ld of %ld pages", expected, pages,
		    o->listed, o->walked, o->used_ids, o->total_pages);
#undef SAY
	return true;
}

int observation_matches(const struct world *world, char *text, size_t size)
{
	const struct observation *o = &the->second;
	char before[600] = "", after[600] = "";
	if (o->failed) {
		snprintf(text, size, "%s failed: %s", o->what, strerror(o->failed));
		return 0;
	}
	int found = (matches(world, o, 0, before, sizeof before) ? 1 : 0) |
		    (matches(world, o, 1, after, sizeof after) ? 2 : 0);
	if (found == 0 && strcmp(before, after) == 0)
		snprintf(text, size, "%s", before);
	else
		snprintf(text, size, "not as before: %s; not as after: %s", before, after);
	return found;
}

/* Every segment that is seen has the bytes that were written to it. */
int job_contents(int argument)
{
	(void)argument;
	for (int i = 0; i < the->second.listed; i++) {
		int id = the->second.list[i].id;
		size_t size = the->second.list[i].size;
		unsigned seed = 0;
		if (size == HUGE_BYTES)
			continue;
		for (int k = 0; k < the->segments; k++)
			if (the->segment[k].id == id)
				seed = the->segment[k].seed;
		const void *at = shmat(id, NULL, SHM_RDONLY);
		if (at == (void *)-1) {
			snprintf(the->text, MAX_TEXT, "segment %d cannot be attached: %s", id, strerror(errno));
			return -1;
		}
		if (!filled(at, seed, size)) {
			snprintf(the->text, MAX_TEXT, "segment %d has other contents", id);
			return -1;
		}
		if (shmdt(at) < 0) {
			snprintf(the->text, MAX_TEXT, "segment %d cannot be detached", id);
			return -1;
		}
	}
	return 0;
}

/* A segment made, used and removed: the next operation. */
int job_whole_life(int key)
{
	const char *at_fault = "shmget";
	start();
	slowest_milliseconds = 0;
	int id = shmget(key, 3 * PAGE, IPC_CREAT | IPC_EXCL | 0600);
	unsigned char *at = (void *)-1;
	if (id < 0)
		goto failed;
	at_fault = "shmat";
	at = shmat(id, NULL, 0);
	if (at == (void *)-1)
		goto failed;
	at_fault = "the contents of a new segment";
	errno = 0;
	if (!filled(at, 0, 3 * PAGE))
		goto failed;
	fill(at, 99, 3 * PAGE);
	at_fault = "shmdt";
	if (shmdt(at) < 0)
		goto failed;
	at_fault = "IPC_RMID";
	if (shmctl(id, IPC_RMID, NULL) < 0)
		goto failed;
	at_fault = "a removed key is still found";
	if (key != IPC_PRIVATE && (shmget(key, 0, 0) >= 0 || errno != ENOENT))
		goto failed;
	stop();
	return (int)slowest_milliseconds;
failed:
	snprintf(the->text, MAX_TEXT, "the next operations fail at %s: %s", at_fault, strerror(errno));
	return -1;
}

int job_remove_all(int argument)
{
	(void)argument;
	read_list(&the->second);
	for (int i = 0; i < the->second.listed; i++)
		if (shmctl(the->second.list[i].id, IPC_RMID, NULL) < 0) {
			snprintf(the->text, MAX_TEXT, "segment %d cannot be removed: %s", the->second.list[i].id,
				 strerror(errno));
			return -1;
		}
	return 0;
}

int job_is_empty(int argument)
{
	struct observation *o = &the->second;
	(void)argument;
	memset(o, 0, sizeof *o);
	sum_up(o);
	read_list(o);
	if (o->failed || o->used_ids || o->total_pages || o->listed) {
		snprintf(the->text, MAX_TEXT, "after everything is removed %ld ids of %ld pages are left, %d listed",
			 o->used_ids, o->total_pages, o->listed);
		return -1;
	}
	return 0;
}
