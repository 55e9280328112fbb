/*
 * Whose a queue is, and what its mode lets others do: who sends, receives, asks, sets and removes.
 */
#include "msgtest.h"

enum { OWNER = 54001, CREATOR = 54002, STRANGER = 54003, GROUP = 54004 };

/* What of "wrs" the caller may: send, receive, ask. Each that is refused is refused with EACCES. */
static const char *allowed(int id)
{
	static char may[4];
	struct message m;
	struct msqid_ds d;
	char *p = may;
	if (send_text(id, 1, "") == 0)
		*p++ = 'w';
	else
		CHECK_EQ(errno, EACCES);
	if (msgrcv(id, &m, 0, 99, IPC_NOWAIT) < 0 && errno == ENOMSG)
		*p++ = 'r';
	else
		CHECK_EQ(errno, EACCES);
	if (msgctl(id, IPC_STAT, &d) == 0)
		*p++ = 's';
	else
		CHECK_EQ(errno, EACCES);
	*p = 0;
	return may;
}

/* A queue that CREATOR made and gave to OWNER, both with groups of the same numbers. */
static int made_by_creator(int mode)
{
	int id = -1, *shared = shared_memory(sizeof *shared);
	IN_CHILD {
		drop_to(CREATOR, CREATOR);
		*shared = MUST(msgget(0x162e, IPC_CREAT | IPC_EXCL | 0600));
		struct msqid_ds d = queue_stat(*shared);
		d.msg_perm.uid = OWNER;
		d.msg_perm.gid = OWNER;
		d.msg_perm.mode = (unsigned short)mode;
		MUST(msgctl(*shared, IPC_SET, &d));
	}
	id = *shared;
	munmap(shared, sizeof *shared);
	return id;
}

static void check_modes(int id, void (*becomes)(void), int shift)
{
	static const char *const may[8] = { "", "", "w", "w", "rs", "rs", "wrs", "wrs" };
	for (int bits = 0; bits < 8; bits++) {
		/* What the other classes have does not matter. */
		MUST(set_mode(id, bits << shift | (~(7 << shift) & 0777)));
		IN_CHILD {
			becomes();
			CHECK_STR(allowed(id), may[bits]);
		}
	}
}

static void owner(void) { drop_to(OWNER, 1); }
static void creator(void) { drop_to(CREATOR, 1); }
static void in_the_owners_group(void) { drop_to(STRANGER, OWNER); }
static void in_the_creators_group(void) { drop_to(STRANGER, 1, CREATOR); }
static void stranger(void) { drop_to(STRANGER, GROUP); }
static void root_without_capabilities(void) { set_caps(0); }

TEST_SEVERAL_UIDS(one_class_decides_and_sending_takes_w_receiving_r)
{
	int id = made_by_creator(0600);
	check_modes(id, owner, 6);
	check_modes(id, creator, 6);
	check_modes(id, in_the_owners_group, 3);
	check_modes(id, in_the_creators_group, 3);
	check_modes(id, stranger, 0);
	check_modes(id, root_without_capabilities, 0);
}

TEST_SEVERAL_UIDS(cap_ipc_owner_does_everything_but_set_and_remove)
{
	int id = made_by_creator(0);
	IN_CHILD {
		drop_to_with_caps(CAP_BIT(CAP_IPC_OWNER), STRANGER, GROUP);
		CHECK_STR(allowed(id), "wrs");
		TEST_SUCC(msgget(0x162e, 0777));
		struct msqid_ds d = queue_stat(id);
		TEST_ERRNO(msgctl(id, IPC_SET, &d), EPERM);
		TEST_ERRNO(remove_queue(id), EPERM);
	}
	IN_CHILD {
		drop_to_with_caps(CAP_BIT(CAP_SYS_ADMIN), STRANGER, GROUP);
		CHECK_STR(allowed(id), "");
		struct msqid_ds d;
		MUST(msgctl(index_of(id), MSG_STAT_ANY, &d));
		TEST_SUCC(msgctl(id, IPC_SET, &d));
		TEST_SUCC(remove_queue(id));
	}
}

TEST_SEVERAL_UIDS(owner_and_creator_set_and_remove_whatever_the_mode)
{
	void (*const who[])(void) = { owner, creator };
	for (int i = 0; i < 2; i++) {
		int id = made_by_creator(0);
		IN_CHILD {
			struct msqid_ds d;
			who[i]();
			CHECK_STR(allowed(id), "");
			MUST(msgctl(index_of(id), MSG_STAT_ANY, &d));
			d.msg_perm.mode = 0600;
			TEST_SUCC(msgctl(id, IPC_SET, &d));
			CHECK_STR(allowed(id), "wrs");
			TEST_SUCC(remove_queue(id));
		}
		CHECK(!queue_exists(id));
	}
}

TEST_SEVERAL_UIDS(a_stranger_with_all_rights_neither_sets_nor_removes)
{
	int id = made_by_creator(0777);
	IN_CHILD {
		stranger();
		CHECK_STR(allowed(id), "wrs");
		struct msqid_ds d = queue_stat(id);
		TEST_ERRNO(msgctl(id, IPC_SET, &d), EPERM);
		TEST_ERRNO(remove_queue(id), EPERM);
		CHECK_EQ(msgget(0x162e, 0777), id);
	}
	CHECK(queue_exists(id));
}

TEST_SEVERAL_UIDS(the_owner_of_a_queue_given_away_is_no_owner_any_more)
{
	int id = made_by_creator(0600);
	IN_CHILD {
		owner();
		struct msqid_ds d = queue_stat(id);
		d.msg_perm.uid = STRANGER;
		MUST(msgctl(id, IPC_SET, &d));
		TEST_ERRNO(msgctl(id, IPC_STAT, &d), EACCES);
		TEST_ERRNO(remove_queue(id), EPERM);
	}
	IN_CHILD {
		stranger();
		CHECK_STR(allowed(id), "wrs");
	}
	IN_CHILD {
		creator();
		CHECK_STR(allowed(id), "wrs");
	}
}

TEST_SEVERAL_UIDS(users_send_each_other_messages)
{
	int id = MUST(msgget(0x162e, IPC_CREAT | 0666));
	IN_CHILD {
		stranger();
		MUST(send_text(MUST(msgget(0x162e, 0200)), 1, "from the stranger"));
		CHECK_EQ(queue_stat(id).msg_lspid, getpid());
	}
	IN_CHILD {
		owner();
		CHECK_STR(got(MUST(msgget(0x162e, 0400)), 0, 0), "1 from the stranger");
	}
	sleeper_prepares = stranger;
	RECEIVER(1, id, 0);
	IN_CHILD {
		owner();
		MUST(send_text(id, 2, "to a sleeper of another user"));
	}
	CHECK_RESULT(1, "2 to a sleeper of another user");
	struct msqid_ds d = queue_stat(id);
	CHECK_EQ(d.msg_lrpid, sleeper_pid[1]);
	CHECK_HELD(id, "0/0");
}

TEST_SEVERAL_UIDS(who_becomes_another_user_has_that_users_rights_from_then_on)
{
	int id = made_by_creator(0600);
	IN_CHILD {
		drop_cap(CAP_IPC_OWNER);
		CHECK_STR(allowed(id), "");
		MUST(seteuid(OWNER));
		CHECK_STR(allowed(id), "wrs");
		MUST(seteuid(0));
		MUST(seteuid(STRANGER));
		CHECK_STR(allowed(id), "");
	}
}
