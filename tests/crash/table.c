/* table.c - the namespace's bytes, as one sees them from outside: which change, and a few words of the headers. */
#include "crash.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Offsets in a table of layout version 4; another version is not looked into. */
enum { VERSION = 8, LOCK = 64, PROMISED = 232, DYING = 244, FREE_RECORD = 248, JOURNAL_ARMED = 424 };
enum { SLOTS_READY = 204, CELLS_READY = 208, RECORDS_READY = 212 };
enum { CELLS = 16384, CELL_AREA = 264 * 1024, CELL_BYTES = 64, CELL_STATE = 0, CELL_PID = 8 };
enum { SLOTS = 32768, SLOT_AREA = CELL_AREA + CELLS * CELL_BYTES, SLOT_BYTES = 128, SLOT_STATE = 4 };
enum { RECORD_AREA = SLOT_AREA + SLOTS * SLOT_BYTES, RECORD_BYTES = 32, RECORD_CELL = 0, RECORD_NEXT = 12 };

static struct {
	int fd;
	const unsigned char *now;
	unsigned char *then;
	size_t size;
	blkcnt_t blocks;
	struct { size_t start, end; } part[64];
	int parts;
} table = { .fd = -1 };

void table_forget(void)
{
	if (table.fd < 0)
		return;
	munmap((void *)table.now, table.size);
	munmap(table.then, table.size);
	close(table.fd);
	table.fd = -1;
}

static void table_parts(void)
{
	struct stat status;
	if (fstat(table.fd, &status) < 0 || status.st_blocks == table.blocks)
		return;
	table.blocks = status.st_blocks;
	table.parts = 0;
	off_t at = 0;
	while (table.parts < 64 && (at = lseek(table.fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(table.fd, at, SEEK_HOLE);
		table.part[table.parts].start = at;
		table.part[table.parts++].end = end;
		at = end;
	}
}

/* Looks at every stop whether there is a table by now, and whether it has grown. */
void table_look(void)
{
	if (the->on_kernel)
		return;
	if (table.fd < 0) {
		char path[400];
		snprintf(path, sizeof path, "%s/registry", the->directory);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		struct stat status;
		if (fd < 0)
			return;
		if (fstat(fd, &status) < 0 || status.st_size == 0) {
			close(fd);
			return;
		}
		table.fd = fd;
		table.size = status.st_size;
		table.blocks = -1;
		table.now = mmap(NULL, table.size, PROT_READ, MAP_SHARED, fd, 0);
		table.then = mmap(NULL, table.size, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (table.now == MAP_FAILED || table.then == MAP_FAILED)
			fatal("mapping the table: %s", strerror(errno));
		table_parts();
		for (int i = 0; i < table.parts; i++)
			memcpy(table.then + table.part[i].start, table.now + table.part[i].start,
			       table.part[i].end - table.part[i].start);
	}
	table_parts();
}

bool table_changed(void)
{
	bool changed = false;
	if (table.fd < 0)
		return false;
	for (int i = 0; i < table.parts; i++) {
		size_t start = table.part[i].start, size = table.part[i].end - start;
		if (memcmp(table.then + start, table.now + start, size) != 0) {
			memcpy(table.then + start, table.now + start, size);
			changed = true;
		}
	}
	return changed;
}

bool table_is_locked(void)
{
	table_look();
	return table.fd >= 0 && *(const volatile uint32_t *)(table.now + LOCK) != 0;
}

static uint32_t word32(size_t offset) { return *(const volatile uint32_t *)(table.now + offset); }

/* Says what a table that describes nothing still holds on to; false when there is nothing to say. */
bool table_holds(char *text, size_t size)
{
	table_forget();
	table_look();
	if (table.fd < 0 || word32(VERSION) != 4)
		return false;
	unsigned taken = 0;
	for (unsigned slot = 0; slot < word32(SLOTS_READY); slot++)
		taken += word32(SLOT_AREA + slot * SLOT_BYTES + SLOT_STATE) != 0;
	uint64_t promised = *(const volatile uint64_t *)(table.now + PROMISED);
	if (!taken && !promised && !word32(DYING) && !word32(LOCK) && !word32(JOURNAL_ARMED))
		return false;
	snprintf(text, size, "the table still has %u slots taken, %lu pages promised, %u dying, lock %#x, journal %u",
		 taken, (unsigned long)promised, word32(DYING), word32(LOCK), word32(JOURNAL_ARMED));
	return true;
}

/* The process that the lock word names; 0 when it is free. Of the table as it was looked at last. */
pid_t table_lock_owner(void)
{
	uint32_t word = table.fd < 0 ? 0 : word32(LOCK);
	return word == 0 ? 0 : (pid_t)word32(CELL_AREA + (word & (CELLS - 1)) * CELL_BYTES + CELL_PID);
}

/* Counts what is in use; false when there is no table of a kind that is known. */
bool table_books(struct books *books)
{
	*books = (struct books){ .slots = 0 };
	table_forget();
	table_look();
	if (table.fd < 0 || word32(VERSION) != 4)
		return false;
	books->slots_ready = word32(SLOTS_READY);
	books->cells_ready = word32(CELLS_READY);
	books->records_ready = word32(RECORDS_READY);
	for (unsigned slot = 0; slot < books->slots_ready; slot++)
		books->slots += word32(SLOT_AREA + slot * SLOT_BYTES + SLOT_STATE) != 0;
	for (unsigned cell = 0; cell < books->cells_ready; cell++)
		books->cells += word32(CELL_AREA + cell * CELL_BYTES + CELL_STATE) != 0;
	for (unsigned record = 0; record < books->records_ready; record++)
		books->records += word32(RECORD_AREA + record * RECORD_BYTES + RECORD_CELL) != 0;
	for (uint32_t next = word32(FREE_RECORD); next != 0 && books->free_records <= books->records_ready; books->free_records++)
		next = next > books->records_ready ? 0 : word32(RECORD_AREA + (next - 1) * RECORD_BYTES + RECORD_NEXT);
	books->dying = word32(DYING);
	books->lock = word32(LOCK);
	books->journal_armed = word32(JOURNAL_ARMED);
	return true;
}

/* How much of the file of sets and queues has been given out as blocks, in bytes. */
long arena_bytes(void)
{
	char path[400];
	unsigned long long end = 0;
	snprintf(path, sizeof path, "%s/ipc", the->directory);
	FILE *file = fopen(path, "re");
	if (!file || fseek(file, 64, SEEK_SET) != 0 || fread(&end, sizeof end, 1, file) != 1)
		end = 0;
	if (file)
		fclose(file);
	return (long)end;
}
