//! What the rules decide, as far as storage carries it out by itself.

use crate::storage::ipc::FirstLimits;
use crate::storage::process::IsDestroyed;
use crate::storage::table::slot_life::Cursor;

/// The limits, as the header holds them. What they mean is the rules' business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of layout::Header")]
pub struct LimitWords {
    pub shmmax: u64,
    pub shmall: u64,
    pub shmmni: u32,
    pub rmid_forced: u32,
}

impl LimitWords {
    /// All of them, as events number them.
    pub(super) fn in_order(&self) -> [u64; 4] {
        let (most, forced) = (self.shmmni.into(), self.rmid_forced.into());
        [self.shmmax, self.shmall, most, forced]
    }
}

/// What the rules say of what storage does by itself.
#[derive(Clone, Copy)]
pub struct Rules {
    /// The limits that a new namespace begins with.
    pub limits: LimitWords,
    /// Those of semaphores and queues.
    pub ipc_limits: FirstLimits,
    /// Where a new namespace begins to hand out ids, for a number that no other has.
    pub fresh_cursor: fn(seed: u64) -> Cursor,
    /// Whether a segment is destroyed that so many attaches are left of.
    pub is_destroyed: IsDestroyed,
    /// Whether a process may unlink the files of a creator in a directory.
    pub may_unlink: MayUnlink,
}

/// Asked with the effective uid of the process, the file's creator, the directory's owner, and whether others than its owner
/// may make files in the directory, so that it is sticky.
pub type MayUnlink = fn(euid: u32, cuid: u32, directory_owner: u32, is_shared: bool) -> bool;
