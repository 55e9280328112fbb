/* The calls themselves: arguments that mostly make sense, and the ones that do not. */
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "generate.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif
#define HUGE_NORESERVE (1L << 40)

static long pages_of(int64_t size)
{
	return size > 0 && size <= HUGE_NORESERVE ? (long)((size + PAGE - 1) / PAGE) : 1;
}

static int64_t pick_mode(struct generator *g)
{
	static const int64_t modes[] = { 0600, 0600, 0600, 0600, 0600, 0666, 0666, 0666, 0666, 0666, 0666, 0777, 0777, 0644, 0640, 0660,
		0400, 0200, 0, 0700, 0606, 0066, 0004, 0040 };
	int64_t any = below(&g->rng, 01000);
	int64_t usual = PICK(&g->rng, modes);

	return percent(&g->rng, 10) ? any : usual;
}

static struct believed_segment *segment_of_key(struct generator *g, int32_t key)
{
	for (int s = g->segment_count; s-- > 0;)
		if (key != 0 && !g->segments[s].removed && g->segments[s].key == key)
			return &g->segments[s];
	return NULL;
}

static bool open_to(const struct believed_segment *segment, int64_t uid)
{
	int64_t bits = segment->uid == uid ? segment->mode >> 6 : segment->mode;

	return uid == 0 || (bits & 6) == 6;
}

/* Mostly one that is there and that the worker may use; the newer ones have more to do. */
static struct believed_segment *pick_segment(struct generator *g, const struct step *step)
{
	bool any = percent(&g->rng, 8), closed = percent(&g->rng, 20), recent = percent(&g->rng, 60);

	if (!g->segment_count)
		return NULL;
	for (int tries = 0; tries < 16; tries++) {
		int span = recent && g->segment_count > 8 ? 8 : g->segment_count;
		struct believed_segment *segment = &g->segments[g->segment_count - 1 - below(&g->rng, span)];

		if (any || (!segment->removed && (closed || open_to(segment, g->workers[step->worker].uid))))
			return segment;
	}
	return &g->segments[g->segment_count - 1];
}

static struct id_ref pick_id(struct generator *g, const struct step *step, struct believed_segment **chosen)
{
	static const int64_t odd[] = { -1, 0, 1, 5, 63, 32768, 0x7fffffff, -2147483647 - 1 };
	struct believed_segment *segment = pick_segment(g, step);
	int choice = below(&g->rng, 100);
	struct id_ref id = { .kind = ID_OF };

	*chosen = NULL;
	if (!segment || choice < 2) {
		id.kind = ID_VALUE;
		id.value = PICK(&g->rng, odd);
		return id;
	}
	id.name = segment->name;
	if (choice < 5)
		id.kind = ID_WRONG_SEQ;
	else if (choice < 6)
		id.kind = ID_INDEX;
	else if (choice < 7)
		id.kind = ID_NEXT;
	else
		*chosen = segment;
	return id;
}

struct believed_attach *pick_attach(struct generator *g, struct step *step)
{
	struct believed_worker *worker = &g->workers[step->worker];

	int span = worker->attach_count;

	if (!span)
		return NULL;
	if (percent(&g->rng, 60) && span > 4)
		span = 4; /* the newest: what is left of the old ones is less certain */
	return &worker->attaches[worker->attach_count - 1 - below(&g->rng, span)];
}

/* A place in the arena where the worker has nothing yet, if the first tries find one. */
static int pick_free_page(struct generator *g, const struct step *step, int pages)
{
	struct believed_worker *worker = &g->workers[step->worker];
	int page = 0;

	for (int tries = 0; tries < 12; tries++) {
		uint64_t wanted = ((1ull << (pages > 7 ? 1 : pages)) - 1);
		bool free = true;

		page = below(&g->rng, ARENA_PAGES - 6);
		wanted <<= page;
		free = (worker->blocked & wanted) == 0;
		for (int a = 0; a < worker->attach_count && free; a++) {
			struct believed_attach *attach = &worker->attaches[a];

			free = !attach->arena || attach->page >= page + pages || attach->page + attach->pages <= page;
		}
		if (free)
			break;
	}
	return page;
}

void forget_attach(struct generator *g, struct step *step, struct believed_attach *attach)
{
	struct believed_worker *worker = &g->workers[step->worker];

	*attach = worker->attaches[--worker->attach_count];
}

void remember_attach(struct generator *g, struct step *step, struct believed_attach attach)
{
	struct believed_worker *worker = &g->workers[step->worker];

	if (worker->attach_count < (int)(sizeof worker->attaches / sizeof worker->attaches[0]))
		worker->attaches[worker->attach_count++] = attach;
}

struct addr_ref arena_address(int page, long offset)
{
	return (struct addr_ref){ .kind = ADDR_ARENA, .value = page * PAGE + offset };
}

struct addr_ref attach_address(const struct believed_attach *attach, long offset)
{
	if (attach->arena)
		return arena_address(attach->page, offset);
	return (struct addr_ref){ .kind = ADDR_ATTACH, .name = attach->name, .value = offset };
}

bool gen_get(struct generator *g, struct step *step)
{
	static const int32_t keys[] = { 0, 0, 0x51, 0x52, 0x53, 0x54, 0x51, 0x52, 0x53, -1, 0x7fffffff, (int32_t)0x80000000 };
	static const int64_t sizes[] = { 1, 100, 4095, 4096, 4096, 4097, 5000, 8192, 8192, 12288, 12288, 12289, 20480 };
	static const int64_t absurd[] = { 0, -1, 0, INT64_MIN, INT64_MAX, (int64_t)0xfffffffffeffffffu, (int64_t)0xffffffffff000000u, 1L << 46 };
	static const int64_t unknown[] = { 0x8000, 0x10000, 1 << 30, 1L << 31, 16 << 26 };
	int32_t key = PICK(&g->rng, keys);
	struct believed_segment *existing = segment_of_key(g, key);
	int64_t size = PICK(&g->rng, sizes), mode = pick_mode(g), flags = mode;
	int choice = below(&g->rng, 100), size_choice = below(&g->rng, 100), extra = below(&g->rng, 100);
	int64_t odd = PICK(&g->rng, absurd), bit = PICK(&g->rng, unknown);

	if (size_choice < 8)
		size = odd;
	else if (existing && size_choice < 55)
		size = existing->size + below(&g->rng, 3) - 1;
	else if (existing && size_choice < 75)
		size = 0;
	if (choice < 62)
		flags |= IPC_CREAT;
	else if (choice < 78)
		flags |= IPC_CREAT | IPC_EXCL;
	else if (choice < 83)
		flags |= IPC_EXCL;
	else if (choice < 90)
		flags = 0;
	if (extra < 8)
		flags |= bit;
	else if (extra < 11)
		flags |= SHM_NORESERVE;
	else if (extra < 12) {
		flags |= SHM_NORESERVE;
		size = HUGE_NORESERVE;
	} else if (extra < 15) {
		/*
		 * Divergence: SHM_HUGETLB | SHM_NORESERVE makes a segment on a kernel that has no huge page
		 * at all; without a hugetlbfs there is no file that behaves so. Never generated.
		 */
		flags |= SHM_HUGETLB | (extra < 13 ? 16 << 26 : 0);
	}
	step->op = OP_GET;
	step->n[0] = key;
	step->n[1] = size;
	step->n[2] = flags;
	if (!existing && (key == 0 || flags & IPC_CREAT) && size > 0 && (size <= 1 << 20 || flags & SHM_NORESERVE))
		g->segments[g->segment_count++] = (struct believed_segment){
			.name = step->name, .key = key, .size = size, .uid = g->workers[step->worker].uid, .mode = mode };
	return true;
}

bool gen_at(struct generator *g, struct step *step)
{
	/* Wrapping past the end, beyond user space, page zero (by SHM_RND), the lowest address open to anyone. */
	static const int64_t odd[] = { 0xfffffffffffff000, 0x7ffffffff000, 0x800000000000, 1, 0xfff, 0x1000 };
	static const int64_t unknown[] = { 0777, 1 << 30, 1L << 31 };
	struct believed_segment *segment;
	struct believed_attach attach = { .name = step->name, .pages = 1 };
	int place = below(&g->rng, 100), kind = below(&g->rng, 100), page;
	int64_t odd_address = PICK(&g->rng, odd), bit = PICK(&g->rng, unknown);
	int offset = 1 + below(&g->rng, 4095);

	bool likely; /* to succeed */

	if (!g->segment_count && !percent(&g->rng, 15))
		return false;
	step->op = OP_AT;
	step->id = pick_id(g, step, &segment);
	likely = segment && !segment->removed;
	if (segment)
		attach.pages = (int)pages_of(segment->size);
	if (kind < 15)
		step->n[0] |= SHM_RDONLY;
	else if (kind < 19)
		step->n[0] |= SHM_EXEC;
	else if (kind < 22)
		step->n[0] |= SHM_EXEC | SHM_RDONLY;
	else if (kind < 26)
		step->n[0] |= bit;
	page = attach.page = pick_free_page(g, step, attach.pages);
	if (place < 32) {
		step->at = (struct addr_ref){ .kind = ADDR_VALUE };
		if (place < 2) {
			step->n[0] |= SHM_REMAP;
			likely = false;
		} else if (place < 4) {
			step->n[0] |= SHM_RND;
		}
	} else if (place < 78) {
		/* Often next to another one, or over it. */
		struct believed_attach *other = pick_attach(g, step);

		if (other && other->arena && (place < 42 || place >= 70) && other->page + other->pages < ARENA_PAGES - 6)
			attach.page = other->page + other->pages;
		attach.arena = true;
		step->at = arena_address(attach.page, 0);
		if (place >= 66)
			step->n[0] |= SHM_REMAP;
	} else if (place < 93) {
		attach.arena = true;
		step->at = arena_address(page, offset);
		if (place < 90)
			step->n[0] |= SHM_RND;
		else
			likely = false;
		if (place < 82)
			step->n[0] |= SHM_REMAP;
	} else {
		likely = false;
		step->at = (struct addr_ref){ .kind = ADDR_VALUE, .value = odd_address };
		if (odd_address < PAGE || place < 95)
			step->n[0] |= SHM_RND;
		if (place == 93)
			step->n[0] |= SHM_REMAP;
	}
	if (likely)
		remember_attach(g, step, attach);
	return true;
}

bool gen_dt(struct generator *g, struct step *step)
{
	static const int64_t odd[] = { 0, -1, 0xfffffffffffff000, 0x1000, 0x800000000000 };
	struct believed_attach *attach = pick_attach(g, step);
	int choice = below(&g->rng, 100), page = below(&g->rng, ARENA_PAGES);
	int64_t odd_address = PICK(&g->rng, odd);

	step->op = OP_DT;
	if (!attach && choice < 85)
		return false;
	if (choice < 4) {
		step->at = (struct addr_ref){ .kind = ADDR_VALUE, .value = odd_address };
	} else if (choice < 8 || !attach) {
		step->at = arena_address(page, 0);
	} else if (choice < 22) {
		static const long offsets[] = { 1, PAGE, 2 * PAGE, -PAGE, 8 };
		long offset = PICK(&g->rng, offsets);

		/* What lies around an attach that the system placed is the system's affair. */
		if (!attach->arena && (offset < 0 || offset >= attach->pages * PAGE))
			return false;
		step->at = attach_address(attach, offset);
	} else {
		step->at = attach_address(attach, 0);
		if (choice < 90) /* else the model goes on believing in it: a second shmdt may follow */
			forget_attach(g, step, attach);
	}
	return true;
}

bool gen_ctl(struct generator *g, struct step *step)
{
	static const int64_t commands[] = {
		IPC_STAT, IPC_STAT, IPC_STAT, IPC_STAT, SHM_STAT, SHM_STAT, SHM_STAT_ANY,
		IPC_SET, IPC_SET, IPC_SET, IPC_SET, IPC_RMID, IPC_RMID, IPC_RMID, IPC_RMID,
		SHM_LOCK, SHM_LOCK, SHM_UNLOCK, IPC_INFO, SHM_INFO, SHM_INFO,
	};
	static const int64_t unknown[] = { 4, 10, 16, 0x100, 0x102, -1, 99 };
	struct believed_segment *segment;
	int choice = below(&g->rng, 100), page = below(&g->rng, ARENA_PAGES), buffer = below(&g->rng, BUF_COUNT);
	int64_t cmd = PICK(&g->rng, commands), odd = PICK(&g->rng, unknown);
	int64_t uid = PICK(&g->rng, g->program->setup.uids), gid = PICK(&g->rng, g->program->setup.gids);
	int id_choice = below(&g->rng, 100);

	if (!g->segment_count && choice < 80)
		return false;
	step->op = OP_CTL;
	step->id = pick_id(g, step, &segment);
	if ((cmd == SHM_STAT || cmd == SHM_STAT_ANY) && step->id.kind == ID_OF && id_choice < 60)
		step->id.kind = ID_INDEX;
	step->n[0] = choice < 4 ? odd : cmd;
	if (choice >= 4 && choice < 14) {
		step->n[1] = buffer;
		step->at = arena_address(page, 0);
	}
	if (g->program->setup.alone && step->n[0] == IPC_SET && (step->n[1] == BUF_READONLY || step->n[1] == BUF_ARENA))
		step->n[1] = BUF_GOOD; /* what lies there names uid 0 or any */
	step->n[2] = uid;
	step->n[3] = gid;
	step->n[4] = pick_mode(g);
	if (id_choice >= 97)
		step->n[id_choice & 1 ? 2 : 3] = -1;
	else if (id_choice >= 92)
		step->n[4] |= 0177000;
	if (step->n[0] == IPC_RMID && segment)
		segment->removed = true;
	if (step->n[0] == IPC_SET && segment && uid >= 0) {
		segment->uid = uid;
		segment->mode = step->n[4] & 0777;
	}
	return true;
}
