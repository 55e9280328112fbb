/*
 * shmtest_rights.h - part of shmtest.h: the limits of a namespace, becoming
 * another user, capabilities, and namespaces themselves.
 */
#ifndef SHMTEST_RIGHTS_H
#define SHMTEST_RIGHTS_H

/* ---------------------------------------------------- limits and rights */

/* 0 or the errno of writing /proc/sys/kernel/<name>. */
static inline int try_limit(const char *name, const char *value)
{
	char path[128];
	if (is_supervised())
		NOT_ON_THIS_SIDE("the files under /proc are the kernel's");
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
	int err = 0, fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (write(fd, value, strlen(value)) < 0)
		err = errno;
	close(fd);
	return err;
}
static inline void set_limit(const char *name, const char *value)
{
	int err = try_limit(name, value);
	if (err == EACCES || err == EPERM || err == EROFS)
		SKIP("/proc/sys/kernel/%s cannot be written here: %s", name, errno_name(err));
	if (err)
		FATAL("writing %s to /proc/sys/kernel/%s: %s", value, name, errno_name(err));
}
static inline unsigned long long limit(const char *name)
{
	char path[128], text[64] = "";
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		FATAL("reading %s: %s", path, errno_name(errno));
	close(fd);
	return strtoull(text, NULL, 10);
}

/* Root that may become any user; not the root of a user namespace of one. */
static inline bool is_root(void)
{
	char map[256] = "";
	unsigned long inside = 1, outside = 1, len = 0;
	int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, map, sizeof map - 1) < 0)
		map[0] = 0;
	if (fd >= 0)
		close(fd);
	sscanf(map, "%lu %lu %lu", &inside, &outside, &len);
	return geteuid() == 0 && inside == 0 && outside == 0 && len > 65535;
}
static inline void need_root(void)
{
	if (!is_root())
		SKIP("needs root");
}

/* Effective and permitted capabilities become exactly this set. */
static inline void set_caps(uint64_t mask)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct set[2] = {
		{ .effective = (uint32_t)mask, .permitted = (uint32_t)mask },
		{ .effective = (uint32_t)(mask >> 32), .permitted = (uint32_t)(mask >> 32) },
	};
	if (syscall(SYS_capset, &head, set) < 0)
		SKIP("capset %#llx: %s", (unsigned long long)mask, errno_name(errno));
}
#define CAP_BIT(cap) ((uint64_t)1 << (cap))
static inline uint64_t caps_held(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct set[2] = { 0 };
	syscall(SYS_capget, &head, set);
	return set[0].effective | (uint64_t)set[1].effective << 32;
}
static inline void drop_cap(int cap) { set_caps(caps_held() & ~CAP_BIT(cap)); }

static inline void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n)
{
	if (setgroups(n, groups) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		SKIP("becoming uid %u: %s", uid, errno_name(errno));
}
/* drop_to(uid, gid[, supplementary group ...]): for good, without capabilities. */
#define drop_to(uid, gid, ...)                                                                     \
	do {                                                                                       \
		const gid_t g_[] = { 0, ##__VA_ARGS__ };                                           \
		become(uid, gid, g_ + 1, sizeof g_ / sizeof *g_ - 1);                              \
	} while (0)
/* The same, keeping these capabilities. */
#define drop_to_with_caps(mask, uid, ...)                                                          \
	do {                                                                                       \
		prctl(PR_SET_KEEPCAPS, 1);                                                         \
		drop_to(uid, __VA_ARGS__);                                                         \
		set_caps(mask);                                                                    \
	} while (0)

/* ------------------------------------------------------------ namespaces */

static inline void write_file(const char *path, const char *text)
{
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, text, strlen(text)) < 0)
			FAIL("writing %s: %s", path, errno_name(errno));
		close(fd);
	}
}

/* A user namespace gives an ordinary user the right to an IPC namespace. */
static inline int unshare_as_user(void)
{
	char uid[64], gid[64];
	snprintf(uid, sizeof uid, "0 %u 1", geteuid());
	snprintf(gid, sizeof gid, "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWIPC) < 0)
		return -1;
	write_file("/proc/self/setgroups", "deny");
	write_file("/proc/self/uid_map", uid);
	write_file("/proc/self/gid_map", gid);
	return 0;
}

/*
 * An empty IPC namespace for this process and its future children. Every TEST
 * begins in one. Under the shim a process can do this only before its first
 * use of shared memory, as that binds it to its namespace.
 */
static inline void fresh_namespace(void)
{
	if (under_shim()) {
		char dir[4096];
		const char *scope = getenv("SHMSHIM_SCOPE"), *base = getenv("SHMSHIM_DIR");
		snprintf(dir, sizeof dir, "%s/ns.XXXXXX", base ? base : "/dev/shm");
		if (!mkdtemp(dir))
			FATAL("mkdtemp %s: %s", dir, errno_name(errno));
		if (scope && strncmp(scope, "system", 6) == 0)
			chmod(dir, 01777);
		setenv("SHMSHIM_DIR", dir, 1);
		return;
	}
	if (unshare(CLONE_NEWIPC) < 0) {
		if (errno == EINVAL || errno == ENOSYS)
			SKIP("the kernel has no IPC namespaces");
		if (unshare_as_user() < 0)
			SKIP("no right to an IPC namespace: %s", errno_name(errno));
	}
	if (shmget(1, 0, 0) < 0 && errno == ENOSYS)
		SKIP("the kernel has no System V shared memory");
}

#endif
