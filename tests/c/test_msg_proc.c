/*
 * /proc/sysvipc/msg and /proc/sys/kernel/{msgmax,msgmnb,msgmni}: the kernel's format to the byte, for everyone.
 */
#include "msgtest.h"
#include "slurp.h"

#define LIST "/proc/sysvipc/msg"
#define HEADER                                                                                     \
	"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid  "  \
	"    stime      rtime      ctime\n"

/* The line of a queue, by what msgctl says about it. */
static char *line_of(char *out, int id)
{
	struct msqid_ds d;
	MUST(msgctl(index_of(id), MSG_STAT_ANY, &d));
	return out + sprintf(out, "%10d %10d  %4o  %10lu %10lu %5u %5u %5u %5u %5u %5u %10llu %10llu %10llu\n",
			     d.msg_perm.__key, id, d.msg_perm.mode, (unsigned long)d.__msg_cbytes,
			     (unsigned long)d.msg_qnum, (unsigned)d.msg_lspid, (unsigned)d.msg_lrpid, d.msg_perm.uid,
			     d.msg_perm.gid, d.msg_perm.cuid, d.msg_perm.cgid, (unsigned long long)d.msg_stime,
			     (unsigned long long)d.msg_rtime, (unsigned long long)d.msg_ctime);
}

/* ------------------------------------------------------------- the list */

TEST(an_empty_namespace_has_the_header_alone)
{
	CHECK_STR(slurp(LIST), HEADER);
}

TEST(each_queue_has_its_line_in_the_format_of_the_kernel)
{
	char expected[4096], *end = stpcpy(expected, HEADER);
	int id[5];
	id[0] = MUST(msgget(0x162e, IPC_CREAT | 0600));
	id[1] = MUST(msgget(-1, IPC_CREAT | 0777));
	id[2] = MUST(msgget((key_t)0x80000000, IPC_CREAT | 0004));
	id[3] = new_queue();
	id[4] = MUST(msgget(77, IPC_CREAT | 0));
	MUST(send_text(id[0], 1, "abc"));
	MUST(send_text(id[0], 1, ""));
	MUST(send_bytes(id[3], MSGMAX));
	MUST(send_bytes(id[3], MSGMAX));
	MUST(send_text(id[1], 1, "abc"));
	CHECK_STR(got(id[1], 0, 0), "1 abc");
	for (int i = 0; i < 5; i++)
		end = line_of(end, id[i]);
	CHECK_STR(slurp(LIST), expected);
	/* A removed one is gone, and the others stay in the order of their indices. */
	MUST(remove_queue(id[1]));
	MUST(remove_queue(id[4]));
	end = stpcpy(expected, HEADER);
	end = line_of(end, id[0]);
	end = line_of(end, id[2]);
	line_of(end, id[3]);
	CHECK_STR(slurp(LIST), expected);
}

TEST_SEVERAL_UIDS(an_owner_wider_than_his_column_and_every_user_sees_all)
{
	char expected[4096], *end = stpcpy(expected, HEADER);
	int id = MUST(msgget(0x162e, IPC_CREAT | 0)), other = new_queue();
	struct msqid_ds d;
	MUST(msgctl(index_of(id), MSG_STAT_ANY, &d));
	d.msg_perm.uid = 4000000000u;
	d.msg_perm.gid = 70000;
	MUST(msgctl(id, IPC_SET, &d));
	end = line_of(end, id);
	line_of(end, other);
	CHECK_STR(slurp(LIST), expected);
	IN_CHILD {
		struct stat st;
		drop_to(54001, 54001);
		CHECK_STR(slurp(LIST), expected);
		if (stat(LIST, &st) == 0)
			CHECK_EQ(st.st_mode & 0777, 0444);
		else
			CHECK(under_shim());
	}
}

TEST(a_message_that_was_handed_over_shows_in_the_stamps_alone)
{
	char expected[1024];
	int id = new_queue();
	RECEIVER(1, id, 0);
	MUST(send_text(id, 1, "abc"));
	line_of(stpcpy(expected, HEADER), id);
	CHECK_STR(slurp(LIST), expected);
	CHECK_RESULT(1, "1 abc");
}

TEST(many_queues_are_read_in_pieces_of_any_size)
{
	static char pieces[1 << 20];
	for (int i = 0; i < 300; i++)
		new_queue();
	slurp(LIST);
	CHECK_EQ(strlen(text), 301 * strlen(HEADER));
	int fd = MUST(open(LIST, O_RDONLY | O_CLOEXEC));
	size_t len = 0, size = 1;
	for (ssize_t n; (n = MUST(read(fd, pieces + len, size))) > 0; size = size % 700 + 37)
		len += (size_t)n;
	close(fd);
	pieces[len] = 0;
	CHECK(!strcmp(pieces, text));
}

/* --------------------------------------------------------------- limits */

static const char *const names[] = { "msgmax", "msgmnb", "msgmni" };
enum { NAMES = 3 };

static const char *text_of(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
	return slurp(path);
}

TEST(a_new_namespace_has_the_defaults)
{
	CHECK_STR(text_of("msgmax"), "8192\n");
	CHECK_STR(text_of("msgmnb"), "16384\n");
	CHECK_STR(text_of("msgmni"), "32000\n");
	for (int i = 0; i < NAMES; i++) {
		struct stat st;
		char path[128];
		snprintf(path, sizeof path, "/proc/sys/kernel/%s", names[i]);
		if (under_shim() && stat(path, &st) < 0 && errno == ENOENT)
			continue; /* a kernel without System V: only opening finds the file */
		MUST(stat(path, &st));
		CHECK_EQ(st.st_mode & 07777, 0644);
	}
}

TEST(what_is_written_is_read_back)
{
	struct { const char *value, *text; } t[] = {
		{ "0", "0\n" },	       { "-0", "0\n" },	      { "1\n", "1\n" },	   { " \t77 12", "77\n" },
		{ "0x10", "16\n" },    { "010", "8\n" },      { "32768", "32768\n" }, { "", "32768\n" },
	};
	for (int n = 0; n < NAMES; n++)
		for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
			set_limit(names[n], t[i].value);
			CHECK_STR(text_of(names[n]), t[i].text);
		}
	for (int n = 0; n < 2; n++) {
		set_limit(names[n], "2147483647");
		CHECK_STR(text_of(names[n]), "2147483647\n");
	}
}

TEST(what_is_no_number_or_out_of_range_changes_nothing)
{
	const char *bad_values[] = { "x", "-1", "1x", "-", "\n", "2147483648", "4294967296", "18446744073709551616" };
	for (int n = 0; n < NAMES; n++) {
		set_limit(names[n], "7");
		for (size_t i = 0; i < sizeof bad_values / sizeof *bad_values; i++) {
			CHECK_EQ(try_limit(names[n], bad_values[i]), EINVAL);
			CHECK_STR(text_of(names[n]), "7\n");
		}
	}
	CHECK_EQ(try_limit("msgmni", "32769"), EINVAL);
	CHECK_STR(text_of("msgmni"), "7\n");
}

TEST_SEVERAL_UIDS(others_read_the_limits_and_may_not_write_them)
{
	set_limit("msgmax", "100");
	IN_CHILD {
		drop_to(54001, 54001);
		CHECK_STR(text_of("msgmax"), "100\n");
		int err = try_limit("msgmax", "5");
		CHECK(err == EACCES || err == EPERM);
		CHECK_STR(text_of("msgmax"), "100\n");
	}
}

TEST(the_limits_of_queues_and_segments_are_apart)
{
	set_limit("msgmni", "5");
	set_limit("shmmni", "6");
	CHECK_STR(text_of("msgmni"), "5\n");
	CHECK_STR(text_of("shmmni"), "6\n");
	CHECK_STR(text_of("msgmnb"), "16384\n");
}
