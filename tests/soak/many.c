/* many.c - many segments and processes: every count is right while they are there, and when they are gone. */
#include "scale.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* --- segments */

enum { FIRST_KEY = 0x200000, AGAIN_KEY = 0x300000 };

int set_shmmni(int count)
{
	char text[20];
	struct shminfo limits;
	int fd = open("/proc/sys/kernel/shmmni", O_WRONLY | O_CLOEXEC);
	int length = snprintf(text, sizeof text, "%d\n", count);
	if (fd < 0 || write(fd, text, length) != length || close(fd) < 0)
		return wrong("shmmni cannot be set to %d: %s", count, strerror(errno));
	if (shmctl(0, IPC_INFO, (struct shmid_ds *)&limits) < 0 || limits.shmmni != (unsigned long)count)
		return wrong("shmmni was set to %d and is %lu", count, (unsigned long)limits.shmmni);
	return 0;
}

static int *ids;
static bool *taken;

static int make_one(int i, key_t key)
{
	int id = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600);
	if (id < 0)
		return wrong("segment %d: %s", i, strerror(errno));
	if (taken[id % SLOTS])
		return wrong("segment %d gets id %d, whose index is taken", i, id);
	taken[id % SLOTS] = true;
	ids[i] = id;
	return 0;
}

static int expect_count(int count, const char *when)
{
	struct shm_info info;
	int highest = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	if (highest < 0 || info.used_ids != count || info.shm_tot != (unsigned long)count || (count && highest < count - 1))
		return wrong("%s: SHM_INFO says %d segments of %lu pages, the highest index is %d; there are %d", when,
			     info.used_ids, info.shm_tot, highest, count);
	struct sight none;
	int listed = read_list(&none, 0);
	return listed == count ? 0 : wrong("%s: %d of %d are listed", when, listed, count);
}

static int job_many(int count)
{
	ids = calloc(count, sizeof *ids);
	taken = calloc(SLOTS, sizeof *taken);
	if (count != 4096 && set_shmmni(count) < 0)
		return -1;
	for (int i = 0; i < count; i++)
		if (make_one(i, FIRST_KEY + i) < 0)
			return -1;
	if (shmget(IPC_PRIVATE, PAGE, 0600) >= 0 || errno != ENOSPC)
		return wrong("one more than shmmni: %s", strerror(errno));
	if (expect_count(count, "all made") < 0)
		return -1;
	for (int i = 0; i < count; i++)
		if (shmget(FIRST_KEY + i, 0, 0) != ids[i])
			return wrong("key %d of %d does not lead to its segment: %s", i, count, strerror(errno));
	for (int i = 0; i < count; i += 61) {
		int *at = shmat(ids[i], NULL, 0);
		if (at == (void *)-1)
			return wrong("segment %d cannot be attached: %s", i, strerror(errno));
		*at = i + 1;
		shmdt(at);
	}
	/* Every second one goes, and others come in its place. */
	for (int i = 0; i < count; i += 2) {
		if (shmctl(ids[i], IPC_RMID, NULL) < 0)
			return wrong("segment %d cannot be removed: %s", i, strerror(errno));
		taken[ids[i] % SLOTS] = false;
	}
	if (expect_count(count / 2, "half removed") < 0)
		return -1;
	for (int i = 0; i < count; i += 2)
		if (shmget(FIRST_KEY + i, 0, 0) >= 0 || make_one(i, AGAIN_KEY + i) < 0)
			return common->text[0] ? -1 : wrong("key %d leads to a removed segment", i);
	if (expect_count(count, "made again") < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		struct shmid_ds d;
		if (shmctl(ids[i], IPC_STAT, &d) < 0 || d.shm_perm.__key != (i % 2 ? FIRST_KEY : AGAIN_KEY) + i ||
		    d.shm_nattch != 0)
			return wrong("segment %d: key %#x, nattch %lu: %s", i, d.shm_perm.__key,
				     (unsigned long)d.shm_nattch, strerror(errno));
		if (i % 61 == 0 && i % 2) {
			int *at = shmat(ids[i], NULL, SHM_RDONLY);
			if (at == (void *)-1 || *at != i + 1)
				return wrong("segment %d has lost what was written", i);
			shmdt(at);
		}
	}
	for (int i = 0; i < count; i++)
		if (shmctl(ids[i], IPC_RMID, NULL) < 0)
			return wrong("segment %d cannot be removed in the end: %s", i, strerror(errno));
	return expect_count(0, "all removed");
}

void many_segments(int count)
{
	struct actor maker;
	actor_start(&maker);
	well(&maker, job_many, count, "many segments");
	actor_kill(&maker);
}

/* --- processes */

static int look_by_list(int id)
{
	struct sight list[8];
	int count = read_list(list, 8);
	for (int i = 0; i < count && i < 8; i++)
		if (list[i].id == id)
			return (int)list[i].nattch;
	return -1;
}

static int job_look_by_list(int id) { return look_by_list(id); }
static int job_look_by_index(int id)
{
	struct shmid_ds d;
	return shmctl(id % SLOTS, SHM_STAT, &d) < 0 ? -1 : (int)d.shm_nattch;
}

static void stay(void)
{
	common->arrived++;
	while (!common->go)
		pause();
	_exit(0);
}

static int job_crowd(int count)
{
	int id = shmget(0x4000, PAGE, IPC_CREAT | 0600);
	pid_t group = 0;
	if (id < 0)
		return wrong("shmget: %s", strerror(errno));
	common->id[0] = id;
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return wrong("fork %d: %s", i, strerror(errno));
		if (pid == 0) {
			if (shmat(id, NULL, 0) == (void *)-1)
				_exit(7);
			stay();
		}
		/* Every second one belongs to those who will be killed. */
		if (i % 2) {
			group = group ? group : pid;
			setpgid(pid, group);
		}
		common->pid[i] = pid;
	}
	for (long began = milliseconds(); common->arrived < count; usleep(500))
		if (milliseconds() - began > 120000)
			return wrong("%d of %d have come within two minutes", common->arrived, count);
	return 0;
}

/* Half of them at once, and all of those dead: a zombie is. */
static int job_kill_half(int count)
{
	if (kill(-common->pid[1], SIGKILL) < 0)
		return wrong("kill: %s", strerror(errno));
	for (int i = 1; i < count; i += 2) {
		siginfo_t info;
		if (waitid(P_PID, common->pid[i], &info, WEXITED | (i % 4 == 1 ? WNOWAIT : 0)) < 0)
			return wrong("waitid: %s", strerror(errno));
		if (info.si_code != CLD_KILLED)
			return wrong("process %d of %d has ended by itself: %d", i, count, info.si_status);
	}
	return 0;
}

static int job_kill_rest(int count)
{
	for (int i = 0; i < count; i += 2)
		kill(common->pid[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return shmctl(common->id[0], IPC_RMID, NULL) < 0 ? wrong("IPC_RMID: %s", strerror(errno)) : 0;
}

/* The parent of the dead looks first, or one who is new, by each way to look. */
void many_processes(int count)
{
	static int turn;
	struct actor parent, first;
	struct answer answer = { -1, 0 };
	static const char *const how[] = { "IPC_STAT", "the list", "SHM_STAT" };
	int way = turn++ % 3;

	actor_start(&parent);
	actor_start(&first);
	if (well(&parent, job_crowd, count, "a crowd that attaches one segment")) {
		long all = nattch_seen(common->id[0]);
		if (all != count)
			failed("%d processes have a segment attached, nattch is %ld", count, all);
		if (well(&parent, job_kill_half, count, "half of the crowd is killed")) {
			long began = milliseconds();
			if (way == 0)
				answer.value = (int)nattch_seen(common->id[0]);
			else
				answer = actor_do(&first, way == 1 ? job_look_by_list : job_look_by_index, common->id[0]);
			common->figure[0] = milliseconds() - began;
			if (answer.value != count - count / 2)
				failed("%d of %d were killed, nattch is %d at the first look, by %s", count / 2, count,
				       answer.value, how[way]);
		}
		well(&parent, job_kill_rest, count, "the rest is killed");
	}
	actor_kill(&first);
	actor_kill(&parent);
}

/* --- many children */

static int make_segments(void)
{
	for (int k = 0; k < 3; k++) {
		common->id[k] = shmget(IPC_PRIVATE, 2 * PAGE, 0600);
		if (common->id[k] < 0 || shmat(common->id[k], NULL, 0) == (void *)-1)
			return wrong("making segments: %s", strerror(errno));
	}
	if (shmat(common->id[1], NULL, SHM_RDONLY) == (void *)-1 || shmctl(common->id[2], IPC_RMID, NULL) < 0)
		return wrong("making segments: %s", strerror(errno));
	return 0;
}

static void wait_for_go(void)
{
	common->arrived++;
	/* Seldom: there are hundreds of them. */
	while (!common->go)
		usleep(50000);
}

/* Each ends in its own way. */
static void end_somehow(int number)
{
	switch (number % 4) {
	case 0: exit(0);
	case 1: _exit(0);
	case 2: kill(getpid(), SIGKILL); break;
	default: execl("/bin/true", "true", (char *)NULL);
	}
	_exit(0);
}

static int job_bomb(int count)
{
	if (make_segments() < 0)
		return -1;
	for (int i = 0; i < count; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return wrong("fork %d: %s", i, strerror(errno));
		if (pid == 0) {
			wait_for_go();
			end_somehow(i);
		}
	}
	wait_until(&common->arrived, count);
	return count;
}

/* Children that fork while their siblings do. */
static int job_tree(int width)
{
	if (make_segments() < 0)
		return -1;
	for (int i = 0; i < width; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return wrong("fork %d: %s", i, strerror(errno));
		if (pid == 0) {
			for (int k = 0; k < width; k++)
				if (fork() == 0) {
					wait_for_go();
					end_somehow(k);
				}
			wait_for_go();
			while (waitpid(-1, NULL, 0) > 0)
				;
			end_somehow(i);
		}
	}
	wait_until(&common->arrived, width * width + width);
	return 0;
}

static int job_let_go(int argument)
{
	(void)argument;
	common->go = 1;
	while (waitpid(-1, NULL, 0) > 0)
		;
	return 0;
}

static int job_clear(int argument)
{
	(void)argument;
	for (int k = 0; k < 2; k++)
		if (shmctl(common->id[k], IPC_RMID, NULL) < 0)
			return wrong("IPC_RMID: %s", strerror(errno));
	exit(0);
}

static bool all_have(long processes, const char *when)
{
	for (int k = 0; k < 3; k++) {
		long expected = processes * (k == 1 ? 2 : 1), seen = nattch_seen(common->id[k]);
		if (seen != expected) {
			failed("%s: %ld processes, segment %d has nattch %ld, not %ld", when, processes, k, seen, expected);
			return false;
		}
	}
	return true;
}

static void explode(job *job, int argument, long processes, const char *what)
{
	struct actor parent;
	struct answer answer;
	actor_start(&parent);
	if (well(&parent, job, argument, what) && all_have(processes + 1, what) &&
	    well(&parent, job_let_go, 0, "its children end") && all_have(1, "after its children's end")) {
		actor_send(&parent, job_clear, 0);
		actor_hear(&parent, &answer, HANG_MS);
		waitpid(parent.pid, NULL, 0);
		actor_is_gone(&parent);
	}
	actor_kill(&parent);
}

void fork_bomb(int count) { explode(job_bomb, count, count, "a fork bomb"); }
void fork_tree(int width) { explode(job_tree, width, (long)width * width + width, "a tree of forks"); }
