/* Handlers may be installed at any moment, by any name or by a bare system call, and make calls. */
#include "proctest.h"
#include <sys/ptrace.h>
#include <sys/time.h>

static int id;
static char *base;
static volatile sig_atomic_t handled, failed_line, failed_errno;

/* The next signal comes a little after the handler of the last one. */
static volatile sig_atomic_t bombarding;
static void arm_timer(void)
{
	struct itimerval once = { .it_value.tv_usec = 60 + handled % 50 };
	if (bombarding)
		setitimer(ITIMER_REAL, &once, NULL);
}

/* Attaches and detaches, in the middle of whatever was interrupted. */
static void calls_in_handler(int sig)
{
	int saved = errno;
	(void)sig;
	handled++;
	char *p = shmat(id, NULL, 0);
	if ((p == (char *)-1 || p[0] != 'b' || shmdt(p) != 0) && !failed_line)
		failed_line = __LINE__, failed_errno = errno;
	arm_timer();
	errno = saved;
}

static void begin(void)
{
	id = MUST(shmget(0x131, PAGE, IPC_CREAT | 0600));
	base = attach(id);
	base[0] = 'b';
}

static void main_flow(int turns)
{
	for (int i = 0; i < turns; i++) {
		char *p = shmat(id, NULL, 0);
		if (p == (char *)-1 || p[0] != 'b' || shmdt(p) < 0)
			FATAL("turn %d: shmat or shmdt: %s", i, errno_name(errno));
		struct life l = whole_life(IPC_PRIVATE, PAGE);
		if (l.failed)
			FATAL("turn %d: %s: %s", i, l.failed, errno_name(l.err));
	}
}

static void bombard(void)
{
	bombarding = 1;
	arm_timer();
	/* An emulated machine is hardly through with one handler when the next signal is due. */
	main_flow(times_here(1500));
	bombarding = 0;
	MUST(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
}

static void check_end(void)
{
	CHECK(handled > 0);
	if (failed_line)
		FAIL("in the handler, line %d: %s", (int)failed_line, errno_name(failed_errno));
}

/* ------------------------------------------------------------ every name */

typedef void (*handler)(int);
handler ssignal(int sig, handler fn);
handler bsd_signal(int sig, handler fn);
handler sysv_signal(int sig, handler fn);
handler __sysv_signal(int sig, handler fn);
int __sigaction(int sig, const struct sigaction *new, struct sigaction *old);

/* System V's forget the handler when the signal comes. */
static void rearm(int sig)
{
	sysv_signal(sig, rearm);
	calls_in_handler(sig);
}

static void by_sigaction(void) { MUST(sigaction(SIGALRM, &(struct sigaction){ .sa_handler = calls_in_handler }, NULL)); }
static void by_inner_sigaction(void)
{
	MUST(__sigaction(SIGALRM, &(struct sigaction){ .sa_handler = calls_in_handler }, NULL));
}
static void by_signal(void) { REQUIRE(signal(SIGALRM, calls_in_handler) != SIG_ERR); }
static void by_ssignal(void) { REQUIRE(ssignal(SIGALRM, calls_in_handler) != SIG_ERR); }
static void by_bsd_signal(void) { REQUIRE(bsd_signal(SIGALRM, calls_in_handler) != SIG_ERR); }
static void by_sysv_signal(void) { REQUIRE(sysv_signal(SIGALRM, rearm) != SIG_ERR); }
static void by_inner_sysv_signal(void) { REQUIRE(__sysv_signal(SIGALRM, rearm) != SIG_ERR); }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void by_sigset(void) { REQUIRE(sigset(SIGALRM, calls_in_handler) != SIG_ERR); }
#pragma GCC diagnostic pop

TEST(a_handler_that_was_installed_by_any_name_may_interrupt_calls_and_make_some)
{
	static const struct {
		const char *name;
		void (*install)(void);
	} ways[] = { { "sigaction", by_sigaction },	  { "__sigaction", by_inner_sigaction },
		     { "signal", by_signal },		  { "ssignal", by_ssignal },
		     { "bsd_signal", by_bsd_signal },	  { "sysv_signal", by_sysv_signal },
		     { "__sysv_signal", by_inner_sysv_signal }, { "sigset", by_sigset } };
	begin();
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		IN_CHILD
		{
			main_flow(20);
			ways[i].install();
			bombard();
			check_end();
			if (handled == 0 || failed_line)
				FAIL("by %s", ways[i].name);
		}
	CHECK_EQ(nattch_of(id), 1);
}

/* struct kernel_sigaction, whose layout is not libc's. */
struct kernel_action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

TEST(a_handler_that_was_installed_through_syscall_may_interrupt_calls_and_make_some)
{
	struct sigaction libcs = { .sa_handler = SIG_DFL };
	struct kernel_action act;
	begin();
	main_flow(20);
	/* libc knows how to return from a handler: take its restorer, before there is a handler that counts. */
	MUST(sigaction(SIGUSR2, &libcs, NULL));
	MUST(syscall(SYS_rt_sigaction, SIGUSR2, NULL, &act, 8));
	act.handler = calls_in_handler;
	if (!act.restorer)
		SKIP("libc leaves no restorer for a default action");
	MUST(syscall(SYS_rt_sigaction, SIGALRM, &act, NULL, 8));
	bombard();
	check_end();
}

#ifdef __x86_64__
static void does_nothing(int sig) { (void)sig; }

static long bare(long number, long a, long b, long c, long d)
{
	long answer;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return answer;
}

/* Forks, in the middle of whatever was interrupted. */
static void forks_in_handler(int sig)
{
	int saved = errno, status = -1;
	(void)sig;
	handled++;
	pid_t pid = fork();
	if (pid == 0)
		_exit(base[0] == 'b' ? 0 : 1);
	if ((pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) && !failed_line)
		failed_line = __LINE__, failed_errno = pid < 0 ? errno : 0;
	arm_timer();
	errno = saved;
}

static void handler_that_nobody_saw(void (*handle)(int), unsigned long flags)
{
	struct kernel_action act;
	begin();
	main_flow(20);
	MUST(sigaction(SIGUSR2, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL));
	if (bare(SYS_rt_sigaction, SIGUSR2, 0, (long)&act, 8) != 0 || !act.restorer)
		SKIP("libc leaves no restorer for a default action");
	act.handler = handle;
	act.flags |= flags;
	if (bare(SYS_rt_sigaction, SIGALRM, (long)&act, 0, 8) != 0)
		FATAL("no handler");
	bombard();
	check_end();
	TEST_SUCC(shmdt(base));
	char *at[4];
	CHECK_EQ(attaches_in_maps(at, 4), 0);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(a_handler_that_nobody_saw_being_installed_may_make_calls) { handler_that_nobody_saw(calls_in_handler, 0); }

TEST(a_handler_that_nobody_saw_being_installed_may_fork) { handler_that_nobody_saw(forks_in_handler, 0); }

/* Installs one itself, by libc's means, in the middle of whatever was interrupted. */
static void installs_in_handler(int sig)
{
	int saved = errno;
	if (signal(SIGUSR1, does_nothing) == SIG_ERR && !failed_line)
		failed_line = __LINE__, failed_errno = errno;
	errno = saved;
	calls_in_handler(sig);
}

TEST(a_handler_that_nobody_saw_being_installed_may_install_another) { handler_that_nobody_saw(installs_in_handler, 0); }

TEST(so_does_one_on_a_stack_of_its_own)
{
	stack_t stack = { .ss_sp = shared_memory(256 * 1024), .ss_size = 256 * 1024 };
	MUST(sigaltstack(&stack, NULL));
	handler_that_nobody_saw(calls_in_handler, SA_ONSTACK);
}
#endif

/* ---------------------------------------------------------- the first one */

static atomic_int over;

static void *calls_in_thread(void *arg)
{
	(void)arg;
	while (!over)
		main_flow(1);
	return NULL;
}

TEST(the_first_handler_may_come_while_other_threads_are_in_calls)
{
	begin();
	for (int round = 0; round < 40; round++)
		IN_CHILD
		{
			pthread_t thread[2];
			over = 0;
			for (int i = 0; i < 2; i++)
				thread_start(&thread[i], calls_in_thread, NULL);
			usleep(500 + (useconds_t)round * 37);
			by_sigaction();
			for (int i = 0; i < 200; i++) {
				pthread_kill(thread[i % 2], SIGALRM);
				if (i % 10 == 0)
					usleep(50);
			}
			over = 1;
			for (int i = 0; i < 2; i++)
				REQUIRE(pthread_join(thread[i], NULL) == 0);
			check_end();
			CHECK_EQ(nattch_of(id), 2);
		}
	CHECK_EQ(nattch_of(id), 1);
}

#ifdef __x86_64__
/* A thread that attaches and detaches once, and is stopped behind its n-th instruction. */
static struct stepped {
	atomic_int thread, go, install, installed, signalled, done;
} *stepped;

static void *attach_when_told(void *arg)
{
	(void)arg;
	main_flow(1);
	stepped->thread = gettid();
	while (!stepped->go)
		usleep(100);
	/* From here on the instructions are counted. */
	syscall(SYS_tgkill, getpid(), gettid(), SIGTRAP);
	char *p = shmat(id, NULL, 0);
	if (p == (char *)-1 || p[0] != 'b' || shmdt(p) < 0)
		FATAL("the stepped thread: %s", errno_name(errno));
	stepped->done = 1;
	while (!stepped->signalled)
		usleep(100);
	return NULL;
}

static void install_when_told(void)
{
	pthread_t thread;
	thread_start(&thread, attach_when_told, NULL);
	while (!stepped->install)
		usleep(100);
	by_sigaction();
	stepped->installed = 1;
	REQUIRE(pthread_join(thread, NULL) == 0);
	check_end();
}

static bool comes(atomic_int *word)
{
	for (int i = 0; !*word && i < 600000; i++)
		usleep(100);
	return *word;
}

enum came { IN_THE_CALLS, BEHIND_THE_CALLS, NOT_AT_ALL };

/* The first handler is installed while the thread stands behind instruction n, and its signal comes there. */
static enum came first_handler_behind(int n)
{
	int status;
	*stepped = (struct stepped){ 0 };
	pid_t pid = fork();
	if (pid < 0)
		FATAL("fork: %s", errno_name(errno));
	if (pid == 0) {
		install_when_told();
		_exit(0);
	}
	if (!comes(&stepped->thread))
		FATAL("there is no thread to be stepped");
	pid_t thread = stepped->thread;
	if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) < 0) {
		kill(pid, SIGKILL);
		wait_for(pid);
		return NOT_AT_ALL;
	}
	stepped->go = 1;
	MUST(waitpid(thread, &status, __WALL));
	REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	for (int i = 0; i < n && !stepped->done; i++) {
		MUST(ptrace(PTRACE_SINGLESTEP, thread, NULL, NULL));
		MUST(waitpid(thread, &status, __WALL));
		REQUIRE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	}
	bool done = stepped->done;
	stepped->install = 1;
	if (!comes(&stepped->installed))
		FATAL("behind instruction %d: a thread that installs a handler waits for a call of another thread", n);
	MUST(syscall(SYS_tgkill, pid, thread, SIGALRM));
	MUST(ptrace(PTRACE_DETACH, thread, NULL, NULL));
	stepped->signalled = 1;
	for (int i = 0; waitpid(pid, &status, WNOHANG) == 0; i++) {
		if (i == 600000) {
			kill(pid, SIGKILL);
			wait_for(pid);
			FATAL("behind instruction %d: not finished after a minute", n);
		}
		usleep(100);
	}
	if (status != 0)
		FATAL("behind instruction %d: wait status %#x", n, status);
	return done ? BEHIND_THE_CALLS : IN_THE_CALLS;
}

TEST(the_first_handler_may_come_at_any_instruction_of_a_call)
{
	enum { STRIDE = 31 };
	enum came came;
	int within = 0;
	begin();
	stepped = shared_memory(sizeof *stepped);
	for (int n = 0; (came = first_handler_behind(n)) != BEHIND_THE_CALLS; n += STRIDE) {
		if (came == NOT_AT_ALL)
			SKIP("this process may not trace another");
		within++;
	}
	CHECK(within > 10 || !under_shim());
	CHECK_EQ(nattch_of(id), 1);
}
#endif

TEST(the_actions_that_a_program_sees_are_its_own)
{
	struct sigaction old;
	begin();
	MUST(sigaction(SIGALRM, NULL, &old));
	CHECK(old.sa_handler == SIG_DFL);
	REQUIRE(signal(SIGALRM, calls_in_handler) == SIG_DFL);
	MUST(sigaction(SIGALRM, NULL, &old));
	CHECK(old.sa_handler == calls_in_handler);
	CHECK(signal(SIGALRM, SIG_IGN) == calls_in_handler);
	CHECK(signal(SIGALRM, SIG_DFL) == SIG_IGN);
	TEST_ERRNO(sigaction(SIGKILL, &(struct sigaction){ .sa_handler = calls_in_handler }, NULL), EINVAL);
	TEST_ERRNO(syscall(SYS_rt_sigaction, SIGALRM, UNMAPPED, NULL, 8), EFAULT);
	TEST_ERRNO(signal(4711, calls_in_handler), EINVAL);
}
