/* Mappings and what is in them. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker.h"

struct placed placed[MAX_STEPS];

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

bool resolve(const struct addr_ref *addr, long *pages, char **out)
{
	struct placed *attach;

	switch (addr->kind) {
	case ADDR_ARENA:
		*out = ARENA + addr->value;
		return true;
	case ADDR_VALUE:
		*out = (char *)addr->value;
		return true;
	}
	attach = &placed[addr->name];
	if (!attach->live || addr->value >= attach->length) {
		emit(" skipped: nothing at @%d", addr->name);
		return false;
	}
	/* Never beyond it: what the system put next to it differs from run to run. */
	if (pages && *pages * PAGE > attach->length - addr->value)
		*pages = (attach->length - addr->value) / PAGE;
	*out = attach->address + addr->value;
	return true;
}

static sigjmp_buf access_failed;

static void on_fault(int signal)
{
	siglongjmp(access_failed, signal);
}

static void catch_faults(bool on)
{
	struct sigaction action = { .sa_handler = on ? on_fault : SIG_DFL };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

static void emit_signal(int signal)
{
	if (current_perturb == PERTURB_SIGNAL)
		signal = signal == SIGBUS ? SIGSEGV : SIGBUS;
	emit(" %s", signal == SIGSEGV ? "SIGSEGV" : signal == SIGBUS ? "SIGBUS" : "?");
}

static void do_byte(const struct step *step)
{
	volatile unsigned char *byte;
	char *address;
	int signal;

	if (!resolve(&step->at, NULL, &address))
		return;
	byte = (volatile unsigned char *)address;
	catch_faults(true);
	signal = sigsetjmp(access_failed, 1);
	if (signal)
		emit_signal(signal);
	else if (step->op == OP_POKE)
		*byte = (unsigned char)step->n[0];
	else
		emit(" %u", (unsigned)(*byte ^ (current_perturb == PERTURB_BYTE)));
	catch_faults(false);
}

static uint32_t checksum(const unsigned char *page)
{
	uint32_t sum = 2166136261u;
	bool zero = true;

	for (long k = 0; k < PAGE; k++) {
		sum = (sum ^ page[k]) * 16777619u;
		zero = zero && page[k] == 0;
	}
	return zero ? 0 : sum;
}

static void do_pages(const struct step *step)
{
	long pages = step->n[0];
	volatile long page;
	char *address;

	if (!resolve(&step->at, &pages, &address))
		return;
	catch_faults(true);
	for (page = 0; page < pages; page++) {
		unsigned char *at = (unsigned char *)address + page * PAGE;
		int signal = sigsetjmp(access_failed, 1);

		if (signal) {
			emit_signal(signal);
		} else if (step->op == OP_FILL) {
			memset(at, step->name + 7 * (int)page + 1, (size_t)PAGE);
			emit(" filled");
		} else {
			emit(" %x", checksum(at) ^ (unsigned)(current_perturb == PERTURB_BYTE));
		}
	}
	catch_faults(false);
}

static void do_read(const struct step *step)
{
	long pages = step->n[0], ret;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	char *address;

	if (resolve(&step->at, &pages, &address)) {
		errno = UNTOUCHED;
		ret = read(fd, address, (size_t)(pages * PAGE));
		emit_result(ret, errno);
	}
	close(fd);
}

/* One line of the file; false: the end. */
static bool next_line(FILE *maps, struct region *out)
{
	unsigned long start, end, inode;
	char line[1024], *name, *rest;
	int at = 0;

	memset(out, 0, sizeof *out);
	if (!fgets(line, sizeof line, maps))
		return false;
	if (sscanf(line, "%lx-%lx %4s %lx %*s %lu %n", &start, &end, out->protection, &out->offset, &inode, &at) < 5)
		return false;
	out->start = (char *)start;
	out->end = (char *)end;
	out->anonymous = line[at] == '\0' || line[at] == '\n';
	/*
	 * Divergence: the kernel calls an attach "/SYSVkkkkkkkk (deleted)" with the shmid as inode; under the
	 * shim it is the file "<directory>/segments/SYSVkkkkkkkk.<shmid>" with an inode of its own.
	 */
	name = strstr(line + at, "/SYSV");
	if (name) {
		out->shm = true;
		out->key = (unsigned)strtoul(name + 5, &rest, 16);
		out->id = *rest == '.' ? strtol(rest + 1, NULL, 10) : (long)inode;
	}
	return true;
}

/*
 * Divergence: pieces of one attach that lie side by side again never become one line on the
 * kernel; of a file mapping they do. So what continues the line before is one region on both sides.
 */
static bool continues(const struct region *first, const struct region *second)
{
	return first->end == second->start && strcmp(first->protection, second->protection) == 0 && first->shm == second->shm &&
	       first->anonymous == second->anonymous && first->id == second->id && first->key == second->key &&
	       (!first->shm || first->offset + (unsigned long)(first->end - first->start) == second->offset);
}

static FILE *open_maps(void)
{
	/* Not /proc/self: when the main thread has left, that is empty. */
	FILE *maps = fopen("/proc/thread-self/maps", "re");

	if (!maps) {
		perror("/proc/thread-self/maps");
		exit(1);
	}
	return maps;
}

/* Calls visit for each region; stops when it returns false. */
static void each_region(bool (*visit)(const struct region *, void *), void *data)
{
	struct region pending, next;
	FILE *maps = open_maps();
	bool have = next_line(maps, &pending);

	while (have) {
		bool more = next_line(maps, &next);

		if (more && continues(&pending, &next)) {
			pending.end = next.end;
			continue;
		}
		if (!visit(&pending, data))
			break;
		pending = next;
		have = more;
	}
	fclose(maps);
}

struct search {
	const char *address;
	struct region *found;
	bool done;
};

static bool is_it(const struct region *region, void *data)
{
	struct search *search = data;

	if (search->address < region->start || search->address >= region->end)
		return true;
	*search->found = *region;
	search->done = true;
	return false;
}

bool region_at(const char *address, struct region *out)
{
	struct search search = { address, out, false };

	each_region(is_it, &search);
	return search.done;
}

static void emit_region(const struct region *region)
{
	if (region->shm)
		emit(" %ldp %s id={i:%ld} key=%08x offset=%lu", (region->end - region->start) / PAGE,
		     current_perturb == PERTURB_MAPS ? "rwxp" : region->protection, region->id, region->key, region->offset);
	else
		emit(" %ldp %s %s", (region->end - region->start) / PAGE, region->protection, region->anonymous ? "anonymous" : "other");
}

static bool in_arena(const struct region *region)
{
	return region->end > ARENA && region->start < ARENA + ARENA_PAGES * PAGE;
}

static bool note_if_in_arena(const struct region *region, void *data)
{
	if (in_arena(region))
		*(bool *)data = false;
	return true;
}

bool arena_is_empty(void)
{
	bool empty = true;

	each_region(note_if_in_arena, &empty);
	return empty;
}

static bool show_arena(const struct region *region, void *data)
{
	(void)data;
	if (region->start < (char *)0x100000 || in_arena(region)) {
		emit("\n    ");
		emit_address(region->start);
		emit_region(region);
	}
	return true;
}

static void do_maps(void)
{
	each_region(show_arena, NULL);
	for (int name = 0; name < MAX_STEPS; name++) {
		struct region region;

		if (!placed[name].live)
			continue;
		emit("\n    @%d", name);
		if (region_at(placed[name].address, &region))
			emit_region(&region);
		else
			emit(" nothing");
	}
}

/* Protection and advice for a whole region only. */
static void do_whole(const struct step *step)
{
	/*
	 * Divergence: a part of an attach with protection or advice of its own is a VMA more in the
	 * kernel's nattch; user space does not see the split. Never a part, therefore.
	 */
	struct region region;
	char *address;
	long ret;

	if (!resolve(&step->at, NULL, &address))
		return;
	if (!region_at(address, &region) || !region.shm) {
		emit(" skipped: no attach there");
		return;
	}
	errno = UNTOUCHED;
	if (step->op == OP_MPROTECT)
		ret = mprotect(region.start, (size_t)(region.end - region.start), (int)step->n[0]);
	else
		ret = madvise(region.start, (size_t)(region.end - region.start), (int)step->n[0]);
	emit_result(ret, errno);
	if (ret == 0 && step->op == OP_MADVISE && step->at.kind == ADDR_ATTACH && step->n[0] == MADV_DONTFORK)
		placed[step->at.name].not_inherited = true;
	if (ret == 0 && step->op == OP_MADVISE && step->at.kind == ADDR_ATTACH && step->n[0] == MADV_DOFORK)
		placed[step->at.name].not_inherited = false;
}

void forget_not_inherited(void)
{
	for (int name = 0; name < MAX_STEPS; name++)
		if (placed[name].not_inherited)
			placed[name].live = false;
}

static void emit_pointer_result(void *got, int error)
{
	if (got == MAP_FAILED) {
		emit_result(-1, error);
		return;
	}
	emit(" = ");
	emit_address(got);
}

static void do_munmap(const struct step *step)
{
	long pages = step->n[0], ret;
	char *address;

	if (!resolve(&step->at, &pages, &address))
		return;
	errno = UNTOUCHED;
	ret = munmap(address, (size_t)(pages * PAGE));
	emit_result(ret, errno);
	if (ret == 0 && step->at.kind == ADDR_ATTACH)
		placed[step->at.name].live = false;
}

static void do_mremap(const struct step *step)
{
	long wanted = step->n[0] ? step->n[0] : step->n[1], pages = wanted, new_pages;
	char *address, *to;
	void *got;

	if (!resolve(&step->at, &pages, &address) || !resolve(&step->to, NULL, &to))
		return;
	new_pages = step->n[1] - (wanted - pages);
	errno = UNTOUCHED;
	if (step->n[2] & MREMAP_FIXED)
		got = mremap(address, (size_t)(step->n[0] ? pages * PAGE : 0), (size_t)(new_pages * PAGE), (int)step->n[2], to);
	else
		got = mremap(address, (size_t)(pages * PAGE), (size_t)(new_pages * PAGE), (int)step->n[2]);
	emit_pointer_result(got, errno);
	if (got != MAP_FAILED && step->at.kind == ADDR_ATTACH && step->n[0] && !(step->n[2] & 4))
		placed[step->at.name].live = false;
}

static void do_mmap(const struct step *step)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (step->n[2] ? MAP_FIXED_NOREPLACE : MAP_FIXED);
	char *address;
	void *got;

	if (!resolve(&step->at, NULL, &address))
		return;
	errno = UNTOUCHED;
	got = mmap(address, (size_t)(step->n[0] * PAGE), (int)step->n[1], flags, -1, 0);
	emit_pointer_result(got, errno);
}

bool perform_memory(const struct step *step)
{
	switch (step->op) {
	case OP_MUNMAP: do_munmap(step); break;
	case OP_MREMAP: do_mremap(step); break;
	case OP_MMAP: do_mmap(step); break;
	case OP_MPROTECT: case OP_MADVISE: do_whole(step); break;
	case OP_POKE: case OP_PEEK: do_byte(step); break;
	case OP_FILL: case OP_SUM: do_pages(step); break;
	case OP_READ: do_read(step); break;
	case OP_MAPS: do_maps(); break;
	default: return false;
	}
	return true;
}
