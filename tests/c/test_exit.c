/* A process that ends, in whatever way, lets go of everything it had attached. */
#include "proctest.h"

static void *abort_in_thread(void *arg)
{
	(void)arg;
	abort();
}
static void *exit_in_thread(void *arg)
{
	(void)arg;
	_exit(0);
}

static void by_underscore_exit(void) { _exit(0); }
static void by_exit(void) { exit(0); }
static void by_status(void) { _exit(42); }
static void by_abort(void) { abort(); }
static void by_sigkill(void) { kill(getpid(), SIGKILL); }
static void by_sigterm(void) { kill(getpid(), SIGTERM); }
static void by_sigsegv(void) { *(volatile char *)UNMAPPED = 1; }
static void by_raw_exit_group(void) { syscall(SYS_exit_group, 0); }
static void by_raw_exit(void) { syscall(SYS_exit, 0); }
static void by_a_thread_that_aborts(void)
{
	pthread_t t;
	thread_start(&t, abort_in_thread, NULL);
	pthread_join(t, NULL);
}
static void by_a_thread_that_exits(void)
{
	pthread_t t;
	thread_start(&t, exit_in_thread, NULL);
	pthread_join(t, NULL);
}

static const struct death { const char *name; void (*die)(void); } deaths[] = {
	{ "_exit", by_underscore_exit },
	{ "exit", by_exit },
	{ "a status of its own", by_status },
	{ "abort", by_abort },
	{ "SIGKILL", by_sigkill },
	{ "SIGTERM", by_sigterm },
	{ "SIGSEGV", by_sigsegv },
	{ "the system call exit_group", by_raw_exit_group },
	{ "the system call exit", by_raw_exit },
	{ "abort in a thread", by_a_thread_that_aborts },
	{ "_exit in a thread", by_a_thread_that_exits },
};
#define EACH_DEATH(d) for (const struct death *d = deaths; d < deaths + sizeof deaths / sizeof *deaths; d++)

/* What a check says, with the way of dying before it. */
#define DEATH_EQ(d, actual, expected)                                                              \
	do {                                                                                       \
		long long a_ = (long long)(actual), e_ = (long long)(expected);                    \
		COUNT_CHECK();                                                                     \
		if (a_ != e_)                                                                      \
			FAIL("%s: %s is %lld, expected %lld", (d)->name, #actual, a_, e_);         \
	} while (0)

TEST(the_attaches_of_a_dead_process_are_gone_after_waitpid)
{
	EACH_DEATH(d) {
		int id = new_segment(2 * PAGE), other = new_segment(PAGE);
		pid_t pid = MUST(fork());
		if (pid == 0) {
			strcpy(attach(id), d->name);
			attach(id);
			MUST(shmat(id, NULL, SHM_RDONLY));
			attach(other);
			d->die();
			FATAL("%s: still here", d->name);
		}
		wait_for(pid);
		DEATH_EQ(d, nattch_of(id), 0);
		DEATH_EQ(d, nattch_of(other), 0);
		DEATH_EQ(d, stat_of(id).shm_lpid, pid);
		CHECK_STR(attach(id), d->name);
	}
}

/* A child that has the segment attached, and dies when the gate is opened. */
static pid_t attached_until(struct gate *go, const struct death *d, int id)
{
	struct gate up = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		gate_open(&up);
		gate_wait(go);
		d->die();
	}
	gate_wait(&up);
	return pid;
}

TEST(dtime_is_not_before_the_death_and_the_dead_one_is_lpid)
{
	EACH_DEATH(d) {
		if (d->die == by_status || d->die == by_raw_exit || d->die == by_sigterm)
			continue; /* a second each */
		int id = new_segment(PAGE);
		char *p = attach(id);
		struct gate go = gate_make();
		pid_t pid = attached_until(&go, d, id);
		struct shmid_ds was = stat_of(id);
		DEATH_EQ(d, was.shm_nattch, 3);
		time_t from = next_second();
		gate_open(&go);
		wait_for(pid);
		struct shmid_ds now = stat_of(id);
		DEATH_EQ(d, now.shm_nattch, 1);
		DEATH_EQ(d, now.shm_lpid, pid);
		DEATH_EQ(d, now.shm_atime, was.shm_atime);
		DEATH_EQ(d, now.shm_ctime, was.shm_ctime);
		CHECK_WITHIN(now.shm_dtime, from, time(NULL));
		CHECK(WRITABLE(p));
	}
}

TEST(a_removed_segment_dies_with_the_last_process_that_has_it)
{
	EACH_DEATH(d) {
		int id = MUST(shmget(0x71, PAGE, IPC_CREAT | 0600));
		struct gate go = gate_make();
		pid_t pid = attached_until(&go, d, id);
		MUST(shmctl(id, IPC_RMID, NULL));
		DEATH_EQ(d, nattch_of(id), 1);
		gate_open(&go);
		wait_for(pid);
		DEATH_EQ(d, exists(id), false);
		DEATH_EQ(d, segments_in_all(), 0);
	}
}

TEST(a_zombie_has_nothing_attached)
{
	EACH_DEATH(d) {
		int id = new_segment(PAGE);
		pid_t pid = MUST(fork());
		if (pid == 0) {
			attach(id);
			d->die();
		}
		siginfo_t si;
		MUST(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT));
		DEATH_EQ(d, nattch_of(id), 0);
		DEATH_EQ(d, stat_of(id).shm_lpid, pid);
		wait_for(pid);
	}
}

TEST(of_many_attached_processes_only_the_living_count)
{
	enum { ALL = 16 };
	int id = new_segment(PAGE);
	struct gate up = gate_make();
	pid_t pid[ALL];
	for (int i = 0; i < ALL; i++) {
		pid[i] = MUST(fork());
		if (pid[i] == 0) {
			attach(id);
			gate_open(&up);
			for (;;)
				pause();
		}
	}
	for (int i = 0; i < ALL; i++)
		gate_wait(&up);
	CHECK_EQ(nattch_of(id), ALL);
	for (int left = ALL - 1; left >= 0; left--) {
		/* Not in the order in which they came. */
		int i = left * 5 % ALL;
		MUST(kill(pid[i], SIGKILL));
		wait_for(pid[i]);
		CHECK_EQ(nattch_of(id), left);
		CHECK_EQ(stat_of(id).shm_lpid, pid[i]);
	}
}

TEST(a_stopped_process_still_counts)
{
	int id = new_segment(PAGE), status;
	struct gate up = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		gate_open(&up);
		for (;;)
			pause();
	}
	gate_wait(&up);
	MUST(kill(pid, SIGSTOP));
	MUST(waitpid(pid, &status, WUNTRACED));
	REQUIRE(WIFSTOPPED(status));
	CHECK_EQ(nattch_of(id), 1);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK(exists(id));
	MUST(kill(pid, SIGKILL)); /* also while stopped */
	wait_for(pid);
	CHECK(!exists(id));
}

TEST(dying_drops_what_was_inherited_and_what_was_its_own)
{
	int id = new_segment(PAGE), own = new_segment(PAGE);
	attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(own);
		attach(id);
		CHECK_EQ(nattch_of(id), 3);
		MUST(shmctl(own, IPC_RMID, NULL));
		kill(getpid(), SIGKILL);
	}
	wait_for(pid);
	CHECK_EQ(nattch_of(id), 1);
	CHECK(!exists(own));
}

TEST(a_process_that_has_detached_changes_nothing_by_dying)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct gate go = gate_make(), up = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		MUST(shmdt(p));
		gate_open(&up);
		gate_wait(&go);
		kill(getpid(), SIGKILL);
	}
	gate_wait(&up);
	CHECK_EQ(stat_of(id).shm_lpid, pid);
	IN_CHILD MUST(shmdt(p));
	struct shmid_ds was = stat_of(id);
	next_second();
	gate_open(&go);
	wait_for(pid);
	struct shmid_ds now = stat_of(id);
	CHECK_EQ(now.shm_nattch, 1);
	CHECK_EQ(now.shm_lpid, was.shm_lpid);
	CHECK_EQ(now.shm_atime, was.shm_atime);
	CHECK_EQ(now.shm_dtime, was.shm_dtime);
}

TEST(the_creator_of_a_segment_may_be_long_dead)
{
	int *id = shared_memory(sizeof *id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		*id = MUST(shmget(0x72, 3 * PAGE, IPC_CREAT | 0640));
		_exit(0);
	}
	wait_for(pid);
	struct shmid_ds d = stat_of(*id);
	CHECK_EQ(d.shm_cpid, pid);
	CHECK_EQ(d.shm_lpid, 0);
	CHECK_EQ(d.shm_dtime, 0);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_perm.mode, 0640);
	CHECK_EQ(shmget(0x72, 0, 0), *id);
}
