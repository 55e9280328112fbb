/*
 * attack_wait.c - a lock that a living process never gives back.
 *
 * Others are refused after a bounded time, with a sentence that names him, can be ended while they wait, and come to
 * their own end.
 */
#include "attack.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { LOCK_WORD = 64, CELLS = 16384, CELL_BYTES = 64, LONG_MS = 30000 };

/* As a process that has the table and writes into it that it holds the lock, by its own cell. */
static int job_hold_lock(int argument)
{
	size_t size;
	(void)argument;
	/* Registered by an attach. */
	if (shmat(shmget(IPC_PRIVATE, PAGE, 0600), NULL, 0) == (void *)-1)
		return -1;
	volatile unsigned char *table = table_open(&size);
	if (!table)
		return -1;
	for (uint32_t i = 0; i < CELLS; i++) {
		volatile uint32_t *cell = (volatile uint32_t *)(table + CELL_AREA + i * CELL_BYTES);
		if (cell[0] == 1 && cell[2] == (uint32_t)getpid()) {
			*(volatile uint32_t *)(table + LOCK_WORD) = 1u << 30 | (cell[1] & 0xffff) << 14 | i;
			return 0;
		}
	}
	return -1;
}

static int job_hold_directory(int argument)
{
	(void)argument;
	int fd = open(the->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -1 : flock(fd, LOCK_EX);
}

static int job_exit(int argument)
{
	(void)argument;
	exit(0);
}

static int job_attach_one(int argument)
{
	(void)argument;
	return shmat(shmget(IPC_PRIVATE, PAGE, 0600), NULL, 0) == (void *)-1 ? -1 : 0;
}

static void sleep_ms(int milliseconds) { nanosleep(&(struct timespec){ 0, milliseconds * 1000000 }, NULL); }

/* Until the process is in a system call that is not the actor's reading of orders; false when it has ended it. */
static bool is_waiting(const struct actor *actor)
{
	char path[64], text[32];
	snprintf(path, sizeof path, "/proc/%d/syscall", (int)actor->pid);
	for (int i = 0; i < 2000; i++) {
		long number = -1;
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
		if (fd >= 0)
			close(fd);
		if (length > 0) {
			text[length] = '\0';
			if (sscanf(text, "%ld", &number) == 1 && (number == SYS_futex || number == SYS_flock ||
								  number == SYS_nanosleep || number == SYS_clock_nanosleep))
				return true;
		}
		sleep_ms(5);
	}
	return false;
}

static bool ends(struct actor *actor, const char *by)
{
	for (int i = 0; i < LONG_MS / 10; i++) {
		if (waitpid(actor->pid, NULL, WNOHANG) == actor->pid) {
			actor_is_gone(actor);
			return true;
		}
		sleep_ms(10);
	}
	wrong("a program that waits does not end by %s", by);
	return false;
}

/* All that others are promised while `holder` holds what they need. */
static void outlived(struct actor *holder, uid_t uid, struct actor *attached, bool names_holder)
{
	struct actor one;
	struct answer answer;
	char pid[32];

	actor_of(&one, uid);
	actor_send(&one, job_life, 0);
	if (is_waiting(&one)) {
		kill(one.pid, SIGTERM);
		ends(&one, "SIGTERM");
	} else {
		wrong("nobody waits");
	}
	actor_kill(&one);

	trace_clear();
	actor_of(&one, uid);
	actor_send(&one, job_life, 0);
	enum heard heard = actor_hear(&one, &answer, LONG_MS);
	if (heard != HEARD)
		wrong("who waits is never answered");
	else if (answer.value == 0)
		wrong("it is no lock that is held");
	snprintf(pid, sizeof pid, "%d", (int)holder->pid);
	if (heard == HEARD && !trace_says(names_holder ? pid : the->directory))
		wrong("the trace does not name %s", names_holder ? pid : the->directory);
	actor_kill(&one);

	if (attached) {
		actor_send(attached, job_exit, 0);
		ends(attached, "its own exit");
		actor_kill(attached);
	}
}

static void lock_held(void)
{
	for (int i = 0; i < 2; i++) {
		struct actor holder, attached;
		if (i) {
			place_of_root();
		} else {
			place("user", OWNER, 0700);
		}
		actor_of(&attached, OWNER);
		if (ask(&attached, job_attach_one, 0) != 0)
			fatal("no segment could be made: %s", strerror(refusal));
		actor_of(&holder, i ? STRANGER : OWNER);
		if (ask(&holder, job_hold_lock, 0) != 0)
			fatal("the table's layout is another");
		outlived(&holder, OWNER, &attached, true);
		actor_kill(&holder);
		actor_kill(&attached);
		serves(OWNER, "a user, when the lock's owner is dead,");
		place_end();
	}
}

static void directory_held(void)
{
	struct actor holder;
	place_of_root();
	must(unlink(inside("registry")), "unlink");
	actor_of(&holder, STRANGER);
	if (ask(&holder, job_hold_directory, 0) != 0)
		fatal("flock: %s", strerror(refusal));
	outlived(&holder, 0, NULL, false);
	actor_kill(&holder);
	serves(0, "root, when the directory's lock is free,");
	place_end();
}

const struct attack wait_attacks[] = {
	{ "who holds the table's lock for ever holds up nobody for ever", lock_held, 0 },
	{ "who locks the runtime directory for ever holds up nobody for ever", directory_held, 0 },
	{ NULL, NULL, 0 },
};
