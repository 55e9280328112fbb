/*
 * /proc/sysvipc/shm: the kernel's format to the byte, every segment, for everyone.
 */
#include "shmtest.h"
#include "slurp.h"

#define LIST "/proc/sysvipc/shm"
#define HEADER                                                                                     \
	"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  " \
	"cgid      atime      dtime      ctime                   rss                  swap\n"

/* The line of a segment, by what shmctl says about it. */
static char *line_of(char *out, int id, unsigned long rss_pages)
{
	struct shmid_ds d;
	MUST(shmctl(id, SHM_STAT_ANY, &d));
	return out + sprintf(out,
			     "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10llu %10llu %10llu %21lu %21lu\n",
			     d.shm_perm.__key, id, d.shm_perm.mode, (unsigned long)d.shm_segsz,
			     (unsigned)d.shm_cpid, (unsigned)d.shm_lpid, (unsigned long)d.shm_nattch,
			     d.shm_perm.uid, d.shm_perm.gid, d.shm_perm.cuid, d.shm_perm.cgid,
			     (unsigned long long)d.shm_atime, (unsigned long long)d.shm_dtime,
			     (unsigned long long)d.shm_ctime, rss_pages * PAGE, 0ul);
}

TEST(an_empty_namespace_has_the_header_alone)
{
	CHECK_STR(slurp(LIST), HEADER);
}

TEST(each_segment_has_its_line_in_the_format_of_the_kernel)
{
	char expected[4096], *end = stpcpy(expected, HEADER);
	int id[6];
	id[0] = MUST(shmget(0x162e, IN_TWO_PAGES, IPC_CREAT | 0600));
	id[1] = MUST(shmget(-1, sizeof(long) == 8 ? POW2(40) : POW2(30), IPC_CREAT | SHM_NORESERVE | 0777));
	id[2] = MUST(shmget((key_t)0x80000000, 3 * PAGE, IPC_CREAT | 0004));
	id[3] = new_segment(2 * PAGE);
	id[4] = MUST(shmget(0x7fffffff, 1, IPC_CREAT | 0640));
	id[5] = MUST(shmget(77, 1, IPC_CREAT | 0));
	memset(attach(id[0]), 1, IN_TWO_PAGES);
	attach(id[3])[PAGE] = 1;
	attach(id[3]);
	*attach(id[4]) = 1;
	MUST(shmctl(id[4], IPC_RMID, NULL)); /* key 0, mode 01640 */
	MUST(shmctl(id[3], SHM_LOCK, NULL)); /* mode 02600 */
	unsigned long rss[] = { 2, 0, 0, 1, 1, 0 };
	for (int i = 0; i < 6; i++)
		end = line_of(end, id[i], rss[i]);
	CHECK_STR(slurp(LIST), expected);
	CHECK(strstr(text, "-2147483648"));
	CHECK(strstr(text, "1640"));
	MUST(shmctl(id[3], SHM_UNLOCK, NULL));
}

TEST(lines_stand_by_ascending_index)
{
	char expected[65536], *end = stpcpy(expected, HEADER);
	int id[64];
	for (int i = 0; i < 64; i++)
		id[i] = new_segment(1);
	for (int i = 1; i < 64; i += 2)
		MUST(shmctl(id[i], IPC_RMID, NULL));
	for (int i = 1; i < 20; i += 2)
		CHECK_EQ(index_of(id[i] = new_segment(1)), i);
	for (int i = 0; i < 64; i++)
		if (i < 20 || i % 2 == 0)
			end = line_of(end, id[i], 0);
	CHECK_STR(slurp(LIST), expected);
}

TEST(a_list_longer_than_a_page_is_whole)
{
	for (int i = 0; i < 300; i++)
		MUST(shmget(1000 + i, 1, IPC_CREAT | 0600));
	int lines = 0, id, key, at = strlen(HEADER);
	slurp(LIST);
	for (char *p = text + at; *p; p = strchr(p, '\n') + 1, lines++) {
		REQUIRE(sscanf(p, "%d %d", &key, &id) == 2);
		CHECK_EQ(index_of(id), lines);
		CHECK_EQ(key, 1000 + lines);
	}
	CHECK_EQ(lines, 300);
}

#if __SIZEOF_LONG__ == 8
TEST(numbers_wider_than_their_column_push_the_rest_along)
{
	need_tmpfs();
	char expected[1024];
	int id = MUST(shmget(1, (1ul << 63) - 4096, IPC_CREAT | SHM_NORESERVE | 0600));
	line_of(stpcpy(expected, HEADER), id, 0);
	CHECK_STR(slurp(LIST), expected);
}
#endif

TEST(a_new_opening_shows_what_has_changed)
{
	char expected[1024];
	slurp(LIST);
	int id = new_segment(1);
	line_of(stpcpy(expected, HEADER), id, 0);
	CHECK_STR(slurp(LIST), expected);
	attach(id);
	line_of(stpcpy(expected, HEADER), id, 0);
	CHECK_STR(slurp(LIST), expected);
	MUST(shmctl(id, IPC_RMID, NULL));
	line_of(stpcpy(expected, HEADER), id, 0);
	CHECK_STR(slurp(LIST), expected);
}

TEST(the_list_counts_the_attaches_of_the_dead_no_more)
{
	char expected[1024];
	int id = new_segment(1);
	pid_t pid = fork();
	if (pid == 0) {
		attach(id);
		kill(getpid(), SIGKILL);
	}
	wait_for(pid);
	slurp(LIST); /* first: what IPC_STAT would tidy must be true here too */
	line_of(stpcpy(expected, HEADER), id, 0);
	CHECK_STR(text, expected);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(reading_byte_by_byte_and_again_from_the_start_gives_the_same)
{
	char c;
	size_t len = 0;
	for (int i = 0; i < 5; i++)
		new_segment(1);
	slurp(LIST);
	int fd = MUST(open(LIST, O_RDONLY));
	while (MUST(read(fd, &c, 1)) == 1)
		CHECK_EQ(c, text[len++]);
	CHECK_EQ(len, strlen(text));
	MUST(lseek(fd, 0, SEEK_SET));
	char again[4096];
	REQUIRE((size_t)MUST(read(fd, again, sizeof again)) == len);
	CHECK(memcmp(again, text, len) == 0);
	TEST_RES(pread(fd, again, 10, 7), _ret == 10);
	CHECK(memcmp(again, text + 7, 10) == 0);
}

TEST_SEVERAL_UIDS(everyone_sees_every_segment)
{
	char expected[4096], *end = stpcpy(expected, HEADER);
	int id[2];
	id[0] = MUST(shmget(1, PAGE, IPC_CREAT | 0000));
	id[1] = MUST(shmget(2, PAGE, IPC_CREAT | 0600));
	for (int i = 0; i < 2; i++)
		end = line_of(end, id[i], 0);
	IN_CHILD {
		drop_to(54001, 54001);
		CHECK_STR(slurp(LIST), expected);
	}
	IN_CHILD {
		drop_to(54001, 54002);
		int mine = MUST(shmget(IPC_PRIVATE, 1, 0600));
		line_of(end, mine, 0);
		CHECK_STR(slurp(LIST), expected);
	}
}

TEST(the_list_cannot_be_written)
{
	set_caps(0);
	TEST_ERRNO(open(LIST, O_WRONLY), EACCES);
	TEST_ERRNO(open(LIST, O_RDWR), EACCES);
	struct stat st;
	if (under_shim() && stat(LIST, &st) < 0 && errno == ENOENT)
		return; /* a kernel without System V: only opening finds the file */
	MUST(stat(LIST, &st));
	CHECK_EQ(st.st_mode & 07777, 0444);
	CHECK(S_ISREG(st.st_mode));
	TEST_SUCC(access(LIST, R_OK));
}
