/*
 * hostile.c - shared memory where somebody else was first, comes at the same time, or writes to the table.
 *
 *   hostile [--full] [--damage[=ROUNDS]] [--only PART] [--attack PART-OF-NAME] [--seed N] [-v]
 *
 * PART: places, races, pairs, stopped, damage, scribbled, repairs, exchanges, wear, neighbours, attacks
 */
#include "hostile.h"

#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

bool full;
unsigned long long seed = 1;
const char *root;
bool is_root;

unsigned pick(unsigned below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % below;
}

void must(int result, const char *what)
{
	if (result < 0)
		fatal("%s: %s", what, strerror(errno));
}

/* --- places */

static int place_number;

void place(const char *scope, uid_t owner, unsigned base_mode)
{
	the->segments = 0;
	the->handlers = !the->handlers; /* both kinds of programs, in turns */
	snprintf(the->base, sizeof the->base, "%s/p%d", root, ++place_number);
	if (strcmp(scope, "system") == 0)
		snprintf(the->directory, sizeof the->directory, "%s/.shmshim", the->base);
	else
		snprintf(the->directory, sizeof the->directory, "%s/.shmshim-uid%d", the->base,
			 is_root ? (int)owner : (int)geteuid());
	if (mkdir(the->base, 0700) < 0 || chmod(the->base, base_mode) < 0)
		fatal("%s: %s", the->base, strerror(errno));
	if (is_root && !(base_mode & 01000) && chown(the->base, owner, owner) < 0)
		fatal("%s: %s", the->base, strerror(errno));
	setenv("SHMSHIM_DIR", the->base, 1);
	setenv("SHMSHIM_SCOPE", scope, 1);
	trace_clear();
}

void place_end(void) { remove_tree(the->base); }

char *inside(const char *name)
{
	static char path[4][600];
	static int next;
	char *here = path[next++ % 4];
	snprintf(here, sizeof path[0], *name ? "%s/%s" : "%s", the->directory, name);
	return here;
}

/* Each user has a file of his own: a trace is not written to another's. */
static uid_t traced[8];
static int traced_uids;

static FILE *trace_of(uid_t uid, const char *how)
{
	char path[300];
	snprintf(path, sizeof path, "%s/trace-%d", root, (int)uid);
	FILE *file = fopen(path, how);
	if (file && *how != 'r' && is_root)
		must(fchown(fileno(file), uid, uid), path);
	return file;
}

void trace_clear(void)
{
	for (int i = 0; i < traced_uids; i++) {
		FILE *file = trace_of(traced[i], "we");
		if (!file)
			fatal("no trace file can be made: %s", strerror(errno));
		fclose(file);
	}
}

bool trace_says(const char *what)
{
	char line[4096];
	bool found = false;
	for (int i = 0; i < traced_uids && !found; i++) {
		FILE *file = trace_of(traced[i], "re");
		while (file && !found && fgets(line, sizeof line, file))
			found = strstr(line, what) != NULL;
		if (file)
			fclose(file);
	}
	return found;
}

static void trace_to_own_file(uid_t uid)
{
	char path[300];
	bool known = false;
	for (int i = 0; i < traced_uids; i++)
		known |= traced[i] == uid;
	if (!known && traced_uids == sizeof traced / sizeof *traced)
		fatal("too many users have a trace");
	if (!known)
		traced[traced_uids++] = uid;
	FILE *file = trace_of(uid, "ae");
	if (file)
		fclose(file);
	snprintf(path, sizeof path, "%s/trace-%d", root, (int)uid);
	setenv("SHMSHIM_TRACE", path, 1);
}

#ifdef __x86_64__
static long bare_setresuid(long uid)
{
	long answer;
	__asm__ volatile("syscall"
			 : "=a"(answer)
			 : "a"(SYS_setresuid), "D"(uid), "S"(uid), "d"(uid)
			 : "rcx", "r11", "memory");
	return answer;
}
#else
static long bare_setresuid(long uid) { return setresuid(uid, uid, uid); }
#endif

int job_become_user(int uid)
{
	/* As a program that this user has started: the library, which looks at what root gives up, does not see it. */
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || bare_setresuid(uid) < 0)
		return -1;
	prctl(PR_SET_DUMPABLE, 1);
	return prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void actor_of(struct actor *actor, uid_t uid)
{
	trace_to_own_file(is_root ? uid : geteuid());
	actor_start(actor);
	unsetenv("SHMSHIM_TRACE");
	if (is_root && actor_do(actor, job_become_user, (int)uid).value != 0)
		fatal("cannot become uid %d: %s", (int)uid, strerror(errno));
}

/* Whether the actor comes back, whatever it answers. */
bool act(struct actor *actor, job *job, int argument, struct answer *answer, const char *what)
{
	enum heard heard = SILENT;
	if (actor_send(actor, job, argument))
		heard = actor_hear(actor, answer, HANG_MS);
	if (heard == HEARD)
		return true;
	failed("%s: the program %s", what, heard == GONE ? "is killed" : "hangs");
	return false;
}

int main(int count, char **arguments)
{
	static const struct option options[] = {
		{ "full", 0, 0, 'f' }, { "damage", 2, 0, 'd' }, { "only", 1, 0, 'o' }, { "attack", 1, 0, 'a' },
		{ "seed", 1, 0, 'r' }, { 0 },
	};
	const char *only = NULL, *attack = NULL;
	int option, rounds = 0;

	/* A copy of this program, which attack_secure.c starts. */
	if (count > 2 && strcmp(arguments[1], "--program") == 0)
		return secure_main(arguments + 2);
	while ((option = getopt_long(count, arguments, "v", options, NULL)) >= 0)
		switch (option) {
		case 'f': full = true; break;
		case 'd': only = "damage"; rounds = optarg ? atoi(optarg) : 0; break;
		case 'o': only = optarg; break;
		case 'a': only = "attacks"; attack = optarg; break;
		case 'r': seed = strtoull(optarg, NULL, 0); break;
		case 'v': verbose = true; break;
		default: return 2;
		}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	is_root = geteuid() == 0;
	umask(0);
	root = base_begin(false);
	atexit(base_end);
	base_mode(0755);

	if (!only || strcmp(only, "places") == 0)
		test_places();
	if (!only || strcmp(only, "races") == 0)
		test_races();
	if (!only || strcmp(only, "pairs") == 0)
		test_pairs();
	if (!only || strcmp(only, "stopped") == 0)
		test_stopped();
	if (!only || strcmp(only, "damage") == 0)
		test_damage(rounds ? rounds : full ? 5000 : 250);
	if (!only || strcmp(only, "scribbled") == 0)
		test_scribbled(full ? 200 : 10);
	if (!only || strcmp(only, "repairs") == 0)
		test_repairs();
	if (!only || strcmp(only, "exchanges") == 0)
		test_exchanges();
	if (!only || strcmp(only, "wear") == 0)
		test_wear();
	if (!only || strcmp(only, "neighbours") == 0) {
		if (is_root)
			test_neighbours();
		else
			skipped("neighbours in system scope: not root, so there are none");
	}
	if (!only || strcmp(only, "attacks") == 0)
		test_attacks(attack);
	return count_up();
}
