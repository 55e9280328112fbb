/*
 * member.c - random operations. Others do the same at the same time, and any of them may be killed or stopped; so
 * each answer is held against what it may be, and not against what it must be.
 */
#include "soak.h"

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- what this member has attached; children inherit it */

static struct held {
	int id;
	size_t size;
	unsigned char *base;
	uint32_t pages; /* those still mapped */
	bool readonly;
} held[HOLDS];
static int holding;
static int here; /* this member's place */
static bool is_worker;

static unsigned choose(unsigned below) { return pick(&soak->member[here].seed, below); }
static unsigned pages_of(size_t size) { return (unsigned)((size + PAGE - 1) / PAGE); }
static bool gone(int error) { return error == EINVAL || error == EIDRM; }
/* Several users: what is another's may be closed to this one. */
static bool closed(int error) { return soak->system && (error == EACCES || error == EPERM); }

static bool see_all(const struct held *h)
{
	for (unsigned page = 0; page < pages_of(h->size); page++)
		if (h->pages >> page & 1 && !look_at_page(h->id, h->size, page, h->base + (size_t)page * PAGE, !h->readonly))
			return false;
	return true;
}

static void put_down(int i) { held[i] = held[--holding]; }

/* --- operations */

static int find_some(void)
{
	struct shmid_ds d;
	if (choose(2)) {
		int id = shmget(FIRST_KEY + (int)choose(KEYS), 0, 0);
		if (id < 0 && errno != ENOENT)
			complain("looking a key up: %s", strerror(errno));
		if (id >= 0)
			ledger_given(id);
		return id;
	}
	struct shm_info info;
	int highest = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	if (highest < 0) {
		complain("SHM_INFO: %s", strerror(errno));
		return -1;
	}
	int id = shmctl((int)choose(highest + 1), choose(2) ? SHM_STAT : SHM_STAT_ANY, &d);
	if (id < 0 && !gone(errno) && !closed(errno))
		complain("SHM_STAT: %s", strerror(errno));
	if (id >= 0)
		ledger_given(id);
	return id;
}

static size_t some_size(void)
{
	return choose(3) ? (size_t)(1 + choose(MOST_PAGES)) * PAGE : 64 + choose(MOST_PAGES * PAGE - 64);
}

static unsigned some_mode(void) { return soak->system && choose(4) ? 0666 : 0600; }

static void begin_using(int id, size_t size, int flags, void *address);

static void op_private(void)
{
	struct shm_info info;
	if (shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0 || info.used_ids > MANY_SEGMENTS)
		return;
	size_t size = some_size();
	int id = shmget(IPC_PRIVATE, size, IPC_CREAT | some_mode());
	if (id < 0) {
		complain("making a private segment: %s", strerror(errno));
		return;
	}
	ledger_given(id);
	if (choose(4))
		begin_using(id, size, 0, NULL);
}

static void op_keyed(void)
{
	int key = FIRST_KEY + (int)choose(KEYS), exclusive = choose(2) ? IPC_EXCL : 0;
	size_t size = some_size();
	int id = shmget(key, size, IPC_CREAT | exclusive | some_mode());
	if (id < 0) {
		/* One that is there may be smaller than what is asked. */
		if (!(exclusive && errno == EEXIST) && !(!exclusive && errno == EINVAL) && !closed(errno))
			complain("making a segment with a key%s: %s", exclusive ? ", exclusively" : "", strerror(errno));
		return;
	}
	ledger_given(id);
	if (exclusive)
		begin_using(id, size, 0, NULL);
}

static void op_find(void) { find_some(); }

/* An attach and a first look; `size` may be that of an earlier segment with this id only if ids were used twice. */
static void begin_using(int id, size_t size, int flags, void *address)
{
	if (holding == HOLDS)
		return;
	unsigned char *at = shmat(id, address, flags);
	if (at == (void *)-1) {
		/* A fixed place may be taken. */
		if (!gone(errno) && !closed(errno) && !(address && errno == EINVAL))
			complain("attaching %d: %s", id, strerror(errno));
		return;
	}
	if (address && at != address)
		complain("attached at %p, not at %p", (void *)at, address);
	if (flags & SHM_REMAP)
		for (int i = 0; i < holding; i++)
			for (unsigned page = 0; page < pages_of(held[i].size); page++)
				if (held[i].base + (size_t)page * PAGE >= at &&
				    held[i].base + (size_t)page * PAGE < at + (size_t)pages_of(size) * PAGE)
					held[i].pages &= ~(1u << page);
	for (int i = holding - 1; i >= 0; i--)
		if (held[i].pages == 0)
			put_down(i);
	held[holding++] = (struct held){ id, size, at, (uint32_t)((1ull << pages_of(size)) - 1), flags & SHM_RDONLY };
	see_all(&held[holding - 1]);
}

static void use_some(int flags, void *address)
{
	struct shmid_ds d;
	int id = find_some();
	if (id < 0)
		return;
	if (shmctl(id, IPC_STAT, &d) < 0) {
		if (!gone(errno) && !closed(errno))
			complain("IPC_STAT of %d: %s", id, strerror(errno));
		return;
	}
	if (d.shm_segsz < 64 || d.shm_segsz > MOST_PAGES * PAGE)
		complain("segment %d has %zu bytes", id, (size_t)d.shm_segsz);
	else
		begin_using(id, d.shm_segsz, flags, address);
}

static void op_attach(void) { use_some(0, NULL); }
static void op_attach_readonly(void) { use_some(SHM_RDONLY, NULL); }
/* Places where nothing lies but what these two put there. */
static void *some_place(void) { return (void *)(0x200000000000ul + choose(8) * (MOST_PAGES + 8) * PAGE + choose(3) * PAGE); }
static void op_attach_fixed(void) { use_some(0, some_place()); }
static void op_attach_over(void) { use_some(SHM_REMAP, some_place()); }

static void op_detach(void)
{
	struct shmid_ds d;
	if (holding == 0)
		return;
	struct held h = held[choose(holding)];
	/* In the hole of one another may have been put, with the same base: shmdt takes what lies lowest. */
	for (int i = 0; i < holding; i++)
		if (held[i].base == h.base && (held[i].pages & -held[i].pages) < (h.pages & -h.pages))
			h = held[i];
	see_all(&h);
	/* What is attached is there, removed or not. */
	if (shmctl(h.id, IPC_STAT, &d) < 0 ? !closed(errno) : d.shm_nattch < 1 || d.shm_segsz != h.size)
		complain("segment %d, which is attached here: %s", h.id, strerror(errno));
	for (int i = holding - 1; i >= 0; i--)
		if (held[i].base == h.base && held[i].id == h.id)
			put_down(i);
	if (shmdt(h.base) < 0)
		complain("detaching %d: %s", h.id, strerror(errno));
}

static void op_unmap_page(void)
{
	if (holding == 0)
		return;
	int i = (int)choose(holding);
	struct held *h = &held[i];
	unsigned page = choose(pages_of(h->size));
	/* In a hole something else may lie by now. */
	if (!(h->pages >> page & 1))
		return;
	if (munmap(h->base + (size_t)page * PAGE, PAGE) < 0) {
		complain("unmapping page %u of %d: %s", page, h->id, strerror(errno));
		return;
	}
	h->pages &= ~(1u << page);
	if (h->pages == 0)
		put_down(i);
	else
		see_all(h);
}

static void op_move(void)
{
	if (holding == 0)
		return;
	struct held *h = &held[choose(holding)];
	if (h->pages != (uint32_t)((1ull << pages_of(h->size)) - 1))
		return;
	size_t size = (size_t)pages_of(h->size) * PAGE;
	unsigned char *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (place == MAP_FAILED)
		return;
	if (mremap(h->base, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, place) != place)
		complain("moving %d: %s", h->id, strerror(errno));
	else
		h->base = place;
	see_all(h);
}

static void op_ask(void)
{
	struct shmid_ds d;
	int id = find_some();
	if (id >= 0 && shmctl(id, IPC_STAT, &d) < 0 && !gone(errno) && !closed(errno))
		complain("IPC_STAT of %d: %s", id, strerror(errno));
}

static void op_set(void)
{
	struct shmid_ds d;
	int id = find_some();
	if (id < 0 || shmctl(id, IPC_STAT, &d) < 0)
		return;
	d.shm_perm.mode = 0600 | (soak->system ? 066 * choose(2) : choose(0100));
	if (shmctl(id, IPC_SET, &d) < 0 && !gone(errno) && !closed(errno))
		complain("IPC_SET of %d: %s", id, strerror(errno));
}

static void op_lock(void)
{
	int id = find_some();
	int command = choose(2) ? SHM_LOCK : SHM_UNLOCK;
	/* Others than root may lock little. */
	if (id >= 0 && shmctl(id, command, NULL) < 0 && !gone(errno) && errno != EPERM && errno != ENOMEM)
		complain("locking %d: %s", id, strerror(errno));
}

static void op_remove(void)
{
	int id = find_some();
	if (id < 0)
		return;
	ledger_put(id, REMOVING);
	if (shmctl(id, IPC_RMID, NULL) == 0)
		ledger_put(id, REMOVED);
	else if (!gone(errno) && !closed(errno))
		complain("removing %d: %s", id, strerror(errno));
}

static void op_list(void)
{
	static struct sight list[1024];
	int count = read_list(list, 1024);
	if (count < 0)
		complain("the list: %s", strerror(errno));
	for (int i = 0; i < count && i < 1024; i++)
		if (list[i].size < 64 || list[i].size > MOST_PAGES * PAGE)
			complain("the list shows segment %d of %zu bytes", list[i].id, list[i].size);
}

static void op_life(void)
{
	int id = shmget(IPC_PRIVATE, 3 * PAGE, 0600);
	if (id < 0) {
		complain("making one's own: %s", strerror(errno));
		return;
	}
	ledger_given(id);
	unsigned char *at = shmat(id, NULL, 0);
	if (at == (void *)-1) {
		/* Others may find it and remove it. */
		if (!gone(errno))
			complain("attaching one's own: %s", strerror(errno));
		return;
	}
	for (unsigned page = 0; page < 3; page++)
		look_at_page(id, 3 * PAGE, page, at + page * PAGE, true);
	ledger_put(id, REMOVING);
	if (shmctl(id, IPC_RMID, NULL) < 0)
		complain("removing one's own: %s", strerror(errno));
	ledger_put(id, REMOVED);
	if (shmdt(at) < 0)
		complain("detaching one's own: %s", strerror(errno));
}

/* --- threads and processes */

static void *live_a_few_lives(void *times)
{
	for (long i = (long)times; i > 0; i--)
		op_life();
	return NULL;
}

/* The number that the next descriptor gets, as long as nobody has one open for the duration of a call. */
static int next_descriptor(void)
{
	int fd = dup(STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return fd;
}
static int next_of_children;

/* Fork and call wait so long for each other, and then go on: README, "For the duration of a call". A thread that gets no
   processor on a busy machine, or is stopped, can use that up. */
enum { WAITS_AT_LEAST = 200 };
static void *fork_a_few_times(void *times)
{
	for (long i = (long)times; i > 0; i--) {
		int status;
		long began = milliseconds();
		pid_t child = fork();
		if (child == 0)
			_exit(next_of_children >= 0 && milliseconds() - began < WAITS_AT_LEAST &&
			      next_descriptor() != next_of_children);
		if (child < 0 || waitpid(child, &status, 0) != child)
			complain("a child that a thread has forked: %s", strerror(errno));
		else if (status != 0)
			complain("a child that a thread has forked has one more descriptor");
	}
	return NULL;
}

/* One thread forks in the middle of another's operations. */
static void op_threads(void)
{
	pthread_t thread[2];
	/* A fork that a program's first call among threads overtakes is not known of. */
	static bool had_threads;
	next_of_children = had_threads ? next_descriptor() : -1;
	had_threads = true;
	if (pthread_create(&thread[0], NULL, live_a_few_lives, (void *)6l) != 0 ||
	    pthread_create(&thread[1], NULL, fork_a_few_times, (void *)2l) != 0)
		fatal("pthread_create");
	op_life();
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
}

/* Another program, by way of vfork. */
static void op_spawn(void)
{
	pid_t child;
	int status;
	char *arguments[] = { "true", NULL }, *environment[] = { NULL };
	if (posix_spawn(&child, "/bin/true", NULL, NULL, arguments, environment) != 0 ||
	    waitpid(child, &status, 0) != child || status != 0)
		complain("a program that is spawned: %s", strerror(errno));
}

/* No handler runs: the child is noticed at its first call. */
static void op_clone(void)
{
	int status;
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0) {
		op_ask();
		_exit(holding > 0 && shmdt(held[0].base) < 0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		complain("a child of a raw clone: %s", strerror(errno));
}

static void run_again(void)
{
	char text[20];
	snprintf(text, sizeof text, "%d", here);
	execl("/proc/self/exe", "soak", "--member", text, (char *)NULL);
	_exit(99);
}

static void leave(void)
{
	switch (choose(3)) {
	case 0: exit(0);
	case 1: _exit(0);
	default: kill(getpid(), SIGKILL);
	}
}

static void op_exec(void)
{
	if (is_worker && choose(10) == 0)
		run_again();
}

static void op_leave(void)
{
	if (is_worker && choose(10) == 0)
		leave();
}

static void reap(void)
{
	siginfo_t info;
	int status;
	/* A place is free before its process's number is: nobody kills another by mistake. */
	while (info.si_pid = 0, waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
		pid_t pid = info.si_pid;
		for (int i = 0; i < MEMBERS; i++)
			if (soak->member[i].pid == pid)
				soak->member[i].pid = 0;
		if (waitpid(pid, &status, 0) == pid && !(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
		    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
			complain("a child has ended with %#x", status);
	}
}

static void steps(long count);

static void op_fork(void)
{
	for (int place = WORKERS; place < MEMBERS; place++) {
		struct member *member = &soak->member[place];
		pid_t none = 0;
		if (!atomic_compare_exchange_strong(&member->pid, &none, -1))
			continue;
		member->parent = here;
		member->killed = false;
		member->resting = 0;
		member->uid = soak->member[here].uid;
		member->seed = soak->member[here].seed * 31 + (unsigned)place;
		pid_t child = fork();
		if (child < 0) {
			complain("fork: %s", strerror(errno));
			member->pid = 0;
		}
		if (child == 0) {
			here = place;
			is_worker = false;
			member->pid = getpid();
			for (int i = 0; i < holding; i++)
				see_all(&held[i]);
			steps(1 + choose(80));
			if (choose(4) == 0)
				run_again();
			leave();
		}
		return;
	}
}

#define OPERATIONS(X)                                                                                                  \
	X(private, 8) X(keyed, 10) X(find, 6) X(attach, 16) X(attach_readonly, 6) X(attach_fixed, 6) X(attach_over, 2) \
	X(detach, 22) X(unmap_page, 5) X(move, 2) X(ask, 8) X(set, 4) X(lock, 3) X(remove, 10) X(list, 2) X(life, 6)   \
	X(threads, 1) X(spawn, 1) X(clone, 1) X(fork, 3) X(exec, 1) X(leave, 1)
static const struct { void (*act)(void); unsigned weight; } operations[] = {
#define ROW(name, weight) { op_##name, weight },
	OPERATIONS(ROW)
};
const char *const operation_names[] = {
#define NAME(name, weight) #name,
	OPERATIONS(NAME)
};
const int operation_count = sizeof operations / sizeof *operations;

/* Members whose conductor was killed must not go on for ever. */
static void follow_the_conductor(void)
{
	if (kill(soak->conductor, 0) < 0 && errno == ESRCH)
		_exit(0);
}

static void rest(void)
{
	struct member *me = &soak->member[here];
	unsigned pause = atomic_load(&soak->pause);
	if (pause & 1) {
		me->resting = pause;
		while (atomic_load(&soak->pause) == pause) {
			usleep(2000);
			follow_the_conductor();
		}
	}
}

static void steps(long count)
{
	struct member *me = &soak->member[here];
	unsigned all = 0;
	for (int i = 0; i < operation_count; i++)
		all += operations[i].weight;
	while (count-- != 0) {
		me->doing = -1;
		rest();
		if (count % 64 == 0)
			follow_the_conductor();
		if (atomic_load(&soak->over))
			leave();
		reap();
		int which = 0;
		for (unsigned at = choose(all); at >= operations[which].weight; which++)
			at -= operations[which].weight;
		me->doing = which;
		operations[which].act();
		atomic_fetch_add(&soak->operations[which], 1);
	}
}

/* A segment's memory is gone under a member's eyes, or the library has lost its way. */
static void struck(int signal, siginfo_t *info, void *context)
{
	int doing = soak->member[here].doing;
	(void)context;
	complain("a member is struck by signal %d at %p while it does: %s", signal, info->si_addr,
		 doing < 0 ? "nothing" : operation_names[doing]);
	for (int i = 0; i < holding; i++)
		if ((unsigned char *)info->si_addr >= held[i].base &&
		    (unsigned char *)info->si_addr < held[i].base + (size_t)pages_of(held[i].size) * PAGE)
			complain("... in segment %d of %zu bytes at %p, pages %#x", held[i].id, held[i].size,
				 (void *)held[i].base, held[i].pages);
	_exit(1);
}

uid_t uid_of(int worker) { return soak->system ? (uid_t[]){ 54001, 54002, 0 }[worker % 3] : geteuid(); }

void member_run(int place)
{
	struct member *me = &soak->member[place];
	here = place;
	is_worker = place < WORKERS;
	holding = 0;
	me->pid = getpid();
	prctl(PR_SET_DUMPABLE, 1);
	/* Half of them have some. */
	if (place % 2 == 0) {
		struct sigaction action = { .sa_sigaction = struck, .sa_flags = SA_SIGINFO };
		sigaction(SIGSEGV, &action, NULL);
		sigaction(SIGBUS, &action, NULL);
	}
	steps(is_worker ? -1 : 10);
	leave();
	_exit(0);
}
