/* However a program gets at the functions (by a handle, a version, a plugin, a number), they are the same ones. */
#include "filter.h"
#include "proctest.h"
#include <dlfcn.h>
#include <link.h>

#if defined __x86_64__
#define VERSION "GLIBC_2.2.5"
#elif defined __i386__
#define VERSION "GLIBC_2.0"
#else
#define VERSION "GLIBC_2.17"
#endif

typedef int get_fn(key_t, size_t, int);

static void *libc_handle(void)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW);
	if (!libc)
		SKIP("no libc.so.6");
	return libc;
}

static void *plugin(int how)
{
	void *handle = dlopen(built("lib_plugin.so"), RTLD_NOW | how);
	if (!handle)
		FATAL("%s", dlerror());
	return handle;
}

static bool meets(void *get, int id) { return get && ((get_fn *)get)(0x301, 0, 0) == id; }

/* The first look-up of a process is the one that matters: each of these is made in a process of its own. */
#define EACH(id, ...)                                                                              \
	do {                                                                                       \
		void *ways[] = { __VA_ARGS__ };                                                    \
		for (size_t i_ = 0; i_ < sizeof ways / sizeof *ways; i_++)                         \
			CHECK(meets(ways[i_], id));                                                \
	} while (0)

TEST(a_look_up_in_libcs_own_handle_finds_the_same_functions)
{
	int id = MUST(shmget(0x301, PAGE, IPC_CREAT | 0600));
	IN_CHILD EACH(id, dlsym(libc_handle(), "shmget"));
	IN_CHILD EACH(id, dlvsym(libc_handle(), "shmget", VERSION));
	IN_CHILD EACH(id, dlsym(RTLD_DEFAULT, "shmget"), dlsym(RTLD_NEXT, "shmget"));
	IN_CHILD EACH(id, dlvsym(RTLD_DEFAULT, "shmget", VERSION), dlvsym(RTLD_NEXT, "shmget", VERSION));
}

TEST(a_plugin_that_is_bound_to_libc_finds_the_same_functions)
{
	int id = MUST(shmget(0x301, PAGE, IPC_CREAT | 0600));
	static const int hows[] = { 0, RTLD_DEEPBIND, RTLD_DEEPBIND | RTLD_GLOBAL };
	for (size_t i = 0; i < sizeof hows / sizeof *hows; i++)
		IN_CHILD
		{
			void *handle = plugin(hows[i]);
			EACH(id, dlsym(handle, "plugin_call"), dlsym(handle, "plugin_pointer"),
			     *(void **)dlsym(handle, "plugin_data"));
		}
}

TEST(what_a_plugin_unmaps_is_no_longer_counted)
{
	int id = new_segment(PAGE);
	char *p = attach(id);
	int (*unmap)(void *, size_t) = (int (*)(void *, size_t))dlsym(plugin(RTLD_DEEPBIND), "plugin_munmap");
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(unmap(p, PAGE), 0);
	CHECK_EQ(nattch_of(id), 0);
}

TEST(every_function_of_ours_stands_in_libcs_table)
{
	SHIM_ONLY();
	static const char *const names[] = {
		"shmget", "shmat", "shmdt", "shmctl", "munmap", "mremap", "mmap", "mmap64", "madvise",
		"open", "open64", "openat", "__open_2", "__openat_2", "fopen", "fopen64",
		"stat", "stat64", "access", "faccessat", "realpath", "write", "execve",
		"setuid", "seteuid", "setreuid", "setresuid", "unshare", "setns", "prctl", "syscall", "semget", "msgget",
	};
	void *libc = libc_handle();
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		Dl_info where;
		void *found = dlsym(libc, names[i]);
		CHECK(found == dlsym(RTLD_DEFAULT, names[i]));
		if (!found || !dladdr(found, &where) || !strstr(where.dli_fname, "libshmshim"))
			FAIL("%s is libc's", names[i]);
	}
}

TEST(the_table_is_read_only_again)
{
	dlsym(libc_handle(), "shmget");
	const struct link_map *map = _r_debug.r_map;
	while (map && !strstr(map->l_name, "libc.so.6"))
		map = map->l_next;
	REQUIRE(map != NULL);
	const ElfW(Sym) *table = NULL;
	for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_SYMTAB)
			table = (const ElfW(Sym) *)d->d_un.d_ptr;
	REQUIRE(table != NULL);
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	int seen = 0;
	while (fgets(line, sizeof line, maps)) {
		unsigned long from, to;
		char perms[8];
		REQUIRE(sscanf(line, "%lx-%lx %7s", &from, &to, perms) == 3);
		if (!strstr(line, "libc.so.6") || to <= (unsigned long)table || from > (unsigned long)(table + 3000))
			continue;
		CHECK(perms[1] == '-');
		seen++;
	}
	fclose(maps);
	CHECK(seen > 0);
}

/* What a look-up of the function tells: the program's own dlopen and dlsym stay what they are. */
TEST(dlopen_and_dlsym_do_what_they_did)
{
	errno = 77;
	CHECK(dlsym(RTLD_DEFAULT, "strlen") != NULL);
	CHECK_EQ(errno, 77);
	CHECK(dlsym(RTLD_DEFAULT, "no_such_function") == NULL);
	CHECK(dlerror() != NULL);
	CHECK(dlopen("/no/such/library.so", RTLD_NOW) == NULL);
	CHECK(strstr(dlerror(), "/no/such/library.so") != NULL);
	CHECK(dlvsym(RTLD_DEFAULT, "strlen", "GLIBC_0.1") == NULL);
	CHECK(dlopen(NULL, RTLD_NOW) != NULL);
}

static pthread_barrier_t together;
static void *looks_up(void *arg)
{
	pthread_barrier_wait(&together);
	return meets(dlsym(libc_handle(), "shmget"), *(int *)arg) ? arg : NULL;
}

TEST(threads_that_look_up_at_once_all_find_them)
{
	int id = MUST(shmget(0x301, PAGE, IPC_CREAT | 0600));
	for (int round = 0; round < 20; round++)
		IN_CHILD
		{
			pthread_t threads[8];
			pthread_barrier_init(&together, NULL, 8);
			for (int i = 0; i < 8; i++)
				thread_start(&threads[i], looks_up, &id);
			for (int i = 0; i < 8; i++) {
				void *found = NULL;
				pthread_join(threads[i], &found);
				CHECK(found == &id);
			}
		}
}

TEST(a_program_that_may_execute_no_memory_that_it_wrote_is_served)
{
	int id = MUST(shmget(0x301, PAGE, IPC_CREAT | 0600));
	IN_CHILD
	{
		if (prctl(65 /* PR_SET_MDWE */, 1UL, 0UL, 0UL, 0UL) < 0)
			SKIP("no PR_SET_MDWE: %s", errno_name(errno));
		EACH(id, dlsym(libc_handle(), "shmget"));
	}
}

/* The trace of a child that makes this call. */
static char traced[4096];
#define TRACED(call)                                                                               \
	do {                                                                                       \
		char path_[PATH_MAX];                                                              \
		snprintf(path_, sizeof path_, "%s/trace", getenv("SHMSHIM_DIR"));                  \
		setenv("SHMSHIM_TRACE", path_, 1);                                                 \
		IN_CHILD { call; }                                                                 \
		int fd_ = MUST(open(path_, O_RDONLY));                                             \
		traced[MUST(read(fd_, traced, sizeof traced - 1))] = 0;                            \
		close(fd_);                                                                        \
		unlink(path_);                                                                     \
	} while (0)

TEST(a_filter_that_forbids_mprotect_is_heeded_and_that_is_said)
{
	SHIM_ONLY();
	TRACED({
		struct filter f = filter_new();
		filter_rule(&f, SYS_mprotect, SECCOMP_RET_KILL_PROCESS);
		filter_install(&f, SECCOMP_RET_ALLOW);
		CHECK(dlsym(RTLD_DEFAULT, "strlen") != NULL);
	});
	CHECK(strstr(traced, "libc's table of symbols cannot be changed (EPERM)") != NULL);
}

TEST(a_namespace_of_libraries_is_announced)
{
	SHIM_ONLY();
	TRACED(dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW));
	CHECK(strstr(traced, "dlmopen(…) opens a namespace with a libc of its own") != NULL);
}

TEST(a_library_that_stands_behind_is_still_called_and_calls_libc)
{
	SHIM_ONLY();
	static struct run r;
	char both[2 * PATH_MAX];
	snprintf(both, sizeof both, "%s %s", getenv("LD_PRELOAD"), built("lib_behind.so"));
	setenv("LD_PRELOAD", both, 1);
	run_program(&r, (char *const[]){ (char *)built("helper_in_front"), NULL });
	CHECK_EQ(r.status, 0);
	CHECK_STR(r.out, "attached 0 times\nbehind: 1 opened, 1 unmapped\n");
}

#ifdef SYS_shmget
TEST(the_calls_by_number_answer_as_the_functions_do)
{
	struct shmid_ds d;
	int id = (int)MUST(syscall(SYS_shmget, 0x301, PAGE, IPC_CREAT | 0600));
	CHECK_EQ(shmget(0x301, 0, 0), id);
	char *p = (char *)MUST(syscall(SYS_shmat, id, NULL, 0));
	p[0] = 'n';
	char *q = attach(id);
	CHECK_EQ(q[0], 'n');
	CHECK_EQ(syscall(SYS_shmctl, id, IPC_STAT, &d), 0);
	CHECK_EQ(d.shm_nattch, 2);
	errno = 77;
	CHECK_EQ(syscall(SYS_shmdt, p), 0);
	CHECK_EQ(errno, 77);
	CHECK_EQ(nattch_of(id), 1);
	TEST_ERRNO(syscall(SYS_shmdt, p), EINVAL);
	TEST_ERRNO(syscall(SYS_shmget, 0x302, 0, 0), ENOENT);
	TEST_ERRNO(syscall(SYS_shmat, id, 12345L, 0), EINVAL);
	TEST_ERRNO(syscall(SYS_shmctl, id, 4711, NULL), EINVAL);
	CHECK_EQ(syscall(SYS_shmctl, id, IPC_RMID, NULL), 0);
}
#endif

TEST(what_a_call_by_number_unmaps_is_no_longer_counted)
{
	int id = new_segment(4 * PAGE);
	char *p = attach(id), *q = attach(id);
	errno = 77;
	CHECK_EQ(syscall(SYS_munmap, p, 4 * PAGE), 0);
	CHECK_EQ(errno, 77);
	CHECK_EQ(nattch_of(id), 1);
	TEST_ERRNO(syscall(SYS_munmap, q + 1, PAGE), EINVAL);
	CHECK_EQ(syscall(SYS_madvise, q, 4 * PAGE, MADV_DONTFORK), 0);
	IN_CHILD CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(syscall(SYS_mremap, q, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, FREE_AREA), (long)FREE_AREA);
	CHECK_EQ(nattch_of(id), 1);
#ifdef SYS_mmap2
	long other = syscall(SYS_mmap2, FREE_AREA, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
#else
	long other = syscall(SYS_mmap, FREE_AREA, 4 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
#endif
	CHECK_EQ(other, (long)FREE_AREA);
	CHECK_EQ(nattch_of(id), 0);
}

#ifdef SYS_ipc
TEST(the_calls_of_ipc_answer_as_the_functions_do)
{
	enum { AT = 21, DT, GET, CTL, IPC_64 = 0x100 };
	struct shmid_ds d;
	unsigned long at = 0;
	int id = (int)MUST(syscall(SYS_ipc, GET, 0x301, PAGE, IPC_CREAT | 0600));
	CHECK_EQ(shmget(0x301, 0, 0), id);
	CHECK_EQ(syscall(SYS_ipc, AT, id, 0, &at, NULL), 0);
	*(char *)at = 'n';
	CHECK_EQ(syscall(SYS_ipc, CTL, id, IPC_STAT | IPC_64, 0, &d), 0);
	CHECK_EQ(d.shm_nattch, 1);
	TEST_ERRNO(syscall(SYS_ipc, AT | 1 << 16, id, 0, &at, NULL), EINVAL);
	CHECK_EQ(syscall(SYS_ipc, DT, 0, 0, 0, at), 0);
	TEST_ERRNO(syscall(SYS_ipc, AT, id, 0, NULL, NULL), EFAULT);
	CHECK_EQ(nattch_of(id), 1);
	CHECK_EQ(syscall(SYS_ipc, CTL, id, IPC_RMID, 0, NULL), 0);
}
#endif
