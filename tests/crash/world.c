/* world.c - the segments that are there before an operation, who has them attached, and what is left of it all. */
#include "crash.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>

static char root[200];
static bool mounted, huge_mounted;
static char huge_root[220];
static int worlds;
static pid_t driver;

bool owns_file_system(void) { return mounted; }

/* Leaves nothing behind. Actors, which inherit this, just end. */
static void interrupted(int signal)
{
	if (getpid() == driver)
		base_end();
	_exit(128 + signal);
}

static void on(int which) { signal(which, interrupted); }

/* A file system of our own where that is allowed, so that each block can be accounted for. */
const char *base_begin(bool on_kernel)
{
	the = mmap(NULL, sizeof *the, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (the == MAP_FAILED)
		fatal("mmap: %s", strerror(errno));
	the->on_kernel = on_kernel;
	driver = getpid();
	on(SIGINT);
	on(SIGTERM);
	if (pipe2(the->forked, O_CLOEXEC) < 0 || pipe2(the->leash, O_CLOEXEC) < 0)
		fatal("pipe: %s", strerror(errno));
	if (on_kernel)
		return NULL;
	const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	snprintf(root, sizeof root, "%s/check-crash.XXXXXX", where);
	if (!mkdtemp(root))
		fatal("%s: %s", root, strerror(errno));
	if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0 &&
	    mount("check-crash", root, "tmpfs", 0, "size=256m,mode=0700") == 0)
		mounted = true;
	/* A page of two megabytes is what every x86-64 has. */
	snprintf(huge_root, sizeof huge_root, "%s/huge", root);
	if (mounted && mkdir(huge_root, 0700) == 0)
		huge_mounted = mount("check-crash", huge_root, "hugetlbfs", 0, "pagesize=2M,mode=0700") == 0;
	return root;
}

void base_end(void)
{
	if (!root[0] || getpid() != driver)
		return;
	if (mounted)
		umount2(root, MNT_DETACH);
	remove_tree(root);
}

bool has_huge_pages(void) { return huge_mounted; }

void base_mode(unsigned mode) { chmod(root, mode); }

void remove_tree(const char *path)
{
	DIR *directory = opendir(path);
	struct stat status;
	/* A test may have closed it, and who is not root must open it again. */
	if (!directory && errno == EACCES && lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && chmod(path, 0700) == 0)
		directory = opendir(path);
	if (directory) {
		struct dirent *entry;
		while ((entry = readdir(directory)) != NULL) {
			char below[600];
			if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
				continue;
			snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
			if (entry->d_type == DT_DIR)
				remove_tree(below);
			else
				unlink(below);
		}
		closedir(directory);
	}
	rmdir(path);
}

/* Blocks of 512 bytes that the file system has given away: with a file system of our own, all that is left of us. */
long used_blocks(void)
{
	struct statfs status;
	if (!mounted || statfs(root, &status) < 0)
		return -1;
	return (status.f_blocks - status.f_bfree) * (status.f_bsize / 512);
}

/* Only what is counted as ours: the mount is not. */
static long tree(const char *path, bool count_files)
{
	if (strcmp(path, huge_root) == 0)
		return 0;
	long sum = 0;
	DIR *directory = opendir(path);
	struct dirent *entry;
	if (!directory)
		return 0;
	while ((entry = readdir(directory)) != NULL) {
		char below[600];
		struct stat status;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
		if (lstat(below, &status) < 0)
			continue;
		sum += count_files ? 1 : status.st_blocks;
		if (S_ISDIR(status.st_mode))
			sum += tree(below, count_files);
	}
	closedir(directory);
	return sum;
}

long tree_blocks(void) { return tree(root, false); }

long blocks_below(const char *path) { return tree(path, false); }

long tree_files(const char *below)
{
	char path[400];
	snprintf(path, sizeof path, "%s/%s", below[0] ? the->directory : the->base, below);
	return tree(path, true);
}

/* Segments' files on the hugetlbfs, of this world alone: each leaves nothing there. */
long huge_files(void)
{
	long count = 0;
	DIR *directory = huge_mounted ? opendir(huge_root) : NULL;
	struct dirent *entry;
	while (directory && (entry = readdir(directory)) != NULL) {
		char below[600];
		snprintf(below, sizeof below, "%s/%s/segments", huge_root, entry->d_name);
		if (entry->d_name[0] == '.' && entry->d_name[1] == 's')
			count += tree(below, true);
	}
	if (directory)
		closedir(directory);
	return count;
}

/* Whether each segment that was listed has its file, of its size and mode, and no other file is there. */
bool files_fit(const struct observation *o, char *text, size_t size)
{
	int elsewhere = 0;
	if (the->on_kernel)
		return true;
	for (int i = 0; i < o->listed; i++) {
		char path[600];
		struct stat status;
		const struct sight *sight = &o->list[i];
		if (sight->size == HUGE_BYTES) {
			elsewhere++;
			continue;
		}
		/* The file keeps the key that the segment was made with. */
		key_t key = sight->key;
		for (int k = 0; k < the->segments; k++)
			if (the->segment[k].id == sight->id)
				key = the->segment[k].key;
		snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, (unsigned)key, sight->id);
		if (lstat(path, &status) < 0) {
			snprintf(text, size, "%s: %s", path, strerror(errno));
			return false;
		}
		unsigned mode = (sight->mode & 0777) | (sight->mode & SHM_DEST);
		/* In system scope nobody but who sets it gives a file its rights: a death leaves the old ones. */
		bool other_mode = !the->system && (status.st_mode & 07777) != mode;
		if ((size_t)status.st_size != sight->size || other_mode) {
			snprintf(text, size, "segment %d of %zu bytes, mode %o has a file of %ld bytes, mode %o",
				 sight->id, sight->size, mode, (long)status.st_size, status.st_mode & 07777);
			return false;
		}
	}
	long files = tree_files("segments"), huge = huge_files();
	bool fit = files == o->listed - elsewhere && huge == elsewhere;
	if (!fit)
		snprintf(text, size, "%ld files for %d segments, %ld for %d of huge pages", files, o->listed - elsewhere,
			 huge, elsewhere);
	return fit;
}

/* --- contents */

unsigned char content(unsigned seed, size_t at)
{
	return seed ? (unsigned char)(seed * 37 + at * 11 + (at >> 12) * 101 + 1) : 0;
}

void fill(void *start, unsigned seed, size_t size)
{
	for (size_t at = 0; at < size; at++)
		((unsigned char *)start)[at] = content(seed, at);
}

bool filled(const void *start, unsigned seed, size_t size)
{
	for (size_t at = 0; at < size; at++)
		if (((const volatile unsigned char *)start)[at] != content(seed, at))
			return false;
	return true;
}

/* --- segments */

struct segment *world_add(int id, key_t key, size_t size, unsigned seed, unsigned mode)
{
	if (the->segments == MAX_SEGMENTS)
		fatal("too many segments");
	struct segment *segment = &the->segment[the->segments++];
	*segment = (struct segment){ .id = id, .key = key, .size = size, .seed = seed };
	segment->is[0] = segment->is[1] = (struct state){ true, false, mode };
	return segment;
}

/* By the holder: what every world has. */
static int job_base(int argument)
{
	static const struct { key_t key; size_t size; int attaches; } plan[BASE_SEGMENTS] = {
		[LONE] = { 0x1001, 8192, 0 }, [HELD] = { 0x1002, 12288, 1 },
		[TWICE] = { IPC_PRIVATE, 5000, 2 }, [MARKED] = { 0x1003, 4096, 1 },
	};
	(void)argument;
	for (int i = 0; i < BASE_SEGMENTS; i++) {
		int id = shmget(plan[i].key, plan[i].size, IPC_CREAT | IPC_EXCL | 0600);
		if (id < 0)
			return -1;
		struct segment *segment = world_add(id, plan[i].key, plan[i].size, i + 1, 0600);
		char *at = shmat(id, NULL, 0);
		if (at == (void *)-1)
			return -1;
		fill(at, segment->seed, segment->size);
		for (int more = 1; more < plan[i].attaches; more++)
			if (shmat(id, NULL, 0) == (void *)-1)
				return -1;
		if (plan[i].attaches == 0 && shmdt(at) < 0)
			return -1;
		if (i == MARKED) {
			if (shmctl(id, IPC_RMID, NULL) < 0)
				return -1;
			segment->is[0].marked = segment->is[1].marked = true;
		}
	}
	return 0;
}

void world_make(struct world *world, unsigned flags)
{
	the->system = flags & SYSTEM;
	*world = (struct world){ .crowded = 0 };
	the->segments = 0;
	memset(the->address, 0, sizeof the->address);
	if (the->on_kernel) {
		if (unshare(CLONE_NEWIPC) < 0)
			fatal("unshare: %s", strerror(errno));
	} else {
		snprintf(the->base, sizeof the->base, "%s/%d", root, ++worlds);
		if (the->system)
			snprintf(the->directory, sizeof the->directory, "%s/.shmshim", the->base);
		else
			snprintf(the->directory, sizeof the->directory, "%s/.shmshim-uid%d", the->base, (int)geteuid());
		if (mkdir(the->base, 0700) < 0 || (the->system && (chmod(root, 0755) < 0 || chmod(the->base, 01777) < 0)))
			fatal("%s: %s", the->base, strerror(errno));
		setenv("SHMSHIM_SCOPE", the->system ? "system" : "user", 1);
		setenv("SHMSHIM_DIR", the->base, 1);
	}
	actor_start(&world->holder);
	if (!(flags & EMPTY)) {
		struct answer answer = actor_do(&world->holder, job_base, 0);
		if (answer.value != 0)
			fatal("the world could not be made: %s", strerror(answer.error));
	}
}

static int job_make_segments(int argument)
{
	char *at = shmat(the->segment[argument].id, NULL, 0);
	return at == (void *)-1 ? -1 : shmdt(at);
}

/* More processes, each registered. */
void crowd_grow(struct world *world, int count)
{
	while (count-- > 0) {
		struct actor *actor = &world->crowd[world->crowded++];
		actor_start(actor);
		if (actor_do(actor, job_make_segments, LONE).value != 0)
			fatal("the crowd could not be made");
	}
}

int crowd_shrink(struct world *world)
{
	while (world->crowded > 0)
		actor_kill(&world->crowd[--world->crowded]);
	return 0;
}

void world_end(struct world *world)
{
	for (int i = 0; i < world->extras; i++)
		kill_and_wait(world->extra[i]);
	world->extras = 0;
	crowd_shrink(world);
	actor_kill(&world->holder);
	table_forget();
	if (!the->on_kernel)
		remove_tree(the->base);
	/* The mount point itself stays. */
	if (huge_mounted)
		remove_tree(huge_root);
}

/* --- the truth about attaches */

static unsigned long mappings_of(pid_t pid, const struct segment *segment)
{
	char path[64], line[1024], name[400];
	unsigned long count = 0;
	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	FILE *maps = fopen(path, "re");
	if (!maps)
		return 0;
	bool huge = segment->size == HUGE_BYTES;
	snprintf(name, sizeof name, "%s/segments/SYSV%08x.%d", huge ? "" : the->directory, (unsigned)segment->key,
		 segment->id);
	while (fgets(line, sizeof line, maps)) {
		unsigned long inode;
		int at = 0;
		if (sscanf(line, "%*s %*s %*s %*s %lu %n", &inode, &at) < 1 || at == 0)
			continue;
		size_t length = strlen(name);
		if (the->on_kernel)
			count += strncmp(line + at, "/SYSV", 5) == 0 && inode == (unsigned long)segment->id;
		else if (huge)
			count += strstr(line + at, name) != NULL;
		else
			count += strncmp(line + at, name, length) == 0 &&
				 (line[at + length] == '\n' || line[at + length] == ' ');
	}
	fclose(maps);
	return count;
}

/* As the kernel's own books have it. */
unsigned long attaches_of(const struct world *world, const struct segment *segment)
{
	unsigned long sum = world->holder.pid > 0 ? mappings_of(world->holder.pid, segment) : 0;
	for (int i = 0; i < world->crowded; i++)
		sum += mappings_of(world->crowd[i].pid, segment);
	for (int i = 0; i < world->extras; i++)
		sum += mappings_of(world->extra[i], segment);
	return sum;
}
