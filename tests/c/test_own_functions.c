/*
 * A program may define memmove, malloc or getenv itself, or be linked to something that does (ThreadSanitizer, an
 * allocator, a profiler). None of the calls runs that code: it could call them again, in the middle of one.
 */
#include "proctest.h"

/* While set, nothing below may be called by this thread. */
static _Thread_local volatile bool watched;
static const char *volatile called;
#define NOTE()                                                                                     \
	do {                                                                                       \
		if (watched && !called)                                                            \
			called = __func__;                                                         \
	} while (0)

/* What a page given back in the middle of a copy leads to, as in a sanitizer that reports. */
static char *volatile page_to_unmap;
static void give_a_page_back(void)
{
	char *page = page_to_unmap;
	page_to_unmap = NULL;
	if (watched && page)
		munmap(page, PAGE);
}

#pragma GCC diagnostic ignored "-Wbuiltin-declaration-mismatch"
/* The compiler may turn neither of these into a call of memmove, which is them. */
#define KEEP_LOOP __attribute__((optimize("no-tree-loop-distribute-patterns")))
static KEEP_LOOP void *copy(volatile char *to, const volatile char *from, size_t n)
{
	give_a_page_back();
	if (to < from)
		for (size_t i = 0; i < n; i++)
			to[i] = from[i];
	else
		while (n--)
			to[n] = from[n];
	return (void *)to;
}
void *memmove(void *to, const void *from, size_t n) { NOTE(); return copy(to, from, n); }
void *memcpy(void *restrict to, const void *restrict from, size_t n) { NOTE(); return copy(to, from, n); }
KEEP_LOOP void *memset(void *to, int c, size_t n)
{
	NOTE();
	for (size_t i = 0; i < n; i++)
		((volatile char *)to)[i] = (char)c;
	return to;
}
int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;
	NOTE();
	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}
int bcmp(const void *a, const void *b, size_t n)
{
	NOTE();
	const volatile unsigned char *x = a, *y = b;
	for (; n; n--, x++, y++)
		if (*x != *y)
			return 1;
	return 0;
}
KEEP_LOOP size_t strlen(const char *s)
{
	size_t n = 0;
	NOTE();
	while (((volatile const char *)s)[n])
		n++;
	return n;
}
extern char **environ;
char *getenv(const char *name)
{
	size_t n = strlen(name);
	NOTE();
	for (char **e = environ; e && *e; e++)
		if (!strncmp(*e, name, n) && (*e)[n] == '=')
			return *e + n + 1;
	return NULL;
}
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t), __libc_free(void *);
void *malloc(size_t n) { NOTE(); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { NOTE(); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { NOTE(); return __libc_realloc(p, n); }
void free(void *p) { NOTE(); __libc_free(p); }
int close(int fd) { NOTE(); return (int)syscall(SYS_close, fd); }
ssize_t read(int fd, void *to, size_t n) { NOTE(); return syscall(SYS_read, fd, to, n); }
off64_t lseek64(int fd, off64_t at, int how) { NOTE(); return lseek(fd, (off_t)at, how); }
ssize_t readlink(const char *p, char *to, size_t n) { NOTE(); return syscall(SYS_readlinkat, AT_FDCWD, p, to, n); }
int dl_iterate_phdr(int (*fn)(void *, size_t, void *), void *arg) { (void)fn, (void)arg; NOTE(); return 0; }

static void stop_watching(void)
{
	watched = false;
	if (called)
		FAIL("%s was called", called);
}

static void life_of_a_segment(void)
{
	struct shmid_ds d;
	watched = true;
	int id = shmget(0x2b1, 3 * PAGE, IPC_CREAT | 0600);
	int again = shmget(0x2b1, 0, 0);
	char *p = shmat(id, NULL, 0), *q = shmat(id, NULL, SHM_RDONLY);
	long r = shmctl(id, IPC_STAT, &d) | shmctl(id, IPC_SET, &d) | munmap(p + PAGE, PAGE);
	int missing = shmget(0x2b2, 0, 0), list = open("/proc/sysvipc/shm", O_RDONLY);
	r |= shmdt(p) | shmdt(q) | shmctl(id, IPC_RMID, NULL);
	stop_watching();
	CHECK(id >= 0 && again == id && p != (void *)-1 && q != (void *)-1);
	CHECK(r == 0 && missing == -1 && list >= 0);
}

TEST(no_call_runs_code_that_the_program_put_in_place_of_libcs)
{
	life_of_a_segment();
}

TEST(nor_does_a_call_that_is_traced)
{
	SHIM_ONLY();
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/ns.trace", getenv("SHMSHIM_DIR"));
	setenv("SHMSHIM_TRACE", path, 1);
	life_of_a_segment();
	CHECK(entries_of(getenv("SHMSHIM_DIR")) == 2);
}

TEST(a_memmove_that_gives_a_page_back_holds_nobody_up)
{
	int id = new_segment(PAGE);
	char *area = MUST(mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	signal(SIGUSR1, SIG_IGN);
	MUST(shmat(id, area, SHM_REMAP));
	MUST(shmat(id, area + 60 * PAGE, SHM_REMAP));
	page_to_unmap = area + 30 * PAGE;
	alarm(30);
	watched = true;
	void *p = shmat(id, area + 20 * PAGE, SHM_REMAP);
	stop_watching();
	CHECK(p == area + 20 * PAGE);
	CHECK_EQ(nattch_of(id), 3);
}
