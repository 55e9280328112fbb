/* The segment that was attached last, attached once more: it is that segment still, or it is refused. */
#include "filter.h"
#include "refusals.h"

/* Attaches, which must show `text`, and detaches. */
static void shows(int id, const char *text, int flags)
{
	char *p = shmat(id, NULL, flags);
	COUNT_CHECK();
	if (p == (char *)-1)
		FATAL("attach: %s", errno_name(errno));
	if (strcmp(p, text) != 0)
		FAIL("\"%s\" is to be seen, and not \"%s\"", p, text);
	REQUIRE(shmdt(p) == 0);
}

static int segment_with(key_t key, size_t bytes, const char *text)
{
	int id = MUST(shmget(key, bytes, IPC_CREAT | 0600));
	char *p = attach(id);
	strcpy(p, text);
	MUST(shmdt(p));
	return id;
}

TEST(it_is_the_same_whichever_was_attached_between)
{
	int a = segment_with(0xaa0, PAGE, "a"), b = segment_with(0xaa1, 3 * PAGE, "b"), c = segment_with(IPC_PRIVATE, PAGE, "c");
	for (int i = 0; i < 3; i++) {
		shows(a, "a", 0);
		shows(a, "a", SHM_RDONLY);
		shows(a, "a", 0);
		shows(b, "b", i % 2 ? SHM_RDONLY : 0);
		shows(c, "c", 0);
		shows(c, "c", 0);
		char *p = attach(a), *q = attach(a);
		CHECK(p != q);
		CHECK_EQ(nattch_of(a), 2);
		TEST_SUCC(shmdt(p));
		TEST_SUCC(shmdt(q));
		q = MUST(shmat(c, FREE_AREA, 0));
		q = MUST(shmat(c, FREE_AREA, SHM_REMAP));
		CHECK_STR(q, "c");
		CHECK_EQ(nattch_of(c), 1);
		TEST_SUCC(shmdt(q));
	}
	/* Read only is read only, whatever it was before. */
	char *p = MUST(shmat(c, NULL, SHM_RDONLY));
	TEST_ERRNO(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
	TEST_SUCC(shmdt(p));
}

TEST(it_is_gone_when_it_is_gone)
{
	int id = segment_with(0xaa2, PAGE, "first");
	char *p = attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	shows(id, "first", 0); /* marked, and there as long as somebody has it */
	MUST(shmdt(p));
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
	int next = segment_with(0xaa2, PAGE, "second");
	CHECK(next != id);
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
	shows(next, "second", 0);
}

TEST(it_may_be_refused_and_no_descriptor_is_left)
{
	int id = segment_with(0xaa3, PAGE, "x");
	static struct fds before, after;
	char *p = MUST(shmat(id, FREE_AREA, 0));
	fds_now(&before);
	for (int i = 0; i < 3; i++) {
		TEST_ERRNO(shmat(id, FREE_AREA, 0), EINVAL); /* taken */
		TEST_ERRNO(shmat(id, FREE_AREA + 1, 0), EINVAL);
		shows(id, "x", 0);
	}
	fds_now(&after);
	CHECK(memcmp(&before, &after, sizeof before) == 0);
	TEST_SUCC(shmdt(p));
}

TEST(rights_that_were_taken_meanwhile_count)
{
	int id = segment_with(0xaa4, PAGE, "x");
	drop_cap(CAP_IPC_OWNER);
	shows(id, "x", 0);
	struct shmid_ds d = stat_of(id);
	d.shm_perm.mode = 0400;
	MUST(shmctl(id, IPC_SET, &d));
	TEST_ERRNO(shmat(id, NULL, 0), EACCES);
	shows(id, "x", SHM_RDONLY);
	TEST_ERRNO(shmat(id, NULL, 0), EACCES);
	d.shm_perm.mode = 0600;
	MUST(shmctl(id, IPC_SET, &d));
	shows(id, "x", 0);
}

TEST(a_child_has_its_own)
{
	int a = segment_with(0xaa5, PAGE, "a"), b = segment_with(0xaa6, PAGE, "b");
	shows(a, "a", 0);
	IN_CHILD {
		shows(a, "a", 0);
		shows(b, "b", 0);
		shows(b, "b", 0);
		IN_CHILD shows(b, "b", 0);
		shows(a, "a", 0);
	}
	shows(a, "a", 0);
	CHECK_EQ(nattch_of(a) + nattch_of(b), 0);
}

enum { THREADS = 4, TURNS = 20000 };
static int own_id[THREADS];
static void *attaches_its_own(void *arg)
{
	char text[2] = { (char)('a' + (int)(intptr_t)arg), 0 };
	for (int i = 0; i < TURNS / THREADS; i++)
		shows(own_id[(intptr_t)arg], text, 0);
	return NULL;
}

TEST(each_of_several_threads_gets_the_one_it_asks_for)
{
	pthread_t t[THREADS];
	for (intptr_t i = 0; i < THREADS; i++)
		own_id[i] = segment_with(0xab0 + (int)i, PAGE, (char[2]){ (char)('a' + i), 0 });
	for (intptr_t i = 0; i < THREADS; i++)
		thread_start(&t[i], attaches_its_own, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < THREADS; i++)
		CHECK_EQ(nattch_of(own_id[i]), 0);
}

/* What goes wrong here goes wrong once in 100,000 turns; the kernel's are slow, when there are two. */
static int turns_of_two(void) { return (under_shim() ? 10 * TURNS : TURNS) / (getenv("SHMTEST_SLOW") ? 100 : 1); }

static int shares_memory(void *id)
{
	for (int i = turns_of_two(); i > 0; i--)
		shows(*(int *)id, "b", 0);
	return 0;
}

TEST(so_does_a_process_that_shares_the_memory)
{
	static _Alignas(64) char stack[256 * 1024];
	int a = segment_with(0xab8, PAGE, "a"), b = segment_with(0xab9, PAGE, "b");
	pid_t pid = MUST(clone(shares_memory, stack + sizeof stack, CLONE_VM | SIGCHLD, &b));
	for (int i = turns_of_two(); i > 0; i--)
		shows(a, "a", 0);
	REAP(pid);
	CHECK_EQ(nattch_of(a) + nattch_of(b), 0);
}

/* ------------------------------------------------- what only the shim has */

TEST(a_program_that_may_not_move_memory_attaches_all_the_same)
{
	struct filter f = filter_new();
	filter_rule(&f, SYS_mremap, REFUSE_WITH(EPERM));
	filter_install(&f, SECCOMP_RET_ALLOW);
	int id = segment_with(0xab6, PAGE, "x");
	shows(id, "x", 0);
	shows(id, "x", 0);
}

TEST(a_program_that_dies_of_moving_memory_does_not)
{
	struct filter f = filter_new();
	filter_rule(&f, SYS_mremap, SECCOMP_RET_KILL_PROCESS);
	filter_install(&f, SECCOMP_RET_ALLOW);
	int id = segment_with(0xab7, PAGE, "x");
	shows(id, "x", 0);
	shows(id, "x", 0);
}

TEST(a_table_that_was_cut_meanwhile_is_noticed)
{
	SHIM_ONLY();
	const long lengths[] = { 0, 1, PAGE, -PAGE, -1 }; /* or so much less */
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		char *base = own_base();
		IN_CHILD {
			use_base(base, "user");
			int id = segment_with(0xab3, PAGE, "x");
			shows(id, "x", 0);
			off_t size = place_of(in_runtime_dir("registry")).size;
			MUST(truncate(in_runtime_dir("registry"), lengths[i] < 0 ? size + lengths[i] : lengths[i]));
			if (lengths[i] != -1) {
				TEST_ERRNO(shmat(id, NULL, 0), EACCES);
				TEST_ERRNO(shmat(id, NULL, SHM_RDONLY), EACCES);
			} else {
				shows(id, "x", 0); /* the page is there, but not the byte that the path begins with */
			}
			_exit(0); /* and not through what it would look up at its end */
		}
	}
}

TEST(a_file_that_was_exchanged_meanwhile_is_not_attached)
{
	SHIM_ONLY();
	int id = segment_with(0xab4, 2 * PAGE, "x");
	const char *file = segment_file(0xab4, id), *aside = in_runtime_dir("ns.aside");
	for (int i = 0; i < 4; i++) {
		shows(id, "x", 0);
		MUST(rename(file, aside));
		if (i == 0)
			MUST(symlink(aside, file));
		else if (i == 1)
			MUST(mkfifo(file, 0600));
		else if (i == 2)
			MUST(mkdir(file, 0700));
		else
			close(MUST(open(file, O_CREAT | O_EXCL | O_WRONLY, 0600)));
		char *p = shmat(id, NULL, 0);
		int err = errno;
		COUNT_CHECK();
		if (p != (char *)-1 || err != EACCES)
			FAIL("exchange %d: %p, %s", i, p, errno_name(err));
		remove(file);
		MUST(rename(aside, file));
	}
	shows(id, "x", 0);
	/* Without its file the segment counts as removed, and a file that comes back later is nobody's. */
	MUST(rename(file, aside));
	TEST_ERRNO(shmat(id, NULL, 0), EIDRM);
	TEST_ERRNO(shmget(0xab4, 0, 0), ENOENT);
	MUST(rename(aside, file));
	TEST_ERRNO(shmat(id, NULL, 0), EINVAL);
}

TEST(a_base_that_is_not_absolute_is_as_good)
{
	SHIM_ONLY();
	MUST(chdir(own_base()));
	setenv("SHMSHIM_DIR", ".", 1);
	int id = segment_with(0xab5, PAGE, "x");
	shows(id, "x", 0);
	MUST(chdir("/"));
	shows(id, "x", 0);
}
