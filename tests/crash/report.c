/* report.c - what passed and what failed, said and counted. */
#include "crash.h"

#include <stdarg.h>

struct count counted;

void passed(void) { counted.passed++; }

static void say(const char *verdict, const char *format, va_list arguments)
{
	printf("%s ", verdict);
	vprintf(format, arguments);
	putchar('\n');
	fflush(stdout);
}

void failed(const char *format, ...)
{
	va_list arguments;
	counted.failed++;
	va_start(arguments, format);
	say("FAIL", format, arguments);
	va_end(arguments);
}

void skipped(const char *format, ...)
{
	va_list arguments;
	counted.skipped++;
	va_start(arguments, format);
	say("SKIP", format, arguments);
	va_end(arguments);
}

int count_up(void)
{
	printf("%ld passed, %ld failed, %ld skipped\n", counted.passed, counted.failed, counted.skipped);
	return counted.failed != 0;
}
