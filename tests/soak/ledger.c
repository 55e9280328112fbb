/* ledger.c - what is known of the segments, and of the pages that were written. Without locks: see soak.h. */
#include "soak.h"

#include <stdarg.h>

struct soak *soak;

void complain(const char *format, ...)
{
	va_list arguments;
	int at = atomic_fetch_add(&soak->complaints, 1);
	if (at >= COMPLAINTS)
		return;
	va_start(arguments, format);
	vsnprintf(soak->complaint[at], sizeof soak->complaint[at], format, arguments);
	va_end(arguments);
}

static uint64_t entry(int id, int state) { return (uint64_t)(uint32_t)id << 8 | (unsigned)state; }

/* Sequence numbers go round. */
static bool is_newer(int id, int than)
{
	return id != than && (((unsigned)id / SLOTS - (unsigned)than / SLOTS) & 0xffff) < 0x8000;
}

/* Somebody was given this id: from now on it must be there. */
void ledger_given(int id)
{
	_Atomic uint64_t *slot = &soak->ledger[id % SLOTS];
	uint64_t old = atomic_load(slot);
	while ((old == 0 || is_newer(id, (int)(old >> 8))) && !atomic_compare_exchange_weak(slot, &old, entry(id, GIVEN)))
		;
}

void ledger_put(int id, int state)
{
	_Atomic uint64_t *slot = &soak->ledger[id % SLOTS];
	uint64_t old = atomic_load(slot);
	/* Once removed it never comes back. */
	while ((old == 0 || (int)(old >> 8) == id || is_newer(id, (int)(old >> 8))) &&
	       !((int)(old >> 8) == id && (old & 0xff) == REMOVED) &&
	       !atomic_compare_exchange_weak(slot, &old, entry(id, state)))
		;
}

uint64_t stamp_of(int id, unsigned page) { return (uint64_t)(uint32_t)id << 32 | page << 8 | 0xa5; }

static void bear_witness(int id, unsigned page)
{
	_Atomic uint64_t *slot = &soak->witness[id % SLOTS];
	uint64_t old = atomic_load(slot), new;
	do {
		if ((old >> 32) != (uint32_t)id && old != 0 && !is_newer(id, (int)(old >> 32)))
			return;
		new = ((old >> 32) == (uint32_t)id ? old : (uint64_t)(uint32_t)id << 32) | 1ull << page;
	} while (!atomic_compare_exchange_weak(slot, &old, new));
}

static bool is_witnessed(int id, unsigned page)
{
	uint64_t seen = atomic_load(&soak->witness[id % SLOTS]);
	return (seen >> 32) == (uint32_t)id && (seen >> page & 1);
}

bool look_at_page(int id, size_t size, unsigned page, unsigned char *at, bool may_write)
{
	bool stamped = is_witnessed(id, page);
	size_t end = size - (size_t)page * PAGE < PAGE ? size - (size_t)page * PAGE : PAGE;
	_Atomic uint64_t *words[2] = { (_Atomic uint64_t *)at, (_Atomic uint64_t *)(at + end / 8 * 8 - 8) };
	uint64_t stamp = stamp_of(id, page);

	if (end < 8)
		return true;
	for (int i = 0; i < 2; i++) {
		uint64_t word = atomic_load(words[i]);
		if (word != stamp && (word != 0 || stamped)) {
			complain("segment %d, page %u, word %d: %#lx in place of %#lx%s", id, page, i,
				 (unsigned long)word, (unsigned long)stamp, word ? ": foreign data" : ": its data is lost");
			return false;
		}
		if (may_write)
			atomic_store(words[i], stamp);
	}
	if (may_write)
		bear_witness(id, page);
	return true;
}
