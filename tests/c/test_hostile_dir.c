/* A runtime directory that is not as the shim would have made it is refused, and left as it is. */
#include "refusals.h"

static const char *scope;

/* A namespace with one segment in it, made by a program that has ended. */
static char *lived_in(void)
{
	char *base = own_base();
	use_base(base, scope);
	EXPECT_STEPS("get 0\nat 0\n", "get,0x191,4096,01600", "at", "put,precious");
	return base;
}

/* For both scopes, a fresh namespace each time. */
#define EACH_SCOPE() for (int i_ = 0; scope = i_ ? "system" : "user", i_ < 2; i_++)

/* Refused and untouched; and once the damage is undone, everything is there again. */
#define CHECK_REFUSED(what, path)                                                                  \
	do {                                                                                       \
		struct place before_ = place_of(path);                                             \
		REFUSED(what, path);                                                               \
		CHECK_SAME_PLACE(before_, path);                                                   \
	} while (0)
#define CHECK_AS_BEFORE()                                                                          \
	EXPECT_STEPS("get 0\nat 0\nshow precious\ncount 1\n", "get,0x191,0,0", "at", "show", "count")

/* The path moves aside and comes back. */
static char aside[PATH_MAX];
static void move_aside(const char *path)
{
	snprintf(aside, sizeof aside, "%s/ns.aside", getenv("SHMSHIM_DIR"));
	MUST(rename(path, aside));
}
static void move_back(const char *path) { MUST(rename(aside, path)); }

static const char *const parts[] = { "", "registry", "segments", "live" };
static const char *part(int i) { return i ? in_runtime_dir(parts[i]) : runtime_dir(); }

TEST(a_wrong_mode_is_refused)
{
	SHIM_ONLY();
	static const mode_t wrong[] = { 0777, 0755, 0750, 0701, 0660, 0644, 0400, 0 };
	EACH_SCOPE() {
		lived_in();
		for (int p = 0; p < 4; p++) {
			mode_t right = place_of(part(p)).mode & 07777;
			for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
				if (wrong[i] == right)
					continue; /* the runtime directory of system scope */
				if (geteuid() != 0 && (wrong[i] & 0700) != 0700 && p != 1)
					continue; /* one's own directory that one may not enter */
				MUST(chmod(part(p), wrong[i]));
				CHECK_REFUSED("a wrong mode", part(p));
			}
			MUST(chmod(part(p), right));
		}
		CHECK_AS_BEFORE();
	}
}

TEST(a_symbolic_link_is_refused_whatever_it_leads_to)
{
	SHIM_ONLY();
	EACH_SCOPE() {
		lived_in();
		for (int p = 0; p < 4; p++) {
			move_aside(part(p));
			MUST(symlink(aside, part(p)));
			CHECK_REFUSED("a link to the real one", part(p));
			MUST(unlink(part(p)));
			MUST(symlink("/no/such/thing", part(p)));
			CHECK_REFUSED("a link to nothing", part(p));
			MUST(unlink(part(p)));
			move_back(part(p));
		}
		CHECK_AS_BEFORE();
	}
}

TEST(something_else_in_its_place_is_refused)
{
	SHIM_ONLY();
	EACH_SCOPE() {
		lived_in();
		for (int p = 0; p < 4; p++) {
			mode_t mode = place_of(part(p)).mode & 07777;
			move_aside(part(p));
			MUST(mkfifo(part(p), 0600));
			MUST(chmod(part(p), mode));
			CHECK_REFUSED("a fifo", part(p)); /* which must not be waited for */
			MUST(unlink(part(p)));
			if (p == 1) {
				MUST(mkdir(part(p), 0700));
				MUST(chmod(part(p), mode));
				CHECK_REFUSED("a directory", part(p));
				MUST(rmdir(part(p)));
			} else {
				close(MUST(open(part(p), O_CREAT | O_EXCL | O_WRONLY, 0600)));
				MUST(chmod(part(p), mode));
				CHECK_REFUSED("a file", part(p));
				MUST(unlink(part(p)));
			}
			move_back(part(p));
		}
		CHECK_AS_BEFORE();
	}
}

TEST(a_table_with_a_second_name_is_refused)
{
	SHIM_ONLY();
	EACH_SCOPE() {
		char second[PATH_MAX];
		lived_in();
		snprintf(second, sizeof second, "%s/ns.second", getenv("SHMSHIM_DIR"));
		MUST(link(part(1), second));
		CHECK_REFUSED("a hard link", part(1));
		MUST(unlink(second));
		CHECK_AS_BEFORE();
	}
}

TEST_SEVERAL_UIDS(what_belongs_to_another_is_refused)
{
	SHIM_ONLY();
	EACH_SCOPE() {
		lived_in();
		for (int p = 0; p < 4; p++) {
			if (p == 0 && !strcmp(scope, "system"))
				continue; /* the first process makes it, for all */
			MUST(chown(part(p), 54001, 54001));
			CHECK_REFUSED("another's", part(p));
			MUST(chown(part(p), 0, 0));
		}
		CHECK_AS_BEFORE();
	}
}

TEST(a_table_that_is_none_is_refused_and_not_made_anew)
{
	SHIM_ONLY();
	static const char *const contents[] = { "", "x", "this is not a table at all\n" };
	EACH_SCOPE() {
		lived_in();
		for (size_t i = 0; i <= sizeof contents / sizeof *contents; i++) {
			mode_t mode = place_of(part(1)).mode & 07777;
			move_aside(part(1));
			int fd = MUST(open(part(1), O_CREAT | O_EXCL | O_WRONLY, 0600));
			MUST(fchmod(fd, mode));
			if (i < sizeof contents / sizeof *contents)
				CHECK(write(fd, contents[i], strlen(contents[i])) == (ssize_t)strlen(contents[i]));
			else
				MUST(ftruncate(fd, 1 << 20)); /* all zero */
			close(fd);
			CHECK_REFUSED("no table", part(1));
			MUST(unlink(part(1)));
			move_back(part(1));
		}
		CHECK_AS_BEFORE();
	}
}

TEST(a_truncated_table_is_refused)
{
	SHIM_ONLY();
	EACH_SCOPE() {
		lived_in();
		off_t size = place_of(part(1)).size;
		for (int i = 1; i <= 4; i++) {
			MUST(truncate(part(1), size * (4 - i) / 5));
			CHECK_REFUSED("a truncated table", part(1));
		}
	}
}

TEST(a_damaged_header_is_refused_or_repaired_but_never_believed)
{
	/* Every byte of the first 64 turned round: an errno, or the segment with its contents. Never a crash. */
	SHIM_ONLY();
	scope = "user";
	lived_in();
	char *copy = shared_memory((size_t)place_of(part(1)).size);
	int fd = MUST(open(part(1), O_RDWR));
	off_t size = place_of(part(1)).size;
	REQUIRE(pread(fd, copy, (size_t)size, 0) == size);
	for (int i = 0; i < 64; i += 3) {
		char turned = (char)~copy[i];
		REQUIRE(pwrite(fd, &turned, 1, i) == 1);
		static struct run r;
		STEPS(&r, "get,0x191,0,0", "at", "show");
		COUNT_CHECK();
		if (r.status != 0 && !strstr(r.out, "at -1"))
			FAIL("byte %d: status %#x, \"%s\"", i, r.status, r.out);
		if (strstr(r.out, "show") && !strstr(r.out, "show precious"))
			FAIL("byte %d: foreign contents: %s", i, r.out);
		REQUIRE(pwrite(fd, copy, (size_t)size, 0) == size);
	}
	close(fd);
	CHECK_AS_BEFORE();
}

/* The name of the only file in a directory. */
static char *only_entry_of(const char *directory)
{
	static char name[NAME_MAX + 1];
	DIR *dir = opendir(directory);
	int found = 0;
	REQUIRE(dir != NULL);
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.') {
			strcpy(name, entry->d_name);
			found++;
		}
	closedir(dir);
	REQUIRE(found == 1);
	return name;
}

TEST(a_segments_file_that_was_exchanged_is_not_attached)
{
	SHIM_ONLY();
	static const char *const by[] = { "link", "fifo", "directory", "short file" };
	EACH_SCOPE() {
		for (int i = 0; i < 4; i++) {
			char file[PATH_MAX];
			lived_in();
			strcpy(file, in_runtime_dir("segments/"));
			char *name = only_entry_of(file);
			CHECK(strncmp(name, "SYSV00000191.", 13) == 0);
			strcat(file, name);
			move_aside(file);
			if (i == 0)
				MUST(symlink(aside, file));
			else if (i == 1)
				MUST(mkfifo(file, 0600));
			else if (i == 2)
				MUST(mkdir(file, 0700));
			else
				close(MUST(open(file, O_CREAT | O_EXCL | O_WRONLY, 0600)));
			run_traced(STEPS_ARGV("get,0x191,0,0", "at", "say,alive"));
			COUNT_CHECK();
			if (refused_run.status != 0 || !strstr(refused_run.out, "alive") || strstr(refused_run.out, "at 0"))
				FAIL("%s in its place, %s scope: status %#x, printed\n%s", by[i], scope, refused_run.status, refused_run.out);
			if (strstr(refused_run.out, "at -1"))
				CHECK(strstr(traced, name) != NULL);
			remove(file);
			move_back(file);
		}
	}
}

TEST(a_directory_half_made_by_somebody_who_died_is_no_obstacle)
{
	/* Names that the shim makes things under before it publishes them are nobody's to find. */
	SHIM_ONLY();
	char *base = own_base(), half[PATH_MAX + 16];
	use_base(base, "user");
	snprintf(half, sizeof half, "%s.0000abcd", runtime_dir());
	MUST(mkdir(half, 0700));
	EXPECT_STEPS("get 0\nat 0\ncount 1\n", "get,0x192,4096,01600", "at", "count");
	rmdir(half);
}
