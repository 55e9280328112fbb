/* Constructors, destructors and exit handlers, of the program and of its libraries, may use shared memory. */
#include "proctest.h"
#include <dlfcn.h>

#define BEFORE_MAIN                                                                                \
	"program, first constructor: ok\n"                                                         \
	"program, constructor: ok\n"
#define AFTER_MAIN                                                                                 \
	"program, on_exit: ok\n"                                                                   \
	"program, atexit: ok\n"
#define AT_THE_END                                                                                 \
	"program, destructor: ok\n"                                                                \
	"program, destructor: kept\n"

static void check_nothing_left(void)
{
	CHECK_EQ(segments_in_all(), 0);
	CHECK_EQ(lines_in_proc(), 0);
}

/* Runs helper_early with arguments; it must print exactly this. */
#define EXPECT_EARLY(expected, ...)                                                                \
	do {                                                                                       \
		static struct run r_;                                                              \
		char program_[PATH_MAX];                                                           \
		strcpy(program_, built("helper_early"));                                           \
		run_program(&r_, (char *const[]){ program_, ##__VA_ARGS__, NULL });                \
		CHECK_EQ(r_.status, 0);                                                            \
		CHECK_STR(r_.out, expected);                                                       \
	} while (0)

TEST(a_program_uses_shared_memory_before_main_and_after_it)
{
	EXPECT_EARLY(BEFORE_MAIN "main: ok\n" AFTER_MAIN AT_THE_END);
	check_nothing_left();
}

TEST(a_program_that_calls_exit_uses_shared_memory_to_the_last)
{
	EXPECT_EARLY(BEFORE_MAIN "main: ok\n" AFTER_MAIN AT_THE_END, "exit");
	check_nothing_left();
}

TEST(a_program_that_calls_quick_exit_uses_shared_memory_in_its_handler)
{
	EXPECT_EARLY(BEFORE_MAIN "main: ok\nprogram, at_quick_exit: ok\nprogram, at_quick_exit: kept\n", "quick");
	check_nothing_left();
}

static char library[PATH_MAX];

/* The order of preloading decides whose constructors run first. */
static void preload(bool library_first)
{
	static char both[2 * PATH_MAX];
	const char *now = getenv("LD_PRELOAD");
	strcpy(library, built("lib_early.so"));
	if (!now || !*now)
		snprintf(both, sizeof both, "%s", library);
	else if (library_first)
		snprintf(both, sizeof both, "%s:%s", library, now);
	else
		snprintf(both, sizeof both, "%s:%s", now, library);
	setenv("LD_PRELOAD", both, 1);
}

#define WITH_LIBRARY                                                                               \
	"library, constructor: ok\n" BEFORE_MAIN "main: ok\n" AFTER_MAIN                           \
	AT_THE_END                                                                                 \
	"library, destructor: ok\n"                                                                \
	"library, destructor: kept\n"                                                              \
	"library, atexit: ok\n"

static void check_with_library(void)
{
	GLIBC_ONLY("musl runs exit functions of programs and libraries in one order of its own");
	EXPECT_EARLY(WITH_LIBRARY);
	setenv("LD_BIND_NOW", "1", 1);
	EXPECT_EARLY(WITH_LIBRARY);
	check_nothing_left();
}

TEST(a_library_loaded_before_uses_shared_memory_in_its_constructor_and_destructor)
{
	preload(true);
	check_with_library();
}

TEST(a_library_loaded_after_uses_shared_memory_in_its_constructor_and_destructor)
{
	preload(false);
	check_with_library();
}

TEST(a_library_loaded_by_dlopen_uses_shared_memory_while_it_comes_and_goes)
{
	GLIBC_ONLY("musl never unloads a library");
	strcpy(library, built("lib_early.so"));
	EXPECT_EARLY(BEFORE_MAIN "main: ok\n"
				 "library, constructor: ok\n"
				 "library, destructor: ok\n"
				 "library, destructor: kept\n"
				 "library, atexit: ok\n"
				 "main, after the library: ok\n" AFTER_MAIN AT_THE_END,
		     "load", library);
	check_nothing_left();
}

/* A thread that unmaps an attach for the first time while a library's constructor makes calls. */
static void *attached_here;
static atomic_int *in_constructor;

static void by_munmap(void) { MUST(munmap(attached_here, PAGE)); }
static void by_mremap(void) { REQUIRE(mremap(attached_here, PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED || errno); }
static void by_mmap(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
	REQUIRE(mmap(attached_here, PAGE, PROT_READ, flags, -1, 0) == attached_here);
}
static void by_madvise(void) { MUST(madvise(attached_here, PAGE, MADV_DONTFORK)); }

static void *unmaps_meanwhile(void *arg)
{
	while (!*in_constructor)
		usleep(100);
	(*(void (**)(void))arg)();
	return NULL;
}

TEST(a_constructor_may_make_calls_while_another_thread_does_something_to_an_attach_for_the_first_time)
{
	static void (*ways[])(void) = { by_munmap, by_mremap, by_mmap, by_madvise };
	char at[32];
	in_constructor = shared_memory(sizeof *in_constructor);
	snprintf(at, sizeof at, "%p", (void *)in_constructor);
	setenv("IN_CONSTRUCTOR", at, 1);
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		IN_CHILD
		{
			pthread_t thread;
			*in_constructor = 0;
			attached_here = attach(new_segment(PAGE));
			thread_start(&thread, unmaps_meanwhile, &ways[i]);
			if (!dlopen(built("lib_calls.so"), RTLD_NOW))
				FATAL("%s", dlerror());
			pthread_join(thread, NULL);
			CHECK_EQ(*in_constructor, 2);
		}
}

static struct life *outcome;
static void live_at_exit(void) { *outcome = whole_life(0x111, PAGE); }

TEST(an_attach_made_by_an_exit_handler_ends_with_the_process)
{
	outcome = shared_memory(sizeof *outcome);
	outcome->failed = "not run";
	int id = new_segment(PAGE);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		atexit(live_at_exit);
		exit(0);
	}
	REAP(pid);
	CHECK(outcome->failed == NULL);
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(segments_in_all(), 1);
}
