/*
 * /proc/sys/kernel/{shmmax,shmall,shmmni,shm_rmid_forced}: read and written as
 * text, belonging to the namespace, with bad values leaving them as they were.
 */
#include "shmtest.h"

static const char *const names[] = { "shmmax", "shmall", "shmmni", "shm_rmid_forced" };

static const char *path_of(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
	return path;
}

static const char *text_of(const char *name)
{
	static char text[128];
	int fd = MUST(open(path_of(name), O_RDONLY | O_CLOEXEC));
	ssize_t n = MUST(read(fd, text, sizeof text - 1));
	text[n] = 0;
	close(fd);
	return text;
}

TEST(a_value_is_a_line_of_decimal_digits)
{
	CHECK_STR(text_of("shmmax"), "18446744073692774399\n");
	CHECK_STR(text_of("shmall"), "18446744073692774399\n");
	CHECK_STR(text_of("shmmni"), "4096\n");
	CHECK_STR(text_of("shm_rmid_forced"), "0\n");
	for (int i = 0; i < 4; i++) {
		struct stat st;
		if (under_shim() && stat(path_of(names[i]), &st) < 0 && errno == ENOENT)
			continue; /* a kernel without System V: only opening finds the file */
		MUST(stat(path_of(names[i]), &st));
		CHECK_EQ(st.st_mode & 07777, 0644);
	}
}

TEST(what_is_written_is_read_back)
{
	struct { const char *name, *value, *text; } t[] = {
		{ "shmmax", "4096", "4096\n" },
		{ "shmmax", "8192\n", "8192\n" },
		{ "shmmax", "  77", "77\n" },
		{ "shmmax", "0", "0\n" },
		{ "shmmax", "18446744073709551615", "18446744073709551615\n" },
		{ "shmall", "1", "1\n" },
		{ "shmall", "18446744073709551615\n", "18446744073709551615\n" },
		{ "shmmni", "0", "0\n" },
		{ "shmmni", "32768\n", "32768\n" },
		{ "shmmni", "100", "100\n" },
		{ "shm_rmid_forced", "1\n", "1\n" },
		{ "shm_rmid_forced", "0", "0\n" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		set_limit(t[i].name, t[i].value);
		CHECK_STR(text_of(t[i].name), t[i].text);
	}
}

/* On the kernel the write fails; under the shim it cannot, but it does nothing. */
TEST(a_bad_value_is_refused_and_leaves_the_old_one)
{
	set_limit("shmmax", "5000");
	set_limit("shmall", "600");
	set_limit("shmmni", "70");
	struct { const char *name, *value, *text; } t[] = {
		{ "shmmni", "32769", "70\n" }, { "shmmni", "-1", "70\n" },
		{ "shmmni", "abc", "70\n" },   { "shmmni", "99999999999999999999", "70\n" },
		{ "shmmax", "abc", "5000\n" }, { "shmmax", "x1", "5000\n" },
		{ "shmall", "abc", "600\n" },  { "shmmax", "1x", "5000\n" },
		{ "shm_rmid_forced", "2", "0\n" }, { "shm_rmid_forced", "-1", "0\n" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		int err = try_limit(t[i].name, t[i].value);
		COUNT_CHECK();
		if (err != EINVAL && !(under_shim() && err == 0))
			FAIL("writing %s to %s: %s", t[i].value, t[i].name, errno_name(err));
		CHECK_STR(text_of(t[i].name), t[i].text);
	}
}

TEST(every_process_of_the_namespace_sees_the_new_value)
{
	struct gate set = gate_make();
	pid_t pid = fork();
	if (pid == 0) {
		gate_wait(&set);
		CHECK_STR(text_of("shmmax"), "4096\n");
		TEST_ERRNO(shmget(IPC_PRIVATE, 4097, 0600), EINVAL);
		_exit(0);
	}
	new_segment(1);
	set_limit("shmmax", "4096");
	CHECK_EQ(limit("shmmax"), 4096);
	gate_open(&set);
	REAP(pid);
}

TEST(a_value_written_by_a_process_that_ends_is_in_force)
{
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open("/proc/sys/kernel/shmmni", O_WRONLY);
		if (fd < 0 && (errno == EACCES || errno == EROFS))
			SKIP("/proc/sys/kernel/shmmni cannot be written here");
		TEST_RES(write(fd, "1\n", 2), _ret == 2);
		exit(0);
	}
	REAP(pid);
	CHECK_EQ(limit("shmmni"), 1);
	new_segment(1);
	TEST_ERRNO(shmget(IPC_PRIVATE, 1, 0600), ENOSPC);
}

TEST(another_namespace_has_its_own_limits)
{
	IN_CHILD {
		fresh_namespace();
		set_limit("shmmax", "12345");
		set_limit("shmmni", "3");
		CHECK_EQ(limit("shmmax"), 12345);
	}
	IN_CHILD {
		fresh_namespace();
		CHECK_EQ(limit("shmmax"), 18446744073692774399ull);
		CHECK_EQ(limit("shmmni"), 4096);
	}
	CHECK_EQ(limit("shmmax"), 18446744073692774399ull);
}

TEST_SEVERAL_UIDS(others_read_the_limits_and_cannot_write_them)
{
	set_limit("shmmax", "4096");
	IN_CHILD {
		drop_to(54001, 54001);
		for (int i = 0; i < 4; i++)
			TEST_ERRNO(open(path_of(names[i]), O_WRONLY), EACCES);
		for (int i = 0; i < 4; i++)
			TEST_ERRNO(open(path_of(names[i]), O_RDWR), EACCES);
		CHECK_EQ(limit("shmmax"), 4096);
		TEST_ERRNO(shmget(IPC_PRIVATE, 4097, 0600), EINVAL);
	}
	CHECK_EQ(limit("shmmax"), 4096);
}
