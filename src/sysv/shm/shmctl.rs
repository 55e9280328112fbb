//! shmctl(2): which command it is, and who may do what to a segment.
//!
//! The order: [`parse`]; for IPC_SET the caller's buffer is read (`EFAULT`); the segment is
//! looked up; then one of the `may_` functions. For the commands that copy out, a bad
//! buffer (`EFAULT`) comes last.

use super::flags::{self, READ};
use super::segment::Segment;
use crate::sysv::ipc::{
    Caller, Capability, NewPerm, Ruling, ShmId, check_new_perm, may_access, must_own, owns, refusal,
};
use crate::sysv::page::page_size;

/// What shmctl is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Remove, or mark to be destroyed.
    IpcRmid,
    /// Change owner, group, mode.
    IpcSet,
    /// Tell about a segment.
    IpcStat,
    /// Tell the limits.
    IpcInfo,
    /// Keep in memory.
    ShmLock,
    /// No longer keep in memory.
    ShmUnlock,
    /// Tell about the segment in a slot.
    ShmStat,
    /// Tell what all segments use.
    ShmInfo,
    /// Tell about the segment in a slot, whatever its mode.
    ShmStatAny,
}

/// Reads the command. Needs neither the segment nor the buffer, and comes before both.
pub fn parse(shmid: i32, cmd: i32) -> Ruling<Command> {
    // "shmid is not a valid identifier, or cmd is not a valid command." - man shmctl(2)
    //
    // A negative identifier is refused even where the command has no use for one.
    let command = match cmd {
        flags::IPC_RMID => Command::IpcRmid,
        flags::IPC_SET => Command::IpcSet,
        flags::IPC_STAT => Command::IpcStat,
        flags::IPC_INFO => Command::IpcInfo,
        flags::SHM_LOCK => Command::ShmLock,
        flags::SHM_UNLOCK => Command::ShmUnlock,
        flags::SHM_STAT => Command::ShmStat,
        flags::SHM_INFO => Command::ShmInfo,
        flags::SHM_STAT_ANY => Command::ShmStatAny,
        _ => {
            return Err(refusal!(
                Einval,
                [cmd],
                "there is no command {}",
                cmd as i32
            ));
        }
    };
    ShmId::from_raw(shmid)?;
    Ok(command)
}

/// Whether `cmd` takes an index, so that the sequence number of what it is given does not matter.
#[inline(always)]
pub fn is_by_index(cmd: Command) -> bool {
    matches!(cmd, Command::ShmStat | Command::ShmStatAny)
}

/// Whether `cmd` tells everybody.
#[inline(always)]
pub fn is_for_all(cmd: Command) -> bool {
    cmd == Command::ShmStatAny
}

/// Whether the caller may be told about the segment by `cmd`.
pub fn may_stat(seg: &Segment, cmd: Command, caller: &impl Caller) -> Ruling<()> {
    if is_for_all(cmd) {
        // "shm_perm.mode is not checked for read access for shmid, meaning that any user
        // can employ this operation" - man shmctl(2)
        return Ok(());
    }
    // "IPC_STAT or SHM_STAT is requested and shm_perm.mode does not allow read access for
    // shmid, and the calling process does not have the CAP_IPC_OWNER capability in the user
    // namespace that governs its IPC namespace." - man shmctl(2)
    may_access(&seg.perm(), READ, caller)
}

/// Whether the caller may remove the segment.
pub fn may_remove(seg: &Segment, caller: &impl Caller) -> Ruling<()> {
    // "The caller must be the owner or creator of the segment, or be privileged."
    // - man shmctl(2)
    must_own(&seg.perm(), caller, Capability::SysAdmin)
}

/// Whether the caller may set `new`, and what is then set: the permission bits alone.
/// [`SHM_DEST`](flags::SHM_DEST) and [`SHM_LOCKED`](flags::SHM_LOCKED) stay as they are.
pub fn may_set(seg: &Segment, new: &NewPerm, caller: &impl Caller) -> Ruling<NewPerm> {
    // "The effective UID of the calling process must match the owner (shm_perm.uid) or
    // creator (shm_perm.cuid) of the shared memory segment, or the caller must be
    // privileged." - man shmctl(2)
    must_own(&seg.perm(), caller, Capability::SysAdmin)?;
    check_new_perm(new)
}

/// How much a user may lock, and has locked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockBudget {
    /// The soft limit RLIMIT_MEMLOCK, `u64::MAX` for none.
    pub rlimit_bytes: u64,
    /// Whole pages of other segments that this user has locked, in bytes.
    pub locked_bytes: u64,
}

impl LockBudget {
    /// The budget for a segment of huge pages. Those are never swapped out: SHM_LOCK
    /// locks nothing, costs nothing and leaves the mode as it is; only a limit of 0 refuses.
    pub fn of_huge_pages(rlimit_bytes: u64) -> LockBudget {
        LockBudget {
            rlimit_bytes: if rlimit_bytes == 0 { 0 } else { u64::MAX },
            locked_bytes: 0,
        }
    }
}

/// Whether the caller may lock the segment. `budget` is asked only when it matters.
pub fn may_lock(
    seg: &Segment,
    caller: &impl Caller,
    budget: impl FnOnce() -> LockBudget,
) -> Ruling<()> {
    if !owns(&seg.perm(), caller) {
        // A caller with the capability has no limit either.
        return must_own(&seg.perm(), caller, Capability::IpcLock);
    }
    let LockBudget {
        rlimit_bytes,
        locked_bytes,
    } = budget();
    // Counted in whole pages; what of the limit is not a whole page does not count.
    let pages = (locked_bytes / page_size()).saturating_add(seg.pages());
    let fits = rlimit_bytes == u64::MAX || pages <= rlimit_bytes / page_size();
    if rlimit_bytes != 0 && (fits || seg.is_locked()) || caller.capable(Capability::IpcLock) {
        return Ok(());
    }
    if rlimit_bytes == 0 {
        // "Since Linux 2.6.9, this error can also occur if the RLIMIT_MEMLOCK is 0 and the
        // caller is not privileged." - man shmctl(2)
        //
        // Also when the segment is locked already.
        return Err(refusal!(
            Eperm,
            [id = seg.id.raw()],
            "segment {id} cannot be locked, RLIMIT_MEMLOCK is 0"
        ));
    }
    // "the size of the to-be-locked segment would mean that the total bytes in locked
    // shared memory segments would exceed the limit for the real user ID of the calling
    // process." - man shmctl(2)
    Err(refusal!(
        Enomem,
        [
            id = seg.id.raw(),
            pages = seg.pages(),
            locked_bytes,
            rlimit_bytes
        ],
        "segment {id} has {pages} pages to lock, {locked_bytes} bytes are locked, RLIMIT_MEMLOCK is {rlimit_bytes}"
    ))
}

/// Whether the caller may unlock the segment. It need not be locked.
pub fn may_unlock(seg: &Segment, caller: &impl Caller) -> Ruling<()> {
    must_own(&seg.perm(), caller, Capability::IpcLock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::for_tests::{
        ALL_CAPABILITIES, CREATOR, OWNER, Person, STRANGER, errno, segment,
    };

    #[test]
    fn the_nine_commands_are_known_and_no_others() {
        let known = [
            (0, Command::IpcRmid),
            (1, Command::IpcSet),
            (2, Command::IpcStat),
            (3, Command::IpcInfo),
            (11, Command::ShmLock),
            (12, Command::ShmUnlock),
            (13, Command::ShmStat),
            (14, Command::ShmInfo),
            (15, Command::ShmStatAny),
        ];
        for cmd in -20..0x200 {
            let expected = known.iter().find(|(number, _)| *number == cmd);
            let parsed = parse(0, cmd);
            assert_eq!(parsed.ok(), expected.map(|(_, command)| *command), "{cmd}");
            assert_eq!(errno(parsed), expected.is_none().then_some(Errno::Einval));
        }
        for cmd in [i32::MIN, i32::MAX] {
            assert_eq!(errno(parse(0, cmd)), Some(Errno::Einval));
        }
    }

    #[test]
    fn a_negative_identifier_is_refused_for_every_command() {
        for cmd in [0, 1, 2, 3, 11, 12, 13, 14, 15, 99, -1] {
            assert_eq!(errno(parse(-1, cmd)), Some(Errno::Einval), "{cmd}");
        }
    }

    #[test]
    fn stat_takes_reading_except_where_anybody_may() {
        let stranger = Person::with_euid(STRANGER);
        for (cmd, expected) in [
            (Command::IpcStat, Some(Errno::Eacces)),
            (Command::ShmStat, Some(Errno::Eacces)),
            (Command::ShmStatAny, None),
        ] {
            assert_eq!(errno(may_stat(&segment(0o733), cmd, &stranger)), expected);
            assert_eq!(may_stat(&segment(0o004), cmd, &stranger), Ok(()));
        }
        let owner = Person::with_euid(OWNER);
        let ruling = may_stat(&segment(0o200), Command::IpcStat, &owner);
        assert_eq!(errno(ruling), Some(Errno::Eacces));
    }

    const NEW: NewPerm = NewPerm {
        uid: 1,
        gid: 2,
        mode: 0o640,
    };

    fn plenty() -> LockBudget {
        LockBudget {
            rlimit_bytes: 1 << 30,
            locked_bytes: 0,
        }
    }

    #[test]
    fn the_mode_plays_no_part_in_owning() {
        for mode in [0, 0o777, 0o3777] {
            let seg = segment(mode);
            for euid in [OWNER, CREATOR] {
                let caller = Person::with_euid(euid);
                assert_eq!(may_remove(&seg, &caller), Ok(()));
                assert_eq!(may_set(&seg, &NEW, &caller), Ok(NEW));
                assert_eq!(may_lock(&seg, &caller, plenty), Ok(()));
                assert_eq!(may_unlock(&seg, &caller), Ok(()));
            }
            let caller = Person::with_euid(STRANGER).in_groups(&[OWNER, CREATOR]);
            let eperm = Some(Errno::Eperm);
            assert_eq!(errno(may_remove(&seg, &caller)), eperm);
            assert_eq!(errno(may_set(&seg, &NEW, &caller)), eperm);
            assert_eq!(errno(may_lock(&seg, &caller, plenty)), eperm);
            assert_eq!(errno(may_unlock(&seg, &caller)), eperm);
        }
    }

    #[test]
    fn each_command_has_the_one_capability_that_helps() {
        let seg = segment(0o777);
        for capability in ALL_CAPABILITIES {
            let held: &'static [Capability] = match capability {
                Capability::IpcOwner => &[Capability::IpcOwner],
                Capability::SysAdmin => &[Capability::SysAdmin],
                Capability::IpcLock => &[Capability::IpcLock],
                Capability::SysResource => &[Capability::SysResource],
            };
            let caller = Person::with_euid(STRANGER).with(held);
            let admin = capability == Capability::SysAdmin;
            let lock = capability == Capability::IpcLock;
            assert_eq!(may_remove(&seg, &caller).is_ok(), admin);
            assert_eq!(may_set(&seg, &NEW, &caller).is_ok(), admin);
            assert_eq!(may_lock(&seg, &caller, plenty).is_ok(), lock);
            assert_eq!(may_unlock(&seg, &caller).is_ok(), lock);
        }
    }

    #[test]
    fn an_owner_is_not_asked_for_capabilities() {
        let owner = Person::with_euid(OWNER);
        assert_eq!(may_remove(&segment(0), &owner), Ok(()));
        assert_eq!(may_lock(&segment(0), &owner, plenty), Ok(()));
        assert_eq!(owner.asked.get(), [2, 0, 0]);
    }

    #[test]
    fn setting_takes_the_permission_bits_alone() {
        let owner = Person::with_euid(OWNER);
        let asked = NewPerm {
            mode: u32::MAX,
            ..NEW
        };
        let expected = NewPerm { mode: 0o777, ..NEW };
        assert_eq!(may_set(&segment(0o1600), &asked, &owner), Ok(expected));
    }

    #[test]
    fn nobodys_id_is_refused_but_only_to_a_caller_who_may_set() {
        let no_uid = NewPerm {
            uid: u32::MAX,
            ..NEW
        };
        let no_gid = NewPerm {
            gid: u32::MAX,
            ..NEW
        };
        for new in [no_uid, no_gid] {
            let by = |euid| errno(may_set(&segment(0o600), &new, &Person::with_euid(euid)));
            assert_eq!(by(OWNER), Some(Errno::Einval));
            assert_eq!(by(STRANGER), Some(Errno::Eperm));
        }
    }

    #[test]
    fn locking_keeps_within_the_limit_in_whole_pages() {
        // Rows of Linux 6.18; the segment has two pages.
        let two_pages = |mode| Segment {
            segsz: 4097,
            ..segment(mode)
        };
        let unlocked = two_pages(0o600);
        let locked = two_pages(0o2600);
        for (seg, rlimit_bytes, locked_bytes, expected) in [
            (unlocked, 0, 0, Some(Errno::Eperm)),
            (unlocked, 4095, 0, Some(Errno::Enomem)),
            (unlocked, 8191, 0, Some(Errno::Enomem)),
            (unlocked, 8192, 0, None),
            (unlocked, 8192, 4096, Some(Errno::Enomem)),
            (unlocked, 12287, 4096, Some(Errno::Enomem)),
            (unlocked, 12288, 4096, None),
            (unlocked, u64::MAX, u64::MAX, None),
            (unlocked, u64::MAX - 1, u64::MAX, Some(Errno::Enomem)),
            (locked, 4096, 4096, None),
            (locked, 1, 0, None),
            (locked, 0, 0, Some(Errno::Eperm)),
        ] {
            let budget = || LockBudget {
                rlimit_bytes,
                locked_bytes,
            };
            let by = |caller: Person| errno(may_lock(&seg, &caller, budget));
            let owner = Person::with_euid(OWNER);
            let what = format!(
                "limit {rlimit_bytes}, locked {locked_bytes}, {:o}",
                seg.mode
            );
            assert_eq!(by(owner.clone()), expected, "{what}");
            assert_eq!(by(owner.with(&[Capability::IpcLock])), None, "{what}");
            let capable = Person::with_euid(STRANGER).with(&[Capability::IpcLock]);
            assert_eq!(by(capable), None, "{what}");
            let stranger = Person::with_euid(STRANGER);
            assert_eq!(by(stranger), Some(Errno::Eperm), "{what}");
        }
    }

    #[test]
    fn huge_pages_are_refused_by_a_limit_of_nought_alone() {
        let owner = Person::with_euid(OWNER);
        let by_limit = |limit| {
            errno(may_lock(&segment(0o600), &owner, || {
                LockBudget::of_huge_pages(limit)
            }))
        };
        assert_eq!(by_limit(0), Some(Errno::Eperm));
        assert_eq!(by_limit(1), None);
    }

    #[test]
    fn unlocking_does_not_look_at_the_limit_or_the_lock() {
        let owner = Person::with_euid(OWNER);
        assert_eq!(may_unlock(&segment(0o600), &owner), Ok(()));
        assert_eq!(may_unlock(&segment(0o2600), &owner), Ok(()));
    }
}
