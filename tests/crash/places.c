/*
 * places.c - a link, a fifo, a directory, another's file, another mode, where the runtime directory, the table, a
 * directory, a segment or a liveness file should be.
 *
 * Nobody may hang or be killed by it, nothing outside the namespace may be read or changed, what is refused must be
 * refused with its path in the trace, and what succeeds must be the segment that was asked for.
 */
#include "hostile.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char outside[300], secret[320]; /* what lies beside the namespaces and is nobody's business */

/* --- what a program does */

enum { KEY = 0x1234, NEW_KEY = 0x1235, SIZE = 8192, SECRET_SEED = 77, OWN_SEED = 5 };

static int job_make(int argument)
{
	(void)argument;
	int id = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600);
	char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (at == (void *)-1)
		return -1;
	fill(at, OWN_SEED, SIZE);
	world_add(id, KEY, SIZE, OWN_SEED, 0600);
	return shmdt(at);
}

struct deed {
	int done, refused; /* how many calls */
	bool wrong_errno, foreign;
};
static struct deed *deed;

static bool note(long value)
{
	if (value != -1)
		deed->done++;
	else if (errno == EACCES || errno == ENOMEM || errno == EINVAL || errno == ENOENT || errno == EIDRM)
		deed->refused++;
	else
		deed->wrong_errno = true;
	return value != -1;
}

/* Everything, come what may. Contents are what they were, or nothing. */
static int job_everything(int argument)
{
	struct shmid_ds d;
	int id = the->segments ? the->segment[0].id : 0;
	(void)argument;
	*deed = (struct deed){ 0 };
	note(shmget(KEY, 0, 0));
	note(shmctl(id, IPC_STAT, &d));
	for (int flags = 0; flags <= SHM_RDONLY; flags += SHM_RDONLY) {
		void *at = shmat(id, NULL, flags);
		if (note((long)at)) {
			deed->foreign |= the->segments && !filled(at, OWN_SEED, SIZE);
			note(shmdt(at));
		}
	}
	int fresh = shmget(NEW_KEY, SIZE, IPC_CREAT | 0600);
	if (note(fresh)) {
		void *at = shmat(fresh, NULL, 0);
		if (note((long)at)) {
			deed->foreign |= !filled(at, 0, SIZE);
			note(shmdt(at));
		}
		if (shmctl(fresh, IPC_STAT, &d) == 0) {
			d.shm_perm.mode = 0666;
			note(shmctl(fresh, IPC_SET, &d));
		}
		note(shmctl(fresh, IPC_RMID, NULL));
	}
	return 0;
}

/* --- what somebody has put there */

enum expectation {
	REFUSED, /* no call succeeds, and the trace names the place */
	HARMLESS, /* calls may fail; nothing worse */
	WORKS, /* it is none of our business */
	MENDED, /* in user scope every call succeeds and the file has its mode again; else as HARMLESS */
};
enum kind { LINK, DANGLING, HARD_LINK, FIFO, DIRECTORY, PLAIN, SOCKET, NOBODY_ELSES, MODE };

static const struct row {
	const char *what;
	const char *name; /* in the runtime directory; "": itself; "SYSV": the segment's file */
	enum kind kind;
	unsigned mode;
	enum expectation expectation;
} rows[] = {
	{ "the runtime directory is a link to a directory", "", LINK, 0, REFUSED },
	{ "the runtime directory is a dangling link", "", DANGLING, 0, REFUSED },
	{ "the runtime directory is a fifo", "", FIFO, 0, REFUSED },
	{ "the runtime directory is a file", "", PLAIN, 0600, REFUSED },
	{ "the runtime directory is a socket", "", SOCKET, 0, REFUSED },
	{ "the runtime directory is somebody else's", "", NOBODY_ELSES, 0, REFUSED },
	{ "the runtime directory is open to all", "", MODE, 0777, REFUSED },
	{ "the runtime directory is open to a group", "", MODE, 0770, REFUSED },
	{ "the runtime directory is readable", "", MODE, 0755, REFUSED },
	{ "the runtime directory is closed", "", MODE, 0000, REFUSED },
	{ "segments is a link", "segments", LINK, 0, REFUSED },
	{ "segments is a dangling link", "segments", DANGLING, 0, REFUSED },
	{ "segments is a fifo", "segments", FIFO, 0, REFUSED },
	{ "segments is a file", "segments", PLAIN, 0700, REFUSED },
	{ "segments is somebody else's", "segments", NOBODY_ELSES, 0, REFUSED },
	{ "segments is open to a group", "segments", MODE, 0770, REFUSED },
	{ "live is a link", "live", LINK, 0, REFUSED },
	{ "live is a fifo", "live", FIFO, 0, REFUSED },
	{ "live is somebody else's", "live", NOBODY_ELSES, 0, REFUSED },
	{ "live is open to all", "live", MODE, 0777, REFUSED },
	{ "the table is a link", "registry", LINK, 0, REFUSED },
	{ "the table is a dangling link", "registry", DANGLING, 0, REFUSED },
	{ "the table has a second name", "registry", HARD_LINK, 0, REFUSED },
	{ "the table is a fifo", "registry", FIFO, 0, REFUSED },
	{ "the table is a directory", "registry", DIRECTORY, 0, REFUSED },
	{ "the table is an empty file", "registry", PLAIN, 0600, REFUSED },
	{ "the table is a socket", "registry", SOCKET, 0, REFUSED },
	{ "the table is somebody else's", "registry", NOBODY_ELSES, 0, REFUSED },
	{ "the table is readable", "registry", MODE, 0644, REFUSED },
	{ "the table is writable for a group", "registry", MODE, 0660, REFUSED },
	{ "a liveness file is a link", "live/0", LINK, 0, HARMLESS },
	{ "a liveness file is a dangling link", "live/0", DANGLING, 0, HARMLESS },
	{ "a liveness file has a second name", "live/0", HARD_LINK, 0, HARMLESS },
	{ "a liveness file is a fifo", "live/0", FIFO, 0, HARMLESS },
	{ "a liveness file is a directory", "live/0", DIRECTORY, 0, HARMLESS },
	{ "a liveness file is a socket", "live/0", SOCKET, 0, HARMLESS },
	{ "a liveness file is somebody else's", "live/0", NOBODY_ELSES, 0, HARMLESS },
	{ "a liveness file is closed", "live/0", MODE, 0, HARMLESS },
	{ "a later liveness file is a fifo", "live/1", FIFO, 0, HARMLESS },
	{ "a segment is a link", "SYSV", LINK, 0, HARMLESS },
	{ "a segment is a dangling link", "SYSV", DANGLING, 0, HARMLESS },
	{ "a segment has a second name", "SYSV", HARD_LINK, 0, HARMLESS },
	{ "a segment is a fifo", "SYSV", FIFO, 0, HARMLESS },
	{ "a segment is a directory", "SYSV", DIRECTORY, 0, HARMLESS },
	{ "a segment is too short", "SYSV", PLAIN, 0600, HARMLESS },
	{ "a segment is a socket", "SYSV", SOCKET, 0, HARMLESS },
	{ "a segment is somebody else's", "SYSV", NOBODY_ELSES, 0, HARMLESS },
	{ "a segment is closed", "SYSV", MODE, 0, MENDED },
	{ "the next segment is a link", "SYSV+1", LINK, 0, WORKS },
	{ "the next segment is a dangling link", "SYSV+1", DANGLING, 0, WORKS },
	{ "the next segment has a second name", "SYSV+1", HARD_LINK, 0, WORKS },
	{ "the next segment is a fifo", "SYSV+1", FIFO, 0, WORKS },
	{ "the next segment is a directory", "SYSV+1", DIRECTORY, 0, WORKS },
	{ "an unknown name is among the segments", "segments/notes", PLAIN, 0600, WORKS },
	{ "an unknown name is among the liveness files", "live/notes", FIFO, 0, WORKS },
};

static bool is_directory(const char *name) { return !*name || !strcmp(name, "segments") || !strcmp(name, "live"); }

/* Owned by the user that put it there: a stranger in system scope, where he can; else the owner himself. */
static void put(const struct row *row, const char *path, uid_t by)
{
	bool made = true;
	if (row->kind != MODE && row->kind != NOBODY_ELSES && row->kind != HARD_LINK) {
		struct stat status;
		if (lstat(path, &status) == 0 && S_ISDIR(status.st_mode))
			remove_tree(path);
		else
			unlink(path);
	}
	switch (row->kind) {
	case LINK: must(symlink(is_directory(row->name) ? outside : secret, path), path); break;
	case DANGLING: must(symlink("/nonexistent/shmshim", path), path); break;
	case HARD_LINK:
		if (access(path, F_OK) == 0)
			must(link(path, inside("another-name")), path);
		else
			must(link(secret, path), path);
		made = false;
		break;
	case FIFO: must(mkfifo(path, 0666), path); break;
	case DIRECTORY: must(mkdir(path, 0700), path); break;
	case PLAIN: {
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, row->mode);
		must(fd, path);
		must(fchmod(fd, row->mode), path);
		close(fd);
		break;
	}
	case SOCKET: {
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		snprintf(address.sun_path, sizeof address.sun_path, "%.107s", path);
		must(bind(fd, (struct sockaddr *)&address, sizeof address), path);
		close(fd);
		break;
	}
	case NOBODY_ELSES: by = STRANGER; break;
	case MODE: must(chmod(path, row->mode), path); made = false; break;
	}
	if (made && is_root)
		must(lchown(path, by, by), path);
}

static void one_place(const struct row *row, const char *scope)
{
	struct actor owner;
	struct answer answer;
	struct stat before, after;
	char what[200], path[600];
	bool system = strcmp(scope, "system") == 0;
	uid_t by = system ? STRANGER : OWNER;
	bool mended = row->expectation == MENDED && !system;

	snprintf(what, sizeof what, "%s scope: %s", scope, row->what);
	if (row->kind == NOBODY_ELSES && (!is_root || system))
		return;
	/* In system scope everybody's modes are others, and the directories' owner is whichever user came first. */
	if (system && (row->kind == MODE || row->kind == PLAIN) && row->name[0] != 'S')
		return;
	place(scope, OWNER, 01777);
	actor_of(&owner, OWNER);
	if (!act(&owner, job_make, 0, &answer, what) || answer.value != 0)
		fatal("%s: no segment could be made: %s", what, strerror(answer.error));
	actor_kill(&owner);
	if (strcmp(row->name, "SYSV") == 0)
		snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, KEY, the->segment[0].id);
	else if (strcmp(row->name, "SYSV+1") == 0)
		snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, NEW_KEY, the->segment[0].id + 1);
	else
		snprintf(path, sizeof path, "%s", inside(row->name));
	put(row, path, by);
	must(lstat(path, &before), path);
	trace_clear();

	actor_of(&owner, OWNER);
	if (act(&owner, job_everything, 0, &answer, what)) {
		struct stat kept;
		int seen = open(secret, O_RDONLY);
		char bytes[SIZE];
		bool intact = read(seen, bytes, SIZE) == SIZE && filled(bytes, SECRET_SEED, SIZE) &&
			      fstat(seen, &kept) == 0 && (kept.st_mode & 07777) == 0600;
		close(seen);
		if (!intact)
			failed("%s: a file outside was changed", what);
		else if (rmdir(outside) < 0 || mkdir(outside, 0777) < 0 || chmod(outside, 0777) < 0)
			failed("%s: something was made outside", what);
		else if (deed->foreign)
			failed("%s: an attach shows what is not the segment's", what);
		else if (deed->wrong_errno)
			failed("%s: an errno that the calls do not have", what);
		else if (row->expectation == REFUSED && deed->done)
			failed("%s: %d calls succeed", what, deed->done);
		else if (row->expectation == REFUSED && !trace_says(path))
			failed("%s: the trace does not name it", what);
		else if ((row->expectation == WORKS || mended) && deed->refused)
			failed("%s: %d calls fail", what, deed->refused);
		else if (lstat(path, &after) < 0 || after.st_ino != before.st_ino ||
			 after.st_mode != (mended ? S_IFREG | 0600 : before.st_mode) || after.st_uid != before.st_uid)
			failed("%s: it was removed or changed", what);
		else
			passed();
	}
	actor_kill(&owner);
	unlink(inside("another-name"));
	place_end();
}

/* --- the base */

static void one_base(const char *what, unsigned mode, uid_t base_owner, bool works)
{
	struct actor owner;
	struct answer answer;

	place("user", OWNER, mode);
	if (is_root)
		must(chown(the->base, base_owner, base_owner), the->base);
	actor_of(&owner, OWNER);
	if (act(&owner, job_everything, 0, &answer, what)) {
		/* Two calls ask for what is not there. */
		if (works ? deed->done < 4 : deed->done != 0)
			failed("%s: %d calls succeed", what, deed->done);
		else if (!works && !trace_says(the->base))
			failed("%s: the trace does not name it", what);
		else
			passed();
	}
	actor_kill(&owner);
	place_end();
}

void test_places(void)
{
	deed = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(outside, sizeof outside, "%s/outside", root);
	snprintf(secret, sizeof secret, "%s/secret", root);
	must(mkdir(outside, 0777), outside);
	int fd = open(secret, O_WRONLY | O_CREAT | O_EXCL, 0600);
	char bytes[SIZE];
	fill(bytes, SECRET_SEED, SIZE);
	if (fd < 0 || write(fd, bytes, SIZE) != SIZE || (is_root && fchown(fd, OWNER, OWNER) < 0))
		fatal("%s: %s", secret, strerror(errno));
	close(fd);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		one_place(&rows[i], "user");
		one_place(&rows[i], "system");
	}
	one_base("a base that is writable for all", 0777, OWNER, false);
	one_base("a base that is writable for a group", 0770, OWNER, false);
	one_base("a base of one's own", 0700, OWNER, true);
	one_base("a base that others may read", 0755, OWNER, true);
	one_base("a sticky base", 01777, OWNER, true);
	if (is_root) {
		one_base("somebody else's base", 0755, STRANGER, false);
		one_base("root's sticky base", 01777, 0, true);
	} else {
		skipped("bases and files of other uids: not root");
	}
}
