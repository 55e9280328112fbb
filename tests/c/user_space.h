/* user_space.h - where the addresses of a program end. */
#ifndef USER_SPACE_H
#define USER_SPACE_H

#include "shmtest.h"

#if __SIZEOF_LONG__ == 8
/* How many bits an address has is the kernel's choice, and the processor's. On x86-64 the last page is nobody's. */
static inline char *user_space_end(void)
{
#ifdef __x86_64__
	const uintptr_t unused = PAGE;
#else
	const uintptr_t unused = 0;
#endif
	for (int bits = 56; bits > 32; bits--) {
		char *end = (char *)((1ul << bits) - unused);
		void *p = mmap(end - PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (p != MAP_FAILED)
			munmap(p, PAGE);
		if (p != MAP_FAILED || errno == EEXIST)
			return end;
	}
	FATAL("user space has no end");
}
#endif

#endif
