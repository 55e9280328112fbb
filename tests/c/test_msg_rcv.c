/*
 * msgrcv without sleeping: the order of errors, types, sizes, copies, stamps.
 */
#include "msgtest.h"

static struct message m;

/* A buffer of which the type alone can be written. */
static void *without_room(void) { return (long *)page_end() - 1; }

TEST(id_and_size_come_first_then_the_flags_of_a_copy_then_the_queue)
{
	int id = new_queue(), gone = new_queue();
	MUST(remove_queue(gone));
	need_msg_copy(id);
	int copy = MSG_COPY | IPC_NOWAIT;
	struct msgrcv_case t[] = {
		{ "a negative id", -1, UNMAPPED, 1, 0, IPC_NOWAIT, EINVAL },
		{ "a negative size", id, &m, (size_t)-1, 0, IPC_NOWAIT, EINVAL },
		{ "the smallest size", id, &m, (size_t)LONG_MIN, 0, IPC_NOWAIT, EINVAL },
		{ "a copy that might sleep", id, UNMAPPED, 1, 0, MSG_COPY, EINVAL },
		{ "a copy of another type", id, UNMAPPED, 1, 0, copy | MSG_EXCEPT, EINVAL },
		{ "a copy to nowhere of an unknown queue", gone, UNMAPPED, 1, 0, copy, EFAULT },
		{ "a copy of nothing to nowhere", id, UNMAPPED, 1, 0, copy, EFAULT },
		{ "a copy of an unknown queue", gone, &m, 1, 0, copy, EINVAL },
		{ "an unknown queue", gone, UNMAPPED, 1, 0, IPC_NOWAIT, EINVAL },
		{ "another sequence number", id + SEQ, &m, 1, 0, IPC_NOWAIT, EINVAL },
		{ "nothing there", id, UNMAPPED, 1, 0, IPC_NOWAIT, ENOMSG },
		{ "nothing there, into the longest buffer", id, &m, LONG_MAX, 0, IPC_NOWAIT, ENOMSG },
	};
	MSGRCV_CASES(t);
}

TEST(rights_come_before_messages)
{
	int id = MUST(msgget(IPC_PRIVATE, 0200));
	struct msqid_ds readable = queue_stat(id);
	readable.msg_perm.mode = 0400;
	MUST(send_text(id, 1, "text"));
	drop_cap(CAP_IPC_OWNER);
	struct msgrcv_case t[] = {
		{ "a message is there", id, &m, MSGMAX, 0, IPC_NOWAIT, EACCES },
		{ "none of that type is there", id, &m, MSGMAX, 9, IPC_NOWAIT, EACCES },
		{ "too little room", id, &m, 0, 0, IPC_NOWAIT, EACCES },
		{ "it would not even sleep", id, &m, MSGMAX, 9, 0, EACCES },
	};
	MSGRCV_CASES(t);
	MUST(msgctl(id, IPC_SET, &readable));
	CHECK_STR(got(id, 0, 0), "1 text");
}

TEST(a_message_that_is_too_long_stays_whatever_the_buffer)
{
	int id = new_queue();
	MUST(send_text(id, 3, "hello"));
	struct msqid_ds before = queue_stat(id), after;
	next_second();
	CHECK_STR(got_in(id, 4, 0, 0), "E2BIG");
	CHECK_STR(got_in(id, 0, 3, 0), "E2BIG");
	TEST_ERRNO(msgrcv(id, UNMAPPED, 4, 0, IPC_NOWAIT), E2BIG);
	/* A receive that might sleep does not for this. */
	TEST_ERRNO(msgrcv(id, &m, 4, 0, 0), E2BIG);
	after = queue_stat(id);
	CHECK_SAME_QUEUE(before, after);
	CHECK_STR(got_in(id, 5, 0, 0), "3 hello");
}

TEST(msg_noerror_cuts_and_the_rest_is_lost)
{
	int id = new_queue();
	MUST(send_text(id, 3, "hello"));
	MUST(send_text(id, 4, "world"));
	MUST(send_text(id, 5, "again"));
	CHECK_STR(got_in(id, 2, 0, MSG_NOERROR), "3 he");
	CHECK_STR(got_in(id, 0, 0, MSG_NOERROR), "4 ");
	CHECK_STR(got_in(id, LONG_MAX, 0, MSG_NOERROR), "5 again");
	CHECK_HELD(id, "0/0");
}

TEST(nothing_behind_what_was_received_is_written)
{
	int id = new_queue();
	MUST(send_text(id, 3, "hello"));
	MUST(send_text(id, 3, "hello"));
	MUST(send_text(id, 3, ""));
	memset(&m, 'Z', sizeof m);
	TEST_RES(msgrcv(id, &m, 2, 0, MSG_NOERROR), _ret == 2);
	CHECK(m.mtype == 3 && !memcmp(m.mtext, "heZ", 3));
	TEST_RES(msgrcv(id, &m, MSGMAX, 0, 0), _ret == 5);
	CHECK(!memcmp(m.mtext, "helloZ", 6));
	memset(&m, 'Z', sizeof m);
	TEST_RES(msgrcv(id, &m, MSGMAX, 0, 0), _ret == 0);
	CHECK(m.mtype == 3 && m.mtext[0] == 'Z');
}

TEST(a_buffer_needs_no_more_room_than_the_message)
{
	int id = new_queue();
	long *p = (long *)page_end() - 2;
	MUST(send_text(id, 3, "four"));
	TEST_RES(msgrcv(id, p, MSGMAX, 0, 0), _ret == 4);
	CHECK(p[0] == 3 && !memcmp(p + 1, "four", 4));
	MUST(send_text(id, 9, ""));
	TEST_RES(msgrcv(id, p + 1, MSGMAX, 0, 0), _ret == 0);
	CHECK_EQ(p[1], 9);
}

TEST(a_message_for_a_bad_buffer_is_gone)
{
	int id = new_queue();
	make_bad_pointers(sizeof(long) + 5);
	time_t before = time(NULL);
	for (int i = 0; i < BAD_POINTERS; i++) {
		MUST(send_text(id, 3, "hello"));
		COUNT_CHECK();
		errno = 0;
		if (msgrcv(id, bad[i].p, MSGMAX, 0, 0) != -1 || errno != EFAULT)
			FAIL("msgrcv into a buffer %s: %s", bad[i].what, errno_name(errno));
		CHECK_EMPTY(id);
	}
	MUST(send_text(id, 3, "hello"));
	TEST_ERRNO(msgrcv(id, without_room(), MSGMAX, 0, 0), EFAULT);
	CHECK_EMPTY(id);
	CHECK_WITHIN(queue_stat(id).msg_rtime, before, time(NULL));
	CHECK_EQ(queue_stat(id).msg_lrpid, getpid());
}

/* -------------------------------------------------------------- types */

/* A queue with messages of these types, each with its place as text. */
#define QUEUE_OF(...)                                                                              \
	({                                                                                         \
		const long types_[] = { __VA_ARGS__ };                                             \
		int id_ = new_queue();                                                             \
		for (size_t i_ = 0; i_ < sizeof types_ / sizeof *types_; i_++)                     \
			MUST(send_text(id_, types_[i_], (char[]){ (char)('a' + i_), 0 }));         \
		id_;                                                                               \
	})

TEST(type_0_is_the_oldest_message)
{
	int id = QUEUE_OF(5, 3, 9);
	CHECK_STR(got(id, 0, 0), "5 a");
	CHECK_STR(got(id, 0, MSG_EXCEPT), "3 b");
	CHECK_STR(got(id, 0, 0), "9 c");
	CHECK_EMPTY(id);
}

TEST(a_positive_type_is_the_oldest_of_that_type)
{
	int id = QUEUE_OF(5, 3, 9, 3, 1);
	CHECK_STR(got(id, 4, 0), "ENOMSG");
	CHECK_STR(got(id, LONG_MAX, 0), "ENOMSG");
	CHECK_STR(got(id, 3, 0), "3 b");
	CHECK_STR(got(id, 3, 0), "3 d");
	CHECK_STR(got(id, 3, 0), "ENOMSG");
	CHECK_STR(got(id, 1, 0), "1 e");
	CHECK_STR(got(id, 0, 0), "5 a");
	CHECK_STR(got(id, 9, 0), "9 c");
	CHECK_EMPTY(id);
}

TEST(msg_except_is_the_oldest_of_another_type)
{
	int id = QUEUE_OF(2, 1, 2, 3);
	CHECK_STR(got(id, 2, MSG_EXCEPT), "1 b");
	CHECK_STR(got(id, 2, MSG_EXCEPT), "3 d");
	CHECK_STR(got(id, 2, MSG_EXCEPT), "ENOMSG");
	CHECK_STR(got(id, 7, MSG_EXCEPT), "2 a");
	CHECK_STR(got(id, 2, 0), "2 c");
}

TEST(a_negative_type_is_the_oldest_of_the_smallest_type_up_to_it)
{
	int id = QUEUE_OF(5, 3, 9, 3, 1);
	CHECK_STR(got(id, -2, 0), "1 e");
	CHECK_STR(got(id, -2, 0), "ENOMSG");
	CHECK_STR(got(id, -8, 0), "3 b");
	CHECK_STR(got(id, -8, MSG_EXCEPT), "3 d");
	CHECK_STR(got(id, -8, 0), "5 a");
	CHECK_STR(got(id, -8, 0), "ENOMSG");
	CHECK_STR(got(id, -9, 0), "9 c");
	id = QUEUE_OF(4, 2, 2, 3);
	CHECK_STR(got(id, -4, 0), "2 b");
	CHECK_STR(got(id, -4, 0), "2 c");
	CHECK_STR(got(id, -4, 0), "3 d");
	CHECK_STR(got(id, -4, 0), "4 a");
}

TEST(the_smallest_type_of_all_is_up_to_the_largest)
{
	char last[64];
	int id = QUEUE_OF(LONG_MAX, 1);
	snprintf(last, sizeof last, "%ld a", LONG_MAX);
	CHECK_STR(got(id, LONG_MIN, 0), "1 b");
	CHECK_STR(got(id, -LONG_MAX + 1, 0), "ENOMSG");
	CHECK_STR(got(id, LONG_MIN, 0), last);
	CHECK_STR(got(id, LONG_MIN, 0), "ENOMSG");
}

TEST(one_in_the_midst_is_taken_and_the_others_keep_their_order)
{
	int id = QUEUE_OF(1, 2, 3, 4, 5, 6);
	CHECK_STR(got(id, 3, 0), "3 c");
	CHECK_STR(got(id, 6, 0), "6 f");
	MUST(send_text(id, 7, "new"));
	CHECK_HELD(id, "5/7");
	CHECK_STR(got(id, 0, 0), "1 a");
	CHECK_STR(got(id, 0, 0), "2 b");
	CHECK_STR(got(id, 0, 0), "4 d");
	CHECK_STR(got(id, 0, 0), "5 e");
	CHECK_STR(got(id, 0, 0), "7 new");
}

TEST(too_long_is_said_of_the_message_that_was_chosen)
{
	int id = new_queue();
	MUST(send_text(id, 2, "much too long"));
	MUST(send_text(id, 1, "short"));
	CHECK_STR(got_in(id, 5, 0, 0), "E2BIG");
	CHECK_STR(got_in(id, 5, 2, 0), "E2BIG");
	CHECK_STR(got_in(id, 5, -9, 0), "1 short");
	CHECK_STR(got_in(id, 5, -9, 0), "E2BIG");
	CHECK_STR(got_in(id, 5, 1, 0), "ENOMSG");
}

/* -------------------------------------------------------------- copies */

TEST(a_copy_is_by_position_and_changes_nothing)
{
	int id = QUEUE_OF(5, 3);
	need_msg_copy(id);
	struct msqid_ds before = queue_stat(id), after;
	next_second();
	CHECK_STR(got(id, 0, MSG_COPY), "5 a");
	CHECK_STR(got(id, 1, MSG_COPY), "3 b");
	CHECK_STR(got(id, 2, MSG_COPY), "ENOMSG");
	CHECK_STR(got(id, -1, MSG_COPY), "ENOMSG");
	CHECK_STR(got(id, LONG_MAX, MSG_COPY), "ENOMSG");
	CHECK_STR(got(id, LONG_MIN, MSG_COPY), "ENOMSG");
	after = queue_stat(id);
	CHECK_SAME_QUEUE(before, after);
	CHECK_STR(got(id, 0, 0), "5 a");
	CHECK_STR(got(id, 0, MSG_COPY), "3 b");
}

TEST(a_copy_is_never_cut)
{
	int id = new_queue();
	MUST(send_text(id, 3, "hello"));
	need_msg_copy(id);
	CHECK_STR(got_in(id, 4, 0, MSG_COPY), "E2BIG");
	CHECK_STR(got_in(id, 4, 0, MSG_COPY | MSG_NOERROR), "EINVAL");
	CHECK_STR(got_in(id, 5, 0, MSG_COPY), "3 hello");
	CHECK_STR(got_in(id, 5, 0, MSG_COPY | MSG_NOERROR), "3 hello");
	CHECK_STR(got_in(id, LONG_MAX, 0, MSG_COPY), "3 hello");
	/* A copy has at most msgmax bytes. */
	set_limit("msgmax", "4");
	CHECK_STR(got_in(id, 100, 0, MSG_COPY), "EINVAL");
	CHECK_STR(got_in(id, 4, 0, MSG_COPY), "E2BIG");
	CHECK_STR(got_in(id, 100, 0, 0), "3 hello");
}

TEST(a_copy_wants_a_buffer_that_can_be_read)
{
	int id = new_queue();
	MUST(send_text(id, 3, "hello"));
	need_msg_copy(id);
	/* What is read are the first bytes of the buffer, as many as it is said to have, msgmax at most. */
	make_bad_pointers(100);
	for (int i = 0; i < BAD_POINTERS; i++) {
		COUNT_CHECK();
		errno = 0;
		if (msgrcv(id, bad[i].p, 100, 0, MSG_COPY | IPC_NOWAIT) != -1 || errno != EFAULT)
			FAIL("a copy into a buffer %s: %s", bad[i].what, errno_name(errno));
	}
	char *end = page_end();
	TEST_ERRNO(msgrcv(id, end - 99, 100, 0, MSG_COPY | IPC_NOWAIT), EFAULT);
	TEST_RES(msgrcv(id, end - 104, 100, 0, MSG_COPY | IPC_NOWAIT), _ret == 5);
	CHECK_HELD(id, "1/5");
}

TEST(rights_are_asked_of_a_copy_too)
{
	int id = MUST(msgget(IPC_PRIVATE, 0200));
	MUST(send_text(id, 3, "hello"));
	drop_cap(CAP_IPC_OWNER);
	need_msg_copy(id);
	CHECK_STR(got(id, 0, MSG_COPY), "EACCES");
	CHECK_STR(got(id, 5, MSG_COPY), "EACCES");
}

/* -------------------------------------------------------------- stamps */

TEST(a_receive_is_stamped_and_one_that_finds_nothing_is_not)
{
	int id = new_queue();
	MUST(send_text(id, 1, "abc"));
	struct msqid_ds sent = queue_stat(id), received, later;
	time_t before = next_second();
	IN_CHILD {
		CHECK_STR(got(id, 0, 0), "1 abc");
		struct msqid_ds d = queue_stat(id);
		CHECK_EQ(d.msg_lrpid, getpid());
	}
	received = queue_stat(id);
	CHECK_WITHIN(received.msg_rtime, before, time(NULL));
	CHECK_EQ(received.msg_stime, sent.msg_stime);
	CHECK_EQ(received.msg_ctime, sent.msg_ctime);
	CHECK_EQ(received.msg_lspid, getpid());
	CHECK_EQ(received.msg_qnum, 0);
	CHECK_EQ(received.__msg_cbytes, 0);
	next_second();
	CHECK_EMPTY(id);
	CHECK_STR(got(id, 5, MSG_EXCEPT), "ENOMSG");
	later = queue_stat(id);
	CHECK_SAME_QUEUE(received, later);
}

static void *receives_at_once(void *id)
{
	CHECK_STR(got(*(int *)id, 0, 0), "1 abc");
	return NULL;
}

TEST(a_thread_that_did_not_sleep_receives_as_its_process)
{
	int id = new_queue();
	pthread_t t;
	MUST(send_text(id, 1, "abc"));
	thread_start(&t, receives_at_once, &id);
	pthread_join(t, NULL);
	CHECK_EQ(queue_stat(id).msg_lrpid, getpid());
}
