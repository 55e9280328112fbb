/*
 * IPC_RMID: what is gone at once, what lives until the last attach, and what
 * lives on without any process.
 */
#include "shmtest.h"

enum { KEY = 0x162e };

TEST(an_unattached_segment_is_destroyed_at_once)
{
	int id = MUST(shmget(KEY, 5000, IPC_CREAT | 0600));
	struct shmid_ds d;
	TEST_RES(shmctl(id, IPC_RMID, NULL), _ret == 0);
	TEST_ERRNO(shmctl(id, IPC_STAT, &d), EINVAL);
	TEST_ERRNO(shmctl(id, IPC_RMID, NULL), EINVAL);
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
	TEST_ERRNO(shmget(KEY, 0, 0), ENOENT);
}

TEST(an_attached_segment_loses_its_key_and_is_marked_and_that_is_all)
{
	int id = MUST(shmget(KEY, 5000, IPC_CREAT | 0640));
	attach(id)[4999] = 'x';
	struct shmid_ds before = stat_of(id), after;
	next_second();
	TEST_RES(shmctl(id, IPC_RMID, NULL), _ret == 0);
	after = stat_of(id);
	CHECK_EQ(after.shm_perm.__key, 0);
	CHECK_EQ(after.shm_perm.mode, SHM_DEST | 0640);
	after.shm_perm.__key = KEY;
	after.shm_perm.mode = 0640;
	CHECK_SAME(before, after);
	CHECK_EQ(attach(id)[4999], 'x');
}

TEST(the_key_is_free_at_once_and_both_segments_live)
{
	int old = MUST(shmget(KEY, 5000, IPC_CREAT | 0600));
	char *p = attach(old);
	p[0] = 'o';
	MUST(shmctl(old, IPC_RMID, NULL));
	TEST_ERRNO(shmget(KEY, 0, 0), ENOENT);
	int new = MUST(shmget(KEY, 9000, IPC_CREAT | IPC_EXCL | 0600));
	CHECK(new != old);
	char *q = attach(new);
	CHECK_EQ(q[0], 0);
	q[0] = 'n';
	CHECK_EQ(p[0], 'o');
	TEST_RES(shmget(KEY, 9000, 0), _ret == new);
	CHECK_EQ(stat_of(old).shm_segsz, 5000);
	CHECK_EQ(stat_of(new).shm_segsz, 9000);
	MUST(shmdt(p));
	CHECK(!exists(old) && exists(new));
	TEST_RES(shmget(KEY, 0, 0), _ret == new);
}

TEST(everything_works_on_a_removed_segment_while_it_is_attached)
{
	int id = MUST(shmget(KEY, PAGE, IPC_CREAT | 0600));
	char *p = attach(id);
	struct shmid_ds d;
	MUST(shmctl(id, IPC_RMID, NULL));
	TEST_RES(shmctl(id, IPC_RMID, NULL), _ret == 0);
	TEST_SUCC(shmctl(id, IPC_STAT, &d));
	TEST_RES(shmctl(id, SHM_STAT, &d), _ret == id);
	TEST_RES(shmctl(id, SHM_STAT_ANY, &d), _ret == id);
	TEST_SUCC(shmctl(id, SHM_LOCK, NULL));
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_DEST | SHM_LOCKED | 0600);
	TEST_SUCC(shmctl(id, SHM_UNLOCK, NULL));
	d.shm_perm.mode = 0644;
	TEST_SUCC(shmctl(id, IPC_SET, &d));
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_DEST | 0644);
	char *q = attach(id);
	CHECK_EQ(nattch_of(id), 2);
	MUST(shmdt(p));
	CHECK(exists(id));
	MUST(shmdt(q));
	CHECK(!exists(id));
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
}

TEST(an_unrelated_process_attaches_a_removed_segment_by_its_id)
{
	struct gate removed = gate_make(), attached = gate_make();
	int *id = shared_memory(sizeof *id);
	pid_t pid = fork();
	if (pid == 0) {
		gate_wait(&removed);
		char *p = attach(*id);
		CHECK_EQ(p[0], 'x');
		p[1] = 'y';
		gate_open(&attached);
		gate_wait(&removed);
		CHECK_EQ(nattch_of(*id), 1); /* ours alone keeps it */
		CHECK_EQ(p[0], 'x');
		MUST(shmdt(p));
		CHECK(!exists(*id));
		_exit(0);
	}
	*id = MUST(shmget(KEY, PAGE, IPC_CREAT | 0600));
	char *p = attach(*id);
	p[0] = 'x';
	MUST(shmctl(*id, IPC_RMID, NULL));
	gate_open(&removed);
	gate_wait(&attached);
	CHECK_EQ(p[1], 'y');
	CHECK_EQ(nattch_of(*id), 2);
	MUST(shmdt(p));
	gate_open(&removed);
	REAP(pid);
}

TEST(the_last_attach_destroys_it_however_it_ends)
{
	for (int how = 0; how < 6; how++) {
		int id = new_segment(PAGE);
		pid_t pid = fork();
		if (pid == 0) {
			char *p = attach(id);
			MUST(shmctl(id, IPC_RMID, NULL));
			if (!exists(id))
				FATAL("destroyed too early");
			switch (how) {
			case 0: MUST(shmdt(p)); break;
			case 1: _exit(0);
			case 2: exit(0);
			case 3: kill(getpid(), SIGKILL); break;
			case 4: MUST(munmap(p, PAGE)); break;
			case 5: execl("/bin/true", "true", NULL); break;
			}
			_exit(0);
		}
		int status = wait_for(pid);
		CHECK(how == 3 ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
		CHECK(!exists(id));
	}
}

TEST(a_child_keeps_a_removed_segment_that_it_inherited)
{
	struct gate go = gate_make();
	int id = new_segment(PAGE);
	char *p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	pid_t pid = fork();
	if (pid == 0) {
		gate_wait(&go);
		CHECK_EQ(nattch_of(id), 1);
		CHECK(WRITABLE(p));
		_exit(0);
	}
	CHECK_EQ(nattch_of(id), 2);
	MUST(shmdt(p));
	CHECK(exists(id));
	gate_open(&go);
	REAP(pid);
	CHECK(!exists(id));
}

TEST(without_removal_a_segment_survives_every_process)
{
	int *id = shared_memory(sizeof *id);
	pid_t *pid = shared_memory(sizeof *pid);
	IN_CHILD {
		*id = MUST(shmget(KEY, 5000, IPC_CREAT | 0600));
		*pid = getpid();
		memset(attach(*id), 'k', 5000);
	}
	IN_CHILD {
		struct shmid_ds d = stat_of(MUST(shmget(KEY, 5000, 0600)));
		CHECK_EQ(d.shm_cpid, *pid); /* the number stays when the process has gone */
		CHECK_EQ(d.shm_lpid, *pid);
		CHECK_EQ(d.shm_nattch, 0);
		CHECK_EQ(attach(*id)[4999], 'k');
	}
	TEST_SUCC(shmctl(*id, IPC_RMID, NULL));
}

TEST(a_removed_segment_frees_its_pages_only_when_destroyed)
{
	struct shm_info info;
	int id = new_segment(64 * PAGE);
	char *p = attach(id);
	memset(p, 1, 64 * PAGE);
	MUST(shmctl(id, IPC_RMID, NULL));
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	CHECK_EQ(info.shm_rss, 64);
	MUST(shmdt(p));
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	CHECK_EQ(info.shm_rss, 0);
	CHECK_EQ(info.used_ids, 0);
}

/* /proc/meminfo Shmem, in KiB: what all segments and tmpfs files of the machine hold. */
static long shmem_kib(void)
{
	long kib = -1;
	char line[256];
	FILE *f = fopen("/proc/meminfo", "r");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "Shmem: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

TEST(memory_of_destroyed_segments_returns_to_the_machine)
{
	enum { ROUNDS = 32, MIB = 32 };
	long before = shmem_kib();
	if (before < 0)
		SKIP("/proc/meminfo has no Shmem");
	for (int i = 0; i < ROUNDS; i++) {
		int id = new_segment(MIB << 20);
		char *p = attach(id);
		memset(p, 1, MIB << 20);
		if (i % 2)
			MUST(shmctl(id, IPC_RMID, NULL)), MUST(shmdt(p));
		else
			MUST(shmdt(p)), MUST(shmctl(id, IPC_RMID, NULL));
	}
	/* Others use memory too; half of what went through us would be a leak. */
	CHECK(shmem_kib() - before < ROUNDS * MIB * 1024 / 2);
	struct shm_info info;
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	CHECK_EQ(info.used_ids, 0);
	CHECK_EQ(info.shm_rss, 0);
}
