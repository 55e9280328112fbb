/* A program that has a memmove of its own, out of which it makes calls: none of them waits for itself. */
#include "proctest.h"

static volatile int armed;
static char *page;
static int id, inner;

static void comes_out_of_a_call(void)
{
	armed = 0;
	int saved = errno;
	char *at = shmat(inner, NULL, 0);
	if (at != (char *)-1)
		shmdt(at);
	if (page)
		munmap(page, PAGE);
	page = NULL;
	errno = saved;
}

void *memmove(void *to, const void *from, size_t len)
{
	volatile char *a = to;
	const char *b = from;
	if (armed)
		comes_out_of_a_call();
	if (a < b)
		for (size_t i = 0; i < len; i++)
			a[i] = b[i];
	else
		while (len--)
			a[len] = b[len];
	return to;
}

static void does_nothing(int sig) { (void)sig; }

TEST(calls_that_come_out_of_a_call_end)
{
	char *base = mmap(NULL, 64 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(base != MAP_FAILED);
	REQUIRE(signal(SIGUSR1, does_nothing) != SIG_ERR);
	id = new_segment(PAGE);
	inner = new_segment(PAGE);
	MUST(shmat(id, base, SHM_REMAP));
	MUST(shmat(id, base + 60 * PAGE, SHM_REMAP));
	for (int i = 1; i < 20; i++) {
		page = base + 30 * PAGE;
		armed = 1;
		TEST_RES(shmat(id, base + i * PAGE, SHM_REMAP), _ret == (long)(base + i * PAGE));
		armed = 0;
	}
	CHECK_EQ(nattch_of(id), 21);
	CHECK_LIFE(IPC_PRIVATE);
}
