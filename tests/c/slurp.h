/* slurp.h - a whole file as text. */
#ifndef SLURP_H
#define SLURP_H

#include "shmtest.h"

static char text[1 << 20];

static char *slurp(const char *path)
{
	int fd = MUST(open(path, O_RDONLY | O_CLOEXEC));
	size_t len = 0;
	ssize_t n;
	while ((n = MUST(read(fd, text + len, sizeof text - 1 - len))) > 0)
		len += (size_t)n;
	close(fd);
	text[len] = 0;
	return text;
}

#endif
