/*
 * cases_shm.c - one process and its segments: looking up, asking, attaching, making.
 */
#include "bench.h"
#include <fcntl.h>
#include <sys/mman.h>

static const long one = 1, many = 3000;
static int id;

/* ------------------------------------------------------------- looking up */

static void prepare_crowd(void) { make_crowd(argument); }

static uint64_t get_existing(long n)
{
	key_t key = crowd_key(argument / 2);
	return TIMED(REPEAT(n) MUST(shmget(key, 0, 0)));
}

static uint64_t get_missing(long n)
{
	key_t key = crowd_key(argument) + 1;
	if (shmget(key, 0, 0) != -1 || errno != ENOENT)
		MUST((errno = EEXIST, -1));
	return TIMED(REPEAT(n) shmget(key, 0, 0));
}

static uint64_t get_with_rights(long n)
{
	key_t key = crowd_key(0);
	return TIMED(REPEAT(n) MUST(shmget(key, 4096, 0600)));
}

/* ----------------------------------------------------------------- asking */

static uint64_t stat_one(long n)
{
	int which = crowd_id(argument / 2);
	struct shmid_ds ds; /* on the stack, as nearly every program has it */
	return TIMED(REPEAT(n) MUST(shmctl(which, IPC_STAT, &ds)));
}

static void *attached;

static void prepare_own(void)
{
	make_crowd(1);
	attached = MUST(shmat(crowd_id(0), NULL, 0));
}

static void finish_own(void)
{
	MUST(shmdt(attached));
	drop_crowd();
}

static uint64_t stat_first(long n)
{
	int which = crowd_id(0);
	struct shmid_ds ds;
	return TIMED(REPEAT(n) MUST(shmctl(which, IPC_STAT, &ds)));
}

static void prepare_resident(void)
{
	prepare_own();
	*(volatile char *)attached = 1;
}

static uint64_t info(long n)
{
	struct shm_info all;
	return TIMED(REPEAT(n) MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&all)));
}

/* -------------------------------------------------------------- attaching */

static void prepare_segment(void) { id = MUST(shmget(IPC_PRIVATE, bytes, 0600)); }
static void finish_segment(void) { MUST(shmctl(id, IPC_RMID, NULL)); }

static uint64_t attach(long n) { return TIMED(REPEAT(n) MUST(shmdt(MUST(shmat(id, NULL, 0))))); }

static uint64_t attach_and_touch(long n)
{
	return TIMED(REPEAT(n) {
		volatile char *p = MUST(shmat(id, NULL, 0));
		p[0]++;
		MUST(shmdt((void *)p));
	});
}

static int make_file(void)
{
	int fd = MUST(open(bare_path(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
	MUST(ftruncate(fd, bytes));
	return fd;
}

static char *map_file(void)
{
	int fd = MUST(open(bare_path(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
	char *p = MUST(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	MUST(close(fd));
	return p;
}

static void prepare_file(void) { MUST(close(make_file())); }
static void finish_file(void) { MUST(unlink(bare_path())); }

static uint64_t bare_attach(long n) { return TIMED(REPEAT(n) MUST(munmap(map_file(), bytes))); }

static uint64_t bare_attach_and_touch(long n)
{
	return TIMED(REPEAT(n) {
		volatile char *p = map_file();
		p[0]++;
		MUST(munmap((void *)p, bytes));
	});
}

/* ----------------------------------------------------------------- making */

static void prepare_use(void)
{
	/* What the first call of a process costs is not the matter here. */
	bytes = bytes ? bytes : 4096;
	prepare_segment();
	finish_segment();
}

static uint64_t create_private(long n)
{
	return TIMED(REPEAT(n) MUST(shmctl(MUST(shmget(IPC_PRIVATE, bytes, 0600)), IPC_RMID, NULL)));
}

static uint64_t create_keyed(long n)
{
	key_t key = crowd_key(0);
	return TIMED(REPEAT(n) MUST(shmctl(MUST(shmget(key, bytes, IPC_CREAT | IPC_EXCL | 0600)), IPC_RMID, NULL)));
}

static uint64_t bare_create(long n)
{
	return TIMED(REPEAT(n) {
		MUST(close(make_file()));
		MUST(unlink(bare_path()));
	});
}

static uint64_t life(long n)
{
	return TIMED(REPEAT(n) {
		int made = MUST(shmget(IPC_PRIVATE, bytes, 0600));
		volatile char *p = MUST(shmat(made, NULL, 0));
		p[0] = 1;
		MUST(shmdt((void *)p));
		MUST(shmctl(made, IPC_RMID, NULL));
	});
}

static uint64_t bare_life(long n)
{
	return TIMED(REPEAT(n) {
		MUST(close(make_file()));
		volatile char *p = map_file();
		p[0] = 1;
		MUST(munmap((void *)p, bytes));
		MUST(unlink(bare_path()));
	});
}

static uint64_t create_many(long n)
{
	uint64_t took = TIMED(make_crowd(n));
	drop_crowd();
	return took;
}

static uint64_t remove_many(long n)
{
	make_crowd(n);
	return TIMED(drop_crowd());
}

static uint64_t bare_many(long n, int removal)
{
	size_t stem = strlen(bare_path());
	char *name = (char *)bare_path();
	uint64_t made = TIMED(for (long i = 0; i < n; i++) {
		sprintf(name + stem - 1, "%ld", i);
		MUST(close(make_file()));
	});
	uint64_t gone = TIMED(for (long i = 0; i < n; i++) {
		sprintf(name + stem - 1, "%ld", i);
		finish_file();
	});
	strcpy(name + stem - 1, "0");
	return removal ? gone : made;
}

static uint64_t bare_create_many(long n) { return bare_many(n, 0); }
static uint64_t bare_remove_many(long n) { return bare_many(n, 1); }

/* ------------------------------------------------------------- its memory */

static char *filled, *target;

static uint64_t fill(long n)
{
	uint64_t took = 0;
	REPEAT(n) {
		prepare_segment();
		char *p = MUST(shmat(id, NULL, 0));
		took += TIMED(memset(p, 1, bytes));
		MUST(shmdt(p));
		finish_segment();
	}
	return took;
}

static uint64_t bare_fill(long n)
{
	uint64_t took = 0;
	REPEAT(n) {
		prepare_file();
		char *p = map_file();
		took += TIMED(memset(p, 1, bytes));
		MUST(munmap(p, bytes));
		finish_file();
	}
	return took;
}

static void prepare_target(void)
{
	target = MUST(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
	memset(filled, 1, bytes);
}

static void prepare_copy(void)
{
	prepare_segment();
	filled = MUST(shmat(id, NULL, 0));
	prepare_target();
}

static void finish_copy(void)
{
	MUST(shmdt(filled));
	finish_segment();
}

static void prepare_bare_copy(void)
{
	prepare_file();
	filled = map_file();
	prepare_target();
}

static uint64_t copy(long n)
{
	return TIMED(REPEAT(n) {
		memcpy(target, filled, bytes);
		__asm__ volatile("" ::"r"(target) : "memory");
	});
}

/* -------------------------------------------------------------- the table */

#define CROWD(run_) { prepare_crowd, run_, drop_crowd }
#define SEGMENT(run_) { prepare_segment, run_, finish_segment }
#define FILE_(run_) { prepare_file, run_, finish_file }
#define USE(run_) { prepare_use, run_, NULL }
#define BARE(run_) { NULL, run_, NULL }
#define NONE { NULL, NULL, NULL }

enum { K = 1024, M = 1024 * K, G = 1024 * M };

const struct bench shm_benches[] = {
	{ "get-existing", CROWD(get_existing), NONE, 0, &one, 0 },
	{ "get-existing-3000", CROWD(get_existing), NONE, 0, &many, 0 },
	{ "get-missing", CROWD(get_missing), NONE, 0, &one, 0 },
	{ "get-missing-3000", CROWD(get_missing), NONE, 0, &many, 0 },
	{ "get-rights", CROWD(get_with_rights), NONE, 0, &one, 0 },
	{ "stat", CROWD(stat_one), NONE, 0, &one, 0 },
	{ "stat-own", { prepare_own, stat_first, finish_own }, NONE, 0, &one, 0 },
	{ "stat-3000", CROWD(stat_one), NONE, 0, &many, 0 },
	{ "attach-4k", SEGMENT(attach), FILE_(bare_attach), 0, NULL, 4 * K },
	{ "attach-1m", SEGMENT(attach), FILE_(bare_attach), 0, NULL, M },
	{ "attach-1g", SEGMENT(attach), FILE_(bare_attach), 0, NULL, G },
	{ "attach-touch", SEGMENT(attach_and_touch), FILE_(bare_attach_and_touch), 0, NULL, 4 * K },
	{ "create-private", USE(create_private), BARE(bare_create), 0, NULL, 4 * K },
	{ "create-keyed", USE(create_keyed), BARE(bare_create), 0, NULL, 4 * K },
	{ "life", USE(life), BARE(bare_life), 0, NULL, 4 * K },
	{ "create-3000", USE(create_many), BARE(bare_create_many), 3000, NULL, 4 * K },
	{ "remove-3000", USE(remove_many), BARE(bare_remove_many), 3000, NULL, 4 * K },
	{ "info", USE(info), NONE, 0, NULL, 0 },
	{ "info-resident", { prepare_resident, info, finish_own }, NONE, 0, NULL, 4 * K },
	{ "info-3000", CROWD(info), NONE, 0, &many, 0 },
	{ "fill-64m", USE(fill), BARE(bare_fill), 1, NULL, 64 * M },
	{ "fill-1g", USE(fill), BARE(bare_fill), 1, NULL, G },
	{ "copy-64m", { prepare_copy, copy, finish_copy }, { prepare_bare_copy, copy, NULL }, 1, NULL, 64 * M },
	{ "copy-1g", { prepare_copy, copy, finish_copy }, { prepare_bare_copy, copy, NULL }, 1, NULL, G },
	{ NULL, NONE, NONE, 0, NULL, 0 },
};
