/*
 * IPC_SET: uid, gid and the nine bits of the mode, nothing else; and the time
 * of change.
 */
#include "shmtest.h"

TEST_SEVERAL_UIDS(owner_group_and_mode_are_taken_everything_else_is_ignored)
{
	int id = MUST(shmget(0x162e, 5000, IPC_CREAT | 0600));
	struct shmid_ds before = stat_of(id), d, after;
	memset(&d, 0x55, sizeof d);
	d.shm_perm.uid = 54001;
	d.shm_perm.gid = 54002;
	d.shm_perm.mode = 0177777;
	time_t from = time(NULL);
	TEST_RES(shmctl(id, IPC_SET, &d), _ret == 0);
	time_t to = time(NULL);
	after = stat_of(id);
	CHECK_EQ(after.shm_perm.uid, 54001);
	CHECK_EQ(after.shm_perm.gid, 54002);
	CHECK_EQ(after.shm_perm.mode, 0777);
	CHECK_WITHIN(after.shm_ctime, from, to);
	before.shm_perm.uid = 54001, before.shm_perm.gid = 54002, before.shm_perm.mode = 0777;
	before.shm_ctime = after.shm_ctime;
	CHECK_SAME(before, after);
}

TEST(the_mode_has_nine_bits)
{
	int id = new_segment(1);
	struct shmid_ds d = stat_of(id);
	unsigned modes[] = { 0777, 0600, 01600, 02600, 04644, 0177600, 07400 };
	for (int i = 0; i < 7; i++) {
		d.shm_perm.mode = modes[i];
		TEST_SUCC(shmctl(id, IPC_SET, &d));
		CHECK_EQ(stat_of(id).shm_perm.mode, modes[i] & 0777);
	}
}

TEST(a_uid_or_gid_of_minus_one_is_einval_and_changes_nothing)
{
	int id = new_segment(1);
	struct shmid_ds before = stat_of(id), d = before, after;
	next_second();
	d.shm_perm.mode = 0666;
	d.shm_perm.uid = -1;
	TEST_ERRNO(shmctl(id, IPC_SET, &d), EINVAL);
	d.shm_perm.uid = before.shm_perm.uid, d.shm_perm.gid = -1;
	TEST_ERRNO(shmctl(id, IPC_SET, &d), EINVAL);
	d.shm_perm.uid = -1;
	TEST_ERRNO(shmctl(id, IPC_SET, &d), EINVAL);
	after = stat_of(id);
	CHECK_SAME(before, after);
}

TEST(the_time_of_change_moves_though_nothing_changed)
{
	int id = new_segment(1);
	struct shmid_ds before = stat_of(id), after;
	next_second();
	time_t from = time(NULL);
	TEST_SUCC(shmctl(id, IPC_SET, &before));
	time_t to = time(NULL);
	after = stat_of(id);
	CHECK(after.shm_ctime > before.shm_ctime);
	CHECK_WITHIN(after.shm_ctime, from, to);
	before.shm_ctime = after.shm_ctime;
	CHECK_SAME(before, after);
}

TEST(marks_of_removal_and_locking_survive)
{
	int id = new_segment(PAGE);
	struct shmid_ds d = stat_of(id);
	char *p = attach(id);
	MUST(shmctl(id, SHM_LOCK, NULL));
	d.shm_perm.mode = 0640;
	TEST_SUCC(shmctl(id, IPC_SET, &d));
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_LOCKED | 0640);
	MUST(shmctl(id, IPC_RMID, NULL));
	d.shm_perm.mode = 0604;
	TEST_SUCC(shmctl(id, IPC_SET, &d));
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_DEST | SHM_LOCKED | 0604);
	MUST(shmctl(id, SHM_UNLOCK, NULL));
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_DEST | 0604);
	MUST(shmdt(p));
	TEST_ERRNO(shmctl(id, IPC_SET, &d), EINVAL);
}

TEST(what_is_not_set_cannot_be_smuggled_in_by_the_mode)
{
	int id = new_segment(PAGE);
	struct shmid_ds d = stat_of(id);
	d.shm_perm.mode = SHM_DEST | SHM_LOCKED | 0600;
	TEST_SUCC(shmctl(id, IPC_SET, &d));
	CHECK_EQ(stat_of(id).shm_perm.mode, 0600);
	char *p = attach(id);
	MUST(shmdt(p));
	CHECK(exists(id));
}

TEST(a_new_mode_is_in_force_at_once_for_every_process)
{
	int id = MUST(shmget(0x11, PAGE, IPC_CREAT | 0600));
	struct gate tried = gate_make(), changed = gate_make();
	pid_t pid = fork();
	if (pid == 0) {
		set_caps(0);
		TEST_SUCC(shmdt(attach(id)));
		gate_open(&tried);
		gate_wait(&changed);
		TEST_ERRNO(shmat(id, NULL, 0), EACCES);
		TEST_SUCC(shmat(id, NULL, SHM_RDONLY));
		TEST_ERRNO(shmget(0x11, 0, 0200), EACCES);
		_exit(0);
	}
	struct shmid_ds d = stat_of(id);
	d.shm_perm.mode = 0400;
	gate_wait(&tried);
	MUST(shmctl(id, IPC_SET, &d));
	gate_open(&changed);
	REAP(pid);
}
