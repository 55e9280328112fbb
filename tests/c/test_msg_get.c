/*
 * msgget: what wins, what a new queue is, ids, and the limit of queues.
 */
#include "msgtest.h"

enum { KEY = 0x162e };

TEST(of_an_existing_key_exclusion_wins_over_rights)
{
	MUST(msgget(KEY, IPC_CREAT | 0600));
	drop_cap(CAP_IPC_OWNER);
	struct msgget_case t[] = {
		{ "exclusive", KEY, IPC_CREAT | IPC_EXCL, EEXIST },
		{ "exclusive, and rights that it does not grant", KEY, IPC_CREAT | IPC_EXCL | 0777, EEXIST },
		{ "rights that it does not grant", KEY, 0777, EACCES },
		{ "the execute bit counts", KEY, 0100, EACCES },
		{ "each class asks the same", KEY, 0001, EACCES },
		{ "reading by the bit of others", KEY, 0004, 0 },
		{ "both", KEY, 0600, 0 },
		{ "IPC_CREAT opens", KEY, IPC_CREAT | 0600, 0 },
		{ "IPC_EXCL alone means nothing", KEY, IPC_EXCL | 0600, 0 },
		{ "unknown flags mean nothing", KEY, 0x7fff0000 | 0174000, 0 },
		{ "nothing asked", KEY, 0, 0 },
	};
	MSGGET_CASES(t);
}

TEST(an_unknown_key_needs_ipc_creat)
{
	struct msgget_case t[] = {
		{ "no flag", KEY, 0, ENOENT },
		{ "rights", KEY, 0777, ENOENT },
		{ "IPC_EXCL", KEY, IPC_EXCL | 0600, ENOENT },
		{ "a negative one", -1, 0600, ENOENT },
		{ "creation", KEY, IPC_CREAT | IPC_EXCL | 0600, 0 },
		{ "creation of a negative one", -1, IPC_CREAT | 0600, 0 },
		{ "creation of the smallest", (key_t)0x80000000, IPC_CREAT | 0600, 0 },
		{ "now it is there", -1, 0600, 0 },
		{ "a private one needs nothing", IPC_PRIVATE, 0, 0 },
		{ "a private one never exists", IPC_PRIVATE, IPC_CREAT | IPC_EXCL, 0 },
	};
	MSGGET_CASES(t);
}

TEST(a_key_is_one_queue_and_ipc_private_always_another)
{
	int id = MUST(msgget(KEY, IPC_CREAT | 0600));
	CHECK_EQ(msgget(KEY, IPC_CREAT | 0600), id);
	CHECK_EQ(msgget(KEY, 0), id);
	int other = MUST(msgget(KEY + 1, IPC_CREAT | 0600)), private = new_queue(), another = new_queue();
	CHECK(id != other && other != private && private != another && another != id);
	CHECK_EQ(queue_stat(id).msg_perm.__key, KEY);
	CHECK_EQ(queue_stat(private).msg_perm.__key, 0);
}

TEST(a_new_queue_is_empty_and_unused)
{
	umask(077);
	time_t before = time(NULL);
	int id = MUST(msgget(KEY, IPC_CREAT | 0642));
	time_t after = time(NULL);
	struct msqid_ds d = queue_stat(id);
	CHECK_EQ(d.msg_perm.__key, KEY);
	CHECK_EQ(d.msg_perm.mode, 0642);
	CHECK_EQ(d.msg_perm.uid, geteuid());
	CHECK_EQ(d.msg_perm.cuid, geteuid());
	CHECK_EQ(d.msg_perm.gid, getegid());
	CHECK_EQ(d.msg_perm.cgid, getegid());
	CHECK_EQ(d.msg_stime, 0);
	CHECK_EQ(d.msg_rtime, 0);
	CHECK_WITHIN(d.msg_ctime, before, after);
	CHECK_EQ(d.__msg_cbytes, 0);
	CHECK_EQ(d.msg_qnum, 0);
	CHECK_EQ(d.msg_qbytes, MSGMNB);
	CHECK_EQ(d.msg_lspid, 0);
	CHECK_EQ(d.msg_lrpid, 0);
}

TEST(opening_changes_nothing)
{
	int id = MUST(msgget(KEY, IPC_CREAT | 0600));
	MUST(send_text(id, 1, "x"));
	struct msqid_ds before = queue_stat(id);
	next_second();
	MUST(msgget(KEY, IPC_CREAT | 0666));
	struct msqid_ds after = queue_stat(id);
	CHECK_SAME_QUEUE(before, after);
}

TEST(queues_and_segments_have_keys_and_ids_of_their_own)
{
	int segment = MUST(shmget(KEY, 1, IPC_CREAT | 0600));
	TEST_ERRNO(msgget(KEY, 0), ENOENT);
	int id = MUST(msgget(KEY, IPC_CREAT | IPC_EXCL | 0600));
	CHECK_EQ(index_of(id), 0);
	CHECK_EQ(index_of(segment), 0);
	MUST(remove_queue(id));
	CHECK(exists(segment));
	CHECK_EQ(shmget(KEY, 0, 0), segment);
}

TEST(an_index_is_used_again_with_another_sequence_number)
{
	int a = new_queue(), b = new_queue();
	CHECK_EQ(index_of(a), 0);
	CHECK_EQ(index_of(b), 1);
	CHECK_EQ(queue_stat(b).msg_perm.__seq, b / SEQ);
	MUST(remove_queue(a));
	int c = new_queue();
	CHECK(c != a);
	CHECK(c / SEQ != a / SEQ || index_of(c) != index_of(a));
	CHECK(!queue_exists(a));
	CHECK(queue_exists(b));
}

TEST(the_next_id_can_be_chosen_once)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("Divergence: msg_next_id is not offered");
	if (try_limit("msg_next_id", "100000"))
		SKIP("/proc/sys/kernel/msg_next_id cannot be written here");
	CHECK_EQ(new_queue(), 100000);
	CHECK_EQ((int)limit("msg_next_id"), -1);
	CHECK(new_queue() != 100000);
}

TEST(a_removed_queue_is_unknown_to_every_call)
{
	int id = MUST(msgget(KEY, IPC_CREAT | 0600));
	struct msqid_ds d = queue_stat(id);
	MUST(send_text(id, 1, "x"));
	MUST(remove_queue(id));
	TEST_ERRNO(msgget(KEY, 0), ENOENT);
	TEST_ERRNO(send_text(id, 1, "x"), EINVAL);
	CHECK_STR(got(id, 0, 0), "EINVAL");
	TEST_ERRNO(msgctl(id, IPC_STAT, &d), EINVAL);
	TEST_ERRNO(msgctl(id, IPC_SET, &d), EINVAL);
	TEST_ERRNO(msgctl(index_of(id), MSG_STAT, &d), EINVAL);
	TEST_ERRNO(remove_queue(id), EINVAL);
	int again = MUST(msgget(KEY, IPC_CREAT | IPC_EXCL | 0600));
	CHECK(again != id);
	CHECK_HELD(again, "0/0");
	CHECK_STR(got(id, 0, 0), "EINVAL");
}

TEST(there_are_as_many_queues_as_msgmni_says)
{
	set_limit("msgmni", "2");
	int id = MUST(msgget(KEY, IPC_CREAT | 0600));
	new_queue();
	TEST_ERRNO(msgget(IPC_PRIVATE, 0600), ENOSPC);
	TEST_ERRNO(msgget(KEY + 1, IPC_CREAT | 0600), ENOSPC);
	TEST_ERRNO(msgget(KEY + 1, 0600), ENOENT);
	/* What is there is not touched, by a lower limit either. */
	set_limit("msgmni", "0");
	CHECK_EQ(msgget(KEY, IPC_CREAT | 0600), id);
	TEST_SUCC(send_text(id, 1, "x"));
	MUST(remove_queue(id));
	TEST_ERRNO(msgget(KEY, IPC_CREAT | 0600), ENOSPC);
	set_limit("msgmni", "2");
	TEST_SUCC(msgget(KEY, IPC_CREAT | 0600));
}

TEST(a_new_queue_may_hold_what_msgmnb_is_then)
{
	int before = new_queue();
	set_limit("msgmnb", "100");
	int id = new_queue();
	set_limit("msgmnb", "200");
	CHECK_EQ(queue_stat(before).msg_qbytes, MSGMNB);
	CHECK_EQ(queue_stat(id).msg_qbytes, 100);
	TEST_ERRNO(send_bytes(id, 101), EAGAIN);
	TEST_SUCC(send_bytes(id, 100));
}

TEST(many_queues_are_told_apart)
{
	enum { MANY = 300 };
	int id[MANY];
	char text[16];
	for (int i = 0; i < MANY; i++) {
		id[i] = MUST(msgget(KEY + i, IPC_CREAT | 0600));
		snprintf(text, sizeof text, "%d", i);
		MUST(send_text(id[i], 1, text));
	}
	for (int i = 0; i < MANY; i += 2)
		MUST(remove_queue(id[i]));
	for (int i = 0; i < MANY; i++) {
		snprintf(text, sizeof text, "1 %d", i);
		CHECK_STR(got(id[i], 0, 0), i % 2 ? text : "EINVAL");
	}
}
