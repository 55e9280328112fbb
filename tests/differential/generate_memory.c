/* What happens to mappings other than by the four calls, and what is read and written in them. */
#include <sys/ipc.h>
#include <sys/mman.h>

#include "generate.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

static void block(struct generator *g, const struct step *step, int page, int pages, bool blocked)
{
	uint64_t bits = ((1ull << (pages > 7 ? 7 : pages)) - 1) << page;

	if (blocked)
		g->workers[step->worker].blocked |= bits;
	else
		g->workers[step->worker].blocked &= ~bits;
}

static bool gen_mremap(struct generator *g, struct step *step, struct believed_attach *attach)
{
	const int fixed = MREMAP_MAYMOVE | MREMAP_FIXED;
	int kind = below(&g->rng, 7), page = below(&g->rng, ARENA_PAGES - 6);
	int first = attach->arena ? below(&g->rng, attach->pages < 6 ? attach->pages : 6) : 0;
	int more = 1 + below(&g->rng, 2);
	struct believed_attach moved = *attach;

	moved.name = step->name;
	moved.arena = true;
	moved.page = page;
	step->op = OP_MREMAP;
	step->at = attach_address(attach, 0);
	step->to = arena_address(page, 0);
	step->n[0] = step->n[1] = attach->pages;
	step->n[2] = fixed;
	switch (kind) {
	case 0: /* move the whole */
		forget_attach(g, step, attach);
		break;
	case 1: /* move one page */
		if (!attach->arena)
			return false;
		step->at = attach_address(attach, first * PAGE);
		step->n[0] = step->n[1] = moved.pages = 1;
		break;
	case 2: /* shrink in place */
		if (attach->pages < 2 || !attach->arena)
			return false;
		step->n[1] = moved.pages = 1;
		moved.page = attach->page;
		step->n[2] = 0;
		break;
	case 3: /* grow in place, if there is room */
		if (!attach->arena)
			return false;
		step->n[1] = moved.pages = attach->pages + more;
		moved.page = attach->page;
		step->n[2] = 0;
		break;
	case 4: /* grow elsewhere */
		step->n[1] = moved.pages = attach->pages + more;
		forget_attach(g, step, attach);
		break;
	case 5: /* a second full view */
		step->n[0] = 0;
		break;
	default:
		step->n[2] = fixed | MREMAP_DONTUNMAP;
		break;
	}
	remember_attach(g, step, moved);
	return true;
}

bool gen_mapping(struct generator *g, struct step *step)
{
	static const int64_t protections[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_NONE, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE };
	static const int64_t advice[] = { MADV_DONTFORK, MADV_DOFORK, MADV_DONTNEED, MADV_REMOVE, MADV_DONTFORK };
	struct believed_attach *attach = pick_attach(g, step);
	int kind = below(&g->rng, 100), page = below(&g->rng, ARENA_PAGES - 3), pages = 1 + below(&g->rng, 3);

	if (kind < 12 || (!attach && kind < 20)) {
		step->op = OP_MMAP;
		step->at = arena_address(page, 0);
		step->n[0] = pages;
		step->n[1] = kind < 9 ? PROT_READ | PROT_WRITE : PROT_NONE;
		step->n[2] = kind >= 9;
		block(g, step, page, pages, true);
		return true;
	}
	if (kind >= 94 && g->workers[step->worker].blocked) { /* make room again */
		step->op = OP_MUNMAP;
		page = __builtin_ctzll(g->workers[step->worker].blocked);
		step->at = arena_address(page, 0);
		step->n[0] = pages;
		block(g, step, page, pages, false);
		return true;
	}
	if (!attach)
		return false;
	if (attach->pages > 6) /* the terabyte of a SHM_NORESERVE one */
		kind = 60;
	if (kind < 22 && attach->arena) { /* over exactly it, or a part of it */
		step->op = OP_MMAP;
		step->at = attach_address(attach, (kind & 1) * PAGE);
		step->n[0] = kind & 2 ? 1 : attach->pages;
		step->n[1] = PROT_READ | PROT_WRITE;
	} else if (kind < 62) {
		step->op = OP_MUNMAP;
		step->at = attach_address(attach, 0);
		step->n[0] = attach->pages;
		if (attach->arena && kind < 52 && attach->pages > 1 && attach->pages <= 6) {
			int first = below(&g->rng, attach->pages);

			step->at = attach_address(attach, first * PAGE);
			step->n[0] = 1 + (kind & 1);
		} else {
			forget_attach(g, step, attach);
		}
	} else if (kind < 84) {
		return gen_mremap(g, step, attach);
	} else if (kind < 91) {
		step->op = OP_MPROTECT;
		step->at = attach_address(attach, 0);
		step->n[0] = PICK(&g->rng, protections);
	} else {
		step->op = OP_MADVISE;
		step->at = attach_address(attach, 0);
		step->n[0] = PICK(&g->rng, advice);
	}
	return true;
}

bool gen_memory(struct generator *g, struct step *step)
{
	static const int kinds[] = { OP_POKE, OP_POKE, OP_PEEK, OP_PEEK, OP_FILL, OP_FILL, OP_SUM, OP_SUM, OP_SUM, OP_READ };
	struct believed_attach *attach = pick_attach(g, step);
	int kind = PICK(&g->rng, kinds), byte = 1 + below(&g->rng, 255), where = below(&g->rng, 4);
	long offset, length;

	if (!attach)
		return false;
	length = (attach->pages > 6 ? 6 : attach->pages) * PAGE;
	offset = below(&g->rng, (int)length);
	if (where == 0)
		offset = 0;
	else if (where == 1)
		offset = length - 1;
	else if (where == 2 && attach->arena)
		offset = length; /* the first byte behind it */
	step->op = kind;
	step->n[0] = kind == OP_POKE || kind == OP_PEEK ? byte : length / PAGE;
	step->at = attach_address(attach, kind == OP_POKE || kind == OP_PEEK ? offset : 0);
	return true;
}
