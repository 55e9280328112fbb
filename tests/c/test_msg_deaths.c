/*
 * Processes that are killed while they sleep in msgsnd or msgrcv, or between calls.
 */
#include "msgtest.h"

TEST(a_killed_receiver_gets_nothing_and_the_next_one_does)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	RECEIVER(2, id, 0);
	RECEIVER(3, id, 0);
	kill_sleeper(1);
	MUST(send_text(id, 1, "x"));
	CHECK_RESULT(2, "1 x");
	kill_sleeper(3);
	MUST(send_text(id, 1, "y"));
	CHECK_HELD(id, "1/1");
	CHECK_STR(got(id, 0, 0), "1 y");
}

TEST(a_killed_sender_sends_nothing)
{
	int id = new_queue_of(3);
	MUST(send_text(id, 1, "abc"));
	SENDER(1, id, 1, "x");
	SENDER(2, id, 1, "yy");
	kill_sleeper(1);
	CHECK_STR(got(id, 0, 0), "1 abc");
	CHECK_RESULT(2, "sent");
	CHECK_HELD(id, "1/2");
	CHECK_STR(got(id, 0, 0), "1 yy");
}

TEST(a_killed_receiver_that_is_a_zombie_gets_nothing)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	MUST(kill(sleeper_pid[1], SIGKILL));
	siginfo_t info;
	MUST(waitid(P_PID, (id_t)sleeper_pid[1], &info, WEXITED | WNOWAIT));
	MUST(send_text(id, 1, "x"));
	CHECK_HELD(id, "1/1");
	CHECK_STR(got(id, 0, 0), "1 x");
	wait_for(sleeper_pid[1]);
}

TEST(a_stopped_receiver_that_is_killed_gets_nothing)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	stop_sleeper(1);
	kill_sleeper(1);
	MUST(send_text(id, 1, "x"));
	CHECK_HELD(id, "1/1");
}

TEST(messages_outlive_who_sent_them)
{
	int id = new_queue();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		MUST(send_text(id, 1, "last words"));
		raise(SIGKILL);
	}
	wait_for(pid);
	CHECK_EQ(queue_stat(id).msg_lspid, pid);
	CHECK_STR(got(id, 0, 0), "1 last words");
}

TEST(a_queue_outlives_who_made_it)
{
	IN_CHILD {
		MUST(send_text(MUST(msgget(0x162e, IPC_CREAT | 0600)), 1, "x"));
	}
	int id = MUST(msgget(0x162e, 0));
	CHECK_STR(got(id, 0, 0), "1 x");
}

TEST(a_receiver_that_ends_with_its_message_takes_it_along)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	MUST(send_text(id, 1, "x"));
	/* It has the message, whether it has run yet or not. */
	kill_sleeper(1);
	CHECK_HELD(id, "0/0");
	MUST(send_text(id, 1, "y"));
	CHECK_STR(got(id, 0, 0), "1 y");
}

TEST(a_dead_sender_does_not_keep_room_from_others)
{
	int id = new_queue_of(3);
	for (int round = 0; round < 10; round++) {
		MUST(send_text(id, 1, "abc"));
		SENDER(1, id, 1, "x");
		kill_sleeper(1);
		CHECK_HELD(id, "1/3");
		CHECK_STR(got(id, 0, 0), "1 abc");
	}
	CHECK_HELD(id, "0/0");
}

TEST(a_receiver_that_a_signal_ends_gets_nothing)
{
	int id = new_queue();
	RECEIVER(1, id, 0);
	RECEIVER(2, id, 0);
	MUST(kill(sleeper_pid[1], SIGTERM));
	wait_for(sleeper_pid[1]);
	MUST(send_text(id, 1, "x"));
	CHECK_RESULT(2, "1 x");
}

enum { KILLS = 60 };

TEST(kills_at_any_moment_leave_a_queue_that_works)
{
	int id = new_queue_of(64);
	unsigned random = 7;
	for (int round = 0; round < KILLS; round++) {
		pid_t worker[2];
		for (int w = 0; w < 2; w++)
			if ((worker[w] = MUST(fork())) == 0) {
				struct message in;
				for (;;)
					if (w)
						msgrcv(id, &in, MSGMAX, 0, 0);
					else
						send_with(id, 1, "0123456789abcdef", 0);
			}
		for (unsigned spin = next_random(&random) * 8; spin--;)
			__asm__ volatile("");
		for (int w = 0; w < 2; w++)
			kill(worker[w], SIGKILL);
		for (int w = 0; w < 2; w++)
			wait_for(worker[w]);
		struct msqid_ds d = queue_stat(id);
		REQUIRE(d.msg_qnum <= 4 && d.__msg_cbytes == 16 * d.msg_qnum);
		while (!strcmp(got(id, 0, 0), "1 0123456789abcdef"))
			;
		CHECK_HELD(id, "0/0");
		/* The next one is asleep, is served, and frees its place. */
		RECEIVER(1, id, 0);
		MUST(send_text(id, 2, "alive"));
		CHECK_RESULT(1, "2 alive");
	}
}
