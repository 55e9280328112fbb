/*
 * repair.c - files of the namespace that somebody has cut, exchanged or removed: what is refused, and whether doing
 * what the trace says then, word by word, gives the segments back.
 */
#include "hostile.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { TABLE_BYTES = 22556672, SIZE = 8192 };

/* --- what is done to it */

static char *segment_file(int segment)
{
	static char path[600];
	snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, the->segment[segment].key,
		 the->segment[segment].id);
	return path;
}

static void write_word(size_t offset, uint32_t value)
{
	size_t size;
	volatile unsigned char *table = table_open(&size);
	if (!table)
		fatal("%s: %s", inside("registry"), strerror(errno));
	*(volatile uint32_t *)(table + offset) = value;
	munmap((void *)table, size);
}

static void cut(long length) { must(truncate(inside("registry"), length), "truncate"); }
static void cut_to_nothing(void) { cut(0); }
static void cut_to_a_page(void) { cut(4096); }
static void cut_by_a_byte(void) { cut(TABLE_BYTES - 1); }
static void overwritten(void) { write_word(0, 0x4c462d7f); }
static void signature(void) { write_word(12, 1); }
static void page_size(void) { write_word(16, 16384); }
static void newer(void) { write_word(8, 77); }
static void aside(void) { must(rename(inside("registry"), inside("aside")), "rename"); }
static void a_directory(void) { aside(), must(mkdir(inside("registry"), 0700), "mkdir"); }
static void a_fifo(void) { aside(), must(mkfifo(inside("registry"), 0600), "mkfifo"); }
static void a_link(void) { aside(), must(symlink("aside", inside("registry")), "symlink"); }
static void open_to_all(void) { must(chmod(inside("registry"), 0666), "chmod"); }
static void directory_open(void) { must(chmod(the->directory, 0755), "chmod"); }
static void second_name(void) { must(link(inside("registry"), inside("aside")), "link"); }
static void segment_cut(void) { must(truncate(segment_file(0), 100), "truncate"); }
static void segment_enlarged(void) { must(truncate(segment_file(0), 1 << 20), "truncate"); }
static void size_is_a_lie(void) { write_word(SLOT_AREA + 128 * (the->segment[0].id % 32768) + S_SIZE, 4096); }
static void creator_is_a_lie(void) { write_word(SLOT_AREA + 128 * (the->segment[0].id % 32768) + S_CUID, STRANGER + 7); }

/* --- following what the trace says */

static bool starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* Does what the last refusal in the trace says, without knowing more. */
static bool follow(char *done, size_t size)
{
	char line[4096], said[4096] = "", path[600], other[600];
	unsigned mode;
	long length;
	FILE *file = fopen(inside("../trace-of-repair"), "re");
	while (file && fgets(line, sizeof line, file))
		if (strstr(line, "= -1 EACCES ("))
			snprintf(said, sizeof said, "%s", strstr(line, "= -1 EACCES (") + 13);
	if (file)
		fclose(file);
	snprintf(done, size, "%.700s", said[0] ? said : "nothing that is refused");
	if (sscanf(said, "%599s ", path) != 1)
		return false;
	const char *advice = strstr(said, "; ");
	if (!advice)
		return false;
	advice += 2;
	const char *rm = strstr(advice, " remove /");
	if (sscanf(advice, "if it was truncated or enlarged, truncate -s %ld it", &length) == 1 && !the->zeros_too)
		return truncate(path, length) == 0;
	if (rm && sscanf(rm, " remove %599[^:]", other) == 1)
		return unlink(other) == 0;
	if (sscanf(advice, "chmod %o it", &mode) == 1)
		return chmod(path, mode) == 0;
	if (strstr(advice, "remove the other one"))
		return unlink(inside("aside")) == 0;
	if (starts(advice, "end its users and remove this one file") || starts(advice, "end its users, remove it") ||
	    starts(advice, "remove it"))
		return unlink(path) == 0 || rmdir(path) == 0;
	return false;
}

/* How many segments can be attached, and of those how many show what was written to them. */
static int job_count_segments(int argument)
{
	int attached = 0, whole = 0;
	(void)argument;
	for (int i = 0; i < the->segments; i++) {
		if (the->segment[i].is[0].marked)
			continue;
		int id = shmget(the->segment[i].key, 0, 0);
		void *at = id < 0 ? (void *)-1 : shmat(id, NULL, SHM_RDONLY);
		if (at == (void *)-1)
			continue;
		attached++;
		whole += id == the->segment[i].id && filled(at, the->segment[i].seed, SIZE);
		shmdt(at);
	}
	return attached * 100 + whole;
}

static const struct ruin {
	const char *name;
	void (*do_it)(void);
	int whole; /* how many of the five segments show what is theirs afterwards */
	bool table_is_wrong; /* of two ways to mend it, the one for a segment that is right */
} ruins[] = {
	{ "a table cut to nothing", cut_to_nothing, 5, false },
	{ "a table cut to a page", cut_to_a_page, 5, false },
	{ "a table cut by a byte", cut_by_a_byte, 5, false },
	{ "another file's beginning", overwritten, 5, false },
	{ "another signature", signature, 5, false },
	{ "another page size", page_size, 5, false },
	{ "another version", newer, 5, false },
	{ "a directory in the table's place", a_directory, 5, false },
	{ "a fifo in the table's place", a_fifo, 5, false },
	{ "a link in the table's place", a_link, 5, false },
	{ "a table open to all", open_to_all, 5, false },
	{ "a runtime directory open to all", directory_open, 5, false },
	{ "a table with a second name", second_name, 5, false },
	{ "a segment that was cut", segment_cut, 4, false },
	{ "a segment that was enlarged", segment_enlarged, 5, false },
	{ "a size in the table that is wrong", size_is_a_lie, 5, true },
	{ "a creator in the table who is wrong", creator_is_a_lie, 5, true },
};

static int job_new_segment(int argument)
{
	(void)argument;
	int id = shmget(IPC_PRIVATE, SIZE, 0600);
	return id < 0 ? -1 : shmctl(id, IPC_RMID, NULL);
}

static void one_ruin(const struct ruin *ruin)
{
	struct actor actor;
	struct answer answer = { 0, 0 };
	char done[800] = "", trace[400];

	place("user", OWNER, 0700);
	the->zeros_too = ruin->table_is_wrong;
	actor_of(&actor, OWNER);
	if (!act(&actor, job_make_segments, 0, &answer, "making segments") || answer.value != 0)
		fatal("no segments could be made");
	actor_kill(&actor);
	ruin->do_it();
	snprintf(trace, sizeof trace, "%s/trace-of-repair", the->base);
	for (int turn = 0; turn < 2; turn++) {
		unlink(trace);
		setenv("SHMSHIM_TRACE", trace, 1);
		actor_start(&actor);
		unsetenv("SHMSHIM_TRACE");
		if (is_root && actor_do(&actor, job_become_user, OWNER).value != 0)
			fatal("cannot become another user");
		bool back = act(&actor, job_count_segments, 0, &answer, ruin->name);
		int found = answer.value;
		bool works = back && act(&actor, job_new_segment, 0, &answer, ruin->name) && answer.value == 0;
		actor_kill(&actor);
		if (!back)
			break;
		if (turn == 0) {
			if (found == 505 || !follow(done, sizeof done)) {
				failed("%s: %d are attached; what is said cannot be followed: %s", ruin->name, found / 100,
				       done);
				break;
			}
		} else if (found % 100 != ruin->whole || found / 100 != (ruin->whole ? 5 : 0) || !works) {
			failed("%s: afterwards %d segments can be attached, %d are whole, %s; done was: %s", ruin->name,
			       found / 100, found % 100, works ? "a new one can be made" : "no new one can be made", done);
		} else {
			passed();
		}
	}
	place_end();
}

/* --- cut while programs run */

static int cut_error;

static bool refused(long value)
{
	if (value == -1 && (errno == EACCES || errno == EINVAL))
		return true;
	cut_error++;
	return false;
}

/*
 * Every call but those that only look something up, which make no system call that could find out. Each must be
 * refused, and the program go on.
 */
static int job_go_on(int argument)
{
	struct shmid_ds d = { .shm_perm.mode = 0600 };
	char text[64];
	int status = 0;
	(void)argument;
	cut_error = 0;
	refused((long)shmat(the->segment[1].id, NULL, 0));
	refused(shmget(IPC_PRIVATE, SIZE, 0600));
	refused(shmget(0x654, SIZE, IPC_CREAT | IPC_EXCL | 0600));
	refused(shmctl(the->segment[1].id, IPC_SET, &d));
	refused(shmctl(the->segment[1].id, IPC_RMID, NULL));
	refused(shmctl(the->segment[1].id, SHM_LOCK, NULL));
	refused(shmdt(the->address[0]));
	FILE *list = fopen("/proc/sysvipc/shm", "re");
	while (list && fgets(text, sizeof text, list))
		;
	if (list)
		fclose(list);
	int limit = open("/proc/sys/kernel/shmmni", O_WRONLY | O_CLOEXEC);
	if (limit >= 0) {
		if (write(limit, "9\n", 2) == 2)
			cut_error += 100;
		close(limit);
	}
	/* A child has the mapping, and ends as it likes. */
	pid_t child = fork();
	if (child == 0) {
		if (!filled(the->address[2], the->segment[2].seed, SIZE) || !refused(shmget(IPC_PRIVATE, SIZE, 0600)))
			_exit(1);
		exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		cut_error += 1000;
	if (!filled(the->address[2], the->segment[2].seed, SIZE) || munmap(the->address[2], SIZE) != 0)
		cut_error += 10000;
	return cut_error;
}

static int job_exit(int argument) { exit(argument); }

static void cut_in_use(long length)
{
	struct actor holder, other;
	struct answer answer = { 0, 0 };
	char what[100];
	int status = -1;

	snprintf(what, sizeof what, "a table cut to %ld bytes in use", length);
	place("user", OWNER, 0700);
	actor_of(&holder, OWNER);
	if (!act(&holder, job_make_segments, 0, &answer, "making segments") || answer.value != 0)
		fatal("no segments could be made");
	cut(length);
	trace_clear();
	bool good = act(&holder, job_go_on, 0, &answer, what);
	if (good && answer.value != 0)
		failed("%s: the calls are not refused as they should (%d)", what, answer.value);
	else if (good && !trace_says("registry is damaged (it was truncated while in use); end its users and remove this one"))
		failed("%s: the trace does not say what is to be done", what);
	else if (good) {
		actor_send(&holder, job_exit, 0);
		while (waitpid(holder.pid, &status, 0) < 0 && errno == EINTR)
			;
		actor_is_gone(&holder);
		if (status != 0)
			failed("%s: the program does not end as it should (%#x)", what, status);
		must(unlink(inside("registry")), "unlink");
		actor_of(&other, OWNER);
		if (act(&other, job_count_segments, 0, &answer, what) && answer.value == 505 && status == 0)
			passed();
		else
			failed("%s: %d segments of 5 are found again", what, answer.value % 100);
		actor_kill(&other);
	}
	actor_kill(&holder);
	place_end();
}

void test_repairs(void)
{
	for (size_t i = 0; i < sizeof ruins / sizeof *ruins; i++)
		one_ruin(&ruins[i]);
	static const long lengths[] = { 0, 1, 4096, 8192, 1 << 20, 1 << 22, TABLE_BYTES - 4096 };
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
		cut_in_use(lengths[i]);
}
