/*
 * nosysv [--enosys] [--hide] [--] PROGRAM [ARGUMENT...]: runs a program as on a kernel without System V IPC.
 *
 * The twelve system calls (and ipc(2), of 32-bit programs, too) kill the process that makes one, so that nothing can
 * make one unnoticed; with --enosys they fail with ENOSYS, as on such a kernel. With --hide the files of System V IPC
 * under /proc are covered in a mount namespace of its own; only root can do that, and others go without.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const int calls[] = {
#ifdef SYS_shmget
	SYS_shmget, SYS_shmdt, SYS_shmat, SYS_shmctl, SYS_semget, SYS_semctl, SYS_msgget, SYS_msgctl, SYS_msgsnd, SYS_msgrcv,
#endif
#ifdef SYS_semop
	SYS_semop,
#endif
#ifdef SYS_semtimedop
	SYS_semtimedop,
#endif
#ifdef SYS_semtimedop_time64
	SYS_semtimedop_time64,
#endif
#ifdef SYS_ipc
	SYS_ipc,
#endif
};

/* What 32-bit programs call on a 64-bit x86: ipc, semget to msgctl, semtimedop_time64. */
#ifdef __x86_64__
static const int of_32_bits[] = { 117, 393, 394, 395, 396, 397, 398, 399, 400, 401, 402, 420 };
#define X32_BIT 0x40000000
#endif

static void fail(const char *what)
{
	fprintf(stderr, "nosysv: %s: %s\n", what, strerror(errno));
	exit(125);
}

static struct sock_filter code[64];
static unsigned short len;

static void add(unsigned short what, unsigned operand, unsigned char yes, unsigned char no)
{
	code[len++] = (struct sock_filter)BPF_JUMP(what, operand, yes, no);
}

/* These numbers get `action`, all others pass. */
static void stop_all(const int *numbers, size_t count, unsigned action)
{
	for (size_t i = 0; i < count; i++)
		add(BPF_JMP | BPF_JEQ | BPF_K, numbers[i], count - i, 0);
	add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
	add(BPF_RET | BPF_K, action, 0, 0);
}

static void confine(unsigned action)
{
#ifdef __x86_64__
	add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
	add(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, COUNT(of_32_bits) + 3, 0);
	add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
	stop_all(of_32_bits, COUNT(of_32_bits), action);
#endif
	add(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0);
#ifdef __x86_64__
	add(BPF_ALU | BPF_AND | BPF_K, ~X32_BIT, 0, 0);
#endif
	stop_all(calls, COUNT(calls), action);
	struct sock_fprog program = { len, code };
	/* Without the right to do it otherwise, a filter takes from the program what set-uid programs would give it. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
		return;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		fail("no seccomp filter");
}

/* Whether a file of /proc/sys/kernel is one of System V IPC. */
static int is_limit(const char *name)
{
	return !strncmp(name, "shm", 3) || !strncmp(name, "msg", 3) || !strncmp(name, "sem", 3) ||
	       !strcmp(name, "auto_msgmni");
}

/* A directory cannot be without a file that it has: another takes its place, with all others of its files bound into it. */
static void hide(void)
{
	static const char dir[] = "/proc/sys/kernel";
	char from[512], to[512];
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		fail("no mount namespace");
	if (access("/proc/sysvipc", F_OK) == 0 && mount("none", "/proc/sysvipc", "tmpfs", 0, "mode=555"))
		fail("cannot cover /proc/sysvipc");
	int kept = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	DIR *list = opendir(dir);
	if (kept < 0 || !list || mount("none", dir, "tmpfs", 0, "mode=755"))
		fail("cannot cover /proc/sys/kernel");
	for (struct dirent *one; (one = readdir(list));) {
		struct stat st;
		if (one->d_name[0] == '.' || is_limit(one->d_name))
			continue;
		snprintf(from, sizeof from, "/proc/self/fd/%d/%s", kept, one->d_name);
		snprintf(to, sizeof to, "%s/%s", dir, one->d_name);
		if (stat(from, &st))
			continue;
		if (S_ISDIR(st.st_mode) ? mkdir(to, 0755) : mknod(to, S_IFREG | 0644, 0))
			fail(to);
		if (mount(from, to, NULL, MS_BIND | MS_REC, NULL))
			fail(to);
	}
	closedir(list);
	close(kept);
}

int main(int argc, char **argv)
{
	unsigned action = SECCOMP_RET_KILL_PROCESS;
	int first = 1, hides = 0;
	for (; first < argc && argv[first][0] == '-'; first++) {
		if (!strcmp(argv[first], "--enosys"))
			action = SECCOMP_RET_ERRNO | ENOSYS;
		else if (!strcmp(argv[first], "--hide"))
			hides = geteuid() == 0;
		else if (!strcmp(argv[first], "--")) {
			first++;
			break;
		} else
			argc = 0;
	}
	if (first >= argc) {
		fprintf(stderr, "usage: nosysv [--enosys] [--hide] [--] PROGRAM [ARGUMENT...]\n");
		return 125;
	}
	if (hides)
		hide();
	confine(action);
	execvp(argv[first], argv + first);
	fail(argv[first]);
}
