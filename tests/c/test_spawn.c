/* A child that borrows the parent's memory until it execs or exits is no attach of anybody's. */
#include "proctest.h"
#include <spawn.h>

extern char **environ;

/* A segment attached twice here, last touched by another process a second ago. */
static struct shmid_ds was;
static char *p;

static int quiet_segment(void)
{
	int id = new_segment(PAGE);
	p = attach(id);
	attach(id);
	IN_CHILD MUST(shmdt(MUST(shmat(id, NULL, 0))));
	was = stat_of(id);
	CHECK_EQ(was.shm_nattch, 2);
	CHECK(was.shm_lpid != getpid());
	next_second();
	return id;
}

static void check_untouched(int id)
{
	struct shmid_ds now = stat_of(id);
	CHECK_EQ(now.shm_nattch, 2);
	CHECK_EQ(now.shm_atime, was.shm_atime);
	CHECK_EQ(now.shm_dtime, was.shm_dtime);
	CHECK_EQ(now.shm_ctime, was.shm_ctime);
	CHECK_EQ(now.shm_lpid, was.shm_lpid);
	CHECK(WRITABLE(p));
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 1);
	CHECK_LIFE(0xa1);
}

TEST(vfork_and_exit_change_nothing)
{
	int id = quiet_segment();
	for (int i = 0; i < 20; i++) {
		pid_t pid = vfork();
		if (pid == 0)
			_exit(7);
		CHECK_EQ(WEXITSTATUS(wait_for(pid)), 7);
	}
	check_untouched(id);
}

TEST(vfork_and_exec_change_nothing)
{
	int id = quiet_segment();
	char *const argv[] = { (char *)built("helper_steps"), NULL };
	for (int i = 0; i < 5; i++) {
		pid_t pid = vfork();
		if (pid == 0) {
			execv(argv[0], argv);
			_exit(9);
		}
		CHECK_EQ(wait_for(pid), 0);
	}
	check_untouched(id);
}

TEST(vfork_and_an_exec_that_fails_change_nothing)
{
	int id = quiet_segment();
	char *const argv[] = { (char *)"/no/such/program", NULL };
	pid_t pid = vfork();
	if (pid == 0) {
		execv(argv[0], argv);
		_exit(9);
	}
	CHECK_EQ(WEXITSTATUS(wait_for(pid)), 9);
	check_untouched(id);
}

TEST(a_vfork_child_that_is_killed_changes_nothing)
{
	int id = quiet_segment();
	pid_t pid = vfork();
	if (pid == 0) {
		kill(getpid(), SIGKILL);
		_exit(9);
	}
	CHECK_EQ(WTERMSIG(wait_for(pid)), SIGKILL);
	check_untouched(id);
}

TEST(posix_spawn_changes_nothing)
{
	int id = quiet_segment();
	char *const argv[] = { (char *)built("helper_steps"), NULL };
	for (int i = 0; i < 5; i++) {
		pid_t pid;
		CHECK_EQ(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ), 0);
		CHECK_EQ(wait_for(pid), 0);
	}
	check_untouched(id);
}

TEST(a_posix_spawn_that_fails_changes_nothing)
{
	int id = quiet_segment();
	char *const argv[] = { (char *)"/no/such/program", NULL };
	pid_t pid;
	CHECK_EQ(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ), ENOENT);
	check_untouched(id);
}

TEST(system_changes_nothing)
{
	int id = quiet_segment();
	CHECK_EQ(system("exit 0"), 0);
	CHECK_EQ(WEXITSTATUS(system("exit 5")), 5);
	CHECK(system(NULL) != 0);
	check_untouched(id);
}

TEST(popen_changes_nothing)
{
	int id = quiet_segment();
	char line[32] = "";
	FILE *f = popen("echo hello", "r");
	REQUIRE(f != NULL);
	CHECK(fgets(line, sizeof line, f) != NULL);
	CHECK_STR(line, "hello\n");
	CHECK_EQ(pclose(f), 0);
	check_untouched(id);
}

TEST(a_spawned_program_that_attaches_counts_for_itself)
{
	int id = MUST(shmget(0xa2, PAGE, IPC_CREAT | 0600));
	attach(id);
	int in[2], out[2];
	MUST(pipe(in));
	MUST(pipe(out));
	char *const argv[] = { (char *)built("helper_steps"), "get,0xa2,0,0", "at", "wait", NULL };
	posix_spawn_file_actions_t fa;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, in[0], 0);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	struct talk t = { .in = in[1], .out = out[0] };
	CHECK_EQ(posix_spawn(&t.pid, argv[0], &fa, NULL, argv, environ), 0);
	TALK_EXPECT(&t, "get 0");
	TALK_EXPECT(&t, "at 0");
	CHECK_EQ(nattch_of(id), 2);
	CHECK_EQ(stat_of(id).shm_lpid, t.pid);
	talk_go(&t);
	CHECK_EQ(talk_end(&t), 0);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(the_first_call_of_a_forked_child_may_come_from_its_vfork)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	struct gate up = gate_make(), go = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		pid_t pid = vfork();
		if (pid == 0)
			_exit(nattch_of(id) == 2 ? 0 : 1);
		CHECK_EQ(wait_for(pid), 0);
		CHECK_EQ(nattch_of(id), 2);
		gate_open(&up);
		gate_wait(&go);
		p[0] = 'c';
		_exit(0);
	}
	gate_wait(&up);
	CHECK_EQ(nattch_of(id), 2);
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 1);
	gate_open(&go);
	REAP(child);
	CHECK(!exists(id));
}

TEST(the_child_of_a_fork_can_spawn_too)
{
	int id = new_segment(PAGE);
	char *q = attach(id);
	IN_CHILD
	{
		CHECK_EQ(system("exit 0"), 0);
		pid_t pid = vfork();
		if (pid == 0)
			_exit(0);
		CHECK_EQ(wait_for(pid), 0);
		CHECK_EQ(nattch_of(id), 2);
		TEST_SUCC(shmdt(q));
		CHECK_EQ(nattch_of(id), 1);
	}
	CHECK_EQ(nattch_of(id), 1);
}
