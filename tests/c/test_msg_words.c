/*
 * The width of words: types, sizes and limits beside 2^31 and 2^32, and the layouts of the structures.
 */
#include "msgtest.h"

static struct message m = { .mtype = 1 };

TEST(the_structures_have_the_layouts_of_the_kernel)
{
	struct msqid_ds d;
	struct msginfo i;
	CHECK_EQ(sizeof i, 32);
	CHECK_EQ(sizeof d.msg_qbytes, sizeof(long));
#if __SIZEOF_LONG__ == 8
	CHECK_EQ(sizeof d, 120);
	CHECK_EQ(offsetof(struct msqid_ds, msg_stime), 48);
	CHECK_EQ(offsetof(struct msqid_ds, msg_ctime), 64);
	CHECK_EQ(offsetof(struct msqid_ds, msg_qnum), 80);
	CHECK_EQ(offsetof(struct msqid_ds, msg_qbytes), 88);
	CHECK_EQ(offsetof(struct msqid_ds, msg_lspid), 96);
	CHECK_EQ(offsetof(struct msqid_ds, msg_lrpid), 100);
#elif defined __GLIBC__
	CHECK_EQ(sizeof d, 88);
	CHECK_EQ(offsetof(struct msqid_ds, msg_stime), 36);
	CHECK_EQ(offsetof(struct msqid_ds, msg_rtime), 44);
	CHECK_EQ(offsetof(struct msqid_ds, msg_ctime), 52);
	CHECK_EQ(offsetof(struct msqid_ds, msg_qnum), 64);
	CHECK_EQ(offsetof(struct msqid_ds, msg_qbytes), 68);
	CHECK_EQ(offsetof(struct msqid_ds, msg_lspid), 72);
	CHECK_EQ(offsetof(struct msqid_ds, msg_lrpid), 76);
#endif
}

TEST(every_field_of_a_queue_comes_in_its_place)
{
	need_root();
	int id = MUST(msgget(0x55aa, IPC_CREAT | 0640));
	struct msqid_ds d = queue_stat(id);
	d.msg_perm.uid = 0x11223344;
	d.msg_perm.gid = 0x22334455;
	d.msg_qbytes = 12345;
	MUST(msgctl(id, IPC_SET, &d));
	time_t before = time(NULL);
	MUST(msgsnd(id, &m, 1234, 0));
	MUST(msgsnd(id, &m, 17, 0));
	MUST(msgrcv(id, &m, 17, 0, MSG_NOERROR));
	memset(&d, 0xff, sizeof d);
	d = queue_stat(id);
	CHECK_EQ(d.msg_perm.__key, 0x55aa);
	CHECK_EQ(d.msg_perm.uid, 0x11223344);
	CHECK_EQ(d.msg_perm.gid, 0x22334455);
	CHECK_EQ(d.msg_perm.cuid, 0);
	CHECK_EQ(d.msg_perm.cgid, 0);
	CHECK_EQ(d.msg_perm.mode, 0640);
	CHECK_WITHIN(d.msg_stime, before, time(NULL));
	CHECK_WITHIN(d.msg_rtime, before, time(NULL));
	CHECK_WITHIN(d.msg_ctime, before - 600, time(NULL));
	CHECK_EQ(d.__msg_cbytes, 17);
	CHECK_EQ(d.msg_qnum, 1);
	CHECK_EQ(d.msg_qbytes, 12345);
	CHECK_EQ(d.msg_lspid, getpid());
	CHECK_EQ(d.msg_lrpid, getpid());
}

TEST(types_beside_the_edges_of_words_are_told_apart)
{
	static const long types[] = {
		1, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7ffffffe, 0x7fffffff,
		WIDE_ONLY(0x80000000l, 0xffffffffl, 0x100000000l, 0x100000001l, LONG_MAX - 1, LONG_MAX)
	};
	enum { TYPES = sizeof types / sizeof *types };
	char expected[64];
	int id = new_queue();
	for (int i = TYPES - 1; i >= 0; i--)
		MUST(send_text(id, types[i], "x"));
	for (int i = 0; i < TYPES; i++) {
		snprintf(expected, sizeof expected, "%ld x", types[i]);
		CHECK_STR(got(id, -types[i], 0), expected);
		CHECK_STR(got(id, types[i], 0), "ENOMSG");
	}
	CHECK_EMPTY(id);
	for (int i = TYPES - 1; i >= 0; i--)
		MUST(send_text(id, types[i], "y"));
	for (int i = 0; i < TYPES; i++) {
		snprintf(expected, sizeof expected, "%ld y", types[i]);
		CHECK_STR(got(id, types[i], 0), expected);
	}
}

TEST(a_sleeper_is_handed_the_whole_type)
{
	char expected[64];
	int id = new_queue();
	RECEIVER(1, id, LONG_MAX);
	RECEIVER(2, id, LONG_MIN);
	MUST(send_text(id, LONG_MAX - 1, "a"));
	snprintf(expected, sizeof expected, "%ld a", LONG_MAX - 1);
	CHECK_RESULT(2, expected);
	MUST(send_text(id, LONG_MAX, "b"));
	snprintf(expected, sizeof expected, "%ld b", LONG_MAX);
	CHECK_RESULT(1, expected);
}

TEST(sizes_are_whole_words)
{
	int id = new_queue();
	static const size_t too_large[] = {
		MSGMAX + 1, 0x7fffffff, 0x80000000, 0xffffffff,
		WIDE_ONLY(0x100000000ul, 0x100000001ul, 0x7ffffffffffffffful, 0x8000000000000000ul)
	};
	for (size_t i = 0; i < sizeof too_large / sizeof *too_large; i++)
		TEST_ERRNO(msgsnd(id, &m, too_large[i], IPC_NOWAIT), EINVAL);
	static const size_t large_enough[] = {
		5, 0x7fffffff, WIDE_ONLY(0x80000000ul, 0xfffffffful, 0x100000000ul, 0x100000004ul, LONG_MAX)
	};
	for (size_t i = 0; i < sizeof large_enough / sizeof *large_enough; i++) {
		MUST(send_text(id, 1, "hello"));
		TEST_RES(msgrcv(id, &m, large_enough[i], 0, IPC_NOWAIT), _ret == 5);
	}
	TEST_ERRNO(msgrcv(id, &m, (size_t)LONG_MAX + 1, 0, IPC_NOWAIT), EINVAL);
	CHECK_HELD(id, "0/0");
}

TEST(a_sleeper_has_all_the_room_that_it_says)
{
	int id = new_queue();
	RECEIVER_WITH(1, id, LONG_MAX, 0, 0);
	MUST(send_text(id, 1, "hello"));
	CHECK_RESULT(1, "1 hello");
	WIDE_ONLY(RECEIVER_WITH(2, id, 0x100000000ul, 0, 0); MUST(send_text(id, 1, "world")); CHECK_RESULT(2, "1 world");)
}

TEST(the_bytes_of_a_queue_are_cut_to_32_bits)
{
	int id = new_queue();
	WIDE_ONLY(MUST(set_qbytes(id, 0x100000005ul)); CHECK_EQ(queue_stat(id).msg_qbytes, 5);
		  MUST(set_qbytes(id, 0x100000000ul)); CHECK_EQ(queue_stat(id).msg_qbytes, 0);)
	drop_cap(CAP_SYS_RESOURCE);
	TEST_ERRNO(set_qbytes(id, 0xfffffffful), EPERM);
	TEST_ERRNO(set_qbytes(id, (unsigned long)-1), EPERM);
	MUST(set_qbytes(id, 7));
	CHECK_EQ(queue_stat(id).msg_qbytes, 7);
}
