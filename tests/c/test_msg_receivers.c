/*
 * Who sleeps in msgrcv, and what wakes it: a message handed over.
 */
#include "msgtest.h"

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

/* Has a process run only when its processor has nothing else to do, or as any other. */
static void set_policy(pid_t pid, int policy)
{
	MUST(syscall(SYS_sched_setscheduler, pid, policy, &(struct sched_param){ 0 })); /* musl's function does nothing */
}

/*
 * IPC_SET has receivers look again, at their rights as well; until one has run, it is a sleeper as before. So that it does not run
 * meanwhile, there is one processor for both: on its way back into the queue the kernel does not see it for a moment.
 */
TEST(a_message_behind_ipc_set_goes_to_who_slept_before)
{
	cpu_set_t one;
	int id = new_queue();
	CPU_ZERO(&one);
	CPU_SET(MUST(sched_getcpu()), &one);
	MUST(sched_setaffinity(0, sizeof one, &one));
	for (int round = 0; round < 20; round++) {
		RECEIVER(1, id, 0);
		struct msqid_ds d = queue_stat(id);
		set_policy(sleeper_pid[1], SCHED_IDLE);
		MUST(msgctl(id, IPC_SET, &d));
		MUST(send_text(id, 7, "a"));
		CHECK_EMPTY(id);
		set_policy(sleeper_pid[1], SCHED_OTHER);
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
