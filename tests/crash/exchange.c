/*
 * exchange.c - the runtime directory is removed and made anew, or exchanged for another, while programs run.
 *
 * The names then lead to others' segments. A program must neither attach, remove nor change those, nor take others'
 * liveness for that of the processes it knows; what it has attached stays usable.
 */
#include "hostile.h"

#include <sys/stat.h>
#include <linux/fs.h>
#include <fcntl.h>
#include <time.h>

enum { KEY = 0x162e, SIZE = 8192, OLD = 70, NEW = 71 };

/* Every namespace has this segment. */
static int job_make_first(int seed)
{
	int id = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600);
	char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
	if (at == (void *)-1)
		return -1;
	fill(at, seed, SIZE);
	the->address[0] = at;
	the->segment[seed == OLD ? 0 : 1].id = id;
	return 0;
}

/* Beside the other namespace's segment a file of the name that the first program knows. */
static void put_old_name(const char *directory)
{
	char from[800], to[800], text[1700];
	snprintf(from, sizeof from, "%s/segments/SYSV%08x.%d", directory, KEY, the->segment[1].id);
	snprintf(to, sizeof to, "%s/segments/SYSV%08x.%d", directory, KEY, the->segment[0].id);
	snprintf(text, sizeof text, "cp -p '%s' '%s'", from, to);
	if (system(text) != 0)
		fatal("%s fails", text);
}

static int job_join(int argument)
{
	(void)argument;
	return shmat(shmget(KEY, 0, 0), NULL, 0) == (void *)-1 ? -1 : 0;
}

static int job_shows(int seed)
{
	void *at = shmat(shmget(KEY, 0, 0), NULL, SHM_RDONLY);
	int value = at == (void *)-1 ? -1 : filled(at, seed, SIZE);
	if (at != (void *)-1)
		shmdt(at);
	return value;
}

/* Bits of what should not be so. */
static int job_is_apart(int argument)
{
	struct shmid_ds d;
	int wrong = 0, id = shmget(KEY, 0, 0);
	(void)argument;
	/* A check of the place counts for a moment: before that is over nothing is promised. */
	nanosleep(&(struct timespec){ 0, 60000000 }, NULL);
	wrong |= shmctl(id, IPC_STAT, &d) == 0 && d.shm_nattch == 2 ? 0 : 1;
	wrong |= shmat(id, NULL, 0) == (void *)-1 && errno == EACCES ? 0 : 2;
	wrong |= shmget(IPC_PRIVATE, SIZE, 0600) == -1 && errno == EACCES ? 0 : 4;
	wrong |= shmget(KEY + 1, SIZE, IPC_CREAT | 0600) == -1 && errno == EACCES ? 0 : 8;
	d.shm_perm.mode = 0644;
	wrong |= shmctl(id, IPC_SET, &d) == -1 && errno == EACCES ? 0 : 16;
	wrong |= filled(the->address[0], OLD, SIZE) ? 0 : 32;
	return wrong;
}

/* Removed here, the segment goes with its last attach here. */
static int job_ends(int argument)
{
	int id = shmget(KEY, 0, 0);
	(void)argument;
	return shmctl(id, IPC_RMID, NULL) == 0 && shmdt(the->address[0]) == 0 ? 0 : -1;
}

static bool does(struct actor *actor, job *job, int argument, int wanted, const char *what)
{
	struct answer answer = { 0, 0 };
	if (!act(actor, job, argument, &answer, what))
		return false;
	if (answer.value == wanted)
		return true;
	failed("%s: %d instead of %d (%s)", what, answer.value, wanted, strerror(answer.error));
	return false;
}

static char other[700];

static void make_anew(void)
{
	/* Its liveness files are locked by nobody: those who look at them must not take the living for dead. */
	remove_tree(the->directory);
}

static void exchange(void)
{
	if (renameat2(AT_FDCWD, the->directory, AT_FDCWD, other, RENAME_EXCHANGE) < 0)
		fatal("renameat2: %s", strerror(errno));
}

static void remove_registry(void) { must(unlink(inside("registry")), "unlink"); }

static void apart(const char *what, void (*change)(void), bool back)
{
	struct actor first, second, newcomer, guest;
	bool good;

	place("user", OWNER, 0700);
	snprintf(other, sizeof other, "%s/other/.shmshim-uid%d", the->base, is_root ? OWNER : (int)geteuid());
	actor_of(&first, OWNER);
	actor_of(&second, OWNER);
	if (!does(&first, job_make_first, OLD, 0, what) || !does(&second, job_join, 0, 0, what))
		fatal("no segments could be made");
	void *address = the->address[0];
	bool by_exchange = change == exchange;
	if (by_exchange) {
		/* Another namespace, complete, with processes that have come and gone. */
		char base[300];
		snprintf(base, sizeof base, "%s/other", the->base);
		must(mkdir(base, 0700), "mkdir");
		if (is_root)
			must(chown(base, OWNER, OWNER), "chown");
		setenv("SHMSHIM_DIR", base, 1);
		for (int i = 0; i < 2; i++) {
			actor_of(&guest, OWNER);
			does(&guest, i ? job_join : job_make_first, NEW, 0, what);
			actor_kill(&guest);
		}
		put_old_name(other);
		setenv("SHMSHIM_DIR", the->base, 1);
	}
	change();
	actor_of(&newcomer, OWNER);
	/* After the loss of the table alone it is the same segment. */
	int shown = change == remove_registry ? OLD : NEW;
	good = change != make_anew || does(&newcomer, job_make_first, NEW, 0, what);
	if (change == make_anew && good)
		put_old_name(the->directory);
	actor_of(&guest, OWNER);
	good = good && does(&guest, job_join, 0, 0, what);
	actor_kill(&guest);
	the->address[0] = address;
	trace_clear();
	good = good && does(&first, job_is_apart, 0, 0, what);
	if (good && !trace_says("this program has opened")) {
		failed("%s: the trace does not say so", what);
		good = false;
	}
	if (good && back) {
		exchange();
		good = does(&first, job_shows, OLD, 1, "put back") && does(&second, job_shows, OLD, 1, "put back");
	} else {
		good = good && does(&first, job_ends, 0, 0, what);
		actor_kill(&first);
		actor_kill(&second);
		good = good && does(&newcomer, job_shows, shown, 1, what);
		actor_kill(&newcomer);
		/* As it finds it who comes later. */
		actor_of(&newcomer, OWNER);
		good = good && does(&newcomer, job_shows, shown, 1, what);
	}
	if (good)
		passed();
	actor_kill(&first);
	actor_kill(&second);
	actor_kill(&newcomer);
	place_end();
}

void test_exchanges(void)
{
	apart("a directory removed and made anew", make_anew, false);
	apart("a table removed and made anew", remove_registry, false);
	apart("two directories exchanged", exchange, false);
	apart("two directories exchanged, and back", exchange, true);
}
