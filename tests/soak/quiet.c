/* quiet.c - all members rest between two operations: what there is must be what there should be. By the observer. */
#include "soak.h"

#include <signal.h>
#include <sys/stat.h>

static uint32_t mapped_id[SLOTS];
static unsigned mapped[SLOTS];

/* How often each segment is mapped, as the kernel has it in its own books. */
static void count_mappings(void)
{
	char path[64], line[1024], prefix[400];
	memset(mapped, 0, sizeof mapped);
	int length = snprintf(prefix, sizeof prefix, "%s/segments/SYSV", soak->directory);
	for (int i = 0; i < soak->processes; i++) {
		snprintf(path, sizeof path, "/proc/%d/maps", (int)soak->process[i]);
		FILE *maps = fopen(path, "re");
		while (maps && fgets(line, sizeof line, maps)) {
			char *name = strchr(line, '/');
			unsigned key;
			int id;
			if (!name || strncmp(name, prefix, length) != 0 || sscanf(name + length, "%8x.%d", &key, &id) != 2)
				continue;
			if (mapped[id % SLOTS] && mapped_id[id % SLOTS] != (uint32_t)id)
				complain("segments %u and %d, of one index, are both mapped", mapped_id[id % SLOTS], id);
			mapped_id[id % SLOTS] = (uint32_t)id;
			mapped[id % SLOTS]++;
		}
		if (maps)
			fclose(maps);
	}
}

static bool same_sight(const struct sight *sight, int id, const struct shmid_ds *d)
{
	return sight->id == id && sight->key == d->shm_perm.__key && sight->size == d->shm_segsz &&
	       sight->mode == d->shm_perm.mode && sight->nattch == d->shm_nattch;
}

static bool is_there(pid_t pid)
{
	for (int i = 0; i < soak->processes; i++)
		if (soak->process[i] == pid)
			return true;
	/* A number that another process has got, such as a child that has ended but was not waited for. */
	return kill(pid, 0) == 0;
}

/* After an IPC_STAT, which mends what somebody was killed in the middle of. */
static void look_at_file(const struct sight *sight)
{
	char path[400];
	struct stat status;
	snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", soak->directory, (unsigned)sight->key, sight->id);
	if (lstat(path, &status) < 0) {
		/* The name of one that is marked has its former key. */
		if (!(sight->mode & SHM_DEST))
			complain("%s: %s", path, strerror(errno));
		return;
	}
	/* With several users the file may keep the mode that its creator has given it last. */
	if ((size_t)status.st_size != sight->size ||
	    (!soak->system && (status.st_mode & 01777) != (sight->mode & (0777 | SHM_DEST))))
		complain("%s has %ld bytes and mode %o, the segment %zu and %o", path, (long)status.st_size,
			 status.st_mode & 07777, sight->size, sight->mode);
}

static void look_at_segment(const struct sight *sight)
{
	struct shmid_ds d;
	int slot = sight->id % SLOTS;
	unsigned long maps = mapped[slot] && mapped_id[slot] == (uint32_t)sight->id ? mapped[slot] : 0;
	uint64_t known = atomic_load(&soak->ledger[slot]);
	int state = (int)(known >> 8) == sight->id ? (int)(known & 0xff) : 0;

	if (shmctl(sight->id, IPC_STAT, &d) < 0 || !same_sight(sight, sight->id, &d))
		complain("segment %d: IPC_STAT does not show it as the list does: %s", sight->id, strerror(errno));
	look_at_file(sight);
	int id = shmctl(slot, SHM_STAT, &d);
	if (id < 0 || !same_sight(sight, id, &d))
		complain("index %d: SHM_STAT does not show it as the list does: %s", slot, strerror(errno));
	if (sight->nattch != maps)
		complain("segment %d: nattch is %lu, it is mapped %lu times", sight->id, sight->nattch, maps);
	if (sight->mode & SHM_DEST && sight->nattch == 0)
		complain("segment %d is marked, and nobody has it", sight->id);
	if (sight->mode & SHM_DEST && sight->key != 0)
		complain("segment %d is marked and has its key", sight->id);
	if (soak->forced && sight->nattch == 0 && !is_there(d.shm_cpid))
		complain("segment %d is attached by nobody, and its maker, %d, is gone", sight->id, (int)d.shm_cpid);
	if (state == REMOVED && !(sight->mode & SHM_DEST))
		complain("segment %d was removed and is there", sight->id);
	if (sight->key != 0 && shmget(sight->key, 0, 0) != sight->id)
		complain("segment %d is not found by its key %#x", sight->id, (unsigned)sight->key);
	if (sight->key != 0 && (sight->key < FIRST_KEY || sight->key >= FIRST_KEY + KEYS))
		complain("segment %d has key %#x", sight->id, (unsigned)sight->key);
	if (state == 0) {
		/* Its maker was killed before he could tell. */
		soak->unknown++;
		ledger_put(sight->id, sight->mode & SHM_DEST ? REMOVED : GIVEN);
	}
	soak->attaches += sight->nattch;
	soak->marked += sight->mode & SHM_DEST ? 1 : 0;
}

static void look_into_segment(const struct sight *sight)
{
	unsigned char *at = shmat(sight->id, NULL, SHM_RDONLY);
	if (at == (void *)-1) {
		complain("segment %d cannot be attached: %s", sight->id, strerror(errno));
		return;
	}
	for (unsigned page = 0; page * PAGE < sight->size; page++) {
		if (!look_at_page(sight->id, sight->size, page, at + (size_t)page * PAGE, false))
			break;
		soak->stamped += *(volatile uint64_t *)(at + (size_t)page * PAGE) != 0;
	}
	if (shmdt(at) < 0)
		complain("segment %d cannot be detached: %s", sight->id, strerror(errno));
}

/* Returns how many segments there are. */
int job_quiet(int argument)
{
	struct shm_info info;
	static bool listed[SLOTS];
	long pages = 0;
	const struct sight *list = soak->list;
	int count = read_list(soak->list, 4096);
	(void)argument;

	if (count < 0 || count > 4096) {
		complain("the list has %d lines", count);
		return -1;
	}
	soak->segments = count;
	soak->attaches = soak->marked = soak->unknown = soak->stamped = 0;
	memset(listed, 0, sizeof listed);
	count_mappings();
	for (int i = 0; i < count; i++) {
		if (i > 0 && list[i].id % SLOTS <= list[i - 1].id % SLOTS)
			complain("the list shows %d behind %d", list[i].id, list[i - 1].id);
		for (int k = 0; k < i; k++)
			if (list[i].key != 0 && list[k].key == list[i].key)
				complain("segments %d and %d have one key", list[k].id, list[i].id);
		look_at_segment(&list[i]);
		listed[list[i].id % SLOTS] = true;
		pages += (list[i].size + PAGE - 1) / PAGE;
	}
	for (int slot = 0; slot < SLOTS; slot++) {
		uint64_t known = atomic_load(&soak->ledger[slot]);
		bool there = false;
		for (int i = 0; listed[slot] && i < count; i++)
			there |= list[i].id == (int)(known >> 8);
		if ((known & 0xff) == GIVEN && !there && !soak->forced)
			complain("segment %d was removed by nobody and is not there", (int)(known >> 8));
		if (mapped[slot] && !listed[slot])
			complain("segment %u is mapped and not listed", mapped_id[slot]);
	}
	for (int key = FIRST_KEY; key < FIRST_KEY + KEYS; key++) {
		int id = shmget(key, 0, 0), found = 0;
		for (int i = 0; i < count; i++)
			found += id >= 0 ? list[i].id == id && list[i].key == key : list[i].key == key;
		if (id >= 0 ? found != 1 : found != 0)
			complain("key %#x leads to %d", (unsigned)key, id);
	}
	if (soak->unknown > soak->kills)
		complain("%ld segments of which nobody knows, and %ld that were killed", soak->unknown, soak->kills);
	if (shmctl(0, SHM_INFO, (struct shmid_ds *)&info) < 0 || info.used_ids != count || (long)info.shm_tot != pages)
		complain("%d segments of %ld pages; SHM_INFO says %d of %lu", count, pages, info.used_ids, info.shm_tot);
	/* With shm_rmid_forced the probe would be the last use of those that nobody has. */
	for (int i = 0; i < count; i++)
		if (!soak->forced || list[i].nattch > 0)
			look_into_segment(&list[i]);
	return count;
}

/* Removes everything. */
int job_sweep_all(int argument)
{
	(void)argument;
	int count = read_list(soak->list, 4096);
	for (int i = 0; i < count; i++)
		if (shmctl(soak->list[i].id, IPC_RMID, NULL) < 0 && errno != EINVAL)
			complain("at the end segment %d cannot be removed: %s", soak->list[i].id, strerror(errno));
	return count;
}
