/*
 * The memory of an attach: what is in it, how long it is, who sees it, and
 * what may be done to it.
 */
#include "shmtest.h"
#include <sys/personality.h>

/* The permissions column of /proc/self/maps for the mapping that starts here. */
static const char *perms_at(const void *p)
{
	static char perms[8];
	char line[512];
	unsigned long from;
	FILE *f = fopen("/proc/self/maps", "r");
	strcpy(perms, "none");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%lx-", &from) == 1 && from == (unsigned long)p) {
			sscanf(line, "%*s %7s", perms);
			break;
		}
	if (f)
		fclose(f);
	return perms;
}

TEST(a_new_segment_is_zero_to_the_end_of_its_last_page)
{
	size_t sizes[] = { 1, PAGE - 1, PAGE, PAGE + 1, IN_TWO_PAGES, 100000 };
	for (int i = 0; i < 6; i++) {
		char *p = attach(new_segment(sizes[i]));
		size_t len = (sizes[i] + PAGE - 1) / PAGE * PAGE, set = 0;
		for (size_t j = 0; j < len; j++)
			set += p[j] != 0;
		CHECK_EQ(set, 0);
	}
}

TEST(the_last_page_is_usable_to_its_end_and_keeps_what_was_written)
{
	int id = new_segment(IN_TWO_PAGES);
	char *p = attach(id);
	memset(p, 'x', 2 * PAGE);
	MUST(shmdt(p));
	p = attach(id);
	CHECK_EQ(p[IN_TWO_PAGES - 1], 'x');
	CHECK_EQ(p[IN_TWO_PAGES], 'x');
	CHECK_EQ(p[2 * PAGE - 1], 'x');
}

TEST(the_byte_behind_the_last_page_is_not_mapped)
{
	attach_at(new_segment(IN_TWO_PAGES), FREE_AREA);
	CHECK(WRITABLE(FREE_AREA + 2 * PAGE - 1));
	CHECK_EQ(touch(FREE_AREA + 2 * PAGE, false), SIGSEGV);
	CHECK_EQ(touch(FREE_AREA - 1, false), SIGSEGV);
	attach_at(new_segment(1), FREE_AREA + 2 * PAGE);
	CHECK(WRITABLE(FREE_AREA + 2 * PAGE));
	CHECK_EQ(touch(FREE_AREA + 3 * PAGE, false), SIGSEGV);
}

TEST(all_views_of_a_segment_are_one_memory)
{
	int id = new_segment(3 * PAGE);
	char *a = attach(id), *b = attach(id);
	char *r = (char *)MUST(shmat(id, NULL, SHM_RDONLY));
	CHECK(a != b);
	a[10] = 1, b[2 * PAGE] = 2;
	CHECK_EQ(b[10], 1);
	CHECK_EQ(a[2 * PAGE], 2);
	CHECK_EQ(r[10], 1);
	IN_CHILD {
		char *c = attach(id);
		CHECK_EQ(c[2 * PAGE], 2);
		c[20] = 3;
		a[21] = 4;
	}
	CHECK_EQ(b[20], 3);
	CHECK_EQ(r[21], 4);
}

TEST(processes_see_each_others_writes_while_they_run)
{
	struct gate there = gate_make(), back = gate_make();
	int id = MUST(shmget(0x51, PAGE, IPC_CREAT | 0600));
	pid_t pid = fork();
	if (pid == 0) {
		volatile int *p = (int *)attach(MUST(shmget(0x51, 0, 0600)));
		for (int i = 0; i < 100; i++) {
			gate_wait(&there);
			CHECK_EQ(p[0], i);
			p[1] = i * i;
			gate_open(&back);
		}
		_exit(0);
	}
	volatile int *p = (int *)attach(id);
	for (int i = 0; i < 100; i++) {
		p[0] = i;
		gate_open(&there);
		gate_wait(&back);
		CHECK_EQ(p[1], i * i);
	}
	REAP(pid);
}

TEST(contents_stay_when_no_process_is_left)
{
	IN_CHILD {
		int id = MUST(shmget(0x52, 100000, IPC_CREAT | 0600));
		char *p = attach(id);
		for (int i = 0; i < 100000; i++)
			p[i] = (char)(i * 7);
	}
	IN_CHILD {
		char *p = attach(MUST(shmget(0x52, 100000, 0)));
		int wrong = 0;
		for (int i = 0; i < 100000; i++)
			wrong += p[i] != (char)(i * 7);
		CHECK_EQ(wrong, 0);
	}
}

TEST(a_segment_made_after_a_removal_has_none_of_the_old_contents)
{
	for (int round = 0; round < 70; round++) {
		int id = MUST(shmget(0x53, 2 * PAGE, IPC_CREAT | IPC_EXCL | 0600));
		char *p = attach(id);
		for (size_t i = 0; i < 2 * PAGE; i += 64)
			CHECK_EQ(p[i], 0);
		memset(p, 'x', 2 * PAGE);
		MUST(shmdt(p));
		MUST(shmctl(id, IPC_RMID, NULL));
	}
}

TEST(only_touched_pages_of_a_large_segment_cost_memory)
{
	const size_t large = sizeof(long) == 8 ? POW2(33) : POW2(29);
	int id = MUST(shmget(IPC_PRIVATE, large, SHM_NORESERVE | 0600));
	char *p = attach(id);
	p[0] = 1, p[large - 1] = 2, p[large / 2] = 3;
	struct shm_info info;
	MUST(shmctl(0, SHM_INFO, (struct shmid_ds *)&info));
	CHECK_EQ(info.shm_tot, large / PAGE);
	CHECK(info.shm_rss <= 3 * 512); /* the pages may be huge ones */
	char *q = attach(id);
	CHECK_EQ(q[0] + q[large - 1] + q[large / 2], 6);
}

TEST(a_read_only_attach_cannot_be_written_by_anyone)
{
	int id = new_segment(PAGE);
	char *p = (char *)MUST(shmat(id, NULL, SHM_RDONLY));
	CHECK(READABLE(p));
	CHECK_EQ(touch(p, true), SIGSEGV);
	int fd = MUST(open("/dev/zero", O_RDONLY));
	TEST_ERRNO(read(fd, p, 10), EFAULT);
	TEST_ERRNO(mprotect(p, PAGE, PROT_READ | PROT_WRITE), EACCES);
	TEST_SUCC(mprotect(p, PAGE, PROT_NONE));
	CHECK_EQ(touch(p, false), SIGSEGV);
	TEST_SUCC(mprotect(p, PAGE, PROT_READ));
	CHECK(READABLE(p));
}

TEST(system_calls_read_and_write_an_attach_like_other_memory)
{
	int id = new_segment(PAGE);
	char *p = attach(id), *r = (char *)MUST(shmat(id, NULL, SHM_RDONLY)), text[8] = "";
	int fd[2];
	MUST(pipe(fd));
	strcpy(p, "segment");
	TEST_RES(write(fd[1], r, 8), _ret == 8);
	TEST_RES(read(fd[0], text, 8), _ret == 8);
	CHECK_STR(text, "segment");
	MUST(write(fd[1], "another", 8));
	TEST_RES(read(fd[0], p, 8), _ret == 8);
	CHECK_STR(r, "another");
}

TEST(protections_are_those_that_were_asked)
{
	need_exec_mappings();
	int id = MUST(shmget(IPC_PRIVATE, PAGE, 0700));
	CHECK_STR(perms_at(attach(id)), "rw-s");
	CHECK_STR(perms_at(MUST(shmat(id, NULL, SHM_RDONLY))), "r--s");
	CHECK_STR(perms_at(MUST(shmat(id, NULL, SHM_EXEC))), "rwxs");
	CHECK_STR(perms_at(MUST(shmat(id, NULL, SHM_EXEC | SHM_RDONLY))), "r-xs");
}

#if defined __x86_64__ || defined __i386__ || defined __aarch64__
TEST(code_runs_in_an_attach_with_shm_exec)
{
	need_exec_mappings();
#ifdef __aarch64__
	static const unsigned code[] = { 0x52800540, 0xd65f03c0 }; /* return 42 */
#else
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* return 42 */
#endif
	int id = MUST(shmget(IPC_PRIVATE, PAGE, 0700));
	char *p = attach(id);
	memcpy(p, code, sizeof code);
	int (*x)(void) = (int (*)(void))MUST(shmat(id, NULL, SHM_EXEC));
	__builtin___clear_cache((char *)x, (char *)x + sizeof code);
	CHECK_EQ(x(), 42);
	int (*rx)(void) = (int (*)(void))MUST(shmat(id, NULL, SHM_EXEC | SHM_RDONLY));
	CHECK_EQ(rx(), 42);
	IN_CHILD {
		signal(SIGSEGV, SIG_DFL);
		pid_t pid = fork();
		if (pid == 0)
			_exit(((int (*)(void))p)());
		int status = wait_for(pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	}
}
#endif

TEST(an_ordinary_attach_can_be_made_executable)
{
	need_exec_mappings();
	char *p = attach(new_segment(PAGE));
	TEST_SUCC(mprotect(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
	CHECK_STR(perms_at(p), "rwxs");
}

TEST(the_personality_that_makes_reading_executing_applies)
{
	need_exec_mappings();
	int id = new_segment(PAGE);
	if (personality(READ_IMPLIES_EXEC) < 0)
		SKIP("personality: %s", errno_name(errno));
	CHECK_STR(perms_at(attach(id)), "rwxs");
	CHECK_STR(perms_at(MUST(shmat(id, NULL, SHM_RDONLY))), "r-xs");
}

TEST(the_list_of_mappings_names_the_key_of_creation)
{
	char line[4352];
	int found = 0;
	attach(MUST(shmget(0x162e, 2 * PAGE, IPC_CREAT | 0600)));
	int id = MUST(shmget(-1, PAGE, IPC_CREAT | 0600));
	attach(id);
	MUST(shmctl(id, IPC_RMID, NULL));
	attach(new_segment(PAGE));
	FILE *f = fopen("/proc/self/maps", "r");
	REQUIRE(f != NULL);
	while (fgets(line, sizeof line, f))
		found += strstr(line, "/SYSV0000162e") || strstr(line, "/SYSVffffffff") ||
			 strstr(line, "/SYSV00000000");
	fclose(f);
	CHECK_EQ(found, 3);
}

TEST(advice_and_syncing_work_on_an_attach)
{
	int id = new_segment(2 * PAGE);
	char *p = attach(id);
	unsigned char resident[2];
	memset(p, 7, 2 * PAGE);
	TEST_SUCC(msync(p, 2 * PAGE, MS_SYNC));
	TEST_SUCC(mincore(p, 2 * PAGE, resident));
	TEST_SUCC(madvise(p, 2 * PAGE, MADV_DONTNEED));
	CHECK_EQ(p[5], 7); /* shared memory is not dropped */
	TEST_SUCC(madvise(p, PAGE, MADV_REMOVE));
	CHECK_EQ(p[5], 0);
	CHECK_EQ(p[PAGE], 7);
}
