/* SHMSHIM_TRACE_FORMAT: what a line of the trace tells beside the call. */
#include "capture.h"
#include <regex.h>

static void check_line(const char *line, const char *pattern)
{
	regex_t re;
	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		FATAL("bad pattern %s", pattern);
	COUNT_CHECK();
	if (!line || regexec(&re, line, 0, NULL, 0) != 0)
		FAIL("the line is\n        %s\n        expected\n        %s", line ? line : "missing", pattern);
	regfree(&re);
}

static void asks(void)
{
	setenv("SHMSHIM_TRACE", "1", 1);
	TEST_ERRNO(shmget(0x99, 1, 0), ENOENT);
}

static void check(const char *format, const char *const *patterns, size_t n)
{
	CHECK_EQ(capture("SHMSHIM_TRACE_FORMAT", format, asks), 0);
	char *line = strtok(said, "\n");
	for (size_t i = 0; i < n; i++, line = strtok(NULL, "\n"))
		check_line(line, patterns[i]);
	CHECK(!line);
}
#define LINES(format, ...)                                                                         \
	do {                                                                                       \
		static const char *const lines[] = { __VA_ARGS__ };                                \
		check(format, lines, sizeof lines / sizeof *lines);                                \
	} while (0)

#define CALL "shmget\\(0x99, 1, 000\\) = -1 ENOENT \\(key 0x00000099 has no segment and IPC_CREAT was not asked\\)"
#define SECONDS "[0-9]+\\.[0-9]{6}"
#define PROCESS "shmshim [0-9.]+ serves test_trace_form in /[^ ]+, because SHMSHIM_DIR says so"

TEST(a_line_tells_what_is_asked_for)
{
	SHIM_ONLY();
	/* The first one, for it makes the namespace. */
	LINES("events", "^--- " PROCESS " ---$", "^" CALL "$", "^--- has made the namespace ---$");
	LINES("", "^" CALL "$");
	LINES("text", "^" CALL "$");
	LINES("time", "^" SECONDS " " CALL "$");
	LINES("duration", "^" CALL " <" SECONDS ">$");
	LINES("thread,time", "^[0-9]+ +" SECONDS " " CALL "$");
}

TEST(an_object_tells_all_of_it)
{
	SHIM_ONLY();
#define HEAD(type) "^\\{\"type\":\"" type "\",\"time\":" SECONDS ",\"pid\":[0-9]+,\"tid\":[0-9]+,"
	LINES("json", HEAD("event") "\"event\":\"process\",\"text\":\"" PROCESS "\"\\}$",
	      HEAD("call") "\"duration\":" SECONDS ",\"call\":\"shmget\",\"key\":153,\"size\":1,\"flags\":\"000\",\"result\":-1,"
			   "\"error\":\"ENOENT\",\"reason\":\"key 0x00000099 has no segment and IPC_CREAT was not asked\"\\}$",
	      HEAD("event") "\"event\":\"namespace-made\",\"text\":\"has made the namespace\"\\}$");
}

TEST(a_format_that_there_is_not_is_said)
{
	SHIM_ONLY();
	LINES("xml,time", "^shmshim: SHMSHIM_TRACE_FORMAT has no xml; it is a list of text, json, time, thread, duration, events, long$",
	      "^" SECONDS " " CALL "$");
}

TEST(each_process_has_a_file_of_its_own_by_its_id)
{
	SHIM_ONLY();
	char path[PATH_MAX], text[1000];
	snprintf(path, sizeof path, "%s/trace.%%p", getenv("SHMSHIM_DIR"));
	setenv("SHMSHIM_TRACE", path, 1);
	for (int i = 0; i < 2; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			shmget(0x99, 1, 0);
			_exit(0);
		}
		wait_for(pid);
		snprintf(path, sizeof path, "%s/trace.%d", getenv("SHMSHIM_DIR"), (int)pid);
		int fd = MUST((int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
		text[MUST(read(fd, text, sizeof text - 1))] = 0;
		close(fd);
		CHECK(strstr(text, "shmget(0x99") && !strchr(strchr(text, '\n') + 1, '\n'));
		MUST(unlink(path));
	}
}

#include "shmtest_main.h"
