/* SHMSHIM_TRACE: a call on a set or a queue that cannot go on says who stands in its way, and one that sleeps says it at once. */
#include "semtest.h"
#include <regex.h>
#include <sys/msg.h>
#include <sys/prctl.h>

static char trace[PATH_MAX], traced[1 << 16];

static char *read_trace(void)
{
	int fd = MUST((int)syscall(SYS_openat, AT_FDCWD, trace, O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
	size_t len = 0;
	for (ssize_t n; (n = read(fd, traced + len, sizeof traced - 1 - len)) > 0;)
		len += (size_t)n;
	traced[len] = 0;
	close(fd);
	return traced;
}

/* From here on the children of the test are traced. */
static void begin_trace(void)
{
	snprintf(trace, sizeof trace, "%s/ns.trace", getenv("SHMSHIM_DIR"));
	setenv("SHMSHIM_TRACE", trace, 1);
}

/* A program of its own, for the library reads its variables once: helper_sleep makes a call, `name`d so. */
static pid_t start(const char *const *words)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		execv(built("helper_sleep"), (char *const *)words);
		_exit(127);
	}
	return pid;
}
#define START(...) start((const char *const[]){ "helper_sleep", __VA_ARGS__, NULL })
#define TEXT(...)                                                                                  \
	({                                                                                         \
		static char text_[8][512];                                                         \
		static int at_;                                                                    \
		char *one_ = text_[at_++ % 8];                                                     \
		snprintf(one_, sizeof text_[0], __VA_ARGS__);                                      \
		one_;                                                                              \
	})

static bool has_line(const char *pattern)
{
	regex_t re;
	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE) != 0)
		FATAL("bad pattern %s", pattern);
	bool yes = regexec(&re, read_trace(), 0, NULL, 0) == 0;
	regfree(&re);
	return yes;
}
#define CHECK_LINE(...)                                                                            \
	do {                                                                                       \
		const char *p_ = TEXT(__VA_ARGS__);                                                \
		COUNT_CHECK();                                                                     \
		if (!has_line(p_))                                                                 \
			FAIL("no line is\n        %s\n        in\n%s", p_, traced);                \
	} while (0)

/* A process that has taken the semaphore, with these flags, and is called so. */
static pid_t taker(int id, int flags, const char *name)
{
	return HOLDER({
		prctl(PR_SET_NAME, name);
		MUST(DO_OPS(id, OP(0, -1, (short)flags)));
	});
}

#define AGO "[0-9]+ s ago"
#define OPERATION(flags) "\\[\\{sem_num=0, sem_op=-1, sem_flg=" flags "\\}\\]"

TEST(who_fails_at_a_mutex_learns_who_holds_it)
{
	SHIM_ONLY();
	int id = new_set(1);
	MUST(set_value(id, 0, 1));
	pid_t holder = taker(id, SEM_UNDO, "apache2");
	begin_trace();
	CHECK_EQ(wait_for(START("semop", TEXT("%d", id), "-1", "undo,nowait")), EAGAIN << 8);
	CHECK_LINE("semop\\(%d, " OPERATION("SEM_UNDO\\|IPC_NOWAIT") ", 1\\) = -1 EAGAIN \\(semaphore 0 of set %d is 0 "
		   "and 1 is to be taken; pid %d \\(apache2\\) changed it last, " AGO ", and holds 1 of it by SEM_UNDO\\)$", id, id, holder);
	/* Another one has changed it since. */
	MUST(DO_OPS(id, OP(0, 1, 0)));
	MUST(DO_OPS(id, OP(0, -1, 0)));
	CHECK_EQ(wait_for(START("semop", TEXT("%d", id), "-1", "nowait")), EAGAIN << 8);
	CHECK_LINE("is to be taken; pid %d \\(test_trace_slee\\) changed it last, " AGO "; pid %d \\(apache2\\) holds 1 of it by SEM_UNDO\\)$",
		   getpid(), holder);
	kill_and_reap(holder);
}

TEST(who_has_gone_is_said_to_be_gone)
{
	SHIM_ONLY();
	int id = new_set(2);
	MUST(set_value(id, 0, 1));
	pid_t holder = taker(id, 0, "worker");
	kill_and_reap(holder);
	begin_trace();
	CHECK_EQ(wait_for(START("semop", TEXT("%d", id), "-1", "nowait")), EAGAIN << 8);
	/* The stamp is the set's, which has another semaphore. */
	CHECK_LINE("pid %d \\(gone\\) changed it last, " AGO " or earlier\\)$", holder);
	int fresh = new_set(1);
	CHECK_EQ(wait_for(START("semop", TEXT("%d", fresh), "-1", "nowait")), EAGAIN << 8);
	CHECK_LINE("set %d is 0 and 1 is to be taken; nobody has changed it yet\\)$", fresh);
}

TEST(a_call_that_sleeps_in_a_set_says_so_while_it_does)
{
	SHIM_ONLY();
	int id = new_set(1);
	MUST(set_value(id, 0, 1));
	pid_t holder = taker(id, SEM_UNDO, "holder");
	begin_trace();
	pid_t sleeper = START("semop", TEXT("%d", id), "-1", "");
	UNTIL(has_line("sleeps: .*\\)$"));
	CHECK_LINE("^%d +semop\\(%d, " OPERATION("0") ", 1\\) = \\? \\(sleeps: semaphore 0 of set %d is 0 and 1 is to be taken; "
		   "pid %d \\(holder\\) changed it last, " AGO ", and holds 1 of it by SEM_UNDO\\)$", sleeper, id, id, holder);
	CHECK(!has_line("semop.* = 0"));
	/* The next one says that it is not alone. */
	pid_t second = START("semtimedop", TEXT("%d", id), "-1", "", "50");
	CHECK_EQ(wait_for(second), EAGAIN << 8);
	CHECK_LINE("^%d .* = \\? \\(sleeps: .*; another one sleeps for it\\)$", second);
	CHECK_LINE("^%d +semtimedop.* = -1 EAGAIN \\(semaphore 0 of set %d is 0 .*; another one sleeps for it; slept 0\\.[0-9]{3} s\\)$", second, id);
	kill_and_reap(holder);
	CHECK_EQ(wait_for(sleeper), 0);
	CHECK_LINE("^%d +semop\\(%d, " OPERATION("0") ", 1\\) = 0 \\(slept [0-9]+\\.[0-9]{3} s\\)$", sleeper, id);
}

TEST(a_handler_that_ends_a_sleep_leaves_its_length)
{
	SHIM_ONLY();
	int id = new_set(1);
	begin_trace();
	pid_t sleeper = START("semop", TEXT("%d", id), "-1", "");
	UNTIL(ncnt_of(id, 0) == 1);
	MUST(kill(sleeper, SIGUSR1));
	CHECK_EQ(wait_for(sleeper), EINTR << 8);
	CHECK_LINE("= -1 EINTR \\(a handler of a signal has run while the call slept; slept [0-9]+\\.[0-9]{3} s\\)$");
}

struct text { long type; char text[1000]; };

TEST(who_waits_for_a_message_learns_what_the_queue_has)
{
	SHIM_ONLY();
	int id = MUST(msgget(IPC_PRIVATE, 0600));
	begin_trace();
	CHECK_EQ(wait_for(START("msgrcv", TEXT("%d", id), "7", "nowait")), ENOMSG << 8);
	CHECK_LINE("= -1 ENOMSG \\(message queue %d holds 0 messages, none of type 7; nobody has sent yet; nobody has received yet\\)$", id);
	for (long type = 1; type <= 10; type++)
		MUST(msgsnd(id, &(struct text){ .type = 10 + type }, 1, 0));
	CHECK_EQ(wait_for(START("msgrcv", TEXT("%d", id), "7", "nowait")), ENOMSG << 8);
	CHECK_LINE("holds 10 messages, none of type 7, but of type 11, 12, 13, 14, 15, 16, 17, 18, …; "
		   "pid %d \\(test_trace_slee\\) sent last, " AGO "; nobody has received yet\\)$", getpid());
	pid_t sleeper = START("msgrcv", TEXT("%d", id), "7", "");
	UNTIL(has_line("sleeps: .*\\)$"));
	CHECK_LINE("^%d +msgrcv\\(%d, 0x[0-9a-f]+, 1000, 7, 0\\) = \\? \\(sleeps: message queue %d holds 10 messages, none of type 7", sleeper, id, id);
	MUST(msgsnd(id, &(struct text){ .type = 7 }, 3, 0));
	CHECK_EQ(wait_for(sleeper), 0);
	CHECK_LINE("^%d +msgrcv\\(%d, .*, 1000, 7, 0\\) = 3 \\(slept [0-9]+\\.[0-9]{3} s\\)$", sleeper, id);
}

TEST(who_has_no_room_learns_who_filled_the_queue)
{
	SHIM_ONLY();
	int id = MUST(msgget(IPC_PRIVATE, 0600));
	struct msqid_ds d;
	MUST(msgctl(id, IPC_STAT, &d));
	d.msg_qbytes = 1500;
	MUST(msgctl(id, IPC_SET, &d));
	MUST(msgsnd(id, &(struct text){ .type = 1 }, 1000, 0));
	begin_trace();
	CHECK_EQ(wait_for(START("msgsnd", TEXT("%d", id), "1", "nowait")), EAGAIN << 8);
	CHECK_LINE("= -1 EAGAIN \\(message queue %d holds 1 messages of 1000 bytes in all, qbytes is 1500, 1000 bytes are to be sent; "
		   "pid %d \\(test_trace_slee\\) sent last, " AGO "; nobody has received yet\\)$", id, getpid());
	pid_t sleeper = START("msgsnd", TEXT("%d", id), "1", "");
	UNTIL(has_line("sleeps: .*\\)$"));
	CHECK_LINE("^%d +msgsnd\\(.*\\) = \\? \\(sleeps: message queue %d holds 1 messages", sleeper, id);
	struct text got;
	CHECK_EQ(msgrcv(id, &got, sizeof got.text, 0, 0), 1000);
	CHECK_EQ(wait_for(sleeper), 0);
	CHECK_LINE("^%d +msgsnd\\(.*\\) = 0 \\(slept [0-9]+\\.[0-9]{3} s\\)$", sleeper);
}

TEST(a_sleep_as_an_object_has_a_reason_and_no_result)
{
	SHIM_ONLY();
	int id = new_set(1);
	begin_trace();
	setenv("SHMSHIM_TRACE_FORMAT", "json", 1);
	pid_t sleeper = START("semop", TEXT("%d", id), "-1", "");
	UNTIL(has_line("\"type\":\"sleep\""));
	CHECK_LINE("^\\{\"type\":\"sleep\",\"time\":[0-9.]+,\"pid\":%d,\"tid\":%d,\"call\":\"semop\",\"semid\":%d,\"nsops\":1,"
		   "\"sops\":\"" OPERATION("0") "\",\"reason\":\"semaphore 0 of set %d is 0 and 1 is to be taken; nobody has changed it yet\"\\}$",
		   sleeper, sleeper, id, id);
	MUST(DO_OPS(id, OP(0, 1, 0)));
	CHECK_EQ(wait_for(sleeper), 0);
	CHECK_LINE("\"type\":\"call\",.*\"duration\":[0-9.]+,\"slept\":[0-9.]+,\"call\":\"semop\",.*\"result\":0\\}$");
}
