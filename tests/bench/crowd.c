/*
 * crowd.c - many segments to be among, and the directory for bare system calls.
 */
#include "bench.h"
#include <sys/stat.h>

static int *ids;
static long count;

/* Keys as ftok makes them: not in a row, not in one half of the numbers. */
key_t crowd_key(long i) { return (key_t)(0x51000001u + (uint32_t)i * 0x00010007u); }

int crowd_id(long i) { return ids[i]; }

void make_crowd(long n)
{
	ids = calloc(n, sizeof *ids);
	for (count = 0; count < n; count++)
		ids[count] = MUST(shmget(crowd_key(count), 4096, IPC_CREAT | IPC_EXCL | 0600));
}

void drop_crowd(void)
{
	for (long i = 0; i < count; i++)
		MUST(shmctl(ids[i], IPC_RMID, NULL));
	free(ids);
	count = 0;
}

/* What the shim would call the file of a first segment, so that the path is as deep and as long. */
static char path[512];

const char *bare_path(void) { return path; }

void bare_directory(void)
{
	const char *base = getenv("BENCH_DIR");
	if (!base) {
		fprintf(stderr, "BENCH_DIR is not set\n");
		exit(2);
	}
	snprintf(path, sizeof path, "%s/.shmshim-uid%u", base, geteuid());
	MUST(mkdir(path, 0700));
	strcat(path, "/segments");
	MUST(mkdir(path, 0700));
	strcat(path, "/SYSV51000001.1500000000");
}
