//! The permission rule that shmget, shmat and shmctl share.

use super::flags::MODE_BITS;
use super::reason::{Class, Errno, Reason, Ruling};
use super::segment::Segment;

/// A privilege that some rule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// CAP_IPC_OWNER: every access to every segment.
    IpcOwner,
    /// CAP_SYS_ADMIN: IPC_SET and IPC_RMID of any segment.
    SysAdmin,
    /// CAP_IPC_LOCK: SHM_LOCK of any segment without limit, huge pages.
    IpcLock,
}

/// Who asks. Each answer may cost a system call: a rule asks only what it needs, and in
/// the order of what answers are likely to cost.
pub trait Caller {
    /// The effective user id.
    fn euid(&self) -> u32;
    /// Whether `gid` is the file system group id (not the effective one) or one of the
    /// supplementary groups.
    fn in_group(&self, gid: u32) -> bool;
    /// Whether the capability is effective.
    fn capable(&self, capability: Capability) -> bool;
}

/// Whether the caller may do `wanted`, an OR of [`READ`](super::flags::READ),
/// [`WRITE`](super::flags::WRITE) and [`EXEC`](super::flags::EXEC).
///
/// Exactly one class of the mode decides, the first that fits: what the owner is refused,
/// the bits of group and others do not give back. Whoever wants nothing is never refused.
pub fn may_access(seg: &Segment, wanted: u32, caller: &impl Caller) -> Ruling<()> {
    let wanted = wanted & 7;
    let granted_to = |class: Class| (seg.mode & MODE_BITS) >> class.shift() & 7;
    // Where every class grants the same it does not matter which one the caller is in.
    let by_any = granted_to(Class::Owner) & granted_to(Class::Group) & granted_to(Class::Other);
    if wanted & !by_any == 0 {
        return Ok(());
    }
    let class = if owns(seg, caller) {
        Class::Owner
    } else if caller.in_group(seg.cgid) || (seg.gid != seg.cgid && caller.in_group(seg.gid)) {
        Class::Group
    } else {
        Class::Other
    };
    let granted = granted_to(class);
    if wanted & !granted != 0 && !caller.capable(Capability::IpcOwner) {
        // "The user does not have permission to access the shared memory segment, and does
        // not have the CAP_IPC_OWNER capability in the user namespace that governs its IPC
        // namespace." - man shmget(2)
        return Err(Errno::Eacces.because(Reason::NotGranted {
            id: seg.id,
            mode: seg.mode & MODE_BITS,
            class,
            wanted,
        }));
    }
    Ok(())
}

/// Whether the caller is the segment's owner or creator. Giving a segment away does not
/// take this from its creator.
pub fn owns(seg: &Segment, caller: &impl Caller) -> bool {
    let euid = caller.euid();
    euid == seg.cuid || euid == seg.uid
}
