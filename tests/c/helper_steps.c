/*
 * A program that makes the calls its arguments name, one after the other, and
 * prints a line for each. Tests start it where another program is needed.
 *
 *   get,KEY,SIZE,FLAGS   shmget; the id is the current one from then on; prints its index
 *   id,N                 the current id (no line)
 *   index,N              the current id is that of the segment with this index (no line)
 *   at[,ADDR[,FLAGS]]    shmat; the address is the current one from then on
 *   dt[,ADDR]            shmdt
 *   stat                 IPC_STAT, the fields that do not change from run to run
 *   rmid lock unlock     shmctl
 *   count                SHM_INFO's used_ids
 *   addr,N               the current address (no line)
 *   put,TEXT  show       write a text to the current address; print the one there
 *   touch,LEN            write to each page of so many bytes there
 *   mapped               is the current address mapped?
 *   chdir,PATH           (no line)
 *   setsid               (no line)
 *   say,TEXT             prints TEXT
 *   sid                  prints its session
 *   wait                 reads a byte from the standard input
 *   pause                sleeps until it is killed
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

__attribute__((format(printf, 1, 2))) static void line(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text - 1, fmt, ap);
	va_end(ap);
	text[n++] = '\n';
	if (write(1, text, (size_t)n) != n)
		_exit(3);
}

static void result(const char *step, long r)
{
	if (r == -1)
		line("%s -1 %s", step, strerrorname_np(errno));
	else
		line("%s %ld", step, r);
}

static int id = -1;
static char *addr;

static void step(const char *what, char *arg)
{
	char *second = arg ? strchr(arg, ',') : NULL;
	char *third = second ? strchr(second + 1, ',') : NULL;
	unsigned long n = arg ? strtoul(arg, NULL, 0) : 0;
	unsigned long m = second ? strtoul(second + 1, NULL, 0) : 0;
	struct shmid_ds d;
	struct shm_info info;
	unsigned char resident;

	if (!strcmp(what, "get")) {
		id = shmget((key_t)n, m, third ? (int)strtoul(third + 1, NULL, 0) : 0);
		result("get", id < 0 ? id : id % 32768);
	} else if (!strcmp(what, "id")) {
		id = (int)n;
	} else if (!strcmp(what, "index")) {
		id = shmctl((int)n, SHM_STAT, &d);
	} else if (!strcmp(what, "at")) {
		char *p = shmat(id, (void *)n, (int)m);
		result("at", p == (char *)-1 ? -1 : 0);
		addr = p;
	} else if (!strcmp(what, "dt")) {
		result("dt", shmdt(arg ? (void *)n : addr));
	} else if (!strcmp(what, "stat")) {
		if (shmctl(id, IPC_STAT, &d) < 0)
			result("stat", -1);
		else
			line("stat key=%#x mode=%o size=%zu nattch=%ld", (unsigned)d.shm_perm.__key,
			     d.shm_perm.mode, d.shm_segsz, (long)d.shm_nattch);
	} else if (!strcmp(what, "rmid")) {
		result("rmid", shmctl(id, IPC_RMID, NULL));
	} else if (!strcmp(what, "lock")) {
		result("lock", shmctl(id, SHM_LOCK, NULL));
	} else if (!strcmp(what, "unlock")) {
		result("unlock", shmctl(id, SHM_UNLOCK, NULL));
	} else if (!strcmp(what, "count")) {
		result("count", shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0 ? -1 : info.used_ids);
	} else if (!strcmp(what, "addr")) {
		addr = (char *)n;
	} else if (!strcmp(what, "put")) {
		strcpy(addr, arg);
	} else if (!strcmp(what, "show")) {
		line("show %s", addr);
	} else if (!strcmp(what, "touch")) {
		for (unsigned long at = 0; at < n; at += 4096)
			((volatile char *)addr)[at] = 1;
		line("touched");
	} else if (!strcmp(what, "mapped")) {
		line("%s", mincore(addr, 4096, &resident) == 0 ? "mapped" : "not mapped");
	} else if (!strcmp(what, "chdir")) {
		if (chdir(arg) < 0)
			line("chdir %s", strerrorname_np(errno));
	} else if (!strcmp(what, "setsid")) {
		if (setsid() < 0)
			line("setsid %s", strerrorname_np(errno));
	} else if (!strcmp(what, "sid")) {
		line("%d", getsid(0));
	} else if (!strcmp(what, "say")) {
		line("%s", arg);
	} else if (!strcmp(what, "wait")) {
		char c;
		while (read(0, &c, 1) < 0 && errno == EINTR)
			;
	} else if (!strcmp(what, "pause")) {
		for (;;)
			pause();
	} else {
		line("helper_steps: unknown step %s", what);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *comma = strchr(argv[i], ',');
		if (comma)
			*comma = 0;
		step(argv[i], comma ? comma + 1 : NULL);
	}
	return 0;
}
