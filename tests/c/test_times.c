/*
 * Which operation changes atime, dtime, ctime and lpid. All segments of a test
 * are prepared, used by another process, then a second passes once, and then
 * every operation is done on a segment of its own.
 */
#include "shmtest.h"
#include <pthread.h>

enum { A = 1, D = 2, C = 4, L = 8 };
#define ROOM 0x1000000

struct seg { int id; char *p; struct shmid_ds before; };
struct op {
	const char *what;
	void (*act)(struct seg *);
	int changes;
	bool attached; /* by us, beforehand: three pages at s->p */
};

static void get_existing(struct seg *s) { MUST(shmget(s->before.shm_perm.__key, 0, 0)); }
static void get_refused(struct seg *s)
{
	TEST_ERRNO(shmget(s->before.shm_perm.__key, 1, IPC_CREAT | IPC_EXCL), EEXIST);
}
static void stat_it(struct seg *s)
{
	struct shmid_ds d;
	MUST(shmctl(s->id, IPC_STAT, &d));
	MUST(shmctl(s->id, SHM_STAT, &d));
	MUST(shmctl(s->id, SHM_STAT_ANY, &d));
}
static void inform(struct seg *s)
{
	char buf[256];
	MUST(shmctl(s->id, SHM_INFO, (struct shmid_ds *)buf));
	MUST(shmctl(s->id, IPC_INFO, (struct shmid_ds *)buf));
}
static void lock(struct seg *s)
{
	TEST_SUCC(shmctl(s->id, SHM_LOCK, NULL));
	TEST_SUCC(shmctl(s->id, SHM_UNLOCK, NULL));
}
static void use(struct seg *s) { memset(s->p, 1, 3 * PAGE); }
static void attach_it(struct seg *s) { attach(s->id); }
static void attach_read_only(struct seg *s) { MUST(shmat(s->id, NULL, SHM_RDONLY)); }
static void attach_badly(struct seg *s)
{
	TEST_ERRNO(shmat(s->id, s->p, 0), EINVAL);
	TEST_ERRNO(shmat(s->id, NULL, SHM_REMAP), EINVAL);
	TEST_ERRNO(shmat(s->id, KERNEL_ADDRESS, 0), ENOMEM);
}
static void detach(struct seg *s) { MUST(shmdt(s->p)); }
static void detach_badly(struct seg *s) { TEST_ERRNO(shmdt(s->p + PAGE), EINVAL); }
static void set(struct seg *s) { MUST(shmctl(s->id, IPC_SET, &s->before)); }
static void set_badly(struct seg *s)
{
	struct shmid_ds d = s->before;
	d.shm_perm.uid = -1;
	TEST_ERRNO(shmctl(s->id, IPC_SET, &d), EINVAL);
}
static void remove_it(struct seg *s) { MUST(shmctl(s->id, IPC_RMID, NULL)); }
static void unmap_all(struct seg *s) { MUST(munmap(s->p, 3 * PAGE)); }
static void unmap_first(struct seg *s) { MUST(munmap(s->p, PAGE)); }
static void unmap_middle(struct seg *s) { MUST(munmap(s->p + PAGE, PAGE)); }
static void unmap_last(struct seg *s) { MUST(munmap(s->p + 2 * PAGE, PAGE)); }
static void cover(char *at, size_t len)
{
	MUST(mmap(at, len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}
static void cover_all(struct seg *s) { cover(s->p, 3 * PAGE); }
static void cover_first(struct seg *s) { cover(s->p, PAGE); }
static void cover_middle(struct seg *s) { cover(s->p + PAGE, PAGE); }
static void move(struct seg *s)
{
	MUST(mremap(s->p, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, s->p + ROOM / 2));
}
static void shrink(struct seg *s) { MUST(mremap(s->p, 3 * PAGE, PAGE, 0)); }
static void shrink_what_lies_before(struct seg *s)
{
	char *before = mmap(s->p - PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	REQUIRE(before == s->p - PAGE);
	MUST(mremap(before, 4 * PAGE, PAGE, 0));
}
static void second_view(struct seg *s) { MUST(mremap(s->p, 0, 3 * PAGE, MREMAP_MAYMOVE)); }
static void remap_over_itself(struct seg *s) { MUST(shmat(s->id, s->p, SHM_REMAP)); }
static void exit_with_it(struct seg *s)
{
	/* Not by fork, which would change the other segments. */
	pid_t pid = vfork();
	if (pid == 0)
		_exit(0);
	REAP(pid);
	(void)s;
}

static const struct op ops[] = {
	{ "shmget of an existing key", get_existing, 0, false },
	{ "shmget that fails", get_refused, 0, false },
	{ "IPC_STAT, SHM_STAT, SHM_STAT_ANY", stat_it, 0, true },
	{ "IPC_INFO, SHM_INFO", inform, 0, true },
	{ "SHM_LOCK, SHM_UNLOCK", lock, 0, true },
	{ "using the memory", use, 0, true },
	{ "shmat", attach_it, A | L, false },
	{ "shmat, attached already", attach_it, A | L, true },
	{ "shmat with SHM_RDONLY", attach_read_only, A | L, false },
	{ "shmat that fails", attach_badly, 0, true },
	{ "shmdt", detach, D | L, true },
	{ "shmdt that fails", detach_badly, 0, true },
	{ "IPC_SET", set, C, false },
	{ "IPC_SET, attached", set, C, true },
	{ "IPC_SET that fails", set_badly, 0, true },
	{ "IPC_RMID, attached", remove_it, 0, true },
	{ "munmap of all", unmap_all, D | L, true },
	{ "munmap of the first page", unmap_first, A | D | L, true },
	{ "munmap of the middle page", unmap_middle, A | D | L, true },
	{ "munmap of the last page", unmap_last, A | D | L, true },
	{ "mmap over all", cover_all, D | L, true },
	{ "mmap over the first page", cover_first, A | D | L, true },
	{ "mmap over the middle page", cover_middle, A | D | L, true },
	{ "mremap that moves", move, A | D | L, true },
	{ "mremap that shrinks", shrink, A | D | L, true },
	{ "mremap that shrinks what lies before it", shrink_what_lies_before, D | L, true },
	{ "mremap from size 0", second_view, A | L, true },
	{ "SHM_REMAP over itself", remap_over_itself, A | D | L, true },
	{ "vfork and _exit", exit_with_it, 0, true },
};
enum { OPS = sizeof ops / sizeof *ops };

static void check_time(const char *what, const char *field, long long was, long long is, bool changes,
		       time_t from, time_t to)
{
	COUNT_CHECK();
	if (changes ? is < from || is > to : is != was)
		FAIL("%s: %s was %lld, is %lld, expected %s (%lld..%lld)", what, field, was, is,
		     changes ? "now" : "no change", (long long)from, (long long)to);
}

static void check_changes(const char *what, const struct shmid_ds *was, int id, int changes, pid_t lpid,
			  time_t from, time_t to)
{
	struct shmid_ds is;
	if (shmctl(id, SHM_STAT_ANY, &is) < 0)
		FATAL("%s: the segment is gone", what);
	check_time(what, "atime", was->shm_atime, is.shm_atime, changes & A, from, to);
	check_time(what, "dtime", was->shm_dtime, is.shm_dtime, changes & D, from, to);
	check_time(what, "ctime", was->shm_ctime, is.shm_ctime, changes & C, from, to);
	COUNT_CHECK();
	if (is.shm_lpid != (changes & L ? lpid : was->shm_lpid))
		FAIL("%s: lpid was %d, is %d, we are %d, expected %s", what, was->shm_lpid, is.shm_lpid,
		     getpid(), changes & L ? "ours" : "no change");
	CHECK_EQ(is.shm_cpid, was->shm_cpid);
}

/* Another process is the last that used it, so that a change of lpid shows. */
static void use_by_another(const struct seg *seg, int n)
{
	IN_CHILD
		for (int i = 0; i < n; i++)
			MUST(shmdt(attach(seg[i].id)));
}

TEST(each_operation_changes_its_own_times_and_no_others)
{
	struct seg seg[OPS];
	for (int i = 0; i < OPS; i++) {
		seg[i].id = MUST(shmget(100 + i, 3 * PAGE, IPC_CREAT | 0600));
		seg[i].p = FREE_AREA + i * ROOM;
		if (ops[i].attached)
			attach_at(seg[i].id, seg[i].p);
	}
	use_by_another(seg, OPS);
	for (int i = 0; i < OPS; i++) {
		seg[i].before = stat_of(seg[i].id);
		CHECK(seg[i].before.shm_lpid != getpid() && seg[i].before.shm_lpid != 0);
	}
	next_second();
	for (int i = 0; i < OPS; i++) {
		time_t from = time(NULL);
		ops[i].act(&seg[i]);
		check_changes(ops[i].what, &seg[i].before, seg[i].id, ops[i].changes, getpid(), from, time(NULL));
	}
}

TEST(one_call_over_two_segments_changes_both)
{
	struct seg s[3];
	for (int i = 0; i < 3; i++) {
		s[i].id = new_segment(3 * PAGE);
		attach_at(s[i].id, FREE_AREA + i * 3 * PAGE);
	}
	use_by_another(s, 3);
	for (int i = 0; i < 3; i++)
		s[i].before = stat_of(s[i].id);
	next_second();
	time_t from = time(NULL);
	MUST(munmap(FREE_AREA + PAGE, 5 * PAGE)); /* the first loses its end, the second all */
	time_t to = time(NULL);
	check_changes("cut", &s[0].before, s[0].id, A | D | L, getpid(), from, to);
	check_changes("unmapped", &s[1].before, s[1].id, D | L, getpid(), from, to);
	check_changes("not touched", &s[2].before, s[2].id, 0, getpid(), from, to);
}

TEST(fork_attaches_for_the_parent_and_exit_detaches_for_the_child)
{
	struct seg s = { .id = new_segment(3 * PAGE), .p = FREE_AREA };
	struct gate go = gate_make();
	attach_at(s.id, s.p);
	use_by_another(&s, 1);
	s.before = stat_of(s.id);
	next_second();
	time_t from = time(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		gate_wait(&go);
		_exit(0);
	}
	check_changes("fork", &s.before, s.id, A | L, getpid(), from, time(NULL));
	s.before = stat_of(s.id);
	CHECK_EQ(s.before.shm_nattch, 2);
	next_second();
	from = time(NULL);
	gate_open(&go);
	REAP(pid);
	check_changes("exit", &s.before, s.id, D | L, pid, from, time(NULL));
	CHECK_EQ(stat_of(s.id).shm_nattch, 1);
}

TEST(exec_and_a_killing_signal_detach_for_the_process)
{
	struct seg s[2];
	pid_t pid[2];
	struct gate go = gate_make(), ready = gate_make();
	for (int i = 0; i < 2; i++)
		s[i].id = new_segment(3 * PAGE);
	for (int i = 0; i < 2; i++)
		if ((pid[i] = fork()) == 0) {
			attach(s[i].id);
			gate_open(&ready);
			gate_wait(&go);
			if (i == 0)
				execl("/bin/true", "true", NULL);
			kill(getpid(), SIGKILL);
			_exit(1);
		}
	for (int i = 0; i < 2; i++)
		gate_wait(&ready);
	for (int i = 0; i < 2; i++)
		s[i].before = stat_of(s[i].id);
	next_second();
	time_t from = time(NULL);
	gate_open(&go), gate_open(&go);
	REAP(pid[0]);
	CHECK(WIFSIGNALED(wait_for(pid[1])));
	check_changes("exec", &s[0].before, s[0].id, D | L, pid[0], from, time(NULL));
	check_changes("kill", &s[1].before, s[1].id, D | L, pid[1], from, time(NULL));
}

static void *create_and_attach(void *id)
{
	*(int *)id = new_segment(PAGE);
	attach(*(int *)id);
	return NULL;
}

TEST(pids_are_those_of_processes_not_of_threads)
{
	int id = -1;
	pthread_t thread;
	REQUIRE(pthread_create(&thread, NULL, create_and_attach, &id) == 0);
	REQUIRE(pthread_join(thread, NULL) == 0);
	struct shmid_ds d = stat_of(id);
	CHECK_EQ(d.shm_cpid, getpid());
	CHECK_EQ(d.shm_lpid, getpid());
	CHECK_EQ(d.shm_nattch, 1);
	IN_CHILD {
		attach(id);
		CHECK_EQ(stat_of(id).shm_lpid, getpid());
		CHECK_EQ(stat_of(id).shm_cpid, getppid());
	}
}
