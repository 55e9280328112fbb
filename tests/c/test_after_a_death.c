/* The first to ask after a death is told the truth, whatever the question. */
#include "proctest.h"

/*
 * The segment is attached by a process that is killed, after which nobody has
 * asked anything yet. When `removed`, it was marked for destruction before.
 */
struct scene { int id; char *p; pid_t dead; };

static struct scene kill_the_only_user(key_t key, bool removed)
{
	struct scene s = { .id = MUST(shmget(key, PAGE, IPC_CREAT | 0600)) };
	struct gate up = gate_make();
	s.dead = MUST(fork());
	if (s.dead == 0) {
		attach(s.id);
		gate_open(&up);
		for (;;)
			pause();
	}
	gate_wait(&up);
	if (removed)
		MUST(shmctl(s.id, IPC_RMID, NULL));
	MUST(kill(s.dead, SIGKILL));
	wait_for(s.dead);
	return s;
}
static struct scene one_dead_user(void) { return kill_the_only_user(0x81, false); }
static struct scene one_dead_user_of_a_removed_one(void) { return kill_the_only_user(0x81, true); }

TEST(ipc_stat_tells_that_the_user_is_gone)
{
	struct scene s = one_dead_user();
	struct shmid_ds d = stat_of(s.id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_lpid, s.dead);
}

TEST(shm_stat_tells_that_the_user_is_gone)
{
	struct scene s = one_dead_user();
	struct shmid_ds d;
	TEST_RES(shmctl(s.id & 32767, SHM_STAT, &d), _ret == s.id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_lpid, s.dead);
}

TEST(shm_stat_any_tells_that_the_user_is_gone)
{
	struct scene s = one_dead_user();
	struct shmid_ds d;
	TEST_RES(shmctl(s.id & 32767, SHM_STAT_ANY, &d), _ret == s.id);
	CHECK_EQ(d.shm_nattch, 0);
	CHECK_EQ(d.shm_lpid, s.dead);
}

TEST(the_file_in_proc_tells_that_the_user_is_gone)
{
	struct scene s = one_dead_user();
	char line[512];
	FILE *f = fopen("/proc/sysvipc/shm", "r");
	REQUIRE(f != NULL);
	REQUIRE(fgets(line, sizeof line, f) && fgets(line, sizeof line, f));
	int id, cpid, lpid, nattch;
	CHECK_EQ(sscanf(line, "%*d %d %*o %*u %d %d %d", &id, &cpid, &lpid, &nattch), 4);
	CHECK_EQ(id, s.id);
	CHECK_EQ(cpid, getpid());
	CHECK_EQ(lpid, s.dead);
	CHECK_EQ(nattch, 0);
	fclose(f);
}

TEST(removal_finds_no_user_and_destroys)
{
	struct scene s = one_dead_user();
	TEST_SUCC(shmctl(s.id, IPC_RMID, NULL));
	CHECK(!exists(s.id));
	CHECK_EQ(segments_in_all(), 0);
}

TEST(an_attach_and_a_detach_count_from_nothing)
{
	struct scene s = one_dead_user();
	char *p = attach(s.id);
	CHECK_EQ(nattch_of(s.id), 1);
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(s.id), 0);
}

TEST(a_removal_with_one_living_and_one_dead_user_waits_for_the_living)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		kill(getpid(), SIGKILL);
	}
	wait_for(pid);
	MUST(shmctl(id, IPC_RMID, NULL));
	CHECK_EQ(nattch_of(id), 1);
	TEST_SUCC(shmdt(p));
	CHECK(!exists(id));
}

TEST(the_detach_of_the_living_finds_the_other_dead_and_destroys)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		attach(id);
		kill(getpid(), SIGKILL);
	}
	wait_for(pid);
	TEST_SUCC(shmdt(p));
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
	CHECK_EQ(segments_in_all(), 0);
}

/* From here on: the removed segment is destroyed by the death. */

TEST(a_destroyed_segment_cannot_be_attached)
{
	struct scene s = one_dead_user_of_a_removed_one();
	TEST_ERRNO(shmat(s.id, NULL, 0), EINVAL);
}

TEST(ipc_stat_of_a_destroyed_segment_is_einval)
{
	struct scene s = one_dead_user_of_a_removed_one();
	struct shmid_ds d;
	TEST_ERRNO(shmctl(s.id, IPC_STAT, &d), EINVAL);
}

TEST(shm_stat_of_a_destroyed_segment_is_einval)
{
	struct scene s = one_dead_user_of_a_removed_one();
	struct shmid_ds d;
	TEST_ERRNO(shmctl(s.id & 32767, SHM_STAT, &d), EINVAL);
}

TEST(shm_stat_any_of_a_destroyed_segment_is_einval)
{
	struct scene s = one_dead_user_of_a_removed_one();
	struct shmid_ds d;
	TEST_ERRNO(shmctl(s.id & 32767, SHM_STAT_ANY, &d), EINVAL);
}

TEST(ipc_set_of_a_destroyed_segment_is_einval)
{
	struct scene s = one_dead_user_of_a_removed_one();
	struct shmid_ds d = { .shm_perm.mode = 0600 };
	TEST_ERRNO(shmctl(s.id, IPC_SET, &d), EINVAL);
}

TEST(ipc_rmid_of_a_destroyed_segment_is_einval)
{
	struct scene s = one_dead_user_of_a_removed_one();
	TEST_ERRNO(shmctl(s.id, IPC_RMID, NULL), EINVAL);
}

TEST(shm_lock_of_a_destroyed_segment_is_einval)
{
	struct scene s = one_dead_user_of_a_removed_one();
	TEST_ERRNO(shmctl(s.id, SHM_LOCK, NULL), EINVAL);
}

TEST(shm_unlock_of_a_destroyed_segment_is_einval)
{
	struct scene s = one_dead_user_of_a_removed_one();
	TEST_ERRNO(shmctl(s.id, SHM_UNLOCK, NULL), EINVAL);
}

TEST(shm_info_does_not_count_a_destroyed_segment)
{
	one_dead_user_of_a_removed_one();
	struct shm_info info;
	TEST_RES(shmctl(0, SHM_INFO, (struct shmid_ds *)&info), _ret == 0);
	CHECK_EQ(info.used_ids, 0);
	CHECK_EQ(info.shm_tot, 0);
	CHECK_EQ(info.shm_rss, 0);
}

TEST(the_highest_index_of_ipc_info_forgets_a_destroyed_segment)
{
	new_segment(PAGE);
	one_dead_user_of_a_removed_one();
	struct shminfo info;
	TEST_RES(shmctl(0, IPC_INFO, (struct shmid_ds *)&info), _ret == 0);
}

TEST(the_file_in_proc_has_no_line_for_a_destroyed_segment)
{
	one_dead_user_of_a_removed_one();
	CHECK_EQ(lines_in_proc(), 0);
}

TEST(a_destroyed_segment_does_not_count_for_shmmni)
{
	set_limit("shmmni", "1");
	one_dead_user_of_a_removed_one();
	TEST_SUCC(shmget(0x82, PAGE, IPC_CREAT | 0600));
	TEST_ERRNO(shmget(0x83, PAGE, IPC_CREAT | 0600), ENOSPC);
}

TEST(a_destroyed_segment_does_not_count_for_shmall)
{
	set_limit("shmall", "1");
	one_dead_user_of_a_removed_one();
	TEST_SUCC(shmget(0x82, PAGE, IPC_CREAT | 0600));
	TEST_ERRNO(shmget(0x83, PAGE, IPC_CREAT | 0600), ENOSPC);
}

TEST(the_key_of_a_destroyed_segment_is_free)
{
	struct scene s = one_dead_user_of_a_removed_one();
	TEST_ERRNO(shmget(0x81, 0, 0), ENOENT);
	TEST_RES(shmget(0x81, PAGE, IPC_CREAT | IPC_EXCL | 0600), _ret != s.id);
}

TEST(a_process_started_by_exec_finds_a_destroyed_segment_gone)
{
	struct scene s = one_dead_user_of_a_removed_one();
	char id[32];
	snprintf(id, sizeof id, "id,%d", s.id);
	EXPECT_STEPS("stat -1 EINVAL\nat -1 EINVAL\ncount 0\n", id, "stat", "at", "count");
}

TEST(a_process_started_by_exec_finds_the_user_gone)
{
	struct scene s = one_dead_user();
	char id[32], expected[80];
	snprintf(id, sizeof id, "id,%d", s.id);
	snprintf(expected, sizeof expected, "stat key=0x81 mode=600 size=%lu nattch=0\n", (unsigned long)PAGE);
	EXPECT_STEPS(expected, id, "stat");
}
