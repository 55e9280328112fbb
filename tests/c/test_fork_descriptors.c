/* What a child gets that is forked while another thread is in a call: no descriptor of the call's, and no lock. */
#include "proctest.h"
#include <ftw.h>

static struct fds before;
static atomic_bool over;
static int asked;

static void *attaches_until_told(void *arg)
{
	(void)arg;
	while (!over) {
		char *p = attach(asked);
		if (shmdt(p) != 0)
			FATAL("shmdt: %s", errno_name(errno));
	}
	return NULL;
}

static void *asks_until_told(void *arg)
{
	struct shm_info info;
	(void)arg;
	while (!over)
		if (nattch_of(asked) != 1 || shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0)
			FATAL("asked: %s", errno_name(errno));
	return NULL;
}

static void *lives_until_told(void *arg)
{
	(void)arg;
	while (!over) {
		struct life l = whole_life(IPC_PRIVATE, PAGE);
		if (l.failed)
			FATAL("%s: %s", l.failed, errno_name(l.err));
	}
	return NULL;
}

static void children_have_what_they_should(void *(*meanwhile)(void *), const char *what)
{
	pthread_t thread;
	fds_now(&before);
	thread_start(&thread, meanwhile, NULL);
	for (int i = 0; i < 1500; i++)
		IN_CHILD CHECK_FDS(&before, what);
	over = true;
	pthread_join(thread, NULL);
}

TEST(a_child_gets_no_descriptor_of_an_attach_that_another_thread_makes)
{
	asked = new_segment(PAGE);
	children_have_what_they_should(attaches_until_told, "a fork while another thread attaches");
	CHECK_EQ(nattch_of(asked), 0);
}

TEST(nor_of_a_look_at_others)
{
	asked = new_segment(PAGE);
	struct gate up = gate_make(), go = gate_make();
	pid_t user = MUST(fork());
	if (user == 0) {
		attach(asked);
		gate_open(&up);
		gate_wait(&go);
		_exit(0);
	}
	gate_wait(&up);
	children_have_what_they_should(asks_until_told, "a fork while another thread asks");
	gate_open(&go);
	REAP(user);
}

TEST(nor_of_a_segments_life)
{
	asked = new_segment(PAGE);
	attach(asked);
	children_have_what_they_should(lives_until_told, "a fork while another thread makes and removes segments");
	CHECK_EQ(segments_in_all(), 1);
}

static int removes_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status, (void)type, (void)ftw;
	return remove(path);
}

static atomic_bool asked_first;

static void *asks_first(void *arg)
{
	if (shmget(0xe9, 0, 0) != -1 || errno != ENOENT)
		FATAL("shmget: %s", errno_name(errno));
	/* Who has opened the namespace goes on at once. */
	if (arg) {
		int id = shmget(IPC_PRIVATE, PAGE, 0600);
		if (id < 0 || shmat(id, NULL, 0) == (void *)-1 || shmctl(id, IPC_RMID, NULL) < 0)
			FATAL("a segment: %s", errno_name(errno));
	}
	asked_first = true;
	return NULL;
}

/* In a namespace that others have made, and in one that the call makes. */
TEST(nor_of_the_first_call_of_a_process)
{
	for (int i = 0; i < 400; i++)
		IN_CHILD
		{
			char dir[256];
			pthread_t thread;
			bool own = under_shim() && i % 2;
			if (own) {
				snprintf(dir, sizeof dir, "%s/%d", getenv("SHMSHIM_DIR"), i);
				MUST(mkdir(dir, 0700));
				MUST(setenv("SHMSHIM_DIR", dir, 1));
			}
			fds_now(&before);
			thread_start(&thread, asks_first, i % 4 < 2 ? NULL : &asked_first);
			while (!asked_first)
				IN_CHILD CHECK_FDS(&before, "a fork while another thread makes its first call");
			pthread_join(thread, NULL);
			if (own)
				MUST(nftw(dir, removes_one, 8, FTW_DEPTH | FTW_PHYS));
		}
}

/* What registers a process holds a lock that says that it lives. */
static void *makes_a_segment(void *arg)
{
	int id = shmget(IPC_PRIVATE, PAGE, 0600);
	if (id < 0 || shmctl(id, IPC_RMID, NULL) < 0)
		FATAL("shmget, IPC_RMID: %s", errno_name(errno));
	asked_first = true;
	return arg;
}

TEST(a_process_is_dead_though_a_child_lives_that_was_forked_while_it_became_known)
{
	int id = new_segment(PAGE);
	for (int i = 0; i < 300; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			pthread_t thread;
			MUST(setpgid(0, 0));
			shmget(0xe9, 0, 0);
			thread_start(&thread, makes_a_segment, NULL);
			/* On a busy machine it can take long. */
			for (int n = 0; !asked_first && n < 50; n++)
				if (MUST(fork()) == 0)
					for (;;)
						pause();
			pthread_join(thread, NULL);
			attach(id);
			kill(getpid(), SIGKILL);
		}
		wait_for(pid);
		CHECK_EQ(nattch_of(id), 0);
		kill(-pid, SIGKILL); /* none, if the call was faster than the first fork */
	}
}
