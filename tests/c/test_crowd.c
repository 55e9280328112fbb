/* Many processes at the same few keys, some killed at any moment; then every book must balance. */
#include "proctest.h"
#include <poll.h>

enum { PROCESSES = 32, KEYS = 5, FIRST_KEY = 0x15000, STEPS_EACH = 600, KILLS = 40, SECONDS = 15 };
#define SIZE (3 * PAGE)

/* A segment's first word names its key, from the moment anybody has used it. */
static void stamp(char *p, int key, const char *when)
{
	int expected = 0;
	if (!atomic_compare_exchange_strong((atomic_int *)p, &expected, key) && expected != key)
		FATAL("%s: a segment of key %#x holds the stamp of %#x", when, key, expected);
}

static bool gone(int err) { return err == EINVAL || err == EIDRM; }

struct held { char *p; int key, id; };

static void one_step(unsigned *random, struct held *held, int *count, int max)
{
	int key = FIRST_KEY + (int)(next_random(random) % KEYS), id, err;
	struct shmid_ds d;
	switch (next_random(random) % 8) {
	case 0: /* create or find */
		if (shmget(key, SIZE, IPC_CREAT | 0600) < 0)
			FATAL("create or find: %s", errno_name(errno));
		break;
	case 1: /* create */
		if (shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0600) < 0 && errno != EEXIST)
			FATAL("create: %s", errno_name(errno));
		break;
	case 2: /* remove */
		id = shmget(key, 0, 0);
		if (id < 0 ? errno != ENOENT : shmctl(id, IPC_RMID, NULL) < 0 && !gone(errno))
			FATAL("remove: %s", errno_name(errno));
		break;
	case 3: /* ask */
		id = shmget(key, 0, 0);
		if (id >= 0 && shmctl(id, IPC_STAT, &d) < 0 && !gone(errno))
			FATAL("ask: %s", errno_name(errno));
		break;
	case 4:
	case 5: /* attach */
		id = shmget(key, SIZE, IPC_CREAT | 0600);
		if (id < 0)
			FATAL("create to attach: %s", errno_name(errno));
		if (*count == max)
			break;
		held[*count] = (struct held){ shmat(id, NULL, 0), key, id };
		err = errno;
		if (held[*count].p != (char *)-1)
			stamp(held[(*count)++].p, key, "attached");
		else if (!gone(err))
			FATAL("attach: %s", errno_name(err));
		break;
	case 6: /* detach */
		if (*count) {
			struct held h = held[next_random(random) % *count];
			for (int i = 0; i < *count; i++)
				if (held[i].p == h.p)
					held[i] = held[--*count];
			stamp(h.p, h.key, "about to be detached");
			/* While it is attached its id stays its own, removed or not. */
			if (shmctl(h.id, IPC_STAT, &d) < 0 || d.shm_nattch < 1)
				FATAL("an attached segment: %s", errno_name(errno));
			if (shmdt(h.p) < 0)
				FATAL("detach: %s", errno_name(errno));
		}
		break;
	case 7: { /* a child that inherits, and lets go of it by dying */
		if (next_random(random) % 8)
			break;
		pid_t pid = fork();
		if (pid < 0)
			FATAL("fork: %s", errno_name(errno));
		if (pid == 0) {
			if (*count)
				stamp(held[0].p, held[0].key, "inherited");
			_exit(*count && shmdt(held[0].p) < 0);
		}
		if (wait_for(pid) != 0)
			FATAL("a child could not detach what it inherited");
		break;
	}
	}
}

/* Lives until its steps are done, the time is over, or somebody kills it. */
static void crowd_member(unsigned seed, struct gate *progress, time_t until)
{
	struct held held[8];
	int count = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < STEPS_EACH && time(NULL) < until; i++) {
		one_step(&seed, held, &count, 8);
		if (i % 20 == 19)
			gate_open(progress);
	}
	_exit(0); /* with whatever it has attached */
}

static void check_and_empty_the_namespace(void)
{
	struct shminfo limits;
	struct shm_info info;
	struct shmid_ds d;
	int all = segments_in_all(), seen = 0;
	CHECK_EQ(lines_in_proc(), all);
	int top = MUST(shmctl(0, IPC_INFO, (struct shmid_ds *)&limits));
	for (int i = 0; i <= top; i++) {
		int id = shmctl(i, SHM_STAT, &d);
		if (id < 0)
			continue;
		seen++;
		CHECK_EQ(d.shm_nattch, 0);
		CHECK_EQ(d.shm_segsz, SIZE);
		CHECK(d.shm_perm.__key >= FIRST_KEY && d.shm_perm.__key < FIRST_KEY + KEYS);
		CHECK_EQ(d.shm_perm.mode, 0600); /* a removed one is gone with its last user */
		CHECK_EQ(shmget(d.shm_perm.__key, 0, 0), id);
		CHECK_EQ(nattch_of(id), 0);
		char *p = attach(id);
		stamp(p, d.shm_perm.__key, "left behind");
		p[SIZE - 1] = 1;
		TEST_SUCC(shmdt(p));
		TEST_SUCC(shmctl(id, IPC_RMID, NULL));
		CHECK(!exists(id));
	}
	CHECK_EQ(seen, all);
	CHECK(seen <= KEYS);
	for (int k = 0; k < KEYS; k++)
		TEST_ERRNO(shmget(FIRST_KEY + k, 0, 0), ENOENT);
	CHECK_EQ(MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info)), 0);
	CHECK_EQ(info.used_ids, 0);
	CHECK_EQ(info.shm_tot, 0);
	CHECK_EQ(info.shm_rss, 0);
	CHECK_EQ(lines_in_proc(), 0);
	if (under_shim())
		CHECK_EQ(files_of_segments(), 0);
	CHECK_LIFE(FIRST_KEY);
}

static pid_t start_member(unsigned seed, struct gate *progress, time_t until)
{
	pid_t pid = MUST(fork());
	if (pid == 0)
		crowd_member(seed, progress, until);
	return pid;
}

/* Until so many reports have come, or the time is over. */
static void wait_for_progress(struct gate *progress, unsigned reports, time_t until)
{
	struct pollfd p = { .fd = progress->fd[0], .events = POLLIN };
	while (reports > 0 && time(NULL) < until)
		if (poll(&p, 1, 1000) == 1) {
			gate_wait(progress);
			reports--;
		}
}

static void crowd(int kills)
{
	struct gate progress = gate_make();
	time_t until = time(NULL) + SECONDS;
	unsigned random = 4711, seed = 1;
	pid_t pid[PROCESSES];
	for (int i = 0; i < PROCESSES; i++)
		pid[i] = start_member(seed++, &progress, until);
	/* Somebody dies whenever the crowd has got a little further. */
	for (int killed = 0; killed < kills && time(NULL) < until; killed++) {
		wait_for_progress(&progress, next_random(&random) % 20, until);
		int victim = (int)(next_random(&random) % PROCESSES);
		kill(pid[victim], SIGKILL);
		int status = wait_for(pid[victim]);
		CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		pid[victim] = start_member(seed++, &progress, until);
	}
	close(progress.fd[1]); /* the others hold it open; when it ends they have all ended */
	char c[64];
	while (read(progress.fd[0], c, sizeof c) > 0)
		;
	for (int i = 0; i < PROCESSES; i++)
		REAP(pid[i]);
	check_and_empty_the_namespace();
}

TEST(a_crowd_at_the_same_keys_leaves_consistent_books) { crowd(0); }

TEST(a_crowd_with_members_killed_at_any_moment_leaves_consistent_books) { crowd(KILLS); }

/* ------------------------------------------------------- all begin at once */

TEST(processes_whose_first_calls_make_the_namespace_agree)
{
	enum { RACERS = 12, ROUNDS = 60 };
	int *ids = shared_memory(RACERS * sizeof *ids);
	for (int round = 0; round < ROUNDS; round++) {
		IN_CHILD
		{
			pid_t pid[RACERS];
			struct gate go = gate_make();
			fresh_namespace();
			for (int i = 0; i < RACERS; i++) {
				pid[i] = MUST(fork());
				if (pid[i] == 0) {
					gate_wait(&go);
					errno = 0;
					ids[i] = shmget(0x16000, PAGE, IPC_CREAT | 0600);
					if (ids[i] < 0)
						FATAL("first call: %s", errno_name(errno));
					char *p = attach(ids[i]);
					atomic_fetch_add((atomic_int *)p, 1);
					_exit(0);
				}
			}
			for (int i = 0; i < RACERS; i++)
				gate_open(&go);
			for (int i = 0; i < RACERS; i++)
				REAP(pid[i]);
			for (int i = 0; i < RACERS; i++)
				CHECK_EQ(ids[i], ids[0]);
			CHECK_EQ(segments_in_all(), 1);
			CHECK_EQ(nattch_of(ids[0]), 0);
			CHECK_EQ(*(int *)attach(ids[0]), RACERS);
		}
	}
}

TEST(processes_that_create_one_key_exclusively_have_one_winner_each_time)
{
	enum { RACERS = 8, ROUNDS = 40 };
	atomic_int *winners = shared_memory(sizeof *winners);
	for (int round = 0; round < ROUNDS; round++) {
		struct gate go = gate_make();
		pid_t pid[RACERS];
		*winners = 0;
		for (int i = 0; i < RACERS; i++) {
			pid[i] = MUST(fork());
			if (pid[i] == 0) {
				gate_wait(&go);
				if (shmget(0x16001, PAGE, IPC_CREAT | IPC_EXCL | 0600) >= 0)
					atomic_fetch_add(winners, 1);
				else if (errno != EEXIST)
					FATAL("%s", errno_name(errno));
				_exit(0);
			}
		}
		for (int i = 0; i < RACERS; i++)
			gate_open(&go);
		for (int i = 0; i < RACERS; i++)
			REAP(pid[i]);
		CHECK_EQ(*winners, 1);
		MUST(shmctl(MUST(shmget(0x16001, 0, 0)), IPC_RMID, NULL));
		close(go.fd[0]);
		close(go.fd[1]);
	}
	CHECK_EQ(segments_in_all(), 0);
}

TEST(processes_that_attach_and_detach_a_removed_segment_agree_on_its_end)
{
	/* Attach by id succeeds until the last one lets go; from then on never again. */
	enum { RACERS = 8, ROUNDS = 25 };
	for (int round = 0; round < ROUNDS; round++) {
		int id = new_segment(PAGE);
		struct gate go = gate_make();
		pid_t pid[RACERS];
		char *p = attach(id);
		MUST(shmctl(id, IPC_RMID, NULL));
		for (int i = 0; i < RACERS; i++) {
			pid[i] = MUST(fork());
			if (pid[i] == 0) {
				bool over = false;
				MUST(shmdt(p));
				gate_wait(&go);
				for (int turn = 0; turn < 30; turn++) {
					char *q = shmat(id, NULL, 0);
					int err = errno;
					REQUIRE(q != (char *)-1 || gone(err));
					REQUIRE(q == (char *)-1 || !over);
					over |= q == (char *)-1;
					if (q != (char *)-1)
						MUST(shmdt(q));
				}
				_exit(0);
			}
		}
		for (int i = 0; i < RACERS; i++)
			gate_open(&go);
		MUST(shmdt(p));
		for (int i = 0; i < RACERS; i++)
			REAP(pid[i]);
		CHECK(!exists(id));
		CHECK_EQ(segments_in_all(), 0);
		close(go.fd[0]);
		close(go.fd[1]);
	}
}

TEST(processes_that_make_and_remove_at_once_do_not_run_out_of_identifiers)
{
	/* With 42 segments the ids of the next ones come from 64 indices: 22 are free, for 32 processes. */
	enum { STEADY = 42, ROUNDS = 200 };
	pid_t pid[PROCESSES];
	for (int i = 0; i < STEADY; i++)
		new_segment(PAGE);
	for (int i = 0; i < PROCESSES; i++) {
		pid[i] = MUST(fork());
		if (pid[i] == 0) {
			for (int round = 0; round < ROUNDS; round++) {
				int id = shmget(IPC_PRIVATE, PAGE, 0600);
				if (id < 0)
					FATAL("shmget: %s", errno_name(errno));
				MUST(shmctl(id, IPC_RMID, NULL));
			}
			_exit(0);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		REAP(pid[i]);
	CHECK_EQ(segments_in_all(), STEADY);
}
