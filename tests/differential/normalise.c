/*
 * Process ids become names of workers, seconds become epochs, segments' ids are counted from the first of all.
 *
 * Divergence: a namespace of the shim begins with a sequence number of its own in the upper half of their range, and
 * stays in that half.
 *
 * An epoch is the time between two steps that let the clock move to a new second. A time
 * that the kernel or the shim stored in epoch 3 lies between its first second and the first
 * of epoch 4, so "e3" is exact, whatever the second itself was.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "conductor.h"

static int64_t second(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec;
}

/*
 * The kernel stores the coarse clock, which lags up to a timer tick behind the one that others may
 * read. Nothing stored before can show a second later than the exact clock's, nothing stored
 * afterwards one earlier than the coarse clock's: wait until the latter has passed the former.
 */
void begin_epoch(struct names *names)
{
	int64_t last = second(CLOCK_REALTIME);

	while (names->epoch_count && second(CLOCK_REALTIME_COARSE) <= last) {
		struct timespec wake = { last + 1, 1000000 };

		if (second(CLOCK_REALTIME) > last)
			wake = (struct timespec){ last + 1, 8000000 };
		clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &wake, NULL);
	}
	names->epochs[names->epoch_count++] = second(CLOCK_REALTIME_COARSE);
}

void name_process(struct names *names, int pid, const char *name)
{
	if (names->process_count >= MAX_STEPS)
		return;
	names->processes[names->process_count].pid = pid;
	snprintf(names->processes[names->process_count++].name, sizeof names->processes[0].name, "%s", name);
}

static void put_process(struct names *names, long pid, char *out, size_t size)
{
	for (int k = names->process_count; k-- > 0;)
		if (names->processes[k].pid == pid) {
			snprintf(out, size, "%s", names->processes[k].name);
			return;
		}
	snprintf(out, size, pid ? "nobody" : "0");
}

static void put_time(const struct names *names, int64_t time, char *out, size_t size)
{
	int epoch = names->epoch_count - 1;

	if (time == 0) {
		snprintf(out, size, "0");
	} else if (time > second(CLOCK_REALTIME)) {
		snprintf(out, size, "future");
	} else {
		while (epoch >= 0 && names->epochs[epoch] > time)
			epoch--;
		snprintf(out, size, epoch < 0 ? "past" : "e%d", epoch);
	}
}

enum { SLOTS = 32768, LOWEST_SEQ = 32768, SEQS = 65535 };

static int64_t wrapped(int64_t seq)
{
	return seq < SEQS ? seq : seq - SEQS + LOWEST_SEQ;
}

int64_t real_id(const struct names *names, enum kind kind, int64_t id)
{
	int64_t seq = id / SLOTS;

	if (!names->first_seq[kind] || id < 0 || seq >= SEQS - LOWEST_SEQ)
		return id;
	return wrapped(names->first_seq[kind] + seq) * SLOTS + id % SLOTS;
}

static int64_t relative_seq(const struct names *names, enum kind kind, int64_t seq)
{
	int64_t first = names->first_seq[kind];

	return seq >= first ? seq - first : seq - first + SEQS - LOWEST_SEQ;
}

int64_t told_id(const struct names *names, enum kind kind, int64_t id)
{
	int64_t seq = id / SLOTS;

	if (!names->first_seq[kind] || id < 0 || seq < LOWEST_SEQ || seq >= SEQS)
		return id;
	return relative_seq(names, kind, seq) * SLOTS + id % SLOTS;
}

static int64_t relative_id(struct names *names, enum kind kind, int64_t id)
{
	if (!names->id_seen[kind]) {
		names->id_seen[kind] = true;
		names->first_seq[kind] = id / SLOTS;
	}
	return told_id(names, kind, id);
}

/* {i:ID} and {q:SEQ} of a segment, {s:} and {S:} of a set, {m:} and {M:} of a queue. */
static const char id_tokens[] = "ismqSM";

void normalise(struct names *names, int step, const char *in, char *out, size_t size)
{
	size_t used = 0;

	while (*in && used < size - 32) {
		char *end, name[16];
		int64_t value;

		if (in[0] != '{' || in[1] == '\0' || in[2] != ':') {
			out[used++] = *in++;
			continue;
		}
		value = strtoll(in + 3, &end, 10);
		if (in[1] == 'n') {
			snprintf(name, sizeof name, "c%d", step);
			name_process(names, (int)value, name);
			used += (size_t)snprintf(out + used, size - used, "child %s:", name);
		} else if (strchr(id_tokens, in[1])) {
			int token = (int)(strchr(id_tokens, in[1]) - id_tokens);

			value = token < KINDS ? relative_id(names, (enum kind)token, value) : relative_seq(names, (enum kind)(token - KINDS), value);
			used += (size_t)snprintf(out + used, size - used, "%" PRId64, value);
		} else {
			if (in[1] == 'p')
				put_process(names, value, name, sizeof name);
			else
				put_time(names, value, name, sizeof name);
			used += (size_t)snprintf(out + used, size - used, "%s", name);
		}
		in = *end == '}' ? end + 1 : end;
	}
	out[used] = '\0';
}
