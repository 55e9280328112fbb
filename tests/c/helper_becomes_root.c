/*
 * A set-uid program that becomes root for good and starts another program: itself, with an argument. That prints which of
 * the variables it was started with are left.
 */
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	if (argc == 1) {
		if (!getauxval(AT_SECURE) || setuid(0) < 0)
			return 1;
		execl(argv[0], argv[0], "second", NULL);
		return 2;
	}
	for (char **e = environ; *e; e++)
		if (!strncmp(*e, "SHMSHIM", 7) || !strncmp(*e, "KEPT", 4))
			puts(*e);
	return 0;
}
