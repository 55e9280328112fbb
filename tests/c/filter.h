/*
 * filter.h - a seccomp filter by system call number, as a program that
 * confines itself would install one.
 *
 *     struct filter f = filter_new();
 *     filter_rule(&f, SYS_munmap, SECCOMP_RET_ALLOW);
 *     filter_install(&f, SECCOMP_RET_KILL_PROCESS);   // whatever no rule names
 */
#ifndef FILTER_H
#define FILTER_H

#include "shmtest.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#define REFUSE_WITH(err) (SECCOMP_RET_ERRNO | ((unsigned)(err) & SECCOMP_RET_DATA))

struct filter { struct sock_filter code[160]; unsigned short len; };

static inline void filter_add(struct filter *f, struct sock_filter code)
{
	if (f->len == sizeof f->code / sizeof *f->code)
		FATAL("too many rules for one filter");
	f->code[f->len++] = code;
}

static inline struct filter filter_new(void)
{
	struct filter f = { .len = 0 };
	filter_add(&f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						    offsetof(struct seccomp_data, nr)));
	return f;
}

static inline void filter_rule(struct filter *f, long nr, unsigned action)
{
	filter_add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1));
	filter_add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
#ifdef SYS_ipc
	/* By which libc makes the calls where they have one number for all. */
	if (nr == SYS_shmdt)
		filter_rule(f, SYS_ipc, action);
#endif
}

static inline void filter_install(struct filter *f, unsigned otherwise)
{
	filter_add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise));
	struct sock_fprog prog = { .len = f->len, .filter = f->code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		SKIP("seccomp filters: %s", errno_name(errno));
}

#endif
