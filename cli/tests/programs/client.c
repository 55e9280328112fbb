// client OPERATION...: a program with System V shared memory, told by its arguments what to do, in this order:
//
//   make KEY SIZE MODE   shmget with IPC_CREAT, MODE in octal; KEY 0 is IPC_PRIVATE. Prints the id
//   open KEY SIZE        shmget without it. Prints the id
//   attach, attach-ro    the last segment. Nothing is printed
//   write TEXT           into the last attach
//   overrun              writes a byte behind the last attach, if that is of one page
//   read                 prints the text in the last attach
//   detach, remove       the last attach, the last segment
//   hold                 prints "ready" and waits for the end of standard input
//   await FIFO           waits until somebody writes into a fifo
//   say TEXT             prints a line
//   pause                prints "ready" and waits for a signal
//   daemon               goes on in a child with a session of its own, its input and output closed; the parent ends with 0
//   fork                 goes on in a child; the parent waits for it and ends with its status
//   kill SIGNAL          sends itself a signal
//   exit STATUS          ends
//
// A call that fails is reported on standard error, and ends the program with status 9.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static int id = -1;
static char *at;

static void failed(const char *call)
{
	fprintf(stderr, "client: %s: %s\n", call, strerror(errno));
	exit(9);
}

static char *argument(char ***next)
{
	if (!**next) {
		fprintf(stderr, "client: an argument is missing\n");
		exit(2);
	}
	return *(*next)++;
}

static void get(key_t key, size_t size, int flags)
{
	id = shmget(key, size, flags);
	if (id < 0)
		failed("shmget");
	printf("%d\n", id);
}

static void attach(int flags)
{
	at = shmat(id, NULL, flags);
	if (at == (char *)-1)
		failed("shmat");
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void become_daemon(void)
{
	int null;

	fflush(stdout);
	switch (fork()) {
	case -1:
		failed("fork");
	case 0:
		break;
	default:
		_exit(0);
	}
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
}

static void go_on_in_a_child(void)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child < 0)
		failed("fork");
	if (child == 0)
		return;
	waitpid(child, &status, 0);
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int main(int argc, char **argv)
{
	char **next = argv + 1;
	char *word;

	(void)argc;
	while ((word = *next)) {
		next++;
		if (!strcmp(word, "make")) {
			key_t key = strtoul(argument(&next), NULL, 0);
			size_t size = strtoul(argument(&next), NULL, 0);

			get(key, size, IPC_CREAT | strtol(argument(&next), NULL, 8));
		} else if (!strcmp(word, "open")) {
			key_t key = strtoul(argument(&next), NULL, 0);

			get(key, strtoul(argument(&next), NULL, 0), 0);
		} else if (!strcmp(word, "attach")) {
			attach(0);
		} else if (!strcmp(word, "attach-ro")) {
			attach(SHM_RDONLY);
		} else if (!strcmp(word, "write")) {
			strcpy(at, argument(&next));
		} else if (!strcmp(word, "overrun")) {
			*(volatile char *)(at + sysconf(_SC_PAGESIZE)) = 1;
		} else if (!strcmp(word, "read")) {
			puts(at);
		} else if (!strcmp(word, "detach")) {
			if (shmdt(at))
				failed("shmdt");
		} else if (!strcmp(word, "remove")) {
			if (shmctl(id, IPC_RMID, NULL))
				failed("shmctl");
		} else if (!strcmp(word, "hold")) {
			ready();
			while (getchar() != EOF)
				;
		} else if (!strcmp(word, "await")) {
			char byte;
			int fd = open(argument(&next), O_RDONLY);

			if (fd < 0 || read(fd, &byte, 1) < 0)
				failed("open");
			close(fd);
		} else if (!strcmp(word, "say")) {
			puts(argument(&next));
			fflush(stdout);
		} else if (!strcmp(word, "pause")) {
			ready();
			pause();
		} else if (!strcmp(word, "daemon")) {
			become_daemon();
		} else if (!strcmp(word, "fork")) {
			go_on_in_a_child();
		} else if (!strcmp(word, "kill")) {
			fflush(stdout);
			kill(getpid(), atoi(argument(&next)));
		} else if (!strcmp(word, "exit")) {
			exit(atoi(argument(&next)));
		} else {
			fprintf(stderr, "client: no operation %s\n", word);
			return 2;
		}
	}
	return 0;
}
