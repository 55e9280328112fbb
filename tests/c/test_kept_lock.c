/*
 * A living process keeps the table's lock, on purpose or because it is stopped: nobody is its hostage. Signals reach those
 * who wait, and what has waited for some seconds is refused.
 */
#include "proctest.h"
#include <sys/time.h>

enum { TABLE = 0x1543000, CELLS = 264 * 1024, CELL = 64, LOCK = 64, LIVE = 1, HELD = 1 << 30 };
static int id;
static pid_t owner;
static volatile uint32_t *table;

static volatile uint32_t *map_table(void)
{
	int fd = MUST(open(in_runtime_dir("registry"), O_RDWR | O_CLOEXEC));
	void *map = mmap(NULL, TABLE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(map != MAP_FAILED);
	MUST(close(fd));
	return map;
}

static void keep_the_lock(struct gate *kept)
{
	attach(new_segment(PAGE));
	table = map_table();
	for (uint32_t i = 0; i < 16384; i++) {
		volatile uint32_t *cell = table + CELLS / 4 + i * CELL / 4;
		if (cell[0] == LIVE && cell[2] == (uint32_t)getpid()) {
			table[LOCK / 4] = HELD | cell[1] << 14 | i;
			gate_open(kept);
			for (;;)
				pause();
		}
	}
	FATAL("this process has no cell");
}

static void attach_one(void)
{
	SHIM_ONLY();
	id = new_segment(PAGE);
	attach(id);
}

static void keep(void)
{
	struct gate kept = gate_make();
	owner = MUST(fork());
	if (owner == 0)
		keep_the_lock(&kept);
	gate_wait(&kept);
}

static void begin(void)
{
	attach_one();
	keep();
}

static void end(void)
{
	MUST(kill(owner, SIGKILL));
	wait_for(owner);
	CHECK_LIFE(IPC_PRIVATE);
}

static void makes(void) { TEST_ERRNO(shmget(IPC_PRIVATE, PAGE, 0600), ENOMEM); }
static void attaches(void) { TEST_ERRNO(shmat(id, NULL, 0), ENOMEM); }
static void sets(void)
{
	struct shmid_ds d = { .shm_perm = { .uid = getuid(), .gid = getgid(), .mode = 0640 } };
	TEST_ERRNO(shmctl(id, IPC_SET, &d), ENOMEM);
}
static void removes(void) { TEST_ERRNO(shmctl(id, IPC_RMID, NULL), ENOMEM); }
static void locks(void) { TEST_ERRNO(shmctl(id, SHM_LOCK, NULL), ENOMEM); }
static void detaches(void)
{
	char *at[4];
	REQUIRE(attaches_in_maps(at, 4) == 1);
	TEST_ERRNO(shmdt(at[0]), EINVAL);
	CHECK(WRITABLE(at[0]));
}

TEST(every_call_that_changes_something_is_refused_after_a_while)
{
	static void (*const calls[])(void) = { makes, attaches, sets, removes, locks, detaches };
	enum { CALLS = sizeof calls / sizeof *calls };
	pid_t pid[CALLS];
	struct gate go = gate_make();
	attach_one();
	for (int i = 0; i < CALLS; i++) {
		pid[i] = MUST(fork());
		if (pid[i] == 0) {
			gate_wait(&go);
			calls[i]();
			_exit(0);
		}
	}
	keep();
	/* A call that only reads, and finds no dead process, needs no lock. */
	CHECK_EQ(nattch_of(id), CALLS + 2);
	for (int i = 0; i < CALLS; i++)
		gate_open(&go);
	for (int i = 0; i < CALLS; i++)
		REAP(pid[i]);
	end();
	CHECK_EQ(nattch_of(id), 1);
}

TEST(a_stopped_process_that_has_the_lock_keeps_it_only_as_long)
{
	begin();
	MUST(kill(owner, SIGSTOP));
	attaches();
	end();
}

static volatile sig_atomic_t handled;
static void counts(int sig)
{
	(void)sig;
	handled++;
}

TEST(a_handler_runs_while_its_program_waits)
{
	begin();
	MUST(sigaction(SIGALRM, &(struct sigaction){ .sa_handler = counts }, NULL));
	MUST(setitimer(ITIMER_REAL, &(struct itimerval){ .it_interval.tv_usec = 50000, .it_value.tv_usec = 50000 }, NULL));
	makes();
	MUST(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
	/* Not once, behind the call, but again and again. */
	CHECK(handled > 3);
	end();
}

static atomic_int *asking;
TEST(sigterm_ends_a_program_that_waits)
{
	enum { WAYS = 5 };
	pid_t pid[WAYS];
	struct gate go[WAYS];
	asking = shared_memory(sizeof *asking);
	attach_one();
	for (int i = 0; i < WAYS; i++) {
		go[i] = gate_make();
		pid[i] = MUST(fork());
		if (pid[i] == 0) {
			char *at[4];
			REQUIRE(attaches_in_maps(at, 4) == 1);
			gate_wait(&go[i]);
			*asking = 1;
			for (;;)
				switch (i) {
				case 0: shmget(IPC_PRIVATE, PAGE, 0600); break;
				case 1: shmat(id, NULL, 0); break;
				case 2: shmdt(at[0]); break;
				case 3: munmap(at[0], PAGE); i = 0; break;
				case 4:
					if (fork() == 0)
						_exit(0);
					break;
				}
		}
	}
	keep();
	for (int i = 0; i < WAYS; i++) {
		*asking = 0;
		gate_open(&go[i]);
		while (!*asking)
			usleep(100);
		usleep(20000);
		MUST(kill(pid[i], SIGTERM));
		CHECK_EQ(wait_for(pid[i]), SIGTERM);
	}
	end();
}

TEST(a_process_exits_all_the_same)
{
	begin();
	pid_t pid = MUST(fork());
	if (pid == 0)
		exit(7);
	CHECK_EQ(wait_for(pid), 7 << 8);
	end();
	CHECK_EQ(nattch_of(id), 1);
}

TEST(a_fork_works_and_its_child_counts_once_it_calls)
{
	struct gate go = gate_make(), up = gate_make();
	begin();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		gate_wait(&go);
		CHECK_LIFE(IPC_PRIVATE);
		gate_open(&up);
		gate_wait(&go);
		_exit(0);
	}
	end();
	gate_open(&go);
	gate_wait(&up);
	CHECK_EQ(nattch_of(id), 2);
	gate_open(&go);
	REAP(pid);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(what_a_program_unmaps_meanwhile_is_counted_later)
{
	begin();
	char *at[4];
	REQUIRE(attaches_in_maps(at, 4) == 1);
	MUST(munmap(at[0], PAGE));
	CHECK(!READABLE(at[0]));
	TEST_ERRNO(shmdt(at[0]), EINVAL);
	end();
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(segments_in_all(), 2);
}
