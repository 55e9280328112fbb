/* for_musl.h - what the tests use of glibc and musl lacks. Included before all else by scripts/check-target musl. */
#ifndef FOR_MUSL_H
#define FOR_MUSL_H

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline const char *strerrorname_np(int error)
{
#define NAME(name) case name: return #name;
	switch (error) {
		NAME(EPERM) NAME(ENOENT) NAME(ESRCH) NAME(EINTR) NAME(EIO) NAME(ENXIO) NAME(E2BIG) NAME(ENOEXEC) NAME(EBADF)
		NAME(ECHILD) NAME(EAGAIN) NAME(ENOMEM) NAME(EACCES) NAME(EFAULT) NAME(EBUSY) NAME(EEXIST) NAME(EXDEV) NAME(ENODEV)
		NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL) NAME(ENFILE) NAME(EMFILE) NAME(ENOTTY) NAME(ETXTBSY) NAME(EFBIG)
		NAME(ENOSPC) NAME(ESPIPE) NAME(EROFS) NAME(EMLINK) NAME(EPIPE) NAME(EDOM) NAME(ERANGE) NAME(EDEADLK)
		NAME(ENAMETOOLONG) NAME(ENOLCK) NAME(ENOSYS) NAME(ENOTEMPTY) NAME(ELOOP) NAME(EIDRM) NAME(EOVERFLOW)
		NAME(EOPNOTSUPP) NAME(ETIMEDOUT) NAME(ESTALE) NAME(EDQUOT) NAME(ECANCELED)
	}
#undef NAME
	return NULL;
}

static inline const char *sigabbrev_np(int number)
{
#define NAME(name) case SIG##name: return #name;
	switch (number) {
		NAME(HUP) NAME(INT) NAME(QUIT) NAME(ILL) NAME(TRAP) NAME(ABRT) NAME(BUS) NAME(FPE) NAME(KILL) NAME(USR1)
		NAME(SEGV) NAME(USR2) NAME(PIPE) NAME(ALRM) NAME(TERM) NAME(STOP) NAME(XFSZ) NAME(SYS)
	}
#undef NAME
	return NULL;
}

static void (*for_musl_at_exit)(int, void *);
static void *for_musl_argument;
static inline void for_musl_run(void) { for_musl_at_exit(0, for_musl_argument); }

/* One function, and the exit status is not known. */
static inline int on_exit(void (*function)(int, void *), void *argument)
{
	for_musl_at_exit = function, for_musl_argument = argument;
	return atexit(for_musl_run);
}

/* glibc asks the clock by which the kernel stamps segments; musl a finer one, which may be a second ahead of it. */
static inline time_t for_musl_time(time_t *seconds)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (seconds)
		*seconds = now.tv_sec;
	return now.tv_sec;
}
#define time(seconds) for_musl_time(seconds)

static inline int close_range(unsigned first, unsigned last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

#endif
