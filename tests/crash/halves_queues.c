/*
 * halves_queues.c - calls on a message queue that are killed.
 */
#include "halves.h"

#include <signal.h>
#include <sys/time.h>

static void get_letter(struct slept *slept) { slept->value = msgrcv(scene->queue, &slept->letter, TEXT, 0, 0); }
static void send_letter(struct slept *slept)
{
	slept->letter = (struct letter){ 7, "from a sleeper" };
	slept->value = msgsnd(scene->queue, &slept->letter, TEXT, 0);
}

static void new_queue(void) { msgget(scene->key, IPC_CREAT | IPC_EXCL | 0600); }
static bool new_queue_or_none(void)
{
	int id = msgget(scene->key, 0);
	if (id < 0)
		MUST_BE(errno == ENOENT);
	int again = msgget(scene->key, IPC_CREAT | 0600);
	MUST_BE(again >= 0 && (id < 0 || id == again));
	MUST_BE(msgctl(again, IPC_RMID, NULL) == 0 && msgget(scene->key, 0) == -1 && errno == ENOENT);
	return nothing_moved();
}

static void two_letters(void)
{
	plain_set();
	if (send_one(1, 100) < 0 || send_one(2, TEXT) < 0)
		fatal("msgsnd: %s", strerror(errno));
}
static void send_third(void) { send_one(3, 300); }
static bool two_or_three(void)
{
	int there = letters();
	MUST_BE(there == 2 || there == 3);
	MUST_BE(get_one() == 100 && get_one() == TEXT);
	MUST_BE(there == 2 || get_one() == 300);
	MUST_BE(letters() == 0);
	return true;
}
static void get_first(void) { get_one(); }
static bool one_or_two(void)
{
	int there = letters();
	MUST_BE(there == 1 || there == 2);
	MUST_BE(there == 1 || get_one() == 100);
	MUST_BE(get_one() == TEXT && letters() == 0);
	return true;
}

static void queue_with_receiver(void)
{
	plain_set();
	begin_sleeper(0, get_letter);
}
static bool got_or_asleep(void)
{
	struct slept *slept = &scene->slept[0];
	struct msqid_ds d;
	MUST_BE(letters() == 0 && msgctl(scene->queue, IPC_STAT, &d) == 0);
	bool was_sent = d.msg_lspid != 0;
	if (!was_sent)
		MUST_BE(!atomic_load(&slept->done) && send_one(3, 300) == 0);
	MUST_BE(wait_for(slept) && slept->value == 300 && letters() == 0);
	for (int i = 0; i < 300; i++)
		MUST_BE(slept->letter.text[i] == 'a');
	return true;
}

static void full_queue(void)
{
	struct msqid_ds d;
	plain_set();
	if (msgctl(scene->queue, IPC_STAT, &d) < 0)
		fatal("msgctl: %s", strerror(errno));
	d.msg_qbytes = TEXT + 100;
	if (msgctl(scene->queue, IPC_SET, &d) < 0 || send_one(1, TEXT) < 0)
		fatal("the queue cannot be filled: %s", strerror(errno));
	begin_sleeper(0, send_letter);
}
static bool sent_or_asleep(void)
{
	struct slept *slept = &scene->slept[0];
	struct letter letter;
	if (!atomic_load(&slept->done)) {
		int got = get_one();
		MUST_BE(got == TEXT || got == -1);
	}
	MUST_BE(wait_for(slept) && slept->value == 0);
	MUST_BE(msgrcv(scene->queue, &letter, TEXT, 7, IPC_NOWAIT) == TEXT && letters() == 0);
	return true;
}

static void on_alarm(int signal) { (void)signal; }
static void wait_for_letter(void)
{
	struct letter letter;
	struct sigaction action = { .sa_handler = on_alarm };
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 2000 }, { 0, 2000 } }, NULL);
	msgrcv(scene->queue, &letter, TEXT, 0, 0);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
}
static bool queue_is_usable(void)
{
	MUST_BE(letters() == 0 && send_one(3, 300) == 0 && letters() == 1 && get_one() == 300);
	return true;
}

static void queue_with_both(void)
{
	two_letters();
	begin_sleeper(0, take_one);
	struct msqid_ds d;
	msgctl(scene->queue, IPC_STAT, &d);
	d.msg_qbytes = TEXT + 100;
	msgctl(scene->queue, IPC_SET, &d);
	begin_sleeper(1, send_letter);
}
static void remove_queue(void) { msgctl(scene->queue, IPC_RMID, NULL); }
static bool queue_is_gone_or_not(void)
{
	struct slept *slept = &scene->slept[1];
	if (letters() >= 0) {
		MUST_BE(get_one() == 100 && get_one() == TEXT);
		MUST_BE(wait_for(slept) && slept->value == 0 && letters() == 1);
		return true;
	}
	MUST_BE(errno == EINVAL || errno == EIDRM);
	MUST_BE(wait_for(slept) && slept->value == -1 && slept->error == EIDRM);
	return true;
}

const struct step_case queue_cases[] = {
	{ "msgget", plain_set, new_queue, new_queue_or_none, false, NULL },
	{ "msgsnd", two_letters, send_third, two_or_three, false, NULL },
	{ "msgrcv", two_letters, get_first, one_or_two, false, NULL },
	{ "msgsnd-serves", queue_with_receiver, send_third, got_or_asleep, false, NULL },
	{ "msgrcv-serves", full_queue, get_first, sent_or_asleep, false, NULL },
	{ "msgrcv-sleeps", plain_set, wait_for_letter, queue_is_usable, false, NULL },
	{ "remove-queue", queue_with_both, remove_queue, queue_is_gone_or_not, false, NULL },
	{ 0 },
};
