/*
 * The administrator may have the library loaded into every program (/etc/ld.so.preload), set-uid programs among them. What
 * such a program starts after it has become root for good is not led by the variables of the user that started it.
 */
#include "proctest.h"
#include <sys/mount.h>

enum { SOMEBODY = 54001 };

TEST(what_a_set_uid_program_starts_as_root_is_not_led_by_its_callers_environment)
{
	SHIM_ONLY();
	GLIBC_ONLY("musl's loader has no /etc/ld.so.preload");
	need_root();
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("no right to mount: %s", errno_name(errno));
	char program[PATH_MAX], library[PATH_MAX];
	snprintf(program, sizeof program, "%s", built("helper_becomes_root"));
	snprintf(library, sizeof library, "%s\n", getenv("LD_PRELOAD"));
	/* On /etc, for this test alone; without its cache the loader looks in the usual directories. */
	MUST(mount("none", "/etc", "tmpfs", 0, "mode=755"));
	copy_file(program, "/etc/program");
	MUST(chmod("/etc/program", 04755));
	int fd = MUST(open("/etc/ld.so.preload", O_CREAT | O_WRONLY, 0644));
	REQUIRE(write(fd, library, strlen(library)) > 0);
	close(fd);
	MUST(mkdir("/etc/base", 0755));
	MUST(chmod("/etc/base", 01777));
	IN_CHILD
	{
		static struct run r;
		clearenv();
		putenv((char *)"SHMSHIM_DIR=/etc/base");
		putenv((char *)"KEPT=1");
		putenv((char *)"SHMSHIM_SCOPE=system");
		putenv((char *)"SHMSHIM_TRACE=/etc/trace");
		putenv((char *)"SHMSHIMS=kept");
		drop_to(SOMEBODY, SOMEBODY);
		run_program(&r, (char *const[]){ (char *)"/etc/program", NULL });
		CHECK_EQ(r.status, 0);
		CHECK_STR(r.out, "KEPT=1\nSHMSHIMS=kept\n");
	}
}
