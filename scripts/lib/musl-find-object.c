/*
 * What gcc's static unwinder asks of glibc (2.35 and later), made of what musl has: which object holds an address,
 * and where its table of frames is. For the library alone: hidden.
 */
#define _GNU_SOURCE
#include <link.h>
#include <stddef.h>

struct found {
	unsigned long long flags;
	void *start, *end, *map, *frames;
	unsigned long long reserved[7];
};

struct asked {
	char *pc;
	struct found *found;
	int is_found;
};

static int look(struct dl_phdr_info *object, size_t size, void *argument)
{
	struct asked *asked = argument;
	char *start = NULL, *end = NULL, *frames = NULL;
	int holds = 0;
	(void)size;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = object->dlpi_phdr + i;
		char *from = (char *)object->dlpi_addr + part->p_vaddr, *to = from + part->p_memsz;
		if (part->p_type == PT_GNU_EH_FRAME)
			frames = from;
		if (part->p_type != PT_LOAD)
			continue;
		holds |= asked->pc >= from && asked->pc < to;
		if (!start || from < start)
			start = from;
		if (to > end)
			end = to;
	}
	if (!holds || !frames)
		return 0;
	*asked->found = (struct found){ .start = start, .end = end, .frames = frames };
	asked->is_found = 1;
	return 1;
}

__attribute__((visibility("hidden"))) int _dl_find_object(void *pc, struct found *found)
{
	struct asked asked = { pc, found, 0 };
	dl_iterate_phdr(look, &asked);
	return asked.is_found ? 0 : -1;
}
