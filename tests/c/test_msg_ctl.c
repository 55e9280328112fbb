/*
 * msgctl: which error wins for each command, what IPC_SET sets, what the INFO commands tell.
 */
#include "msgtest.h"
#include <sys/uio.h>

/* How much of its structure msgctl writes. glibc copies each field where a word has 32 bits, and not what is reserved behind. */
#if __SIZEOF_LONG__ == 8
#define STATE_OF_QUEUE sizeof(struct msqid_ds)
#else
#define STATE_OF_QUEUE (offsetof(struct msqid_ds, msg_lrpid) + sizeof(pid_t))
#endif

static const int commands[] = { IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO, MSG_STAT, MSG_INFO, MSG_STAT_ANY };
enum { COMMANDS = sizeof commands / sizeof *commands };

static void expect(const char *what, int id, int cmd, void *buf, int err)
{
	struct msgctl_case t[] = { { what, id, cmd, buf, err } };
	MSGCTL_CASES(t);
}

/* -------------------------------------------------------- order of errors */

TEST(a_negative_or_unknown_command_is_einval_before_anything_else)
{
	struct msqid_ds d;
	int id = new_queue(), unknown[] = { -1, (int)0x80000000, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 0x7fffffff,
#ifndef __i386__ /* there the kernel takes 0x100 for a mark of the structure's form */
					    0x100, 0x102, 0x10b,
#endif
	};
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		expect("a good buffer", id, unknown[i], &d, EINVAL);
		expect("no buffer", id, unknown[i], NULL, EINVAL);
		expect("an unknown id", id + 1, unknown[i], &d, EINVAL);
	}
	CHECK(queue_exists(id));
}

TEST(a_negative_id_is_einval_for_every_command)
{
	char buf[256];
	new_queue();
	for (int i = 0; i < COMMANDS; i++) {
		expect("a good buffer", -1, commands[i], buf, EINVAL);
		expect("a good buffer", (int)0x80000000, commands[i], buf, EINVAL);
		if (commands[i] != IPC_SET || bad_buffers_get_an_errno())
			expect("no buffer", -1, commands[i], NULL, EINVAL);
	}
}

TEST(reading_the_state_asks_for_the_id_then_for_rights_then_for_the_buffer)
{
	need_errno_for_bad_structures();
	int id = MUST(msgget(IPC_PRIVATE, 0000)), mine = new_queue();
	struct msqid_ds d;
	set_caps(0);
	make_bad_pointers(STATE_OF_QUEUE);
	for (int i = 0; i < BAD_POINTERS; i++) {
		expect(bad[i].what, mine + 1, IPC_STAT, bad[i].p, EINVAL);
		expect(bad[i].what, mine + SEQ, IPC_STAT, bad[i].p, EINVAL);
		expect(bad[i].what, index_of(mine) + 1, MSG_STAT, bad[i].p, EINVAL);
		expect(bad[i].what, index_of(mine) + 1, MSG_STAT_ANY, bad[i].p, EINVAL);
		expect(bad[i].what, id, IPC_STAT, bad[i].p, EACCES);
		expect(bad[i].what, index_of(id), MSG_STAT, bad[i].p, EACCES);
		expect(bad[i].what, index_of(id), MSG_STAT_ANY, bad[i].p, EFAULT);
		expect(bad[i].what, mine, IPC_STAT, bad[i].p, EFAULT);
		expect(bad[i].what, index_of(mine), MSG_STAT, bad[i].p, EFAULT);
		expect(bad[i].what, index_of(mine), MSG_STAT_ANY, bad[i].p, EFAULT);
	}
	TEST_RES(msgctl(index_of(id), MSG_STAT_ANY, &d), _ret == id);
	TEST_ERRNO(msgctl(id, IPC_STAT, &d), EACCES);
}

TEST(ipc_set_asks_for_the_buffer_before_all_else)
{
	need_errno_for_bad_structures();
	int id = new_queue();
	struct msqid_ds before = queue_stat(id), after;
	next_second();
	make_bad_pointers(STATE_OF_QUEUE);
	for (int i = 0; i < BAD_POINTERS; i++) {
		if (bad[i].readable)
			continue;
		expect(bad[i].what, id, IPC_SET, bad[i].p, EFAULT);
		expect(bad[i].what, id + 1, IPC_SET, bad[i].p, EFAULT);
	}
	TEST_ERRNO(msgctl(id + 1, IPC_SET, &before), EINVAL);
	after = queue_stat(id);
	CHECK_SAME_QUEUE(before, after);
}

TEST(the_info_commands_ask_for_the_buffer_alone)
{
	need_errno_for_bad_structures();
	struct msginfo info;
	make_bad_pointers(sizeof info);
	for (int i = 0; i < BAD_POINTERS; i++) {
		expect(bad[i].what, 0, IPC_INFO, bad[i].p, EFAULT);
		expect(bad[i].what, 77777, MSG_INFO, bad[i].p, EFAULT);
	}
	expect("an id that names nothing", 77777, IPC_INFO, &info, 0);
	expect("an id that names nothing", 77777, MSG_INFO, &info, 0);
}

TEST(removal_asks_for_the_id_then_for_the_owner_and_never_for_the_buffer)
{
	int id = new_queue(), other = new_queue();
	expect("an unknown id", other + 1, IPC_RMID, NULL, EINVAL);
	expect("another sequence number", id + SEQ, IPC_RMID, NULL, EINVAL);
	/* glibc copies the structure where a word has 32 bits, for this command, too. */
	expect("a bad buffer", id, IPC_RMID, bad_buffers_get_an_errno() ? UNMAPPED : NULL, 0);
	expect("no buffer", other, IPC_RMID, NULL, 0);
	expect("removed", id, IPC_RMID, NULL, EINVAL);
}

TEST_SEVERAL_UIDS(a_stranger_may_not_set_whatever_he_would_set)
{
	int id = MUST(msgget(IPC_PRIVATE, 0666));
	struct msqid_ds d = queue_stat(id), nobody = d, large = d, after;
	nobody.msg_perm.uid = (uid_t)-1;
	large.msg_qbytes = MSGMNB + 1;
	IN_CHILD {
		drop_to(54001, 54001);
		expect("what is set already", id, IPC_SET, &d, EPERM);
		expect("nobody", id, IPC_SET, &nobody, EPERM);
		expect("many bytes", id, IPC_SET, &large, EPERM);
		expect("an unknown id", id + 1, IPC_SET, &large, EINVAL);
		expect("removal", id, IPC_RMID, NULL, EPERM);
	}
	after = queue_stat(id);
	CHECK_SAME_QUEUE(d, after);
}

/* --------------------------------------------------------------- IPC_SET */

TEST(ipc_set_takes_owner_group_mode_and_bytes_and_nothing_else)
{
	need_root();
	int id = MUST(msgget(0x162e, IPC_CREAT | 0600));
	MUST(send_text(id, 1, "abc"));
	struct msqid_ds before = queue_stat(id), d, after, expected = before;
	memset(&d, 0x55, sizeof d);
	d.msg_perm.uid = 54001;
	d.msg_perm.gid = 54002;
	d.msg_perm.mode = (unsigned short)~0710;
	d.msg_qbytes = 77;
	time_t from = next_second();
	MUST(msgctl(id, IPC_SET, &d));
	after = queue_stat(id);
	CHECK_WITHIN(after.msg_ctime, from, time(NULL));
	expected.msg_perm.uid = 54001;
	expected.msg_perm.gid = 54002;
	expected.msg_perm.mode = 0067;
	expected.msg_qbytes = 77;
	expected.msg_ctime = after.msg_ctime;
	CHECK_SAME_QUEUE(expected, after);
}

TEST(nobodys_ids_are_refused_and_nothing_is_set)
{
	int id = new_queue();
	struct msqid_ds before = queue_stat(id), no_uid = before, no_gid = before, after;
	no_uid.msg_perm.uid = (uid_t)-1;
	no_uid.msg_perm.mode = 0644;
	no_uid.msg_qbytes = 5;
	no_gid.msg_perm.gid = (gid_t)-1;
	next_second();
	expect("uid -1", id, IPC_SET, &no_uid, EINVAL);
	expect("gid -1", id, IPC_SET, &no_gid, EINVAL);
	after = queue_stat(id);
	CHECK_SAME_QUEUE(before, after);
}

TEST(more_bytes_than_msgmnb_take_a_privilege)
{
	int id = new_queue();
	struct msqid_ds d = queue_stat(id), nobody = d;
	nobody.msg_perm.uid = (uid_t)-1;
	nobody.msg_qbytes = MSGMNB + 1;
	drop_cap(CAP_SYS_RESOURCE);
	TEST_ERRNO(set_qbytes(id, MSGMNB + 1), EPERM);
	TEST_ERRNO(set_qbytes(id, 0x7fffffff), EPERM);
	TEST_ERRNO(set_qbytes(id, 0x80000000ul), EPERM);
	TEST_ERRNO(set_qbytes(id, 0xfffffffful), EPERM);
	expect("nobody and too many bytes", id, IPC_SET, &nobody, EPERM);
	TEST_SUCC(set_qbytes(id, MSGMNB));
	TEST_SUCC(set_qbytes(id, 5));
	TEST_SUCC(set_qbytes(id, 0));
	TEST_SUCC(set_qbytes(id, 5));
	CHECK_EQ(queue_stat(id).msg_qbytes, 5);
	/* The limit is that of the moment. */
	set_limit("msgmnb", "4");
	TEST_ERRNO(set_qbytes(id, 5), EPERM);
	TEST_SUCC(set_qbytes(id, 4));
}

TEST(with_the_privilege_a_queue_may_hold_more)
{
	if (!(caps_held() & CAP_BIT(CAP_SYS_RESOURCE)))
		SKIP("CAP_SYS_RESOURCE is not to be had");
	int id = new_queue();
	TEST_SUCC(set_qbytes(id, MSGMNB + 1));
	CHECK_EQ(queue_stat(id).msg_qbytes, MSGMNB + 1);
	for (int i = 0; i < 2; i++)
		TEST_SUCC(send_bytes(id, MSGMAX));
	TEST_SUCC(send_bytes(id, 1));
	TEST_ERRNO(send_bytes(id, 1), EAGAIN);
}

TEST(fewer_bytes_than_there_are_leave_what_is_queued)
{
	int id = new_queue();
	MUST(send_text(id, 1, "0123456789"));
	MUST(send_text(id, 1, "abc"));
	MUST(set_qbytes(id, 3));
	CHECK_HELD(id, "2/13");
	TEST_ERRNO(send_text(id, 1, ""), EAGAIN);
	CHECK_STR(got(id, 0, 0), "1 0123456789");
	TEST_ERRNO(send_text(id, 1, "x"), EAGAIN);
	TEST_SUCC(send_text(id, 1, ""));
	CHECK_STR(got(id, 0, 0), "1 abc");
	TEST_SUCC(send_text(id, 1, "xyz"));
}

TEST(removal_drops_the_messages)
{
	int id = MUST(msgget(0x162e, IPC_CREAT | 0600));
	struct msginfo info;
	for (int i = 0; i < 20; i++)
		MUST(send_text(id, 1, "0123456789"));
	MUST(msgctl(0, MSG_INFO, (struct msqid_ds *)&info));
	CHECK_EQ(info.msgmap, 20);
	MUST(remove_queue(id));
	MUST(msgctl(0, MSG_INFO, (struct msqid_ds *)&info));
	CHECK_EQ(info.msgpool, 0);
	CHECK_EQ(info.msgmap, 0);
	CHECK_EQ(info.msgtql, 0);
	/* Room comes back, however often. */
	for (int round = 0; round < 300; round++) {
		id = new_queue();
		MUST(send_bytes(id, MSGMAX));
		MUST(send_bytes(id, MSGMAX));
		MUST(remove_queue(id));
	}
	TEST_SUCC(msgget(0x162e, IPC_CREAT | IPC_EXCL | 0600));
}

/* ------------------------------------------------------ STAT and INFO */

TEST(stat_by_id_and_by_index_tell_the_same)
{
	new_queue();
	int id = MUST(msgget(0x162e, IPC_CREAT | 0640));
	MUST(send_text(id, 1, "abc"));
	CHECK_STR(got(id, 0, 0), "1 abc");
	MUST(send_text(id, 1, "defgh"));
	struct msqid_ds by_id, by_index, any;
	memset(&by_id, 0x55, sizeof by_id);
	TEST_RES(msgctl(id, IPC_STAT, &by_id), _ret == 0);
	TEST_RES(msgctl(index_of(id), MSG_STAT, &by_index), _ret == id);
	TEST_RES(msgctl(index_of(id), MSG_STAT_ANY, &any), _ret == id);
	CHECK_SAME_QUEUE(by_id, by_index);
	CHECK_SAME_QUEUE(by_id, any);
	CHECK_EQ(by_id.msg_perm.__key, 0x162e);
	CHECK_EQ(by_id.msg_perm.mode, 0640);
	CHECK_EQ(by_id.msg_perm.__seq, id / SEQ);
	CHECK_EQ(by_id.msg_qnum, 1);
	CHECK_EQ(by_id.__msg_cbytes, 5);
	CHECK_EQ(by_id.msg_qbytes, MSGMNB);
	CHECK_EQ(by_id.msg_lspid, getpid());
	CHECK_EQ(by_id.msg_lrpid, getpid());
	/* An index is what is left of an id, its sequence number does not matter. */
	TEST_RES(msgctl(id, MSG_STAT, &by_index), _ret == id);
	TEST_ERRNO(msgctl(index_of(id) + 1, MSG_STAT, &by_index), EINVAL);
	TEST_ERRNO(msgctl(index_of(id) + 1, MSG_STAT_ANY, &by_index), EINVAL);
	TEST_ERRNO(msgctl(32767, MSG_STAT, &by_index), EINVAL);
}

TEST(stat_writes_its_structure_and_nothing_behind_it)
{
	int id = new_queue();
	struct { struct msqid_ds d; char behind[64]; } s;
	memset(&s, 0x55, sizeof s);
	MUST(msgctl(id, IPC_STAT, &s.d));
	for (size_t i = 0; i < sizeof s.behind; i++)
		REQUIRE(s.behind[i] == 0x55);
#if __SIZEOF_LONG__ == 8
	/* What is reserved is zeroed. */
	for (char *p = (char *)&s.d.msg_lrpid + sizeof s.d.msg_lrpid; p < s.behind; p++)
		REQUIRE(*p == 0);
#endif
}

TEST(ipc_info_tells_the_limits)
{
	struct { struct msginfo i; char behind[32]; } s;
	memset(&s, 0x55, sizeof s);
	TEST_RES(msgctl(0, IPC_INFO, (struct msqid_ds *)&s.i), _ret == 0);
	CHECK_EQ(s.i.msgpool, 512000);
	CHECK_EQ(s.i.msgmap, 16384);
	CHECK_EQ(s.i.msgmax, MSGMAX);
	CHECK_EQ(s.i.msgmnb, MSGMNB);
	CHECK_EQ(s.i.msgmni, MSGMNI);
	CHECK_EQ(s.i.msgssz, 16);
	CHECK_EQ(s.i.msgtql, 16384);
	CHECK_EQ(s.i.msgseg, 65535);
	for (size_t i = 0; i < sizeof s.behind; i++)
		REQUIRE(s.behind[i] == 0x55);
	set_limit("msgmax", "11");
	set_limit("msgmnb", "22");
	set_limit("msgmni", "33");
	MUST(msgctl(0, IPC_INFO, (struct msqid_ds *)&s.i));
	CHECK_EQ(s.i.msgmax, 11);
	CHECK_EQ(s.i.msgmnb, 22);
	CHECK_EQ(s.i.msgmni, 33);
}

TEST(msg_info_tells_what_is_used)
{
	struct msginfo i;
	int a = new_queue(), b = new_queue(), c = new_queue();
	MUST(send_text(a, 1, "abc"));
	MUST(send_text(a, 1, ""));
	MUST(send_text(c, 1, "defgh"));
	TEST_RES(msgctl(0, MSG_INFO, (struct msqid_ds *)&i), _ret == index_of(c));
	CHECK_EQ(i.msgpool, 3);
	CHECK_EQ(i.msgmap, 3);
	CHECK_EQ(i.msgtql, 8);
	CHECK_EQ(i.msgmax, MSGMAX);
	CHECK_EQ(i.msgmnb, MSGMNB);
	CHECK_EQ(i.msgmni, MSGMNI);
	CHECK_EQ(i.msgssz, 16);
	CHECK_EQ(i.msgseg, 65535);
	CHECK_STR(got(a, 0, 0), "1 abc");
	MUST(remove_queue(b));
	TEST_RES(msgctl(0, MSG_INFO, (struct msqid_ds *)&i), _ret == index_of(c));
	CHECK_EQ(i.msgpool, 2);
	CHECK_EQ(i.msgmap, 2);
	CHECK_EQ(i.msgtql, 5);
	MUST(remove_queue(c));
	TEST_RES(msgctl(0, MSG_INFO, (struct msqid_ds *)&i), _ret == index_of(a));
	TEST_RES(msgctl(0, IPC_INFO, (struct msqid_ds *)&i), _ret == index_of(a));
}

TEST(everybody_is_told_by_the_info_commands)
{
	struct msginfo i;
	int id = MUST(msgget(IPC_PRIVATE, 0));
	MUST(send_text(id, 1, "abc"));
	set_caps(0);
	TEST_SUCC(msgctl(0, IPC_INFO, (struct msqid_ds *)&i));
	TEST_SUCC(msgctl(0, MSG_INFO, (struct msqid_ds *)&i));
	CHECK_EQ(i.msgmap, 1);
}
