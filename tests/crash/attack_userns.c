/*
 * attack_userns.c - the root of a user namespace, which any user can be.
 *
 * What counts is the uid that the files see. What it is called inside gives no rights over others, and takes nobody's
 * place.
 */
#include "attack.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);
	if (fd < 0)
		return -1;
	ssize_t length = write(fd, text, strlen(text));
	int error = errno;
	close(fd);
	errno = error;
	return length == (ssize_t)strlen(text) ? 0 : -1;
}

/* As `unshare --map-user`: `inside` is what the present uid is called from now on. */
static int enter_as(unsigned inside)
{
	char map[64];
	unsigned outside = geteuid(), outside_group = getegid();
	if (unshare(CLONE_NEWUSER) < 0)
		return -1;
	snprintf(map, sizeof map, "%u %u 1", inside, outside);
	if (put("/proc/self/uid_map", map) < 0)
		return -1;
	put("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "%u %u 1", inside, outside_group);
	return put("/proc/self/gid_map", map);
}

/* The namespaces in which an ordinary user can be somebody else. */
enum guise { AS_ROOT, AS_ROOT_TWICE, AS_ROOT_BY_ANOTHER_NAME, AS_THIRD, WITHOUT_NAME, AS_THIRD_TWICE, GUISES };
static const char *const guises[] = { "root of a namespace", "root of a namespace in a namespace",
				      "root in the second of two namespaces", "another user of a namespace",
				      "one without a map", "another user two namespaces further in" };

static int job_disguise(int guise)
{
	switch ((enum guise)guise) {
	case AS_ROOT: return enter_as(0);
	case AS_ROOT_TWICE: return enter_as(0) < 0 ? -1 : enter_as(0);
	case AS_ROOT_BY_ANOTHER_NAME: return enter_as(77) < 0 ? -1 : enter_as(0);
	case AS_THIRD: return enter_as(THIRD);
	case WITHOUT_NAME: return unshare(CLONE_NEWUSER);
	case AS_THIRD_TWICE: return enter_as(THIRD) < 0 ? -1 : enter_as(0);
	case GUISES: break;
	}
	return -1;
}

/* Whom he says he is, and who is to lose nothing by it. */
static uid_t victim_of(int guise) { return guise == AS_THIRD || guise == AS_THIRD_TWICE ? THIRD : guise == WITHOUT_NAME ? 65534 : 0; }

/* Bits of what he should not be able to do to a segment of the victim's. */
static int job_overreach(int argument)
{
	struct shmid_ds d = { .shm_perm.mode = 0666 };
	int id = the->segment[0].id, wrong = 0;
	d.shm_perm.uid = geteuid();
	d.shm_perm.gid = getegid();
	wrong |= shmat(id, NULL, 0) == (void *)-1 ? 0 : 1;
	wrong |= shmctl(id, IPC_SET, &d) == -1 ? 0 : 2;
	wrong |= shmctl(id, SHM_LOCK, NULL) == -1 ? 0 : 4;
	wrong |= shmctl(id, IPC_RMID, NULL) == -1 ? 0 : 8;
	if (argument)
		wrong |= put("/proc/sys/kernel/shmmni", "7") == -1 ? 0 : 16;
	return wrong;
}

static int job_shmmni(int argument)
{
	struct shminfo info;
	(void)argument;
	return shmctl(0, IPC_INFO, (struct shmid_ds *)&info) < 0 ? -1 : (int)info.shmmni;
}

static void overreaches(int guise, job *disguise)
{
	struct actor attacker;
	place_of_root();
	int limit = run_as(0, job_shmmni, 0);
	if (run_as(victim_of(guise), job_make_known, 0600) != 0)
		fatal("no segment could be made: %s", strerror(refusal));
	actor_of(&attacker, OWNER);
	if (ask(&attacker, disguise, guise) != 0)
		fatal("%s cannot be had: %s", guises[guise], strerror(refusal));
	int value = ask(&attacker, job_overreach, guise != AS_THIRD);
	if (value > 0)
		wrong("%s may do what is the business of uid %d (%d)", guises[guise], (int)victim_of(guise), value);
	actor_kill(&attacker);
	if (run_as(victim_of(guise), job_read_known, 0) != 1)
		wrong("after %s the segment of uid %d is gone", guises[guise], (int)victim_of(guise));
	if (run_as(0, job_shmmni, 0) != limit)
		wrong("%s has set a limit of all users", guises[guise]);
	place_end();
}

static void no_rights_over_others(void)
{
	for (int guise = 0; guise < GUISES; guise++)
		overreaches(guise, job_disguise);
}

/* A program that attached before it changed its namespace asks by the same uid. */
static int job_disguise_late(int guise)
{
	return job_life(0) != 0 ? -1 : job_disguise(guise);
}

static void no_rights_by_entering_late(void)
{
	for (int guise = 0; guise < GUISES; guise++)
		overreaches(guise, job_disguise_late);
}

/* The child of a clone is in another namespace without a call that the library sees. */
static int in_clone(void *unused)
{
	char map[64];
	(void)unused;
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	snprintf(map, sizeof map, "0 %d 1", OWNER);
	if (put("/proc/self/uid_map", map) < 0)
		return 64;
	/* Nothing that is remembered is of use after this. */
	return setuid(0) < 0 ? 64 : job_overreach(1);
}

static int job_overreach_in_clone(int argument)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	int status = -1;
	(void)argument;
	if (job_life(0) != 0)
		return -1;
	pid_t pid = clone(in_clone, stack + sizeof stack, CLONE_NEWUSER | SIGCHLD, NULL);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void no_rights_by_clone(void)
{
	place_of_root();
	int limit = run_as(0, job_shmmni, 0);
	if (run_as(0, job_make_known, 0660) != 0)
		fatal("no segment could be made: %s", strerror(refusal));
	int value = run_as(OWNER, job_overreach_in_clone, 0);
	if (value != 0)
		wrong("the root of a cloned namespace may do what is the business of uid 0 (%d)", value);
	if (run_as(0, job_read_known, 0) != 1)
		wrong("after it the segment of uid 0 is gone");
	if (run_as(0, job_shmmni, 0) != limit)
		wrong("it has set a limit of all users");
	place_end();
}

/* Who comes first in a sticky base must not make what is another's by its name. */
static void nobody_locked_out(void)
{
	for (int guise = 0; guise < GUISES; guise++) {
		struct actor attacker;
		char whom[40];
		place("user", 0, 01777);
		actor_of(&attacker, OWNER);
		if (ask(&attacker, job_disguise, guise) != 0)
			fatal("%s cannot be had: %s", guises[guise], strerror(refusal));
		ask(&attacker, job_life, 0);
		snprintf(whom, sizeof whom, "after %.20s… uid %d", guises[guise], (int)victim_of(guise));
		serves(victim_of(guise), whom);
		actor_kill(&attacker);
		place_end();
	}
}

const struct attack userns_attacks[] = {
	{ "a user namespace gives no rights over the segments and limits of others", no_rights_over_others, NEEDS_USER_NAMESPACES },
	{ "a user namespace that is entered late gives no rights either", no_rights_by_entering_late, NEEDS_USER_NAMESPACES },
	{ "a user namespace that a clone is in gives no rights either", no_rights_by_clone, NEEDS_USER_NAMESPACES },
	{ "a user namespace takes nobody's place in a sticky base", nobody_locked_out, NEEDS_USER_NAMESPACES },
	{ NULL, NULL, 0 },
};
