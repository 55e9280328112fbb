//! shmctl(2): which command it is, and who may do what to a segment.
//!
//! The order: [`parse`]; for IPC_SET the caller's buffer is read (`EFAULT`); the segment is
//! looked up; then one of the `may_` functions. For the commands that copy out, a bad
//! buffer (`EFAULT`) comes last.

use super::flags::{self, MODE_BITS, READ};
use super::ids::ShmId;
use super::reason::{Errno, Reason, Ruling};
use super::rights::{Caller, Capability, may_access, owns};
use super::segment::{PAGE_SIZE, Segment};

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
    /// Tell about the segment in a slot, whoever asks.
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
        _ => return Err(Errno::Einval.because(Reason::UnknownCommand(cmd))),
    };
    ShmId::from_raw(shmid)?;
    Ok(command)
}

/// Whether the caller may be told about the segment by `cmd`.
pub fn may_stat(seg: &Segment, cmd: Command, caller: &impl Caller) -> Ruling<()> {
    if cmd == Command::ShmStatAny {
        // "shm_perm.mode is not checked for read access for shmid, meaning that any user
        // can employ this operation" - man shmctl(2)
        return Ok(());
    }
    // "IPC_STAT or SHM_STAT is requested and shm_perm.mode does not allow read access for
    // shmid, and the calling process does not have the CAP_IPC_OWNER capability in the user
    // namespace that governs its IPC namespace." - man shmctl(2)
    may_access(seg, READ, caller)
}

/// Whether the caller may remove the segment.
pub fn may_remove(seg: &Segment, caller: &impl Caller) -> Ruling<()> {
    // "The caller must be the owner or creator of the segment, or be privileged."
    // - man shmctl(2)
    must_own(seg, caller, Capability::SysAdmin)
}

/// What IPC_SET is to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewPerm {
    /// The new owner.
    pub uid: u32,
    /// The new group.
    pub gid: u32,
    /// The new permission bits.
    pub mode: u32,
}

/// Whether the caller may set `new`, and what is then set: the permission bits alone.
/// [`SHM_DEST`](flags::SHM_DEST) and [`SHM_LOCKED`](flags::SHM_LOCKED) stay as they are.
pub fn may_set(seg: &Segment, new: &NewPerm, caller: &impl Caller) -> Ruling<NewPerm> {
    // "The effective UID of the calling process must match the owner (shm_perm.uid) or
    // creator (shm_perm.cuid) of the shared memory segment, or the caller must be
    // privileged." - man shmctl(2)
    must_own(seg, caller, Capability::SysAdmin)?;
    if new.uid == u32::MAX || new.gid == u32::MAX {
        // The manual is silent: −1 is nobody's id, and the whole call fails for it.
        return Err(Errno::Einval.because(Reason::NobodysId {
            uid: new.uid,
            gid: new.gid,
        }));
    }
    // "shm_perm.uid, shm_perm.gid, and (the least significant 9 bits of) shm_perm.mode."
    // - man shmctl(2)
    Ok(NewPerm {
        mode: new.mode & MODE_BITS,
        ..*new
    })
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
    if !owns(seg, caller) {
        // Whoever gets past this has no limit either.
        return must_own(seg, caller, Capability::IpcLock);
    }
    let LockBudget {
        rlimit_bytes,
        locked_bytes,
    } = budget();
    // Counted in whole pages; what of the limit is not a whole page does not count.
    let pages = (locked_bytes / PAGE_SIZE).saturating_add(seg.pages());
    let fits = rlimit_bytes == u64::MAX || pages <= rlimit_bytes / PAGE_SIZE;
    if rlimit_bytes != 0 && (fits || seg.is_locked()) || caller.capable(Capability::IpcLock) {
        return Ok(());
    }
    if rlimit_bytes == 0 {
        // "Since Linux 2.6.9, this error can also occur if the RLIMIT_MEMLOCK is 0 and the
        // caller is not privileged." - man shmctl(2)
        //
        // Also when the segment is locked already.
        return Err(Errno::Eperm.because(Reason::LockingForbidden { id: seg.id }));
    }
    // "the size of the to-be-locked segment would mean that the total bytes in locked
    // shared memory segments would exceed the limit for the real user ID of the calling
    // process." - man shmctl(2)
    Err(Errno::Enomem.because(Reason::LockLimit {
        id: seg.id,
        pages: seg.pages(),
        locked_bytes,
        rlimit_bytes,
    }))
}

/// Whether the caller may unlock the segment. It need not be locked.
pub fn may_unlock(seg: &Segment, caller: &impl Caller) -> Ruling<()> {
    must_own(seg, caller, Capability::IpcLock)
}

/// Only the owner, the creator and whoever has `instead`; the mode plays no part.
fn must_own(seg: &Segment, caller: &impl Caller, instead: Capability) -> Ruling<()> {
    if owns(seg, caller) || caller.capable(instead) {
        return Ok(());
    }
    // "the effective user ID of the calling process is not that of the creator (found in
    // shm_perm.cuid), or the owner (found in shm_perm.uid), and the process was not
    // privileged" - man shmctl(2)
    Err(Errno::Eperm.because(Reason::NotOwner {
        id: seg.id,
        uid: seg.uid,
        cuid: seg.cuid,
        euid: caller.euid(),
    }))
}
