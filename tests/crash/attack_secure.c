/*
 * attack_secure.c - the environment of a set-uid program, which is its caller's; a trace file, which may be another's.
 *
 * The library is in /etc/ld.so.preload, as an administrator installs it for all programs, in a mount namespace where that
 * file is ours.
 */
#include "attack.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- two programs of the system's: one is set-uid and starts the other, as su and sudo do */

int secure_main(char **arguments)
{
	if (strcmp(arguments[0], "become-root") == 0) {
		if (setuid(0) < 0)
			return 3;
		execl(arguments[1], arguments[1], "--program", "use-memory", (char *)NULL);
		return 4;
	}
	return job_life(0) == 0 ? 0 : 5;
}

static void copy_file(const char *name, const char *to, unsigned mode)
{
	char bytes[65536];
	ssize_t length;
	int from = open(name, O_RDONLY | O_CLOEXEC), fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
	must(from < 0 ? from : fd, to);
	while ((length = read(from, bytes, sizeof bytes)) > 0)
		if (write(fd, bytes, (size_t)length) != length)
			fatal("%s: %s", to, strerror(errno));
	must(fchmod(fd, mode), to);
	close(fd);
	close(from);
}

static void install_library(void)
{
	char library[300];
	snprintf(library, sizeof library, "%s/library.so", root);
	copy_file(getenv("LD_PRELOAD"), library, 0755);
	must(mount("hostile", "/etc", "tmpfs", 0, "mode=0755,size=1m"), "/etc");
	int fd = open("/etc/ld.so.preload", O_WRONLY | O_CREAT | O_EXCL, 0644);
	if (fd < 0 || fchmod(fd, 0644) < 0 || write(fd, library, strlen(library)) < 0 || write(fd, "\n", 1) < 0)
		fatal("/etc/ld.so.preload: %s", strerror(errno));
	close(fd);
}

static int entries_in(const char *directory)
{
	char command[400];
	int count = -1;
	snprintf(command, sizeof command, "ls -A '%s' | wc -l", directory);
	FILE *lines = popen(command, "re");
	if (lines && fscanf(lines, "%d", &count) != 1)
		count = -1;
	if (lines)
		pclose(lines);
	return count;
}

/* Exit status of the set-uid program, started by an ordinary user with these words. */
static int start_set_uid(const char *set_uid, const char *program, const char *base, const char *trace)
{
	int status = -1;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		if (job_become_user(STRANGER) < 0)
			_exit(9);
		unsetenv("LD_PRELOAD");
		setenv("SHMSHIM_DIR", base, 1);
		setenv("SHMSHIM_SCOPE", "system", 1);
		setenv("SHMSHIM_TRACE", trace, 1);
		execl(set_uid, set_uid, "--program", "become-root", program, (char *)NULL);
		_exit(8);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void set_uid_programs(void)
{
	char program[300], set_uid[300], base[300], trace[300];
	struct stat status;
	must(mount("hostile", "/dev/shm", "tmpfs", 0, "mode=1777,size=128m"), "/dev/shm");
	if (strncmp(root, "/dev/shm/", 9) == 0)
		make_directory(root, 0, 0755);
	snprintf(program, sizeof program, "%s/program", root);
	snprintf(set_uid, sizeof set_uid, "%s/set-uid", root);
	snprintf(base, sizeof base, "%s/callers-choice", root);
	snprintf(trace, sizeof trace, "%s/callers-trace", root);
	make_directory(base, 0, 01777);
	copy_file("/proc/self/exe", program, 0755);
	copy_file("/proc/self/exe", set_uid, 04755);
	install_library();
	/* A namespace that somebody has left there would stay in use. */
	must(mount("hostile", "/tmp", "tmpfs", 0, "mode=1777,size=128m"), "/tmp");
	int answer = start_set_uid(set_uid, program, base, trace);
	must(umount2("/tmp", MNT_DETACH), "/tmp");
	if (answer != 0)
		wrong("what a set-uid program starts is not served (%d)", answer);
	if (entries_in(base) != 0)
		wrong("what a set-uid program starts uses the caller's SHMSHIM_DIR");
	if (stat(trace, &status) == 0)
		wrong("what a set-uid program starts writes to the caller's SHMSHIM_TRACE");
	must(umount2("/etc", MNT_DETACH), "/etc");
	must(umount2("/dev/shm", MNT_DETACH), "/dev/shm");
}

/* --- the trace */

static void live_with_trace(const char *trace)
{
	struct actor actor;
	setenv("SHMSHIM_TRACE", trace, 1);
	actor_start(&actor);
	unsetenv("SHMSHIM_TRACE");
	if (actor_do(&actor, job_become_user, OWNER).value != 0)
		fatal("cannot become another user");
	if (ask(&actor, job_life, 0) != 0)
		wrong("a user whose trace is not to be had is not served: %s", strerror(refusal));
	actor_kill(&actor);
}

static off_t size_of(const char *path)
{
	struct stat status;
	return stat(path, &status) < 0 ? -1 : status.st_size;
}

static void put_file(const char *path, uid_t owner, unsigned mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0 || fchown(fd, owner, owner) < 0 || fchmod(fd, mode) < 0)
		fatal("%s: %s", path, strerror(errno));
	close(fd);
}

static void foreign_trace(void)
{
	char trace[300], other[300];
	struct stat status;
	place("user", OWNER, 01777);
	snprintf(trace, sizeof trace, "%s/trace", the->base);
	snprintf(other, sizeof other, "%s/other", the->base);

	put_file(trace, STRANGER, 0666);
	live_with_trace(trace);
	if (size_of(trace) != 0)
		wrong("another's file is written to");
	unlink(trace);

	put_file(other, OWNER, 0600);
	must(symlink(other, trace), trace);
	must(lchown(trace, STRANGER, STRANGER), trace);
	live_with_trace(trace);
	if (size_of(other) != 0)
		wrong("another's link is followed");
	unlink(trace);

	must(link(other, trace), trace);
	live_with_trace(trace);
	if (size_of(other) != 0)
		wrong("a file with a second name is written to");
	unlink(trace);

	must(mkfifo(trace, 0666), trace);
	must(chown(trace, STRANGER, STRANGER), trace);
	live_with_trace(trace);
	unlink(trace);

	live_with_trace(trace);
	if (stat(trace, &status) < 0 || (status.st_mode & 07777) != 0600 || status.st_uid != OWNER || status.st_size == 0)
		wrong("a new trace file is not the user's own, 0600");
	place_end();
}

const struct attack secure_attacks[] = {
	{ "what a set-uid program starts does not follow its caller's variables", set_uid_programs, NEEDS_MOUNTS },
	{ "a trace goes to no file that another has put there", foreign_trace, 0 },
	{ NULL, NULL, 0 },
};
