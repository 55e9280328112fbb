/* pthread_atfork handlers of the program may use shared memory, whichever was registered first. */
#include "proctest.h"

static int id;
static char *extra;
static long in_prepare, in_parent, in_child_handler;
static pid_t parent_pid;

static void ask_before(void) { in_prepare = nattch_of(id); }
static void ask_in_parent(void) { in_parent = nattch_of(id); }
static void ask_in_child(void) { in_child_handler = nattch_of(id); }

static void attach_before(void) { extra = attach(id); }
static void detach_here(void) { TEST_SUCC(shmdt(extra)); }

static void remember(void) { parent_pid = getpid(); }
static void live(void) { CHECK_LIFE(IPC_PRIVATE); }

/* Handlers registered before the process's first call, and after it. */
enum when { BEFORE_THE_FIRST_CALL, AFTER_IT };
static char *set_up(enum when when, void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (when == BEFORE_THE_FIRST_CALL)
		CHECK_EQ(pthread_atfork(prepare, parent, child), 0);
	id = new_segment(PAGE);
	char *p = attach(id);
	if (when == AFTER_IT)
		CHECK_EQ(pthread_atfork(prepare, parent, child), 0);
	return p;
}

static void check_asking(enum when when)
{
	char *p = set_up(when, ask_before, ask_in_parent, ask_in_child);
	struct gate go = gate_make();
	for (int i = 0; i < 5; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			CHECK_EQ(in_child_handler, 2);
			CHECK_EQ(nattch_of(id), 2);
			gate_wait(&go);
			TEST_SUCC(shmdt(p));
			_exit(0);
		}
		CHECK_EQ(in_parent, 2);
		/* A library's own preparations may lie before the program's, and count the child already. */
		CHECK(in_prepare == 1 || (under_shim() && when == BEFORE_THE_FIRST_CALL && in_prepare == 2));
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 1);
	}
}
TEST(handlers_registered_before_the_first_call_may_ask) { check_asking(BEFORE_THE_FIRST_CALL); }
TEST(handlers_registered_after_the_first_call_may_ask) { check_asking(AFTER_IT); }

static void check_attaching(enum when when)
{
	char *p = set_up(when, attach_before, detach_here, detach_here);
	struct gate go = gate_make();
	for (int i = 0; i < 5; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			CHECK(WRITABLE(p));
			gate_wait(&go); /* until the parent has detached its own */
			CHECK_EQ(nattch_of(id), 2);
			char *at[4];
			CHECK_EQ(attaches_in_maps(at, 4), 1);
			_exit(0);
		}
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 1);
		CHECK_EQ(stat_of(id).shm_lpid, pid);
	}
}
TEST(handlers_registered_before_the_first_call_may_attach) { check_attaching(BEFORE_THE_FIRST_CALL); }
TEST(handlers_registered_after_the_first_call_may_attach) { check_attaching(AFTER_IT); }

static void check_living(enum when when)
{
	set_up(when, live, live, live);
	for (int i = 0; i < 5; i++) {
		IN_CHILD CHECK_EQ(nattch_of(id), 2);
		CHECK_EQ(nattch_of(id), 1);
		CHECK_EQ(segments_in_all(), 1);
	}
}
TEST(handlers_registered_before_the_first_call_may_make_and_remove) { check_living(BEFORE_THE_FIRST_CALL); }
TEST(handlers_registered_after_the_first_call_may_make_and_remove) { check_living(AFTER_IT); }

static void child_removes(void)
{
	if (getpid() != parent_pid)
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
}
TEST(a_childs_handler_may_remove_what_both_have)
{
	char *p = set_up(BEFORE_THE_FIRST_CALL, remember, NULL, child_removes);
	struct gate go = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		gate_wait(&go);
		_exit(0);
	}
	gate_open(&go);
	REAP(pid);
	CHECK_EQ(stat_of(id).shm_perm.mode, 0600 | SHM_DEST);
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(p));
	CHECK(!exists(id));
}

/*
 * The parent is held up inside fork, in a handler of the program, until the
 * child has ended; somebody else asks meanwhile.
 */
static struct gate ask, answered;
static long *answer;
static void wait_for_the_childs_end(void)
{
	REAP(-1);
	gate_open(&ask);
	gate_wait(&answered);
}
static void check_held_up(enum when when)
{
	ask = gate_make();
	answered = gate_make();
	answer = shared_memory(sizeof *answer);
	int *shared_id = shared_memory(sizeof *shared_id);
	pid_t observer = MUST(fork());
	if (observer == 0) {
		for (int i = 0; i < 5; i++) {
			gate_wait(&ask);
			*answer = nattch_of(*shared_id);
			gate_open(&answered);
		}
		_exit(0);
	}
	set_up(when, NULL, wait_for_the_childs_end, NULL);
	*shared_id = id;
	for (int i = 0; i < 5; i++) {
		if (fork() == 0)
			_exit(0);
		CHECK_EQ(*answer, 1);
	}
	int status;
	CHECK(waitpid(observer, &status, 0) == observer && status == 0);
}
TEST(a_child_that_ends_before_its_parent_returns_from_fork_no_longer_counts) { check_held_up(AFTER_IT); }
TEST(a_child_that_ends_before_the_parents_handlers_have_run_no_longer_counts)
{
	check_held_up(BEFORE_THE_FIRST_CALL);
}

/*
 * A handler of the program closes every descriptor that is none of its own and
 * opens a file, which may get the number of one that somebody else had open.
 */
static int mine[2]; /* in the parent, in the child */
static int first_foreign;
static pid_t forker;
static void close_all_and_open(void)
{
	for (int fd = first_foreign; fd < 64; fd++)
		close(fd);
	mine[getpid() != forker] = open("/proc/self/status", O_RDONLY);
}
static void check_mine(int fd)
{
	char line[6];
	CHECK_EQ(read(fd, line, sizeof line), sizeof line);
	CHECK(!memcmp(line, "Name:\t", 6));
	MUST(close(fd));
}
static void check_closing(enum when when)
{
	forker = getpid();
	set_up(when, NULL, close_all_and_open, close_all_and_open);
	struct gate go = gate_make();
	first_foreign = MUST(dup(0));
	MUST(close(first_foreign));
	for (int i = 0; i < 5; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			CHECK_EQ(nattch_of(id), 2);
			check_mine(mine[1]);
			gate_wait(&go);
			CHECK_EQ(nattch_of(id), 2);
			_exit(0);
		}
		CHECK_EQ(nattch_of(id), 2);
		check_mine(mine[0]);
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 1);
		CHECK_EQ(stat_of(id).shm_lpid, pid);
	}
}
TEST(handlers_registered_before_the_first_call_may_close_all_descriptors) { check_closing(BEFORE_THE_FIRST_CALL); }
TEST(handlers_registered_after_the_first_call_may_close_all_descriptors) { check_closing(AFTER_IT); }

/* What the program had in errno is there in both, whatever the handlers call meanwhile. */
static void check_errno(enum when when)
{
	set_up(when, ask_before, ask_in_parent, ask_in_child);
	errno = ERANGE;
	pid_t pid = fork();
	int kept = errno;
	if (pid == 0) {
		CHECK_EQ(kept, ERANGE);
		_exit(0);
	}
	CHECK(pid > 0);
	CHECK_EQ(kept, ERANGE);
	REAP(pid);
}
TEST(handlers_registered_before_the_first_call_leave_errno_alone) { check_errno(BEFORE_THE_FIRST_CALL); }
TEST(handlers_registered_after_the_first_call_leave_errno_alone) { check_errno(AFTER_IT); }

/*
 * The child of a fork is held up in a handler of the program while its parent
 * makes another one without any handler: neither is taken for the other.
 */
static struct gate held_up;
static void wait_in_the_child(void) { gate_wait(&held_up); }
TEST(a_raw_child_made_after_a_fork_is_not_taken_for_the_forks_child)
{
	held_up = gate_make();
	set_up(BEFORE_THE_FIRST_CALL, NULL, NULL, wait_in_the_child);
	struct gate go_first = gate_make(), go_second = gate_make(), up = gate_make();
	for (int i = 0; i < 5; i++) {
		pid_t first = MUST(fork());
		if (first == 0) {
			CHECK_EQ(nattch_of(id), 3);
			gate_open(&up);
			gate_wait(&go_first);
			_exit(0);
		}
		CHECK_EQ(nattch_of(id), 2);
		pid_t second = (pid_t)MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
		if (second == 0) {
			CHECK_EQ(nattch_of(id), 3);
			gate_open(&up);
			gate_wait(&go_second);
			_exit(0);
		}
		gate_wait(&up);
		gate_open(&held_up);
		gate_wait(&up);
		CHECK_EQ(nattch_of(id), 3);
		gate_open(i % 2 ? &go_first : &go_second);
		REAP(i % 2 ? first : second);
		CHECK_EQ(nattch_of(id), 2);
		CHECK_EQ(stat_of(id).shm_lpid, i % 2 ? first : second);
		gate_open(i % 2 ? &go_second : &go_first);
		REAP(i % 2 ? second : first);
		CHECK_EQ(nattch_of(id), 1);
	}
}

/* What the library had mapped for the fork's child is gone, and something of the program's may lie there. */
TEST(nor_does_it_lose_what_the_program_has_mapped_since)
{
	set_up(AFTER_IT, NULL, NULL, NULL);
	for (int i = 0; i < 5; i++) {
		struct gate go = gate_make();
		char *later[8];
		pid_t first = MUST(fork());
		if (first == 0) {
			gate_wait(&go);
			_exit(0);
		}
		for (int j = 0; j < 8; j++) {
			later[j] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			REQUIRE(later[j] != MAP_FAILED);
			later[j][0] = 'l';
		}
		pid_t second = (pid_t)MUST(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
		if (second == 0) {
			CHECK_EQ(nattch_of(id), 3);
			for (int j = 0; j < 8; j++)
				CHECK_EQ(later[j][0], 'l');
			_exit(0);
		}
		REAP(second);
		CHECK_EQ(nattch_of(id), 2);
		gate_open(&go);
		REAP(first);
		for (int j = 0; j < 8; j++)
			MUST(munmap(later[j], PAGE));
	}
	CHECK_EQ(nattch_of(id), 1);
}
