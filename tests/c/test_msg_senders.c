/*
 * Who sleeps in msgsnd, and what wakes it: room in the queue.
 */
#include "msgtest.h"

TEST(a_sender_sleeps_until_there_is_room)
{
	int id = new_queue_of(3);
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 2, "de");
	CHECK_HELD(id, "1/3");
	CHECK_STR(got(id, 0, 0), "1 abc");
	CHECK_RESULT(1, "sent");
	CHECK_HELD(id, "1/2");
	CHECK_EQ(queue_stat(id).msg_lspid, sleeper_pid[1]);
	CHECK_STR(got(id, 0, 0), "2 de");
}

TEST(a_full_queue_of_empty_messages_has_room_again_too)
{
	int id = new_queue_of(2);
	MUST(send_text(id, 1, ""));
	MUST(send_text(id, 2, ""));
	SENDER(1, id, 3, "");
	CHECK_STR(got(id, 2, 0), "2 ");
	CHECK_RESULT(1, "sent");
	CHECK_HELD(id, "2/0");
}

TEST(a_younger_sender_that_fits_passes_an_older_one_that_does_not)
{
	int id = new_queue_of(10);
	MUST(send_text(id, 1, "aaaa"));
	MUST(send_text(id, 1, "bbbbbb"));
	SENDER(1, id, 1, "11111111");
	SENDER(2, id, 1, "22");
	CHECK_STR(got(id, 0, 0), "1 aaaa");
	CHECK_RESULT(2, "sent");
	CHECK(sleeps(1));
	CHECK_HELD(id, "2/8");
	CHECK_STR(got(id, 0, 0), "1 bbbbbb");
	CHECK_RESULT(1, "sent");
	CHECK_HELD(id, "2/10");
}

TEST(a_message_that_fits_passes_the_senders_that_sleep)
{
	int id = new_queue_of(10);
	MUST(send_text(id, 1, "aaaa"));
	MUST(send_text(id, 1, "b"));
	SENDER(1, id, 1, "11111111");
	TEST_SUCC(send_text(id, 1, "c"));
	CHECK(sleeps(1));
	CHECK_HELD(id, "3/6");
	CHECK_STR(got(id, 0, 0), "1 aaaa");
	CHECK_RESULT(1, "sent");
	CHECK_HELD(id, "3/10");
}

TEST(of_three_senders_two_find_room_where_two_fit)
{
	int id = new_queue_of(10);
	MUST(send_text(id, 1, "0123456789"));
	SENDER(1, id, 11, "1111");
	SENDER(2, id, 12, "2222");
	SENDER(3, id, 13, "3333");
	CHECK_STR(got(id, 0, 0), "1 0123456789");
	UNTIL(queue_stat(id).msg_qnum == 2);
	UNTIL(!sleeps(1) + !sleeps(2) + !sleeps(3) == 2);
	CHECK_HELD(id, "2/8");
	/* Who did not fit sleeps on, and is told of the next room. */
	got(id, 0, 0);
	for (int n = 1; n <= 3; n++)
		CHECK_RESULT(n, "sent");
	CHECK_HELD(id, "2/8");
	got(id, 0, 0);
	got(id, 0, 0);
	CHECK_EMPTY(id);
}

TEST(a_message_longer_than_the_queue_sleeps_until_the_queue_is_larger)
{
	int id = new_queue_of(3);
	SENDER(1, id, 1, "hello");
	MUST(send_text(id, 2, "abc"));
	CHECK_STR(got(id, 0, 0), "2 abc");
	CHECK(sleeps(1));
	MUST(set_qbytes(id, 5));
	CHECK_RESULT(1, "sent");
	CHECK_STR(got(id, 0, 0), "1 hello");
}

TEST(a_sender_that_slept_hands_over_too)
{
	int id = new_queue_of(3);
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 2, "de");
	RECEIVER(2, id, 2);
	CHECK_STR(got(id, 1, 0), "1 abc");
	CHECK_RESULT(1, "sent");
	CHECK_RESULT(2, "2 de");
	CHECK_HELD(id, "0/0");
}

TEST(the_text_is_copied_when_the_call_begins)
{
	int id = new_queue_of(3);
	struct message *m = shared_memory(sizeof *m);
	m->mtype = 2;
	memcpy(m->mtext, "old", 3);
	MUST(send_text(id, 1, "abc"));
	if (sleeper_begin(1, id)) {
		strcpy(outcome[1].text, msgsnd(id, m, 3, 0) == 0 ? "sent" : errno_name(errno));
		sleeper_end(1);
	}
	memcpy(m->mtext, "new", 3);
	m->mtype = 9;
	CHECK_STR(got(id, 0, 0), "1 abc");
	CHECK_RESULT(1, "sent");
	CHECK_STR(got(id, 0, 0), "2 old");
}

TEST(a_lower_msgmax_does_not_touch_a_sender_that_sleeps)
{
	int id = new_queue_of(3);
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 2, "def");
	set_limit("msgmax", "1");
	CHECK_STR(got(id, 0, 0), "1 abc");
	CHECK_RESULT(1, "sent");
	CHECK_STR(got(id, 0, 0), "2 def");
}

TEST(a_receive_that_fails_frees_no_room)
{
	int id = new_queue_of(3);
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 2, "d");
	CHECK_STR(got(id, 5, 0), "ENOMSG");
	CHECK_STR(got_in(id, 1, 0, 0), "E2BIG");
	CHECK_STR(got(id, 0, MSG_COPY), "1 abc");
	CHECK(sleeps(1));
	CHECK_HELD(id, "1/3");
	got(id, 0, 0);
	CHECK_RESULT(1, "sent");
}
