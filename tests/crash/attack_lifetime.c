/*
 * attack_lifetime.c - a logout that removes a user's files, and a table that is gone.
 *
 * logind's RemoveIPC=yes unlinks what a user has in /dev/shm when his last session ends. What runs goes on with what it
 * has, the others with theirs.
 */
#include "attack.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

/* As logind does: files first, then the directories. */
static void log_out(const char *directory, uid_t uid)
{
	struct dirent *entry;
	DIR *open = opendir(directory);
	while (open && (entry = readdir(open)) != NULL) {
		char path[600];
		struct stat status;
		snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || lstat(path, &status) < 0)
			continue;
		if (S_ISDIR(status.st_mode)) {
			log_out(path, uid);
			if (status.st_uid == uid)
				rmdir(path);
		} else if (status.st_uid == uid) {
			unlink(path);
		}
	}
	if (open)
		closedir(open);
}

/*
 * A /dev/shm, a /run and a /tmp that nobody else sees, for a namespace that lies in one of them stays in use. The tests' own
 * directory lies in the first.
 */
static void own_surroundings(bool with_default_place)
{
	must(mount("hostile", "/dev/shm", "tmpfs", 0, "mode=1777,size=128m"), "/dev/shm");
	must(mount("hostile", "/run", "tmpfs", 0, "mode=0755,size=128m"), "/run");
	must(mount("hostile", "/tmp", "tmpfs", 0, "mode=1777,size=128m"), "/tmp");
	if (with_default_place)
		make_directory("/run/shmshim", 0, 01777);
	if (strncmp(root, "/dev/shm/", 9) == 0)
		make_directory(root, 0, 0755);
	trace_clear();
	unsetenv("SHMSHIM_DIR");
}

static void put_back(void)
{
	must(umount2("/tmp", MNT_DETACH), "/tmp");
	must(umount2("/run", MNT_DETACH), "/run");
	must(umount2("/dev/shm", MNT_DETACH), "/dev/shm");
}

static int job_keep_known(int argument)
{
	(void)argument;
	the->address[0] = shmat(the->segment[0].id, NULL, 0);
	return the->address[0] == (void *)-1 ? -1 : 0;
}

static int job_still_has(int argument)
{
	(void)argument;
	return filled(the->address[0], KNOWN_SEED, KNOWN_SIZE);
}

/* Whether a new segment is refused; a check of the place counts for a moment. */
static int job_asks_for_more(int argument)
{
	(void)argument;
	nanosleep(&(struct timespec){ 0, 60000000 }, NULL);
	return shmget(IPC_PRIVATE, PAGE, 0600) == -1 && errno == EACCES && job_still_has(0) ? 0 : -1;
}

static int job_give_up(int argument)
{
	(void)argument;
	return shmdt(the->address[0]);
}

static bool is_in(const char *base, const char *name)
{
	char path[300];
	snprintf(path, sizeof path, "%s/%s", base, name);
	return access(path, F_OK) == 0;
}

/* A user's service has a segment attached while his session ends; then another program of his comes. */
static void service_outlives_logout(void)
{
	struct actor service;
	setenv("SHMSHIM_SCOPE", "user", 1);
	own_surroundings(false);
	the->segments = 0;
	actor_of(&service, OWNER);
	if (ask(&service, job_make_known, 0600) != 0 || ask(&service, job_keep_known, 0) != 0)
		fatal("no segment could be made: %s", strerror(refusal));
	if (!is_in("/dev/shm", ".shmshim-uid54001"))
		wrong("without /run/shmshim a namespace is not in /dev/shm");
	log_out("/dev/shm", OWNER);
	trace_clear();
	if (ask(&service, job_asks_for_more, 0) != 0)
		wrong("a program whose namespace is gone is not told so with EACCES");
	if (!trace_says("logind"))
		wrong("the trace does not say what logind does");
	serves(OWNER, "the user's next program");
	if (ask(&service, job_still_has, 0) != 1 || ask(&service, job_give_up, 0) != 0)
		wrong("what it has attached is not as it was when another has come");
	actor_kill(&service);
	serves(OWNER, "the user's last program");
	put_back();
}

static void default_place_outlives_logout(void)
{
	struct actor service;
	for (int i = 0; i < 2; i++) {
		setenv("SHMSHIM_SCOPE", i ? "system" : "user", 1);
		own_surroundings(true);
		the->segments = 0;
		if (i)
			serves(0, "root");
		actor_of(&service, OWNER);
		if (ask(&service, job_make_known, 0600) != 0 || ask(&service, job_keep_known, 0) != 0)
			fatal("no segment could be made: %s", strerror(refusal));
		if (!is_in("/run/shmshim", i ? ".shmshim" : ".shmshim-uid54001"))
			wrong("the namespace is not in /run/shmshim");
		log_out("/dev/shm", OWNER);
		if (ask(&service, job_still_has, 0) != 1 || ask(&service, job_give_up, 0) != 0)
			wrong("what it has attached is not as it was");
		if (run_as(OWNER, job_read_known, 0) != 1)
			wrong("the user's next program does not find his segment");
		actor_kill(&service);
		put_back();
	}
}

/* As a program that tries again once: that the file is gone is noticed by the first attach. */
static int job_make_key(int key)
{
	for (int i = 0; i < 2; i++) {
		void *at = shmat(shmget(key, PAGE, IPC_CREAT | 0600), NULL, 0);
		if (at != (void *)-1)
			return shmdt(at);
	}
	return -1;
}

/* In a namespace of all users one of them logs out: the others miss nothing. */
static void others_outlive_logout(void)
{
	struct actor service, other;
	enum { OTHERS_KEY = KNOWN_KEY + 5 };
	setenv("SHMSHIM_SCOPE", "system", 1);
	own_surroundings(false);
	the->segments = 0;
	serves(0, "root");
	actor_of(&other, THIRD);
	actor_of(&service, OWNER);
	if (ask(&other, job_make_known, 0600) != 0 || ask(&other, job_keep_known, 0) != 0)
		fatal("no segment could be made: %s", strerror(refusal));
	if (ask(&service, job_make_key, OTHERS_KEY) < 0)
		fatal("no segment could be made: %s", strerror(refusal));
	log_out("/dev/shm", OWNER);
	if (ask(&other, job_still_has, 0) != 1 || ask(&other, job_life, 0) != 0)
		wrong("another user has lost something");
	serves(0, "root, after the logout,");
	serves(THIRD, "another user");
	serves(OWNER, "who has logged out");
	/* His segment was removed with its file, so there is place for it again. */
	if (run_as(OWNER, job_make_key, OTHERS_KEY) < 0)
		wrong("who has logged out cannot make his segment again: %s", strerror(refusal));
	if (run_as(THIRD, job_read_known, 0) != 1)
		wrong("another user's segment is gone");
	actor_kill(&service);
	actor_kill(&other);
	put_back();
}

/*
 * The table is root's, and nobody else could make one that others trust. So until root comes an ordinary user is told what
 * is missing; whatever the order, root makes it whole, and then all find the segments that were there.
 */
static void table_is_gone(void)
{
	static const uid_t orders[][3] = { { 0, OWNER, STRANGER }, { OWNER, STRANGER, 0 }, { STRANGER, 0, OWNER } };
	for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
		bool root_came = false;
		place_of_root();
		if (run_as(OWNER, job_make_known, 0644) != 0)
			fatal("no segment could be made: %s", strerror(refusal));
		must(unlink(inside("registry")), "unlink");
		for (int k = 0; k < 3; k++) {
			char whom[60];
			uid_t uid = orders[i][k];
			root_came |= uid == 0;
			if (!root_came) {
				refuses(uid, inside("registry"), 0);
				continue;
			}
			snprintf(whom, sizeof whom, "uid %d, number %d to come,", (int)uid, k + 1);
			serves(uid, whom);
			if (run_as(uid, job_read_known, 0) != 1)
				wrong("%s does not find the segment that was there", whom);
		}
		place_end();
	}
}

const struct attack lifetime_attacks[] = {
	{ "a logout takes nothing from what runs on", service_outlives_logout, NEEDS_MOUNTS },
	{ "a logout takes nothing from /run/shmshim", default_place_outlives_logout, NEEDS_MOUNTS },
	{ "a logout takes nothing from other users of a common namespace", others_outlive_logout, NEEDS_MOUNTS },
	{ "a common namespace that has lost its table is made whole by root, whichever user came first", table_is_gone, 0 },
	{ NULL, NULL, 0 },
};
