/* attack.c - runs the attacks of a second user, and asks who is served and who is refused. */
#include "attack.h"

#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct duel *duel;
int refusal;
static const char *running;
static int faults; /* of the one that is running */
enum { FAULTS_SHOWN = 4 };

void wrong(const char *format, ...)
{
	char text[1000];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (++faults <= FAULTS_SHOWN)
		printf("%s %s: %s\n", faults == 1 ? "FAIL" : "    ", running, text);
	fflush(stdout);
}

int ask(struct actor *actor, job *job, int argument)
{
	struct answer answer = { ANSWERLESS, 0 };
	enum heard heard = actor_send(actor, job, argument) ? actor_hear(actor, &answer, 30000) : GONE;
	if (heard != HEARD) {
		wrong("a program %s", heard == GONE ? "is killed" : "hangs");
		return ANSWERLESS;
	}
	refusal = answer.error;
	return answer.value;
}

int run_as(uid_t uid, job *job, int argument)
{
	struct actor actor;
	actor_of(&actor, uid);
	int value = ask(&actor, job, argument);
	actor_kill(&actor);
	return value;
}

/* --- what a program does */

int job_life(int argument)
{
	struct shmid_ds d;
	(void)argument;
	int id = shmget(IPC_PRIVATE, PAGE, 0600);
	if (id < 0)
		return 1;
	char *at = shmat(id, NULL, 0);
	if (at == (void *)-1)
		return 2;
	bool zeros = filled(at, 0, PAGE);
	fill(at, 3, PAGE);
	if (!zeros || !filled(at, 3, PAGE))
		return 3;
	if (shmctl(id, IPC_STAT, &d) < 0 || d.shm_nattch != 1)
		return 4;
	if (shmdt(at) < 0)
		return 5;
	return shmctl(id, IPC_RMID, NULL) < 0 ? 6 : 0;
}

int job_make_known(int mode)
{
	int id = shmget(KNOWN_KEY, KNOWN_SIZE, IPC_CREAT | IPC_EXCL | mode);
	char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (at == (void *)-1)
		return -1;
	fill(at, KNOWN_SEED, KNOWN_SIZE);
	world_add(id, KNOWN_KEY, KNOWN_SIZE, KNOWN_SEED, mode);
	return shmdt(at);
}

int job_read_known(int argument)
{
	(void)argument;
	void *at = shmat(shmget(KNOWN_KEY, 0, 0), NULL, SHM_RDONLY);
	if (at == (void *)-1)
		return -1;
	bool same = filled(at, KNOWN_SEED, KNOWN_SIZE);
	shmdt(at);
	return same;
}

/* --- what is expected */

void serves(uid_t uid, const char *whom)
{
	int value = run_as(uid, job_life, 0);
	if (value != 0 && value != ANSWERLESS)
		wrong("%s is not served: step %d says %s", whom, value, strerror(refusal));
}

void refuses(uid_t uid, const char *path, uid_t blamed)
{
	char owner[40];
	trace_clear();
	int value = run_as(uid, job_life, 0);
	snprintf(owner, sizeof owner, "uid %d", (int)blamed);
	if (value == ANSWERLESS)
		return;
	if (value != 1 || refusal != EACCES)
		wrong("uid %d gets as far as step %d (%s)", (int)uid, value, value ? strerror(refusal) : "served");
	else if (!trace_says(path) || !trace_says(owner))
		wrong("the trace does not name %s and %s", path, owner);
}

void make_directory(const char *path, uid_t owner, unsigned mode)
{
	must(mkdir(path, 0700), path);
	must(chown(path, owner, owner), path);
	must(chmod(path, mode), path);
}

void place_of_root(void)
{
	place("system", 0, 01777);
	if (run_as(0, job_life, 0) != 0)
		fatal("root could not make the namespace: %s", strerror(refusal));
	trace_clear();
}

/* --- what the machine has */

static bool permits(int flags)
{
	int status = 1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(job_become_user(STRANGER) < 0 || unshare(flags) < 0);
	waitpid(pid, &status, 0);
	return status == 0;
}

static const char *missing(unsigned needs)
{
	if (!is_root)
		return "not root, so there is no second user";
	if (needs & NEEDS_MOUNTS && !owns_file_system())
		return "no right to mount";
	if (needs & NEEDS_HUGE_PAGES && !has_huge_pages())
		return "no hugetlbfs can be mounted";
	if (needs & NEEDS_USER_NAMESPACES && !permits(CLONE_NEWUSER))
		return "ordinary users may not make user namespaces here";
	return NULL;
}

void test_attacks(const char *part_of_name)
{
	static const struct attack *const all[] = { base_attacks, tree_attacks, userns_attacks, wait_attacks,
						    lifetime_attacks, secure_attacks };
	duel = mmap(NULL, sizeof *duel, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (duel == MAP_FAILED)
		fatal("mmap: %s", strerror(errno));
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		for (const struct attack *attack = all[i]; attack->name; attack++) {
			if (part_of_name && !strstr(attack->name, part_of_name))
				continue;
			const char *lacks = missing(attack->needs);
			if (lacks) {
				skipped("%s: %s", attack->name, lacks);
				continue;
			}
			running = attack->name;
			faults = 0;
			atomic_store(&duel->over, false);
			atomic_store(&duel->strokes, 0);
			attack->run();
			if (faults > FAULTS_SHOWN)
				printf("     and %d more\n", faults - FAULTS_SHOWN);
			if (faults)
				counted.failed++;
			else
				passed();
			if (verbose && !faults)
				printf("ok   %s\n", attack->name);
		}
}
