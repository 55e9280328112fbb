/* Fewer steps, same difference. */
#include <string.h>

#include "compare.h"

static int count_kept(const struct pair *pair)
{
	int count = 0;

	for (int k = 0; k < pair->program->count; k++)
		count += pair->kept[k];
	return count;
}

static bool still_differs(const struct pair *pair, const char *signature)
{
	struct comparison c = run_pair(pair);
	bool same_kind = c.verdict == DIFFERENT && strcmp(c.signature, signature) == 0;

	release(&c);
	return same_kind;
}

/* Takes `length` kept steps out, from the from-th kept one on; puts them back if the difference goes away. */
static bool try_without(struct pair *pair, const char *signature, int from, int length)
{
	bool saved[MAX_STEPS];
	int seen = 0, removed = 0;

	memcpy(saved, pair->kept, sizeof saved);
	for (int k = 0; k < pair->program->count; k++) {
		if (!pair->kept[k])
			continue;
		if (seen >= from && seen < from + length) {
			pair->kept[k] = false;
			removed++;
		}
		seen++;
	}
	if (removed && still_differs(pair, signature))
		return true;
	memcpy(pair->kept, saved, sizeof saved);
	return false;
}

static bool try_without_ticks(struct pair *pair, const char *signature)
{
	bool saved[MAX_STEPS];

	memcpy(saved, pair->kept, sizeof saved);
	for (int k = 0; k < pair->program->count; k++)
		if (pair->program->steps[k].op == OP_TICK)
			pair->kept[k] = false;
	if (still_differs(pair, signature))
		return true;
	memcpy(pair->kept, saved, sizeof saved);
	return false;
}

int minimise(struct pair *pair, FILE *progress)
{
	struct comparison c = run_pair(pair);
	char signature[sizeof c.signature];
	bool smaller = true;
	int last = 0;

	memcpy(signature, c.signature, sizeof signature);
	if (c.verdict == DIFFERENT && c.first < c.traces[0].count)
		last = c.traces[0].records[c.first].name;
	else
		last = pair->program->count;
	release(&c);
	if (c.verdict != DIFFERENT)
		return -1;
	/* What comes after the difference has no part in it. */
	for (int k = last + 1; k < pair->program->count; k++)
		pair->kept[k] = false;
	if (!still_differs(pair, signature)) { /* it showed only in the probe at the end */
		for (int k = last + 1; k < pair->program->count; k++)
			pair->kept[k] = true;
	}
	try_without_ticks(pair, signature); /* they cost a second each */
	for (int length = count_kept(pair) / 2; length >= 1;) {
		smaller = false;
		for (int from = count_kept(pair) - length; from > -length; from -= length)
			if (try_without(pair, signature, from < 0 ? 0 : from, from < 0 ? length + from : length))
				smaller = true;
		if (progress)
			fprintf(progress, "  %d steps left\n", count_kept(pair));
		if (length > 1)
			length /= 2;
		else if (!smaller)
			break;
	}
	return count_kept(pair);
}
