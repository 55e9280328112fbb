/* Handlers that interrupt a call and make calls of their own: no deadlock, no harm, at any instant. */
#include "filter.h"
#include "proctest.h"
#include <sys/time.h>

enum { KEY = 0x121, TURNS = 4000 };
static int id;
static char *base;
static volatile sig_atomic_t handled, failed_line, failed_errno;

#define IN_HANDLER(cond)                                                                           \
	do {                                                                                       \
		if (!(cond) && !failed_line)                                                       \
			failed_line = __LINE__, failed_errno = errno;                              \
	} while (0)

/* A life's worth of calls, not always the same ones. */
static void calls_in_handler(int sig)
{
	struct shmid_ds d;
	int saved = errno;
	(void)sig;
	switch (handled++ % 4) {
	case 0: {
		char *p = shmat(id, NULL, 0);
		IN_HANDLER(p != (char *)-1);
		IN_HANDLER(p == (char *)-1 || p[0] == 'b');
		IN_HANDLER(shmdt(p) == 0);
		break;
	}
	case 1:
		IN_HANDLER(shmget(KEY, 0, 0) == id);
		IN_HANDLER(shmctl(id, IPC_STAT, &d) == 0);
		IN_HANDLER(d.shm_nattch >= 1);
		break;
	case 2: {
		int own = shmget(IPC_PRIVATE, PAGE, 0600);
		IN_HANDLER(own >= 0);
		char *p = shmat(own, NULL, 0);
		IN_HANDLER(p != (char *)-1);
		IN_HANDLER(shmctl(own, IPC_RMID, NULL) == 0);
		IN_HANDLER(shmdt(p) == 0);
		break;
	}
	case 3:
		IN_HANDLER(shmctl(id, IPC_SET, &(struct shmid_ds){ .shm_perm = { .uid = getuid(), .gid = getgid(), .mode = 0600 } }) == 0);
		IN_HANDLER(shmdt((char *)base + 1) == -1 && errno == EINVAL);
		break;
	}
	errno = saved;
}

static void on_signal(int sig, void (*fn)(int), int flags)
{
	struct sigaction act = { .sa_handler = fn, .sa_flags = flags };
	MUST(sigaction(sig, &act, NULL));
}

static void begin(void)
{
	id = MUST(shmget(KEY, PAGE, IPC_CREAT | 0600));
	base = attach(id);
	base[0] = 'b';
}

/* What the interrupted program does meanwhile. */
static void main_flow(int turns)
{
	struct shmid_ds d;
	for (int i = 0; i < turns; i++) {
		char *p = shmat(id, NULL, i % 2 ? SHM_RDONLY : 0);
		if (p == (char *)-1 || p[0] != 'b')
			FATAL("turn %d: shmat: %s", i, errno_name(errno));
		if (shmget(KEY, 0, 0) != id)
			FATAL("turn %d: shmget: %s", i, errno_name(errno));
		if (shmctl(id, IPC_STAT, &d) < 0 || d.shm_nattch < 2)
			FATAL("turn %d: IPC_STAT: %s, nattch %ld", i, errno_name(errno), (long)d.shm_nattch);
		if (shmdt(p) < 0)
			FATAL("turn %d: shmdt: %s", i, errno_name(errno));
		struct life l = whole_life(IPC_PRIVATE, PAGE);
		if (l.failed)
			FATAL("turn %d: %s: %s", i, l.failed, errno_name(l.err));
	}
}

static void check_consistent(void)
{
	CHECK(handled > 0);
	if (failed_line)
		FAIL("in the handler, line %d: %s", (int)failed_line, errno_name(failed_errno));
	char *at[8];
	CHECK_EQ(attaches_in_maps(at, 8), 1);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(segments_in_all(), 1);
	CHECK_EQ(lines_in_proc(), 1);
	TEST_SUCC(shmctl(id, IPC_RMID, NULL));
	TEST_SUCC(shmdt(base));
	CHECK_EQ(segments_in_all(), 0);
}

/* The next interruption comes after a short while that is never the same. */
static void arm_timer(void)
{
	static unsigned random = 1;
	struct itimerval t = { .it_value.tv_usec = 20 + next_random(&random) % 200 };
	setitimer(ITIMER_REAL, &t, NULL);
}
static void calls_and_rearms(int sig)
{
	calls_in_handler(sig);
	arm_timer();
}
static void stop_timer(void) { setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL); }

TEST(a_timer_whose_handler_makes_calls_interrupts_calls)
{
	begin();
	on_signal(SIGALRM, calls_and_rearms, 0);
	arm_timer();
	main_flow(times_here(TURNS));
	stop_timer();
	check_consistent();
}

/* Where a process is not known yet and cannot become so, calls fail half-way in. */
static void makes_one_of_its_own(int sig)
{
	int saved = errno;
	handled++;
	int own = shmget(IPC_PRIVATE, PAGE, 0600);
	IN_HANDLER(own >= 0 ? shmctl(own, IPC_RMID, NULL) == 0 : under_shim() && in_the_manual("shmget", errno));
	if (sig == SIGALRM)
		arm_timer();
	errno = saved;
}

TEST(a_call_that_fails_may_be_interrupted_by_a_handler_that_makes_one)
{
	REQUIRE(shmget(KEY, 0, 0) == -1 && errno == ENOENT);
	IN_CHILD
	{
		struct filter f = filter_new();
		filter_rule(&f, SYS_openat, REFUSE_WITH(EACCES));
		filter_install(&f, SECCOMP_RET_ALLOW);
		on_signal(SIGALRM, makes_one_of_its_own, 0);
		arm_timer();
		for (int i = 0; i < times_here(20000) || handled < 20; i++) {
			int own = shmget(IPC_PRIVATE, PAGE, 0600);
			if (own >= 0)
				MUST(shmctl(own, IPC_RMID, NULL));
			else
				REQUIRE(under_shim() && in_the_manual("shmget", errno));
		}
		stop_timer();
		if (failed_line)
			FAIL("in the handler, line %d: %s", (int)failed_line, errno_name(failed_errno));
	}
	CHECK_EQ(segments_in_all(), 0);
}

/* The handler runs on a stack of its own that ends in an unmapped page. */
static void use_small_alternate_stack(void)
{
	size_t size = 16 * 1024;
	char *area = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(area != MAP_FAILED);
	MUST(mprotect(area, PAGE, PROT_NONE));
	MUST(sigaltstack(&(stack_t){ .ss_sp = area + PAGE, .ss_size = size }, NULL));
}

TEST(a_handler_on_a_small_stack_of_its_own_makes_calls)
{
	begin();
	use_small_alternate_stack();
	on_signal(SIGALRM, calls_and_rearms, SA_ONSTACK);
	arm_timer();
	main_flow(times_here(TURNS / 4));
	stop_timer();
	check_consistent();
}

/* Sends signals as fast as they may come, in volleys: between two of them what they interrupt gets on, on any machine. */
static _Noreturn void bombard(pid_t target, unsigned ratio, int pauses)
{
	unsigned random = 1;
	for (unsigned i = 1; kill(target, i % ratio ? SIGUSR1 : SIGUSR2) == 0; i++) {
		for (int pause = 0; pause < pauses; pause++)
			sched_yield();
		if (i % 50 == 0)
			usleep(100 + next_random(&random) % 400);
	}
	_exit(0);
}

TEST(another_process_bombards_with_signals_whose_handler_makes_calls)
{
	begin();
	on_signal(SIGUSR1, calls_in_handler, 0);
	on_signal(SIGUSR2, calls_in_handler, 0);
	pid_t target = getpid(), pid = MUST(fork());
	if (pid == 0) {
		shmdt(base);
		bombard(target, 3, 3);
	}
	main_flow(times_here(TURNS));
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	check_consistent();
}

static void only_rearms(int sig)
{
	(void)sig;
	handled++;
	arm_timer();
}

TEST(a_call_does_not_fail_with_eintr)
{
	begin();
	on_signal(SIGALRM, only_rearms, 0); /* without SA_RESTART */
	arm_timer();
	main_flow(times_here(TURNS));
	stop_timer();
	check_consistent();
}

/* ----------------------------------------------------- jumps and nesting */

static sigjmp_buf handlers_own_frame;
static void jumps_back(int sig)
{
	char *p = shmat(id, NULL, 0);
	(void)sig;
	IN_HANDLER(p != (char *)-1 && shmdt(p) == 0);
	siglongjmp(handlers_own_frame, 1);
}
static void is_jumped_back_to(int sig)
{
	calls_in_handler(sig);
	if (sigsetjmp(handlers_own_frame, 1) == 0) {
		raise(SIGUSR2); /* does not return */
		IN_HANDLER(false);
	}
	calls_in_handler(sig);
	arm_timer();
}

TEST(a_handler_may_be_left_by_a_jump_into_the_handler_it_interrupted)
{
	begin();
	on_signal(SIGUSR2, jumps_back, 0);
	on_signal(SIGALRM, is_jumped_back_to, 0);
	arm_timer();
	main_flow(times_here(TURNS / 2));
	stop_timer();
	check_consistent();
}

/* A handler interrupted by others, each making calls. */
TEST(handlers_that_interrupt_each_other_make_calls)
{
	begin();
	/* Three deep at most, as each waits for itself: signals may come faster than they are handled. */
	on_signal(SIGUSR1, calls_in_handler, 0);
	on_signal(SIGUSR2, calls_in_handler, 0);
	on_signal(SIGALRM, calls_and_rearms, 0);
	pid_t target = getpid(), pid = MUST(fork());
	if (pid == 0) {
		shmdt(base);
		on_signal(SIGUSR1, SIG_DFL, 0);
		bombard(target, 2, 10);
	}
	arm_timer();
	main_flow(times_here(TURNS / 2));
	stop_timer();
	MUST(kill(pid, SIGKILL));
	wait_for(pid);
	check_consistent();
}

/* --------------------------------------------------- forks and threads */

static void forks_in_handler(int sig)
{
	struct shmid_ds d;
	int saved = errno, status = -1;
	(void)sig;
	pid_t pid = fork();
	if (pid == 0) {
		stop_timer();
		bool good = shmctl(id, IPC_STAT, &d) == 0 && d.shm_nattch >= 2 && shmdt(base) == 0;
		char *p = shmat(id, NULL, 0);
		_exit(good && p != (char *)-1 && shmdt(p) == 0 ? 0 : 1);
	}
	IN_HANDLER(pid > 0);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	IN_HANDLER(status == 0);
	errno = saved;
	if (++handled < times_here(300))
		arm_timer();
}

TEST(a_handler_that_interrupts_a_call_may_fork)
{
	begin();
	on_signal(SIGALRM, forks_in_handler, 0);
	arm_timer();
	while (handled < times_here(300))
		main_flow(10);
	check_consistent();
}

static atomic_bool stop;
static void *calls_until_stopped(void *arg)
{
	(void)arg;
	while (!stop)
		main_flow(5);
	return NULL;
}

TEST(signals_sent_to_threads_interrupt_their_calls)
{
	begin();
	on_signal(SIGUSR1, calls_in_handler, 0);
	pthread_t t[3];
	for (int i = 0; i < 3; i++)
		thread_start(&t[i], calls_until_stopped, NULL);
	for (int i = 0; i < times_here(3000); i++) {
		pthread_kill(t[i % 3], SIGUSR1);
		for (int pause = 0; pause < 5; pause++)
			sched_yield();
	}
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	check_consistent();
}

/* ----------------------------------------------------- of faults */

static void makes_writable(int sig)
{
	(void)sig;
	handled++;
	IN_HANDLER(shmat(id, base, SHM_REMAP) == base);
}

TEST(a_handler_of_sigsegv_attaches_what_was_missing)
{
	id = MUST(shmget(KEY, PAGE, IPC_CREAT | 0600));
	base = (char *)MUST(shmat(id, NULL, SHM_RDONLY));
	on_signal(SIGSEGV, makes_writable, 0);
	((volatile char *)base)[0] = 'b';
	CHECK_EQ(handled, 1);
	CHECK_EQ(base[0], 'b');
	check_consistent();
}
