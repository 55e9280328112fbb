/* SHMSHIM_GUARD: inaccessible pages on both sides of each attach, and what is said when the program touches one. */
#include "capture.h"
#include <setjmp.h>
#include <sys/mman.h>

static char *guarded(size_t size)
{
	int id = MUST(shmget(0x162e, size, IPC_CREAT | 0600));
	char *at = attach(id);
	memset(at, 1, size);
	return at;
}

static void runs_over_the_end(void) { guarded(5000)[(5000 + PAGE - 1) / PAGE * PAGE + 7] = 1; }
static void reads_in_front(void) { (void)*(volatile char *)(guarded(5000) - 1); }

static void check_death(int status)
{
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

TEST(a_program_that_runs_over_the_end_is_told_where_and_dies)
{
	SHIM_ONLY();
	check_death(capture("SHMSHIM_GUARD", "1", runs_over_the_end));
	SAID("shmshim guard: pid ");
	SAID("(key 0x0000162e, 5000 bytes), which is attached at 0x");
	SAID(": offset ");
#if defined __x86_64__ && defined __GLIBC__
	SAID(" wrote at 0x");
	SAID("3199 bytes behind the end of segment ");
	SAID(": offset 8199\n");
	/* The program's own frames, without the handler's. */
	SAID("test_guard(");
	CHECK(!strstr(said, "libshmshim"));
#endif
	check_death(capture("SHMSHIM_GUARD", "1", reads_in_front));
	SAID("1 bytes in front of the beginning of segment ");
	SAID(": offset -1\n");
}

TEST(without_it_nothing_is_installed)
{
	SHIM_ONLY();
	guarded(4096);
	struct sigaction now;
	MUST(sigaction(SIGSEGV, NULL, &now));
	CHECK(now.sa_handler == SIG_DFL);
}

static sigjmp_buf back;
static void *seen;
static void own_handler(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	seen = info->si_addr;
	siglongjmp(back, 1);
}

static void has_a_handler(void)
{
	struct sigaction own = { .sa_sigaction = own_handler, .sa_flags = SA_SIGINFO };
	MUST(sigaction(SIGSEGV, &own, NULL));
	char *at = guarded(PAGE);
	for (int i = 0; i < 2; i++) {
		if (!sigsetjmp(back, 1))
			at[PAGE] = 1;
		CHECK(seen == at + PAGE);
		seen = NULL;
	}
	/* What is no guard of ours is the program's own business alone. */
	if (!sigsetjmp(back, 1))
		*(volatile char *)UNMAPPED = 1;
	CHECK(seen == UNMAPPED);
}

TEST(the_programs_own_handler_runs)
{
	SHIM_ONLY();
	CHECK_EQ(capture("SHMSHIM_GUARD", "1", has_a_handler), 0);
	char *first = strstr(said, "shmshim guard: ");
	char *second = first ? strstr(first + 1, "shmshim guard: ") : NULL;
	CHECK(first && second && !strstr(second + 1, "shmshim guard: "));
}

static void is_no_guard(void) { *(volatile char *)UNMAPPED = (guarded(PAGE), 1); }
static void is_sent_one(void)
{
	guarded(PAGE);
	kill(getpid(), SIGSEGV);
	pause();
}

TEST(another_fault_is_the_programs_death_and_nothing_is_said)
{
	SHIM_ONLY();
	check_death(capture("SHMSHIM_GUARD", "1", is_no_guard));
	CHECK_STR(said, "");
	check_death(capture("SHMSHIM_GUARD", "1", is_sent_one));
	CHECK_STR(said, "");
}

static bool is_free(char *at) { return MUST(mmap(at, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)) == at; }

static void detaches(void)
{
	char *at = guarded(3 * PAGE);
	int id = MUST(shmget(0x162e, 0, 0));
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmdt(at));
	CHECK_EQ(nattch_of(id), 0);
	CHECK(is_free(at - PAGE) && is_free(at) && is_free(at + 3 * PAGE));
	/* In pieces, by munmap. */
	at = guarded(3 * PAGE);
	MUST(munmap(at + PAGE, PAGE));
	CHECK_EQ(nattch_of(id), 2);
	CHECK(!READABLE(at + 3 * PAGE) && !READABLE(at - 1) && READABLE(at));
	MUST(munmap(at, 3 * PAGE));
	CHECK_EQ(nattch_of(id), 0);
	CHECK(is_free(at - PAGE) && is_free(at + 3 * PAGE));
	MUST(shmctl(id, IPC_RMID, NULL));
}

static void moves(void)
{
	char *at = guarded(2 * PAGE);
	int id = MUST(shmget(0x162e, 0, 0));
	char *to = MUST(mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	CHECK(mremap(at, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	CHECK_EQ(to[2 * PAGE - 1], 1);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(is_free(at - PAGE) && is_free(at + 2 * PAGE));
	MUST(shmdt(to));
	/* It grows in its place, as without a guard. */
	at = guarded(2 * PAGE);
	at = MUST(mremap(at, 2 * PAGE, PAGE, 0));
	at = MUST(mremap(at, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
	MUST(shmdt(at));
	MUST(shmctl(id, IPC_RMID, NULL));
}

static void covers(void)
{
	char *at = guarded(PAGE);
	/* The program takes the place of a guard for something of its own, which stays when the attach goes. */
	char *own = MUST(mmap(at + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	*own = 7;
	MUST(shmdt(at));
	CHECK_EQ(*own, 7);
	CHECK(is_free(at - PAGE));
}

TEST(an_attach_with_guards_goes_as_any_other)
{
	SHIM_ONLY();
	CHECK_EQ(capture("SHMSHIM_GUARD", "1", detaches), 0);
	CHECK_EQ(capture("SHMSHIM_GUARD", "1", moves), 0);
	CHECK_EQ(capture("SHMSHIM_GUARD", "1", covers), 0);
}

static void forks(void)
{
	char *at = guarded(PAGE);
	IN_CHILD
	{
		CHECK(!READABLE(at + PAGE) && !READABLE(at - 1));
		MUST(shmdt(at));
		CHECK(is_free(at - PAGE) && is_free(at + PAGE));
	}
	CHECK(READABLE(at) && !READABLE(at + PAGE));
	pid_t pid = MUST(fork());
	if (pid == 0)
		at[PAGE] = 1;
	check_death(wait_for(pid));
}

TEST(a_child_has_the_guards)
{
	SHIM_ONLY();
	CHECK_EQ(capture("SHMSHIM_GUARD", "1", forks), 0);
	SAID("0 bytes behind the end of segment ");
}

static void chooses(void)
{
	int id = MUST(shmget(IPC_PRIVATE, PAGE, 0600));
	char *at = attach_at(id, FREE_AREA);
	CHECK(is_free(at + PAGE) && is_free(at - PAGE));
}

TEST(an_address_that_the_program_chose_is_left_alone)
{
	SHIM_ONLY();
	CHECK_EQ(capture("SHMSHIM_GUARD", "1", chooses), 0);
}

#include "shmtest_main.h"
