/* capture.h - what the library says on standard error when it is asked by a variable. */
#ifndef CAPTURE_H
#define CAPTURE_H
#include "proctest.h"

static char said[64 * 1024];

/* Runs `body` in a child that has `name` set to `value` and ends by exit; returns its wait status. */
static int capture(const char *name, const char *value, void (*body)(void))
{
	int fds[2], status;
	MUST(pipe(fds));
	fflush(NULL);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		setenv(name, value, 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		body();
		exit(0);
	}
	close(fds[1]);
	size_t len = 0;
	for (ssize_t n; (n = read(fds[0], said + len, sizeof said - 1 - len)) > 0;)
		len += (size_t)n;
	said[len] = 0;
	close(fds[0]);
	MUST(waitpid(pid, &status, 0));
	return status;
}

#define SAID(text)                                                                                 \
	do {                                                                                       \
		COUNT_CHECK();                                                                     \
		if (!strstr(said, text))                                                           \
			FAIL("\"%s\" is not in what was said:\n        %s", text, said);           \
	} while (0)

#endif
