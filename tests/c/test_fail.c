/* SHMSHIM_FAIL: calls that fail because the user asks for it. */
#include "capture.h"

static void five_segments(void)
{
	for (int i = 0; i < 5; i++) {
		int id = shmget(IPC_PRIVATE, 4096, 0600), error = errno;
		dprintf(2, "%s ", id == -1 ? errno_name(error) : "ok");
		if (id != -1)
			MUST(shmctl(id, IPC_RMID, NULL));
	}
}

static void check(const char *value, const char *expected)
{
	CHECK_EQ(capture("SHMSHIM_FAIL", value, five_segments), 0);
	CHECK_STR(said, expected);
}

TEST(a_call_fails_when_it_is_asked_to)
{
	SHIM_ONLY();
	check("", "ok ok ok ok ok ");
	check("shmget:ENOSPC", "ENOSPC ENOSPC ENOSPC ENOSPC ENOSPC ");
	check("shmget:ENOSPC:3", "ok ok ENOSPC ok ok ");
	check("shmget:ENOMEM:every:2", "ok ENOMEM ok ENOMEM ok ");
	check("shmget:EACCES:1,shmget:ENOSPC:4", "EACCES ok ok ENOSPC ok ");
	check("shmget:ENOMEM:p1", "ENOMEM ENOMEM ENOMEM ENOMEM ENOMEM ");
	check("shmget:ENOMEM:p0,shmat:ENOMEM", "ok ok ok ok ok ");
}

static void many_segments(void)
{
	for (int i = 0; i < 400; i++) {
		int id = shmget(IPC_PRIVATE, 4096, 0600);
		dprintf(2, "%c", id == -1 ? '-' : '+');
		if (id != -1)
			MUST(shmctl(id, IPC_RMID, NULL));
	}
}

static int failures(void)
{
	int n = 0;
	for (const char *c = said; *c; c++)
		n += *c == '-';
	return n;
}

TEST(chance_is_the_same_with_the_same_seed)
{
	SHIM_ONLY();
	static char first[sizeof said];
	capture("SHMSHIM_FAIL", "shmget:ENOSPC:p0.25,seed=7", many_segments);
	strcpy(first, said);
	CHECK_WITHIN(failures(), 50, 150);
	capture("SHMSHIM_FAIL", "shmget:ENOSPC:p0.25,seed=7", many_segments);
	CHECK_STR(said, first);
	capture("SHMSHIM_FAIL", "shmget:ENOSPC:p0.25,seed=8", many_segments);
	CHECK(strcmp(said, first) != 0);
}

static void all_four(void)
{
	int id = MUST(shmget(IPC_PRIVATE, 4096, 0600));
	void *at = MUST(shmat(id, NULL, 0));
	TEST_ERRNO(shmat(id, NULL, 0), EMFILE);
	TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EPERM);
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	TEST_ERRNO(shmdt(at), EINVAL);
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(at));
}

TEST(a_call_that_is_made_to_fail_does_nothing)
{
	SHIM_ONLY();
	CHECK_EQ(capture("SHMSHIM_FAIL", "shmat:EMFILE:2,shmctl:EPERM:1,shmdt:EINVAL:1", all_four), 0);
}

static void traced(void)
{
	setenv("SHMSHIM_TRACE", "stderr", 1);
	shmget(0x77, 4096, IPC_CREAT | 0600);
}

TEST(the_trace_says_who_asked_for_it)
{
	SHIM_ONLY();
	capture("SHMSHIM_FAIL", "shmget:ENOSPC:1", traced);
	CHECK_STR(said, "shmget(0x77, 4096, IPC_CREAT|0600) = -1 ENOSPC (asked for by SHMSHIM_FAIL)\n");
}

TEST(what_cannot_be_read_is_said_once_and_makes_nothing_fail)
{
	SHIM_ONLY();
	static const char *const bad[] = { "shmget", "shmget:EFOO", "open:ENOENT", "shmget:ENOSPC:0", "shmget:ENOSPC:p2",
					   "seed=x", "shmget:ENOSPC:third" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char value[100], expected[400];
		snprintf(value, sizeof value, "shmget:ENOSPC:1,%s", bad[i]);
		snprintf(expected, sizeof expected,
			 "shmshim: SHMSHIM_FAIL makes no call fail: %s cannot be read; a list of CALL:ERRNO[:WHEN] is, where "
			 "WHEN is 3, every:3 or p0.01, and seed=N\nok ok ok ok ok ", bad[i]);
		check(value, expected);
	}
}

#include "shmtest_main.h"
