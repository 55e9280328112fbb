/*
 * SEM_UNDO over fork, exec and threads; whose list is whose, whatever the processes have become.
 */
#include "undotest.h"

/* ------------------------------------------------------------ who inherits */

TEST(a_child_of_fork_has_nothing_to_undo)
{
	fresh(5, 0);
	pid_t pid = HOLDER(undoably(0, -3); CHILD((void)0); CHECK_EQ(value_of(id, 0), 2); CHILD(undoably(0, -1));
			   CHECK_EQ(value_of(id, 0), 2));
	CHECK_VALUES("2 0");
	kill_and_reap(pid);
	CHECK_VALUES("5 0");
}

TEST(a_child_undoes_its_own_though_its_parent_lives)
{
	fresh(0, 0);
	undoably(0, 1);
	CHILD(undoably(0, 4); CHECK_EQ(value_of(id, 0), 5));
	CHECK_VALUES("1 0");
}

#define PROGRAM(...)                                                                               \
	do {                                                                                       \
		char id_text_[16];                                                                 \
		snprintf(id_text_, sizeof id_text_, "%d", id);                                     \
		execl(built("helper_sem"), "helper_sem", id_text_, __VA_ARGS__, (char *)NULL);     \
		FATAL("helper_sem: %s", errno_name(errno));                                        \
	} while (0)

TEST(exec_keeps_what_is_to_be_undone_until_the_new_program_ends)
{
	fresh(5, 0);
	CHILD(undoably(0, -3); PROGRAM("value", "0", "2"));
	CHECK_VALUES("5 0");
}

TEST(the_new_program_adds_to_it)
{
	fresh(5, 0);
	CHILD(undoably(0, -3); PROGRAM("value", "0", "2", "op", "0", "1", "010000", "value", "0", "3"));
	CHECK_VALUES("5 0");
	CHILD(undoably(0, -3); PROGRAM("op", "0", "-1", "010000", "exec", "op", "1", "7", "010000", "exec", "value", "0", "1", "value", "1", "7"));
	CHECK_VALUES("5 0");
}

/* What is cut at 0 is the sum of both programs' debts, not each of them. */
TEST(the_debts_of_both_programs_are_one)
{
	fresh(0, 0);
	CHILD(undoably(0, 100); PROGRAM("op", "0", "-3", "010000", "value", "0", "97"));
	CHECK_VALUES("0 0");
	fresh(100, 0);
	CHILD(undoably(0, 100); undoably(0, -1); CHECK_EQ(value_of(id, 0), 199); PROGRAM("op", "0", "-150", "0", "op", "0", "-9", "010000"));
	CHECK_VALUES("0 0");
	/* A debt that has come to nothing changes no pid. */
	fresh(1, 0);
	CHILD(undoably(0, -1); PROGRAM("op", "0", "1", "010000"));
	int before = MUST(semctl(id, 0, GETPID));
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(semctl(id, 0, GETPID), getpid());
	CHECK(before != getpid());
}

TEST(a_new_program_that_uses_no_semaphores_is_undone_when_it_is_killed)
{
	fresh(5, 0);
	struct gate ready = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char fd[16];
		snprintf(fd, sizeof fd, "%d", ready.fd[1]);
		undoably(0, -3);
		PROGRAM("ready", fd, "pause");
	}
	gate_wait(&ready);
	CHECK_VALUES("2 0");
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	CHECK_VALUES("5 0");
}

/* ----------------------------------------------------------------- threads */

static void *thread_undoably(void *arg)
{
	undoably(0, *(int *)arg);
	return NULL;
}

TEST(threads_share_one_list_and_the_end_of_one_undoes_nothing)
{
	fresh(0, 0);
	CHILD(pthread_t t; int one = 1; thread_start(&t, thread_undoably, &one); pthread_join(t, NULL);
	      CHECK_EQ(value_of(id, 0), 1); undoably(0, -1); undoably(0, 5); CHECK_EQ(value_of(id, 0), 5));
	CHECK_VALUES("0 0");
}

static void *waits_for_the_end(void *arg)
{
	(void)arg;
	for (;;)
		pause();
	return NULL;
}

TEST(the_end_of_the_main_thread_undoes_nothing)
{
	fresh(1, 0);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pthread_t t;
		undoably(0, -1);
		thread_start(&t, waits_for_the_end, NULL);
		syscall(SYS_exit, 0);
	}
	UNTIL(state_of(pid) == 'Z');
	CHECK_EQ(value_of(id, 0), 0);
	kill_and_reap(pid);
	CHECK_VALUES("1 0");
}

/* ------------------------------------------------- lists of other tailoring */

enum { CHILD_STACK = 256 * 1024 };

static int adds_one(void *arg)
{
	(void)arg;
	undoably(0, 1);
	return 0;
}

static void clone_with(int flags)
{
	char *stack = MUST(mmap(NULL, CHILD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	pid_t pid = MUST(clone(adds_one, stack + CHILD_STACK, flags | SIGCHLD, NULL));
	wait_for(pid);
}

TEST(a_process_that_shares_memory_alone_has_a_list_of_its_own)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("Divergence: children by CLONE_VM share their parent's list");
	fresh(0, 0);
	CHILD(clone_with(CLONE_VM); CHECK_EQ(value_of(id, 0), 0));
	CHILD(undoably(0, 1); pid_t pid = vfork(); if (pid == 0) { adds_one(NULL); _exit(0); } wait_for(pid);
	      CHECK_EQ(value_of(id, 0), 1));
	CHECK_VALUES("0 0");
}

TEST(a_list_that_processes_share_is_applied_when_the_last_one_ends)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("Divergence: CLONE_SYSVSEM without CLONE_VM shares no list");
	fresh(0, 0);
	CHILD(clone_with(CLONE_SYSVSEM); CHECK_EQ(value_of(id, 0), 1));
	CHECK_VALUES("0 0");
}

TEST(leaving_the_list_applies_it_at_once)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("Divergence: unshare(CLONE_SYSVSEM) applies nothing");
	fresh(0, 0);
	CHILD(undoably(0, 1); MUST(unshare(CLONE_SYSVSEM)); CHECK_EQ(value_of(id, 0), 0); undoably(0, 2));
	CHECK_VALUES("0 0");
}

TEST(leaving_the_namespace_applies_it_at_once)
{
	if (under_shim())
		NOT_ON_THIS_SIDE("a process under the shim stays in one namespace");
	fresh(1, 0);
	pid_t pid = HOLDER(undoably(0, -1); if (unshare(CLONE_NEWIPC) < 0) SKIP("no right to one more namespace"));
	CHECK_VALUES("1 0");
	kill_and_reap(pid);
	CHECK_VALUES("1 0");
}

/* ------------------------------------------------------------------ rights */

TEST_SEVERAL_UIDS(it_is_done_for_a_process_that_changed_its_user_whatever_the_rights_are)
{
	fresh(1, 0);
	pid_t pid = HOLDER(undoably(0, -1); drop_to(54001, 54001));
	struct semid_ds d = set_stat(id);
	d.sem_perm.mode = 0;
	d.sem_perm.uid = 54002;
	MUST(ctl_arg(id, 0, IPC_SET, &d));
	kill_and_reap(pid);
	CHECK_VALUES("1 0");
	CHECK_EQ(pid_of(id, 0), pid);
}

TEST_SEVERAL_UIDS(a_strangers_operations_are_undone_for_all_to_see)
{
	id = MUST(semget(IPC_PRIVATE, 2, 0666));
	MUST(set_value(id, 0, 3));
	pid_t pid = HOLDER(drop_to(54001, 54001); undoably(0, -3));
	CHECK_VALUES("0 0");
	outcome = shared_memory(sizeof *outcome);
	pid_t other = MUST(fork());
	if (other == 0) {
		drop_to(54002, 54002);
		outcome->result[1] = DO_OPS(id, OP(0, -2, 0)) == 0 ? SERVED : errno;
		_exit(0);
	}
	UNTIL(ncnt_of(id, 0) == 1);
	kill_and_reap(pid);
	CHECK_SERVED(1);
	CHECK_VALUES("1 0");
	REAP(other);
}

/* -------------------------------------------------------------- many at once */

TEST(many_processes_and_sets_are_undone_each_for_itself)
{
	enum { PROCESSES = 20, SETS = 5 };
	int sets[SETS];
	pid_t pids[PROCESSES];
	for (int s = 0; s < SETS; s++) {
		sets[s] = new_set(PROCESSES + 1);
		MUST(set_value(sets[s], PROCESSES, 1000));
	}
	for (int p = 0; p < PROCESSES; p++)
		pids[p] = HOLDER(for (int s = 0; s < SETS; s++)
					 MUST(DO_OPS(sets[s], OP((unsigned short)p, 7, SEM_UNDO), OP(PROCESSES, -3, SEM_UNDO))));
	for (int s = 0; s < SETS; s++)
		CHECK_EQ(value_of(sets[s], PROCESSES), 1000 - 3 * PROCESSES);
	for (int p = 0; p < PROCESSES; p += 2)
		kill_and_reap(pids[p]);
	for (int s = 0; s < SETS; s++) {
		CHECK_EQ(value_of(sets[s], PROCESSES), 1000 - 3 * PROCESSES / 2);
		for (int p = 0; p < PROCESSES; p++)
			CHECK_EQ(value_of(sets[s], p), p % 2 ? 7 : 0);
	}
	for (int p = 1; p < PROCESSES; p += 2)
		kill_and_reap(pids[p]);
	for (int s = 0; s < SETS; s++)
		CHECK_EQ(value_of(sets[s], PROCESSES), 1000);
}

TEST(one_process_may_have_much_to_undo)
{
	enum { NUMBERS = 500 };
	id = new_set(NUMBERS);
	CHILD(struct sembuf all[NUMBERS]; for (int i = 0; i < NUMBERS; i++) all[i] = OP((unsigned short)i, (short)(i + 1), SEM_UNDO);
	      MUST(semop(id, all, NUMBERS)); CHECK_EQ(value_of(id, NUMBERS - 1), NUMBERS));
	unsigned short left[NUMBERS];
	MUST(ctl_arg(id, 0, GETALL, left));
	for (int i = 0; i < NUMBERS; i++)
		if (left[i])
			FAIL("semaphore %d is %d", i, left[i]);
	COUNT_CHECK();
}
