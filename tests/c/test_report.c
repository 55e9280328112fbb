/* SHMSHIM_REPORT: what a process leaves behind, said at its exit. */
#include "capture.h"

static void check(void (*body)(void), const char *const *expected, size_t n)
{
	CHECK_EQ(capture("SHMSHIM_REPORT", "1", body), 0);
	char *line = said;
	for (size_t i = 0; i < n; i++) {
		char *end = strchr(line, '\n');
		if (end)
			*end = 0;
		COUNT_CHECK();
		if (!end || strncmp(line, "shmshim report: pid ", 20) != 0 || !strstr(line, expected[i]))
			FAIL("line %zu is\n        %s\n        expected\n        %s", i + 1, line, expected[i]);
		line = end ? end + 1 : line + strlen(line);
	}
	CHECK_STR(line, "");
}
#define REPORTS(body, ...)                                                                         \
	do {                                                                                       \
		static const char *const lines[] = { __VA_ARGS__ };                                \
		check(body, lines, sizeof lines / sizeof *lines);                                  \
	} while (0)

static void tidy(void)
{
	int id = MUST(shmget(0x162e, 4096, IPC_CREAT | 0600));
	void *at = MUST(shmat(id, NULL, 0));
	MUST(shmdt(at));
	MUST(shmctl(id, IPC_RMID, NULL));
}

TEST(a_process_that_leaves_nothing_behind_says_nothing)
{
	SHIM_ONLY();
	check(tidy, NULL, 0);
}

static void leaves(void)
{
	int id = MUST(shmget(0x162e, 4096, IPC_CREAT | 0600));
	MUST(shmat(id, NULL, 0));
	MUST(shmget(0x162e, 100, 0));
	MUST(shmget(0x162e, 100, 0));
	TEST_ERRNO(shmget(0x162e, 9000, 0), EINVAL);
}

TEST(what_is_left_is_said)
{
	SHIM_ONLY();
	REPORTS(leaves, "(key 0x0000162e, 4096 bytes) and did not remove it", " and did not detach it",
		" asked for 100 bytes of segment ", " asked for 9000 bytes of segment ");
}

static void only_forks(void)
{
	int id = MUST(shmget(0x162e, 4096, IPC_CREAT | 0600));
	char *at = attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0)
		exit(0);
	wait_for(pid);
	MUST(shmdt(at));
	MUST(shmctl(id, IPC_RMID, NULL));
}

TEST(a_child_answers_for_what_it_did_itself)
{
	SHIM_ONLY();
	check(only_forks, NULL, 0);
}

static void asks_in_vain(void)
{
	TEST_ERRNO(shmget(0x162e, 0, 0), ENOENT);
	TEST_ERRNO(shmget(0x9999, 0, 0), ENOENT);
}

TEST(a_key_that_somebody_has_removed_is_said)
{
	SHIM_ONLY();
	IN_CHILD
	{
		int id = MUST(shmget(0x162e, 4096, IPC_CREAT | 0600));
		attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
	}
	wait(NULL);
	REPORTS(asks_in_vain, " asked for key 0x0000162e, which has no segment: segment ");
	REPORTS(asks_in_vain, " (test_report) while it was attached");
}

TEST(a_report_goes_to_a_file)
{
	SHIM_ONLY();
	char path[PATH_MAX], text[1000];
	snprintf(path, sizeof path, "%s/report.%%p", getenv("SHMSHIM_DIR"));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		setenv("SHMSHIM_REPORT", path, 1);
		leaves();
		exit(0);
	}
	wait_for(pid);
	snprintf(path, sizeof path, "%s/report.%d", getenv("SHMSHIM_DIR"), (int)pid);
	int fd = MUST((int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
	text[MUST(read(fd, text, sizeof text - 1))] = 0;
	close(fd);
	CHECK(strstr(text, " and did not remove it\n"));
	MUST(unlink(path));
}

#include "shmtest_main.h"
