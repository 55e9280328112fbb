/* Namespaces of the kernel's: a fresh one for each run, and a list of what is in it afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include "conductor.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

static bool write_small(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static const char *because(const char *format)
{
	static char reason[200];

	snprintf(reason, sizeof reason, format, strerror(errno));
	return reason;
}

/* A fresh IPC namespace; without root inside a user namespace in which the ids stay what they are. */
const char *enter_namespace(bool kernel)
{
	unsigned uid = geteuid(), gid = getegid();
	char map[64];

	if (uid == 0) {
		if (unshare(CLONE_NEWIPC))
			return because("no IPC namespace of its own: %s");
		return NULL;
	}
	if (!kernel)
		return NULL; /* in a user namespace the directories above would belong to nobody */
	if (unshare(CLONE_NEWUSER | CLONE_NEWIPC))
		return because("not root, and no user namespace: %s");
	snprintf(map, sizeof map, "%u %u 1", uid, uid);
	if (!write_small("/proc/self/uid_map", map))
		return because("cannot map the own uid into a user namespace: %s");
	write_small("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1", gid, gid);
	if (!write_small("/proc/self/gid_map", map))
		return because("cannot map the own gid into a user namespace: %s");
	return NULL;
}

static bool read_small(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, out, size - 1);

	if (fd >= 0)
		close(fd);
	out[length < 0 ? 0 : length] = '\0';
	return length > 0;
}

/* Under the shim nothing may have reached the kernel: its namespace is as empty as it was made. */
const char *leak(void)
{
	static const char *const files[][2] = {
		{ "/proc/sys/kernel/shmmax", "18446744073692774399\n" }, { "/proc/sys/kernel/shmall", "18446744073692774399\n" },
		{ "/proc/sys/kernel/shmmni", "4096\n" }, { "/proc/sys/kernel/shm_rmid_forced", "0\n" },
	};
	struct shm_info info;
	struct seminfo sets;
	struct msginfo queues;
	char text[64];

	if (shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0 || info.used_ids)
		return "segments were made in the kernel";
	if (semctl(0, 0, SEM_INFO, &sets) < 0 || sets.semusz)
		return "sets of semaphores were made in the kernel";
	if (msgctl(0, MSG_INFO, (struct msqid_ds *)&queues) < 0 || queues.msgpool)
		return "message queues were made in the kernel";
	for (size_t k = 0; k < sizeof files / sizeof files[0]; k++)
		if (read_small(files[k][0], text, sizeof text) && strcmp(text, files[k][1]) != 0)
			return "a limit of the kernel was changed";
	return "";
}

/*
 * Locked memory is counted per user until the kernel gets round to dismantling a dead namespace;
 * the next run should not find it.
 */
void remove_all(void)
{
	struct shminfo limits;
	struct shmid_ds ds;
	int highest = shmctl(0, IPC_INFO, (struct shmid_ds *)&limits);

	for (int index = 0; index <= highest; index++) {
		int id = shmctl(index, SHM_STAT_ANY, &ds);

		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
	}
}
