/* The command line: many seeds at a time, one seed closely, or the test of the test. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compare.h"

static struct {
	uint64_t seed;
	int seeds, steps, jobs;
	bool replay, minimise, verbose, self_test, kernel_only, trace, reap_at_once, waits;
	enum profile profile;
	int64_t own_uid, own_gid;
	const char *library, *worker, *base, *without;
} options = { .seed = 1, .seeds = 40, .steps = 150, .jobs = 10, .without = "" };

static int passed, failed, skipped;

static bool has_huge_pages(void)
{
	unsigned long total = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && fgets(line, sizeof line, file))
		sscanf(line, "HugePages_Total: %lu", &total);
	if (file)
		fclose(file);
	return total > 0;
}

static bool no_exec(void)
{
	struct statvfs mount;

	return statvfs(options.base, &mount) == 0 && mount.f_flag & ST_NOEXEC;
}

/* Root in the place of an ordinary user: a different one for each, because a user's locked memory is counted over all. */
static int64_t own_uid(uint64_t seed)
{
	return options.own_uid ? options.own_uid : 54400 + (int64_t)(seed % 97);
}

/* The program of a seed, and both sides. */
static struct program *prepare(struct pair *pair, uint64_t seed)
{
	struct program *program = malloc(sizeof *program);

	if (!program)
		exit(1);
	generate(program, seed, options.steps, options.profile, own_uid(seed), options.own_gid, options.waits);
	memset(pair, 0, sizeof *pair);
	pair->program = program;
	pair->base = options.base;
	for (int k = 0; k < program->count; k++) {
		struct step *step = &program->steps[k];

		pair->kept[k] = !step_matches(step, options.without);
		/* Divergence: on a mount with noexec, as /dev/shm often is, nothing can be mapped to be executed. */
		if (step->op == OP_AT && no_exec())
			step->n[0] &= ~(int64_t)SHM_EXEC;
		if (step->op == OP_MPROTECT && no_exec())
			step->n[0] &= ~(int64_t)PROT_EXEC;
		/* Divergence: where huge pages are reserved, SHM_HUGETLB succeeds on the kernel; here only its errors are compared. */
		if (step->op == OP_GET && step->n[2] & 04000 && has_huge_pages())
			step->n[2] &= ~04000L;
	}
	for (int s = 0; s < 2; s++)
		pair->sides[s] = (struct side){ .worker = options.worker, .reap_at_once = options.reap_at_once };
	pair->names[0] = "kernel";
	pair->names[1] = options.kernel_only ? "again" : "shim";
	if (!options.kernel_only)
		pair->sides[1].library = options.library;
	return program;
}

static void print_how_to_replay(FILE *out, uint64_t seed)
{
	fprintf(out, "  replay:   scripts/check-differential --replay %llu --steps %d%s%s%s%s%s\n", (unsigned long long)seed, options.steps, options.waits ? " --waits" : "",
		options.kernel_only ? " --kernel-only" : options.reap_at_once ? " --reap-at-once" : "", options.profile == PROFILE_USER ? " --profile user" : "",
		*options.without ? " --without " : "", options.without);
	fprintf(out, "  minimise: the same with --minimize in place of --replay\n");
}

static void leave_out_ticks(struct pair *pair)
{
	for (int k = 0; k < pair->program->count; k++)
		if (pair->program->steps[k].op == OP_TICK)
			pair->kept[k] = false;
}

static enum verdict check_seed(uint64_t seed, FILE *out)
{
	struct pair pair;
	struct program *program = prepare(&pair, seed);
	struct comparison c = run_pair(&pair);

	/*
	 * A page that was read and never written is clean, and where memory is reclaimed ahead of need (DAMON) it
	 * goes within seconds, on either side. So rss is compared in a run that has no waiting for the clock in it.
	 * And only what the kernel says twice is held against the shim: other programs use up its limits, too.
	 */
	for (int tries = 0; tries < 3 && c.verdict == DIFFERENT; tries++) {
		if (strcmp(c.signature, "rss") == 0)
			leave_out_ticks(&pair);
		else if (kernel_is_steady(&pair, &c))
			break;
		fprintf(out, "seed %llu: maybe disturbed; once more\n", (unsigned long long)seed);
		if (options.verbose)
			report(out, &pair, &c, 0);
		release(&c);
		c = run_pair(&pair);
	}
	if (c.verdict == DIFFERENT) {
		fprintf(out, "FAILED seed %llu\n", (unsigned long long)seed);
		report(out, &pair, &c, 8);
		print_how_to_replay(out, seed);
	} else if (c.verdict == SKIPPED) {
		const struct trace *trace = &c.traces[c.first];
		/* Without the seed: the reason is the machine's, and the same for many. */
		fprintf(out, "skipped a program, %s: %s\n", pair.names[c.first], trace->texts[trace->count - 1]);
	} else if (options.verbose) {
		fprintf(out, "ok seed %llu, %d lines\n", (unsigned long long)seed, c.traces[0].count);
	}
	release(&c);
	free(program);
	return c.verdict;
}

static void count(enum verdict verdict)
{
	passed += verdict == SAME;
	failed += verdict == DIFFERENT;
	skipped += verdict == SKIPPED;
}

struct job {
	pid_t pid;
	int output;
};

static void finish(struct job *job, int status)
{
	char buffer[4096];
	ssize_t got;

	lseek(job->output, 0, SEEK_SET);
	while ((got = read(job->output, buffer, sizeof buffer)) > 0)
		fwrite(buffer, 1, (size_t)got, stdout);
	close(job->output);
	fflush(stdout);
	job->pid = 0;
	count(WIFEXITED(status) && WEXITSTATUS(status) <= SKIPPED ? (enum verdict)WEXITSTATUS(status) : DIFFERENT);
	if (!WIFEXITED(status) || WEXITSTATUS(status) > SKIPPED)
		printf("FAILED: the test itself ended with status %#x\n", (unsigned)status);
}

/* Mostly they wait for the clock: several at a time cost no more than one. */
static void check_seeds(void)
{
	struct job jobs[64] = { 0 };
	int started = 0, running = 0;

	while (started < options.seeds || running) {
		int status, slot = 0;
		pid_t done;

		if (started < options.seeds && running < options.jobs) {
			while (jobs[slot].pid)
				slot++;
			jobs[slot].output = memfd_create("output", MFD_CLOEXEC);
			fflush(stdout);
			jobs[slot].pid = fork();
			if (jobs[slot].pid == 0) {
				FILE *out = fdopen(jobs[slot].output, "w");
				enum verdict verdict = check_seed(options.seed + (uint64_t)started, out);

				fflush(out);
				_exit(verdict);
			}
			started++;
			running++;
			continue;
		}
		done = wait(&status);
		for (slot = 0; slot < options.jobs; slot++)
			if (jobs[slot].pid == done) {
				finish(&jobs[slot], status);
				running--;
			}
	}
}

static void replay(void)
{
	struct pair pair;
	struct program *program = prepare(&pair, options.seed);
	char trace_file[4200];
	struct comparison c;

	if (options.minimise && minimise(&pair, options.verbose ? stdout : NULL) < 0) {
		printf("no difference to minimise\n");
		options.minimise = false;
	}
	if (options.trace) {
		snprintf(trace_file, sizeof trace_file, "%s/trace", options.base);
		close(open(trace_file, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
		pair.sides[1].trace_file = trace_file;
	}
	c = run_pair(&pair);
	printf("seed %llu, %s: %s\n", (unsigned long long)options.seed, program->setup.several_uids ? "several uids" : "one uid",
	       c.verdict == SAME ? "no difference" : c.verdict == SKIPPED ? "skipped" : "differs");
	if (!program->setup.several_uids)
		printf("all processes have uid %ld\n", (long)program->setup.base_uid);
	if (options.verbose || options.minimise)
		print_traces(stdout, &pair, &c, options.verbose);
	else if (c.verdict != SAME)
		report(stdout, &pair, &c, 12);
	count(c.verdict);
	if (options.trace) {
		FILE *file = fopen(trace_file, "re");
		char line[1024];

		while (file && fgets(line, sizeof line, file))
			printf("  trace: %s", line);
	}
}

/* A lie that one side tells from step 10 on must be found, and not before step 10. */
static enum verdict finds(int perturb)
{
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct pair pair;
		struct program *program = prepare(&pair, seed);
		struct comparison c;
		enum verdict verdict;
		bool in_time;

		pair.sides[1].perturb = perturb;
		pair.sides[1].perturb_from = 10;
		leave_out_ticks(&pair);
		c = run_pair(&pair);
		verdict = c.verdict;
		in_time = verdict == DIFFERENT && c.first < c.traces[0].count && c.traces[0].records[c.first].name >= 10;
		if (verdict == SKIPPED)
			report(stdout, &pair, &c, 0);
		release(&c);
		free(program);
		if (verdict == SKIPPED)
			return SKIPPED;
		if (verdict == DIFFERENT)
			return in_time ? SAME : DIFFERENT;
	}
	return DIFFERENT;
}

/* A lie about one thing must come down to the few steps that it takes to see it: a process, a segment, an attach, a probe. */
static enum verdict minimises(void)
{
	int left = -1;

	for (uint64_t seed = 1; seed <= 12 && left < 0; seed++) {
		struct pair pair;
		struct program *program = prepare(&pair, seed);

		pair.sides[1].perturb = PERTURB_NATTCH;
		left = minimise(&pair, NULL);
		free(program);
	}
	if (left < 1 || left > 4)
		printf("minimised to %d steps\n", left);
	return left >= 1 && left <= 4 ? SAME : DIFFERENT;
}

/*
 * A library that intercepts nothing: the traces agree, but the segments are the kernel's. What a run is disturbed by
 * (see check_seed) comes earlier in the trace than the leak, so another is made.
 */
static enum verdict finds_a_leak(void)
{
	enum verdict verdict = DIFFERENT;

	for (int tries = 0; tries < 3 && verdict == DIFFERENT; tries++) {
		struct pair pair;
		struct program *program = prepare(&pair, 1);
		struct comparison c;

		pair.sides[1].library = "libc.so.6";
		leave_out_ticks(&pair);
		c = run_pair(&pair);
		if (c.verdict == SKIPPED)
			verdict = SKIPPED;
		else if (c.verdict == DIFFERENT && c.traces[0].records[c.first].name == TRACE_END)
			verdict = SAME;
		else
			report(stdout, &pair, &c, 3);
		release(&c);
		free(program);
	}
	return verdict;
}

static void self_test_result(const char *what, enum verdict verdict)
{
	count(verdict);
	if (options.verbose || verdict != SAME)
		printf("%s self-test: %s\n", verdict == SAME ? "ok" : verdict == SKIPPED ? "skipped" : "FAILED", what);
	fflush(stdout);
}

/* The kernel against itself: the honest pair agrees, each lie is found. */
static void self_test(void)
{
	int steps = options.steps;
	bool kernel_only = options.kernel_only, waits = options.waits;
	enum verdict verdict = SAME;

	options.kernel_only = true;
	options.steps = 80;
	for (uint64_t seed = 1; seed <= 4 && verdict == SAME; seed++) {
		options.waits = seed > 2;
		verdict = check_seed(seed, stdout);
	}
	self_test_result("two runs on the kernel agree", verdict);
	for (int perturb = PERTURB_NONE + 1; perturb < PERTURB_COUNT; perturb++) {
		char what[64];

		options.waits = perturb >= PERTURB_SEMVAL;
		snprintf(what, sizeof what, "a wrong %s is found", perturb_name(perturb));
		self_test_result(what, verdict == SAME ? finds(perturb) : verdict);
	}
	options.waits = false;
	if (geteuid() == 0)
		self_test_result("a library that does nothing is found", verdict == SAME ? finds_a_leak() : verdict);
	else
		self_test_result("a library that does nothing is found (needs root)", SKIPPED);
	self_test_result("a difference is minimised", verdict == SAME ? minimises() : verdict);
	options.kernel_only = kernel_only;
	options.steps = steps;
	options.waits = waits;
}

static void usage(FILE *out)
{
	fprintf(out,
		"scripts/check-differential [options]: random programs on the kernel and under the shim, traces compared\n"
		"  --seeds N        how many programs (40); 0: only the self-test\n"
		"  --seed S         the first seed (1)\n"
		"  --steps N        steps of each program (150)\n"
		"  --jobs N         programs at a time (10); they mostly wait for the clock\n"
		"  --replay S       one seed; with --verbose all of its trace up to the difference\n"
		"  --minimize S     one seed, reduced to the steps that the difference needs\n"
		"  --trace          with these: what SHMSHIM_TRACE wrote\n"
		"  --without LIST   leave out operations (get,at,dt,ctl,munmap,fork,...), modes (thread,child,as), commands (IPC_SET,...)\n"
		"  --reap-at-once   after each death another process probes at once\n"
		"  --profile user   the programs that an ordinary user gets, also for root\n"
		"  --waits          programs of semaphores and message queues, whose processes sleep and wake each other\n"
		"  --kernel-only    the kernel against itself\n"
		"  --self-test      only the self-test\n"
		"  --verbose\n");
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seeds", 1, NULL, 'n' }, { "seed", 1, NULL, 's' }, { "steps", 1, NULL, 'l' }, { "jobs", 1, NULL, 'j' },
		{ "replay", 1, NULL, 'r' }, { "minimize", 1, NULL, 'm' }, { "minimise", 1, NULL, 'm' }, { "verbose", 0, NULL, 'v' },
		{ "trace", 0, NULL, 't' }, { "without", 1, NULL, 'w' }, { "profile", 1, NULL, 'p' }, { "kernel-only", 0, NULL, 'k' },
		{ "self-test", 0, NULL, 'S' }, { "reap-at-once", 0, NULL, 'q' }, { "waits", 0, NULL, 'i' }, { "help", 0, NULL, 'h' }, { "library", 1, NULL, 'L' }, { "worker", 1, NULL, 'W' },
		{ "base", 1, NULL, 'B' }, { NULL, 0, NULL, 0 },
	};

	options.profile = geteuid() ? PROFILE_USER : PROFILE_ROOT;
	options.own_uid = geteuid() ? geteuid() : 0;
	options.own_gid = geteuid() ? getegid() : 54400;
	for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (option) {
		case 'n': options.seeds = atoi(optarg); break;
		case 's': options.seed = strtoull(optarg, NULL, 0); break;
		case 'l': options.steps = atoi(optarg); break;
		case 'j': options.jobs = atoi(optarg); break;
		case 'm': options.minimise = true; /* fall through */
		case 'r': options.replay = true; options.seed = strtoull(optarg, NULL, 0); break;
		case 'v': options.verbose = true; break;
		case 'q': options.reap_at_once = true; break;
		case 't': options.trace = true; break;
		case 'w': options.without = optarg; break;
		case 'p': options.profile = strcmp(optarg, "user") == 0 ? PROFILE_USER : PROFILE_ROOT; break;
		case 'k': options.kernel_only = true; break;
		case 'i': options.waits = true; break;
		case 'S': options.self_test = true; break;
		case 'L': options.library = optarg; break;
		case 'W': options.worker = optarg; break;
		case 'B': options.base = optarg; break;
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); exit(2);
		}
	}
	if (!options.worker || !options.base || options.steps < 4 || options.steps > MAX_STEPS || options.jobs < 1 || options.jobs > 64) {
		usage(stderr);
		exit(2);
	}
	if (options.profile == PROFILE_ROOT && geteuid()) {
		fprintf(stderr, "--profile root needs root\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	if (options.replay) {
		replay();
	} else {
		if (!options.kernel_only || options.self_test)
			self_test();
		if (!options.self_test)
			check_seeds();
	}
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed > 0;
}
