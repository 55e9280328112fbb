/*
 * A signal handler may have a stack of SIGSTKSZ bytes, a coroutine one of 8 KiB. 6 KiB do for every call, the first of a
 * process included.
 *
 * Each call runs on a stack that was painted, and how far the paint is gone is what it needs.
 */
#include "proctest.h"
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/auxv.h>
#include "painted_stack.h"

/* By their addresses: what the loader needs to find a function at its first call is not the library's. */
static int (*volatile get)(key_t, size_t, int) = shmget;
static void *(*volatile at)(int, const void *, int) = shmat;
static int (*volatile dt)(const void *) = shmdt;
static int (*volatile ctl)(int, int, struct shmid_ds *) = shmctl;
static int (*volatile unmap)(void *, size_t) = munmap;
static int (*volatile opens)(const char *, int, ...) = open;
static ssize_t (*volatile writes)(int, const void *, size_t) = write;

static int id = -1, list = -1;
static char *addr;
static struct shmid_ds d;
/* The compiler takes it that raise calls nothing of ours. */
static volatile long result;

static void do_nothing(void) { }
static void do_make(void) { result = id = get(0x2d1, 2 * PAGE, IPC_CREAT | 0600); }
static void do_find(void) { result = get(0x2d1, 0, 0); }
static void do_miss(void) { result = get(0x2d2, 0, 0) == -1 ? 0 : -1; }
static void do_attach(void) { addr = at(id, NULL, 0); result = (long)addr; }
static void do_stat(void) { result = ctl(id, IPC_STAT, &d); }
static void do_set(void) { result = ctl(id, IPC_SET, &d); }
static struct shm_info info;
static void do_info(void) { result = ctl(0, SHM_INFO, (struct shmid_ds *)&info); }
static void do_lock(void) { result = ctl(id, SHM_LOCK, NULL); }
static void do_unmap(void) { result = unmap(addr + PAGE, PAGE); }
static void do_detach(void) { result = dt(addr); }
static void do_remove(void) { result = ctl(id, IPC_RMID, NULL); }
static void do_list(void) { result = list = opens("/proc/sysvipc/shm", O_RDONLY); }
static void do_limit(void)
{
	int fd = opens("/proc/sys/kernel/shmmni", O_WRONLY);
	result = writes(fd, "100", 3);
}

/* Calls on a set and a queue that cannot go on: who stands in their way is told, where it is traced. */
static int (*volatile operate)(int, struct sembuf *, size_t) = semop;
static int (*volatile operate_until)(int, struct sembuf *, size_t, const struct timespec *) = semtimedop;
static ssize_t (*volatile receive)(int, void *, size_t, long, int) = msgrcv;
static int set = -1, queue = -1;
static struct { long type; char text[8]; } message;
static long blocked(long answer, int with) { return answer == -1 && errno == with ? 0 : -1; }
static void do_fail_at_a_semaphore(void)
{
	struct sembuf op = { 0, -1, SEM_UNDO | IPC_NOWAIT };
	result = blocked(operate(set, &op, 1), EAGAIN);
}
static void do_sleep_at_a_semaphore(void)
{
	struct sembuf op = { 0, -1, SEM_UNDO };
	result = blocked(operate_until(set, &op, 1, &(struct timespec){ 0, 3000000 }), EAGAIN);
}
static void do_find_no_message(void) { result = blocked(receive(queue, &message, 8, 3, IPC_NOWAIT), ENOMSG); }

#define DO(what) (on_painted_stack(#what, do_##what), MUST(result))

static void a_life(void)
{
	on_painted_stack("nothing", do_nothing);
	DO(make);
	DO(find);
	DO(miss);
	DO(attach);
	DO(stat);
	DO(set);
	DO(info);
	DO(lock);
	DO(unmap);
	DO(detach);
	DO(list);
	DO(limit);
	DO(remove);
}

static void each_first(void)
{
	IN_CHILD DO(miss);
	IN_CHILD DO(stat);
	IN_CHILD DO(attach);
	IN_CHILD DO(set);
	IN_CHILD DO(lock);
	IN_CHILD DO(list);
	IN_CHILD DO(limit);
	IN_CHILD DO(make);
}

TEST(each_call_does_with_a_small_stack_the_first_of_all_included)
{
	IN_CHILD a_life();
	id = new_segment(2 * PAGE);
	MUST(shmctl(id, IPC_STAT, &d));
	each_first();
	addr = attach(id);
	each_first();
	IN_CHILD DO(unmap);
	IN_CHILD DO(detach);
	IN_CHILD DO(remove);
	IN_CHILD DO(detach);
	MUST(shmdt(addr));
}

/* What another process holds. */
static void a_blocked_life(void)
{
	DO(fail_at_a_semaphore);
	DO(sleep_at_a_semaphore);
	DO(find_no_message);
}

static void each_blocked(void)
{
	struct gate taken = gate_make();
	set = MUST(semget(IPC_PRIVATE, 1, 0600));
	queue = MUST(msgget(IPC_PRIVATE, 0600));
	message.type = 4;
	MUST(msgsnd(queue, &message, 8, 0));
	MUST(semctl(set, 0, SETVAL, 1));
	pid_t holder = MUST(fork());
	if (holder == 0) {
		MUST(semop(set, &(struct sembuf){ 0, -1, SEM_UNDO }, 1));
		gate_open(&taken);
		pause();
	}
	gate_wait(&taken);
	IN_CHILD a_blocked_life();
	MUST(kill(holder, SIGKILL));
	wait_for(holder);
	MUST(semctl(set, 0, IPC_RMID));
	MUST(msgctl(queue, IPC_RMID, NULL));
}

TEST(so_does_a_call_that_cannot_go_on)
{
	each_blocked();
}

TEST(so_does_one_that_is_traced)
{
	SHIM_ONLY();
	if (is_supervised())
		NOT_ON_THIS_SIDE("the trace of a static program is that of the environment it was started with");
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMSHIM_DIR"));
	setenv("SHMSHIM_TRACE", path, 1);
	each_blocked();
	CHECK(access(path, F_OK) == 0);
}

TEST(so_does_each_call_that_is_traced)
{
	SHIM_ONLY();
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMSHIM_DIR"));
	setenv("SHMSHIM_TRACE", path, 1);
	IN_CHILD a_life();
	setenv("SHMSHIM_TRACE", "/no/such/directory/trace", 1);
	MUST(dup2(MUST(open("/dev/null", O_WRONLY)), 2));
	IN_CHILD a_life();
}

static void in_handler(int signal)
{
	(void)signal;
	do_make();
	do_attach();
	addr[0] = 1;
	do_stat();
	do_detach();
	do_remove();
}

static void handled_on_a_stack_of(size_t size)
{
	char *m = MUST(mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST(mprotect(m, PAGE, PROT_NONE));
	MUST(sigaltstack(&(stack_t){ .ss_sp = m + PAGE, .ss_size = size }, NULL));
	struct sigaction action = { .sa_handler = in_handler, .sa_flags = SA_ONSTACK };
	MUST(sigaction(SIGUSR1, &action, NULL));
	result = -1;
	raise(SIGUSR1);
	CHECK_EQ(result, 0);
}

/* The kernel's frame takes the more, the more registers the processor has: where it says so, as much is added. */
TEST(a_handler_on_a_stack_for_signals_makes_the_first_calls_of_a_process)
{
	handled_on_a_stack_of(MOST + 1024 + getauxval(AT_MINSIGSTKSZ));
}

/* What SIGSTKSZ has been for long, and is in most programs. With AVX-512 the kernel's frame has 3.5 KiB of it. */
TEST(a_handler_that_makes_no_first_calls_does_with_8_KiB_the_kernels_frame_included)
{
	if (getauxval(AT_MINSIGSTKSZ) > 3700)
		SKIP("the kernel's frame takes %lu bytes", getauxval(AT_MINSIGSTKSZ));
	in_handler(0);
	/* Where few registers are, more of a call lies on the stack: still within 6 KiB, but not within what the frame leaves of 8. */
	handled_on_a_stack_of(sizeof(long) == 8 ? 8192 : 9216);
}
