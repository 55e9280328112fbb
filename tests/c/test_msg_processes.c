/*
 * fork, exec and threads while queues are in use: who sleeps, who inherits what.
 */
#include "msgtest.h"

struct thread { int id; long type; atomic_int tid; char text[64]; };

static void *receives(void *arg)
{
	struct thread *t = arg;
	struct message m;
	t->tid = (int)syscall(SYS_gettid);
	described(t->text, sizeof t->text, msgrcv(t->id, &m, MSGMAX, t->type, 0), &m);
	return NULL;
}
static pthread_t start(struct thread *t)
{
	pthread_t thread;
	queue_stat(t->id);
	thread_start(&thread, receives, t);
	UNTIL(t->tid && is_asleep(t->tid));
	return thread;
}

TEST(a_child_that_is_forked_while_a_thread_sleeps_has_no_sleeper)
{
	struct thread t = { .id = new_queue() };
	pthread_t thread = start(&t);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pause();
		_exit(0);
	}
	MUST(send_text(t.id, 1, "first"));
	pthread_join(thread, NULL);
	CHECK_STR(t.text, "1 first");
	MUST(send_text(t.id, 1, "second"));
	CHECK_HELD(t.id, "1/6");
	kill(pid, SIGKILL);
	wait_for(pid);
	CHECK_STR(got(t.id, 0, 0), "1 second");
}

TEST(a_child_may_use_the_queue_at_once_while_a_thread_of_its_parent_sleeps)
{
	struct thread t = { .id = new_queue(), .type = 5 };
	pthread_t thread = start(&t);
	IN_CHILD {
		MUST(send_text(t.id, 1, "mine"));
		CHECK_STR(got(t.id, 1, 0), "1 mine");
		MUST(send_text(t.id, 5, "yours"));
	}
	pthread_join(thread, NULL);
	CHECK_STR(t.text, "5 yours");
}

TEST(the_end_of_a_child_does_not_touch_its_parents_sleepers)
{
	struct thread t = { .id = new_queue() };
	pthread_t thread = start(&t);
	for (int i = 0; i < 5; i++)
		IN_CHILD {
			CHECK_HELD(t.id, "0/0");
		}
	MUST(send_text(t.id, 1, "x"));
	pthread_join(thread, NULL);
	CHECK_STR(t.text, "1 x");
}

TEST(threads_sleep_each_for_itself)
{
	enum { THREADS = 8 };
	struct thread t[THREADS];
	pthread_t thread[THREADS];
	int id = new_queue();
	char text[32];
	for (int i = 0; i < THREADS; i++) {
		t[i] = (struct thread){ .id = id, .type = i + 1 };
		thread[i] = start(&t[i]);
	}
	for (int i = THREADS - 1; i >= 0; i--) {
		snprintf(text, sizeof text, "%d", i);
		MUST(send_text(id, i + 1, text));
		pthread_join(thread[i], NULL);
		snprintf(text, sizeof text, "%d %d", i + 1, i);
		CHECK_STR(t[i].text, text);
		CHECK_EQ(queue_stat(id).msg_lrpid, t[i].tid);
	}
}

static int queue;
static void *sends_to_itself(void *arg)
{
	(void)arg;
	MUST(send_text(queue, 1, "from a thread"));
	return NULL;
}

TEST(a_thread_is_handed_the_message_of_another_of_its_process)
{
	struct thread t = { .id = new_queue() };
	pthread_t thread = start(&t), other;
	queue = t.id;
	thread_start(&other, sends_to_itself, NULL);
	pthread_join(other, NULL);
	pthread_join(thread, NULL);
	CHECK_STR(t.text, "1 from a thread");
	/* Who sends is the process. */
	CHECK_EQ(queue_stat(t.id).msg_lspid, getpid());
}

static void *executes(void *arg)
{
	(void)arg;
	execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	_exit(127);
}

TEST(a_program_that_is_executed_by_another_thread_ends_the_sleep)
{
	int id = new_queue();
	atomic_int *asleep = shared_memory(sizeof *asleep);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct thread t = { .id = id };
		pthread_t other;
		start(&t);
		*asleep = 1;
		thread_start(&other, executes, NULL);
		pthread_join(other, NULL);
		_exit(1);
	}
	UNTIL(*asleep);
	char path[64], exe[256] = "";
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	UNTIL(({
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, exe, sizeof exe - 1);
		close(fd);
		exe[n < 0 ? 0 : n] = 0;
		/* The old program's files are closed when the new one begins to run. */
		!strcmp(exe, "sleep\n") && state_of(pid) == 'S';
	}));
	MUST(send_text(id, 1, "x"));
	CHECK_HELD(id, "1/1");
	kill(pid, SIGKILL);
	wait_for(pid);
	CHECK_STR(got(id, 0, 0), "1 x");
}

TEST(a_child_of_vfork_sends_and_receives)
{
	int id = new_queue();
	MUST(send_text(id, 1, "x"));
	pid_t pid = vfork();
	if (pid == 0) {
		static struct message m;
		m.mtype = 2;
		if (msgrcv(id, &m, MSGMAX, 1, IPC_NOWAIT) != 1)
			_exit(1);
		m.mtype = 2;
		_exit(msgsnd(id, &m, 1, IPC_NOWAIT) < 0 ? 2 : 0);
	}
	REAP(pid);
	CHECK_STR(got(id, 2, 0), "2 x");
}

TEST(calls_work_without_a_descriptor_left)
{
	int id = new_queue();
	IN_CHILD {
		use_up_descriptors();
		MUST(send_text(id, 1, "x"));
		CHECK_STR(got(id, 0, 0), "1 x");
		int other = new_queue();
		MUST(remove_queue(other));
	}
}

TEST(calls_leave_errno_and_descriptors_alone)
{
	struct fds before;
	int id = new_queue();
	fds_now(&before);
	errno = EXDEV;
	CHECK_EQ(send_text(id, 1, "x"), 0);
	CHECK_EQ(errno, EXDEV);
	struct message m;
	CHECK_EQ(msgrcv(id, &m, MSGMAX, 0, 0), 1);
	CHECK_EQ(errno, EXDEV);
	RECEIVER(1, id, 0);
	errno = EXDEV;
	CHECK_EQ(send_text(id, 1, "y"), 0);
	CHECK_EQ(errno, EXDEV);
	CHECK_RESULT(1, "1 y");
	CHECK_FDS(&before, "calls of queues");
}

/* What the smallest stack that a thread may have leaves room for. */
static void *on_a_small_stack(void *arg)
{
	static struct message m = { .mtype = 1 }, in;
	int id = *(int *)arg;
	MUST(msgsnd(id, &m, MSGMAX, 0));
	CHECK_EQ(msgrcv(id, &in, MSGMAX, 0, 0), MSGMAX);
	MUST(msgsnd(id, &m, 1, 0));
	return NULL;
}

TEST(the_smallest_stack_is_large_enough)
{
	if (under_shim() && PTHREAD_STACK_MIN < 16 << 10)
		SKIP("the smallest stack has %ld bytes here, and a call needs 6 KiB", (long)PTHREAD_STACK_MIN);
	pthread_attr_t attr;
	pthread_t t;
	int id = new_queue();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN);
	REQUIRE(pthread_create(&t, &attr, on_a_small_stack, &id) == 0);
	pthread_join(t, NULL);
	CHECK_HELD(id, "1/1");
}
