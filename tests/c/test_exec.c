/* exec(2) lets go of every attach; what is started by it finds the segments, and nothing else. */
#include "proctest.h"

/* Text of an argument: "dt,0x300000000000", "id,32769". */
static char *arg_of(const char *fmt, unsigned long value)
{
	static char text[8][64];
	static int next;
	char *t = text[next++ % 8];
	snprintf(t, sizeof text[0], fmt, value);
	return t;
}

TEST(exec_detaches_everything_the_process_had)
{
	int id = new_segment(PAGE), *ready = shared_memory(sizeof *ready);
	int in[2], out[2];
	MUST(pipe(in));
	MUST(pipe(out));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		attach(id);
		*ready = nattch_of(id) == 2;
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(built("helper_steps"), STEPS_ARGV("say,up", "wait"));
		FATAL("execv: %s", errno_name(errno));
	}
	struct talk t = { .pid = pid, .in = in[1], .out = out[0] };
	TALK_EXPECT(&t, "up");
	CHECK_EQ(*ready, 1);
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_lpid, pid);
	talk_go(&t);
	close(in[0]);
	CHECK_EQ(talk_end(&t), 0);
}

TEST(exec_sets_dtime_and_leaves_the_parents_attach)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	struct shmid_ds was;
	pid_t pid;
	struct gate go = gate_make();
	int out[2];
	MUST(pipe(out));
	pid = MUST(fork());
	if (pid == 0) {
		gate_wait(&go);
		dup2(out[1], 1);
		execv(built("helper_steps"), STEPS_ARGV("say,up", "pause"));
		FATAL("execv: %s", errno_name(errno));
	}
	was = stat_of(id);
	CHECK_EQ(was.shm_nattch, 2);
	time_t from = next_second();
	gate_open(&go);
	struct talk t = { .pid = pid, .in = -1, .out = out[0] };
	TALK_EXPECT(&t, "up");
	struct shmid_ds now = stat_of(id);
	CHECK_EQ(now.shm_nattch, 1);
	CHECK_EQ(now.shm_lpid, pid);
	CHECK_EQ(now.shm_atime, was.shm_atime);
	CHECK_WITHIN(now.shm_dtime, from, time(NULL));
	CHECK(WRITABLE(p));
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(the_program_that_exec_starts_has_nothing_at_the_old_address)
{
	int id = new_segment(4096);
	attach_at(id, FREE_AREA);
	EXPECT_STEPS("not mapped\ndt -1 EINVAL\nstat key=0 mode=600 size=4096 nattch=1\n",
		     arg_of("addr,%#lx", (unsigned long)FREE_AREA), "mapped", "dt",
		     arg_of("id,%lu", (unsigned long)id), "stat");
}

TEST(the_program_that_exec_starts_finds_segments_by_key_and_by_id)
{
	int keyed = MUST(shmget(0x91, 100, IPC_CREAT | 0600)), private = new_segment(PAGE);
	strcpy(attach(keyed), "by its key");
	strcpy(attach(private), "by its id");
	EXPECT_STEPS("get 0\nat 0\nshow by its key\nat 0\nshow by its id\ndt 0\n", "get,0x91,0,0",
		     "at", "show", arg_of("id,%lu", (unsigned long)private), "at", "show", "dt");
	CHECK_EQ(nattch_of(keyed), 1);
	CHECK_EQ(nattch_of(private), 1);
}

TEST(exec_destroys_a_removed_segment_that_nobody_else_has)
{
	int id = new_segment(PAGE), out[2];
	MUST(pipe(out));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		CHECK(exists(id));
		dup2(out[1], 1);
		execv(built("helper_steps"), STEPS_ARGV("say,up", "pause"));
		FATAL("execv: %s", errno_name(errno));
	}
	struct talk t = { .pid = pid, .in = -1, .out = out[0] };
	TALK_EXPECT(&t, "up");
	CHECK(!exists(id));
	CHECK_EQ(segments_in_all(), 0);
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
}

TEST(an_exec_that_fails_changes_nothing)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	attach(id);
	IN_CHILD MUST(shmdt(p));
	struct shmid_ds was = stat_of(id);
	next_second();
	char *const none[] = { (char *)"none", NULL };
	TEST_ERRNO(execv("/no/such/program", none), ENOENT);
	TEST_ERRNO(execv("/", none), EACCES);
	struct shmid_ds now = stat_of(id);
	CHECK_EQ(now.shm_nattch, 2);
	CHECK_EQ(now.shm_lpid, was.shm_lpid);
	CHECK_EQ(now.shm_atime, was.shm_atime);
	CHECK_EQ(now.shm_dtime, was.shm_dtime);
	CHECK(WRITABLE(p));
	TEST_SUCC(shmdt(p));
	IN_CHILD
	{
		TEST_ERRNO(execv("/no/such/program", none), ENOENT);
		CHECK_EQ(nattch_of(id), 2);
		CHECK_LIFE(0x92);
	}
	CHECK_EQ(nattch_of(id), 1);
}

static void *exec_here(void *out)
{
	dup2(*(int *)out, 1);
	execv(built("helper_steps"), STEPS_ARGV("say,up", "pause"));
	FATAL("execv: %s", errno_name(errno));
}

TEST(exec_by_another_thread_detaches_as_well)
{
	int id = new_segment(PAGE), out[2];
	MUST(pipe(out));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pthread_t t;
		attach(id);
		thread_start(&t, exec_here, &out[1]);
		for (;;)
			pause();
	}
	struct talk t = { .pid = pid, .in = -1, .out = out[0] };
	TALK_EXPECT(&t, "up");
	CHECK_EQ(nattch_of(id), 0);
	CHECK_EQ(stat_of(id).shm_lpid, pid);
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
}

TEST(a_chain_of_execs_leaves_one_process_and_no_attach)
{
	/* Each program attaches and is replaced by the next. */
	int id = MUST(shmget(0x93, PAGE, IPC_CREAT | 0600));
	for (int i = 0; i < 30; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			attach(id);
			int null = open("/dev/null", O_WRONLY);
			dup2(null, 1);
			execv(built("helper_steps"), STEPS_ARGV("get,0x93,0,0", "at", "at"));
			FATAL("execv: %s", errno_name(errno));
		}
		REAP(pid);
		CHECK_EQ(nattch_of(id), 0);
		CHECK_EQ(stat_of(id).shm_lpid, pid);
	}
}

TEST(an_emptied_environment_does_not_disturb_what_is_attached)
{
	/* A program that clears its environment after its first call keeps its namespace. */
	int id = MUST(shmget(0x94, PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	IN_CHILD
	{
		clearenv();
		CHECK_EQ(shmget(0x94, 0, 0), id);
		TEST_SUCC(shmdt(p));
		CHECK_LIFE(0x95);
		CHECK_EQ(nattch_of(id), 1);
	}
}
