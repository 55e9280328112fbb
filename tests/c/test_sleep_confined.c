/*
 * Sleeps in sets and queues of a program whose seccomp filter refuses, or would kill for, what a library sleeps by.
 */
#include "filter.h"
#include "semtest.h"
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/time.h>

struct message { long mtype; char mtext[8]; };
static struct message m = { .mtype = 1 };

static const unsigned actions[] = {
	SECCOMP_RET_KILL_PROCESS,
	REFUSE_WITH(EPERM),
	REFUSE_WITH(ENOSYS),
};
enum { FILTERS = sizeof actions / sizeof *actions };

static void confine(int which)
{
	struct filter f = filter_new();
	filter_rule(&f, SYS_futex, actions[which]);
	filter_rule(&f, 449 /* futex_waitv */, actions[which]);
	filter_install(&f, SECCOMP_RET_ALLOW);
}

static double seconds_used(void)
{
	struct rusage used;
	MUST(getrusage(RUSAGE_SELF, &used));
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void nothing(int signal) { (void)signal; }
static void install(int flags)
{
	struct sigaction a = { .sa_handler = nothing, .sa_flags = flags };
	MUST(sigaction(SIGALRM, &a, NULL));
}
/* Again and again, should the first come before the sleep. */
static void alarms(void)
{
	struct itimerval often = { { 0, 200000 }, { 0, 200000 } };
	MUST(setitimer(ITIMER_REAL, &often, NULL));
}

TEST(a_handler_ends_every_sleep)
{
	int set = new_set(1), queue = MUST(msgget(IPC_PRIVATE, 0600)), full = MUST(msgget(IPC_PRIVATE, 0600));
	struct msqid_ds d;
	MUST(msgctl(full, IPC_STAT, &d));
	d.msg_qbytes = 0;
	MUST(msgctl(full, IPC_SET, &d));
	for (int i = 0; i < 2 * FILTERS; i++)
		IN_CHILD {
			confine(i / 2);
			install(i % 2 ? SA_RESTART : 0);
			alarms();
			TEST_ERRNO(DO_OPS(set, OP(0, -1, 0)), EINTR);
			TEST_ERRNO(DO_OPS(set, OP(0, -1, SEM_UNDO)), EINTR);
			TEST_ERRNO(msgrcv(queue, &m, sizeof m.mtext, 0, 0), EINTR);
			TEST_ERRNO(msgsnd(full, &m, 1, 0), EINTR);
		}
}

TEST(a_sleep_takes_no_processor_and_ends_by_its_limit_or_its_server)
{
	int set = new_set(2), queue = MUST(msgget(IPC_PRIVATE, 0600));
	struct timespec second = { 1, 0 };
	struct sembuf in_vain = OP(0, -1, 0), take = OP(1, -1, 0);
	for (int i = 0; i < FILTERS; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			value_of(set, 0);
			confine(i);
			double before = seconds_used();
			TEST_ERRNO(semtimedop(set, &in_vain, 1, &second), EAGAIN);
			TEST_SUCC(semop(set, &take, 1));
			TEST_RES(msgrcv(queue, &m, sizeof m.mtext, 0, 0), _ret == 1);
			CHECK(seconds_used() - before < 0.5);
			_exit(0);
		}
		UNTIL(ncnt_of(set, 1) == 1);
		MUST(DO_OPS(set, OP(1, 1, 0)));
		sleep(1);
		MUST(msgsnd(queue, &m, 1, 0));
		REAP(pid);
	}
}
