/* SHMSHIM_TRACE: a line for each call, as strace writes it, and why it failed. */
#include "proctest.h"
#include <regex.h>

static bool matches(const char *pattern, const char *text)
{
	regex_t re;
	char anchored[2048];
	snprintf(anchored, sizeof anchored, "^%s$", pattern);
	if (regcomp(&re, anchored, REG_EXTENDED | REG_NOSUB) != 0)
		FATAL("bad pattern %s", pattern);
	bool yes = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return yes;
}

static char *trace_file(void)
{
	static char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMSHIM_DIR"));
	return path;
}
static char traced[1 << 20];
/*
 * A namespace begins with a sequence number of its own in the upper half of their range, that is with an id between 2^30
 * and 2^31: each such number is counted from the id of the first segment. Behind a = stand times and the like.
 */
static void count_from_0(void)
{
	static char counted[sizeof traced];
	long long first = -1;
	char *out = counted;
	for (const char *in = traced; *in;) {
		char *end = (char *)in + 1;
		bool begins = in == traced || !strchr("0123456789abcdefx=", in[-1]);
		long long n = begins && *in >= '1' && *in <= '9' ? strtoll(in, &end, 10) : 0;
		if (n >= 1ll << 30 && n < 1ll << 31 && !strchr("xabcdef", *end)) {
			if (first < 0)
				first = n - n % 32768;
			out += sprintf(out, "%lld", n - first);
		} else {
			memcpy(out, in, (size_t)(end - in));
			out += end - in;
		}
		in = end;
	}
	*out = 0;
	strcpy(traced, counted);
}

static void read_trace(void)
{
	int fd = MUST((int)syscall(SYS_openat, AT_FDCWD, trace_file(), O_RDONLY | O_CLOEXEC));
	size_t len = 0;
	for (ssize_t got; (got = read(fd, traced + len, sizeof traced - 1 - len)) > 0;)
		len += (size_t)got;
	traced[len] = 0;
	close(fd);
	count_from_0();
}

/* A line may begin with the pid that made the call, as in strace's own output files. */
static const char *without_pid(const char *line)
{
	const char *p = line + strspn(line, "0123456789");
	return p == line ? line : p + strspn(p, " ");
}

static void check_lines(const char *const *pattern, size_t n)
{
	char *save = NULL;
	size_t i = 0;
	for (char *l = strtok_r(traced, "\n", &save); l; l = strtok_r(NULL, "\n", &save), i++) {
		COUNT_CHECK();
		if (i < n && !matches(pattern[i], without_pid(l)))
			FAIL("line %zu is\n        %s\n        expected\n        %s", i + 1, without_pid(l), pattern[i]);
		/* The reason is a sentence, and more than the name of the error. */
		char *why = strstr(l, " = -1 ") ? strchr(strstr(l, " = -1 "), '(') : NULL;
		if (strstr(l, " = -1 ") && (!why || strlen(why) < 15 || !strchr(why, ' ') || strstr(why, "nvalid arg")))
			FAIL("line %zu gives no reason: %s", i + 1, l);
	}
	CHECK_EQ(i, n);
}

static void run_helper_trace(char *what)
{
	static struct run r;
	char program[PATH_MAX];
	strcpy(program, built("helper_trace"));
	run_program(&r, (char *const[]){ program, what, NULL });
	CHECK_EQ(r.status, 0);
	CHECK_STR(r.out, "");
}

#define IDS "uid=[0-9]+, gid=[0-9]+, "
#define CIDS "cuid=[0-9]+, cgid=[0-9]+\\}, "
#define TIMES(a, d) "shm_atime=" a ", shm_dtime=" d ", shm_ctime=[1-9][0-9]+\\}\\) = "
/* What depends on the size of a page. */
static char rounded_down[128], pages_in_all[128];
static const char *const successes[] = {
	"shmget\\(0x162e, 5000, IPC_CREAT\\|0740\\) = 0",
	"shmget\\(0x162e, 0, 000\\) = 0",
	"shmget\\(0x162e, 100, 0600\\) = 0",
	"shmget\\(IPC_PRIVATE, 1, 0600\\) = 1",
	"shmget\\(0xffffffff, 4096, IPC_CREAT\\|IPC_EXCL\\|SHM_NORESERVE\\|0666\\) = 2",
	"shmat\\(0, NULL, 0\\) = 0x[0-9a-f]+",
	"shmat\\(0, " FREE_AREA_TEXT "00000, SHM_RDONLY\\) = " FREE_AREA_TEXT "00000",
	rounded_down,
	"shmat\\(0, " FREE_AREA_TEXT "00000, SHM_REMAP\\|SHM_EXEC\\) = " FREE_AREA_TEXT "00000",
	"shmctl\\(0, IPC_STAT, \\{shm_perm=\\{" IDS "mode=0740, key=5678, " CIDS
	"shm_segsz=5000, shm_cpid=[0-9]+, shm_lpid=[0-9]+, shm_nattch=3, " TIMES("[1-9][0-9]+", "[0-9]+") "0",
	"shmctl\\(0, IPC_SET, \\{shm_perm=\\{" IDS "mode=0740\\}\\}\\) = 0",
	"shmctl\\(0, SHM_LOCK, NULL\\) = 0",
	"shmctl\\(0, SHM_UNLOCK, NULL\\) = 0",
	"shmctl\\(0, IPC_INFO, \\{shmmax=18446744073692774399, shmmin=1, shmmni=4096, shmseg=4096, "
	"shmall=18446744073692774399\\}\\) = 2",
	pages_in_all,
	"shmctl\\(1, SHM_STAT, \\{shm_perm=\\{" IDS "mode=0600, key=0, " CIDS
	"shm_segsz=1, shm_cpid=[0-9]+, shm_lpid=0, shm_nattch=0, " TIMES("0", "0") "1",
	"shmctl\\(1, SHM_STAT_ANY, \\{shm_perm=\\{" IDS "mode=0600, key=0, " CIDS
	"shm_segsz=1, shm_cpid=[0-9]+, shm_lpid=0, shm_nattch=0, " TIMES("0", "0") "1",
	"shmdt\\(" FREE_AREA_TEXT "00000\\) = 0",
	"shmctl\\(0, IPC_RMID, NULL\\) = 0",
	"shmctl\\(0, IPC_STAT, \\{shm_perm=\\{" IDS "mode=01740, key=0, " CIDS
	"shm_segsz=5000, shm_cpid=[0-9]+, shm_lpid=[0-9]+, shm_nattch=2, " TIMES("[1-9][0-9]+", "[1-9][0-9]+") "0",
};

TEST(a_call_that_succeeds_is_traced_as_strace_would)
{
	SHIM_ONLY();
	setenv("SHMSHIM_TRACE", trace_file(), 1);
	snprintf(rounded_down, sizeof rounded_down, "shmat\\(0, %s12345, SHM_RND\\) = %s%05lx", FREE_AREA_TEXT, FREE_AREA_TEXT,
		 0x12345 & -PAGE);
	snprintf(pages_in_all, sizeof pages_in_all, "shmctl\\(0, SHM_INFO, \\{used_ids=3, shm_tot=%lu, shm_rss=0, shm_swp=0, "
		 "swap_attempts=0, swap_successes=0\\}\\) = 2", (5000 + PAGE - 1) / PAGE + 2);
	run_helper_trace("successes");
	read_trace();
	check_lines(successes, sizeof successes / sizeof *successes);
}

/* The reason has words, and the numbers by which it was decided. */
#define WHY(...) " \\(.*" __VA_ARGS__ ".*\\)"
static const char *const refusals[] = {
	"shmget\\(0x162e, 4096, IPC_CREAT\\|0600\\) = 0",
	"shmat\\(0, " FREE_AREA_TEXT "00000, 0\\) = " FREE_AREA_TEXT "00000",
	"shmget\\(0x162e, 8192, 0600\\) = -1 EINVAL \\(segment 0 holds 4096 bytes, 8192 asked\\)",
	"shmget\\(0x162e, 0, IPC_CREAT\\|IPC_EXCL\\|000\\) = -1 EEXIST" WHY("162e.*0"),
	"shmget\\(0x99, 4096, 000\\) = -1 ENOENT" WHY("99"),
	"shmget\\(0x99, 0, IPC_CREAT\\|0600\\) = -1 EINVAL" WHY(),
#if __SIZEOF_LONG__ == 8
	"shmget\\(0x99, 18446744073709551615, IPC_CREAT\\|0600\\) = -1 EINVAL"
		WHY("18446744073709551615.*18446744073692774399"),
	"shmget\\(0x99, 1125899906842624, IPC_CREAT\\|0600\\) = -1 ENOMEM" WHY("1125899906842624"),
#endif
	"shmat\\(-7, NULL, 0\\) = -1 EINVAL" WHY("-7"),
	"shmat\\(0, NULL, SHM_REMAP\\) = -1 EINVAL" WHY("SHM_REMAP"),
	"shmat\\(0, " FREE_AREA_TEXT "00001, 0\\) = -1 EINVAL" WHY(FREE_AREA_TEXT "00001"),
	"shmat\\(32768, NULL, 0\\) = -1 EINVAL" WHY("32768"),
	"shmat\\(0, " FREE_AREA_TEXT "00000, 0\\) = -1 EINVAL" WHY(FREE_AREA_TEXT "00000"),
	WIDE_ONLY("shmat\\(0, 0xffff888000000000, 0\\) = -1 ENOMEM" WHY("0xffff888000000000"),)
	"shmdt\\(" FREE_AREA_TEXT "10000\\) = -1 EINVAL" WHY(FREE_AREA_TEXT "10000"),
	"shmdt\\(NULL\\) = -1 EINVAL" WHY(),
	"shmctl\\(0, 0x4d /\\* SHM_\\?\\?\\? \\*/, 0x[0-9a-f]+\\) = -1 EINVAL" WHY("77"),
	"shmctl\\(-1, IPC_STAT, 0x[0-9a-f]+\\) = -1 EINVAL" WHY("-1"),
	"shmctl\\(1, IPC_STAT, 0x[0-9a-f]+\\) = -1 EINVAL" WHY("1"),
	"shmctl\\(0, IPC_STAT, 0x8\\) = -1 EFAULT" WHY("0x8"),
	"shmctl\\(0, IPC_SET, NULL\\) = -1 EFAULT" WHY(),
	"shmctl\\(5, SHM_STAT, 0x[0-9a-f]+\\) = -1 EINVAL" WHY("5"),
	"shmctl\\(0, IPC_SET, .*\\) = -1 EINVAL" WHY("-1"),
};

TEST(a_call_that_fails_is_traced_with_its_reason)
{
	SHIM_ONLY();
	setenv("SHMSHIM_TRACE", trace_file(), 1);
	run_helper_trace("refusals");
	read_trace();
	check_lines(refusals, sizeof refusals / sizeof *refusals);
}

static const char *const rights[] = {
	"shmget\\(0x162e, 4096, IPC_CREAT\\|0600\\) = 0",
	"shmget\\(0x162e, 0, 0600\\) = -1 EACCES" WHY("0600"),
	"shmat\\(0, NULL, SHM_RDONLY\\) = -1 EACCES" WHY("0600"),
	"shmctl\\(0, IPC_STAT, 0x[0-9a-f]+\\) = -1 EACCES" WHY("0600"),
	"shmctl\\(0, IPC_RMID, NULL\\) = -1 EPERM" WHY("54001"),
	"shmctl\\(0, SHM_LOCK, NULL\\) = -1 EPERM" WHY("54001"),
};

TEST_SEVERAL_UIDS(a_missing_right_is_traced_with_the_mode_or_the_owner)
{
	SHIM_ONLY();
	int fd = MUST(open(trace_file(), O_CREAT | O_WRONLY, 0666));
	MUST(fchmod(fd, 0666));
	setenv("SHMSHIM_TRACE", trace_file(), 1);
	run_helper_trace("rights");
	read_trace();
	check_lines(rights, sizeof rights / sizeof *rights);
}

TEST(a_limit_that_is_reached_is_traced_with_its_value)
{
	SHIM_ONLY();
	setenv("SHMSHIM_TRACE", trace_file(), 1);
	set_limit("shmmni", "2");
	set_limit("shmall", "3");
	new_segment(2 * PAGE);
	TEST_ERRNO(shmget(0x99, 2 * PAGE, IPC_CREAT | 0600), ENOSPC);
	new_segment(PAGE);
	set_limit("shmall", "100");
	TEST_ERRNO(shmget(0x99, PAGE, IPC_CREAT | 0600), ENOSPC);
	char one_less[24], lines_text[5][128];
	snprintf(one_less, sizeof one_less, "%lu", PAGE - 1);
	set_limit("shmmax", one_less);
	TEST_ERRNO(shmget(0x99, PAGE, IPC_CREAT | 0600), EINVAL);
	const struct { const char *pattern; unsigned long size; } made[] = {
		{ "shmget\\(IPC_PRIVATE, %lu, 0600\\) = 0", 2 * PAGE },
		{ "shmget\\(0x99, %lu, IPC_CREAT\\|0600\\) = -1 ENOSPC" WHY("3"), 2 * PAGE },
		{ "shmget\\(IPC_PRIVATE, %lu, 0600\\) = 1", PAGE },
		{ "shmget\\(0x99, %lu, IPC_CREAT\\|0600\\) = -1 ENOSPC" WHY("shmmni.*2"), PAGE },
		{ "shmget\\(0x99, %lu, IPC_CREAT\\|0600\\) = -1 EINVAL" WHY("%lu.*%lu"), PAGE },
	};
	const char *lines[5];
	for (int i = 0; i < 5; i++) {
		lines[i] = lines_text[i];
		snprintf(lines_text[i], sizeof lines_text[i], made[i].pattern, made[i].size, made[i].size, PAGE - 1);
	}
	read_trace();
	check_lines(lines, sizeof lines / sizeof *lines);
}

TEST(several_processes_append_whole_lines_to_one_file)
{
	SHIM_ONLY();
	enum { WRITERS = 6, LINES = 300 };
	pid_t pid[WRITERS];
	int seen = 0;
	setenv("SHMSHIM_TRACE", trace_file(), 1);
	int fd = MUST(open(trace_file(), O_CREAT | O_EXCL | O_WRONLY, 0600));
	const char *first = "what was there before\n";
	CHECK_EQ(write(fd, first, strlen(first)), strlen(first));
	close(fd);
	for (int i = 0; i < WRITERS; i++) {
		pid[i] = MUST(fork());
		if (pid[i] == 0) {
			execl(built("helper_trace"), "helper_trace", "many", "300", NULL);
			FATAL("execl: %s", errno_name(errno));
		}
	}
	for (int i = 0; i < WRITERS; i++)
		REAP(pid[i]);
	read_trace();
	char *save = NULL, *l = strtok_r(traced, "\n", &save);
	CHECK_STR(l, "what was there before");
	while ((l = strtok_r(NULL, "\n", &save))) {
		if (!matches("shmget\\(0x7001, 0, 000\\) = -1 ENOENT" WHY("7001"), without_pid(l)))
			FATAL("a broken line: %s", l);
		seen++;
	}
	CHECK_EQ(seen, WRITERS * LINES);
}

TEST(the_trace_goes_to_standard_error_when_asked)
{
	SHIM_ONLY();
	static struct run r;
	setenv("SHMSHIM_TRACE", "stderr", 1);
	int out = dup(2), fds[2];
	MUST(pipe(fds));
	dup2(fds[1], 2);
	snprintf(rounded_down, sizeof rounded_down, "shmat\\(0, %s12345, SHM_RND\\) = %s%05lx", FREE_AREA_TEXT, FREE_AREA_TEXT,
		 0x12345 & -PAGE);
	snprintf(pages_in_all, sizeof pages_in_all, "shmctl\\(0, SHM_INFO, \\{used_ids=3, shm_tot=%lu, shm_rss=0, shm_swp=0, "
		 "swap_attempts=0, swap_successes=0\\}\\) = 2", (5000 + PAGE - 1) / PAGE + 2);
	run_helper_trace("successes");
	dup2(out, 2);
	close(fds[1]);
	ssize_t got;
	while ((got = read(fds[0], r.out + r.len, sizeof r.out - 1 - r.len)) > 0)
		r.len += (size_t)got;
	strcpy(traced, r.out);
	count_from_0();
	check_lines(successes, sizeof successes / sizeof *successes);
}

TEST(tracing_leaves_errno_and_descriptors_alone)
{
	SHIM_ONLY();
	struct fds before;
	setenv("SHMSHIM_TRACE", trace_file(), 1);
	IN_CHILD
	{
		fds_now(&before);
		CHECK_LIFE(0x1a1);
		TEST_ERRNO(shmget(0x1a2, 0, 0), ENOENT);
		errno = 77;
		int id = shmget(0x1a2, PAGE, IPC_CREAT | 0600);
		CHECK_EQ(errno, 77);
		CHECK(id >= 0);
		CHECK_FDS(&before, "traced calls");
	}
	IN_CHILD
	{
		use_up_descriptors(); /* no line can be written, but the calls work */
		CHECK_LIFE(0x1a1);
	}
}
