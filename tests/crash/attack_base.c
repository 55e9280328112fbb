/*
 * attack_base.c - a directory above the namespace is somebody else's; the namespace is taken away while programs run.
 *
 * Who may rename a directory on the way to the namespace may put another in its place, and read what others write.
 */
#include "attack.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

static const char *const scopes[] = { "user", "system" };
static char outer[300];

/* outer/up/base: `up` with this owner and mode, the base OWNER's, or root's and sticky in system scope. */
static char *nested(const char *scope, uid_t owner, unsigned mode)
{
	static char up[320];
	bool system = strcmp(scope, "system") == 0;
	place(scope, 0, 0755);
	snprintf(outer, sizeof outer, "%s", the->base);
	snprintf(up, sizeof up, "%s/up", outer);
	make_directory(up, owner, mode);
	snprintf(the->base, sizeof the->base, "%.200s/up/base", outer);
	snprintf(the->directory, sizeof the->directory, "%.256s/.shmshim%s", the->base, system ? "" : "-uid54001");
	make_directory(the->base, system ? 0 : OWNER, system ? 01777 : 0700);
	setenv("SHMSHIM_DIR", the->base, 1);
	return up;
}

static void sticky_base(void)
{
	for (int i = 0; i < 2; i++) {
		place(scopes[i], 0, 01777);
		must(chown(the->base, STRANGER, STRANGER), the->base);
		refuses(OWNER, the->base, STRANGER);
		refuses(0, the->base, STRANGER);
		/* It is a good base for himself. */
		if (i == 0)
			serves(STRANGER, "its owner");
		place_end();
	}
}

/* The attack itself, whatever the sentences say: what a program writes into its segment is not in a file of his. */
static int job_write_secrets(int argument)
{
	(void)argument;
	/* A check of the place counts for a moment: before that is over nothing is promised. */
	nanosleep(&(struct timespec){ 0, 60000000 }, NULL);
	char *at = shmat(the->segment[0].id, NULL, 0);
	if (at == (void *)-1)
		return 0;
	fill(at, KNOWN_SEED, KNOWN_SIZE);
	return shmdt(at);
}

static int job_put_own_in_place(int argument)
{
	char away[400], path[600];
	(void)argument;
	snprintf(away, sizeof away, "%s.away", the->directory);
	snprintf(path, sizeof path, "%s/segments", the->directory);
	if (rename(the->directory, away) < 0 || mkdir(the->directory, 0755) < 0 || mkdir(path, 0755) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, KNOWN_KEY, the->segment[0].id);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0666);
	if (fd < 0 || fchmod(fd, 0666) < 0 || ftruncate(fd, KNOWN_SIZE) < 0)
		return -1;
	return close(fd);
}

/* Whether the file is there and holds what the known segment does. */
static bool holds_secret(const char *path)
{
	char bytes[KNOWN_SIZE];
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	if (fd < 0)
		return false;
	bool same = read(fd, bytes, sizeof bytes) == KNOWN_SIZE && filled(bytes, KNOWN_SEED, KNOWN_SIZE);
	close(fd);
	return same;
}

static void namespace_renamed_away(void)
{
	struct actor victim;
	place("user", OWNER, 01777);
	must(chown(the->base, STRANGER, STRANGER), the->base);
	actor_of(&victim, OWNER);
	if (ask(&victim, job_make_known, 0600) == 0) {
		char path[600];
		if (run_as(STRANGER, job_put_own_in_place, 0) != 0)
			fatal("the base's owner cannot do as he likes: %s", strerror(refusal));
		ask(&victim, job_write_secrets, 0);
		snprintf(path, sizeof path, "%s/segments/SYSV%08x.%d", the->directory, KNOWN_KEY, the->segment[0].id);
		if (holds_secret(path))
			wrong("he has what the victim wrote");
	}
	actor_kill(&victim);
	place_end();
}

/* --- further up */

static void further_up(void)
{
	static const struct { uid_t owner; unsigned mode; } bad[] = {
		{ STRANGER, 0755 }, { STRANGER, 01777 }, { 0, 0777 },
	};
	for (int i = 0; i < 2; i++) {
		for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
			char *up = nested(scopes[i], bad[k].owner, bad[k].mode);
			refuses(i ? 0 : OWNER, up, bad[k].owner);
			remove_tree(outer);
		}
		/* Root's, and a sticky one in which the next is one's own or root's. */
		nested(scopes[i], 0, 0755);
		serves(i ? 0 : OWNER, "a user below root's directory");
		remove_tree(outer);
		nested(scopes[i], 0, 01777);
		serves(i ? 0 : OWNER, "a user below root's sticky directory");
		remove_tree(outer);
	}
}

/* SHMSHIM_DIR leads through a link in a sticky directory: its owner may lead it somewhere else. */
static void by_link_of(uid_t owner, const char *behind)
{
	static char by[600];
	char *up = nested("user", 0, 01777), link[400];
	snprintf(link, sizeof link, "%s/link", up);
	must(symlink(*behind ? up : the->base, link), link);
	must(lchown(link, owner, owner), link);
	snprintf(by, sizeof by, "%s%s", link, behind);
	setenv("SHMSHIM_DIR", by, 1);
	if (owner == STRANGER)
		refuses(OWNER, link, STRANGER);
	else
		serves(OWNER, "a user behind a link of his own or of root's");
	remove_tree(outer);
}

static void through_link(void)
{
	static const uid_t owners[] = { STRANGER, OWNER, 0 };
	for (size_t i = 0; i < sizeof owners / sizeof *owners; i++)
		by_link_of(owners[i], "/base");
	/* As the base itself, which must be a directory. */
	by_link_of(STRANGER, "");
}

/* --- a runtime directory that is not there any more, or another */

/* Bits of what should not be so, for a program whose namespace is not in place. */
static int job_apart(int argument)
{
	int wrong = 0, id = the->segment[0].id;
	(void)argument;
	nanosleep(&(struct timespec){ 0, 60000000 }, NULL);
	wrong |= shmat(id, NULL, 0) == (void *)-1 && errno == EACCES ? 0 : 1;
	wrong |= shmget(IPC_PRIVATE, PAGE, 0600) == -1 && errno == EACCES ? 0 : 2;
	wrong |= shmget(KNOWN_KEY + 1, PAGE, IPC_CREAT | 0600) == -1 && errno == EACCES ? 0 : 4;
	wrong |= filled(the->address[0], KNOWN_SEED, KNOWN_SIZE) ? 0 : 8;
	return wrong;
}

static int job_attach_known(int argument)
{
	(void)argument;
	the->address[0] = shmat(the->segment[0].id, NULL, 0);
	return the->address[0] == (void *)-1 ? -1 : 0;
}

static int job_remove_known(int argument)
{
	(void)argument;
	shmctl(the->segment[0].id, IPC_RMID, NULL);
	return shmdt(the->address[0]);
}

static char away[400], newcomer[600];

static void move_away(void) { must(rename(the->directory, away), away); }
static void move_back(void) { must(rename(away, the->directory), away); }

static void make_newcomer(uid_t owner, unsigned mode)
{
	char path[500];
	make_directory(the->directory, owner, mode);
	snprintf(path, sizeof path, "%s/segments", the->directory);
	make_directory(path, owner, mode);
	snprintf(newcomer, sizeof newcomer, "%s/SYSV%08x.%d", path, KNOWN_KEY, the->segment[0].id);
	int fd = open(newcomer, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || ftruncate(fd, KNOWN_SIZE) < 0 || fchown(fd, owner, owner) < 0)
		fatal("%s: %s", newcomer, strerror(errno));
	close(fd);
}

static bool in_system_scope(void) { return strcmp(getenv("SHMSHIM_SCOPE"), "system") == 0; }

static void exchange_for_bare(void)
{
	move_away();
	make_newcomer(in_system_scope() ? 0 : OWNER, in_system_scope() ? 01777 : 0700);
}

static void mount_over(void)
{
	must(mount("hostile", the->directory, "tmpfs", 0, "mode=0700,size=1m"), "mount");
	must(chown(the->directory, OWNER, OWNER), the->directory);
}

static void unmount(void) { must(umount2(the->base, MNT_DETACH), "umount"); }
static void unmount_directory(void) { must(umount2(the->directory, MNT_DETACH), "umount"); }

/* `undo` brings the namespace back; without it the program ends in what has become of the place. */
static void taken_away(void (*take)(void), void (*undo)(void), bool own_mount)
{
	for (int i = 0; i < 2; i++) {
		struct actor program;
		place(scopes[i], OWNER, i ? 01777 : 0700);
		if (own_mount) {
			must(mount("hostile", the->base, "tmpfs", 0, i ? "mode=1777,size=64m" : "mode=0700,size=64m"), "mount");
			if (!i)
				must(chown(the->base, OWNER, OWNER), the->base);
		}
		snprintf(away, sizeof away, "%.300s/away", the->base);
		newcomer[0] = '\0';
		actor_of(&program, i ? 0 : OWNER);
		if (ask(&program, job_make_known, 0600) != 0 || ask(&program, job_attach_known, 0) != 0)
			fatal("no segment could be made: %s", strerror(refusal));
		take();
		trace_clear();
		int value = ask(&program, job_apart, 0);
		if (value > 0)
			wrong("%s scope: a program goes on in another place (%d)", scopes[i], value);
		else if (value == 0 && !trace_says(the->directory))
			wrong("%s scope: the trace does not name %s", scopes[i], the->directory);
		if (undo)
			undo();
		ask(&program, job_remove_known, 0);
		if (newcomer[0] && access(newcomer, F_OK) < 0)
			wrong("%s scope: the newcomer's file is removed", scopes[i]);
		if (undo && (tree_files("segments") != 0 || ask(&program, job_life, 0) != 0))
			wrong("%s scope: not as it was when the namespace is back", scopes[i]);
		actor_kill(&program);
		place_end();
	}
}

static void exchanged(void) { taken_away(exchange_for_bare, NULL, false); }
static void moved(void) { taken_away(move_away, move_back, false); }
static void unmounted(void) { taken_away(unmount, NULL, true); }
static void covered(void) { taken_away(mount_over, unmount_directory, false); }

const struct attack base_attacks[] = {
	{ "a sticky base is no base when another user owns it", sticky_base, 0 },
	{ "a base's owner does not get what his users write", namespace_renamed_away, 0 },
	{ "a directory further up that another may rename makes no base", further_up, 0 },
	{ "a link on the way to the base leads nowhere when another user owns it", through_link, 0 },
	{ "a runtime directory exchanged for one without a table is noticed", exchanged, 0 },
	{ "a runtime directory that is moved away is missed, and found again", moved, 0 },
	{ "a base that is unmounted is missed", unmounted, NEEDS_MOUNTS },
	{ "a runtime directory that is mounted over is missed, and found again", covered, NEEDS_MOUNTS },
	{ NULL, NULL, 0 },
};
