/*
 * cases_process.c - several processes: others attached, two at once, fork, the start of a program.
 */
#include "bench.h"
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>

extern char **environ;

static const long none = 0, one = 1, sixteen = 16, sixty_four = 64;
/* -------------------------------------------------------- others attached */

static void attach_first(void) { MUST(shmat(crowd_id(0), NULL, 0)); }

static void prepare_others(void)
{
	make_crowd(1);
	struct shmid_ds ds;
	start_children(argument, attach_first);
	MUST(shmctl(crowd_id(0), IPC_STAT, &ds));
	if (ds.shm_nattch != (unsigned long)argument) {
		fprintf(stderr, "nattch is %lu\n", (unsigned long)ds.shm_nattch);
		exit(1);
	}
}

static void finish_others(void)
{
	end_children();
	drop_crowd();
}

static uint64_t stat_first(long n)
{
	int which = crowd_id(0);
	struct shmid_ds ds;
	return TIMED(REPEAT(n) MUST(shmctl(which, IPC_STAT, &ds)));
}

/* ------------------------------------------------------------ two at once */

static uint64_t get(long n)
{
	key_t key = crowd_key(0);
	return TIMED(REPEAT(n) MUST(shmget(key, 0, 0)));
}

static uint64_t attach(long n)
{
	int id = crowd_id(0);
	return TIMED(REPEAT(n) MUST(shmdt(MUST(shmat(id, NULL, 0)))));
}

static uint64_t bare_attach(long n)
{
	return TIMED(REPEAT(n) {
		int fd = MUST(open(bare_path(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
		void *p = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
		MUST(close(fd));
		MUST(munmap(p, 4096));
	});
}

static void prepare_two_gets(void)
{
	make_crowd(1);
	start_others(1, get);
}

static void prepare_two_attaches(void)
{
	make_crowd(1);
	start_others(1, attach);
}

static void finish_two(void)
{
	end_others();
	drop_crowd();
}

static void make_bare_file(void)
{
	int fd = MUST(open(bare_path(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	MUST(ftruncate(fd, 4096));
	MUST(close(fd));
}

static void prepare_two_bare(void)
{
	make_bare_file();
	start_others(1, bare_attach);
}

static void finish_two_bare(void)
{
	end_others();
	MUST(unlink(bare_path()));
}

/* ------------------------------------------------------------------- fork */

static void prepare_attaches(void)
{
	make_crowd(1);
	for (long i = 0; i < argument; i++)
		attach_first();
}

/* The attaches end with this process, the segment goes before. */
static void finish_attaches(void) { drop_crowd(); }

static uint64_t fork_and_exit(long n)
{
	return TIMED(REPEAT(n) {
		pid_t child = MUST(fork());
		if (child == 0)
			_exit(0);
		MUST(waitpid(child, NULL, 0));
	});
}

static void prepare_bare_attaches(void)
{
	make_bare_file();
	for (long i = 0; i < argument; i++) {
		int fd = MUST(open(bare_path(), O_RDWR | O_CLOEXEC));
		MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
		MUST(close(fd));
	}
}

static void finish_bare_attaches(void) { MUST(unlink(bare_path())); }

/* ------------------------------------------------- the start of a program */

static uint64_t start(char **environment)
{
	static char *const argv[] = { "/bin/true", NULL };
	return TIMED({
		pid_t child;
		int status = 0;
		errno = posix_spawn(&child, argv[0], NULL, NULL, argv, environment);
		MUST(errno ? -1 : 0);
		MUST(waitpid(child, &status, 0));
		MUST(status ? -1 : 0);
	});
}

/* Starts differ more from each other than one library costs. So each start with what scripts/bench preloads is
 * compared with the one just before it, without: what is told is a second, plus how much longer they take. */
static uint64_t start_true(long n)
{
	char *without[] = { NULL };
	uint64_t took = 0;
	REPEAT(n) took += 1000000000 - start(without) + start(environ);
	return took;
}

/* -------------------------------------------------------------- the table */

#define NONE { NULL, NULL, NULL }

const struct bench process_benches[] = {
	{ "stat-1-other", { prepare_others, stat_first, finish_others }, NONE, 0, &one, 0 },
	{ "stat-16-others", { prepare_others, stat_first, finish_others }, NONE, 0, &sixteen, 0 },
	{ "two-get", { prepare_two_gets, get, finish_two }, NONE, 0, NULL, 0 },
	{ "two-attach", { prepare_two_attaches, attach, finish_two },
	  { prepare_two_bare, bare_attach, finish_two_bare }, 0, NULL, 0 },
	{ "fork-0", { prepare_attaches, fork_and_exit, finish_attaches },
	  { prepare_attaches, fork_and_exit, finish_attaches }, 0, &none, 0 },
	{ "fork-64", { prepare_attaches, fork_and_exit, finish_attaches },
	  { prepare_bare_attaches, fork_and_exit, finish_bare_attaches }, 0, &sixty_four, 0 },
	{ "start", { NULL, start_true, NULL }, { NULL, start_true, NULL }, 1, NULL, 0 },
	{ NULL, NONE, NONE, 0, NULL, 0 },
};
