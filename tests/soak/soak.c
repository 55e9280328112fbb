/*
 * soak.c - all operations at once, over processes that are killed and stopped at random, for as long as one likes.
 *
 *   soak [--minutes N | --seconds N] [--system] [--forced] [--seed N] [-v]
 *
 * Now and then everybody is called to rest, and what there is is held against what there should be: quiet.c. At the
 * end everything is removed, and nothing may be left.
 */
#include "soak.h"

#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static unsigned long long seed = 1, spawned;
static struct actor observer;
static long kills, stops, rests, rest_segments, rest_attaches, rest_marked, rest_stamped, long_rest, unknown;

static struct stopped {
	int pidfd;
	long until;
	bool to_kill;
} stopped[8];

static unsigned choose(unsigned below) { return pick(&seed, below); }

/* --- members */

static void become(uid_t uid)
{
	if (!soak->system || uid == 0)
		return;
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		_exit(98);
}

static void start_worker(int place)
{
	struct member *member = &soak->member[place];
	member->pid = -1;
	member->parent = -1;
	member->killed = false;
	member->resting = 0;
	member->uid = uid_of(place);
	member->seed = seed ^ (++spawned * 0x9e3779b97f4a7c15ull);
	pid_t driver = getpid(), pid = fork();
	if (pid < 0)
		fatal("fork: %s", strerror(errno));
	if (pid == 0) {
		become(member->uid);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != driver)
			_exit(0);
		member_run(place);
	}
	member->pid = pid;
}

/* Workers, and those whose parent was killed. */
static void reap(void)
{
	siginfo_t info;
	int status;
	while (info.si_pid = 0, waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
		int place = -1;
		if (info.si_pid == observer.pid) {
			complain("the observer has died");
			break;
		}
		for (int i = 0; i < MEMBERS; i++)
			if (soak->member[i].pid == info.si_pid) {
				place = i;
				soak->member[i].pid = 0;
			}
		if (waitpid(info.si_pid, &status, 0) != info.si_pid)
			continue;
		bool good = WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL;
		if (!good)
			complain("a member (%s) has ended with %#x", place < 0 ? "unknown" : place < WORKERS ? "a worker" : "a child",
				 status);
		if (WIFSIGNALED(status))
			soak->kills++;
		if (place >= 0 && place < WORKERS && !soak->over)
			start_worker(place);
	}
}

/* A handle on some member, which cannot become that of another process. */
static int some_member(void)
{
	struct member *member = &soak->member[choose(MEMBERS)];
	pid_t pid = member->pid;
	if (pid <= 0)
		return -1;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd >= 0 && member->pid == pid) {
		fcntl(pidfd, F_SETFD, FD_CLOEXEC);
		return pidfd;
	}
	if (pidfd >= 0)
		close(pidfd);
	return -1;
}

static void send_signal(int pidfd, int signal) { syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); }

static void go_on(bool all)
{
	for (size_t i = 0; i < sizeof stopped / sizeof *stopped; i++) {
		if (stopped[i].pidfd < 0 || (!all && milliseconds() < stopped[i].until))
			continue;
		send_signal(stopped[i].pidfd, stopped[i].to_kill ? SIGKILL : SIGCONT);
		kills += stopped[i].to_kill;
		soak->kills += stopped[i].to_kill;
		close(stopped[i].pidfd);
		stopped[i].pidfd = -1;
	}
}

static void disturb(void)
{
	int pidfd = some_member();
	if (pidfd < 0)
		return;
	size_t i = choose(sizeof stopped / sizeof *stopped);
	if (choose(3) && stopped[i].pidfd < 0) {
		send_signal(pidfd, SIGSTOP);
		stops++;
		stopped[i] = (struct stopped){ pidfd, milliseconds() + choose(40), choose(6) == 0 };
		return;
	}
	if (choose(2)) {
		send_signal(pidfd, SIGKILL);
		kills++;
		soak->kills++;
	}
	close(pidfd);
}

/* --- rest */

/* It has ended; its parent, which rests, has not heard of it yet. */
static bool has_ended(pid_t pid)
{
	char path[64], text[512], *state;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[length < 0 ? 0 : length] = 0;
	state = strrchr(text, ')');
	return !state || state[2] == 'Z' || state[2] == 'X';
}

/* All processes below `pid` but the observer; false when one of them does not rest yet. */
static bool gather(pid_t pid, unsigned pause)
{
	char path[64], text[4096];
	bool all = true;
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return pid != getpid(); /* it is gone, with what it had */
	ssize_t length = read(fd, text, sizeof text - 1);
	close(fd);
	text[length < 0 ? 0 : length] = 0;
	for (char *at = text, *end; ; at = end) {
		pid_t child = (pid_t)strtol(at, &end, 10);
		if (end == at)
			break;
		if (child == observer.pid || has_ended(child))
			continue;
		bool rests = false;
		for (int i = 0; i < MEMBERS; i++)
			rests |= soak->member[i].pid == child && soak->member[i].resting == pause;
		if (soak->processes == (int)(sizeof soak->process / sizeof *soak->process))
			fatal("too many processes");
		soak->process[soak->processes++] = child;
		all &= rests;
		all &= gather(child, pause);
	}
	return all;
}

static void name_the_restless(unsigned pause)
{
	for (int i = 0; i < MEMBERS; i++) {
		const struct member *member = &soak->member[i];
		if (member->pid != 0 && member->resting != pause)
			printf("  place %d, process %d: %s\n", i, (int)member->pid,
			       member->doing < 0 ? "between operations" : operation_names[member->doing]);
	}
}

/* Returns false when somebody hangs. */
static bool call_to_rest(void)
{
	long began = milliseconds();
	go_on(true);
	unsigned pause = atomic_fetch_add(&soak->pause, 1) + 1;
	for (;;) {
		reap();
		soak->processes = 0;
		bool all = gather(getpid(), pause);
		/* A process that was not there a moment ago may have been missed. */
		int processes = soak->processes;
		soak->processes = 0;
		if (all && gather(getpid(), pause) && soak->processes == processes)
			break;
		if (milliseconds() - began > 60000) {
			complain("somebody does not come to rest within a minute");
			name_the_restless(pause);
			return false;
		}
		usleep(1000);
	}
	for (int i = 0; i < MEMBERS; i++)
		if (soak->member[i].pid == -1)
			soak->member[i].pid = 0; /* for a child that was never started */
	if (milliseconds() - began > long_rest)
		long_rest = milliseconds() - began;
	return true;
}

static bool look_around(void)
{
	if (!call_to_rest())
		return false;
	struct answer answer;
	if (rests % 4 == 3) {
		/* One who comes anew. */
		actor_kill(&observer);
		actor_start(&observer);
	}
	actor_send(&observer, job_quiet, 0);
	if (actor_hear(&observer, &answer, 60000) != HEARD) {
		complain("the observer hangs or has died");
		return false;
	}
	rests++;
	rest_segments += soak->segments;
	rest_attaches += soak->attaches;
	rest_marked += soak->marked;
	rest_stamped += soak->stamped;
	unknown += soak->unknown;
	soak->kills = 0;
	/* System scope: only its owner or root can unlink a file; the observer is root, and has looked at everybody. */
	long files = tree_files("segments");
	if (files != soak->segments)
		complain("%ld files of %ld segments", files, soak->segments);
	atomic_fetch_add(&soak->pause, 1);
	return true;
}

static long operations_done(void)
{
	long sum = 0;
	for (int i = 0; i < operation_count; i++)
		sum += soak->operations[i];
	return sum;
}

static void progress(long began)
{
	printf("%4ld s: %ld operations, %ld kills, %ld stops, %ld times at rest (on the average %ld segments, %ld marked, "
	       "%ld attaches), %d complaints\n",
	       (milliseconds() - began) / 1000, operations_done(), kills, stops, rests, rests ? rest_segments / rests : 0,
	       rests ? rest_marked / rests : 0, rests ? rest_attaches / rests : 0, soak->complaints);
	fflush(stdout);
}

/* --- beginning and end */

static void begin(bool system)
{
	ground_begin();
	if (!place(system, NULL))
		fatal("no place");
	int fd = memfd_create("soak", 0);
	if (fd < 0 || ftruncate(fd, sizeof *soak) < 0 || dup2(fd, SOAK_FD) != SOAK_FD)
		fatal("memfd: %s", strerror(errno));
	close(fd);
	soak = mmap(NULL, sizeof *soak, PROT_READ | PROT_WRITE, MAP_SHARED, SOAK_FD, 0);
	if (soak == MAP_FAILED)
		fatal("mmap: %s", strerror(errno));
	snprintf(soak->base, sizeof soak->base, "%s", the->base);
	snprintf(soak->directory, sizeof soak->directory, "%s", the->directory);
	soak->system = system;
	soak->conductor = getpid();
	for (size_t i = 0; i < sizeof stopped / sizeof *stopped; i++)
		stopped[i].pidfd = -1;
}

static void end(bool hangs)
{
	long began = milliseconds();
	go_on(true);
	soak->over = true;
	if (!(soak->pause & 1) || hangs)
		atomic_fetch_add(&soak->pause, soak->pause & 1);
	for (;;) {
		bool any = false;
		reap();
		soak->processes = 0;
		gather(getpid(), 0);
		any = soak->processes > 0;
		if (!any)
			break;
		if (milliseconds() - began > (hangs ? 5000 : 60000)) {
			if (!hangs)
				complain("members do not end");
			for (int i = 0; i < soak->processes; i++) {
				kill(soak->process[i], SIGCONT);
				kill(soak->process[i], SIGKILL);
			}
			hangs = true;
			began = milliseconds();
		}
		usleep(2000);
	}
	actor_kill(&observer);
	actor_start(&observer);
	actor_do(&observer, job_sweep_all, 0);
	if (soak->forced && actor_do(&observer, job_force, 0).value != 0)
		complain("shm_rmid_forced cannot be taken back");
	int before = soak->complaints;
	if (before == 0)
		ground_is_empty(&observer, 1, "at the end");
	actor_kill(&observer);
}

int main(int count, char **arguments)
{
	static const struct option options[] = {
		{ "minutes", 1, 0, 'm' }, { "seconds", 1, 0, 's' }, { "system", 0, 0, 'y' }, { "forced", 0, 0, 'f' },
		{ "seed", 1, 0, 'r' },	  { "member", 1, 0, 'e' },  { 0 },
	};
	long seconds = 20, next_rest, next_line;
	bool system = false, forced = false, hangs = false;
	int option;

	while ((option = getopt_long(count, arguments, "v", options, NULL)) >= 0)
		switch (option) {
		case 'm': seconds = atol(optarg) * 60; break;
		case 's': seconds = atol(optarg); break;
		case 'y': system = true; break;
		case 'f': forced = true; break;
		case 'r': seed = strtoull(optarg, NULL, 0); break;
		case 'v': verbose = true; break;
		case 'e':
			/* A member that has executed this program again. */
			soak = mmap(NULL, sizeof *soak, PROT_READ | PROT_WRITE, MAP_SHARED, SOAK_FD, 0);
			if (soak == MAP_FAILED)
				return 97;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			member_run(atoi(optarg));
		default: return 2;
		}
	printf("soak: %ld s, %s scope%s, seed %llu\n", seconds, system ? "system" : "user",
	       forced ? ", shm_rmid_forced" : "", seed);
	if (system && geteuid() != 0) {
		skipped("system scope: not root, so there is one user only");
		return count_up();
	}
	begin(system);
	actor_start(&observer);
	/* What all users share is made by root. */
	if (system && actor_do(&observer, job_sweep_all, 0).value != 0)
		fatal("the namespace could not be made");
	soak->forced = forced;
	if (forced && actor_do(&observer, job_force, 1).value != 0)
		fatal("shm_rmid_forced cannot be set");
	for (int i = 0; i < WORKERS; i++)
		start_worker(i);
	long began = milliseconds();
	next_rest = began + 500;
	next_line = began + 60000;
	while (milliseconds() - began < seconds * 1000 && soak->complaints == 0 && !hangs) {
		usleep(1000 + choose(12000));
		reap();
		go_on(false);
		disturb();
		if (milliseconds() >= next_rest) {
			hangs = !look_around();
			next_rest = milliseconds() + 500 + choose(2500);
		}
		if (milliseconds() >= next_line) {
			progress(began);
			next_line += 60000;
		}
	}
	if (!hangs && soak->complaints == 0)
		hangs = !look_around();
	long lasted = milliseconds();
	progress(began);
	end(hangs);
	for (int i = 0; i < operation_count; i++)
		printf("%s%s %ld", i ? ", " : "operations: ", operation_names[i], (long)soak->operations[i]);
	printf("\n%ld pages with a stamp looked at, %ld segments of killed makers; the longest call to rest took %ld ms, the end "
	       "%ld ms\n",
	       rest_stamped, unknown, long_rest, milliseconds() - lasted);
	for (int i = 0; i < soak->complaints && i < COMPLAINTS; i++)
		failed("%s", soak->complaint[i]);
	if (soak->complaints == 0)
		counted.passed += rests + 1;
	place_end();
	return count_up();
}
