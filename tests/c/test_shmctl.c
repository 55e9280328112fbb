/*
 * shmctl: which error wins for each command, and what a bad pointer does.
 */
#include "shmtest.h"
#include <sys/uio.h>

/* Every kind of pointer that a structure cannot be copied through. */
static struct { const char *what; char *p; bool readable; } bad[6];
enum { BAD_POINTERS = 6 };

static void need_errno_for_bad_buffers(void)
{
	if (!bad_buffers_get_an_errno())
		NOT_ON_THIS_SIDE("glibc dies of a bad buffer");
}

static void make_bad_pointers(size_t tail)
{
	char *read_only = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *none = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(read_only != MAP_FAILED && none != MAP_FAILED && two != MAP_FAILED);
	MUST(mprotect(two + PAGE, PAGE, PROT_NONE));
	bad[0].what = "NULL", bad[0].p = NULL;
	bad[1].what = "unmapped", bad[1].p = UNMAPPED;
	bad[2].what = "in the kernel", bad[2].p = KERNEL_ADDRESS;
	bad[3].what = "without access", bad[3].p = none;
	bad[4].what = "with its last byte out of reach", bad[4].p = two + PAGE - tail + 1;
	bad[5].what = "read only", bad[5].p = read_only, bad[5].readable = true;
}

static void expect(const char *what, int id, int cmd, void *buf, int expected)
{
	errno = 0;
	int r = shmctl(id, cmd, buf), e = errno;
	COUNT_CHECK();
	if (r == -1 ? e != expected : expected != 0)
		FAIL("shmctl(%d, %d, a buffer %s) = %d %s, expected %s", id, cmd, what, r,
		     r == -1 ? errno_name(e) : "", errno_name(expected));
}

TEST(a_negative_or_unknown_command_is_einval_before_anything_else)
{
	struct shmid_ds d;
	int id = new_segment(1), unknown[] = { -1, (int)0x80000000, 4, 5, 6, 7, 8, 9, 10, 16, 17, 0x7fffffff,
#ifndef __i386__ /* there the kernel takes 0x100 for a mark of the structure's form */
					       0x100, 0x102, 0x10d,
#endif
	};
	for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
		expect("that is good", id, unknown[i], &d, EINVAL);
		expect("that is NULL", id, unknown[i], NULL, EINVAL);
		expect("and an unknown id", id + 1, unknown[i], &d, EINVAL);
	}
	CHECK(exists(id));
}

TEST(a_negative_id_is_einval_for_every_command)
{
	char buf[256];
	int cmds[] = { IPC_RMID, IPC_SET, IPC_STAT, IPC_INFO, SHM_LOCK, SHM_UNLOCK, SHM_STAT,
		       SHM_INFO, SHM_STAT_ANY };
	new_segment(1);
	for (size_t i = 0; i < sizeof cmds / sizeof *cmds; i++) {
		expect("that is good", -1, cmds[i], buf, EINVAL);
		expect("that is good", (int)0x80000000, cmds[i], buf, EINVAL);
		expect("that is NULL", -1, cmds[i], NULL, EINVAL);
	}
}

TEST(reading_the_state_asks_for_the_id_then_for_rights_then_for_the_buffer)
{
	need_errno_for_bad_buffers();
	int id = MUST(shmget(IPC_PRIVATE, 1, 0000)), mine = new_segment(1);
	struct shmid_ds d;
	set_caps(0);
	make_bad_pointers(STATE_BYTES);
	for (int i = 0; i < BAD_POINTERS; i++) {
		expect(bad[i].what, mine + 1, IPC_STAT, bad[i].p, EINVAL);
		expect(bad[i].what, mine + 1, SHM_STAT, bad[i].p, EINVAL);
		expect(bad[i].what, mine + 1, SHM_STAT_ANY, bad[i].p, EINVAL);
		expect(bad[i].what, id, IPC_STAT, bad[i].p, EACCES);
		expect(bad[i].what, id, SHM_STAT, bad[i].p, EACCES);
		expect(bad[i].what, id, SHM_STAT_ANY, bad[i].p, EFAULT);
		expect(bad[i].what, mine, IPC_STAT, bad[i].p, EFAULT);
		expect(bad[i].what, mine, SHM_STAT, bad[i].p, EFAULT);
		expect(bad[i].what, mine, SHM_STAT_ANY, bad[i].p, EFAULT);
	}
	TEST_RES(shmctl(id, SHM_STAT_ANY, &d), _ret == id);
	TEST_ERRNO(shmctl(id, IPC_STAT, &d), EACCES);
}

TEST(ipc_set_asks_for_the_buffer_before_all_else)
{
	need_errno_for_bad_buffers();
	int id = new_segment(1);
	struct shmid_ds before = stat_of(id), after;
	next_second();
	make_bad_pointers(STATE_BYTES);
	for (int i = 0; i < BAD_POINTERS; i++) {
		if (bad[i].readable)
			continue;
		expect(bad[i].what, id, IPC_SET, bad[i].p, EFAULT);
		expect(bad[i].what, id + 1, IPC_SET, bad[i].p, EFAULT);
	}
	TEST_ERRNO(shmctl(id + 1, IPC_SET, &before), EINVAL);
	after = stat_of(id);
	CHECK_SAME(before, after);
}

TEST_SEVERAL_UIDS(ipc_set_by_a_stranger_asks_for_buffer_id_owner_and_then_the_new_owner)
{
	need_errno_for_bad_buffers();
	int id = MUST(shmget(IPC_PRIVATE, 1, 0666));
	struct shmid_ds d = stat_of(id), minus_one = d;
	minus_one.shm_perm.uid = -1;
	IN_CHILD {
		drop_to(54001, 54001);
		make_bad_pointers(STATE_BYTES);
		for (int i = 0; i < BAD_POINTERS; i++)
			expect(bad[i].what, id, IPC_SET, bad[i].p, bad[i].readable ? EPERM : EFAULT);
		struct ctl_case t[] = {
			{ "unknown id before the owner", id + 1, IPC_SET, &d, EINVAL },
			{ "not the owner", id, IPC_SET, &d, EPERM },
			{ "the owner before uid -1", id, IPC_SET, &minus_one, EPERM },
			{ "removal of an unknown id", id + 1, IPC_RMID, NULL, EINVAL },
			{ "removal", id, IPC_RMID, NULL, EPERM },
			{ "lock of an unknown id", id + 1, SHM_LOCK, NULL, EINVAL },
			{ "lock", id, SHM_LOCK, NULL, EPERM },
			{ "unlock of an unknown id", id + 1, SHM_UNLOCK, NULL, EINVAL },
			{ "unlock", id, SHM_UNLOCK, NULL, EPERM },
		};
		CTL_CASES(t);
	}
}

TEST(ipc_set_reads_from_memory_that_is_read_only)
{
	int id = new_segment(1);
	struct shmid_ds *d = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*d = stat_of(id);
	d->shm_perm.mode = 0640;
	MUST(mprotect(d, PAGE, PROT_READ));
	TEST_SUCC(shmctl(id, IPC_SET, d));
	CHECK_EQ(stat_of(id).shm_perm.mode, 0640);
}

TEST(ipc_set_reads_its_whole_structure_though_it_needs_three_fields)
{
	need_errno_for_bad_buffers();
	int id = new_segment(1);
	char *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(munmap(two + PAGE, PAGE));
	for (size_t inside = 60; inside < STATE_BYTES; inside += 13)
		expect("whose tail is unmapped", id, IPC_SET, two + PAGE - inside, EFAULT);
	expect("whose last byte is unmapped", id, IPC_SET, two + PAGE - STATE_BYTES + 1, EFAULT);
	struct shmid_ds d = stat_of(id);
	memcpy(two + PAGE - STATE_BYTES, &d, STATE_BYTES);
	expect("that just fits", id, IPC_SET, two + PAGE - STATE_BYTES, 0);
}

TEST(the_informing_commands_need_a_buffer_and_no_segment)
{
	char buf[256];
	make_bad_pointers(sizeof(struct shminfo));
	for (int i = 0; i < BAD_POINTERS; i++)
		expect(bad[i].what, 0, IPC_INFO, bad[i].p, EFAULT);
	make_bad_pointers(sizeof(struct shm_info));
	for (int i = 0; i < BAD_POINTERS; i++)
		expect(bad[i].what, 0, SHM_INFO, bad[i].p, EFAULT);
	expect("that is good", 77777, IPC_INFO, buf, 0);
	expect("that is good", 77777, SHM_INFO, buf, 0);
}

TEST(commands_that_use_no_buffer_never_look_at_it)
{
	need_errno_for_bad_buffers();
	int id = new_segment(1);
	make_bad_pointers(STATE_BYTES);
	for (int i = 0; i < BAD_POINTERS; i++) {
		expect(bad[i].what, id, SHM_LOCK, bad[i].p, 0);
		expect(bad[i].what, id, SHM_UNLOCK, bad[i].p, 0);
		expect(bad[i].what, new_segment(1), IPC_RMID, bad[i].p, 0);
		expect(bad[i].what, id + 1, IPC_RMID, bad[i].p, EINVAL);
	}
	CHECK(exists(id));
}

TEST(a_buffer_may_be_unaligned_and_may_lie_in_a_segment)
{
	need_errno_for_bad_buffers();
	int id = new_segment(IN_TWO_PAGES);
	char *p = attach_at(id, FREE_AREA), *own = malloc(256);
	struct shmid_ds d;
	TEST_SUCC(shmctl(id, IPC_STAT, (struct shmid_ds *)(own + 3)));
	memcpy(&d, own + 3, sizeof d);
	CHECK_EQ(d.shm_segsz, IN_TWO_PAGES);
	d.shm_perm.mode = 0604;
	memcpy(own + 1, &d, sizeof d);
	TEST_SUCC(shmctl(id, IPC_SET, (struct shmid_ds *)(own + 1)));
	CHECK_EQ(stat_of(id).shm_perm.mode, 0604);
	TEST_SUCC(shmctl(id, IPC_STAT, (struct shmid_ds *)(p + PAGE + 1)));
	memcpy(&d, p + PAGE + 1, sizeof d);
	CHECK_EQ(d.shm_nattch, 1);
	TEST_SUCC(shmctl(0, SHM_INFO, (struct shmid_ds *)p));
	char *r = (char *)MUST(shmat(id, NULL, SHM_RDONLY));
	TEST_ERRNO(shmctl(id, IPC_STAT, (struct shmid_ds *)r), EFAULT);
	TEST_ERRNO(shmctl(id, IPC_STAT, (struct shmid_ds *)(p + 2 * PAGE - 8)), EFAULT);
}

TEST(a_bad_pointer_leaves_errno_and_nothing_else)
{
	need_errno_for_bad_buffers();
	int id = new_segment(1);
	struct sigaction segv;
	sigset_t blocked;
	make_bad_pointers(STATE_BYTES);
	for (int i = 0; i < BAD_POINTERS; i++)
		expect(bad[i].what, id, IPC_STAT, bad[i].p, EFAULT);
	sigaction(SIGSEGV, NULL, &segv);
	CHECK(segv.sa_handler == SIG_DFL);
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	for (int sig = 1; sig < 32; sig++)
		CHECK_EQ(sigismember(&blocked, sig), 0);
	sigpending(&blocked);
	CHECK_EQ(sigismember(&blocked, SIGSEGV), 0);
}

TEST(null_leads_to_a_buffer_where_page_zero_is_mapped)
{
	struct shmid_ds copy;
	int id = new_segment(PAGE);
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED)
		SKIP("mapping page zero: %s", errno_name(errno));
	TEST_SUCC(shmctl(id, IPC_STAT, NULL));
	REQUIRE(process_vm_readv(getpid(), &(struct iovec){ &copy, sizeof copy }, 1, &(struct iovec){ NULL, sizeof copy }, 1,
				 0) == sizeof copy);
	CHECK_EQ(copy.shm_segsz, PAGE);
	CHECK_EQ(copy.shm_perm.mode, 0600);
	TEST_SUCC(shmctl(id, IPC_SET, NULL));
	MUST(mprotect(NULL, PAGE, PROT_READ));
	TEST_ERRNO(shmctl(id, IPC_STAT, NULL), EFAULT);
	TEST_SUCC(shmctl(id, IPC_SET, NULL));
	MUST(munmap(NULL, PAGE));
	TEST_ERRNO(shmctl(id, IPC_SET, NULL), EFAULT);
}
