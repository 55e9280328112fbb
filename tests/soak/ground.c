/* ground.c - a namespace of its own, and what is left of it. */
#include "ground.h"

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <signal.h>
#include <time.h>

const char *root;
bool is_root;
static int places;
static bool place_is_mounted;

void ground_begin(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGPIPE, SIG_IGN);
	is_root = geteuid() == 0;
	umask(0);
	root = base_begin(false);
	atexit(base_end);
	base_mode(0755);
}

bool place(bool system, const char *size)
{
	table_forget();
	the->segments = 0;
	snprintf(the->base, sizeof the->base, "%s/g%d", root, ++places);
	if (mkdir(the->base, 0755) < 0)
		fatal("%s: %s", the->base, strerror(errno));
	if (size) {
		char options[100];
		snprintf(options, sizeof options, "size=%s,mode=0755", size);
		place_is_mounted = owns_file_system() && mount("scale", the->base, "tmpfs", 0, options) == 0;
		if (!place_is_mounted) {
			rmdir(the->base);
			return false;
		}
	}
	if (system && chmod(the->base, 01777) < 0)
		fatal("%s: %s", the->base, strerror(errno));
	if (system)
		snprintf(the->directory, sizeof the->directory, "%s/.shmshim", the->base);
	else
		snprintf(the->directory, sizeof the->directory, "%s/.shmshim-uid%d", the->base, (int)geteuid());
	setenv("SHMSHIM_DIR", the->base, 1);
	setenv("SHMSHIM_SCOPE", system ? "system" : "user", 1);
	return true;
}

void place_end(void)
{
	table_forget();
	if (place_is_mounted)
		umount2(the->base, MNT_DETACH);
	place_is_mounted = false;
	remove_tree(the->base);
}

void kill_strays(pid_t spared)
{
	char path[64];
	int child, stray[64], strays = 0;
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	FILE *children = fopen(path, "re");
	while (children && strays < 64 && fscanf(children, "%d", &child) == 1)
		if (child != spared)
			stray[strays++] = child;
	if (children)
		fclose(children);
	while (strays > 0)
		kill_and_wait(stray[--strays]);
}

long place_blocks(void)
{
	struct statfs status;
	if (!place_is_mounted)
		return used_blocks();
	if (statfs(the->base, &status) < 0)
		return -1;
	return (status.f_blocks - status.f_bfree) * (status.f_bsize / 512);
}

long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

unsigned pick(unsigned long long *seed, unsigned below)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(*seed >> 33) % below;
}

int read_list(struct sight *sights, int room)
{
	char line[512];
	int count = 0;
	FILE *list = fopen("/proc/sysvipc/shm", "re");
	if (!list)
		return -1;
	while (fgets(line, sizeof line, list)) {
		struct sight sight;
		if (sscanf(line, "%d %d %o %zu %*d %*d %lu", &sight.key, &sight.id, &sight.mode, &sight.size,
			   &sight.nattch) != 5)
			continue;
		if (count < room)
			sights[count] = sight;
		count++;
	}
	fclose(list);
	return count;
}

int job_life(int key)
{
	long began = milliseconds();
	int answer = job_whole_life(key);
	return answer < 0 ? answer : (int)(milliseconds() - began);
}

int job_look(int argument)
{
	(void)argument;
	struct sight none;
	return read_list(&none, 0);
}

bool ground_is_empty(struct actor *observer, unsigned cells, const char *after)
{
	struct books books;
	struct answer answer = actor_do(observer, job_is_empty, 0);
	long files;

	if (answer.value != 0) {
		failed("%s: %s", after, answer.error == ESRCH ? "looking hangs or dies" : the->text);
		return false;
	}
	answer = actor_do(observer, job_life, 0x7004);
	if (answer.value < 0) {
		failed("%s: %s", after, answer.error == ESRCH ? "the next operation hangs or dies" : the->text);
		return false;
	}
	if (table_holds(the->text, MAX_TEXT)) {
		failed("%s: %s", after, the->text);
		return false;
	}
	files = tree_files("segments");
	if (files != 0) {
		failed("%s: %ld segment files are left", after, files);
		return false;
	}
	if (!table_books(&books))
		return true;
	if (books.cells > cells || books.records != 0 || books.free_records != books.records_ready) {
		failed("%s: %u cells and %u records are in use; of %u records %u are free", after, books.cells,
		       books.records, books.records_ready, books.free_records);
		return false;
	}
	if (books.lock || books.journal_armed) {
		failed("%s: lock %#x, journal %u", after, books.lock, books.journal_armed);
		return false;
	}
	table_forget();
	long used = place_blocks(), known = place_is_mounted ? blocks_below(the->base) : tree_blocks();
	if (used >= 0 && used != known)
		failed("%s: %ld blocks are in use that no file has", after, used - known);
	return used < 0 || used == known;
}
