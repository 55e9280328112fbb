/*
 * A program that uses shared memory before main and after it.
 *
 *   helper_early              returns from main
 *   helper_early exit|quick   leaves by exit or quick_exit
 *   helper_early load LIB     loads a library and unloads it
 */
#include "early_late.h"
#include <dlfcn.h>

__attribute__((constructor(101))) static void first_constructor(void)
{
	use_shm("program, first constructor");
	keep("program, first constructor", 0x5e2);
}
__attribute__((constructor)) static void constructor(void) { use_shm("program, constructor"); }
__attribute__((destructor)) static void destructor(void)
{
	use_shm("program, destructor");
	give_back("program, destructor", 0x5e2);
}
static void at_exit(void) { use_shm("program, atexit"); }
static void at_on_exit(int status, void *arg)
{
	(void)status, (void)arg;
	use_shm("program, on_exit");
}
static void at_quick(void)
{
	use_shm("program, at_quick_exit");
	give_back("program, at_quick_exit", 0x5e2);
}

int main(int argc, char **argv)
{
	atexit(at_exit);
	on_exit(at_on_exit, NULL);
	at_quick_exit(at_quick);
	use_shm("main");
	if (argc == 3 && !strcmp(argv[1], "load")) {
		void *lib = dlopen(argv[2], RTLD_NOW);
		if (!lib)
			say("dlopen", dlerror(), 0);
		else
			dlclose(lib);
		use_shm("main, after the library");
	}
	if (argc == 2 && !strcmp(argv[1], "exit"))
		exit(0);
	if (argc == 2 && !strcmp(argv[1], "quick"))
		quick_exit(0);
	return 0;
}
