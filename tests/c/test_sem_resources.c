/*
 * Semaphores where little is left: small stacks, closed and exhausted descriptors, no memory to be had.
 */
#include "semtest.h"
#include "painted_stack.h"

/* ------------------------------------------------------------------ stacks */

/* By their addresses: what the loader needs to find a function at its first call is not the library's. */
static int (*volatile get)(key_t, int, int) = semget;
static int (*volatile op)(int, struct sembuf *, size_t) = semop;
static int (*volatile timed)(int, struct sembuf *, size_t, const struct timespec *) = semtimedop;
static int (*volatile ctl)(int, int, int, ...) = semctl;

static int id = -1;
static struct semid_ds d;
static unsigned short all[2];
static struct sembuf many[500];
static volatile long result;

static struct sembuf up = { 0, 1, SEM_UNDO }, down = { 0, -1, SEM_UNDO }, asleep = { 0, -5, 0 };
static struct timespec moment = { 0, 100000 };
static void do_make(void) { result = id = get(0x2d1, 2, IPC_CREAT | 0600); }
static void do_find(void) { result = get(0x2d1, 0, 0); }
static void do_miss(void) { result = get(0x2d2, 0, 0) == -1 ? 0 : -1; }
static void do_up(void) { result = op(id, &up, 1); }
static void do_down(void) { result = op(id, &down, 1); }
static void do_many(void) { result = op(id, many, 500); }
static void do_sleep(void) { result = timed(id, &asleep, 1, &moment) == -1 ? 0 : -1; }
static void do_value(void) { result = ctl(id, 0, GETVAL); }
static void do_setval(void) { result = ctl(id, 1, SETVAL, (union semun){ .val = 3 }); }
static void do_getall(void) { result = ctl(id, 0, GETALL, (union semun){ .array = all }); }
static void do_setall(void) { result = ctl(id, 0, SETALL, (union semun){ .array = all }); }
static void do_stat(void) { result = ctl(id, 0, IPC_STAT, (union semun){ .buf = &d }); }
static void do_set(void) { result = ctl(id, 0, IPC_SET, (union semun){ .buf = &d }); }
static void do_remove(void) { result = ctl(id, 0, IPC_RMID); }

#define DO(what) (on_painted_stack(#what, do_##what), MUST(result))

static void a_life(void)
{
	DO(make);
	DO(find);
	DO(miss);
	DO(up);
	DO(down);
	DO(many);
	DO(sleep);
	DO(value);
	DO(setval);
	DO(getall);
	DO(setall);
	DO(stat);
	DO(set);
	DO(remove);
}

TEST(each_call_does_with_a_small_stack_the_first_of_all_included)
{
	IN_CHILD a_life();
	id = MUST(semget(0x2d1, 2, IPC_CREAT | 0600));
	MUST(ctl_arg(id, 0, IPC_STAT, &d));
	IN_CHILD DO(find);
	IN_CHILD DO(up);
	IN_CHILD DO(many);
	IN_CHILD DO(sleep);
	IN_CHILD DO(value);
	IN_CHILD DO(setall);
	IN_CHILD DO(stat);
	IN_CHILD DO(remove);
}

TEST(what_a_dead_process_left_is_undone_with_a_small_stack)
{
	id = MUST(semget(0x2d1, 2, IPC_CREAT | 0600));
	for (int i = 0; i < 3; i++) {
		MUST(set_value(id, 0, 1));
		IN_CHILD MUST(semop(id, &down, 1));
		switch (i) {
		case 0: DO(value); break;
		case 1: DO(up); break;
		case 2: DO(stat); break;
		}
		CHECK_EQ(value_of(id, 0), i == 1 ? 2 : 1);
	}
}

/* ------------------------------------------------------------- descriptors */

/* A set's whole life, and sleep and undo with it. */
static void every_call(void)
{
	int mine = MUST(semget(IPC_PRIVATE, 3, 0600));
	TEST_SUCC(DO_OPS(mine, OP(0, 2, 0), OP(1, 1, SEM_UNDO)));
	TEST_ERRNO(semtimedop(mine, (&OP(2, -1, 0)), 1, &moment), EAGAIN);
	SLEEPER(1, mine, OP(2, -1, SEM_UNDO));
	TEST_SUCC(DO_OPS(mine, OP(2, 1, 0)));
	CHECK_SERVED(1);
	wait_for(sleeper_pid[1]);
	CHECK_STR(values_of(mine, 3), "2 1 1");
	SLEEPER(2, mine, OP(0, -9, 0));
	kill_sleeper(2);
	CHECK_EQ(ncnt_of(mine, 0), 0);
	TEST_SUCC(SET_ALL(mine, 1, 2, 3));
	TEST_SUCC(set_mode(mine, 0640));
	IN_CHILD MUST(DO_OPS(mine, OP(2, -3, SEM_UNDO)));
	CHECK_STR(values_of(mine, 3), "1 2 3");
	TEST_SUCC(remove_set(mine));
}

static void close_all(void)
{
	for (int fd = 0; fd < 1024; fd++)
		close(fd);
}

TEST(a_process_without_any_descriptor_can_make_every_call)
{
	IN_CHILD {
		close_all();
		every_call();
	}
	IN_CHILD {
		every_call();
		close_all();
		every_call();
	}
}

static void need_no_descriptor(void)
{
	if (is_supervised())
		NOT_ON_THIS_SIDE("a static program takes a descriptor for a moment to be registered");
}

TEST(with_all_descriptors_in_use_every_call_works)
{
	need_no_descriptor();
	id = new_set(1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	IN_CHILD {
		struct fds before;
		use_up_descriptors();
		fds_now(&before);
		every_call();
		CHECK_FDS(&before, "calls with no descriptor left");
	}
}

TEST(the_first_call_of_a_process_can_come_with_all_descriptors_in_use)
{
	need_no_descriptor();
	IN_CHILD {
		use_up_descriptors();
		every_call();
	}
}

TEST(no_call_leaves_a_descriptor_behind)
{
	struct fds before;
	fds_now(&before);
	every_call();
	CHECK_FDS(&before, "every call");
	id = new_set(1);
	for (int i = 0; i < 100; i++) {
		SLEEPER(1, id, OP(0, -1, 0));
		MUST(DO_OPS(id, OP(0, 1, 0)));
		CHECK_SERVED(1);
		wait_for(sleeper_pid[1]);
	}
	CHECK_FDS(&before, "a hundred sleepers");
}

TEST(a_sleeper_whose_descriptors_are_closed_is_served)
{
	id = new_set(1);
	outcome = shared_memory(sizeof *outcome);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		close_all();
		outcome->result[1] = DO_OPS(id, OP(0, -1, SEM_UNDO)) == 0 ? SERVED : errno;
		_exit(0);
	}
	UNTIL(ncnt_of(id, 0) == 1);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_SERVED(1);
	REAP(pid);
	CHECK_EQ(value_of(id, 0), 1);
}

/* ------------------------------------------------------------------ memory */

/* Under the shim a call that is the first of its kind in a process may need memory. Then it says so, and has done nothing. */
static bool done_or_enomem(int r, int err)
{
	return r == 0 || (under_shim() && err == ENOMEM);
}

TEST(calls_work_though_no_memory_can_be_mapped_any_more)
{
	id = new_set(2);
	SLEEPER(1, id, OP(1, -1, 0));
	IN_CHILD {
		MUST(setrlimit(RLIMIT_AS, &(struct rlimit){ PAGE, PAGE }));
		errno = 0;
		int r = DO_OPS(id, OP(0, 1, SEM_UNDO)), err = errno;
		CHECK(done_or_enomem(r, err));
		CHECK_EQ(value_of(id, 0), r == 0);
		TEST_SUCC(DO_OPS(id, OP(0, 1, 0)));
		TEST_SUCC(DO_OPS(id, OP(0, -1, 0), OP(1, 1, 0)));
		TEST_SUCC(set_value(id, 0, 3));
		errno = 0;
		r = semtimedop(id, &OP(0, -9, 0), 1, &moment), err = errno;
		CHECK(r == -1 && (err == EAGAIN || (under_shim() && err == ENOMEM)));
	}
	CHECK_SERVED(1);
	CHECK_EQ(value_of(id, 0), 3);
}

TEST(a_process_may_give_up_root_and_its_directory_before_it_calls)
{
	id = new_set(1);
	IN_CHILD {
		MUST(chdir("/"));
		MUST(DO_OPS(id, OP(0, 1, SEM_UNDO)));
		set_caps(0);
		MUST(DO_OPS(id, OP(0, 1, 0)));
	}
	CHECK_EQ(value_of(id, 0), 1);
}
