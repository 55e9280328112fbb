/* A plugin that a test loads with RTLD_DEEPBIND: by call, by pointer and by data it means libc's functions. */
#include <stddef.h>
#include <sys/mman.h>
#include <sys/shm.h>

int (*plugin_data)(key_t, size_t, int) = shmget;
int plugin_call(key_t key, size_t size, int flags) { return shmget(key, size, flags); }
int plugin_pointer(key_t key, size_t size, int flags)
{
	int (*volatile pointer)(key_t, size_t, int) = shmget;
	return pointer(key, size, flags);
}
int plugin_munmap(void *addr, size_t len) { return munmap(addr, len); }
