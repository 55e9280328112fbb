/* The four calls, and everything that can be read about the namespace. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif
#define CANARY 0xa5

static const char *const limit_files[LIMIT_COUNT] = {
	"/proc/sys/kernel/shmmax", "/proc/sys/kernel/shmall", "/proc/sys/kernel/shmmni", "/proc/sys/kernel/shm_rmid_forced",
};

static bool all_bytes(const void *from, size_t length, unsigned char value)
{
	for (size_t k = 0; k < length; k++)
		if (((const unsigned char *)from)[k] != value)
			return false;
	return true;
}

static void emit_segment(const struct shmid_ds *ds)
{
	struct shmid_ds rest = *ds;
	unsigned mode = ds->shm_perm.mode ^ (current_perturb == PERTURB_MODE);
	unsigned long nattch = ds->shm_nattch + (current_perturb == PERTURB_NATTCH && ds->shm_nattch > 0);
	long dtime = current_perturb == PERTURB_DTIME && ds->shm_dtime ? 1 : (long)ds->shm_dtime;
	int lpid = current_perturb == PERTURB_LPID && ds->shm_lpid ? 1 : ds->shm_lpid;

	emit(" key=%#x uid=%d gid=%d cuid=%d cgid=%d mode=%05o seq={q:%u} size=%zu", (unsigned)ds->shm_perm.__key,
	     ds->shm_perm.uid + (current_perturb == PERTURB_UID), ds->shm_perm.gid, ds->shm_perm.cuid, ds->shm_perm.cgid, mode,
	     ds->shm_perm.__seq, ds->shm_segsz + (current_perturb == PERTURB_SIZE));
	emit(" atime={t:%ld} dtime={t:%ld} ctime={t:%ld} cpid={p:%d} lpid={p:%d} nattch=%lu", (long)ds->shm_atime, dtime,
	     (long)ds->shm_ctime, ds->shm_cpid, lpid, nattch);
	rest.shm_perm.__key = 0;
	rest.shm_perm.uid = rest.shm_perm.gid = rest.shm_perm.cuid = rest.shm_perm.cgid = 0;
	rest.shm_perm.mode = rest.shm_perm.__seq = 0;
	rest.shm_segsz = 0;
	rest.shm_atime = rest.shm_dtime = rest.shm_ctime = 0;
	rest.shm_cpid = rest.shm_lpid = 0;
	rest.shm_nattch = 0;
	if (!all_bytes(&rest, sizeof rest, 0))
		emit(" reserved-not-zero");
}

/* A buffer with something recognisable in and behind it. */
union guarded {
	struct shmid_ds ds;
	struct shminfo limits;
	struct shm_info info;
	unsigned char bytes[256];
};

static void emit_buffer(int64_t cmd, const union guarded *buffer)
{
	size_t used = cmd == IPC_INFO ? sizeof buffer->limits : cmd == SHM_INFO ? sizeof buffer->info : sizeof buffer->ds;

	if (cmd == IPC_INFO) {
		emit(" shmmax=%lu shmmin=%lu shmmni=%lu shmseg=%lu shmall=%lu", buffer->limits.shmmax, buffer->limits.shmmin,
		     buffer->limits.shmmni, buffer->limits.shmseg, buffer->limits.shmall);
		if (!all_bytes(&buffer->limits.shmall + 1, sizeof buffer->limits - 5 * sizeof(long), 0))
			emit(" reserved-not-zero");
	} else if (cmd == SHM_INFO) {
		emit(" used_ids=%d tot=%lu rss=%lu swp=%lu swap=%lu/%lu", buffer->info.used_ids, buffer->info.shm_tot,
		     buffer->info.shm_rss, buffer->info.shm_swp, buffer->info.swap_attempts, buffer->info.swap_successes);
	} else {
		emit_segment(&buffer->ds);
	}
	if (!all_bytes(buffer->bytes + used, sizeof buffer->bytes - used, CANARY))
		emit(" wrote-behind-the-structure");
}

static bool gives_id(int64_t cmd)
{
	return cmd == SHM_STAT || cmd == SHM_STAT_ANY;
}

static bool fills_buffer(int64_t cmd)
{
	return cmd == IPC_STAT || cmd == SHM_STAT || cmd == SHM_STAT_ANY || cmd == IPC_INFO || cmd == SHM_INFO;
}

/* Two pages that a bad pointer needs: one readable, one that nothing may touch. */
static unsigned char *bad_pages(void)
{
	static unsigned char *pages;

	if (!pages) {
		pages = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (pages == MAP_FAILED) {
			perror("mmap");
			exit(1);
		}
		mprotect(pages, PAGE, PROT_READ);
		mprotect(pages + 2 * PAGE, PAGE, PROT_NONE);
	}
	return pages;
}

/* Divergence: what SHM_INFO calls resident may be what it was at the last tick of the clock. */
static void await_next_tick(void)
{
	struct timespec then, now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &then);
	do {
		nanosleep(&(struct timespec){ 0, 500000 }, NULL);
		clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	} while (now.tv_sec == then.tv_sec && now.tv_nsec == then.tv_nsec);
}

static void do_ctl(const struct step *step)
{
	union guarded buffer;
	struct shmid_ds set;
	void *pointer = &buffer;
	char *address;
	int64_t cmd = step->n[0];
	long ret;

	memset(&buffer, CANARY, sizeof buffer);
	memset(&set, 0x5a, sizeof set);
	set.shm_perm.uid = (uid_t)step->n[2];
	set.shm_perm.gid = (gid_t)step->n[3];
	set.shm_perm.mode = (unsigned short)step->n[4];
	if (cmd == IPC_SET)
		memcpy(&buffer, &set, sizeof set);
	switch (step->n[1]) {
	case BUF_NULL:
		pointer = NULL;
		break;
	case BUF_UNMAPPED:
		pointer = ARENA - 16 * PAGE;
		break;
	case BUF_READONLY:
		pointer = bad_pages(); /* IPC_SET may read here: uid 0, gid 0, mode 0 */
		break;
	case BUF_TAIL:
		pointer = bad_pages() + 2 * PAGE - 24; /* the interesting fields are there, the rest is not */
		if (cmd == IPC_SET)
			memcpy(pointer, &set, 24);
		break;
	case BUF_KERNEL:
		pointer = (void *)0xffffffff80000000u;
		break;
	case BUF_ARENA:
		if (!resolve(&step->at, NULL, &address))
			return;
		pointer = address;
		break;
	}
	if (cmd == SHM_INFO)
		await_next_tick();
	errno = UNTOUCHED;
	ret = shmctl((int)step->id.value, (int)cmd, pointer);
	(gives_id(cmd) ? emit_id_result : emit_result)(ret, errno);
	if (ret < 0 || !fills_buffer(cmd))
		return;
	if (pointer == &buffer)
		emit_buffer(cmd, &buffer);
	else /* what lies in a segment is summed up and shown: no times and pids there */
		memset(pointer, 1, cmd == IPC_INFO ? sizeof buffer.limits : cmd == SHM_INFO ? sizeof buffer.info : sizeof buffer.ds);
}

static void do_get(const struct step *step)
{
	long ret;

	errno = UNTOUCHED;
	ret = shmget((key_t)step->n[0], (size_t)step->n[1], (int)step->n[2]);
	if (ret >= 0 && current_perturb == PERTURB_ID)
		ret++;
	emit_id_result(ret, errno);
	reply.ret = ret;
	reply.has_ret = 1;
}

static void do_at(const struct step *step)
{
	bool anywhere = step->at.kind == ADDR_VALUE && step->at.value == 0;
	struct region region;
	char *address, *got;
	int error;

	if (!resolve(&step->at, NULL, &address))
		return;
	errno = UNTOUCHED;
	got = shmat((int)step->id.value, address, (int)step->n[0]);
	error = errno;
	if (got == (void *)-1) {
		emit_result(-1, error);
		return;
	}
	emit(" = ");
	if (anywhere)
		emit("@%d%s", step->name, (uintptr_t)got % PAGE ? " not-aligned" : "");
	else
		emit_address(got);
	if (error != UNTOUCHED)
		emit(" errno-touched");
	if (!region_at(got, &region) || !region.shm) {
		emit(" not-mapped");
		return;
	}
	emit(" %ldp %s id={i:%ld} offset=%lu", (region.end - got) / PAGE, region.protection, region.id, region.offset);
	if (anywhere)
		placed[step->name] = (struct placed){ .address = got, .length = region.end - got, .live = true };
}

static void do_dt(const struct step *step)
{
	char *address;
	long ret;

	if (!resolve(&step->at, NULL, &address))
		return;
	errno = UNTOUCHED;
	ret = shmdt(address);
	emit_result(ret, errno);
	if (ret == 0 && step->at.kind == ADDR_ATTACH && step->at.value == 0)
		placed[step->at.name].live = false;
}

static void do_touch(const struct step *step)
{
	void *got = shmat((int)step->id.value, NULL, (int)step->n[0] & (SHM_RDONLY | SHM_EXEC));

	if (got != (void *)-1)
		shmdt(got);
}

static void do_churn(const struct step *step)
{
	long id = -1;

	for (int64_t k = 0; k < step->n[0]; k++) {
		id = shmget(IPC_PRIVATE, (size_t)PAGE, 0600);
		if (k == 0 && id >= 0)
			emit(" first id {i:%ld}", id); /* others are told relative to the first of all */
		if (id < 0 || shmctl((int)id, IPC_RMID, NULL) < 0) {
			emit(" after %d:", (int)k);
			emit_result(-1, errno);
			return;
		}
	}
	emit(" last id {i:%ld}", id);
}

static size_t read_file(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t got;

	if (fd < 0) {
		emit(" %s: %s", path, error_name(errno));
		return 0;
	}
	while (used < size - 1 && (got = read(fd, out + used, size - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	out[used] = '\0';
	return used;
}

/* The text must be what the kernel's formats make of the values in it; then the values are shown. */
static void show_line(const char *line)
{
	static const char format[] = "%10d %10d  %4o %21lu %5u %5u  %5lu %5u %5u %5u %5u %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %21lu %21lu";
	int key, id;
	unsigned mode, cpid, lpid, uid, gid, cuid, cgid;
	unsigned long size, nattch, rss, swap;
	uint64_t atime, dtime, ctime;
	char again[512];

	if (sscanf(line, "%d %d %o %lu %u %u %lu %u %u %u %u %" SCNu64 " %" SCNu64 " %" SCNu64 " %lu %lu", &key, &id, &mode, &size, &cpid, &lpid,
		   &nattch, &uid, &gid, &cuid, &cgid, &atime, &dtime, &ctime, &rss, &swap) != 16) {
		emit("\n    proc, not understood: \"%s\"", line);
		return;
	}
	snprintf(again, sizeof again, format, key, id, mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime, rss, swap);
	if (strcmp(again, line) != 0)
		emit("\n    proc, not the kernel's format: \"%s\"", line);
	emit("\n    proc key=%d id={i:%d} mode=%o size=%lu cpid={p:%u} lpid={p:%u} nattch=%lu uid=%u gid=%u cuid=%u cgid=%u"
	     " atime={t:%" PRIu64 "} dtime={t:%" PRIu64 "} ctime={t:%" PRIu64 "} rss=%lu swap=%lu",
	     key, id, mode, size, cpid, lpid, nattch, uid, gid, cuid, cgid, atime, dtime, ctime, rss, swap);
}

static void show_proc(void)
{
	static char text[256 * 1024];
	size_t length = read_file("/proc/sysvipc/shm", text, sizeof text);
	char *line = text;

	if (current_perturb == PERTURB_PROC_TEXT && length > 200)
		text[length - 3] = 'x';
	if (!length || text[length - 1] != '\n') {
		emit(" proc text does not end in a newline");
		return;
	}
	for (bool header = true; *line; header = false) {
		char *end = strchr(line, '\n');

		*end = '\0';
		if (header)
			emit("\n    proc \"%s\"", line);
		else
			show_line(line);
		line = end + 1;
	}
}

static void show_limit(int which)
{
	char text[64] = "";
	size_t length = read_file(limit_files[which], text, sizeof text);

	if (current_perturb == PERTURB_LIMIT && length)
		text[0]++;
	if (length && text[length - 1] == '\n')
		text[length - 1] = '\0';
	else
		emit(" no-newline");
	emit(" %s=%s", strrchr(limit_files[which], '/') + 1, text);
}

static void show_limits(void)
{
	for (int which = 0; which < LIMIT_COUNT; which++)
		show_limit(which);
}

static long show_command(const char *name, int index, int cmd)
{
	union guarded buffer;
	long ret;

	memset(&buffer, CANARY, sizeof buffer);
	if (cmd == SHM_INFO)
		await_next_tick();
	errno = UNTOUCHED;
	ret = shmctl(index, cmd, &buffer.ds);
	if (cmd == SHM_STAT_ANY && ret < 0 && errno == EINVAL)
		return ret; /* an unused index */
	emit("\n    %s %d", name, index);
	(gives_id(cmd) ? emit_id_result : emit_result)(ret, errno);
	if (ret >= 0)
		emit_buffer(cmd, &buffer);
	return ret;
}

static void do_snapshot(const struct step *step)
{
	long highest = 0;

	/* Whichever comes first finds out what has happened since the last look: each gets its turn. */
	if (step->name % 3 == 1)
		show_proc();
	if (step->name % 3 == 2)
		show_command("info", 0, SHM_INFO);
	highest = show_command("limits", 0, IPC_INFO);
	for (int index = 0; index <= highest; index++)
		show_command("segment", index, SHM_STAT_ANY);
	if (step->name % 3 != 2)
		show_command("info", 0, SHM_INFO);
	if (step->name % 3 != 1)
		show_proc();
	emit("\n   ");
	show_limits();
}

static void do_setlimit(const struct step *step)
{
	char text[32];
	int length = snprintf(text, sizeof text, "%" PRIu64 "\n", (uint64_t)step->n[1]);
	int fd = open(limit_files[step->n[0]], O_WRONLY | O_CLOEXEC);
	ssize_t written;

	if (fd < 0) {
		emit_result(-1, errno);
		return;
	}
	written = write(fd, text, (size_t)length);
	close(fd);
	/*
	 * Divergence: the shim sees the file when it is closed, or later; a write(2) of a value that the
	 * kernel refuses with EINVAL succeeds there and changes nothing. So only the result of good ones counts.
	 */
	if (step->n[2])
		emit(" wrote %ld", (long)written);
	show_limit((int)step->n[0]);
}

bool perform_call(const struct step *step)
{
	switch (step->op) {
	case OP_GET: do_get(step); break;
	case OP_AT: do_at(step); break;
	case OP_DT: do_dt(step); break;
	case OP_CTL: do_ctl(step); break;
	case OP_TOUCH: do_touch(step); break;
	case OP_CHURN: do_churn(step); break;
	case OP_SNAPSHOT: do_snapshot(step); break;
	case OP_PROCSHM: show_proc(); break;
	case OP_LIMITS: show_limits(); break;
	case OP_SETLIMIT: do_setlimit(step); break;
	default: return false;
	}
	return true;
}
