/*
 * attack_tree.c - root is led to delete, make or change files in a directory that is none of the namespace's.
 *
 * In system scope root works where others may write. Whatever they put there, and whenever they exchange it, root's
 * programs touch no file outside of the namespace.
 */
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* --- what must stay as it is */

static char precious[320];

static const char *const precious_names[] = { "registry", "precious", "0", "1" };
enum { PRECIOUS_NAMES = sizeof precious_names / sizeof *precious_names };

static void put_precious(const char *name)
{
	char path[640];
	snprintf(path, sizeof path, "%s/%s", precious, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, KNOWN_SIZE) < 0)
		fatal("%s: %s", path, strerror(errno));
	close(fd);
}

/* What a directory of root's looks like, to the last file and mode. */
static unsigned long look_of(const char *directory)
{
	unsigned long sum = 0;
	struct dirent *entry;
	DIR *open = opendir(directory);
	while (open && (entry = readdir(open)) != NULL) {
		char path[600];
		struct stat status;
		unsigned long hash = 5381;
		snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
		if (strcmp(entry->d_name, "..") == 0 || lstat(path, &status) < 0)
			continue;
		for (const char *at = entry->d_name; *at; at++)
			hash = hash * 33 + (unsigned char)*at;
		hash = hash * 33 + status.st_mode;
		hash = hash * 33 + status.st_uid;
		hash = hash * 33 + (S_ISREG(status.st_mode) ? (unsigned long)status.st_size : 0);
		/* What was made and removed again leaves the time. */
		if (S_ISDIR(status.st_mode))
			hash = hash * 33 + (unsigned long)status.st_mtim.tv_nsec + (unsigned long)status.st_mtim.tv_sec;
		sum += hash * 2654435761u;
	}
	if (open)
		closedir(open);
	return sum;
}

static unsigned long as_it_was;

static void make_precious(void)
{
	snprintf(precious, sizeof precious, "%s/precious", root);
	make_directory(precious, 0, 0755);
	for (int i = 0; i < PRECIOUS_NAMES; i++)
		put_precious(precious_names[i]);
	as_it_was = look_of(precious);
}

/* Says so once; then it is made whole again. */
static bool is_intact(void)
{
	bool intact = look_of(precious) == as_it_was;
	remove_tree(precious);
	make_precious();
	return intact;
}

/* --- a directory that is still being made */

enum { FILLERS = 1500 };
static char planted[500], evil[520]; /* the attacker's directory, and the link that he exchanges it for */
static int watch = -1;

static bool plant_at(const char *hidden, const char *name)
{
	snprintf(planted, sizeof planted, "%.400s/%s", hidden, name);
	snprintf(evil, sizeof evil, "%.400s/evil-%s", hidden, name);
	if (mkdir(planted, 0777) < 0)
		return false;
	chmod(planted, 0777);
	/* What is first in the listing goes first: precious names are in the middle. */
	for (int i = 0; i < 2 * FILLERS; i++) {
		char path[560];
		int fd;
		snprintf(path, sizeof path, "%s/filler%d", planted, i);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		close(fd);
		if (i == FILLERS)
			for (int k = 0; k < PRECIOUS_NAMES; k++) {
				snprintf(path, sizeof path, "%s/%s", planted, precious_names[k]);
				close(open(path, O_WRONLY | O_CREAT, 0600));
			}
	}
	if (symlink(precious, evil) < 0)
		return false;
	inotify_add_watch(watch, planted, IN_DELETE);
	return true;
}

static bool is_hidden(const char *name)
{
	const char *own = strrchr(the->directory, '/') + 1;
	return strncmp(name, ".shmshim", 8) == 0 && strcmp(name, own) != 0;
}

/* In every directory that is being made: how many could be planted. */
static int job_plant(int argument)
{
	int count = 0;
	struct dirent *entry;
	DIR *base = opendir(the->base);
	(void)argument;
	close(watch);
	watch = inotify_init1(IN_CLOEXEC);
	while (base && (entry = readdir(base)) != NULL) {
		char hidden[600];
		snprintf(hidden, sizeof hidden, "%.256s/%s", the->base, entry->d_name);
		if (is_hidden(entry->d_name))
			count += plant_at(hidden, "live") + plant_at(hidden, "segments");
	}
	if (base)
		closedir(base);
	return count;
}

static bool something_happens(int milliseconds)
{
	struct pollfd ready = { .fd = watch, .events = POLLIN };
	return poll(&ready, 1, milliseconds) == 1;
}

/* The moment something is deleted in it, the directory is a link. */
static int job_swap(int argument)
{
	(void)argument;
	while (!something_happens(5))
		if (atomic_load(&duel->over))
			return 0;
	return renameat2(AT_FDCWD, planted, AT_FDCWD, evil, RENAME_EXCHANGE) == 0;
}

static int job_first_call(int huge)
{
	mark(BEGIN_MARK);
	int id = huge ? shmget(IPC_PRIVATE, HUGE_BYTES, SHM_HUGETLB | SHM_NORESERVE | 0600) : shmget(IPC_PRIVATE, PAGE, 0600);
	int error = errno;
	mark(END_MARK);
	errno = error;
	return id;
}

/* Root's maker is stopped here; it dies, or goes on. Whether there is such a place. */
static bool stopped_maker(int stop, bool dies, bool huge, const char *huge_mount)
{
	struct actor maker, attacker;
	struct tracee tracee;
	struct answer answer;
	char base[256];

	if (huge)
		place_of_root();
	else
		place("system", 0, 01777);
	atomic_store(&duel->over, false);
	actor_of(&attacker, STRANGER);
	actor_of(&maker, 0);
	if (!trace_attach(&tracee, maker.pid, FOLLOW_PARENT))
		fatal("ptrace: %s", strerror(errno));
	actor_send(&maker, job_first_call, huge);
	if (!trace_to_beginning(&tracee))
		fatal("the first call does not begin");
	bool reached = trace_to(&tracee, (struct point){ stop, 0 }) == REACHED;
	memcpy(base, the->base, sizeof base);
	if (huge)
		snprintf(the->base, sizeof the->base, "%.250s", huge_mount);
	int count = reached ? ask(&attacker, job_plant, 0) : 0;
	if (count > 0)
		actor_send(&attacker, job_swap, 0);
	if (reached && !dies) {
		trace_let_go(&tracee);
		if (actor_hear(&maker, &answer, 20000) != HEARD || answer.value < 0)
			wrong("stopped at %d, root's first program is not served: %s", stop, strerror(answer.error));
	} else {
		kill_and_wait(tracee.pid);
		actor_is_gone(&maker);
	}
	actor_kill(&maker);
	if (reached && run_as(0, job_first_call, huge) < 0)
		wrong("after a stop at %d root is not served: %s", stop, strerror(refusal));
	atomic_store(&duel->over, true);
	if (count > 0)
		actor_hear(&attacker, &answer, 10000);
	actor_kill(&attacker);
	if (!is_intact())
		wrong("stopped at %d, its maker %s: files of root's are gone or changed", stop, dies ? "dies" : "goes on");
	memcpy(the->base, base, sizeof base);
	table_forget();
	place_end();
	return reached;
}

static void half_made(void)
{
	make_precious();
	for (int dies = 0; dies < 2; dies++)
		for (int stop = 0; stopped_maker(stop, dies, false, NULL); stop++)
			;
	remove_tree(precious);
}

static void half_made_huge(void)
{
	char own[300], mount_point[300];
	make_precious();
	/* The one that the other tests have is for root alone. */
	snprintf(own, sizeof own, "%s/huge", root);
	umount2(own, MNT_DETACH);
	snprintf(mount_point, sizeof mount_point, "%s/huge-for-all", root);
	make_directory(mount_point, 0, 0700);
	must(mount("hostile", mount_point, "hugetlbfs", 0, "pagesize=2M,mode=1777"), "mount");
	for (int dies = 0; dies < 2; dies++)
		for (int stop = 0; stopped_maker(stop, dies, true, mount_point); stop++)
			remove_tree(mount_point);
	must(umount2(mount_point, MNT_DETACH), "umount");
	rmdir(mount_point);
	must(mount("check-crash", own, "hugetlbfs", 0, "pagesize=2M,mode=0700"), "mount");
	remove_tree(precious);
}

/* --- the same, without a stop: who is faster */

/* With few files: what they were made in is about to be removed. Then it is a link as often as not. */
static bool pounce_on(const char *hidden)
{
	snprintf(planted, sizeof planted, "%.400s/segments", hidden);
	snprintf(evil, sizeof evil, "%.400s/evil", hidden);
	for (int i = 0; i < 20000 && mkdir(planted, 0777) < 0; i++)
		if (errno != EACCES)
			return false;
	for (int k = 0; k < PRECIOUS_NAMES; k++) {
		char path[560];
		snprintf(path, sizeof path, "%s/%s", planted, precious_names[k]);
		close(open(path, O_WRONLY | O_CREAT, 0600));
	}
	if (symlink(precious, evil) < 0)
		return false;
	for (int i = 0; i < 3000; i++)
		if (renameat2(AT_FDCWD, planted, AT_FDCWD, evil, RENAME_EXCHANGE) < 0)
			return i > 0;
	return true;
}

static int job_pounce(int argument)
{
	char buffer[4096] __attribute__((aligned(8)));
	(void)argument;
	int base = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	inotify_add_watch(base, the->base, IN_CREATE);
	while (!atomic_load(&duel->over)) {
		char hidden[600];
		const struct inotify_event *event = (const struct inotify_event *)buffer;
		if (read(base, buffer, sizeof buffer) <= 0 || !event->len || !is_hidden(event->name))
			continue;
		snprintf(hidden, sizeof hidden, "%.256s/%.255s", the->base, event->name);
		if (pounce_on(hidden))
			atomic_fetch_add(&duel->strokes, 1);
	}
	return close(base);
}

static void raced(void)
{
	struct actor attacker;
	int rounds = full ? 1000 : 150, done;
	make_precious();
	place("system", 0, 01777);
	actor_of(&attacker, STRANGER);
	actor_send(&attacker, job_pounce, 0);
	for (done = 0; done < rounds; done++) {
		serves(0, "root");
		if (!is_intact()) {
			wrong("in round %d files of root's are gone or changed", done);
			break;
		}
		remove_tree(the->directory);
	}
	atomic_store(&duel->over, true);
	actor_kill(&attacker);
	if (verbose)
		printf("%ld directories exchanged in %d rounds\n", atomic_load(&duel->strokes), done);
	place_end();
	remove_tree(precious);
}

/* --- a namespace of all users that one of them has made */

static void made_by_user(void)
{
	place("system", 0, 01777);
	serves(STRANGER, "its owner");
	refuses(0, the->directory, STRANGER);
	refuses(OWNER, the->directory, STRANGER);
	place_end();
}

/* The namespace's owner exchanges parts of it for links, as fast as he can. */
static int job_flip(int which)
{
	static const char *const parts[] = { "segments", "live", "" };
	char link[700];
	snprintf(link, sizeof link, "%s/link", *parts[which] ? the->directory : the->base);
	if (symlink(precious, link) < 0)
		return -1;
	while (!atomic_load(&duel->over)) {
		renameat2(AT_FDCWD, link, AT_FDCWD, inside(parts[which]), RENAME_EXCHANGE);
		atomic_fetch_add(&duel->strokes, 1);
	}
	return 0;
}

/* Says in the table that the segment is root's. */
static int job_say_it_is_roots(int argument)
{
	size_t size;
	volatile unsigned char *table = table_open(&size);
	(void)argument;
	if (!table)
		return -1;
	unsigned slot = (unsigned)the->segment[0].id % 32768;
	*slot_word(table, slot, S_UID) = *slot_word(table, slot, S_CUID) = 0;
	return 0;
}

/* Every operation that makes, opens, changes or removes a file. */
enum operation { MAKES, ATTACHES, SETS, REMOVES, REAPS, OPERATIONS };

static int job_operation(int which)
{
	struct shmid_ds d;
	int id = the->segment[0].id, value = 0;
	void *at;
	mark(BEGIN_MARK);
	switch ((enum operation)which) {
	case MAKES: value = shmget(KNOWN_KEY + 1, PAGE, IPC_CREAT | 0666); break;
	case ATTACHES:
		at = shmat(id, NULL, 0);
		if (at != (void *)-1)
			shmdt(at);
		break;
	case SETS:
		value = shmctl(id, IPC_STAT, &d);
		d.shm_perm.mode ^= 0022;
		shmctl(id, IPC_SET, &d);
		break;
	case REMOVES: value = shmctl(id, IPC_RMID, NULL); break;
	case REAPS: value = job_reap(0); break;
	case OPERATIONS: break;
	}
	mark(END_MARK);
	return value;
}

static int job_every_operation(int argument)
{
	for (int i = 0; i < argument; i++) {
		for (int which = MAKES; which <= SETS; which++)
			job_operation(which);
		shmctl(shmget(KNOWN_KEY + 1, 0, 0), IPC_RMID, NULL);
	}
	return job_operation(REMOVES);
}

/* An ordinary user has made the namespace of all users, and a segment that is root's if one believes the table. */
static void place_of_stranger(bool lost_table)
{
	char name[64];
	place("system", 0, 01777);
	if (run_as(STRANGER, job_make_known, 0666) != 0)
		fatal("no segment could be made: %s", strerror(refusal));
	snprintf(name, sizeof name, "SYSV%08x.%d", KNOWN_KEY, the->segment[0].id);
	make_precious();
	put_precious(name);
	as_it_was = look_of(precious);
	run_as(STRANGER, job_say_it_is_roots, 0);
	if (lost_table)
		unlink(inside("registry"));
}

static void flipped(int which, bool lost_table)
{
	struct actor attacker;
	place_of_stranger(lost_table);
	atomic_store(&duel->over, false);
	atomic_store(&duel->strokes, 0);
	actor_of(&attacker, STRANGER);
	actor_send(&attacker, job_flip, which);
	while (atomic_load(&duel->strokes) == 0)
		;
	for (int i = 0; i < (full ? 100 : 5); i++)
		run_as(0, job_every_operation, 20);
	atomic_store(&duel->over, true);
	actor_kill(&attacker);
	if (look_of(precious) != as_it_was)
		wrong("%s is exchanged for a link%s: root makes, changes or removes files where it leads",
		      which == 0 ? "segments" : which == 1 ? "live" : "the directory", lost_table ? " and there is no table" : "");
	place_end();
	remove_tree(precious);
}

static int job_exchange_once(int argument)
{
	(void)argument;
	snprintf(evil, sizeof evil, "%.400s/link", the->directory);
	return symlink(precious, evil) < 0 ? -1 : renameat2(AT_FDCWD, evil, AT_FDCWD, inside("segments"), RENAME_EXCHANGE);
}

/* The same with time for it: root's first call is stopped here, and goes on when the directory is a link. */
static bool exchanged_at(enum operation operation, int stop)
{
	struct actor program;
	struct tracee tracee;
	struct answer answer;
	place_of_stranger(false);
	actor_of(&program, 0);
	if (!trace_attach(&tracee, program.pid, FOLLOW_PARENT))
		fatal("ptrace: %s", strerror(errno));
	actor_send(&program, job_operation, operation);
	if (!trace_to_beginning(&tracee))
		fatal("the operation does not begin");
	bool reached = trace_to(&tracee, (struct point){ stop, 0 }) == REACHED;
	if (reached) {
		run_as(STRANGER, job_exchange_once, 0);
		trace_let_go(&tracee);
		if (actor_hear(&program, &answer, 20000) != HEARD)
			wrong("root's program hangs");
	} else {
		kill_and_wait(tracee.pid);
		actor_is_gone(&program);
	}
	actor_kill(&program);
	if (look_of(precious) != as_it_was)
		wrong("operation %d is stopped at %d, and segments is a link: root makes, changes or removes files where it leads",
		      operation, stop);
	table_forget();
	place_end();
	remove_tree(precious);
	return reached;
}

static void exchanged_for_links(void)
{
	for (int operation = 0; operation < OPERATIONS; operation++)
		for (int stop = 0; exchanged_at(operation, stop); stop += full ? 1 : 2)
			;
	for (int which = 0; which < 3; which++) {
		flipped(which, false);
		flipped(which, true);
	}
}

const struct attack tree_attacks[] = {
	{ "a namespace that is being made is closed to others", half_made, 0 },
	{ "a directory for huge pages that is being made is closed to others", half_made_huge, NEEDS_HUGE_PAGES },
	{ "who is faster than root's cleaning deletes nothing of root's", raced, 0 },
	{ "a namespace of all users is refused when an ordinary user has made it", made_by_user, 0 },
	{ "no operation of root's leaves the namespace while its owner exchanges it for links", exchanged_for_links, 0 },
	{ NULL, NULL, 0 },
};
