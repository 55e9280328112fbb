/* smalltmpfs.h - a namespace on a tmpfs of its own, with little room. */
#ifndef SMALLTMPFS_H
#define SMALLTMPFS_H

#include "proctest.h"
#include <sys/mount.h>
#include <sys/statvfs.h>

static char base[PATH_MAX];

/* A tmpfs of its own for this test, which vanishes with it; the namespace lies on it. */
static void small_tmpfs(const char *options)
{
	SHIM_ONLY();
	if (unshare_as_self(CLONE_NEWNS) < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	snprintf(base, sizeof base, "%s/ns.small", getenv("SHMSHIM_DIR"));
	MUST(mkdir(base, 0700));
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("shmtest", base, "tmpfs", 0, options) < 0)
		SKIP("no right to mount a tmpfs: %s", errno_name(errno));
	setenv("SHMSHIM_DIR", base, 1);
}

static __attribute__((unused)) unsigned long long used(void)
{
	struct statvfs v;
	MUST(statvfs(base, &v));
	return (unsigned long long)(v.f_blocks - v.f_bfree) * v.f_frsize;
}

/* Somebody else takes all the room there is; returns the file's descriptor. */
static __attribute__((unused)) int fill_up(void)
{
	char file[PATH_MAX + 16], block[PAGE];
	snprintf(file, sizeof file, "%s/filler", base);
	int fd = MUST(open(file, O_CREAT | O_EXCL | O_WRONLY, 0600));
	memset(block, 1, sizeof block);
	while (write(fd, block, sizeof block) > 0)
		;
	return fd;
}

static __attribute__((unused)) void give_back(int fd)
{
	char file[PATH_MAX + 16];
	snprintf(file, sizeof file, "%s/filler", base);
	MUST(close(fd));
	MUST(unlink(file));
}

#endif
