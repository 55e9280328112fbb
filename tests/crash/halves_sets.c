/*
 * halves_sets.c - calls on a semaphore set that are killed.
 */
#include "halves.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static void take_one_with_undo(struct slept *slept) { slept->value = OPS({ 1, -1, SEM_UNDO }); }
static void take_two_of_two(struct slept *slept) { slept->value = OPS({ 1, -1, 0 }, { 2, -1, 0 }); }

static bool moved_or_not(void)
{
	int first = value(0), second = value(1);
	MUST_BE((first == 5 && second == 0) || (first == 4 && second == 1));
	return true;
}

static void borrow_one(void) { OPS({ 0, -1, SEM_UNDO }); }

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
static void remove_keyed(void) { semctl(semget(scene->key, 0, 0), 0, IPC_RMID); }
static void keyed_set(void)
{
	plain_set();
	new_set();
}

const struct step_case set_cases[] = {
	{ "semop", plain_set, move_one, moved_or_not, false, NULL },
	{ "semop-undo", plain_set, borrow_one, nothing_moved, false, NULL },
	{ "semop-first-call", plain_set, borrow_one, nothing_moved, true, NULL },
	{ "semop-serves", set_with_sleeper, move_one, served_or_asleep, false, NULL },
	{ "semop-serves-three", set_with_three, give_three, all_served_or_none, false, NULL },
	{ "semop-sleeps", plain_set, sleep_a_while, nothing_moved, false, NULL },
	{ "semop-pays-debts", set_with_a_debt, give_and_take, debt_is_paid_once, false, NULL },
	{ "setval-serves", set_with_three, set_three, all_served_or_none, false, NULL },
	{ "setall-serves", set_with_three, set_all_three, all_served_or_none, false, NULL },
	{ "set-mode", plain_set, change_mode, mode_is_one_of_two, false, NULL },
	{ "remove-set", set_with_three, remove_set, set_is_gone_or_not, false, NULL },
	{ "semget", plain_set, new_set, new_set_or_none, false, NULL },
	{ "semget-first-call", plain_set, new_set, new_set_or_none, true, NULL },
	{ "remove-keyed", keyed_set, remove_keyed, new_set_or_none, false, NULL },
	{ 0 },
};
