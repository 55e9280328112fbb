/*
 * Processes that are killed while they sleep in msgsnd or msgrcv, or between calls.
 */
#include "msgtest.h"
#include <linux/futex.h>
#include <sys/sem.h>

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

/* The kernel does not reach what libc has in the list of robust mutexes. */
TEST(a_killed_receiver_with_a_list_of_its_own_gets_nothing)
{
	int id = new_queue(), set = MUST(semget(IPC_PRIVATE, 1, 0600));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct robust_list_head own = { .list = { &own.list } };
		MUST(semop(set, &(struct sembuf){ 0, 1, SEM_UNDO }, 1));
		MUST(syscall(SYS_set_robust_list, &own, sizeof own));
		MUST(msgrcv(id, &(struct message){ 0 }, MSGMAX, 0, 0));
		_exit(1);
	}
	UNTIL(MUST(semctl(set, 0, GETVAL)) == 1 && state_of(pid) == 'S');
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	MUST(send_text(id, 1, "x"));
	CHECK_HELD(id, "1/1");
	CHECK_EQ(MUST(semctl(set, 0, GETVAL)), 0);
	MUST(semctl(set, 0, IPC_RMID));
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

TEST(queues_that_were_removed_before_their_sleepers_died_leave_their_indices)
{
	for (int round = 0; round < 100; round++) {
		int id = new_queue_of(3);
		MUST(send_text(id, 1, "abc"));
		if (round % 2)
			RECEIVER(1, id, 7);
		else
			SENDER(1, id, 1, "d");
		stop_sleeper(1);
		MUST(remove_queue(id));
		kill_sleeper(1);
	}
	CHECK(index_of(new_queue()) < 200);
}

static struct message large = { .mtype = 1 };
enum { LARGE = 8000, ROUNDS = 150 };

/* How many bytes of memory the sets and queues of this namespace have. */
static long long memory_of_objects(void)
{
	struct stat st;
	MUST(stat(in_runtime_dir("ipc"), &st));
	return st.st_blocks * 512ll;
}

/* `takes_out`: this process takes each one out of the queue, and lives on. */
static void kill_senders(bool takes_out)
{
	SHIM_ONLY();
	int id = new_queue_of(1);
	MUST(send_text(id, 1, "a"));
	long long before = memory_of_objects();
	for (int round = 0; round < ROUNDS; round++) {
		if (sleeper_begin(1, id)) {
			msgsnd(id, &large, LARGE, 0);
			sleeper_end(1);
		}
		kill_sleeper(1);
		if (takes_out)
			CHECK_HELD(id, "1/1");
	}
	CHECK_HELD(id, "1/1");
	CHECK(memory_of_objects() - before < ROUNDS * LARGE / 2);
}

TEST(the_text_of_a_killed_sender_is_memory_again)
{
	kill_senders(false);
}

TEST(the_text_of_a_killed_sender_is_memory_again_while_its_finder_lives)
{
	kill_senders(true);
}

static int queue;
static void *receives_and_stays(void *tid)
{
	static _Thread_local struct message m;
	*(atomic_int *)tid = (int)syscall(SYS_gettid);
	msgrcv(queue, &m, MSGMAX, 0, 0);
	pause();
	return NULL;
}

enum { RECEIVERS = 3 };

/* A process with sleepers that is stopped, handed messages, and killed. */
static void kill_with_messages(int id)
{
	atomic_int *asleep = shared_memory(sizeof *asleep);
	queue = id;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		static atomic_int tid[RECEIVERS];
		pthread_t t;
		queue_stat(id);
		for (int i = 0; i < RECEIVERS; i++)
			thread_start(&t, receives_and_stays, &tid[i]);
		for (int i = 0; i < RECEIVERS; i++)
			UNTIL(tid[i] && is_asleep(tid[i]));
		*asleep = 1;
		for (;;)
			pause();
	}
	UNTIL(*asleep);
	MUST(kill(pid, SIGSTOP));
	UNTIL(state_of(pid) == 'T');
	for (int i = 0; i < RECEIVERS && i < MSGMNB / LARGE; i++)
		MUST(send_bytes(id, LARGE));
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	munmap(asleep, sizeof *asleep);
}

TEST(the_messages_of_a_killed_process_are_memory_again)
{
	SHIM_ONLY();
	if (is_supervised())
		NOT_ON_THIS_SIDE("a static program leaves the queue when it is stopped, as on the kernel");
	int id = new_queue();
	kill_with_messages(id);
	long long before = memory_of_objects();
	for (int round = 0; round < ROUNDS; round++)
		kill_with_messages(id);
	CHECK_HELD(id, "0/0");
	CHECK(memory_of_objects() - before < ROUNDS * LARGE / 2);
}

TEST(what_was_handed_to_a_killed_process_is_given_back_once)
{
	enum { TEXTS = 6 };
	int id = new_queue();
	kill_with_messages(id);
	/* Where it counts as asleep while it is stopped, the first call takes it out; else its messages are in the queue. */
	while (msgrcv(id, &large, MSGMAX, 0, IPC_NOWAIT) >= 0)
		;
	int more[TEXTS];
	for (int i = 0; i < TEXTS; i++) {
		more[i] = new_queue();
		memset(large.mtext, 'a' + i, LARGE);
		MUST(msgsnd(more[i], &large, LARGE, 0));
	}
	for (int i = 0; i < TEXTS; i++) {
		MUST(msgrcv(more[i], &large, MSGMAX, 0, IPC_NOWAIT));
		CHECK_EQ(large.mtext[0], 'a' + i);
		CHECK_EQ(large.mtext[LARGE - 1], 'a' + i);
	}
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
