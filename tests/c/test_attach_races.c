/* An attach that meets another process's removal, or its end: the segment is attached or it is gone, nothing between. */
#include "proctest.h"

static bool gone(int err) { return err == EINVAL || err == EIDRM; }

/* Until `end`, and until there was a meeting: on a busy machine that takes a while. */
static bool goes_on(time_t end, long meetings) { return time(NULL) <= end + (meetings ? 0 : 60); }

/* Another process that makes and removes segments for a second, and until one was missed; their ids appear in *id, -2 at
   the end. */
static pid_t start_remover(atomic_int *id, atomic_int *missed)
{
	*id = -1;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (time_t end = time(NULL) + 1; goes_on(end, *missed);) {
			*id = MUST(shmget(IPC_PRIVATE, PAGE, 0600));
			MUST(shmctl(*id, IPC_RMID, NULL));
		}
		*id = -2;
		_exit(0);
	}
	return pid;
}

TEST(an_attach_that_meets_a_removal_says_that_the_segment_is_gone)
{
	/* Also where all users share the namespace, and an attach looks around before it opens the file. */
	atomic_int *id = shared_memory(2 * sizeof *id), *missed = id + 1;
	setenv("SHMSHIM_SCOPE", "system", 1);
	pid_t pid = start_remover(id, missed);
	for (int at = *id; at != -2; at = *id) {
		char *p = at < 0 ? (char *)-1 : shmat(at, NULL, 0);
		if (p != (char *)-1)
			MUST(shmdt(p));
		else if (at >= 0 && ++*missed && !gone(errno))
			FATAL("attach: %s", errno_name(errno));
	}
	REAP(pid);
	CHECK(*missed > 0);
	CHECK_EQ(segments_in_all(), 0);
}

TEST(an_attach_that_meets_a_removal_leaves_what_it_was_to_replace)
{
	atomic_int *id = shared_memory(2 * sizeof *id), *missed = id + 1;
	int own = new_segment(PAGE);
	char *place = attach(own);
	strcpy(place, "own");
	pid_t pid = start_remover(id, missed);
	for (int at = *id; at != -2; at = *id) {
		char *p = at < 0 ? (char *)-1 : shmat(at, place, SHM_REMAP);
		if (p != (char *)-1) {
			CHECK(p == place);
			MUST(shmdt(p));
			place = MUST(shmat(own, place, 0));
		} else if (at >= 0) {
			++*missed;
			REQUIRE(gone(errno));
			REQUIRE(READABLE(place));
			REQUIRE(strcmp(place, "own") == 0);
		}
	}
	REAP(pid);
	CHECK(*missed > 0);
	CHECK_EQ(nattch_of(own), 1);
	TEST_SUCC(shmdt(place));
	CHECK_EQ(segments_in_all(), 1);
}

TEST(what_is_attached_while_its_last_user_exits_stays_usable)
{
	/* The last user of a removed segment exits; who has it attached by then keeps it, for others as well. */
	atomic_int *id = shared_memory(sizeof *id);
	long attached = 0, rounds = 0;
	for (time_t end = time(NULL) + 2; goes_on(end, attached); rounds++) {
		*id = -1;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			int made = MUST(shmget(IPC_PRIVATE, PAGE, 0600));
			attach(made)[0] = 7;
			MUST(shmctl(made, IPC_RMID, NULL));
			*id = made;
			exit(0);
		}
		while (*id < 0)
			;
		/* A moment that is another one each time. */
		for (volatile int wait = (int)(rounds % 97) * 40; wait > 0; wait--)
			;
		char *p = shmat(*id, NULL, 0);
		if (p == (char *)-1)
			REQUIRE(gone(errno));
		wait_for(pid);
		if (p == (char *)-1)
			continue;
		attached++;
		REQUIRE(p[0] == 7);
		CHECK_EQ(nattch_of(*id), 1);
		char *again = shmat(*id, NULL, 0);
		if (again == (char *)-1)
			FATAL("round %ld: attaching once more: %s", rounds, errno_name(errno));
		MUST(shmdt(again));
		MUST(shmdt(p));
		REQUIRE(!exists(*id));
	}
	CHECK(attached > 0);
	CHECK_EQ(segments_in_all(), 0);
}

static struct gate leaving, may_leave;
static ssize_t written_late(void *cookie, const char *text, size_t size)
{
	(void)cookie, (void)text;
	/* musl asks again, with nothing, behind the bytes. */
	if (size == 0)
		return 0;
	gate_open(&leaving);
	gate_wait(&may_leave);
	return (ssize_t)size;
}

TEST(a_removed_segment_whose_last_user_exits_can_be_asked_and_changed_until_he_is_gone)
{
	atomic_int *id = shared_memory(sizeof *id);
	struct shmid_ds d;
	leaving = gate_make();
	may_leave = gate_make();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		/* Streams are flushed last of all, behind what libraries do at the exit. */
		FILE *late = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = written_late });
		REQUIRE(late && fputs("late", late) >= 0);
		*id = MUST(shmget(IPC_PRIVATE, PAGE, 0600));
		attach(*id);
		MUST(shmctl(*id, IPC_RMID, NULL));
		exit(0);
	}
	gate_wait(&leaving);
	TEST_SUCC(shmctl(*id, IPC_STAT, &d));
	CHECK_EQ(d.shm_nattch, 1);
	d.shm_perm.mode = 0640;
	TEST_SUCC(shmctl(*id, IPC_SET, &d));
	CHECK_EQ(stat_of(*id).shm_perm.mode, 0640 | SHM_DEST);
	TEST_SUCC(shmctl(*id, SHM_LOCK, NULL));
	TEST_SUCC(shmctl(*id, IPC_RMID, NULL));
	gate_open(&may_leave);
	wait_for(pid);
	CHECK(!exists(*id));
}
