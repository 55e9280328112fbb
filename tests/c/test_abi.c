/*
 * The structures that programs were compiled with: what the kernel writes
 * where, for the word size of this build.
 */
#include "shmtest.h"

TEST(shmid_ds_has_the_layout_of_the_kernel)
{
#if __SIZEOF_LONG__ == 8
	CHECK_EQ(sizeof(struct shmid_ds), 112);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.__key), 0);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.uid), 4);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.gid), 8);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.cuid), 12);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.cgid), 16);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.mode), 20);
	CHECK_EQ(sizeof(((struct shmid_ds *)0)->shm_perm.mode), 4);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.__seq), 24);
	CHECK_EQ(offsetof(struct shmid_ds, shm_segsz), 48);
	CHECK_EQ(offsetof(struct shmid_ds, shm_atime), 56);
	CHECK_EQ(offsetof(struct shmid_ds, shm_dtime), 64);
	CHECK_EQ(offsetof(struct shmid_ds, shm_ctime), 72);
	CHECK_EQ(offsetof(struct shmid_ds, shm_cpid), 80);
	CHECK_EQ(offsetof(struct shmid_ds, shm_lpid), 84);
	CHECK_EQ(offsetof(struct shmid_ds, shm_nattch), 88);
	CHECK_EQ(sizeof(struct shminfo), 72);
	CHECK_EQ(sizeof(struct shm_info), 48);
#elif defined __i386__
	CHECK_EQ(sizeof(struct shmid_ds), 84);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.mode), 20);
	CHECK_EQ(sizeof(((struct shmid_ds *)0)->shm_perm.mode), 4);
	CHECK_EQ(offsetof(struct shmid_ds, shm_perm.__seq), 24);
	CHECK_EQ(offsetof(struct shmid_ds, shm_segsz), 36);
	CHECK_EQ(offsetof(struct shmid_ds, shm_atime), 40);
	CHECK_EQ(offsetof(struct shmid_ds, shm_dtime), 48);
	CHECK_EQ(offsetof(struct shmid_ds, shm_ctime), 56);
	CHECK_EQ(offsetof(struct shmid_ds, shm_cpid), 64);
	CHECK_EQ(offsetof(struct shmid_ds, shm_lpid), 68);
	CHECK_EQ(offsetof(struct shmid_ds, shm_nattch), 72);
	CHECK_EQ(sizeof(struct shminfo), 36);
	CHECK_EQ(sizeof(struct shm_info), 24);
#else
	SKIP("the numbers here are those of 64 bits and of i386");
#endif
}

/* Fills with 0xaa, lets the kernel write, and returns how far it wrote. */
static size_t written(int id, int cmd, unsigned char *buf, size_t len)
{
	memset(buf, 0xaa, len);
	MUST(shmctl(id, cmd, (struct shmid_ds *)buf));
	size_t end = len;
	while (end > 0 && buf[end - 1] == 0xaa)
		end--;
	return end;
}

TEST(each_command_writes_its_whole_structure_and_not_one_byte_more)
{
	unsigned char buf[512];
	int id = new_segment(5000);
	CHECK_EQ(written(id, IPC_STAT, buf, sizeof buf), STATE_BYTES);
	CHECK_EQ(written(id, SHM_STAT, buf, sizeof buf), STATE_BYTES);
	CHECK_EQ(written(id, SHM_STAT_ANY, buf, sizeof buf), STATE_BYTES);
	CHECK_EQ(written(0, IPC_INFO, buf, sizeof buf), sizeof(struct shminfo));
	CHECK_EQ(written(0, SHM_INFO, buf, sizeof buf), sizeof(struct shm_info));
}

static bool zero(const unsigned char *p, size_t from, size_t to)
{
	while (from < to)
		if (p[from++])
			return false;
	return true;
}

TEST(reserved_fields_come_back_zero)
{
	unsigned char buf[512];
	int id = new_segment(5000);
	attach(id);
	int cmds[] = { IPC_STAT, SHM_STAT, SHM_STAT_ANY };
	for (int i = 0; i < 3; i++) {
		written(id, cmds[i], buf, sizeof buf);
		CHECK(zero(buf, offsetof(struct shmid_ds, shm_perm.__seq) + sizeof(short),
			   offsetof(struct shmid_ds, shm_segsz)));
		CHECK(zero(buf, offsetof(struct shmid_ds, shm_nattch) + sizeof(long),
			   STATE_BYTES));
	}
	written(0, IPC_INFO, buf, sizeof buf);
	CHECK(zero(buf, 5 * sizeof(long), sizeof(struct shminfo)));
}

TEST(constants_are_those_of_linux)
{
	CHECK_EQ(IPC_CREAT, 01000);
	CHECK_EQ(IPC_EXCL, 02000);
	CHECK_EQ(SHM_HUGETLB, 04000);
	CHECK_EQ(SHM_NORESERVE, 010000);
	CHECK_EQ(SHM_RDONLY, 010000);
	CHECK_EQ(SHM_RND, 020000);
	CHECK_EQ(SHM_REMAP, 040000);
	CHECK_EQ(SHM_EXEC, 0100000);
	CHECK_EQ(SHM_DEST, 01000);
	CHECK_EQ(SHM_LOCKED, 02000);
	CHECK_EQ(SHM_LOCK, 11);
	CHECK_EQ(SHM_UNLOCK, 12);
	CHECK_EQ(SHM_STAT, 13);
	CHECK_EQ(SHM_INFO, 14);
	CHECK_EQ(SHM_STAT_ANY, 15);
	CHECK_EQ(SHMLBA, sysconf(_SC_PAGESIZE));
}
