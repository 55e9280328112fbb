/* Several processes that make segments at once: no limit is passed, and none refuses what has its key already. */
#include "proctest.h"

#include <sys/resource.h>

enum { MAKERS = 16, ROUNDS = 12 };

/* Has `makers` children run `body` from the same moment on. */
static void at_once(int makers, void (*body)(int))
{
	int *ready = shared_memory(sizeof *ready);
	*ready = 0;
	for (int i = 0; i < makers; i++)
		if (!MUST(fork())) {
			__atomic_add_fetch(ready, 1, __ATOMIC_SEQ_CST);
			while (__atomic_load_n(ready, __ATOMIC_SEQ_CST) < makers)
				sched_yield();
			body(i);
			_exit(0);
		}
	for (int i = 0; i < makers; i++) {
		int status;
		MUST(wait(&status));
		CHECK_EQ(status, 0);
	}
}

static struct shm_info usage(void)
{
	struct shm_info info;
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	return info;
}

static void remove_all_but(int kept)
{
	struct shmid_ds d;
	struct shm_info info;
	for (int i = MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info)); i >= 0; i--) {
		int id = shmctl(i, SHM_STAT, &d);
		if (id >= 0 && id != kept)
			MUST(shmctl(id, IPC_RMID, NULL));
	}
}

static void make_until_refused(int maker)
{
	(void)maker;
	while (shmget(IPC_PRIVATE, 3 * PAGE - 1, 0600) >= 0)
		;
	if (errno != ENOSPC)
		_exit(1);
}

TEST(makers_at_once_reach_shmmni_and_never_pass_it)
{
	set_limit("shmmni", "60");
	for (int round = 0; round < ROUNDS; round++) {
		at_once(MAKERS, make_until_refused);
		CHECK_EQ(usage().used_ids, 60);
		remove_all_but(-1);
	}
}

TEST(makers_at_once_reach_shmall_and_never_pass_it)
{
	set_limit("shmall", "182"); /* 60 times 3 pages, and 2 */
	for (int round = 0; round < ROUNDS; round++) {
		at_once(MAKERS, make_until_refused);
		CHECK_EQ(usage().shm_tot, 180);
		remove_all_but(-1);
	}
}

static void get_the_key(int maker)
{
	(void)maker;
	if (shmget(0x4d41, PAGE, IPC_CREAT | 0600) < 0)
		_exit(1);
}

TEST(the_last_segment_that_shmmni_allows_is_there_for_all_who_ask_for_its_key)
{
	/* A late one waits a second for the maker, which is short where a call takes milliseconds and all make some. */
	int makers = getenv("SHMTEST_SLOW") ? 4 : MAKERS;
	set_limit("shmmni", "1");
	for (int round = 0; round < 3 * ROUNDS; round++) {
		at_once(makers, get_the_key);
		CHECK_EQ(usage().used_ids, 1);
		remove_all_but(-1);
	}
}

static void make_and_remove(int maker)
{
	(void)maker;
	for (int i = 0; i < 200; i++) {
		int id = shmget(IPC_PRIVATE, PAGE, 0600);
		if (id < 0 || shmctl(id, IPC_RMID, NULL) < 0)
			_exit(1);
	}
}

TEST(makers_that_fit_below_the_limits_together_are_never_refused)
{
	char text[16];
	snprintf(text, sizeof text, "%d", MAKERS);
	set_limit("shmmni", text);
	set_limit("shmall", text);
	at_once(MAKERS, make_and_remove);
	CHECK_EQ(usage().used_ids, 0);
	CHECK_EQ(usage().shm_tot, 0);
}

TEST(what_could_not_be_made_gives_its_share_back)
{
	SHIM_ONLY();
	/* No file may be as long, so each of these fails when its file is made. */
	struct rlimit limit = { 4 * PAGE, 4 * PAGE };
	set_limit("shmmni", "2");
	set_limit("shmall", "9");
	if (is_root())
		drop_cap(CAP_SYS_RESOURCE); /* with it the shim is above the limit */
	MUST(setrlimit(RLIMIT_FSIZE, &limit));
	for (int i = 0; i < 5; i++)
		TEST_ERRNO(shmget(IPC_PRIVATE, 8 * PAGE, SHM_NORESERVE | 0600), ENOMEM);
	MUST(shmget(IPC_PRIVATE, 2 * PAGE, 0600));
	MUST(shmget(IPC_PRIVATE, 2 * PAGE, 0600));
	TEST_ERRNO(shmget(IPC_PRIVATE, PAGE, 0600), ENOSPC);
}

TEST(a_maker_that_was_killed_gives_its_share_back)
{
	set_limit("shmmni", "20");
	for (int round = 0; round < 4 * ROUNDS; round++) {
		pid_t maker = MUST(fork());
		if (!maker)
			for (;;)
				make_and_remove(0);
		while (usage().used_ids == 0 && round % 2)
			;
		MUST(kill(maker, SIGKILL));
		MUST(waitpid(maker, NULL, 0));
	}
	remove_all_but(-1);
	for (int i = 0; i < 20; i++)
		MUST(shmget(IPC_PRIVATE, PAGE, 0600));
	TEST_ERRNO(shmget(IPC_PRIVATE, PAGE, 0600), ENOSPC);
}
