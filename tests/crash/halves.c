/*
 * halves.c - a program is killed at any instruction of a call on a semaphore set or a message queue. The next one finds the
 * object as before the call or as behind it, and who slept in it sleeps on or is served.
 *
 *   halves [--sample N] [--only CASE] [--at STEP] [--seed N] [--leaks KILLS]
 *
 * --sample N     so many instructions of each call (20); 0: all
 * --leaks N      in place of all that: has N programs killed at random moments, and says how the file grows
 */
#include "crash.h"

#include <getopt.h>
#include <stdatomic.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#ifndef MSG_INFO
#define MSG_INFO 12
#endif

/* A lost wake-up is made up for within a second; the rest is for a loaded machine. */
enum { SEMAPHORES = 3, SLEEPERS = 3, PATIENCE = 20000, TEXT = 600 };

union semun { int val; struct semid_ds *buf; unsigned short *array; };

struct letter {
	long type;
	char text[TEXT];
};

/* What is between the processes of a trial. */
static struct scene {
	int set, queue;
	key_t key;
	atomic_ulong rounds;
	struct slept {
		atomic_int pid, done;
		int value, error;
		struct letter letter;
	} slept[SLEEPERS];
} *scene;

static unsigned long long random_state = 1;


static unsigned pick(unsigned below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(random_state >> 33) % below;
}

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#define OPS(...)                                                                                   \
	({                                                                                         \
		struct sembuf ops_[] = { __VA_ARGS__ };                                            \
		semop(scene->set, ops_, sizeof ops_ / sizeof *ops_);                               \
	})

static void values_are(int a, int b, int c)
{
	unsigned short values[SEMAPHORES] = { a, b, c };
	if (semctl(scene->set, 0, SETALL, (union semun){ .array = values }) < 0)
		fatal("SETALL: %s", strerror(errno));
}

/* --- those who sleep */

static struct slept *begin_sleeper(int number, void (*call)(struct slept *))
{
	struct slept *slept = &scene->slept[number];
	atomic_store(&slept->done, 0);
	pid_t pid = fork();
	if (pid == 0) {
		call(slept);
		slept->error = errno;
		atomic_store(&slept->done, 1);
		pause();
		_exit(0);
	}
	atomic_store(&slept->pid, pid);
	char path[40];
	snprintf(path, sizeof path, "/proc/%d/syscall", pid);
	for (long begun = now(); now() - begun < PATIENCE; sched_yield()) {
		int number_of_call = -1;
		FILE *file = fopen(path, "re");
		if (file && fscanf(file, "%d", &number_of_call) != 1)
			number_of_call = -1;
		if (file)
			fclose(file);
		if (number_of_call == 202 || number_of_call == 449)
			return slept;
	}
	fatal("nobody sleeps");
}

static bool wait_for(struct slept *slept)
{
	for (long begun = now(); now() - begun < PATIENCE; usleep(500))
		if (atomic_load(&slept->done))
			return true;
	return false;
}

static void take_one(struct slept *slept) { slept->value = OPS({ 1, -1, 0 }); }
static void take_one_with_undo(struct slept *slept) { slept->value = OPS({ 1, -1, SEM_UNDO }); }
static void take_two_of_two(struct slept *slept) { slept->value = OPS({ 1, -1, 0 }, { 2, -1, 0 }); }
static void get_letter(struct slept *slept) { slept->value = msgrcv(scene->queue, &slept->letter, TEXT, 0, 0); }
static void send_letter(struct slept *slept)
{
	slept->letter = (struct letter){ 7, "from a sleeper" };
	slept->value = msgsnd(scene->queue, &slept->letter, TEXT, 0);
}

/* --- cases: what is there, what the victim does, and what is right afterwards */

static char reason[300];
#define MUST_BE(condition)                                                                          \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			snprintf(reason, sizeof reason, "not so: %s", #condition);                  \
			return false;                                                              \
		}                                                                                  \
	} while (0)

static int value(int number) { return semctl(scene->set, number, GETVAL); }
static int waiting(int number) { return semctl(scene->set, number, GETNCNT); }
static int letters(void)
{
	struct msqid_ds d;
	return msgctl(scene->queue, IPC_STAT, &d) < 0 ? -errno : (int)d.msg_qnum;
}
static int send_one(long type, size_t size)
{
	struct letter letter = { .type = type };
	memset(letter.text, 'a', sizeof letter.text);
	return msgsnd(scene->queue, &letter, size, IPC_NOWAIT);
}
static int get_one(void)
{
	struct letter letter;
	int got = msgrcv(scene->queue, &letter, TEXT, 0, IPC_NOWAIT);
	for (int i = 0; i < got && letter.type != 7; i++)
		if (letter.text[i] != 'a')
			return -2;
	return got;
}

/* Tokens that go from one to the other. */
static void plain_set(void) { values_are(5, 0, 2); }
static void move_one(void) { OPS({ 0, -1, 0 }, { 1, 1, 0 }); }
static bool moved_or_not(void)
{
	int first = value(0), second = value(1);
	MUST_BE((first == 5 && second == 0) || (first == 4 && second == 1));
	return true;
}

static void borrow_one(void) { OPS({ 0, -1, SEM_UNDO }); }
static bool nothing_moved(void)
{
	MUST_BE(value(0) == 5 && value(1) == 0 && value(2) == 2);
	MUST_BE(waiting(0) == 0 && waiting(1) == 0);
	/* Nobody who is dead takes what comes. */
	MUST_BE(OPS({ 1, 1, 0 }) == 0 && value(1) == 1);
	return true;
}

static void set_with_sleeper(void)
{
	plain_set();
	begin_sleeper(0, take_one);
}
static bool served_or_asleep(void)
{
	struct slept *slept = &scene->slept[0];
	if (value(0) == 4) {
		MUST_BE(wait_for(slept));
	} else {
		MUST_BE(value(0) == 5 && waiting(1) == 1 && !atomic_load(&slept->done));
		MUST_BE(OPS({ 1, 1, 0 }) == 0);
		MUST_BE(wait_for(slept));
	}
	MUST_BE(slept->value == 0 && value(1) == 0 && waiting(1) == 0);
	return true;
}

static void set_with_three(void)
{
	plain_set();
	begin_sleeper(0, take_one);
	begin_sleeper(1, take_two_of_two);
	begin_sleeper(2, take_one_with_undo);
}
static void give_three(void) { OPS({ 1, 3, 0 }); }
static void set_three(void) { semctl(scene->set, 1, SETVAL, (union semun){ .val = 3 }); }
static void set_all_three(void)
{
	unsigned short values[SEMAPHORES] = { 5, 3, 2 };
	semctl(scene->set, 0, SETALL, (union semun){ .array = values });
}
static bool all_served_or_none(void)
{
	if (waiting(1) != 0) {
		MUST_BE(waiting(1) == 3 && value(1) == 0 && value(2) == 2);
		give_three();
	}
	MUST_BE(waiting(1) == 0 && value(1) == 0 && value(2) == 1);
	for (int i = 0; i < SLEEPERS; i++)
		MUST_BE(wait_for(&scene->slept[i]) && scene->slept[i].value == 0);
	return true;
}

static void sleep_a_while(void)
{
	struct sembuf ops[] = { { 1, -1, SEM_UNDO }, { 0, -1, 0 } };
	semtimedop(scene->set, ops, 2, &(struct timespec){ 0, 1000000 });
}

static void change_mode(void)
{
	struct semid_ds d = { .sem_perm = { .uid = geteuid(), .gid = getegid(), .mode = 0640 } };
	semctl(scene->set, 0, IPC_SET, (union semun){ .buf = &d });
}
static bool mode_is_one_of_two(void)
{
	struct semid_ds d;
	MUST_BE(semctl(scene->set, 0, IPC_STAT, (union semun){ .buf = &d }) == 0);
	MUST_BE((d.sem_perm.mode & 0777) == 0640 || (d.sem_perm.mode & 0777) == 0600);
	return nothing_moved();
}

static void remove_set(void) { semctl(scene->set, 0, IPC_RMID); }
static bool set_is_gone_or_not(void)
{
	if (value(0) == 5)
		return all_served_or_none();
	MUST_BE(errno == EINVAL);
	for (int i = 0; i < SLEEPERS; i++)
		MUST_BE(wait_for(&scene->slept[i]) && scene->slept[i].value == -1 && scene->slept[i].error == EIDRM);
	return true;
}

/* One who owed something has died. */
static void set_with_a_debt(void)
{
	plain_set();
	pid_t pid = fork();
	if (pid == 0) {
		OPS({ 0, -1, SEM_UNDO }, { 2, 1, SEM_UNDO });
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
}
static void give_and_take(void) { OPS({ 0, -1, 0 }, { 1, 1, 0 }); }
static bool debt_is_paid_once(void)
{
	MUST_BE(value(2) == 2);
	return moved_or_not();
}

static void new_set(void) { semget(scene->key, SEMAPHORES, IPC_CREAT | IPC_EXCL | 0600); }
static bool new_set_or_none(void)
{
	int id = semget(scene->key, 0, 0);
	if (id < 0)
		MUST_BE(errno == ENOENT);
	int again = semget(scene->key, SEMAPHORES, IPC_CREAT | 0600);
	MUST_BE(again >= 0 && (id < 0 || id == again));
	MUST_BE(semctl(again, 0, SETVAL, (union semun){ .val = 1 }) == 0 && semctl(again, 0, GETVAL) == 1);
	MUST_BE(semctl(again, 0, IPC_RMID) == 0 && semget(scene->key, 0, 0) == -1 && errno == ENOENT);
	return nothing_moved();
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
static void remove_keyed(void) { semctl(semget(scene->key, 0, 0), 0, IPC_RMID); }
static void keyed_set(void)
{
	plain_set();
	new_set();
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

static const struct step_case {
	const char *name;
	void (*arrange)(void), (*act)(void);
	bool (*is_right)(void);
	bool is_cold; /* the victim's first call */
} cases[] = {
	{ "semop", plain_set, move_one, moved_or_not, false },
	{ "semop-undo", plain_set, borrow_one, nothing_moved, false },
	{ "semop-first-call", plain_set, borrow_one, nothing_moved, true },
	{ "semop-serves", set_with_sleeper, move_one, served_or_asleep, false },
	{ "semop-serves-three", set_with_three, give_three, all_served_or_none, false },
	{ "semop-sleeps", plain_set, sleep_a_while, nothing_moved, false },
	{ "semop-pays-debts", set_with_a_debt, give_and_take, debt_is_paid_once, false },
	{ "setval-serves", set_with_three, set_three, all_served_or_none, false },
	{ "setall-serves", set_with_three, set_all_three, all_served_or_none, false },
	{ "set-mode", plain_set, change_mode, mode_is_one_of_two, false },
	{ "remove-set", set_with_three, remove_set, set_is_gone_or_not, false },
	{ "semget", plain_set, new_set, new_set_or_none, false },
	{ "semget-first-call", plain_set, new_set, new_set_or_none, true },
	{ "remove-keyed", keyed_set, remove_keyed, new_set_or_none, false },
	{ "msgget", plain_set, new_queue, new_queue_or_none, false },
	{ "msgsnd", two_letters, send_third, two_or_three, false },
	{ "msgrcv", two_letters, get_first, one_or_two, false },
	{ "msgsnd-serves", queue_with_receiver, send_third, got_or_asleep, false },
	{ "msgrcv-serves", full_queue, get_first, sent_or_asleep, false },
	{ "msgrcv-sleeps", plain_set, wait_for_letter, queue_is_usable, false },
	{ "remove-queue", queue_with_both, remove_queue, queue_is_gone_or_not, false },
};
enum { CASES = sizeof cases / sizeof *cases };

/* --- the victim, step by step */

static pid_t begin_victim_of(const struct step_case *it)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		if (!it->is_cold) {
			value(0);
			OPS({ 2, 1, SEM_UNDO }, { 2, -1, SEM_UNDO });
		}
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		it->act();
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		fatal("the victim does not stop");
	ptrace(PTRACE_SETOPTIONS, pid, 0, (long)PTRACE_O_EXITKILL);
	return pid;
}

/* At most so many steps; how many there were until its end. */
static long step(pid_t pid, long most)
{
	int signal = 0, status;
	long steps = 0;
	while (steps < most) {
		if (ptrace(PTRACE_SINGLESTEP, pid, 0, (long)signal) < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			return -steps;
		signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		steps++;
	}
	return steps;
}

static bool try(const struct step_case *it, long at, long *steps)
{
	scene->set = semget(IPC_PRIVATE, SEMAPHORES, 0600);
	scene->queue = msgget(IPC_PRIVATE, 0600);
	scene->key++;
	for (int i = 0; i < SLEEPERS; i++)
		atomic_store(&scene->slept[i].pid, 0);
	if (scene->set < 0 || scene->queue < 0)
		fatal("no set or queue: %s", strerror(errno));
	it->arrange();
	pid_t victim = begin_victim_of(it);
	*steps = step(victim, at);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	bool right = it->is_right();
	for (int i = 0; i < SLEEPERS; i++) {
		pid_t pid = atomic_load(&scene->slept[i].pid);
		if (pid > 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
	semctl(scene->set, 0, IPC_RMID);
	msgctl(scene->queue, IPC_RMID, NULL);
	int keyed = semget(scene->key, 0, 0);
	if (keyed >= 0)
		semctl(keyed, 0, IPC_RMID);
	/* Nothing is left that anybody could see. */
	struct seminfo sets;
	struct msginfo queues;
	if (right && (semctl(0, 0, SEM_INFO, (void *)&sets) < 0 || sets.semusz != 0 || sets.semaem != 0)) {
		snprintf(reason, sizeof reason, "%d sets with %d semaphores are left", sets.semusz, sets.semaem);
		right = false;
	}
	if (right && (msgctl(0, MSG_INFO, (void *)&queues) < 0 || queues.msgpool != 0)) {
		snprintf(reason, sizeof reason, "%d queues are left", queues.msgpool);
		right = false;
	}
	if (right)
		passed();
	else
		failed("%s, killed behind %ld instructions: %s", it->name, *steps, reason);
	return right;
}

static long arena_bytes(void)
{
	char path[400];
	unsigned long long end = 0;
	snprintf(path, sizeof path, "%s/ipc", the->directory);
	FILE *file = fopen(path, "re");
	if (!file || fseek(file, 64, SEEK_SET) != 0 || fread(&end, sizeof end, 1, file) != 1)
		end = 0;
	if (file)
		fclose(file);
	return (long)end;
}

static void try_all(const struct step_case *it, int sample, long at)
{
	long steps, begun = now(), tried = 1, had_failed = counted.failed;
	try(it, at >= 0 ? at : 10000000, &steps);
	long total = labs(steps), every = sample ? (total + sample - 1) / sample : 1;
	if (at < 0)
		for (long step_at = sample ? pick(every) : 0; step_at < total; step_at += sample ? 1 + pick(2 * every - 1) : 1, tried++)
			try(it, step_at, &steps);
	printf("%-20s %6ld instructions, %4ld kills, %ld failed; %ld ms\n", it->name, total, tried, counted.failed - had_failed,
	       now() - begun);
	fflush(stdout);
}

/* --- what is lost by kills */

static void busy(void)
{
	for (;;) {
		move_one();
		OPS({ 1, -1, SEM_UNDO }, { 0, 1, SEM_UNDO });
		send_one(1 + pick(3), pick(TEXT));
		get_one();
		int brief = semget(IPC_PRIVATE, 3, 0600);
		semctl(brief, 0, IPC_RMID);
		atomic_fetch_add(&scene->rounds, 1);
	}
}

/* Sets that somebody was killed with, which is no loss. */
static void remove_brief(void)
{
	struct semid_ds d;
	struct seminfo info;
	int last = semctl(0, 0, SEM_INFO, (void *)&info);
	for (int index = 0; index <= last && info.semusz > 1; index++) {
		int id = semctl(index, 0, SEM_STAT, (union semun){ .buf = &d });
		if (id >= 0 && id != scene->set)
			semctl(id, 0, IPC_RMID);
	}
}

static void leak(int kills)
{
	long sizes[5] = { 0 };
	scene->set = semget(IPC_PRIVATE, SEMAPHORES, 0600);
	scene->queue = msgget(IPC_PRIVATE, 0600);
	plain_set();
	for (int i = 0; i < kills; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			random_state += i;
			busy();
		}
		unsigned long seen = atomic_load(&scene->rounds);
		while (atomic_load(&scene->rounds) == seen)
			usleep(50);
		for (volatile unsigned spins = pick(20000); spins > 0; spins--)
			;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		values_are(5, 2, 2);
		while (get_one() >= 0)
			;
		remove_brief();
		if (i % (kills / 5) == kills / 5 - 1)
			sizes[i / (kills / 5)] = arena_bytes();
	}
	/* No more than what they have in use, several times over. */
	if (sizes[4] > 768 << 10)
		failed("%ld KiB of blocks behind %d kills", sizes[4] / 1024, kills);
	else
		passed();
	printf("%d kills: %ld, %ld, %ld, %ld, %ld KiB of blocks\n", kills, sizes[0] / 1024, sizes[1] / 1024, sizes[2] / 1024,
	       sizes[3] / 1024, sizes[4] / 1024);
}

int main(int argc, char **arguments)
{
	static const struct option options[] = {
		{ "sample", 1, 0, 's' }, { "only", 1, 0, 'o' }, { "at", 1, 0, 'a' }, { "seed", 1, 0, 'r' }, { "leaks", 1, 0, 'l' }, { 0 },
	};
	int sample = 20, option, kills = 0;
	long at = -1;
	const char *only = NULL;
	while ((option = getopt_long(argc, arguments, "", options, NULL)) >= 0)
		switch (option) {
		case 's': sample = atoi(optarg); break;
		case 'o': only = optarg; break;
		case 'a': at = atol(optarg); break;
		case 'r': random_state = strtoull(optarg, NULL, 0); break;
		case 'l': kills = atoi(optarg); break;

		default: return 2;
		}
	const char *root_of_all = base_begin(false);
	atexit(base_end);
	snprintf(the->base, sizeof the->base, "%s", root_of_all);
	snprintf(the->directory, sizeof the->directory, "%s/.shmshim-uid%d", the->base, (int)geteuid());
	setenv("SHMSHIM_DIR", the->base, 1);
	setenv("SHMSHIM_SCOPE", "user", 1);
	scene = mmap(NULL, sizeof *scene, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	scene->key = 0x6000;
	if (kills)
		leak(kills);
	else
		for (int i = 0; i < CASES; i++)
			if (!only || strcmp(only, cases[i].name) == 0)
				try_all(&cases[i], sample, at);
	printf("%ld KiB of blocks\n", arena_bytes() / 1024);
	return count_up();
}
