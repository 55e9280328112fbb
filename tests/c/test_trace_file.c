/* Where the trace goes: a file that cannot be written is said once, and another user's file is not written to. */
#include "proctest.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

static char *in_base(const char *name)
{
	static char path[4][PATH_MAX];
	static int next;
	char *p = path[next++ % 4];
	snprintf(p, PATH_MAX, "%s/%s", getenv("SHMSHIM_DIR"), name);
	return p;
}

/* What two calls that fail print to standard error with this trace. */
static char said[4096];
static void say_of(const char *destination)
{
	int out = MUST(dup(2)), fds[2];
	MUST(pipe(fds));
	fflush(stderr);
	MUST(dup2(fds[1], 2));
	setenv("SHMSHIM_TRACE", destination, 1);
	IN_CHILD
	{
		TEST_ERRNO(shmget(0x1a3, 0, 0), ENOENT);
		TEST_ERRNO(shmget(0x1a3, 0, 0), ENOENT);
	}
	MUST(dup2(out, 2));
	close(out);
	close(fds[1]);
	size_t len = 0;
	for (ssize_t n; (n = read(fds[0], said + len, sizeof said - 1 - len)) > 0;)
		len += (size_t)n;
	said[len] = 0;
	close(fds[0]);
}

static char content[64 * 1024];
static char *content_of(const char *path)
{
	int fd = MUST((int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
	ssize_t n = MUST(read(fd, content, sizeof content - 1));
	content[n] = 0;
	close(fd);
	return content;
}

TEST(a_trace_that_cannot_be_written_is_said_once)
{
	SHIM_ONLY();
	static const struct { const char *path, *why; } bad[] = {
		{ "/no/such/directory/trace", "ENOENT" },
		{ "/", "EISDIR" },
		{ "/dev/full", "a character device" },
		{ "relative-name-in-no-directory/x", "ENOENT" },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		say_of(bad[i].path);
		COUNT_CHECK();
		char *end = strchr(said, '\n');
		if (!end || end[1] || !strstr(said, bad[i].path) || !strstr(said, bad[i].why))
			FAIL("%s: said is\n        %s", bad[i].path, said);
	}
	say_of("");
	CHECK_STR(said, "");
}

TEST(a_trace_that_cannot_be_written_does_no_harm)
{
	SHIM_ONLY();
	static const char *const bad[] = { "/no/such/directory/trace", "/", "/dev/full", "", "relative-name-in-no-directory/x" };
	MUST(dup2(MUST(open("/dev/null", O_WRONLY)), 2));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		setenv("SHMSHIM_TRACE", bad[i], 1);
		IN_CHILD CHECK_LIFE(0x1a3);
		EXPECT_STEPS("get -1 ENOENT\n", "get,0x1a3,0,0");
	}
	IN_CHILD
	{
		setenv("SHMSHIM_TRACE", "stderr", 1);
		close(2);
		CHECK_LIFE(0x1a3);
	}
	IN_CHILD
	{
		setenv("SHMSHIM_TRACE", "/no/such/directory/trace", 1);
		close(2);
		CHECK_LIFE(0x1a3);
	}
}

TEST(a_trace_file_is_made_for_its_owner_alone)
{
	SHIM_ONLY();
	struct stat st;
	umask(0);
	say_of(in_base("ns.trace"));
	CHECK_STR(said, "");
	MUST(stat(in_base("ns.trace"), &st));
	CHECK_EQ(st.st_mode, S_IFREG | 0600);
	CHECK_EQ(st.st_uid, geteuid());
}

TEST(a_link_is_not_written_through)
{
	SHIM_ONLY();
	MUST(close(MUST(open(in_base("ns.diary"), O_CREAT | O_WRONLY, 0600))));
	MUST(symlink(in_base("ns.diary"), in_base("ns.soft")));
	say_of(in_base("ns.soft"));
	CHECK(strstr(said, "symbolic link") != NULL);
	MUST(link(in_base("ns.diary"), in_base("ns.hard")));
	say_of(in_base("ns.hard"));
	CHECK(strstr(said, "2 names") != NULL);
	CHECK_STR(content_of(in_base("ns.diary")), "");
}

TEST_SEVERAL_UIDS(the_file_of_another_user_is_not_written_to)
{
	SHIM_ONLY();
	char *path = in_base("ns.theirs");
	int fd = MUST(open(path, O_CREAT | O_WRONLY, 0666));
	MUST(fchmod(fd, 0666));
	MUST(fchown(fd, 54001, 54001));
	say_of(path);
	/* Where the kernel protects files in sticky directories it refuses first. */
	CHECK(strstr(said, "belongs to uid 54001") || strstr(said, "EACCES"));
	CHECK_STR(content_of(path), "");
	MUST(fchown(fd, 0, 0));
	say_of(path);
	CHECK_STR(said, "");
	CHECK(strstr(content_of(path), "shmget(0x1a3") != NULL);
}

TEST(a_newline_in_a_path_ends_no_line)
{
	SHIM_ONLY();
	char *trace = in_base("ns.trace");
	setenv("SHMSHIM_TRACE", trace, 1);
	setenv("SHMSHIM_DIR", in_base("no such\ndirectory"), 1);
	IN_CHILD CHECK(shmget(0x1a3, PAGE, IPC_CREAT | 0600) == -1);
	content_of(trace);
	char *end = strchr(content, '\n');
	CHECK(end && !end[1]);
	CHECK(strstr(content, "/no such\\012directory") != NULL);
}

TEST(what_goes_to_the_kernel_is_said)
{
	SHIM_ONLY();
	char expected[4096] = "", pid[32];
	char *trace = in_base("ns.trace"), *shown = content;
	setenv("SHMSHIM_TRACE", trace, 1);
	static const char *const lines[] = {
		"shmget(0x2c1, 0, 000) = -1 ENOENT (key 0x000002c1 has no segment and IPC_CREAT was not asked)",
		"semget(0x2c1, 1, 000) = -1 ENOENT (key 0x000002c1 has no semaphore set and IPC_CREAT was not asked)",
		"syscall(SYS_openat, …) opened the kernel's file: what libc's functions open is the namespace's",
	};
	IN_CHILD
	{
		snprintf(pid, sizeof pid, "%-5d ", getpid());
		TEST_ERRNO(syscall(SYS_shmget, 0x2c1, 0, 0), ENOENT);
		TEST_ERRNO(syscall(SYS_semget, 0x2c1, 1, 0), ENOENT);
		MUST(syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY));
		MUST(syscall(SYS_openat, AT_FDCWD, "/proc/sys/kernel/shmmax", O_RDONLY));
		_exit(strncmp(content_of(trace), pid, strlen(pid)) != 0);
	}
	content_of(trace);
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		strcat(expected, lines[i]);
		strcat(expected, "\n");
	}
	/* Each line begins with the process. */
	char without[4096] = "";
	for (char *l; (l = strsep(&shown, "\n")) && *l;) {
		l += strspn(l, "0123456789");
		strcat(strcat(without, l + strspn(l, " ")), "\n");
	}
	CHECK_STR(without, expected);
}
