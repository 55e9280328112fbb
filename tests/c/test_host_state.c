/* A program finds itself after a call as it was before: errno, signals, threads, output and all. */
#include "proctest.h"
#include <linux/futex.h>
#include <sys/personality.h>
#include <sys/time.h>

/* --------------------------------------------------------------- errno */

#define KEEPS_ERRNO(call)                                                                          \
	({                                                                                         \
		errno = 77;                                                                        \
		__auto_type r_ = (call);                                                           \
		int e_ = errno;                                                                    \
		COUNT_CHECK();                                                                     \
		if ((long)r_ == -1)                                                                \
			FATAL("%s = -1 %s", #call, errno_name(e_));                                \
		if (e_ != 77)                                                                      \
			FAIL("%s succeeded and set errno to %s", #call, errno_name(e_));           \
		r_;                                                                                \
	})

TEST(a_call_that_succeeds_leaves_errno_alone)
{
	struct shmid_ds d;
	struct shm_info info;
	struct shminfo limits;
	int id = KEEPS_ERRNO(shmget(0xf1, PAGE, IPC_CREAT | 0600)); /* the first of all */
	KEEPS_ERRNO(shmget(0xf1, 0, 0));
	KEEPS_ERRNO(shmget(0xf1, 1, 0600));
	int private = KEEPS_ERRNO(shmget(IPC_PRIVATE, 5 * PAGE, 0600));
	char *p = KEEPS_ERRNO(shmat(id, NULL, 0));
	char *q = KEEPS_ERRNO(shmat(id, FREE_AREA, SHM_RDONLY));
	KEEPS_ERRNO(shmat(id, FREE_AREA + 7 + PAGE, SHM_RND));
	KEEPS_ERRNO(shmat(id, q, SHM_REMAP));
	KEEPS_ERRNO(shmctl(id, IPC_STAT, &d));
	KEEPS_ERRNO(shmctl(id, IPC_SET, &d));
	KEEPS_ERRNO(shmctl(id, SHM_LOCK, NULL));
	KEEPS_ERRNO(shmctl(id, SHM_UNLOCK, NULL));
	KEEPS_ERRNO(shmctl(id & 32767, SHM_STAT, &d));
	KEEPS_ERRNO(shmctl(id & 32767, SHM_STAT_ANY, &d));
	KEEPS_ERRNO(shmctl(0, IPC_INFO, (struct shmid_ds *)&limits));
	KEEPS_ERRNO(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	KEEPS_ERRNO(shmdt(q));
	KEEPS_ERRNO(munmap(FREE_AREA + PAGE, PAGE));
	q = KEEPS_ERRNO(shmat(private, FREE_AREA, 0));
	q = KEEPS_ERRNO(mremap(q, 5 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, FREE_AREA + 64 * PAGE));
	KEEPS_ERRNO(shmdt(q));
	KEEPS_ERRNO(shmctl(private, IPC_RMID, NULL));
	KEEPS_ERRNO(shmctl(id, IPC_RMID, NULL));
	KEEPS_ERRNO(shmctl(id, IPC_RMID, NULL));
	KEEPS_ERRNO(shmdt(p));
	int fd = KEEPS_ERRNO(open("/proc/sysvipc/shm", O_RDONLY));
	KEEPS_ERRNO(close(fd));
	fd = KEEPS_ERRNO(openat(AT_FDCWD, "/proc/sys/kernel/shmmax", O_RDONLY));
	KEEPS_ERRNO(close(fd));
	CHECK_EQ(segments_in_all(), 0);
}

TEST(a_call_that_finds_the_dead_leaves_errno_alone)
{
	struct shmid_ds d;
	int id = new_segment(PAGE);
	for (int i = 0; i < 4; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			attach(id);
			kill(getpid(), SIGKILL);
		}
		wait_for(pid);
		if (i == 3)
			KEEPS_ERRNO(shmctl(id, IPC_RMID, NULL));
		else if (i == 2)
			MUST(shmdt(KEEPS_ERRNO(shmat(id, NULL, 0))));
		else
			KEEPS_ERRNO(shmctl(id, IPC_STAT, &d));
	}
	CHECK_EQ(segments_in_all(), 0);
}

TEST(a_fork_with_attaches_leaves_errno_alone)
{
	int id = new_segment(PAGE);
	attach(id);
	errno = 77;
	pid_t pid = fork();
	CHECK_EQ(errno, 77);
	if (pid == 0) {
		KEEPS_ERRNO(shmget(0xf2, PAGE, IPC_CREAT | 0600));
		_exit(0);
	}
	REAP(pid);
	CHECK_EQ(nattch_of(id), 1);
}

/* ------------------------------------------------ the rest of a process */

/* As the system calls have them: glibc's wrappers hide two signals and leave bytes unset. */
struct kernel_sigaction { void *handler; unsigned long flags; void *restorer; uint64_t mask; };

struct state {
	uint64_t mask, pending;
	struct kernel_sigaction action[NSIG];
	stack_t altstack;
	mode_t umask;
	char cwd[PATH_MAX], name[32];
	char **environ;
	unsigned long environ_sum;
	struct itimerval timer[3];
	struct robust_list_head *robust, robust_value;
	struct rlimit limit[RLIM_NLIMITS];
	int persona, dumpable, deathsig, nnp, keepcaps, nice, threads;
	unsigned long subreaper;
	pid_t pid, ppid, pgid, sid;
	uid_t uid[3];
	gid_t gid[3];
	cpu_set_t cpus;
};
extern char **environ;

static void state_now(struct state *s)
{
	memset(s, 0, sizeof *s);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &s->mask, 8);
	syscall(SYS_rt_sigpending, &s->pending, 8);
	for (int i = 1; i < NSIG; i++)
		syscall(SYS_rt_sigaction, i, NULL, &s->action[i], 8);
	sigaltstack(NULL, &s->altstack);
	s->umask = umask(0);
	umask(s->umask);
	if (!getcwd(s->cwd, sizeof s->cwd))
		FATAL("getcwd: %s", errno_name(errno));
	prctl(PR_GET_NAME, s->name);
	s->environ = environ;
	for (char **e = environ; *e; e++)
		for (char *c = *e; *c; c++)
			s->environ_sum = s->environ_sum * 31 + (unsigned char)*c;
	for (int i = 0; i < 3; i++) {
		getitimer(i, &s->timer[i]);
		/* What is left runs out; that it is set and its interval do not. */
		s->timer[i].it_value.tv_sec = timerisset(&s->timer[i].it_value);
		s->timer[i].it_value.tv_usec = 0;
	}
	size_t len;
	syscall(SYS_get_robust_list, 0, &s->robust, &len);
	if (s->robust)
		s->robust_value = *s->robust;
	for (int i = 0; i < (int)RLIM_NLIMITS; i++)
		getrlimit(i, &s->limit[i]);
	s->persona = personality(0xffffffff);
	s->dumpable = prctl(PR_GET_DUMPABLE);
	prctl(PR_GET_PDEATHSIG, &s->deathsig);
	s->nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	s->keepcaps = prctl(PR_GET_KEEPCAPS);
	s->nice = nice(0);
	prctl(PR_GET_CHILD_SUBREAPER, &s->subreaper);
	s->pid = getpid();
	s->ppid = getppid();
	s->pgid = getpgid(0);
	s->sid = getsid(0);
	getresuid(&s->uid[0], &s->uid[1], &s->uid[2]);
	getresgid(&s->gid[0], &s->gid[1], &s->gid[2]);
	sched_getaffinity(0, sizeof s->cpus, &s->cpus);
	s->threads = entries_of("/proc/self/task");
}

static void state_check(const char *file, int line, const struct state *a, const char *what)
{
	static struct state b;
	state_now(&b);
#define SAME(field)                                                                                \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (memcmp(&a->field, &b.field, sizeof b.field) != 0)                              \
			fail_at(file, line, "%s changes the process's %s", what, #field);          \
	} while (0)
	SAME(mask);
	SAME(pending);
	SAME(action);
	SAME(altstack);
	SAME(umask);
	SAME(cwd);
	SAME(name);
	SAME(environ);
	SAME(environ_sum);
	SAME(timer);
	SAME(robust);
	SAME(robust_value);
	SAME(limit);
	SAME(persona);
	SAME(dumpable);
	SAME(deathsig);
	SAME(nnp);
	SAME(keepcaps);
	SAME(nice);
	SAME(subreaper);
	SAME(pid);
	SAME(ppid);
	SAME(pgid);
	SAME(sid);
	SAME(uid);
	SAME(gid);
	SAME(cpus);
	SAME(threads);
#undef SAME
}

static struct state before;
#define LEAVES_STATE(call)                                                                         \
	do {                                                                                       \
		state_now(&before);                                                                \
		(void)!(call);                                                                     \
		state_check(__FILE__, __LINE__, &before, #call);                                   \
	} while (0)

static void handler(int sig) { (void)sig; }

static void every_call_leaves_the_state(void)
{
	struct shmid_ds d = { 0 };
	struct shm_info info;
	int id = -1;
	char *p = NULL;
	LEAVES_STATE(id = shmget(0xf3, PAGE, IPC_CREAT | 0600));
	REQUIRE(id >= 0);
	LEAVES_STATE(shmget(0xf3, 0, 0));
	LEAVES_STATE(shmget(0xf4, 0, 0));
	WIDE_ONLY(LEAVES_STATE(shmget(0xf4, 1ul << 60, IPC_CREAT | 0600));)
	LEAVES_STATE((p = shmat(id, NULL, 0)) == NULL);
	REQUIRE(p != (char *)-1);
	LEAVES_STATE(shmat(id, p, 0) == NULL);
	LEAVES_STATE(shmat(-1, NULL, 0) == NULL);
	LEAVES_STATE(shmctl(id, IPC_STAT, &d));
	LEAVES_STATE(shmctl(id, IPC_STAT, NULL));
	LEAVES_STATE(shmctl(id, IPC_SET, &d));
	if (bad_buffers_get_an_errno()) {
		LEAVES_STATE(shmctl(id, IPC_STAT, UNMAPPED));
		LEAVES_STATE(shmctl(id, IPC_SET, UNMAPPED));
	}
	LEAVES_STATE(shmctl(id, SHM_LOCK, NULL));
	LEAVES_STATE(shmctl(id, SHM_UNLOCK, NULL));
	LEAVES_STATE(shmctl(0, SHM_STAT, &d));
	LEAVES_STATE(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	LEAVES_STATE(shmctl(0, IPC_INFO, (struct shmid_ds *)&d));
	LEAVES_STATE(shmctl(id, 77, &d));
	LEAVES_STATE(lines_in_proc());
	LEAVES_STATE(shmdt(p + 1));
	LEAVES_STATE(shmdt(p));
	LEAVES_STATE((p = shmat(id, NULL, SHM_RDONLY)) == NULL);
	LEAVES_STATE(shmctl(id, IPC_RMID, NULL));
	LEAVES_STATE(shmdt(p));
}

TEST(calls_leave_a_process_as_it_was)
{
	every_call_leaves_the_state();
}

TEST(calls_leave_a_process_as_it_was_that_had_changed_everything)
{
	static char stack[64 * 1024];
	stack_t alt = { .ss_sp = stack, .ss_size = sizeof stack };
	sigset_t set;
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	struct itimerval far = { .it_value.tv_sec = 100000, .it_interval.tv_sec = 7 };
	MUST(sigaltstack(&alt, NULL));
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &act, NULL);
	sigfillset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	raise(SIGUSR1); /* pending for as long as this lasts */
	umask(0777);
	MUST(chdir("/proc"));
	setenv("SHMTEST_SOMETHING", "else", 1);
	for (int i = 0; i < 3; i++)
		MUST(setitimer(i, &far, NULL));
	prctl(PR_SET_NAME, "renamed");
	prctl(PR_SET_DUMPABLE, 0);
	every_call_leaves_the_state();
	sigpending(&set);
	CHECK(sigismember(&set, SIGUSR1) == 1);
}

TEST(the_umask_has_no_say_in_what_is_made)
{
	umask(0777);
	int id = MUST(shmget(0xf5, PAGE, IPC_CREAT | 0666));
	CHECK_EQ(stat_of(id).shm_perm.mode, 0666);
	CHECK(WRITABLE(attach(id)));
	IN_CHILD CHECK_EQ(nattch_of(id), 2);
	EXPECT_STEPS("get 0\nat 0\n", "get,0xf5,0,0600", "at");
	CHECK_LIFE(0xf6);
}

static volatile sig_atomic_t children_ended;
static void count_sigchld(int sig)
{
	(void)sig;
	children_ended++;
}

TEST(calls_leave_no_child_and_no_sigchld)
{
	struct sigaction act = { .sa_handler = count_sigchld };
	sigaction(SIGCHLD, &act, NULL);
	CHECK_LIFE(0xf7);
	use_up_descriptors(); /* the hardest way */
	CHECK_LIFE(0xf7);
	CHECK_EQ(children_ended, 0);
	TEST_ERRNO(waitpid(-1, NULL, __WALL), ECHILD);
}

TEST(calls_leave_no_thread_even_with_all_descriptors_in_use)
{
	/* /proc/self/task is opened before they are. */
	int tasks = MUST(open("/proc/self/task", O_RDONLY | O_DIRECTORY));
	use_up_descriptors();
	for (int i = 0; i < 20; i++) {
		struct stat st;
		CHECK_LIFE(0xf8);
		MUST(fstat(tasks, &st));
		CHECK_EQ(st.st_nlink, 2 + 1); /* . and .. and the only thread */
	}
}

TEST(calls_write_nothing_to_standard_output_and_error)
{
	int *errors = shared_memory(sizeof *errors);
	int fd = MUST((int)syscall(SYS_memfd_create, "output", 0));
	IN_CHILD
	{
		dup2(fd, 1);
		dup2(fd, 2);
		CHECK_LIFE(0xf9);
		TEST_ERRNO(shmget(0xfa, 0, 0), ENOENT);
		TEST_ERRNO(shmat(-1, NULL, 0), EINVAL);
		TEST_ERRNO(shmdt(NULL), EINVAL);
		TEST_ERRNO(shmctl(12345, IPC_RMID, NULL), EINVAL);
	}
	IN_CHILD
	{
		dup2(fd, 1);
		dup2(fd, 2);
		if (under_shim()) {
			setenv("SHMSHIM_DIR", "/no/such/directory", 1);
			errno = 0;
			CHECK_EQ(shmget(IPC_PRIVATE, PAGE, 0600), -1);
		}
		*errors = errno;
	}
	struct stat st;
	MUST(fstat(fd, &st));
	CHECK_EQ(st.st_size, 0);
	CHECK_EQ(*errors != 0, under_shim());
}
