/* A fork that fails has changed nothing. */
#include "filter.h"
#include "proctest.h"

/* From here on every new process is refused with this errno. */
static void forbid_processes(int err)
{
	struct filter f = filter_new();
	filter_rule(&f, SYS_clone, REFUSE_WITH(err));
	filter_rule(&f, SYS_clone3, REFUSE_WITH(err));
#ifdef SYS_fork
	filter_rule(&f, SYS_fork, REFUSE_WITH(err));
	filter_rule(&f, SYS_vfork, REFUSE_WITH(err));
#endif
	filter_install(&f, SECCOMP_RET_ALLOW);
}

static void check_same_books(struct shmid_ds was, struct shmid_ds now)
{
	CHECK_EQ(now.shm_nattch, was.shm_nattch);
	CHECK_EQ(now.shm_atime, was.shm_atime);
	CHECK_EQ(now.shm_dtime, was.shm_dtime);
	CHECK_EQ(now.shm_ctime, was.shm_ctime);
	CHECK_EQ(now.shm_lpid, was.shm_lpid);
	CHECK_EQ(now.shm_cpid, was.shm_cpid);
}

/* Attached twice here; and last used by another process, so that lpid would show a change. */
static int busy_segment(char **p)
{
	int id = new_segment(PAGE);
	*p = attach(id);
	attach(id);
	IN_CHILD MUST(shmdt(MUST(shmat(id, NULL, 0))));
	return id;
}

TEST(a_refused_fork_leaves_nattch_times_and_lpid_alone)
{
	static const int why[] = { EAGAIN, ENOMEM, EPERM, ENOSYS };
	char *p;
	int id = busy_segment(&p);
	struct shmid_ds was = stat_of(id);
	for (size_t i = 0; i < sizeof why / sizeof *why; i++) {
		IN_CHILD
		{
			struct shmid_ds mine = stat_of(id); /* with this child in it */
			CHECK_EQ(mine.shm_nattch, 4);
			forbid_processes(why[i]);
			next_second();
			TEST_ERRNO(fork(), why[i]);
			check_same_books(mine, stat_of(id));
			CHECK(WRITABLE(p));
		}
		CHECK_EQ(nattch_of(id), was.shm_nattch);
	}
}

TEST(the_parent_of_many_refused_forks_goes_on_as_before)
{
	char *p;
	int id = busy_segment(&p);
	int *removed = shared_memory(sizeof *removed);
	IN_CHILD
	{
		forbid_processes(EAGAIN);
		for (int i = 0; i < 300; i++)
			if (fork() != -1)
				FATAL("a fork that should fail succeeded");
		CHECK_EQ(nattch_of(id), 4);
		char *q = attach_at(id, FREE_AREA);
		CHECK_EQ(nattch_of(id), 5);
		q[1] = 'q';
		TEST_SUCC(shmdt(q));
		TEST_SUCC(shmdt(p));
		CHECK_EQ(nattch_of(id), 3);
		*removed = new_segment(PAGE);
		attach(*removed);
		TEST_SUCC(shmctl(*removed, IPC_RMID, NULL));
		CHECK(exists(*removed));
		CHECK_LIFE(0x61);
	}
	CHECK(!exists(*removed));
	CHECK_EQ(nattch_of(id), 2);
	CHECK_EQ(p[1], 'q');
	TEST_SUCC(shmdt(p));
	CHECK_EQ(nattch_of(id), 1);
}

TEST(the_last_detach_after_a_refused_fork_destroys_a_removed_segment)
{
	int *id = shared_memory(sizeof *id);
	IN_CHILD
	{
		*id = new_segment(PAGE);
		char *p = attach(*id);
		MUST(shmctl(*id, IPC_RMID, NULL));
		forbid_processes(EAGAIN);
		TEST_ERRNO(fork(), EAGAIN);
		CHECK_EQ(nattch_of(*id), 1);
		TEST_SUCC(shmdt(p));
		CHECK(!exists(*id));
	}
	CHECK(!exists(*id));
	CHECK_EQ(segments_in_all(), 0);
}

TEST(other_processes_see_nothing_of_a_refused_fork)
{
	int id = new_segment(PAGE);
	struct gate tried = gate_make(), go = gate_make();
	pid_t child = MUST(fork());
	if (child == 0) {
		attach(id);
		forbid_processes(EAGAIN);
		TEST_ERRNO(fork(), EAGAIN);
		gate_open(&tried);
		gate_wait(&go);
		_exit(0);
	}
	gate_wait(&tried);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(stat_of(id).shm_lpid, child);
	gate_open(&go);
	REAP(child);
	CHECK_EQ(nattch_of(id), 0);
}

TEST_SEVERAL_UIDS(after_the_limit_of_processes_is_lifted_fork_counts_again)
{
	int id = MUST(shmget(0x62, PAGE, IPC_CREAT | 0666));
	IN_CHILD
	{
		char *p = attach(id);
		drop_to(54321, 54321);
		struct rlimit most;
		MUST(getrlimit(RLIMIT_NPROC, &most));
		MUST(setrlimit(RLIMIT_NPROC, &(struct rlimit){ 0, most.rlim_max }));
		struct shmid_ds was = stat_of(id);
		next_second();
		for (int i = 0; i < 20; i++)
			TEST_ERRNO(fork(), EAGAIN);
		check_same_books(was, stat_of(id));
		MUST(setrlimit(RLIMIT_NPROC, &(struct rlimit){ most.rlim_max, most.rlim_max }));
		time_t from = next_second();
		struct gate go = gate_make();
		pid_t pid = MUST(fork());
		if (pid == 0) {
			gate_wait(&go);
			CHECK_EQ(nattch_of(id), 1); /* the parent has detached by now */
			p[0] = 'f';
			_exit(0);
		}
		struct shmid_ds now = stat_of(id);
		CHECK_EQ(now.shm_nattch, 2);
		CHECK_WITHIN(now.shm_atime, from, time(NULL));
		CHECK_EQ(now.shm_lpid, getpid());
		TEST_SUCC(shmdt(p));
		gate_open(&go);
		REAP(pid);
		CHECK_EQ(nattch_of(id), 0);
	}
	CHECK_EQ(attach(id)[0], 'f');
}
