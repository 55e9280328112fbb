/*
 * shm_rmid_forced = 1: no segment outlives its creator and its last attach.
 */
#include "shmtest.h"
#include <pthread.h>

static void force(void) { set_limit("shm_rmid_forced", "1"); }

/* A segment whose creator has exited. */
static int orphan(void)
{
	int *id = shared_memory(sizeof *id);
	IN_CHILD
		*id = new_segment(PAGE);
	return *id;
}

TEST(it_is_0_at_first_and_takes_0_and_1_only)
{
	CHECK_EQ(limit("shm_rmid_forced"), 0);
	force();
	CHECK_EQ(limit("shm_rmid_forced"), 1);
	int err = try_limit("shm_rmid_forced", "2");
	CHECK(err == EINVAL || (under_shim() && err == 0));
	CHECK_EQ(limit("shm_rmid_forced"), 1);
	set_limit("shm_rmid_forced", "0");
	CHECK_EQ(limit("shm_rmid_forced"), 0);
}

TEST(setting_it_destroys_what_is_unattached_and_has_no_creator)
{
	int gone = orphan(), held = orphan(), mine = new_segment(PAGE);
	char *p = attach(held);
	CHECK(exists(gone) && exists(held) && exists(mine));
	force();
	CHECK(!exists(gone));
	CHECK(exists(held));
	CHECK(exists(mine)); /* its creator lives */
	MUST(shmdt(p));
	CHECK(!exists(held));
}

TEST(a_segment_never_attached_stays_while_its_creator_lives)
{
	force();
	int id = MUST(shmget(0x11, PAGE, IPC_CREAT | 0600));
	CHECK(exists(id));
	TEST_RES(shmget(0x11, 0, 0), _ret == id);
}

static char *dropped;
static void drops(void)
{
	if (dropped)
		TEST_SUCC(shmdt(dropped));
	dropped = NULL;
}

TEST(so_does_a_last_detach_in_a_fork_handler)
{
	static const bool others[] = { false, true };
	CHECK_EQ(pthread_atfork(drops, NULL, NULL), 0);
	force();
	for (size_t i = 0; i < 2; i++) {
		int other = new_segment(PAGE), id = new_segment(PAGE);
		char *kept = others[i] ? attach(other) : NULL;
		dropped = attach(id);
		IN_CHILD
			CHECK(!exists(id));
		CHECK(!exists(id));
		if (kept)
			MUST(shmdt(kept));
	}
}

TEST(the_last_detach_destroys_though_the_creator_lives)
{
	force();
	int id = MUST(shmget(0x11, PAGE, IPC_CREAT | 0600));
	char *p = attach(id), *q = attach(id);
	MUST(shmdt(p));
	CHECK(exists(id));
	MUST(shmdt(q));
	CHECK(!exists(id));
	TEST_ERRNO(shmget(0x11, 0, 0), ENOENT);
}

TEST(the_exit_of_the_creator_destroys_what_is_unattached)
{
	force();
	int id = orphan();
	CHECK(!exists(id));
}

TEST(the_exit_of_the_creator_leaves_what_others_have_attached)
{
	int *id = shared_memory(sizeof *id);
	struct gate made = gate_make(), attached = gate_make();
	force();
	pid_t pid = fork();
	if (pid == 0) {
		*id = new_segment(PAGE);
		gate_open(&made);
		gate_wait(&attached);
		_exit(0);
	}
	gate_wait(&made);
	char *p = attach(*id);
	p[0] = 'x';
	gate_open(&attached);
	REAP(pid);
	CHECK(exists(*id));
	CHECK_EQ(stat_of(*id).shm_perm.mode, 0600); /* not marked, just doomed */
	CHECK_EQ(p[0], 'x');
	MUST(shmdt(p));
	CHECK(!exists(*id));
}

TEST(the_death_of_the_last_attached_process_destroys)
{
	force();
	int id = new_segment(PAGE);
	pid_t pid = fork();
	if (pid == 0) {
		attach(id);
		kill(getpid(), SIGKILL);
	}
	wait_for(pid);
	CHECK(!exists(id));
}

static void *create(void *id)
{
	*(int *)id = shmget(IPC_PRIVATE, PAGE, 0600);
	return NULL;
}

TEST(the_exit_of_the_creating_thread_counts_not_that_of_its_process)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("Divergence: user space sees the end of a process, not that of a thread");
	int id = -1, mine = -1;
	pthread_t thread;
	force();
	mine = new_segment(PAGE);
	REQUIRE(pthread_create(&thread, NULL, create, &id) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
	CHECK(id >= 0);
	CHECK(!exists(id));
	CHECK(exists(mine));
}

TEST(an_attach_that_fails_for_its_place_destroys_an_unattached_segment)
{
	attach_at(new_segment(PAGE), FREE_AREA);
	force();
	struct { const char *what; const void *addr; int flags, err; bool destroys; } t[] = {
		{ "an occupied place", FREE_AREA, 0, EINVAL, true },
		{ "a place in the kernel", KERNEL_ADDRESS, 0, ENOMEM, true },
		{ "NULL with SHM_REMAP", NULL, SHM_REMAP, EINVAL, false },
		{ "an unaligned place", FREE_AREA + 1, 0, EINVAL, false },
	};
	for (int i = 0; i < 4; i++) {
		int id = new_segment(PAGE);
		struct at_case c[] = { { t[i].what, id, t[i].addr, t[i].flags, t[i].err } };
		AT_CASES(c);
		CHECK_EQ(exists(id), !t[i].destroys);
	}
	IN_CHILD {
		int id = MUST(shmget(IPC_PRIVATE, PAGE, 0400));
		set_caps(0);
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
		CHECK(exists(id));
	}
}

TEST(an_attach_that_fails_leaves_an_attached_segment_alone)
{
	force();
	int id = new_segment(PAGE);
	attach_at(id, FREE_AREA);
	TEST_ERRNO(shmat(id, FREE_AREA, 0), EINVAL);
	TEST_ERRNO(shmat(id, KERNEL_ADDRESS, 0), ENOMEM);
	CHECK_EQ(nattch_of(id), 1);
}

TEST(an_attach_that_fails_leaves_a_removed_segment_that_is_attached)
{
	int id = new_segment(PAGE);
	attach_at(id, FREE_AREA);
	MUST(shmctl(id, IPC_RMID, NULL));
	TEST_ERRNO(shmat(id, FREE_AREA, 0), EINVAL);
	CHECK(exists(id));
	MUST(shmdt(FREE_AREA));
	CHECK(!exists(id));
}

TEST(going_back_to_0_brings_back_the_usual_rule)
{
	force();
	set_limit("shm_rmid_forced", "0");
	int id = new_segment(PAGE);
	MUST(shmdt(attach(id)));
	CHECK(exists(id));
	CHECK(exists(orphan()));
}

static void *dropped_in_prepare;

static void drop_in_prepare(void)
{
	if (dropped_in_prepare)
		MUST(shmdt(dropped_in_prepare));
	dropped_in_prepare = NULL;
}

TEST(a_detach_in_another_librarys_fork_handler_destroys_too)
{
	MUST(pthread_atfork(drop_in_prepare, NULL, NULL));
	force();
	int kept = new_segment(PAGE), id = new_segment(PAGE);
	attach(kept);
	dropped_in_prepare = attach(id);
	IN_CHILD CHECK_EQ(nattch_of(kept), 2);
	CHECK(!exists(id));
	CHECK_EQ(nattch_of(kept), 1);
}
