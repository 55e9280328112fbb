/*
 * hugepages.h - what the tests about SHM_HUGETLB share: the machine's huge
 * pages of 2 MiB, and a hugetlbfs for the shim.
 */
#ifndef HUGEPAGES_H
#define HUGEPAGES_H

#include "proctest.h"
#include <sys/mount.h>
#include <sys/sysmacros.h>

#define HUGE (2ul << 20)
#define PAGE_SIZE_LOG2(n) ((int)((unsigned)(n) << 26))
#define HUGE_POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

/* -1 when there is no such file. */
static inline long number_at(const char *path)
{
	char text[64] = "";
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	return n > 0 ? strtol(text, NULL, 10) : -1;
}
static inline unsigned long number_in(const char *path)
{
	long n = number_at(path);
	if (n < 0)
		SKIP("no %s: the kernel has no huge pages", path);
	return (unsigned long)n;
}

/* For what SHM_HUGETLB alone asks for. */
static inline void need_2_mib_by_default(void)
{
	char line[128];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "Hugepagesize: %lu kB", &kib);
	if (f)
		fclose(f);
	if (kib != HUGE >> 10)
		SKIP("this machine's huge pages have %lu KiB by default, not 2 MiB", kib);
}

/* Pages that are neither in use nor reserved; those that are reserved. */
static inline long free_pages(void) { return number_at(HUGE_POOL "free_hugepages") - number_at(HUGE_POOL "resv_hugepages"); }
static inline long reserved_pages(void) { return number_at(HUGE_POOL "resv_hugepages"); }

/* A mount namespace of this process's own, without any hugetlbfs in it. The kernel's own is not a matter of mounts. */
static inline void no_hugetlbfs(void)
{
	char line[4096], point[4096], *dash;
	if (!under_shim())
		return;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("no right to a mount namespace: %s", errno_name(errno));
	for (bool again = true; again;) {
		FILE *f = fopen("/proc/self/mountinfo", "re");
		again = false;
		while (f && fgets(line, sizeof line, f))
			if ((dash = strstr(line, " - hugetlbfs ")) && sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1)
				again |= umount2(point, MNT_DETACH) == 0;
		if (f)
			fclose(f);
	}
}

/* Mounts a hugetlbfs below the test's directory, for the shim to find. It vanishes with the mount namespace. */
static inline const char *add_hugetlbfs(const char *name, const char *options)
{
	static char path[4][PATH_MAX];
	static int next;
	char *p = path[next++ % 4];
	snprintf(p, PATH_MAX, "%s/ns.%s", getenv("SHMSHIM_DIR"), name);
	if (mkdir(p, 0755) < 0 && errno != EEXIST)
		FATAL("mkdir %s: %s", p, errno_name(errno));
	if (mount("none", p, "hugetlbfs", 0, options) < 0)
		SKIP("no right to mount a hugetlbfs: %s", errno_name(errno));
	return p;
}

/* One hugetlbfs with pages of 2 MiB and no other; nothing is needed on the kernel. */
static inline const char *only_hugetlbfs(const char *options)
{
	no_hugetlbfs();
	return under_shim() ? add_hugetlbfs("huge", options) : NULL;
}

/* Where the shim keeps this namespace's segments on that mount, by the rule its documentation gives. */
static inline const char *huge_dir(const char *mounted)
{
	static char path[2 * PATH_MAX];
	struct stat st;
	MUST(stat(runtime_dir(), &st));
	snprintf(path, sizeof path, "%s%s-dev%u.%u-ino%lu", mounted, strrchr(runtime_dir(), '/'), major(st.st_dev),
		 minor(st.st_dev), (unsigned long)st.st_ino);
	return path;
}
static inline const char *in_huge_dir(const char *mounted, const char *name)
{
	static char path[2][2 * PATH_MAX + 64];
	static int next;
	char *p = path[next++ % 2];
	snprintf(p, sizeof path[0], "%s/%s", huge_dir(mounted), name);
	return p;
}
static inline const char *segment_in_huge_dir(const char *mounted, key_t key, int id)
{
	char name[64];
	snprintf(name, sizeof name, "segments/SYSV%08x.%d", (unsigned)key, id);
	return in_huge_dir(mounted, name);
}

static inline void need_ipc_lock(void)
{
	need_root();
	if (!(caps_held() & CAP_BIT(CAP_IPC_LOCK)))
		SKIP("needs CAP_IPC_LOCK");
}

#endif
