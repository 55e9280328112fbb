/*
 * Who may open, attach and stat a segment: one class of the mode decides, the
 * effective uid names the owner, the group for files names the group, and
 * CAP_IPC_OWNER alone overrules.
 */
#include "shmtest.h"

enum { CREATOR = 54001, OWNER = 54002, STRANGER = 54009, NO_GROUP = 60000 };
enum { OF_OTHERS = 0, OF_GROUP = 3, OF_OWNER = 6, EVERYTHING = 9 };

static const int modes[] = { 0700, 0070, 0007, 0400, 0600, 0200, 0040, 0004, 0500, 0300, 0640, 0777 };
enum { MODES = sizeof modes / sizeof *modes };
static int *ids; /* shared by all processes of the test */

/* One segment for each mode, made by CREATOR, given to OWNER. */
static void make_segments(void)
{
	ids = shared_memory(sizeof *ids * MODES);
	IN_CHILD {
		drop_to(CREATOR, CREATOR);
		for (int i = 0; i < MODES; i++) {
			struct shmid_ds d = { 0 };
			ids[i] = MUST(shmget(0x700 + i, PAGE, IPC_CREAT | modes[i]));
			d.shm_perm.uid = d.shm_perm.gid = OWNER;
			d.shm_perm.mode = modes[i];
			MUST(shmctl(ids[i], IPC_SET, &d));
		}
	}
}

static void judge(const char *who, const char *what, int mode, long r, bool allowed)
{
	int e = errno;
	COUNT_CHECK();
	if (allowed ? r == -1 : (r != -1 || e != EACCES))
		FAIL("%s, mode %04o, %s: %s, expected %s", who, mode, what,
		     r == -1 ? errno_name(e) : "allowed", allowed ? "success" : "EACCES");
}

static void try_attach(const char *who, const char *what, int i, int flags, bool allowed)
{
	void *p = shmat(ids[i], NULL, flags);
	judge(who, what, modes[i], (long)p, allowed);
	if (p != (void *)-1)
		shmdt(p);
}

/* This process has the rights of that class, on every segment and in every call. */
static void expect_class(const char *who, int class)
{
	for (int i = 0; i < MODES; i++) {
		int granted = class == EVERYTHING ? 7 : modes[i] >> class & 7;
		struct shmid_ds d;
		try_attach(who, "shmat read only", i, SHM_RDONLY, (granted & 4) == 4);
		try_attach(who, "shmat", i, 0, (granted & 6) == 6);
		try_attach(who, "shmat read, exec", i, SHM_RDONLY | SHM_EXEC, (granted & 5) == 5);
		try_attach(who, "shmat read, write, exec", i, SHM_EXEC, granted == 7);
		judge(who, "IPC_STAT", modes[i], shmctl(ids[i], IPC_STAT, &d), (granted & 4) == 4);
		judge(who, "SHM_STAT", modes[i], shmctl(ids[i], SHM_STAT, &d), (granted & 4) == 4);
		judge(who, "SHM_STAT_ANY", modes[i], shmctl(ids[i], SHM_STAT_ANY, &d), true);
		CHECK_EQ(d.shm_perm.uid, OWNER);
		CHECK_EQ(d.shm_perm.cuid, CREATOR);
		for (int asked = 0; asked < 8; asked++)
			for (int shift = 0; shift < 9; shift += 3)
				judge(who, "shmget", modes[i], shmget(0x700 + i, 0, asked << shift),
				      (granted & asked) == asked);
	}
}

TEST_SEVERAL_UIDS(the_owner_class_is_for_owner_and_creator)
{
	need_exec_mappings();
	make_segments();
	IN_CHILD {
		drop_to(CREATOR, NO_GROUP);
		expect_class("the creator", OF_OWNER);
	}
	IN_CHILD {
		drop_to(OWNER, NO_GROUP);
		expect_class("the owner", OF_OWNER);
	}
	IN_CHILD {
		drop_to(OWNER, OWNER, CREATOR);
		expect_class("the owner, also in both groups", OF_OWNER);
	}
}

TEST_SEVERAL_UIDS(the_group_class_is_for_the_group_of_owner_and_of_creator)
{
	need_exec_mappings();
	make_segments();
	IN_CHILD {
		drop_to(STRANGER, OWNER);
		expect_class("primary group gid", OF_GROUP);
	}
	IN_CHILD {
		drop_to(STRANGER, CREATOR);
		expect_class("primary group cgid", OF_GROUP);
	}
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP, 60001, OWNER, 60002);
		expect_class("supplementary group gid", OF_GROUP);
	}
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP, CREATOR);
		expect_class("supplementary group cgid", OF_GROUP);
	}
}

TEST_SEVERAL_UIDS(everybody_else_is_others_root_without_capabilities_too)
{
	need_exec_mappings();
	make_segments();
	IN_CHILD {
		drop_to(STRANGER, NO_GROUP);
		expect_class("a stranger", OF_OTHERS);
	}
	IN_CHILD {
		drop_to_with_caps(0, 0, NO_GROUP);
		expect_class("uid 0 without capabilities", OF_OTHERS);
	}
}

/*
 * Under the shim a segment is a file with the segment's owner and mode, so
 * opening it takes the capability for files besides the one for IPC.
 */
static uint64_t cap_ipc_owner(void)
{
	return CAP_BIT(CAP_IPC_OWNER) | (under_shim() ? CAP_BIT(CAP_DAC_OVERRIDE) : 0);
}

TEST_SEVERAL_UIDS(cap_ipc_owner_grants_everything)
{
	need_exec_mappings();
	make_segments();
	expect_class("root", EVERYTHING);
	IN_CHILD {
		drop_to_with_caps(cap_ipc_owner(), 0, NO_GROUP);
		expect_class("uid 0 with CAP_IPC_OWNER alone", EVERYTHING);
	}
	IN_CHILD {
		drop_to_with_caps(cap_ipc_owner(), STRANGER, NO_GROUP);
		expect_class("a stranger with CAP_IPC_OWNER", EVERYTHING);
	}
	IN_CHILD {
		drop_to_with_caps(cap_ipc_owner(), OWNER, OWNER);
		expect_class("the owner with CAP_IPC_OWNER", EVERYTHING);
	}
}

TEST_SEVERAL_UIDS(no_other_capability_helps)
{
	need_exec_mappings();
	make_segments();
	int caps[] = { CAP_SYS_ADMIN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
		       CAP_IPC_LOCK, CAP_SYS_RESOURCE, CAP_SYS_PTRACE };
	for (size_t i = 0; i < sizeof caps / sizeof *caps; i++) {
		if (!(caps_held() & CAP_BIT(caps[i])))
			continue; /* a container's root lacks some */
		IN_CHILD {
			char who[64];
			snprintf(who, sizeof who, "uid 0 with capability %d alone", caps[i]);
			drop_to_with_caps(CAP_BIT(caps[i]), 0, NO_GROUP);
			expect_class(who, OF_OTHERS);
		}
	}
	IN_CHILD {
		drop_to_with_caps(caps_held() & ~CAP_BIT(CAP_IPC_OWNER), 0, NO_GROUP);
		expect_class("uid 0 with all but CAP_IPC_OWNER", OF_OTHERS);
	}
}

TEST_SEVERAL_UIDS(the_effective_uid_counts_not_the_real_or_the_one_for_files)
{
	need_exec_mappings();
	make_segments();
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(NO_GROUP, NO_GROUP, NO_GROUP));
		MUST(setresuid(OWNER, STRANGER, 0));
		expect_class("real uid that of the owner", OF_OTHERS);
	}
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(NO_GROUP, NO_GROUP, NO_GROUP));
		MUST(setresuid(STRANGER, OWNER, STRANGER));
		expect_class("effective uid that of the owner", OF_OWNER);
	}
	if (under_shim())
		return; /* another uid for files takes away the capability for them */
	IN_CHILD {
		setfsuid(STRANGER);
		expect_class("root with another uid for files", EVERYTHING);
	}
}

TEST_SEVERAL_UIDS(the_group_for_files_counts_not_the_effective_one)
{
	need_exec_mappings();
	make_segments();
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(0, OWNER, 0));
		setfsgid(NO_GROUP);
		set_caps(0);
		expect_class("effective gid alone", OF_OTHERS);
	}
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(0, NO_GROUP, 0));
		setfsgid(OWNER);
		set_caps(0);
		expect_class("gid for files alone", OF_GROUP);
	}
	IN_CHILD {
		MUST(setgroups(0, NULL));
		MUST(setresgid(OWNER, NO_GROUP, OWNER));
		set_caps(0);
		expect_class("real and saved gid alone", OF_OTHERS);
	}
}

/* What an ordinary user can see of the rule: the owner class and no fall-through. */
TEST(an_owner_without_rights_of_the_class_has_none)
{
	int none = MUST(shmget(1, PAGE, IPC_CREAT | 0077)), write_only = MUST(shmget(2, PAGE, IPC_CREAT | 0200));
	struct shmid_ds d;
	set_caps(0);
	TEST_ERRNO(shmat(none, NULL, SHM_RDONLY), EACCES);
	TEST_ERRNO(shmctl(none, IPC_STAT, &d), EACCES);
	TEST_ERRNO(shmget(1, 0, 0004), EACCES);
	TEST_RES(shmctl(none, SHM_STAT_ANY, &d), _ret == none);
	TEST_ERRNO(shmat(write_only, NULL, 0), EACCES);
	TEST_ERRNO(shmat(write_only, NULL, SHM_RDONLY), EACCES);
	TEST_RES(shmget(2, 0, 0200), _ret == write_only);
	int read_write = MUST(shmget(3, PAGE, IPC_CREAT | 0600));
	TEST_ERRNO(shmat(read_write, NULL, SHM_EXEC), EACCES);
	TEST_ERRNO(shmat(read_write, NULL, SHM_EXEC | SHM_RDONLY), EACCES);
	TEST_SUCC(shmat(read_write, NULL, 0));
}
