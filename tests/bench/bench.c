/*
 * bench.c - measures one case of the benchmark and prints nanoseconds.
 *
 *   shmbench --list
 *   shmbench kernel|shim|bare CASE BUDGET_MS     one number; "none" where no bare system call is needed
 *   shmbench kernel|shim --scale AXIS N BUDGET_MS
 *
 * "kernel" takes an IPC namespace of its own first. "shim" says that the library is
 * preloaded, and makes sure of it. "bare" needs BENCH_DIR, a directory like the shim's.
 */
#include "bench.h"
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>

long argument;
size_t bytes;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double median_ns(uint64_t (*run)(long n), long batch, double budget_ms)
{
	enum { MOST = 4096 };
	static double each[MOST];
	uint64_t budget = (uint64_t)(budget_ms * 1e6);
	long n = batch;

	if (batch == 0)
		for (n = 1; run(n) < 500000; n *= 2)
			;
	else if (batch > 1)
		run(n); /* the first one meets cold caches */
	int taken = 0;
	uint64_t begin = now_ns();
	while (taken < MOST && (now_ns() - begin < budget || taken == 0))
		each[taken++] = (double)run(n) / (double)n;
	qsort(each, taken, sizeof each[0], by_value);
	return taken % 2 ? each[taken / 2] : (each[taken / 2 - 1] + each[taken / 2]) / 2;
}

static pid_t children[4096];
static long child_count;
static int child_end[2] = { -1, -1 };

void start_children(long n, void (*child)(void))
{
	int ready[2];
	if (child_count == 0)
		MUST(pipe(child_end));
	MUST(pipe(ready));
	for (long i = 0; i < n; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			char c;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(ready[0]);
			close(child_end[1]);
			child();
			MUST(write(ready[1], "", 1));
			while (read(child_end[0], &c, 1) > 0)
				;
			_exit(0);
		}
		children[child_count++] = pid;
	}
	close(ready[1]);
	for (long i = 0; i < n; i++) {
		char c;
		if (read(ready[0], &c, 1) != 1) {
			fprintf(stderr, "a child did not get ready\n");
			exit(1);
		}
	}
	close(ready[0]);
}

void end_children(void)
{
	close(child_end[1]);
	close(child_end[0]);
	for (long i = 0; i < child_count; i++)
		MUST(waitpid(children[i], NULL, 0));
	child_count = 0;
}

static volatile int *stop;
static int others;

void start_others(int count, uint64_t (*run)(long n))
{
	stop = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	for (others = 0; others < count; others++) {
		pid_t parent = getpid();
		if (MUST(fork()) == 0) {
			while (!*stop && getppid() == parent)
				run(200);
			_exit(0);
		}
	}
}

void end_others(void)
{
	*stop = 1;
	for (; others > 0; others--)
		MUST(wait(NULL));
}

static const struct bench *find(const char *name)
{
	const struct bench *tables[] = { shm_benches, process_benches, sem_benches };
	for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
		for (const struct bench *b = tables[t]; b->name; b++)
			if (!name)
				puts(b->name);
			else if (!strcmp(b->name, name))
				return b;
	return NULL;
}

/* Which library serves a call: the whole comparison hangs on it. */
static void check_side(const char *side, const char *call, void *function)
{
	Dl_info info;
	if (!dladdr(function, &info) || !info.dli_fname)
		return;
	int preloaded = strstr(info.dli_fname, "/libc.so") == NULL && strstr(info.dli_fname, "/libc-2") == NULL;
	if (preloaded != !strcmp(side, "shim")) {
		fprintf(stderr, "%s comes from %s: not what \"%s\" means\n", call, info.dli_fname, side);
		exit(1);
	}
}
#define CHECK_SIDE(side, call) check_side(side, #call, (void *)(uintptr_t)call)

static int among(const struct bench *table, const struct bench *bench)
{
	while (table->name && table != bench)
		table++;
	return table == bench;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		find(NULL);
		return 0;
	}
	int scaled = argc == 6 && !strcmp(argv[2], "--scale");
	if (argc != 4 && !scaled) {
		fprintf(stderr, "see the head of bench.c\n");
		return 2;
	}
	const char *side = argv[1];
	CHECK_SIDE(side, shmget);
	if (strcmp(side, "shim") != 0 && unshare(CLONE_NEWIPC) != 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWIPC) != 0) {
		fprintf(stderr, "no IPC namespace of its own: %s\n", strerror(errno));
		return 1;
	}
	if (scaled)
		return scale(argv[3], atol(argv[4]), atof(argv[5]));

	const struct bench *bench = find(argv[2]);
	if (!bench) {
		fprintf(stderr, "there is no case %s\n", argv[2]);
		return 2;
	}
	if (among(sem_benches, bench)) {
		CHECK_SIDE(side, semop);
		CHECK_SIDE(side, msgsnd);
	}
	int bare = !strcmp(side, "bare");
	const struct side *how = bare ? &bench->bare : &bench->shm;
	if (!how->run) {
		puts("none");
		return 0;
	}
	argument = bench->number ? *bench->number : 0;
	bytes = bench->bytes;
	if (bare)
		bare_directory();
	if (how->prepare)
		how->prepare();
	double ns = median_ns(how->run, bench->batch, atof(argv[3]));
	if (how->finish)
		how->finish();
	printf("%.1f\n", ns);
	return 0;
}
