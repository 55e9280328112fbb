/* Segments outlive the process that made them; programs meet in them that know nothing of each other. */
#include "proctest.h"

static char *id_step(int id)
{
	static char text[32];
	snprintf(text, sizeof text, "id,%d", id);
	return text;
}

TEST(a_segment_outlives_its_creator_with_its_contents)
{
	/* Each line is a program of its own: started, run, gone. */
	EXPECT_STEPS("get 0\nat 0\n", "get,0x141,5000,01600", "at", "put,left behind");
	EXPECT_STEPS("get 0\nat 0\nshow left behind\nstat key=0x141 mode=600 size=5000 nattch=1\n",
		     "get,0x141,0,0", "at", "show", "stat");
	CHECK_STR(attach(MUST(shmget(0x141, 0, 0))), "left behind");
}

TEST(a_segment_lives_on_with_no_process_at_all)
{
	EXPECT_STEPS("get 0\nat 0\n", "get,0x142,100,01640", "at", "put,alone");
	for (int i = 0; i < 5; i++)
		EXPECT_STEPS("count 1\nget 0\nstat key=0x142 mode=640 size=100 nattch=0\nat 0\nshow alone\n",
			     "count", "get,0x142,0,0", "stat", "at", "show");
	EXPECT_STEPS("rmid 0\nget -1 ENOENT\ncount 0\n", "index,0", "rmid", "get,0x142,0,0", "count");
}

TEST(every_byte_survives_its_writer)
{
	enum { SIZE = 3 << 20 };
	int id = new_segment(SIZE);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		unsigned *p = (unsigned *)attach(id), random = 7;
		for (size_t i = 0; i < SIZE / sizeof *p; i++)
			p[i] = random = random * 1103515245u + 12345u;
		kill(getpid(), SIGKILL);
	}
	wait_for(pid);
	unsigned *p = (unsigned *)attach(id), random = 7, wrong = 0;
	for (size_t i = 0; i < SIZE / sizeof *p; i++) {
		random = random * 1103515245u + 12345u;
		wrong += p[i] != random;
	}
	CHECK_EQ(wrong, 0);
}

TEST(a_producer_and_a_consumer_that_were_started_separately_meet)
{
	struct talk producer = TALK_STEPS("get,0x143,8192,01600", "at", "wait", "put,from the producer", "say,done", "pause");
	TALK_EXPECT(&producer, "get 0");
	TALK_EXPECT(&producer, "at 0");
	struct talk consumer = TALK_STEPS("get,0x143,8192,0600", "at", "say,ready", "wait", "show", "stat", "rmid", "dt");
	TALK_EXPECT(&consumer, "get 0");
	TALK_EXPECT(&consumer, "at 0");
	TALK_EXPECT(&consumer, "ready");
	talk_go(&producer);
	TALK_EXPECT(&producer, "done");
	talk_go(&consumer);
	TALK_EXPECT(&consumer, "show from the producer");
	TALK_EXPECT(&consumer, "stat key=0x143 mode=600 size=8192 nattch=2");
	TALK_EXPECT(&consumer, "rmid 0");
	TALK_EXPECT(&consumer, "dt 0");
	CHECK_EQ(talk_end(&consumer), 0);
	int id = id_at(0);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(stat_of(id).shm_perm.mode, 0600 | SHM_DEST);
	MUST(kill(producer.pid, SIGKILL));
	talk_end(&producer);
	CHECK(!exists(id));
}

TEST(a_server_attaches_by_id_what_its_client_has_already_removed)
{
	/* As an X client and its server do with an image. */
	int id = new_segment(64 * PAGE);
	char *image = attach(id);
	strcpy(image, "image");
	struct talk server = TALK_STEPS(id_step(id), "at", "stat", "say,attached", "wait", "show", "stat", "dt", "stat");
	TALK_EXPECT(&server, "at 0");
	TALK_EXPECT(&server, "stat key=0 mode=600 size=262144 nattch=2");
	TALK_EXPECT(&server, "attached");
	MUST(shmctl(id, IPC_RMID, NULL));
	strcpy(image, "drawn");
	talk_go(&server);
	TALK_EXPECT(&server, "show drawn");
	TALK_EXPECT(&server, "stat key=0 mode=1600 size=262144 nattch=2");
	TALK_EXPECT(&server, "dt 0");
	TALK_EXPECT(&server, "stat key=0 mode=1600 size=262144 nattch=1");
	CHECK_EQ(talk_end(&server), 0);
	TEST_SUCC(shmdt(image));
	CHECK(!exists(id));
}

TEST(an_unrelated_program_attaches_by_id_after_removal)
{
	int id = MUST(shmget(0x144, PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	strcpy(p, "still here");
	MUST(shmctl(id, IPC_RMID, NULL));
	EXPECT_STEPS("get -1 ENOENT\nstat key=0 mode=1600 size=4096 nattch=1\nat 0\nshow still here\n"
		     "stat key=0 mode=1600 size=4096 nattch=2\nrmid 0\nset\n",
		     "get,0x144,0,0", id_step(id), "stat", "at", "show", "stat", "rmid", "say,set");
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(p));
	EXPECT_STEPS("stat -1 EINVAL\nat -1 EINVAL\nrmid -1 EINVAL\n", id_step(id), "stat", "at", "rmid");
}

TEST(a_removed_segment_and_its_successor_of_the_same_key_coexist)
{
	int old = MUST(shmget(0x145, PAGE, IPC_CREAT | 0600));
	char *p = attach(old);
	strcpy(p, "old");
	MUST(shmctl(old, IPC_RMID, NULL));
	EXPECT_STEPS("get 1\nat 0\n", "get,0x145,4096,03600", "at", "put,new");
	int new = MUST(shmget(0x145, 0, 0));
	CHECK(new != old);
	CHECK_STR(p, "old");
	CHECK_STR(attach(new), "new");
	TEST_SUCC(shmdt(p));
	CHECK(!exists(old));
	CHECK(exists(new));
}

TEST(a_restarted_server_learns_from_nattch_whether_the_old_one_still_runs)
{
	/* As a database does with the segment its lock file names. */
	int id = MUST(shmget(0x146, PAGE, IPC_CREAT | IPC_EXCL | 0600));
	struct gate up = gate_make();
	pid_t *backend = shared_memory(sizeof *backend);
	pid_t server = MUST(fork());
	if (server == 0) {
		char *p = attach(id);
		pid_t pid = MUST(fork());
		if (pid == 0) {
			MUST(shmdt(p));
			attach_at(id, FREE_AREA); /* the backend's own */
			gate_open(&up);
			for (;;)
				pause();
		}
		*backend = pid;
		gate_open(&up);
		for (;;)
			pause();
	}
	gate_wait(&up);
	gate_wait(&up);
	EXPECT_STEPS("get -1 EEXIST\nget 0\nstat key=0x146 mode=600 size=4096 nattch=2\n",
		     "get,0x146,4096,03600", "get,0x146,0,0", "stat");
	MUST(kill(server, SIGKILL));
	wait_for(server);
	EXPECT_STEPS("get 0\nstat key=0x146 mode=600 size=4096 nattch=1\n", "get,0x146,0,0", "stat");
	MUST(kill(*backend, SIGKILL));
	while (nattch_of(id) != 0) /* it is not our child */
		sched_yield();
	EXPECT_STEPS("get 0\nstat key=0x146 mode=600 size=4096 nattch=0\nrmid 0\nget 1\n", "get,0x146,0,0", "stat",
		     "rmid", "get,0x146,4096,03600");
}
