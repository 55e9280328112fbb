/*
 * /proc/sysvipc/sem: the kernel's format to the byte, every set, for everyone. /proc/sys/kernel/sem: four limits in a line.
 */
#include "semtest.h"
#include "slurp.h"

#define LIST "/proc/sysvipc/sem"
#define LIMITS "/proc/sys/kernel/sem"
#define HEADER "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
#define AT_FIRST "32000\t1024000000\t500\t32000\n"

/* The line of a set, by what semctl says about it. */
static char *line_of(char *out, int id)
{
	struct semid_ds d;
	MUST(ctl_arg(index_of(id), 0, SEM_STAT_ANY, &d));
	return out + sprintf(out, "%10d %10d  %4o %10u %5u %5u %5u %5u %10llu %10llu\n", d.sem_perm.__key, id, d.sem_perm.mode,
			     (unsigned)d.sem_nsems, d.sem_perm.uid, d.sem_perm.gid, d.sem_perm.cuid, d.sem_perm.cgid,
			     (unsigned long long)d.sem_otime, (unsigned long long)d.sem_ctime);
}

/* ------------------------------------------------------------- the list */

TEST(an_empty_namespace_has_the_header_alone)
{
	CHECK_STR(slurp(LIST), HEADER);
	new_segment(1);
	CHECK_STR(slurp(LIST), HEADER);
}

TEST(each_set_has_its_line_in_the_format_of_the_kernel)
{
	char expected[4096], *end = stpcpy(expected, HEADER);
	int id[6];
	id[0] = MUST(semget(0x162e, 3, IPC_CREAT | 0600));
	id[1] = MUST(semget(-1, 32000, IPC_CREAT | 0777));
	id[2] = MUST(semget((key_t)0x80000000, 1, IPC_CREAT | 0004));
	id[3] = new_set(2);
	id[4] = MUST(semget(0x7fffffff, 1, IPC_CREAT | 0640));
	id[5] = MUST(semget(77, 1, IPC_CREAT | 0));
	MUST(DO_OPS(id[0], OP(0, 1, 0)));
	MUST(DO_OPS(id[3], OP(1, 0, 0)));
	for (int i = 0; i < 6; i++)
		end = line_of(end, id[i]);
	CHECK_STR(slurp(LIST), expected);
	CHECK(strstr(text, "-2147483648"));
	CHECK(strstr(text, "        -1"));
}

TEST(lines_stand_by_ascending_index)
{
	char expected[65536], *end = stpcpy(expected, HEADER);
	int id[64];
	for (int i = 0; i < 64; i++)
		id[i] = new_set(1);
	for (int i = 1; i < 64; i += 2)
		MUST(remove_set(id[i]));
	for (int i = 1; i < 20; i += 2)
		CHECK_EQ(index_of(id[i] = new_set(1)), i);
	for (int i = 0; i < 64; i++)
		if (i < 20 || i % 2 == 0)
			end = line_of(end, id[i]);
	CHECK_STR(slurp(LIST), expected);
}

TEST(a_list_longer_than_a_page_is_whole)
{
	for (int i = 0; i < 300; i++)
		MUST(semget(1000 + i, 1, IPC_CREAT | 0600));
	int lines = 0, id, key;
	slurp(LIST);
	for (char *p = text + strlen(HEADER); *p; p = strchr(p, '\n') + 1, lines++) {
		REQUIRE(sscanf(p, "%d %d", &key, &id) == 2);
		CHECK_EQ(index_of(id), lines);
		CHECK_EQ(key, 1000 + lines);
	}
	CHECK_EQ(lines, 300);
}

TEST(a_new_opening_shows_what_has_changed)
{
	char expected[1024];
	slurp(LIST);
	int id = new_set(2);
	line_of(stpcpy(expected, HEADER), id);
	CHECK_STR(slurp(LIST), expected);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	MUST(set_mode(id, 0444));
	line_of(stpcpy(expected, HEADER), id);
	CHECK_STR(slurp(LIST), expected);
	MUST(remove_set(id));
	CHECK_STR(slurp(LIST), HEADER);
}

TEST(the_list_shows_an_undo_that_nobody_has_asked_for_yet)
{
	char expected[1024];
	int id = new_set(1);
	MUST(set_value(id, 0, 1));
	IN_CHILD MUST(DO_OPS(id, OP(0, -1, SEM_UNDO)));
	slurp(LIST);
	line_of(stpcpy(expected, HEADER), id);
	CHECK_STR(text, expected);
}

TEST_SEVERAL_UIDS(everybody_reads_every_line)
{
	char expected[1024], *end;
	int one = MUST(semget(1, 1, IPC_CREAT | 0000));
	int two = MUST(semget(2, 5, IPC_CREAT | 0600));
	struct stat st;
	end = line_of(stpcpy(expected, HEADER), one);
	line_of(end, two);
	IN_CHILD {
		drop_to(54001, 54001);
		CHECK_STR(slurp(LIST), expected);
		if (stat(LIST, &st) == 0)
			CHECK_EQ(st.st_mode & 0777, 0444);
		else
			CHECK(under_shim());
	}
}

TEST_SEVERAL_UIDS(owner_and_creator_stand_in_their_columns)
{
	char expected[1024];
	int id = new_set(1);
	struct semid_ds d = set_stat(id);
	d.sem_perm.uid = 4294967294u;
	d.sem_perm.gid = 54002;
	MUST(ctl_arg(id, 0, IPC_SET, &d));
	line_of(stpcpy(expected, HEADER), id);
	CHECK_STR(slurp(LIST), expected);
	CHECK(strstr(text, "4294967294 54002     0     0"));
}

/* ----------------------------------------------------------- the limits */

TEST(the_limits_are_a_line_of_four_numbers)
{
	struct stat st;
	CHECK_STR(slurp(LIMITS), AT_FIRST);
	if (under_shim() && stat(LIMITS, &st) < 0 && errno == ENOENT)
		return; /* a kernel without System V: only opening finds the file */
	MUST(stat(LIMITS, &st));
	CHECK_EQ(st.st_mode & 07777, 0644);
}

struct written { const char *value, *text; int err; };

static void check_written(const struct written *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int err = try_limit("sem", t[i].value);
		if (err == EACCES || err == EPERM || err == EROFS)
			SKIP("the limits cannot be written here: %s", errno_name(err));
		COUNT_CHECK();
		/* Under the shim the write itself cannot fail. */
		if (err != t[i].err && !(under_shim() && err == 0))
			FAIL("writing \"%s\": %s, expected %s", t[i].value, errno_name(err), errno_name(t[i].err));
		slurp(LIMITS);
		COUNT_CHECK();
		if (strcmp(text, t[i].text) != 0)
			FAIL("after \"%s\": %s", t[i].value, text);
	}
}
#define CHECK_WRITTEN(t) check_written(t, sizeof(t) / sizeof *(t))

TEST(what_is_written_is_read_back)
{
	struct written t[] = {
		{ "1 2 3 4", "1\t2\t3\t4\n", 0 },
		{ "10\t20\t30\t40\n", "10\t20\t30\t40\n", 0 },
		{ "  5   6  7 8", "5\t6\t7\t8\n", 0 },
		{ "0 0 0 0", "0\t0\t0\t0\n", 0 },
		{ "65535 1 1 1", "65535\t1\t1\t1\n", 0 },
		{ "65536 1 1 1", "65536\t1\t1\t1\n", 0 },
		{ "2147483647 2147483647 2147483647 32768", "2147483647\t2147483647\t2147483647\t32768\n", 0 },
		{ "32000 1024000000 500 32000", AT_FIRST, 0 },
	};
	CHECK_WRITTEN(t);
}

TEST(fewer_numbers_set_the_first_ones_and_more_are_ignored)
{
	struct written t[] = {
		{ "7 8", "7\t8\t500\t32000\n", 0 },
		{ "9", "9\t8\t500\t32000\n", 0 },
		{ "1 2 3", "1\t2\t3\t32000\n", 0 },
		{ "", "1\t2\t3\t32000\n", 0 },
		{ "5 6 7 8 9", "5\t6\t7\t8\n", 0 },
	};
	CHECK_WRITTEN(t);
}

TEST(negative_numbers_are_accepted_for_the_first_three)
{
	struct written t[] = {
		{ "-1 100 10 10", "-1\t100\t10\t10\n", 0 },
		{ "32000 -1 10 10", "32000\t-1\t10\t10\n", 0 },
		{ "32000 100 -1 10", "32000\t100\t-1\t10\n", 0 },
	};
	CHECK_WRITTEN(t);
}

TEST(a_fourth_number_out_of_range_stays_and_the_first_three_are_set)
{
	struct written t[] = {
		{ "1 2 3 32769", "1\t2\t3\t32000\n", ERANGE },
		{ "4 5 6 -2", "4\t5\t6\t32000\n", ERANGE },
		{ "7 8 9 -1", "7\t8\t9\t32000\n", ERANGE },
		{ "7 8 9 32768", "7\t8\t9\t32768\n", 0 },
	};
	CHECK_WRITTEN(t);
}

TEST(what_is_no_number_is_refused)
{
	struct written t[] = {
		{ "x", AT_FIRST, EINVAL },
		{ "2147483648", AT_FIRST, EINVAL },
		{ "99999999999999999999", AT_FIRST, EINVAL },
		{ "-x", AT_FIRST, EINVAL },
		{ "1x", AT_FIRST, EINVAL },
	};
	CHECK_WRITTEN(t);
}

/* A number that is bad behind good ones: the good ones count. */
TEST(numbers_before_one_that_is_refused_are_set)
{
	struct written t[] = {
		{ "32000 2147483648 500 32000", NULL, EINVAL },
		{ "12 x", NULL, EINVAL },
	};
	for (int i = 0; i < 2; i++) {
		int err = try_limit("sem", t[i].value);
		CHECK(err == EINVAL || (under_shim() && err == 0));
	}
	CHECK_STR(slurp(LIMITS), "12\t1024000000\t500\t32000\n");
}

TEST(limits_below_zero_do_what_the_kernel_makes_of_them)
{
	int id = new_set(1);
	set_limit("sem", "-1 100 10 10");
	TEST_ERRNO(semget(IPC_PRIVATE, 1, 0600), EINVAL);
	TEST_ERRNO(semget(IPC_PRIVATE, 0, 0600), EINVAL);
	set_limit("sem", "32000 -1 10 10");
	TEST_ERRNO(semget(IPC_PRIVATE, 1, 0600), ENOSPC);
	set_limit("sem", "32000 100 -1 10");
	TEST_SUCC(DO_OPS(id, OP(0, 1, 0)));
	struct sembuf ops[600];
	memset(ops, 0, sizeof ops);
	for (int i = 0; i < 600; i++)
		ops[i].sem_op = 1;
	TEST_SUCC(semop(id, ops, 600));
	CHECK_EQ(value_of(id, 0), 601);
	set_limit("sem", "32000 100 0 10");
	TEST_ERRNO(DO_OPS(id, OP(0, 1, 0)), E2BIG);
	set_limit("sem", "32000 100 10 0");
	TEST_ERRNO(semget(IPC_PRIVATE, 1, 0600), ENOSPC);
}

TEST(every_process_of_the_namespace_sees_the_new_limits)
{
	struct gate set = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		gate_wait(&set);
		CHECK_STR(slurp(LIMITS), "5\t6\t7\t8\n");
		TEST_ERRNO(semget(IPC_PRIVATE, 6, 0600), EINVAL);
		_exit(0);
	}
	set_limit("sem", "5 6 7 8");
	gate_open(&set);
	REAP(pid);
}

TEST_SEVERAL_UIDS(others_than_root_only_read_the_limits)
{
	IN_CHILD {
		drop_to(54001, 54001);
		CHECK_STR(slurp(LIMITS), AT_FIRST);
		int err = try_limit("sem", "1 1 1 1");
		CHECK(err == EACCES || (under_shim() && err == 0));
		CHECK_STR(slurp(LIMITS), AT_FIRST);
	}
	CHECK_STR(slurp(LIMITS), AT_FIRST);
}
