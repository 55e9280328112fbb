/*
 * shmtest_checks.h - part of shmtest.h: what a test notes, the checks, and
 * tables of errnos.
 */
#ifndef SHMTEST_CHECKS_H
#define SHMTEST_CHECKS_H

/* ------------------------------------------------------------- the notes */

enum { LOG_BYTES = 64 * 1024, MAX_NOTES = 40, WATCHDOG_SECS = 600, ALREADY_NOTED = 99 };

/* SKIPPED: the machine lacks something. NOT_HERE: the test is about the other side. */
enum left_out { NOT_LEFT_OUT, SKIPPED, NOT_HERE };

struct shmtest_notes {
	atomic_int failures, checks, left_out; /* enum left_out */
	atomic_size_t used;
	char skip_reason[256];
	char log[LOG_BYTES];
};
static struct shmtest_notes *notes;

static inline const char *errno_name(int e)
{
	const char *name = e ? strerrorname_np(e) : "success";
	return name ? name : "an unknown errno";
}

__attribute__((format(printf, 3, 4))) static inline void fail_at(const char *file, int line,
								 const char *fmt, ...)
{
	char text[1024];
	int saved = errno;
	if (atomic_fetch_add(&notes->failures, 1) >= MAX_NOTES)
		return;
	/* Line 0 is the test as a whole. */
	int n = line ? snprintf(text, sizeof text, "    %s:%d: ", file, line) :
		       snprintf(text, sizeof text, "    %s: ", file);
	va_list ap;
	va_start(ap, fmt);
	int more = vsnprintf(text + n, sizeof text - (size_t)n - 1, fmt, ap);
	va_end(ap);
	n += more < 0 ? 0 : more;
	if (n > (int)sizeof text - 2)
		n = (int)sizeof text - 2;
	text[n++] = '\n';
	size_t at = atomic_fetch_add(&notes->used, (size_t)n);
	if (at + (size_t)n <= LOG_BYTES)
		memcpy(notes->log + at, text, (size_t)n);
	errno = saved;
}

#define FAIL(...) fail_at(__FILE__, __LINE__, __VA_ARGS__)
#define FATAL(...) (FAIL(__VA_ARGS__), _exit(ALREADY_NOTED))
#define COUNT_CHECK() ((void)atomic_fetch_add(&notes->checks, 1))

static inline __attribute__((noreturn, format(printf, 2, 3))) void leave_out(enum left_out how, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (!atomic_exchange(&notes->left_out, (int)how))
		vsnprintf(notes->skip_reason, sizeof notes->skip_reason, fmt, ap);
	va_end(ap);
	_exit(0);
}
#define SKIP(...) leave_out(SKIPPED, __VA_ARGS__)
#define NOT_ON_THIS_SIDE(...) leave_out(NOT_HERE, __VA_ARGS__)
/* For a test of what musl does in another way, on the kernel as well. */
#ifdef __GLIBC__
#define GLIBC_ONLY(...) ((void)0)
#else
#define GLIBC_ONLY(...) NOT_ON_THIS_SIDE(__VA_ARGS__)
#endif

/* ------------------------------------------------------------ the checks */

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!(cond))                                                                       \
			FAIL("%s is false", #cond);                                                \
	} while (0)

#define CHECK_EQ(actual, expected)                                                                 \
	do {                                                                                       \
		long long a_ = (long long)(actual), e_ = (long long)(expected);                    \
		COUNT_CHECK();                                                                     \
		if (a_ != e_)                                                                      \
			FAIL("%s is %lld (%#llx), expected %s = %lld (%#llx)", #actual, a_, a_,    \
			     #expected, e_, e_);                                                   \
	} while (0)

#define CHECK_STR(actual, expected)                                                                \
	do {                                                                                       \
		const char *a_ = (actual), *e_ = (expected);                                       \
		COUNT_CHECK();                                                                     \
		if (strcmp(a_, e_) != 0)                                                           \
			FAIL("%s is\n        \"%s\", expected\n        \"%s\"", #actual, a_, e_);  \
	} while (0)

/* A time_t set by the call made between two readings of time(2). */
#define CHECK_WITHIN(actual, from, to)                                                             \
	do {                                                                                       \
		long long a_ = (long long)(actual), f_ = (long long)(from), t_ = (long long)(to);  \
		COUNT_CHECK();                                                                     \
		if (a_ < f_ || a_ > t_)                                                            \
			FAIL("%s is %lld, expected %lld..%lld", #actual, a_, f_, t_);              \
	} while (0)

/* The call must return -1 (or a pointer of that value) and set this errno. */
#define TEST_ERRNO(call, expected)                                                                 \
	do {                                                                                       \
		errno = 0;                                                                         \
		long r_ = (long)(call);                                                            \
		int e_ = errno;                                                                    \
		COUNT_CHECK();                                                                     \
		if (r_ != -1)                                                                      \
			FAIL("%s = %ld (%#lx), expected -1 %s", #call, r_, (unsigned long)r_,      \
			     errno_name(expected));                                                \
		else if (e_ != (expected))                                                         \
			FAIL("%s = -1 %s, expected %s", #call, errno_name(e_),                     \
			     errno_name(expected));                                                \
	} while (0)

/* The call must not return -1, and `cond`, which may use `_ret`, must hold. */
#define TEST_RES(call, cond)                                                                       \
	do {                                                                                       \
		errno = 0;                                                                         \
		long _ret = (long)(call);                                                          \
		int e_ = errno;                                                                    \
		COUNT_CHECK();                                                                     \
		if (_ret == -1)                                                                    \
			FAIL("%s = -1 %s, expected success", #call, errno_name(e_));               \
		else if (!(cond))                                                                  \
			FAIL("%s = %ld (%#lx), expected %s", #call, _ret, (unsigned long)_ret,     \
			     #cond);                                                               \
	} while (0)

#define TEST_SUCC(call) TEST_RES(call, true)

/* Set-up that has to work: the value of the call, or the end of this process. */
#define MUST(call)                                                                                 \
	({                                                                                         \
		errno = 0;                                                                         \
		__auto_type m_ = (call);                                                           \
		if ((long)m_ == -1)                                                                \
			FATAL("%s = -1 %s", #call, errno_name(errno));                             \
		m_;                                                                                \
	})

#define REQUIRE(cond)                                                                              \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!(cond))                                                                       \
			FATAL("%s is false (errno %s)", #cond, errno_name(errno));                 \
	} while (0)

/* ---------------------------------------------------- tables of errnos */

/* err 0: the call must succeed. `what` says why this row is as it is. */
struct get_case { const char *what; key_t key; size_t size; int flags, err; };
struct at_case { const char *what; int id; const void *addr; int flags, err; };
struct ctl_case { const char *what; int id, cmd; void *buf; int err; };

static inline void case_at(const char *file, int line, const char *what, const char *call, long r,
			   int e, int expected)
{
	COUNT_CHECK();
	if (r == -1 ? e != expected : expected != 0)
		fail_at(file, line, "%s: %s = %ld %s, expected %s", what, call, r,
			r == -1 ? errno_name(e) : "", errno_name(expected));
}

#define GET_CASES(table)                                                                           \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct get_case *c_ = &(table)[i_];                                          \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "shmget(%#x, %zu, %#o)", (unsigned)c_->key, c_->size,      \
			 (unsigned)c_->flags);                                                     \
		errno = 0;                                                                         \
		long r_ = shmget(c_->key, c_->size, c_->flags);                                    \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

#define AT_CASES(table)                                                                            \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct at_case *c_ = &(table)[i_];                                           \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "shmat(%d, %p, %#o)", c_->id, (void *)c_->addr,            \
			 (unsigned)c_->flags);                                                     \
		errno = 0;                                                                         \
		long r_ = (long)shmat(c_->id, c_->addr, c_->flags);                                \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

#define CTL_CASES(table)                                                                           \
	for (size_t i_ = 0; i_ < sizeof(table) / sizeof(table)[0]; i_++) {                         \
		const struct ctl_case *c_ = &(table)[i_];                                          \
		char s_[128];                                                                      \
		snprintf(s_, sizeof s_, "shmctl(%d, %d, %p)", c_->id, c_->cmd, c_->buf);           \
		errno = 0;                                                                         \
		long r_ = shmctl(c_->id, c_->cmd, (struct shmid_ds *)c_->buf);                     \
		case_at(__FILE__, __LINE__, c_->what, s_, r_, errno, c_->err);                     \
	}

#endif
