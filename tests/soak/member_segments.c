/*
 * member_segments.c - a member's operations on segments: find, make, attach, look, change, remove. Others do the same at
 * the same time, so an answer may be that a segment is gone, or is closed to this user.
 */
#include "member.h"

#include <sys/mman.h>

struct held held[HOLDS];
int holding;

static bool gone(int error) { return error == EINVAL || error == EIDRM; }
/* Several users: what is another's may be closed to this one. */
static bool closed(int error) { return soak->system && (error == EACCES || error == EPERM); }

bool see_all(const struct held *h)
{
	for (unsigned page = 0; page < pages_of(h->size); page++)
		if (h->pages >> page & 1 && !look_at_page(h->id, h->size, page, h->base + (size_t)page * PAGE, !h->readonly))
			return false;
	return true;
}

static void put_down(int i) { held[i] = held[--holding]; }

static int find_some(void)
{
	struct shmid_ds d;
	if (choose(2)) {
		int id = shmget(FIRST_KEY + (int)choose(KEYS), 0, 0);
		if (id < 0 && errno != ENOENT)
			complain("looking a key up: %s", strerror(errno));
		if (id >= 0)
			ledger_given(id);
		return id;
	}
	struct shm_info info;
	int highest = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	if (highest < 0) {
		complain("SHM_INFO: %s", strerror(errno));
		return -1;
	}
	int id = shmctl((int)choose(highest + 1), choose(2) ? SHM_STAT : SHM_STAT_ANY, &d);
	if (id < 0 && !gone(errno) && !closed(errno))
		complain("SHM_STAT: %s", strerror(errno));
	if (id >= 0)
		ledger_given(id);
	return id;
}

static size_t some_size(void)
{
	return choose(3) ? (size_t)(1 + choose(MOST_PAGES)) * PAGE : 64 + choose(MOST_PAGES * PAGE - 64);
}

static unsigned some_mode(void) { return soak->system && choose(4) ? 0666 : 0600; }

static void begin_using(int id, size_t size, int flags, void *address);

void op_private(void)
{
	struct shm_info info;
	if (shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0 || info.used_ids > MANY_SEGMENTS)
		return;
	size_t size = some_size();
	int id = shmget(IPC_PRIVATE, size, IPC_CREAT | some_mode());
	if (id < 0) {
		complain("making a private segment: %s", strerror(errno));
		return;
	}
	ledger_given(id);
	if (choose(4))
		begin_using(id, size, 0, NULL);
}

void op_keyed(void)
{
	int key = FIRST_KEY + (int)choose(KEYS), exclusive = choose(2) ? IPC_EXCL : 0;
	size_t size = some_size();
	int id = shmget(key, size, IPC_CREAT | exclusive | some_mode());
	if (id < 0) {
		/* One that is there may be smaller than what is asked. */
		if (!(exclusive && errno == EEXIST) && !(!exclusive && errno == EINVAL) && !closed(errno))
			complain("making a segment with a key%s: %s", exclusive ? ", exclusively" : "", strerror(errno));
		return;
	}
	ledger_given(id);
	if (exclusive)
		begin_using(id, size, 0, NULL);
}

void op_find(void) { find_some(); }

/* An attach and a first look; `size` may be that of an earlier segment with this id only if ids were used twice. */
static void begin_using(int id, size_t size, int flags, void *address)
{
	if (holding == HOLDS)
		return;
	unsigned char *at = shmat(id, address, flags);
	if (at == (void *)-1) {
		/* A fixed place may be taken. */
		if (!gone(errno) && !closed(errno) && !(address && errno == EINVAL))
			complain("attaching %d: %s", id, strerror(errno));
		return;
	}
	if (address && at != address)
		complain("attached at %p, not at %p", (void *)at, address);
	if (flags & SHM_REMAP)
		for (int i = 0; i < holding; i++)
			for (unsigned page = 0; page < pages_of(held[i].size); page++)
				if (held[i].base + (size_t)page * PAGE >= at &&
				    held[i].base + (size_t)page * PAGE < at + (size_t)pages_of(size) * PAGE)
					held[i].pages &= ~(1u << page);
	for (int i = holding - 1; i >= 0; i--)
		if (held[i].pages == 0)
			put_down(i);
	held[holding++] = (struct held){ id, size, at, (uint32_t)((1ull << pages_of(size)) - 1), flags & SHM_RDONLY };
	see_all(&held[holding - 1]);
}

static void use_some(int flags, void *address)
{
	struct shmid_ds d;
	int id = find_some();
	if (id < 0)
		return;
	if (shmctl(id, IPC_STAT, &d) < 0) {
		if (!gone(errno) && !closed(errno))
			complain("IPC_STAT of %d: %s", id, strerror(errno));
		return;
	}
	if (d.shm_segsz < 64 || d.shm_segsz > MOST_PAGES * PAGE)
		complain("segment %d has %zu bytes", id, (size_t)d.shm_segsz);
	else
		begin_using(id, d.shm_segsz, flags, address);
}

void op_attach(void) { use_some(0, NULL); }
void op_attach_readonly(void) { use_some(SHM_RDONLY, NULL); }
/* Places where nothing lies but what these two put there. */
static void *some_place(void) { return (void *)(0x200000000000ul + choose(8) * (MOST_PAGES + 8) * PAGE + choose(3) * PAGE); }
void op_attach_fixed(void) { use_some(0, some_place()); }
void op_attach_over(void) { use_some(SHM_REMAP, some_place()); }

void op_detach(void)
{
	struct shmid_ds d;
	if (holding == 0)
		return;
	struct held h = held[choose(holding)];
	/* In the hole of one another may have been put, with the same base: shmdt takes what lies lowest. */
	for (int i = 0; i < holding; i++)
		if (held[i].base == h.base && (held[i].pages & -held[i].pages) < (h.pages & -h.pages))
			h = held[i];
	see_all(&h);
	/* What is attached is there, removed or not. */
	if (shmctl(h.id, IPC_STAT, &d) < 0 ? !closed(errno) : d.shm_nattch < 1 || d.shm_segsz != h.size)
		complain("segment %d, which is attached here: %s", h.id, strerror(errno));
	for (int i = holding - 1; i >= 0; i--)
		if (held[i].base == h.base && held[i].id == h.id)
			put_down(i);
	if (shmdt(h.base) < 0)
		complain("detaching %d: %s", h.id, strerror(errno));
}

void op_unmap_page(void)
{
	if (holding == 0)
		return;
	int i = (int)choose(holding);
	struct held *h = &held[i];
	unsigned page = choose(pages_of(h->size));
	/* In a hole something else may lie by now. */
	if (!(h->pages >> page & 1))
		return;
	if (munmap(h->base + (size_t)page * PAGE, PAGE) < 0) {
		complain("unmapping page %u of %d: %s", page, h->id, strerror(errno));
		return;
	}
	h->pages &= ~(1u << page);
	if (h->pages == 0)
		put_down(i);
	else
		see_all(h);
}

void op_move(void)
{
	if (holding == 0)
		return;
	struct held *h = &held[choose(holding)];
	if (h->pages != (uint32_t)((1ull << pages_of(h->size)) - 1))
		return;
	size_t size = (size_t)pages_of(h->size) * PAGE;
	unsigned char *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (place == MAP_FAILED)
		return;
	if (mremap(h->base, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place)
		complain("moving %d: %s", h->id, strerror(errno));
	else
		h->base = place;
	see_all(h);
}

void op_ask(void)
{
	struct shmid_ds d;
	int id = find_some();
	if (id >= 0 && shmctl(id, IPC_STAT, &d) < 0 && !gone(errno) && !closed(errno))
		complain("IPC_STAT of %d: %s", id, strerror(errno));
}

void op_set(void)
{
	struct shmid_ds d;
	int id = find_some();
	if (id < 0 || shmctl(id, IPC_STAT, &d) < 0)
		return;
	d.shm_perm.mode = 0600 | (soak->system ? 066 * choose(2) : choose(0100));
	if (shmctl(id, IPC_SET, &d) < 0 && !gone(errno) && !closed(errno))
		complain("IPC_SET of %d: %s", id, strerror(errno));
}

void op_lock(void)
{
	int id = find_some();
	int command = choose(2) ? SHM_LOCK : SHM_UNLOCK;
	/* Others than root may lock little. */
	if (id >= 0 && shmctl(id, command, NULL) < 0 && !gone(errno) && errno != EPERM && errno != ENOMEM)
		complain("locking %d: %s", id, strerror(errno));
}

void op_remove(void)
{
	int id = find_some();
	if (id < 0)
		return;
	ledger_put(id, REMOVING);
	if (shmctl(id, IPC_RMID, NULL) == 0)
		ledger_put(id, REMOVED);
	else if (!gone(errno) && !closed(errno))
		complain("removing %d: %s", id, strerror(errno));
}

void op_list(void)
{
	static struct sight list[1024];
	int count = read_list(list, 1024);
	if (count < 0)
		complain("the list: %s", strerror(errno));
	for (int i = 0; i < count && i < 1024; i++)
		if (list[i].size < 64 || list[i].size > MOST_PAGES * PAGE)
			complain("the list shows segment %d of %zu bytes", list[i].id, list[i].size);
}

void op_life(void)
{
	int id = shmget(IPC_PRIVATE, 3 * PAGE, 0600);
	if (id < 0) {
		complain("making one's own: %s", strerror(errno));
		return;
	}
	ledger_given(id);
	unsigned char *at = shmat(id, NULL, 0);
	if (at == (void *)-1) {
		/* Others may find it and remove it. */
		if (!gone(errno))
			complain("attaching one's own: %s", strerror(errno));
		return;
	}
	for (unsigned page = 0; page < 3; page++)
		look_at_page(id, 3 * PAGE, page, at + page * PAGE, true);
	ledger_put(id, REMOVING);
	if (shmctl(id, IPC_RMID, NULL) < 0)
		complain("removing one's own: %s", strerror(errno));
	ledger_put(id, REMOVED);
	if (shmdt(at) < 0)
		complain("detaching one's own: %s", strerror(errno));
}
