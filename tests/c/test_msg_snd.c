/*
 * msgsnd without sleeping: the order of errors, what fits, stamps, and that a text arrives as it was.
 */
#include "msgtest.h"

static struct message good = { .mtype = 1 }, typeless, negative = { .mtype = -5 };

/* A message of which the type alone can be read. */
static void *without_text(long mtype)
{
	long *p = (long *)page_end() - 1;
	*p = mtype;
	return p;
}

TEST(the_type_is_read_before_all_else)
{
	make_bad_pointers(sizeof(long));
	for (int i = 0; i < BAD_POINTERS; i++) {
		if (bad[i].readable)
			continue;
		struct msgsnd_case t[] = {
			{ bad[i].what, -1, bad[i].p, 0, 0, EFAULT },
			{ bad[i].what, 0, bad[i].p, MSGMAX + 1, 0, EFAULT },
			{ bad[i].what, 77777, bad[i].p, (size_t)-1, 0, EFAULT },
		};
		MSGSND_CASES(t);
	}
}

TEST(then_size_and_id_then_the_type_then_the_text_then_the_queue)
{
	int id = new_queue(), gone = new_queue();
	MUST(remove_queue(gone));
	struct msgsnd_case t[] = {
		{ "too long for anything", gone, &typeless, MSGMAX + 1, 0, EINVAL },
		{ "a negative size", id, &good, (size_t)-1, 0, EINVAL },
		{ "a negative id", -1, &good, 1, 0, EINVAL },
		{ "the smallest id", (int)0x80000000, &good, 1, 0, EINVAL },
		{ "too long, and the text unreadable", id, without_text(1), MSGMAX + 1, 0, EINVAL },
		{ "no type", id, &typeless, 1, 0, EINVAL },
		{ "a negative type", id, &negative, 1, 0, EINVAL },
		{ "no type, and the text unreadable", id, without_text(0), 1, 0, EINVAL },
		{ "an unknown id, and the text unreadable", gone, without_text(1), 1, 0, EFAULT },
		{ "the text unreadable", id, without_text(1), 1, 0, EFAULT },
		{ "an unknown id", gone, &good, 1, 0, EINVAL },
		{ "another sequence number", id + SEQ, &good, 1, 0, EINVAL },
		{ "an empty text needs no memory", id, without_text(7), 0, 0, 0 },
		{ "the longest", id, &good, MSGMAX, 0, 0 },
		{ "does not fit", id, &good, MSGMAX, IPC_NOWAIT, 0 },
		{ "does not fit", id, &good, 1, IPC_NOWAIT, EAGAIN },
		{ "does not fit, and the text unreadable", id, without_text(1), 1, IPC_NOWAIT, EFAULT },
	};
	MSGSND_CASES(t);
	CHECK_HELD(id, "3/16384");
}

TEST(rights_come_behind_the_text_and_before_room)
{
	int id = MUST(msgget(IPC_PRIVATE, 0400)), full = MUST(msgget(IPC_PRIVATE, 0600));
	MUST(set_qbytes(full, 0));
	MUST(set_mode(full, 0400));
	drop_cap(CAP_IPC_OWNER);
	struct msgsnd_case t[] = {
		{ "too long", id, &good, MSGMAX + 1, 0, EINVAL },
		{ "no type", id, &typeless, 1, 0, EINVAL },
		{ "the text unreadable", id, without_text(1), 1, 0, EFAULT },
		{ "no right to write", id, &good, 1, 0, EACCES },
		{ "no right to write, and no room", full, &good, 1, 0, EACCES },
	};
	MSGSND_CASES(t);
}

TEST(a_text_that_may_not_be_written_can_be_sent)
{
	int id = new_queue();
	long *p = (long *)page_end() - 2;
	*p = 3;
	memcpy(p + 1, "text", 4);
	char *page = (char *)((uintptr_t)p & -PAGE);
	MUST(mprotect(page, PAGE, PROT_READ));
	TEST_SUCC(msgsnd(id, p, 4, 0));
	CHECK_STR(got(id, 0, 0), "3 text");
}

TEST(flags_but_ipc_nowait_mean_nothing)
{
	int id = new_queue();
	TEST_SUCC(msgsnd(id, &good, 1, 0x7fffffff));
	TEST_SUCC(msgsnd(id, &good, 1, MSG_NOERROR | MSG_EXCEPT | MSG_COPY | IPC_CREAT | IPC_EXCL));
	CHECK_HELD(id, "2/2");
}

TEST(a_queue_is_full_of_bytes_or_of_messages)
{
	int id = new_queue();
	TEST_SUCC(send_bytes(id, MSGMAX));
	TEST_SUCC(send_bytes(id, MSGMAX));
	TEST_ERRNO(send_bytes(id, 1), EAGAIN);
	/* An empty message fits into a queue full of bytes. */
	TEST_SUCC(send_bytes(id, 0));
	CHECK_HELD(id, "3/16384");

	int small = new_queue_of(10);
	for (int i = 0; i < 10; i++)
		TEST_SUCC(send_bytes(small, 1));
	TEST_ERRNO(send_bytes(small, 1), EAGAIN);
	TEST_ERRNO(send_bytes(small, 0), EAGAIN);
	CHECK_HELD(small, "10/10");

	int empty = new_queue_of(10);
	for (int i = 0; i < 10; i++)
		TEST_SUCC(send_bytes(empty, 0));
	TEST_ERRNO(send_bytes(empty, 0), EAGAIN);
	CHECK_HELD(empty, "10/0");
}

TEST(a_queue_of_16384_bytes_holds_16384_empty_messages)
{
	int id = new_queue(), sent = 0;
	while (send_bytes(id, 0) == 0)
		sent++;
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(sent, MSGMNB);
	CHECK_HELD(id, "16384/0");
	CHECK_STR(got(id, 0, 0), "1 ");
	TEST_SUCC(send_bytes(id, 0));
	int received = 0;
	while (!strcmp(got(id, 0, 0), "1 "))
		received++;
	CHECK_EQ(received, MSGMNB);
	CHECK_HELD(id, "0/0");
}

TEST(a_queue_of_no_bytes_takes_nothing)
{
	int id = new_queue_of(0);
	TEST_ERRNO(send_bytes(id, 0), EAGAIN);
	TEST_ERRNO(send_bytes(id, 1), EAGAIN);
	MUST(set_qbytes(id, 1));
	TEST_SUCC(send_bytes(id, 0));
	TEST_ERRNO(send_bytes(id, 0), EAGAIN);
}

TEST(a_message_longer_than_the_queue_never_fits)
{
	int id = new_queue_of(10);
	TEST_ERRNO(send_bytes(id, 11), EAGAIN);
	TEST_SUCC(send_bytes(id, 10));
}

TEST(msgmax_says_what_may_be_sent_and_touches_nothing_that_was)
{
	static struct { long mtype; char mtext[40000]; } large = { .mtype = 1 };
	int id = new_queue();
	MUST(send_text(id, 1, "abcdef"));
	set_limit("msgmax", "3");
	TEST_ERRNO(send_bytes(id, 4), EINVAL);
	TEST_SUCC(send_bytes(id, 3));
	CHECK_STR(got(id, 0, 0), "1 abcdef");
	set_limit("msgmax", "0");
	TEST_ERRNO(send_bytes(id, 1), EINVAL);
	TEST_SUCC(send_bytes(id, 0));
	set_limit("msgmax", "40000");
	TEST_ERRNO(msgsnd(id, &large, 40001, IPC_NOWAIT), EINVAL);
	TEST_ERRNO(msgsnd(id, &large, 16385, IPC_NOWAIT), EAGAIN);
	set_limit("msgmnb", "100000");
	int wide = new_queue();
	memset(large.mtext, 'q', sizeof large.mtext);
	TEST_SUCC(msgsnd(wide, &large, 40000, IPC_NOWAIT));
	memset(large.mtext, 0, sizeof large.mtext);
	TEST_RES(msgrcv(wide, &large, 40000, 0, IPC_NOWAIT), _ret == 40000);
	size_t right = 0;
	for (size_t i = 0; i < sizeof large.mtext; i++)
		right += large.mtext[i] == 'q';
	CHECK_EQ(right, sizeof large.mtext);
}

TEST(types_go_from_1_to_the_largest_long)
{
	int id = new_queue();
	TEST_SUCC(send_text(id, LONG_MAX, "last"));
	TEST_SUCC(send_text(id, 1, "first"));
	TEST_ERRNO(send_text(id, 0, ""), EINVAL);
	TEST_ERRNO(send_text(id, -1, ""), EINVAL);
	TEST_ERRNO(send_text(id, LONG_MIN, ""), EINVAL);
	char expected[64];
	snprintf(expected, sizeof expected, "%ld last", LONG_MAX);
	CHECK_STR(got(id, 0, 0), expected);
	CHECK_STR(got(id, 0, 0), "1 first");
}

static struct message sent, received;

/* A byte that depends on its message and its place. */
static char byte_of(size_t size, size_t at) { return (char)(size * 31 + at * 7 + at / 251); }

TEST(a_text_of_every_size_arrives_as_it_was)
{
	int id = new_queue();
	for (size_t size = 0; size <= MSGMAX; size += size < 300 ? 1 : 97) {
		size_t right = 0;
		sent.mtype = (long)size + 1;
		for (size_t i = 0; i < size; i++)
			sent.mtext[i] = byte_of(size, i);
		MUST(msgsnd(id, &sent, size, IPC_NOWAIT));
		memset(&received, 'Z', sizeof received);
		REQUIRE(msgrcv(id, &received, MSGMAX, 0, IPC_NOWAIT) == (ssize_t)size);
		for (size_t i = 0; i < size; i++)
			right += received.mtext[i] == byte_of(size, i);
		CHECK_EQ(right, size);
		CHECK_EQ(received.mtype, (long)size + 1);
		/* What lies behind the text is not touched. */
		CHECK(size == MSGMAX || received.mtext[size] == 'Z');
	}
	CHECK_HELD(id, "0/0");
}

TEST(messages_keep_their_order_and_texts_while_others_come_and_go)
{
	int id = new_queue();
	unsigned random = 5;
	long first = 1, next = 1;
	for (int step = 0; step < 3000; step++) {
		if (next_random(&random) % 2 && next - first < 60) {
			size_t size = next_random(&random) % 250;
			memset(sent.mtext, (int)next, size);
			sent.mtype = next++;
			MUST(msgsnd(id, &sent, size, IPC_NOWAIT));
		} else if (first < next) {
			ssize_t n = MUST(msgrcv(id, &received, MSGMAX, 0, IPC_NOWAIT));
			REQUIRE(received.mtype == first);
			for (ssize_t i = 0; i < n; i++)
				REQUIRE(received.mtext[i] == (char)first);
			first++;
		}
	}
	CHECK_EQ(queue_stat(id).msg_qnum, next - first);
}

TEST(a_send_is_stamped_and_a_failed_one_is_not)
{
	int id = new_queue_of(3);
	struct msqid_ds fresh = queue_stat(id);
	time_t before = next_second();
	IN_CHILD {
		MUST(send_text(id, 1, "abc"));
		struct msqid_ds d = queue_stat(id);
		CHECK_EQ(d.msg_lspid, getpid());
	}
	struct msqid_ds d = queue_stat(id), later;
	CHECK_WITHIN(d.msg_stime, before, time(NULL));
	CHECK_EQ(d.msg_rtime, 0);
	CHECK_EQ(d.msg_ctime, fresh.msg_ctime);
	CHECK_EQ(d.msg_lrpid, 0);
	CHECK_EQ(d.msg_qnum, 1);
	CHECK_EQ(d.__msg_cbytes, 3);
	next_second();
	TEST_ERRNO(send_text(id, 1, "x"), EAGAIN);
	TEST_ERRNO(send_text(id, 0, "x"), EINVAL);
	TEST_ERRNO(msgsnd(id, without_text(1), 1, IPC_NOWAIT), EFAULT);
	later = queue_stat(id);
	CHECK_SAME_QUEUE(d, later);
}

TEST(every_process_that_has_the_id_sees_the_message)
{
	int id = MUST(msgget(0x162e, IPC_CREAT | 0600));
	IN_CHILD {
		MUST(send_text(MUST(msgget(0x162e, 0)), 4, "from the child"));
	}
	IN_CHILD {
		CHECK_STR(got(id, 4, 0), "4 from the child");
	}
	CHECK_EMPTY(id);
}
