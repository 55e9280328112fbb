//! What is known of one segment.

use super::flags::{SHM_DEST, SHM_LOCKED};
use crate::sysv::ipc::{IpcPerm, Key, Kind, Ruling, ShmId, refusal};
use crate::sysv::page::{page_size, pages_of};

/// Attach addresses are multiples of this; on x86 it is the page size.
pub fn shmlba() -> u64 {
    page_size()
}

/// Whether an attach can begin at an address.
pub fn check_aligned(addr: u64) -> Ruling<()> {
    if addr % shmlba() == 0 {
        Ok(())
    } else {
        Err(refusal!(
            Einval,
            [addr],
            "address {addr:#x} is not page aligned"
        ))
    }
}

/// The smallest size a segment may have, in bytes.
pub const SHMMIN: u64 = 1;

/// One segment as it was at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its identifier.
    pub id: ShmId,
    /// The key it was made with; [`Key::PRIVATE`] once removed.
    pub key: Key,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator; never changes.
    pub cuid: u32,
    /// Creator's group; never changes.
    pub cgid: u32,
    /// Permission bits, [`SHM_DEST`] and [`SHM_LOCKED`].
    pub mode: u32,
    /// The size asked for, in bytes.
    pub segsz: u64,
    /// Last attach, seconds since 1970; 0 for never.
    pub atime: i64,
    /// Last detach, seconds since 1970; 0 for never.
    pub dtime: i64,
    /// Creation or last IPC_SET, seconds since 1970.
    pub ctime: i64,
    /// Process that made it.
    pub cpid: i32,
    /// Process that attached or detached last; 0 for none.
    pub lpid: i32,
    /// Number of mappings of it, over all processes.
    pub nattch: u64,
}

impl Segment {
    /// Whose it is and what its mode grants.
    pub fn perm(&self) -> IpcPerm {
        IpcPerm {
            kind: Kind::Segment,
            id: self.id,
            uid: self.uid,
            gid: self.gid,
            cuid: self.cuid,
            cgid: self.cgid,
            mode: self.mode,
        }
    }

    /// Removed, and only kept for the processes that have it attached.
    pub fn is_marked(&self) -> bool {
        self.mode & SHM_DEST != 0
    }

    /// Locked in memory.
    pub fn is_locked(&self) -> bool {
        self.mode & SHM_LOCKED != 0
    }

    /// Pages it takes up, the last one whole.
    pub fn pages(&self) -> u64 {
        pages_of(self.segsz)
    }
}

#[cfg(test)]
mod tests {
    use crate::sysv::for_tests::segment;

    #[test]
    fn the_mode_tells_marked_and_locked_apart() {
        let facts = |mode| (segment(mode).is_marked(), segment(mode).is_locked());
        assert_eq!(facts(0o777), (false, false));
        assert_eq!(facts(0o1000), (true, false));
        assert_eq!(facts(0o2000), (false, true));
        assert_eq!(facts(0o3777), (true, true));
    }
}
