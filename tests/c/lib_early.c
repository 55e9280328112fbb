/* A library that uses shared memory while it is loaded, at exit, and while it is unloaded. */
#include "early_late.h"

static void library_atexit(void) { use_shm("library, atexit"); }

__attribute__((constructor)) static void library_constructor(void)
{
	use_shm("library, constructor");
	keep("library, constructor", 0x5e1);
	atexit(library_atexit);
}

__attribute__((destructor)) static void library_destructor(void)
{
	use_shm("library, destructor");
	give_back("library, destructor", 0x5e1);
}
