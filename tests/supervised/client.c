/*
 * client STEP: a program of its own, linked statically, that shmshim-static serves. It says what went otherwise than on the
 * kernel and exits with 1; with 42 when all was right.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEY = 0x4711, SIZE = 8192 };
static int wrong;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("client.c:%d: not so: %s (errno %d)\n", __LINE__, #condition, errno); \
			wrong = 1;                                                                 \
		}                                                                                  \
	} while (0)

static struct shmid_ds state_of(int id)
{
	struct shmid_ds d = { .shm_nattch = -1 };
	shmctl(id, IPC_STAT, &d);
	return d;
}

static long nattch(int id) { return state_of(id).shm_nattch; }

static int status_of(pid_t pid)
{
	int status = -1;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A set that others know by its key. */
static int known_set(void) { return semget(KEY, 1, IPC_CREAT | 0600); }

static int operate(int change)
{
	struct sembuf op = { 0, (short)change, SEM_UNDO };
	return semop(known_set(), &op, 1);
}

/* Takes what others wait for, says so, and keeps it until it is killed. */
static void hold_mutex(void)
{
	CHECK(operate(-1) == 0);
	printf("pid %d\n", getpid());
	for (;;)
		pause();
}

/* Waits for that. */
static void wait_for_mutex(void)
{
	CHECK(operate(-1) == 0);
	CHECK(semctl(known_set(), 0, GETVAL) == 0 && semctl(known_set(), 0, GETPID) == getpid());
	CHECK(operate(1) == 0);
}

/* What one process sees of it: a message of several pieces, and buffers that are not there. */
static void messages(void)
{
	enum { LARGE = 8192 };
	static struct { long type; char text[LARGE]; } sent = { .type = 7 }, got;
	int id = msgget(IPC_PRIVATE, 0600);
	for (int i = 0; i < LARGE; i++)
		sent.text[i] = (char)(i * 31);
	CHECK(msgsnd(id, &sent, LARGE, 0) == 0);
	CHECK(msgrcv(id, &got, LARGE, 0, 0) == LARGE && got.type == 7);
	CHECK(!memcmp(sent.text, got.text, LARGE));
	CHECK(msgsnd(id, (void *)8, 1, 0) == -1 && errno == EFAULT);
	CHECK(msgsnd(id, &sent, LARGE + 1, 0) == -1 && errno == EINVAL);
	CHECK(msgsnd(id, &sent, 4, 0) == 0);
	CHECK(msgrcv(id, (void *)8, 4, 0, 0) == -1 && errno == EFAULT);
	CHECK(msgrcv(id, &got, 4, 0, IPC_NOWAIT) == -1 && errno == ENOMSG);
	CHECK(msgctl(id, IPC_RMID, NULL) == 0);
}

/* Its memory is out of other programs' reach, and good buffers are not taken for bad ones. On the kernel all succeeds. */
static void undumpable(void)
{
	struct { long type; char text[4]; } m = { 1, "abc" };
	struct sembuf add = { 0, 1, 0 };
	unsigned short value;
	int set = semget(IPC_PRIVATE, 1, 0600), queue = msgget(IPC_PRIVATE, 0600);
	CHECK(msgsnd(queue, &m, sizeof m.text, 0) == 0);
	CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
	CHECK(semop(set, &add, 1) == 0 || errno == EPERM);
	CHECK(semctl(set, 0, GETALL, &value) == 0 || errno == EPERM);
	CHECK(msgsnd(queue, &m, sizeof m.text, 0) == 0 || errno == EPERM);
	if (msgrcv(queue, &m, sizeof m.text, 0, 0) != sizeof m.text) {
		CHECK(errno == EPERM);
		CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
		CHECK(msgrcv(queue, &m, sizeof m.text, 0, IPC_NOWAIT) == sizeof m.text);
	}
	CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(set, 0, IPC_RMID) == 0);
}

static void errors(void)
{
	struct shmid_ds d;
	errno = 77;
	CHECK(shmget(KEY + 1, 0, 0) == -1 && errno == ENOENT);
	CHECK(shmget(KEY + 1, 0, IPC_CREAT) == -1 && errno == EINVAL);
	CHECK(shmat(-1, NULL, 0) == (void *)-1 && errno == EINVAL);
	CHECK(shmdt((void *)0x10000) == -1 && errno == EINVAL);
	int id = shmget(IPC_PRIVATE, SIZE, 0600);
	CHECK(shmctl(id, IPC_STAT, (void *)1) == -1 && errno == EFAULT);
	CHECK(shmctl(id, IPC_STAT, &d) == 0 && d.shm_segsz == SIZE && d.shm_cpid == getpid());
	CHECK(d.shm_perm.uid == geteuid() && d.shm_perm.mode == 0600);
	d.shm_perm.mode = 0640;
	CHECK(shmctl(id, IPC_SET, &d) == 0 && state_of(id).shm_perm.mode == 0640);
	struct shm_info info;
	CHECK(shmctl(0, SHM_INFO, (void *)&info) >= 0 && info.used_ids >= 1);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0 && shmctl(id, IPC_RMID, NULL) == -1);
}

static void attaches(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, 0600);
	char *p = shmat(id, NULL, 0), *other = shmat(id, NULL, SHM_RDONLY);
	CHECK(p != (void *)-1 && other != (void *)-1 && p != other && nattch(id) == 2);
	strcpy(p, "one");
	CHECK(!strcmp(other, "one"));
	CHECK(state_of(id).shm_lpid == getpid());
	CHECK(shmat(id, p, 0) == (void *)-1 && errno == EINVAL);
	CHECK(shmdt(other) == 0 && nattch(id) == 1);
	CHECK(shmat(id, other, 0) == other && !strcmp(other, "one"));
	CHECK(shmat(id, p, SHM_REMAP) == p && !strcmp(p, "one"));
	CHECK(shmctl(id, IPC_RMID, NULL) == 0 && nattch(id) == 2);
	CHECK(shmdt(p) == 0 && shmdt(other) == 0 && nattch(id) == -1);
}

static void forks(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, 0600);
	char *p = shmat(id, NULL, 0);
	pid_t pid = fork();
	if (pid == 0) {
		p[0] = 1;
		_exit(nattch(id) == 2 && shmdt(p) == 0 && nattch(id) == 1 ? 0 : 1);
	}
	CHECK(status_of(pid) == 0 && nattch(id) == 1 && p[0] == 1);
	pid = fork();
	if (pid == 0)
		_exit(0);
	CHECK(status_of(pid) == 0 && nattch(id) == 1);
	int ready[2];
	CHECK(pipe(ready) == 0);
	pid = fork();
	if (pid == 0) {
		write(ready[1], "", 1);
		for (;;)
			pause();
	}
	CHECK(read(ready[0], p, 1) == 1 && nattch(id) == 2);
	kill(pid, SIGKILL);
	CHECK(status_of(pid) == 128 + SIGKILL && nattch(id) == 1);
	/* Many at once. */
	pid_t many[8];
	for (int i = 0; i < 8; i++) {
		many[i] = fork();
		if (many[i] == 0) {
			for (int n = 0; n < 20; n++) {
				int *sum = shmat(id, NULL, 0);
				if (sum == (void *)-1)
					_exit(1);
				__sync_fetch_and_add(sum + 1, 1);
				if (shmdt(sum))
					_exit(2);
			}
			_exit(0);
		}
	}
	for (int i = 0; i < 8; i++)
		CHECK(status_of(many[i]) == 0);
	CHECK(((int *)p)[1] == 160 && nattch(id) == 1);
	CHECK(shmdt(p) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

static int threads_id;

static void *thread(void *unused)
{
	char *p = shmat(threads_id, NULL, 0);
	if (p == (void *)-1)
		return "no attach";
	for (int i = 0; i < 50; i++)
		if (shmget(IPC_PRIVATE, 0, 0) != -1 || errno != EINVAL)
			return "errno of another thread";
	return shmdt(p) ? "no detach" : unused;
}

static void threads(void)
{
	pthread_t started[4];
	threads_id = shmget(IPC_PRIVATE, SIZE, 0600);
	char *p = shmat(threads_id, NULL, 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&started[i], NULL, thread, NULL) == 0);
	for (int i = 0; i < 4; i++) {
		void *why;
		pthread_join(started[i], &why);
		if (why)
			printf("%s\n", (char *)why);
		CHECK(why == NULL);
	}
	CHECK(nattch(threads_id) == 1);
	CHECK(shmdt(p) == 0 && shmctl(threads_id, IPC_RMID, NULL) == 0);
}

static void executes(char *self)
{
	int id = shmget(KEY, SIZE, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);
	strcpy(p, "before exec");
	pid_t pid = vfork();
	if (pid == 0) {
		execl(self, self, "after-exec", NULL);
		_exit(9);
	}
	CHECK(status_of(pid) == 42 && nattch(id) == 1);
	pid = fork();
	if (pid == 0) {
		execl(self, self, "after-exec", NULL);
		_exit(9);
	}
	CHECK(status_of(pid) == 42 && nattch(id) == 1);
	CHECK(shmdt(p) == 0 && shmctl(id, IPC_RMID, NULL) == 0);
}

static void after_exec(void)
{
	int id = shmget(KEY, 0, 0);
	CHECK(nattch(id) == 1);
	char *p = shmat(id, NULL, 0);
	CHECK(p != (void *)-1 && !strcmp(p, "before exec") && nattch(id) == 2);
}

/* Threads that attach, fork, start programs and kill children in the midst of their calls, all at once. */
static char *own_name;
static int storm_id;

static pid_t start_nothing(void)
{
	pid_t pid = vfork();
	if (pid == 0) {
		execl(own_name, own_name, "nothing", NULL);
		_exit(9);
	}
	return pid;
}

static void *storm(void *number)
{
	for (long n = (long)number, end = n + 24; n < end; n++) {
		pid_t pid = n % 4 == 0 ? -1 : n % 4 == 1 ? start_nothing() : fork();
		if (n % 4 && pid < 0)
			return "no fork";
		if (n % 4 == 3 && pid == 0)
			for (;;)
				if (shmdt(shmat(storm_id, NULL, 0)))
					_exit(1);
		if (n % 4 == 3)
			usleep(500 * (n % 7)), kill(pid, SIGKILL);
		if (n % 4 == 0 || pid == 0) {
			int *sum = shmat(storm_id, NULL, 0);
			if (sum == (void *)-1)
				return "no attach";
			__sync_fetch_and_add(sum, 1);
			if (pid == 0)
				_exit(0);
			if (shmdt(sum))
				return "no detach";
		} else {
			int expected = n % 4 == 1 ? 42 : n % 4 == 2 ? 0 : 128 + SIGKILL;
			if (status_of(pid) != expected)
				return "status of a child";
		}
	}
	return NULL;
}

static void storms(char *self)
{
	pthread_t started[8];
	own_name = self;
	storm_id = shmget(IPC_PRIVATE, SIZE, 0600);
	int *sum = shmat(storm_id, NULL, 0);
	for (long i = 0; i < 8; i++)
		CHECK(pthread_create(&started[i], NULL, storm, (void *)i) == 0);
	for (int i = 0; i < 8; i++) {
		void *why;
		pthread_join(started[i], &why);
		if (why)
			printf("%s\n", (char *)why);
		CHECK(why == NULL);
	}
	CHECK(*sum == 8 * 12 && nattch(storm_id) == 1);
	CHECK(shmdt(sum) == 0 && shmctl(storm_id, IPC_RMID, NULL) == 0);
}

/* A thread executes the program again while others are in the midst of calls: those end, and what they had is not counted. */
static char *rounds_left;

static void *attach_for_ever(void *unused)
{
	for (;;) {
		char *p = shmat(shmget(KEY, 0, 0), NULL, 0);
		if (p != (void *)-1)
			shmdt(p);
	}
	return unused;
}

static void *execute(void *self)
{
	usleep(10000);
	execl(self, self, "thread-exec", rounds_left, NULL);
	return NULL;
}

static void executes_from_thread(char *self, const char *rounds)
{
	static char left[16];
	int id = shmget(KEY, SIZE, IPC_CREAT | 0600), n = rounds ? atoi(rounds) : 20;
	CHECK(nattch(id) == 0);
	if (n == 0 || wrong) {
		CHECK(shmctl(id, IPC_RMID, NULL) == 0);
		return;
	}
	snprintf(left, sizeof left, "%d", n - 1);
	rounds_left = left;
	CHECK(shmat(id, NULL, 0) != (void *)-1);
	pthread_t started;
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&started, NULL, attach_for_ever, NULL) == 0);
	CHECK(pthread_create(&started, NULL, execute, self) == 0);
	for (;;)
		pause();
}

/* Does what it is told on standard input: one letter for each call, and a line for the answer. */
static void obey(void)
{
	char order;
	int id = shmget(KEY, SIZE, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);
	printf("pid %d\n", getpid());
	while (read(0, &order, 1) == 1) {
		long answer = 0;
		errno = 0;
		if (order == 'a')
			answer = shmat(id, NULL, 0) == (void *)-1 ? -1 : 0;
		else if (order == 'd')
			answer = shmdt(p);
		else if (order == 'n')
			answer = nattch(id);
		else if (order == 'g')
			answer = shmget(KEY, 0, 0) == id ? 0 : -1;
		else if (order == 'w')
			answer = operate(-1);
		else if (order == 'v')
			answer = semctl(known_set(), 0, GETVAL);
		else if (order == 'r')
			answer = shmctl(id, IPC_RMID, NULL);
		else
			continue;
		printf("%c %ld %s\n", order, answer, answer < 0 ? strerrorname_np(errno) : "-");
	}
}

/* A segment that others look at: attached until standard input ends. */
static void hold(void)
{
	char byte;
	int id = shmget(KEY, SIZE, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);
	CHECK(p != (void *)-1);
	strcpy(p, "held");
	printf("%d\n", id);
	read(0, &byte, 1);
	CHECK(!strcmp(p, "written by another"));
}

static void credentials(void)
{
	int id = shmget(IPC_PRIVATE, SIZE, 0600);
	pid_t pid = fork();
	if (pid == 0) {
		wrong = syscall(SYS_setresuid, 54001, 54001, 54001) != 0;
		CHECK(shmat(id, NULL, 0) == (void *)-1 && errno == EACCES);
		_exit(wrong);
	}
	CHECK(status_of(pid) == 0);
	CHECK(shmctl(id, IPC_RMID, NULL) == 0);
}

int main(int argc, char **argv)
{
	const char *step = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IONBF, 0);
	if (!strcmp(step, "errors"))
		errors();
	else if (!strcmp(step, "attaches"))
		attaches();
	else if (!strcmp(step, "forks"))
		forks();
	else if (!strcmp(step, "threads"))
		threads();
	else if (!strcmp(step, "exec"))
		executes(argv[0]);
	else if (!strcmp(step, "after-exec"))
		after_exec();
	else if (!strcmp(step, "storm"))
		storms(argv[0]);
	else if (!strcmp(step, "thread-exec"))
		executes_from_thread(argv[0], argc > 2 ? argv[2] : NULL);
	else if (!strcmp(step, "obey"))
		obey();
	else if (!strcmp(step, "messages"))
		messages();
	else if (!strcmp(step, "undumpable"))
		undumpable();
	else if (!strcmp(step, "hold-mutex"))
		hold_mutex();
	else if (!strcmp(step, "wait-for-mutex"))
		wait_for_mutex();
	else if (!strcmp(step, "x32"))
		CHECK(syscall(0x40000000 | SYS_semget, KEY, 1, IPC_CREAT | 0600) == -1 && errno == ENOSYS &&
		      syscall(0x40000000 | SYS_shmget, KEY, SIZE, IPC_CREAT | 0600) == -1 && errno == ENOSYS);
	else if (!strcmp(step, "nothing"))
		;
	else if (!strcmp(step, "hold"))
		hold();
	else if (!strcmp(step, "credentials"))
		credentials();
	else if (!strcmp(step, "kill"))
		raise(SIGTERM);
	else if (!strcmp(step, "sleep"))
		pause();
	else
		return 2;
	return wrong ? 1 : 42;
}
