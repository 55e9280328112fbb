/* early_late.h - shared memory used before main and after it, a line on standard output for each time. */
#ifndef EARLY_LATE_H
#define EARLY_LATE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *when, const char *what, int err)
{
	char line[200];
	int n = snprintf(line, sizeof line, "%s: %s%s%s\n", when, what, err ? " " : "", err ? strerrorname_np(err) : "");
	if (write(1, line, (size_t)n) != n)
		_exit(3);
}

/* A segment made, used by this process and by a child of it, and removed. */
static void use_shm(const char *when)
{
	struct shmid_ds d;
	int status, id = shmget(IPC_PRIVATE, 5000, 0600);
	if (id < 0) {
		say(when, "shmget", errno);
		return;
	}
	char *p = shmat(id, NULL, 0);
	if (p == (char *)-1) {
		say(when, "shmat", errno);
		return;
	}
	strcpy(p, when);
	pid_t pid = fork();
	if (pid == 0) {
		if (shmctl(id, IPC_STAT, &d) < 0 || d.shm_nattch != 2 || strcmp(p, when) != 0)
			_exit(1);
		_exit(shmdt(p) < 0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		say(when, "child", 0);
	else if (shmctl(id, IPC_STAT, &d) < 0)
		say(when, "IPC_STAT", errno);
	else if (d.shm_nattch != 1)
		say(when, "nattch", 0);
	else if (shmctl(id, IPC_RMID, NULL) < 0)
		say(when, "IPC_RMID", errno);
	else if (shmdt(p) < 0)
		say(when, "shmdt", errno);
	else
		say(when, "ok", 0);
}

/* What is attached early is still there late. */
static char *kept;
static void keep(const char *when, int key)
{
	int id = shmget(key, 100, IPC_CREAT | 0600);
	kept = id < 0 ? (char *)-1 : shmat(id, NULL, 0);
	if (kept == (char *)-1)
		say(when, "keep", errno);
	else
		strcpy(kept, "kept");
}
static void give_back(const char *when, int key)
{
	if (kept == (char *)-1 || strcmp(kept, "kept") != 0)
		say(when, "not kept", 0);
	else if (shmdt(kept) < 0)
		say(when, "shmdt of what was kept", errno);
	else if (shmctl(shmget(key, 0, 0), IPC_RMID, NULL) < 0)
		say(when, "IPC_RMID of what was kept", errno);
	else
		say(when, "kept", 0);
}

#endif
