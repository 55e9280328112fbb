/*
 * What wakes sleepers in msgsnd or msgrcv: IPC_SET, the end of the queue; and many that sleep at once.
 */
#include "msgtest.h"

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
