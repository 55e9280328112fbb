// ipc OPERATION...: a program with semaphores and message queues, told by its arguments what to do, in this order:
//
//   set KEY COUNT MODE       semget with IPC_CREAT, MODE in octal; KEY 0 is IPC_PRIVATE. Prints the id
//   op NUMBER CHANGE         semop on the last set
//   undo NUMBER CHANGE       the same with SEM_UNDO
//   value NUMBER VALUE       SETVAL
//   print-value NUMBER       GETVAL
//   queue KEY MODE           msgget with IPC_CREAT. Prints the id
//   send TYPE TEXT           msgsnd to the last queue
//   fill COUNT BYTES         msgsnd of so many messages of so many bytes, each another text
//   receive TYPE             msgrcv from the last queue. Prints the text
//   fork-op NUMBER CHANGE    semop in a child, which is not waited for
//   fork-receive TYPE        msgrcv in a child
//   remove-set, remove-queue the last ones
//   no-copy PROGRAM ...      executes a program to which the kernel answers msgrcv with ENOSYS, as one without MSG_COPY
//   hold                     prints "ready" and waits for the end of standard input
//
// A call that fails is reported on standard error, and ends the program with status 9.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <stddef.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <unistd.h>

static int set = -1, queue = -1;

struct message {
	long type;
	char text[4096];
};

static void failed(const char *call)
{
	fprintf(stderr, "ipc: %s: %s\n", call, strerror(errno));
	exit(9);
}

static const char *argument(char ***next)
{
	if (!**next) {
		fprintf(stderr, "ipc: an argument is missing\n");
		exit(2);
	}
	return *(*next)++;
}

static long number(char ***next)
{
	return strtol(argument(next), NULL, 0);
}

static void operate(int which, int change, int flags)
{
	struct sembuf operation = { which, change, flags };

	if (semop(set, &operation, 1))
		failed("semop");
}

static void send_text(long type, const char *text)
{
	struct message message = { .type = type };
	size_t length = strlen(text);

	memcpy(message.text, text, length);
	if (msgsnd(queue, &message, length, 0))
		failed("msgsnd");
}

static void fill(long count, size_t bytes)
{
	struct message *message = malloc(sizeof message->type + bytes);
	unsigned state = 1;

	for (message->type = 1; message->type <= count; message->type++) {
		for (size_t at = 0; at < bytes; at++)
			((char *)message)[sizeof message->type + at] = (char)((state = state * 1664525 + 1013904223) >> 24);
		if (msgsnd(queue, message, bytes, IPC_NOWAIT))
			failed("msgsnd");
	}
	free(message);
}

static void receive(long type)
{
	struct message message;
	ssize_t got = msgrcv(queue, &message, sizeof message.text, type, 0);

	if (got < 0)
		failed("msgrcv");
	printf("%.*s\n", (int)got, message.text);
}

// Whether this is the child, which dies with its parent.
static int is_child(void)
{
	fflush(stdout);
	switch (fork()) {
	case -1:
		failed("fork");
	case 0:
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return 1;
	default:
		return 0;
	}
}

static void execute_without_msgrcv(char **words)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_msgrcv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		failed("prctl");
	execvp(words[0], words);
	failed("execvp");
}

int main(int argc, char **argv)
{
	char **next = argv + 1;

	(void)argc;
	while (*next) {
		const char *word = *next++;

		if (!strcmp(word, "set")) {
			key_t key = (key_t)strtoul(argument(&next), NULL, 0);
			int count = (int)number(&next);

			set = semget(key, count, IPC_CREAT | (int)strtol(argument(&next), NULL, 8));
			if (set < 0)
				failed("semget");
			printf("%d\n", set);
		} else if (!strcmp(word, "op") || !strcmp(word, "undo")) {
			int which = (int)number(&next);

			operate(which, (int)number(&next), word[0] == 'u' ? SEM_UNDO : 0);
		} else if (!strcmp(word, "value")) {
			int which = (int)number(&next);

			if (semctl(set, which, SETVAL, (int)number(&next)))
				failed("semctl");
		} else if (!strcmp(word, "print-value")) {
			int value = semctl(set, (int)number(&next), GETVAL);

			if (value < 0)
				failed("semctl");
			printf("%d\n", value);
		} else if (!strcmp(word, "queue")) {
			key_t key = (key_t)strtoul(argument(&next), NULL, 0);

			queue = msgget(key, IPC_CREAT | (int)strtol(argument(&next), NULL, 8));
			if (queue < 0)
				failed("msgget");
			printf("%d\n", queue);
		} else if (!strcmp(word, "send")) {
			long type = number(&next);

			send_text(type, argument(&next));
		} else if (!strcmp(word, "fill")) {
			long count = number(&next);

			fill(count, (size_t)number(&next));
		} else if (!strcmp(word, "receive")) {
			receive(number(&next));
		} else if (!strcmp(word, "fork-op")) {
			int which = (int)number(&next), change = (int)number(&next);

			if (is_child()) {
				operate(which, change, 0);
				_exit(0);
			}
		} else if (!strcmp(word, "fork-receive")) {
			long type = number(&next);

			if (is_child()) {
				receive(type);
				_exit(0);
			}
		} else if (!strcmp(word, "remove-set")) {
			if (semctl(set, 0, IPC_RMID))
				failed("semctl");
		} else if (!strcmp(word, "remove-queue")) {
			if (msgctl(queue, IPC_RMID, NULL))
				failed("msgctl");
		} else if (!strcmp(word, "no-copy")) {
			execute_without_msgrcv(next);
		} else if (!strcmp(word, "hold")) {
			puts("ready");
			fflush(stdout);
			while (getchar() != EOF)
				;
		} else {
			fprintf(stderr, "ipc: there is no operation %s\n", word);
			return 2;
		}
	}
	fflush(stdout);
	return 0;
}
