/* Runs both sides and finds the first line in which they differ. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "compare.h"

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)where;
	return kind == FTW_DP ? rmdir(path) : unlink(path);
}

static void load(struct trace *trace, int descriptor)
{
	off_t size = lseek(descriptor, 0, SEEK_END), at = 0;
	ssize_t got;

	memset(trace, 0, sizeof *trace);
	trace->bytes = malloc((size_t)size + 1);
	trace->records = calloc(4 * MAX_STEPS, sizeof *trace->records);
	trace->texts = calloc(4 * MAX_STEPS, sizeof *trace->texts);
	if (!trace->bytes || !trace->records || !trace->texts)
		exit(1);
	while (at < size && (got = pread(descriptor, trace->bytes + at, (size_t)(size - at), at)) > 0)
		at += got;
	trace->bytes[size] = '\0';
	for (at = 0; at + (off_t)sizeof(struct record) <= size && trace->count < 4 * MAX_STEPS - 1; trace->count++) {
		struct record *record = &trace->records[trace->count];

		memcpy(record, trace->bytes + at, sizeof *record);
		at += (off_t)sizeof *record;
		trace->texts[trace->count] = strndup(trace->bytes + at, (size_t)record->length);
		at += record->length;
	}
}

static void release_trace(struct trace *trace)
{
	for (int k = 0; k < trace->count; k++)
		free(trace->texts[k]);
	free(trace->texts);
	free(trace->records);
	free(trace->bytes);
}

void release(struct comparison *comparison)
{
	release_trace(&comparison->traces[0]);
	release_trace(&comparison->traces[1]);
}

static const char *text_at(const struct trace *trace, int k)
{
	return k < trace->count ? trace->texts[k] : "!! THE CONDUCTOR OF THIS SIDE ENDED";
}

/* The field that differs: the word before the '=' next to the first differing byte; with the operation, when it is a result. */
static void sign(const struct pair *pair, struct comparison *c)
{
	const char *a = text_at(&c->traces[0], c->first), *b = text_at(&c->traces[1], c->first);
	int name = c->first < c->traces[0].count ? c->traces[0].records[c->first].name : -1;
	bool look = strncmp(a, "looking", 7) == 0;
	int op = name >= 0 && name < pair->program->count ? pair->program->steps[name].op : OP_COUNT;
	size_t at = 0, start, length = 0;

	while (a[at] && a[at] == b[at])
		at++;
	for (start = at; start > 0 && a[start - 1] != ' ' && a[start - 1] != '\n'; start--)
		;
	while (a[start + length] && !strchr("= \n", a[start + length]))
		length++;
	if (start + length < at + 1 && a[start + length] == '=' && length)
		snprintf(c->signature, sizeof c->signature, "%.*s", (int)length, a + start);
	else
		snprintf(c->signature, sizeof c->signature, "result of %s", look ? "look" : op_name(op));
}

static void compare(const struct pair *pair, struct comparison *c)
{
	const struct trace *a = &c->traces[0], *b = &c->traces[1];
	int longer = a->count > b->count ? a->count : b->count;

	c->verdict = SAME;
	for (int s = 0; s < 2; s++) {
		const struct trace *trace = &c->traces[s];

		if (trace->count && trace->records[trace->count - 1].name == TRACE_SKIPPED) {
			c->verdict = SKIPPED;
			c->first = s;
			return;
		}
	}
	for (c->first = 0; c->first < longer; c->first++) {
		if (strcmp(text_at(a, c->first), text_at(b, c->first)) == 0)
			continue;
		c->verdict = DIFFERENT;
		sign(pair, c);
		return;
	}
	/* A side that ended before its time has no TRACE_END; both may have, and that is no agreement. */
	if (!longer || a->records[longer - 1].name != TRACE_END) {
		c->verdict = DIFFERENT;
		c->first = longer;
		snprintf(c->signature, sizeof c->signature, "no end");
	}
}

struct running {
	pid_t child;
	int trace;
	char base[4096];
};

static void start(const struct pair *pair, int s, struct running *running)
{
	struct side side = pair->sides[s];

	snprintf(running->base, sizeof running->base, "%s/side.XXXXXX", pair->base);
	running->trace = memfd_create("trace", MFD_CLOEXEC);
	if (!mkdtemp(running->base) || running->trace < 0) {
		perror("cannot make what a side needs");
		exit(1);
	}
	side.base = running->base;
	running->child = fork();
	if (running->child == 0) {
		run_side(pair->program, pair->kept, &side, running->trace);
		_exit(0);
	}
}

static void finish(struct running *running, struct trace *trace)
{
	while (waitpid(running->child, NULL, 0) < 0 && errno == EINTR)
		;
	load(trace, running->trace);
	close(running->trace);
	nftw(running->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct comparison run_pair(const struct pair *pair)
{
	struct running running[2];
	struct comparison c;
	bool together = pair->sides[0].library || pair->sides[1].library;

	memset(&c, 0, sizeof c);
	start(pair, 0, &running[0]);
	/* The kernel against itself: one after the other, because what a user has locked is counted over both. */
	if (!together)
		finish(&running[0], &c.traces[0]);
	start(pair, 1, &running[1]);
	if (together)
		finish(&running[0], &c.traces[0]);
	finish(&running[1], &c.traces[1]);
	compare(pair, &c);
	return c;
}

bool kernel_is_steady(const struct pair *pair, const struct comparison *c)
{
	struct running again;
	struct trace trace;
	bool steady = true;

	start(pair, 0, &again);
	finish(&again, &trace);
	for (int k = 0; k <= c->first && steady; k++)
		steady = strcmp(text_at(&trace, k), text_at(&c->traces[0], k)) == 0;
	release_trace(&trace);
	return steady;
}

/* Two texts line by line; of the equal ones only the first is shown. */
static void print_difference(FILE *out, const char *const names[2], const char *a, const char *b)
{
	bool first = true;

	while (*a || *b) {
		size_t la = strcspn(a, "\n"), lb = strcspn(b, "\n");

		if (la == lb && strncmp(a, b, la) == 0) {
			if (first)
				fprintf(out, "    both:   %.*s\n", (int)la, a);
		} else {
			fprintf(out, "    %-7s %.*s\n    %-7s %.*s\n", names[0], (int)la, a, names[1], (int)lb, b);
		}
		first = false;
		a += la + (a[la] == '\n');
		b += lb + (b[lb] == '\n');
	}
}

enum { AFTER = 4 };

void report(FILE *out, const struct pair *pair, const struct comparison *c, int before)
{
	if (c->verdict == SKIPPED) {
		const struct trace *trace = &c->traces[c->first];

		fprintf(out, "  %s: %s\n", pair->names[c->first], trace->texts[trace->count - 1]);
		return;
	}
	for (int k = c->first > before ? c->first - before : 0; k < c->first; k++) {
		const char *text = c->traces[0].texts[k];

		fprintf(out, "    %.*s%s\n", (int)strcspn(text, "\n"), text, strchr(text, '\n') ? " …" : "");
	}
	fprintf(out, "  the first difference (%s):\n", c->signature);
	print_difference(out, pair->names, text_at(&c->traces[0], c->first), text_at(&c->traces[1], c->first));
	if (!before)
		return;
	/* Whether something came late, or not at all. */
	for (int side = 0; side < 2; side++)
		for (int k = c->first + 1; k < c->traces[side].count && k <= c->first + AFTER; k++) {
			const char *text = c->traces[side].texts[k];

			fprintf(out, "    then, %s: %.*s\n", pair->names[side], (int)strcspn(text, "\n"), text);
		}
}

void print_traces(FILE *out, const struct pair *pair, const struct comparison *c, bool all)
{
	for (int k = 0; k < c->traces[0].count || k < c->traces[1].count; k++) {
		const char *a = text_at(&c->traces[0], k), *b = text_at(&c->traces[1], k);

		if (strcmp(a, b) == 0) {
			fprintf(out, "    %.*s%s\n", (int)(all ? strlen(a) : strcspn(a, "\n")), a, all || !strchr(a, '\n') ? "" : " …");
			continue;
		}
		print_difference(out, pair->names, a, b);
		break; /* what comes after it follows from it */
	}
}
