/*
 * A program that confines itself opens the files under /proc: whatever its filter would end it for, if the library made
 * that system call, is not made. The program lives; what cannot be shown then fails.
 */
#include "filter.h"
#include "proctest.h"

#define LIST "/proc/sysvipc/shm"
#define LIMIT "/proc/sys/kernel/shmmni"

/* What the program itself does not do between the filter and its end. */
static const struct { const char *name; long number; } forbidden[] = {
	{ "memfd_create", SYS_memfd_create }, { "fchmod", SYS_fchmod }, { "fcntl", SYS_fcntl },
	{ "dup3", SYS_dup3 }, { "lseek", SYS_lseek }, { "readlinkat", SYS_readlinkat },
	{ "fstat", SYS_fstat }, { "ftruncate", SYS_ftruncate }, { "close", SYS_close }, { "capget", SYS_capget },
#ifdef SYS_newfstatat
	{ "newfstatat", SYS_newfstatat }, { "mmap", SYS_mmap },
#else
	{ "statx", SYS_statx }, { "mmap2", SYS_mmap2 },
#endif
};
enum { FORBIDDEN = sizeof forbidden / sizeof *forbidden };

static void confined(const char *what, void (*opens)(void))
{
	for (int i = 0; i < FORBIDDEN; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			/* What the loader does at a first call is not what is asked. */
			opens();
			struct filter f = filter_new();
			filter_rule(&f, forbidden[i].number, SECCOMP_RET_KILL_PROCESS);
			filter_install(&f, SECCOMP_RET_ALLOW);
			opens();
			_exit(0);
		}
		int status = wait_for(pid);
		COUNT_CHECK();
		if (status != 0)
			FAIL("%s where %s is forbidden: status %#x", what, forbidden[i].name, status);
	}
}

static void lists(void) { if (open(LIST, O_RDONLY) < 0) return; }
static void lists_by_stream(void) { if (!fopen(LIST, "r")) return; }
static void lists_from_there(void)
{
	if (chdir("/proc") == 0 && open("sysvipc/shm", O_RDONLY) < 0)
		return;
}
static void sets_a_limit(void)
{
	int fd = open(LIMIT, O_WRONLY);
	if (fd >= 0 && write(fd, "100", 3) < 0)
		return;
}

TEST(an_open_of_the_list_ends_no_confined_program)
{
	new_segment(PAGE);
	confined("open", lists);
	confined("fopen", lists_by_stream);
	confined("a relative path", lists_from_there);
}

TEST(nor_does_setting_a_limit)
{
	new_segment(PAGE);
	confined("a limit", sets_a_limit);
}

TEST(the_list_that_cannot_be_shown_is_refused)
{
	SHIM_ONLY();
	new_segment(PAGE);
	IN_CHILD
	{
		struct filter f = filter_new();
		filter_rule(&f, SYS_memfd_create, SECCOMP_RET_KILL_PROCESS);
		filter_install(&f, SECCOMP_RET_ALLOW);
		TEST_ERRNO(open(LIST, O_RDONLY), EPERM);
		CHECK(fopen(LIST, "r") == NULL && errno == EPERM);
	}
}
