/*
 * Who sleeps in msgsnd and msgrcv, and what wakes it: a message handed over, room, IPC_SET, the end of the queue.
 */
#include "msgtest.h"

/* ------------------------------------------------------------- receivers */

TEST(receivers_are_served_in_the_order_of_their_arrival)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	RECEIVER(2, id, 0);
	RECEIVER(3, id, 0);
	MUST(send_text(id, 7, "a"));
	/* It never was in the queue. */
	CHECK_HELD(id, "0/0");
	CHECK_RESULT(1, "7 a");
	CHECK(sleeps(2));
	MUST(send_text(id, 8, "b"));
	MUST(send_text(id, 9, "c"));
	CHECK_HELD(id, "0/0");
	CHECK_RESULT(2, "8 b");
	CHECK_RESULT(3, "9 c");
	CHECK_EMPTY(id);
}

TEST(what_was_handed_over_cannot_be_taken_by_another)
{
	int id = new_queue();
	for (int round = 0; round < 50; round++) {
		RECEIVER(1, id, 0);
		MUST(send_text(id, 7, "a"));
		CHECK_EMPTY(id);
		CHECK_RESULT(1, "7 a");
	}
}

TEST(a_message_goes_to_the_first_receiver_that_wants_it)
{
	int id = new_queue();
	RECEIVER(1, id, 5);
	RECEIVER(2, id, 0);
	RECEIVER(3, id, -3);
	MUST(send_text(id, 2, "two"));
	CHECK_RESULT(2, "2 two");
	MUST(send_text(id, 5, "five"));
	CHECK_RESULT(1, "5 five");
	MUST(send_text(id, 9, "nine"));
	CHECK_HELD(id, "1/4");
	CHECK(sleeps(3));
	MUST(send_text(id, 3, "three"));
	CHECK_RESULT(3, "3 three");
	CHECK_STR(got(id, 0, 0), "9 nine");
}

TEST(a_sleeper_wants_other_types_with_msg_except_and_any_with_the_smallest)
{
	int id = new_queue();
	RECEIVER_WITH(1, id, 100, 5, MSG_EXCEPT);
	RECEIVER(2, id, LONG_MIN);
	MUST(send_text(id, 5, "a"));
	CHECK_RESULT(2, "5 a");
	MUST(send_text(id, 5, "b"));
	MUST(send_text(id, 6, "c"));
	CHECK_RESULT(1, "6 c");
	CHECK_STR(got(id, 0, 0), "5 b");
}

TEST(a_receiver_sleeps_while_messages_of_other_types_are_there)
{
	int id = new_queue();
	MUST(send_text(id, 1, "a"));
	RECEIVER(1, id, 2);
	MUST(send_text(id, 3, "b"));
	CHECK(sleeps(1));
	MUST(send_text(id, 2, "c"));
	CHECK_RESULT(1, "2 c");
	CHECK_HELD(id, "2/2");
}

TEST(a_receiver_with_too_little_room_is_woken_and_the_message_goes_on)
{
	int id = new_queue();
	RECEIVER_WITH(1, id, 2, 0, 0);
	RECEIVER_WITH(2, id, 4, 0, 0);
	RECEIVER_WITH(3, id, 5, 0, 0);
	RECEIVER_WITH(4, id, 2, 0, 0);
	MUST(send_text(id, 1, "hello"));
	CHECK_HELD(id, "0/0");
	CHECK_RESULT(1, "E2BIG");
	CHECK_RESULT(2, "E2BIG");
	CHECK_RESULT(3, "1 hello");
	CHECK(sleeps(4));
	MUST(send_text(id, 1, "he"));
	CHECK_RESULT(4, "1 he");
}

TEST(a_message_that_is_too_long_for_all_is_queued)
{
	int id = new_queue();
	RECEIVER_WITH(1, id, 2, 0, 0);
	RECEIVER_WITH(2, id, 0, 1, 0);
	MUST(send_text(id, 1, "hello"));
	CHECK_RESULT(1, "E2BIG");
	CHECK_RESULT(2, "E2BIG");
	CHECK_HELD(id, "1/5");
	CHECK_EQ(queue_stat(id).msg_lrpid, 0);
}

TEST(a_receiver_with_msg_noerror_takes_any_length)
{
	int id = new_queue();
	RECEIVER_WITH(1, id, 2, 0, MSG_NOERROR);
	RECEIVER_WITH(2, id, 0, 0, MSG_NOERROR);
	MUST(send_text(id, 1, "hello"));
	MUST(send_text(id, 2, "world"));
	CHECK_RESULT(1, "1 he");
	CHECK_RESULT(2, "2 ");
	CHECK_HELD(id, "0/0");
}

TEST(a_message_that_would_not_fit_is_not_handed_over)
{
	int id = new_queue_of(3);
	RECEIVER(1, id, 0);
	TEST_ERRNO(send_text(id, 1, "hello"), EAGAIN);
	CHECK(sleeps(1));
	MUST(send_text(id, 1, "hel"));
	CHECK_RESULT(1, "1 hel");
	/* A full queue: what stands there is not what the receiver wants. */
	MUST(send_text(id, 1, "abc"));
	RECEIVER(2, id, 2);
	TEST_ERRNO(send_text(id, 2, "x"), EAGAIN);
	CHECK(sleeps(2));
	CHECK_STR(got(id, 0, 0), "1 abc");
	MUST(send_text(id, 2, "x"));
	CHECK_RESULT(2, "2 x");
}

TEST(the_sender_stamps_for_the_receiver_that_it_serves)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	time_t before = next_second();
	MUST(send_text(id, 1, "a"));
	struct msqid_ds d = queue_stat(id);
	time_t after = time(NULL);
	CHECK_WITHIN(d.msg_stime, before, after);
	CHECK_WITHIN(d.msg_rtime, before, after);
	CHECK_EQ(d.msg_lspid, getpid());
	CHECK_EQ(d.msg_lrpid, sleeper_pid[1]);
	CHECK_RESULT(1, "1 a");
}

static atomic_int tid;

static void *receives(void *id)
{
	struct message m;
	tid = (int)syscall(SYS_gettid);
	return (void *)(long)msgrcv(*(int *)id, &m, MSGMAX, 0, 0);
}

TEST(a_thread_that_slept_received_as_itself)
{
	int id = new_queue();
	pthread_t t;
	void *n;
	queue_stat(id);
	thread_start(&t, receives, &id);
	UNTIL(tid && is_asleep(tid));
	MUST(send_text(id, 1, "abc"));
	pthread_join(t, &n);
	CHECK_EQ((long)n, 3);
	CHECK_EQ(queue_stat(id).msg_lrpid, tid);
	CHECK(tid != getpid());
}

TEST(a_copy_finds_nothing_where_messages_are_handed_over)
{
	int id = new_queue();
	need_msg_copy(id);
	RECEIVER(1, id, 0);
	MUST(send_text(id, 1, "a"));
	CHECK_STR(got(id, 0, MSG_COPY), "ENOMSG");
	CHECK_RESULT(1, "1 a");
}

TEST(the_text_goes_into_the_buffer_of_a_sleeper_whole)
{
	int id = new_queue();
	static struct message m = { .mtype = 5 };
	for (size_t i = 0; i < MSGMAX; i++)
		m.mtext[i] = (char)(i * 7 + i / 256);
	if (sleeper_begin(1, id)) {
		static struct message in;
		size_t right = 0;
		ssize_t n = msgrcv(id, &in, MSGMAX, 0, 0);
		for (size_t i = 0; i < MSGMAX; i++)
			right += in.mtext[i] == m.mtext[i];
		snprintf(outcome[1].text, sizeof outcome[1].text, "%ld %zd %zu", in.mtype, n, right);
		sleeper_end(1);
	}
	MUST(msgsnd(id, &m, MSGMAX, IPC_NOWAIT));
	CHECK_RESULT(1, "5 8192 8192");
}

TEST(a_sleeper_with_a_bad_buffer_loses_its_message)
{
	int id = new_queue();
	if (sleeper_begin(1, id)) {
		errno = 0;
		msgrcv(id, UNMAPPED, MSGMAX, 0, 0);
		strcpy(outcome[1].text, errno_name(errno));
		sleeper_end(1);
	}
	MUST(send_text(id, 1, "a"));
	CHECK_RESULT(1, "EFAULT");
	CHECK_HELD(id, "0/0");
}

/* --------------------------------------------------------------- senders */

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

/* --------------------------------------------------- IPC_SET and removal */

TEST(the_end_of_the_queue_is_eidrm_for_all_that_sleep)
{
	int id = new_queue_of(1);
	MUST(send_text(id, 1, "a"));
	SENDER(1, id, 1, "b");
	SENDER(2, id, 1, "much too long");
	RECEIVER(3, id, 7);
	RECEIVER_WITH(4, id, 0, 8, MSG_NOERROR);
	MUST(remove_queue(id));
	for (int n = 1; n <= 4; n++)
		CHECK_RESULT(n, "EIDRM");
}

TEST(who_was_served_before_the_end_of_the_queue_was_served)
{
	for (int round = 0; round < 30; round++) {
		int id = new_queue();
		RECEIVER(1, id, 0);
		MUST(send_text(id, 1, "a"));
		MUST(remove_queue(id));
		CHECK_RESULT(1, "1 a");
	}
}

TEST(ipc_set_leaves_receivers_asleep_that_keep_their_rights)
{
	int id = new_queue();
	RECEIVER(1, id, 1);
	RECEIVER(2, id, 2);
	MUST(set_mode(id, 0640));
	CHECK(sleeps(1));
	MUST(send_text(id, 2, "b"));
	MUST(send_text(id, 1, "a"));
	CHECK_RESULT(1, "1 a");
	CHECK_RESULT(2, "2 b");
	CHECK_EMPTY(id);
}

TEST(more_bytes_wake_the_senders_that_fit)
{
	int id = new_queue_of(1);
	MUST(send_text(id, 1, "a"));
	SENDER(1, id, 1, "bb");
	SENDER(2, id, 1, "cccc");
	MUST(set_qbytes(id, 3));
	CHECK_RESULT(1, "sent");
	CHECK(sleeps(2));
	CHECK_HELD(id, "2/3");
	MUST(set_qbytes(id, 7));
	CHECK_RESULT(2, "sent");
	CHECK_HELD(id, "3/7");
}

static void become_another(void) { drop_to(54002, 54002); }

/* A queue that everybody may use until its mode is set, and that is not the sleepers' own. */
static int lent_queue(unsigned long qbytes)
{
	int id = MUST(msgget(IPC_PRIVATE, 0666));
	MUST(set_qbytes(id, qbytes));
	sleeper_prepares = become_another;
	return id;
}

TEST_SEVERAL_UIDS(a_receiver_whose_right_is_taken_is_told)
{
	int id = lent_queue(100);
	RECEIVER(1, id, 7);
	MUST(set_mode(id, 0600));
	CHECK_RESULT(1, "EACCES");
}

TEST_SEVERAL_UIDS(a_sender_whose_right_is_taken_is_told_when_there_is_room)
{
	int id = lent_queue(1);
	MUST(send_text(id, 1, "a"));
	SENDER(1, id, 1, "b");
	MUST(set_mode(id, 0600));
	/* A call of the queue's that shows that nothing has happened: the sender would have been told before. */
	CHECK_HELD(id, "1/1");
	CHECK(sleeps(1));
	CHECK_STR(got(id, 0, 0), "1 a");
	CHECK_RESULT(1, "EACCES");
	CHECK_HELD(id, "0/0");
}

/* ------------------------------------------------------------------ many */

TEST(many_receivers_and_as_many_messages)
{
	enum { MANY = 30 };
	int id = new_queue();
	char text[16];
	for (int n = 0; n < MANY; n++)
		RECEIVER(n, id, n + 1);
	for (int n = MANY - 1; n >= 0; n--) {
		snprintf(text, sizeof text, "%d", n);
		MUST(send_text(id, n + 1, text));
	}
	for (int n = 0; n < MANY; n++) {
		snprintf(text, sizeof text, "%d %d", n + 1, n);
		CHECK_RESULT(n, text);
	}
	CHECK_EMPTY(id);
}

enum { PRODUCERS = 3, EACH = 400 };

TEST(no_message_is_lost_or_doubled_between_producers_and_consumers)
{
	int id = new_queue_of(64);
	atomic_int *seen = shared_memory(PRODUCERS * EACH * sizeof *seen);
	pid_t consumer[2];
	for (int c = 0; c < 2; c++)
		if ((consumer[c] = MUST(fork())) == 0) {
			struct { long mtype; int n; char rest[28]; } in;
			for (;;) {
				ssize_t n = MUST(msgrcv(id, &in, sizeof in - sizeof(long), -2, 0));
				if (in.mtype == 2)
					_exit(0);
				CHECK_EQ(n, (long)sizeof(int) + in.n % 28);
				seen[in.n]++;
			}
		}
	pid_t producer[PRODUCERS];
	for (int p = 0; p < PRODUCERS; p++)
		if ((producer[p] = MUST(fork())) == 0) {
			struct { long mtype; int n; char rest[28]; } out = { .mtype = 1 };
			for (int i = 0; i < EACH; i++) {
				out.n = p * EACH + i;
				MUST(msgsnd(id, &out, sizeof(int) + out.n % 28, 0));
			}
			_exit(0);
		}
	for (int p = 0; p < PRODUCERS; p++)
		REAP(producer[p]);
	/* Type 1 goes first. */
	for (int c = 0; c < 2; c++)
		MUST(send_with(id, 2, "", 0));
	for (int c = 0; c < 2; c++)
		REAP(consumer[c]);
	int once = 0;
	for (int i = 0; i < PRODUCERS * EACH; i++)
		once += seen[i] == 1;
	CHECK_EQ(once, PRODUCERS * EACH);
	CHECK_HELD(id, "0/0");
}
