/*
 * tokens_worker.c - what a worker of tokens.c does until it is killed or all is over.
 */
#include "tokens.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

struct worker *me;

void wrong(const char *format, ...)
{
	va_list arguments;
	if (atomic_fetch_add(&ledger->wrong, 1) != 0)
		return;
	va_start(arguments, format);
	vsnprintf(ledger->text, sizeof ledger->text, format, arguments);
	va_end(arguments);
}

static void count(void) { atomic_fetch_add(&me->calls, 1); }

/* A call that may be interrupted by a handler. */
static int operate(int set, struct sembuf *ops, int number, long millis)
{
	struct timespec limit = { millis / 1000, millis % 1000 * 1000000 };
	int done;
	while ((done = semtimedop(set, ops, number, millis ? &limit : NULL)) < 0 && errno == EINTR && !atomic_load(&ledger->over))
		;
	count();
	if (done < 0 && errno != EAGAIN && errno != EINTR)
		wrong("semtimedop: %s", strerror(errno));
	return done;
}

static void move(unsigned long long *own, short flags)
{
	int from = pick(own, PLACES), to = pick(own, PLACES);
	struct sembuf ops[] = { { from, -1, flags }, { to, 1, flags } };
	operate(ledger->moved[pick(own, SETS)], ops, 2, 20);
}

void sum_up(unsigned long long *own)
{
	unsigned short values[PLACES];
	int sum = 0;
	if (semctl(ledger->moved[pick(own, SETS)], 0, GETALL, (union semun){ .array = values }) < 0) {
		wrong("GETALL: %s", strerror(errno));
		return;
	}
	count();
	for (int i = 0; i < PLACES; i++)
		sum += values[i];
	if (sum != PLACES * TOKENS)
		wrong("%d tokens in place of %d", sum, PLACES * TOKENS);
}

static void borrow(unsigned long long *own)
{
	int set = ledger->borrowed[pick(own, SETS)], one = 1 + pick(own, PLACES - 1), other = 1 + pick(own, PLACES - 1);
	struct sembuf take[] = { { one, -1, SEM_UNDO }, { other, -1, SEM_UNDO } };
	struct sembuf give[] = { { other, 1, SEM_UNDO }, { one, 1, SEM_UNDO } };
	if (operate(set, take, 2, 50) == 0) {
		if (pick(own, 4) == 0)
			usleep(pick(own, 300));
		while (operate(set, give, 2, 0) < 0)
			if (atomic_load(&ledger->over) && errno == EINTR)
				_exit(0);
	}
}

/* Not one that is in the midst of its end: what it owes is paid then. */
static bool lives(int pid)
{
	enum { EXITING = 4 };
	char path[40], state = 'X';
	unsigned flags = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *file = fopen(path, "re");
	if (file) {
		if (fscanf(file, "%*d (%*[^)]) %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2)
			state = 'X';
		fclose(file);
	}
	return state != 'X' && state != 'Z' && !(flags & EXITING);
}

static void enter(unsigned long long *own)
{
	struct sembuf in = { 0, -1, SEM_UNDO }, out = { 0, 1, SEM_UNDO };
	int set = ledger->borrowed[0];
	if (operate(set, &in, 1, 50) < 0)
		return;
	unsigned before = atomic_exchange(&ledger->inside, getpid());
	if (before && before != (unsigned)getpid() && lives(before))
		wrong("%d is inside, where %u is", getpid(), before);
	if (pick(own, 8) == 0)
		usleep(pick(own, 200));
	unsigned self = getpid();
	if (!atomic_compare_exchange_strong(&ledger->inside, &self, 0))
		wrong("%u has come inside, where %d was", self, getpid());
	while (operate(set, &out, 1, 0) < 0)
		if (atomic_load(&ledger->over) && errno == EINTR)
			_exit(0);
}

enum { LETTER_HEAD = 4 * sizeof(unsigned) };

static unsigned sum_of(const struct letter *letter)
{
	unsigned sum = letter->body.life * 31 + letter->body.number * 17 + letter->body.length;
	for (unsigned at = 0; at < letter->body.length; at++)
		sum = sum * 33 + letter->body.text[at];
	return sum;
}

static void send_letter(unsigned long long *own, unsigned life)
{
	static struct letter letter;
	int which = pick(own, QUEUES);
	struct life *mine = &ledger->life[life];
	unsigned number = atomic_load(&mine->begun[which]);
	if (number == LETTERS)
		return;
	letter.type = 1 + pick(own, 3);
	letter.body.life = life;
	letter.body.number = number;
	letter.body.length = pick(own, 4) ? pick(own, 60) : pick(own, TEXT);
	memset(letter.body.text, (int)(number + life), letter.body.length);
	letter.body.sum = sum_of(&letter);
	atomic_store(&mine->begun[which], number + 1);
	int done, flags = pick(own, 2) ? IPC_NOWAIT : 0;
	while ((done = msgsnd(ledger->queue[which], &letter, LETTER_HEAD + letter.body.length, flags)) < 0 &&
	       (errno == EINTR || errno == EAGAIN) && !atomic_load(&ledger->over))
		if (errno == EAGAIN) {
			/* It will not be sent: its number is taken again. */
			atomic_store(&mine->begun[which], number);
			count();
			return;
		}
	count();
	if (done == 0)
		atomic_store(&mine->sent[which], number + 1);
	else if (atomic_load(&ledger->over))
		atomic_store(&mine->begun[which], number);
	else
		wrong("msgsnd: %s", strerror(errno));
}

static struct { unsigned life, next[4]; } seen[QUEUES][512];

void note(int which, const struct letter *letter, long length, bool in_order)
{
	const unsigned life = letter->body.life, number = letter->body.number;
	if (length != (long)(LETTER_HEAD + letter->body.length) || life >= LIVES || number >= LETTERS || sum_of(letter) != letter->body.sum) {
		wrong("a message of %ld bytes is not one that was sent", length);
		return;
	}
	unsigned char bit = 1 << number % 8;
	if (atomic_fetch_or(&ledger->life[life].received[which][number / 8], bit) & bit)
		wrong("message %u of life %u comes twice", number, life);
	if (!in_order)
		return;
	unsigned *next = seen[which][life % 512].next;
	if (seen[which][life % 512].life != life) {
		seen[which][life % 512].life = life;
		memset(next, 0, sizeof seen[0][0].next);
	}
	if (number < next[letter->type])
		wrong("message %u of life %u comes behind %u", number, life, next[letter->type] - 1);
	next[letter->type] = number + 1;
}

bool receive_letter(unsigned long long *own, bool waits)
{
	static struct letter letter;
	int which = pick(own, QUEUES);
	long type = pick(own, 3) == 0 ? -(long)pick(own, 4) : pick(own, 2) ? 0 : 1 + pick(own, 3), got;
	atomic_store(&me->receives, true);
	got = msgrcv(ledger->queue[which], &letter, sizeof letter.body, type, waits ? 0 : IPC_NOWAIT);
	if (got >= 0)
		note(which, &letter, got, true);
	atomic_store(&me->receives, false);
	count();
	if (got < 0 && errno != EINTR && errno != ENOMSG)
		wrong("msgrcv: %s", strerror(errno));
	return got >= 0;
}

static void expect(int done, const char *what)
{
	if (done < 0 && errno != EAGAIN && errno != EINTR && errno != EIDRM && errno != EINVAL && errno != ENOMSG && errno != ENOENT &&
	    errno != EEXIST)
		wrong("%s: %s", what, strerror(errno));
	count();
}

static void be_brief(unsigned long long *own)
{
	key_t key = 0x7000 + pick(own, 3);
	struct timespec limit = { 0, 2000000 };
	struct { long type; char text[100]; } m = { 1, "" };
	struct sembuf ops[] = { { 0, pick(own, 2) ? 1 : -1, pick(own, 2) ? SEM_UNDO : 0 }, { 1, -1, 0 } };
	int set = semget(key, 3, IPC_CREAT | 0600), queue = msgget(key, IPC_CREAT | 0600);
	expect(set, "semget");
	expect(queue, "msgget");
	expect(semtimedop(set, ops, 1 + pick(own, 2), &limit), "semtimedop of a brief set");
	expect(msgsnd(queue, &m, pick(own, 100), IPC_NOWAIT), "msgsnd to a brief queue");
	expect(msgrcv(queue, &m, 100, 0, pick(own, 4) ? IPC_NOWAIT : 0), "msgrcv from a brief queue");
	if (pick(own, 3) == 0)
		expect(semctl(set, 0, IPC_RMID), "IPC_RMID of a set");
	if (pick(own, 2) == 0)
		expect(msgctl(queue, IPC_RMID, NULL), "IPC_RMID of a queue");
	expect(semctl(set, 1, SETVAL, (union semun){ .val = 3 }), "SETVAL");
}

/* A handler calls in the midst of calls. */
static unsigned long long storm_seed;
static void on_alarm(int signal)
{
	int kept = errno;
	(void)signal;
	move(&storm_seed, IPC_NOWAIT);
	sum_up(&storm_seed);
	errno = kept;
}

/* A handler forks, and both come back to the call that it has interrupted. */
static volatile bool is_copy;
static void fork_in_handler(int signal)
{
	int kept = errno;
	(void)signal;
	if (is_copy)
		return;
	pid_t child = fork();
	if (child == 0)
		is_copy = true;
	else if (child > 0 && pick(&storm_seed, 2))
		waitpid(child, NULL, 0);
	errno = kept;
}

static void double_oneself(unsigned long long *own)
{
	struct sigaction action = { .sa_handler = fork_in_handler };
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 2000 }, { 0, 2000 } }, NULL);
	while (!atomic_load(&ledger->over) && !is_copy) {
		move(own, 0);
		sum_up(own);
		while (!is_copy && waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	_exit(0);
}

static atomic_bool thread_over;
static void *other_thread(void *argument)
{
	unsigned long long own = *(unsigned long long *)argument ^ 0x55;
	while (!atomic_load(&thread_over)) {
		move(&own, 0);
		sum_up(&own);
	}
	return NULL;
}

/* Children from the midst of another thread's calls. */
static void have_children(unsigned long long *own)
{
	pthread_t thread;
	atomic_store(&thread_over, false);
	if (pthread_create(&thread, NULL, other_thread, own) != 0)
		return;
	for (int i = 0; i < 3; i++) {
		bool by_vfork = i == 2;
		volatile unsigned long long copy = *own + i;
		pid_t child = by_vfork ? vfork() : fork();
		if (child == 0) {
			struct sembuf ops[] = { { 0, -1, IPC_NOWAIT }, { 1, 1, IPC_NOWAIT } };
			if (by_vfork) {
				semop(ledger->moved[0], ops, 2);
				_exit(0);
			}
			unsigned long long mine = copy;
			for (int n = 0; n < 5; n++) {
				move(&mine, 0);
				borrow(&mine);
			}
			_exit(0);
		}
		if (child > 0)
			waitpid(child, NULL, 0);
	}
	atomic_store(&thread_over, true);
	pthread_join(thread, NULL);
}

void work(int number, unsigned life)
{
	unsigned long long own = seed * 1000003 + life * 7919;
	me = &ledger->worker[number];
	storm_seed = own ^ 0x1234;
	unsigned kind = pick(&own, 6);
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = pick(&own, 2) ? SA_RESTART : 0 };
	sigaction(SIGALRM, &action, NULL);
	if (kind == 2 && doubles)
		double_oneself(&own);
	if (kind == 0)
		setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 700 }, { 0, 700 } }, NULL);
	while (!atomic_load(&ledger->over)) {
		switch (pick(&own, kind == 1 ? 14 : 12)) {
		case 0: case 1: move(&own, 0); break;
		case 2: sum_up(&own); break;
		case 3: case 4: borrow(&own); break;
		case 5: case 6: enter(&own); break;
		case 7: case 8: send_letter(&own, life); break;
		case 9: case 10: receive_letter(&own, pick(&own, 2)); break;
		case 11: be_brief(&own); break;
		default: have_children(&own);
		}
	}
	_exit(0);
}
