/* scarce.c - no addresses, no memory, no descriptors left: calls may fail, and nothing else may happen. */
#include "scale.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* --- addresses */

static unsigned char **places;
static unsigned char *triple;
static int attached;

/* Attaches a segment until that fails, and says how often. */
static int attach_until_refused(int id, int most)
{
	places = mmap(NULL, (size_t)most * sizeof *places, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (attached = 0; attached < most; attached++) {
		places[attached] = shmat(id, NULL, attached % 2 ? SHM_RDONLY : 0);
		if (places[attached] == (void *)-1)
			break;
	}
	if (attached == most)
		return wrong("%d attaches, and still no end", most);
	return errno == ENOMEM ? attached : wrong("attach %d: %s", attached, strerror(errno));
}

static int make_both(void)
{
	common->id[0] = shmget(0x6000, PAGE, IPC_CREAT | 0600);
	common->id[1] = shmget(0x6001, 3 * PAGE, IPC_CREAT | 0600);
	triple = shmat(common->id[1], NULL, 0);
	return triple == (void *)-1 ? wrong("shmat: %s", strerror(errno)) : 0;
}

/* With no room for another mapping everything else works. */
static int use_what_works(void)
{
	struct shmid_ds d;
	int id = shmget(IPC_PRIVATE, PAGE, 0600);
	if (id < 0 || shmctl(id, IPC_STAT, &d) < 0 || shmctl(id, IPC_SET, &d) < 0)
		return wrong("making and asking: %s", strerror(errno));
	if (shmat(id, NULL, 0) != (void *)-1 || errno != ENOMEM)
		return wrong("another attach: %s", strerror(errno));
	if (shmctl(id, IPC_STAT, &d) < 0 || d.shm_nattch != 0 || shmctl(id, IPC_RMID, NULL) < 0)
		return wrong("after a refused attach: nattch %lu, %s", (unsigned long)d.shm_nattch, strerror(errno));
	return 0;
}

static int job_fill_addresses(int mebibytes)
{
	long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "re");
	if (make_both() < 0 || !statm || fscanf(statm, "%ld", &pages) != 1)
		return wrong("/proc/self/statm: %s", strerror(errno));
	fclose(statm);
	rlim_t room = (rlim_t)pages * PAGE + ((rlim_t)mebibytes << 20);
	if (setrlimit(RLIMIT_AS, &(struct rlimit){ room, RLIM_INFINITY }) < 0)
		return wrong("setrlimit: %s", strerror(errno));
	if (attach_until_refused(common->id[0], mebibytes * 256) < 0 || use_what_works() < 0)
		return -1;
	return attached;
}

static int job_fill_maps(int argument)
{
	(void)argument;
	if (make_both() < 0 || attach_until_refused(common->id[0], 4 << 20) < 0 || use_what_works() < 0)
		return -1;
	/* A hole would need one mapping more. */
	if (munmap(triple + PAGE, PAGE) == 0 || errno != ENOMEM)
		return wrong("a hole without a mapping to spare: %s", strerror(errno));
	return attached;
}

static int job_fork_and_wait(int argument)
{
	int status;
	(void)argument;
	pid_t pid = fork();
	if (pid < 0)
		return errno == ENOMEM ? 0 : wrong("fork: %s", strerror(errno));
	if (pid == 0) {
		struct shmid_ds d;
		bool twice = shmctl(common->id[0], IPC_STAT, &d) == 0 && d.shm_nattch == 2ul * attached;
		_exit(twice && shmdt(places[attached / 2]) == 0 ? 0 : 8);
	}
	waitpid(pid, &status, 0);
	return status == 0 ? 0 : wrong("a child with %d attaches ends with %#x", attached, status);
}

static int job_detach_them(int argument)
{
	(void)argument;
	for (int i = 0; i < attached; i++) {
		if (shmdt(places[i]) < 0)
			return wrong("detaching %d of %d: %s", i, attached, strerror(errno));
		/* What one gives back, another can have. */
		if (i == attached / 3) {
			void *again = shmat(common->id[0], NULL, 0);
			if (again == (void *)-1 || shmdt(again) < 0)
				return wrong("attaching again: %s", strerror(errno));
		}
	}
	if (shmdt(triple) < 0)
		return wrong("detaching the other: %s", strerror(errno));
	return shmctl(common->id[0], IPC_RMID, NULL) < 0 || shmctl(common->id[1], IPC_RMID, NULL) < 0
		       ? wrong("IPC_RMID: %s", strerror(errno)) : 0;
}

static void until_refused(job *job, int argument, const char *what)
{
	struct actor holder;
	actor_start(&holder);
	if (well(&holder, job, argument, what)) {
		struct answer answer = actor_do(&holder, job_fork_and_wait, 0);
		if (answer.value < 0)
			failed("%s: %s", what, answer.error == ESRCH ? "forking kills or hangs" : common->text);
		long seen = nattch_seen(common->id[0]), other = nattch_seen(common->id[1]);
		if (common->figure[0] == 0)
			common->figure[0] = seen;
		if (seen <= 0 || other != 1)
			failed("%s: nattch is %ld, of the other segment %ld", what, seen, other);
		well(&holder, job_detach_them, 0, what);
	}
	actor_kill(&holder);
}

void address_space(int mebibytes) { until_refused(job_fill_addresses, mebibytes, "the address space is used up"); }
void maps(int argument) { until_refused(job_fill_maps, argument, "vm.max_map_count is reached"); }

/* --- memory and inodes of the file system, while programs run */

enum { WORKERS = 6, KEYS = 12 };
static const char pattern[PAGE] = "a page";
static int pattern_pipe[2];

/* Writes a page without being killed when there is no memory for it. */
static bool write_page(unsigned char *at)
{
	return write(pattern_pipe[1], pattern, PAGE) == PAGE && read(pattern_pipe[0], at, PAGE) == PAGE;
}

static bool is_refused(void)
{
	common->refused++;
	return errno == ENOMEM || errno == ENOSPC;
}

static bool gone(void) { return errno == EINVAL || errno == EIDRM || errno == ENOENT; }

/* All operations, until it is over. What is refused for want of room is no fault, and nothing else is refused. */
static int job_struggle(int from)
{
	unsigned long long random = (unsigned)from * 77 + 5;
	struct shmid_ds d;
	if (pipe2(pattern_pipe, O_CLOEXEC) < 0)
		return wrong("pipe: %s", strerror(errno));
	while (!common->go) {
		int key = 0x6100 + (int)pick(&random, KEYS);
		size_t size = (1 + pick(&random, 20)) * PAGE;
		int id = shmget(pick(&random, 3) ? key : IPC_PRIVATE, size, IPC_CREAT | 0600);
		common->steps++;
		if (id < 0) {
			if (errno != EINVAL && !is_refused())
				return wrong("shmget: %s", strerror(errno));
			continue;
		}
		if (shmctl(id, IPC_STAT, &d) < 0 && !gone())
			return wrong("IPC_STAT: %s", strerror(errno));
		unsigned char *at = shmat(id, NULL, 0);
		if (at == (void *)-1) {
			if (!gone() && !is_refused())
				return wrong("shmat: %s", strerror(errno));
		} else {
			/* Not touched: somebody else has filled the file system, and SIGBUS is what the README says. */
			if (!write_page(at)) {
				char dropped[PAGE];
				fcntl(pattern_pipe[0], F_SETFL, O_NONBLOCK);
				while (read(pattern_pipe[0], dropped, PAGE) > 0)
					;
				fcntl(pattern_pipe[0], F_SETFL, 0);
			}
			if (pick(&random, 4) == 0) {
				pid_t child = fork();
				if (child < 0)
					return wrong("fork: %s", strerror(errno));
				if (child == 0)
					_exit(shmdt(at) == 0 ? 0 : 9);
				int status;
				waitpid(child, &status, 0);
				if (status != 0)
					return wrong("a child cannot detach: %#x", status);
			}
			if (pick(&random, 2) && shmctl(id, IPC_RMID, NULL) < 0 && !gone())
				return wrong("IPC_RMID: %s", strerror(errno));
			if (shmdt(at) < 0)
				return wrong("shmdt: %s", strerror(errno));
		}
		if (pick(&random, 3) && shmctl(id, IPC_RMID, NULL) < 0 && !gone())
			return wrong("IPC_RMID later: %s", strerror(errno));
	}
	return 0;
}

/* A new process: it may be refused, and it does not die of it. It touches nothing, for the reason above. */
static int job_arrive(int key)
{
	struct shmid_ds d;
	int id = shmget(key, 2 * PAGE, IPC_CREAT | 0600);
	if (id < 0)
		return is_refused() ? 0 : wrong("shmget: %s", strerror(errno));
	void *at = shmat(id, NULL, 0);
	if (at == (void *)-1 ? !is_refused() : shmctl(id, IPC_STAT, &d) < 0 || d.shm_nattch != 1 || shmdt(at) < 0)
		return wrong("shmat, IPC_STAT, shmdt: %s", strerror(errno));
	return shmctl(id, IPC_RMID, NULL) < 0 ? wrong("IPC_RMID: %s", strerror(errno)) : 0;
}

/* The rest of the file system, taken or given back. */
static int fill_up(bool inodes)
{
	char path[400], block[PAGE] = { 1 };
	snprintf(path, sizeof path, "%s/filler", the->base);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), links = 0;
	if (inodes) {
		while (snprintf(path, sizeof path, "%s/filler%d", the->base, links), links < 100) {
			int more = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
			if (more < 0)
				break;
			close(more);
			links++;
		}
	}
	while (!inodes && write(fd, block, PAGE) == PAGE)
		;
	close(fd);
	return links;
}

static void give_back(int links)
{
	char path[400];
	snprintf(path, sizeof path, "%s/filler", the->base);
	unlink(path);
	for (int i = 0; i < links; i++) {
		snprintf(path, sizeof path, "%s/filler%d", the->base, i);
		unlink(path);
	}
}

static void struggle(int rounds, bool inodes, const char *what)
{
	struct actor worker[WORKERS], newcomer;
	struct answer answer;
	unsigned long long random = 3;
	long while_full = 0;
	bool good = true;

	for (int i = 0; i < WORKERS; i++) {
		actor_start(&worker[i]);
		actor_send(&worker[i], job_struggle, i);
	}
	for (int round = 0; round < rounds && good; round++) {
		usleep(20000);
		int links = fill_up(inodes);
		long before = common->steps;
		usleep(60000);
		while_full += common->steps - before;
		actor_start(&newcomer);
		good = well(&newcomer, job_arrive, 0x6200, "one who comes when it is full");
		actor_kill(&newcomer);
		/* One dies while it is full, one when there is room. */
		for (int half = 0; half < 2 && good; half++) {
			struct actor *victim = &worker[pick(&random, WORKERS)];
			if (actor_hear(victim, &answer, 0) != SILENT) {
				failed("%s: a program: %s", what, common->text[0] ? common->text : "it is killed by it");
				good = false;
				break;
			}
			actor_kill(victim);
			actor_start(victim);
			actor_send(victim, job_struggle, 100 + round);
			if (half == 0)
				give_back(links);
		}
	}
	give_back(100);
	usleep(100000);
	common->go = 1;
	for (int i = 0; i < WORKERS; i++) {
		if (good && (actor_hear(&worker[i], &answer, HANG_MS) != HEARD || answer.value < 0)) {
			failed("%s: a program: %s", what, common->text[0] ? common->text : "it is killed or hangs");
			good = false;
		}
		actor_kill(&worker[i]);
	}
	/* Children whose parent was killed. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	if (good && while_full == 0)
		failed("%s: nobody gets on meanwhile", what);
	if (good && common->refused == 0)
		failed("%s: nothing was refused", what);
	if (actor_do(&observer, job_remove_all, 0).value != 0)
		failed("%s: %s", what, the->text);
	common->figure[0] = common->steps;
	common->figure[1] = common->refused;
}

void full(int rounds) { struggle(rounds, false, "the file system is full"); }
void no_inodes(int rounds) { struggle(rounds, true, "the file system has no inode left"); }

/* --- descriptors */

static int job_without_descriptors(int number)
{
	unsigned long long random = (unsigned)number + 9;
	struct shmid_ds d;
	if (pick(&random, 2) && job_life(0x6400 + number) < 0)
		return wrong("before: %s", the->text);
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	/* The hard limit stays: who may not open a file ever again attaches nothing, and is told so. */
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = number % 3 ? limit.rlim_cur : 0;
	setrlimit(RLIMIT_NOFILE, &limit);
	int shared = shmget(0x6300, PAGE, IPC_CREAT | 0600);
	if (shared < 0)
		return wrong("the shared segment: %s", strerror(errno));
	if (shmat(shared, NULL, 0) == (void *)-1 || shmat(shared, NULL, SHM_RDONLY) == (void *)-1)
		return wrong("attaching it: %s", strerror(errno));
	for (int i = 0; i < 60; i++) {
		if (job_whole_life(0x6400 + number) < 0)
			return wrong("%s", the->text);
		if (shmctl(shared, IPC_STAT, &d) < 0 || d.shm_nattch < 2)
			return wrong("IPC_STAT: %s", strerror(errno));
		if (i % 10 == 0) {
			int status;
			pid_t child = fork();
			if (child == 0)
				_exit(job_whole_life(0x6500 + number) < 0);
			if (waitpid(child, &status, 0) != child || status != 0)
				return wrong("a child without descriptors ends with %#x: %s", status, the->text);
		}
	}
	common->id[0] = shared;
	return 0;
}

void no_descriptors(int count)
{
	struct actor actor[32];
	struct answer answer;
	bool good = true;
	rlim_t few = 64;
	struct rlimit was;
	/* So that they are used up soon; the driver itself has some. */
	getrlimit(RLIMIT_NOFILE, &was);
	for (int i = 0; i < count; i++) {
		actor_start(&actor[i]);
		struct rlimit limit = { few + 3 * count, few + 3 * count };
		prlimit(actor[i].pid, RLIMIT_NOFILE, &limit, NULL);
		actor_send(&actor[i], job_without_descriptors, i);
	}
	for (int i = 0; i < count && good; i++)
		if (actor_hear(&actor[i], &answer, 120000) != HEARD || answer.value < 0) {
			failed("no descriptors: %s", common->text[0] ? common->text : "a program is killed or hangs");
			good = false;
		}
	if (good && nattch_seen(common->id[0]) != 2 * count)
		failed("no descriptors: nattch is %ld, not %d", nattch_seen(common->id[0]), 2 * count);
	for (int i = 0; i < count / 2; i++)
		actor_kill(&actor[i]);
	if (good && nattch_seen(common->id[0]) != 2 * (count - count / 2))
		failed("no descriptors, half of them killed: nattch is %ld", nattch_seen(common->id[0]));
	for (int i = count / 2; i < count; i++)
		actor_kill(&actor[i]);
	if (actor_do(&observer, job_remove_all, 0).value != 0)
		failed("no descriptors: %s", the->text);
}
