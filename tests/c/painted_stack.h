/*
 * painted_stack.h - runs a call on a stack that was painted: how far the paint is gone is what the call needs.
 */
#ifndef PAINTED_STACK_H
#define PAINTED_STACK_H

#include "shmtest.h"
#include <ucontext.h>

/* On AArch64, where a stack for signals has 16 KiB, functions keep more registers. */
#ifdef __aarch64__
enum { STACK = 64 * 1024, MOST = 7168 };
#else
enum { STACK = 64 * 1024, MOST = 6144 };
#endif

static unsigned char *stack;
static ucontext_t here, there;

static size_t used(void)
{
	size_t i = 0;
	while (i < STACK && stack[i] == 0xa5)
		i++;
	return STACK - i;
}

static void on_painted_stack(const char *what, void (*fn)(void))
{
	if (!stack)
		stack = MUST(mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	memset(stack, 0xa5, STACK);
	MUST(getcontext(&there));
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = STACK;
	there.uc_link = &here;
	makecontext(&there, fn, 0);
	MUST(swapcontext(&here, &there));
	COUNT_CHECK();
	if (getenv("SHMTEST_TELL"))
		fprintf(stderr, "%6zu %s\n", used(), what);
	if (under_shim() && used() > MOST)
		FAIL("%s takes %zu bytes of stack, %d are to do", what, used(), MOST);
}

#endif
