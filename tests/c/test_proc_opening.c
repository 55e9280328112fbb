/*
 * The ways a program opens the files of the namespace, among them those that
 * the compiler chooses when it fortifies, and files of similar names that are
 * nothing of ours.
 */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include "shmtest.h"

#define LIST "/proc/sysvipc/shm"
#define LIMIT "/proc/sys/kernel/shmmni"

/* The compiler cannot know these, so fortified code calls __open_2 and its like. */
static volatile int read_only = O_RDONLY, write_only = O_WRONLY;

static char *first_line(int fd)
{
	static char line[512];
	ssize_t n = MUST(read(fd, line, sizeof line - 1));
	line[n] = 0;
	line[strcspn(line, "\n")] = 0;
	close(fd);
	return line;
}

static char *first_line_of(FILE *f)
{
	static char line[512];
	if (!f)
		FATAL("fopen: %s", errno_name(errno));
	if (!fgets(line, sizeof line, f))
		FATAL("fgets: %s", errno_name(errno));
	line[strcspn(line, "\n")] = 0;
	fclose(f);
	return line;
}

/* Ours, not the kernel's own: the namespace holds these values alone. */
static void mark_the_namespace(void)
{
	MUST(shmget(0x162e, 1, IPC_CREAT | 0600));
	set_limit("shmmni", "1234");
}

TEST(every_way_of_opening_reads_the_limit_of_the_namespace)
{
	mark_the_namespace();
	int proc = MUST(open("/proc/sys", O_RDONLY | O_DIRECTORY));
	CHECK_STR(first_line(MUST(open(LIMIT, O_RDONLY))), "1234");
	CHECK_STR(first_line(MUST(open(LIMIT, read_only))), "1234");
	CHECK_STR(first_line(MUST(open(LIMIT, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY))), "1234");
	CHECK_STR(first_line(MUST(open64(LIMIT, O_RDONLY))), "1234");
	CHECK_STR(first_line(MUST(openat(AT_FDCWD, LIMIT, O_RDONLY))), "1234");
	CHECK_STR(first_line(MUST(openat(AT_FDCWD, LIMIT, read_only))), "1234");
	CHECK_STR(first_line(MUST(openat(proc, LIMIT, O_RDONLY))), "1234"); /* an absolute path */
	CHECK_STR(first_line_of(fopen(LIMIT, "r")), "1234");
	CHECK_STR(first_line_of(fopen(LIMIT, "re")), "1234");
	CHECK_STR(first_line_of(fopen64(LIMIT, "r")), "1234");
}

TEST(every_way_of_opening_reads_the_list_of_the_namespace)
{
	char line[512];
	mark_the_namespace();
	FILE *f[] = { fopen(LIST, "r"), fopen64(LIST, "r"), fdopen(MUST(open(LIST, O_RDONLY)), "r"),
		      fdopen(MUST(open(LIST, read_only)), "r"), fdopen(MUST(open64(LIST, O_RDONLY)), "r"),
		      fdopen(MUST(openat(AT_FDCWD, LIST, O_RDONLY)), "r"),
		      fdopen(MUST(openat(AT_FDCWD, LIST, read_only)), "r") };
	for (size_t i = 0; i < sizeof f / sizeof *f; i++) {
		int key = 0;
		REQUIRE(f[i] != NULL);
		REQUIRE(fgets(line, sizeof line, f[i]) != NULL);
		REQUIRE(fgets(line, sizeof line, f[i]) != NULL);
		sscanf(line, "%d", &key);
		CHECK_EQ(key, 0x162e);
		CHECK(fgets(line, sizeof line, f[i]) == NULL);
		fclose(f[i]);
	}
}

TEST(a_path_relative_to_a_directory_reads_the_namespace_too)
{
	mark_the_namespace();
	int kernel = MUST(open("/proc/sys/kernel", O_RDONLY | O_DIRECTORY));
	CHECK_STR(first_line(MUST(openat(kernel, "shmmni", O_RDONLY))), "1234");
	MUST(chdir("/proc"));
	CHECK_STR(first_line(MUST(open("sys/kernel/shmmni", O_RDONLY))), "1234");
	CHECK_STR(first_line_of(fopen("sys/kernel/shmmni", "r")), "1234");
}

TEST(every_way_of_opening_writes_the_limit)
{
	set_limit("shmmni", "5");
	int fd[] = { open(LIMIT, O_WRONLY),
		     open(LIMIT, write_only),
		     open64(LIMIT, O_WRONLY | O_CLOEXEC),
		     openat(AT_FDCWD, LIMIT, O_WRONLY),
		     open(LIMIT, O_WRONLY | O_TRUNC),
		     open(LIMIT, O_WRONLY | O_CREAT | O_TRUNC, 0666), /* the shell's > */
		     open(LIMIT, O_WRONLY | O_APPEND),
		     open(LIMIT, O_RDWR) };
	for (size_t i = 0; i < sizeof fd / sizeof *fd; i++) {
		char value[16];
		REQUIRE(fd[i] >= 0);
		snprintf(value, sizeof value, "%zu\n", 100 + i);
		TEST_RES(write(fd[i], value, 4), _ret == 4);
		close(fd[i]);
		CHECK_EQ(limit("shmmni"), 100 + i);
		struct shminfo info;
		MUST(shmctl(0, IPC_INFO, (struct shmid_ds *)&info));
		CHECK_EQ(info.shmmni, 100 + i);
	}
	const char *modes[] = { "w", "r+", "we" };
	for (int i = 0; i < 3; i++) {
		FILE *f = fopen(LIMIT, modes[i]);
		REQUIRE(f != NULL);
		fprintf(f, "%d\n", 200 + i);
		CHECK_EQ(fclose(f), 0);
		CHECK_EQ(limit("shmmni"), 200 + i);
	}
}

TEST(a_limit_opened_for_reading_and_writing_does_both)
{
	set_limit("shmmni", "50");
	char text[16] = "";
	int fd = MUST(open(LIMIT, O_RDWR));
	TEST_RES(read(fd, text, sizeof text - 1), _ret == 3);
	CHECK_STR(text, "50\n");
	MUST(lseek(fd, 0, SEEK_SET));
	TEST_RES(write(fd, "60", 2), _ret == 2);
	close(fd);
	CHECK_EQ(limit("shmmni"), 60);
	set_limit("shmmni", "1060");
	FILE *f = fopen(LIMIT, "r+");
	REQUIRE(f != NULL);
	fprintf(f, "3060\n"); /* the old value's last digits */
	CHECK_EQ(fclose(f), 0);
	CHECK_EQ(limit("shmmni"), 3060);
}

TEST(descriptors_are_as_they_were_asked_for)
{
	int fd = MUST(open(LIST, O_RDONLY)), lowest = fd;
	CHECK_EQ(fcntl(fd, F_GETFD), 0);
	CHECK_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	TEST_ERRNO(write(fd, "x", 1), EBADF);
	close(fd);
	fd = MUST(open(LIST, O_RDONLY | O_CLOEXEC));
	CHECK_EQ(fd, lowest);
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	fd = MUST(open(LIMIT, O_RDONLY | O_NONBLOCK));
	CHECK_EQ(fd, lowest);
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK), O_RDONLY | O_NONBLOCK);
	TEST_ERRNO(write(fd, "1", 1), EBADF);
	close(fd);
	CHECK_EQ(MUST(open("/dev/null", O_RDONLY)), lowest);
}

TEST(errors_of_opening_are_those_of_the_system)
{
	TEST_ERRNO(open(LIST, O_RDONLY | O_DIRECTORY), ENOTDIR);
	TEST_ERRNO(open(LIST, O_CREAT | O_EXCL | O_RDONLY, 0600), EEXIST);
	TEST_ERRNO(open(LIST "/x", O_RDONLY), ENOTDIR);
	TEST_ERRNO(open(LIMIT "x", O_RDONLY), ENOENT);
	struct rlimit none = { 0, 0 };
	IN_CHILD {
		MUST(setrlimit(RLIMIT_NOFILE, &none));
		TEST_ERRNO(open(LIST, O_RDONLY), EMFILE);
		TEST_ERRNO(open(LIMIT, O_RDONLY), EMFILE);
		CHECK(fopen(LIST, "r") == NULL && errno == EMFILE);
	}
}

TEST(similar_names_are_left_alone)
{
	char dir[] = "/tmp/shmtest.XXXXXX", path[64], text[64] = "";
	REQUIRE(mkdtemp(dir) != NULL);
	mark_the_namespace();
	snprintf(path, sizeof path, "%s/shmmni", dir);
	int fd = MUST(open(path, O_RDWR | O_CREAT | O_EXCL, 0640));
	TEST_RES(write(fd, "own", 3), _ret == 3);
	close(fd);
	CHECK_STR(first_line(MUST(open(path, read_only))), "own");
	CHECK_STR(first_line_of(fopen(path, "r")), "own");
	struct stat st;
	MUST(stat(path, &st));
	CHECK_EQ(st.st_mode & 0777, 0640);
	MUST(chdir(dir));
	CHECK_STR(first_line(MUST(open("shmmni", O_RDONLY))), "own");
	CHECK_STR(first_line(MUST(openat(AT_FDCWD, "shmmni", O_RDONLY))), "own");
	MUST(chdir("/"));
	fd = MUST(open(dir, O_TMPFILE | O_RDWR, 0600)); /* a mode without O_CREAT */
	MUST(fstat(fd, &st));
	CHECK_EQ(st.st_mode & 0777, 0600);
	close(fd);
	MUST(unlink(path));
	MUST(rmdir(dir));
	fd = MUST(open("/proc/sys/kernel/ostype", O_RDONLY));
	TEST_RES(read(fd, text, sizeof text), _ret == 6 && memcmp(text, "Linux\n", 6) == 0);
	close(fd);
	if ((fd = open("/proc/sysvipc/msg", O_RDONLY)) >= 0 || !under_shim())
		CHECK(strncmp(first_line(MUST(fd)), "       key      msqid", 21) == 0);
}
