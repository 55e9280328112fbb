//! What is known of one segment, and sizes in pages.

use super::flags::{SHM_DEST, SHM_LOCKED};
use crate::sysv::ipc::id::{Key, ShmId};

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// Attach addresses are multiples of this; on x86 it is the page size.
pub const SHMLBA: u64 = PAGE_SIZE;

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
    /// Removed, and only kept for those who have it attached.
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

/// Pages that `bytes` bytes take up, the last one whole.
pub const fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

/// `bytes` rounded up to whole pages. What cannot be rounded up becomes the last page
/// boundary there is.
pub const fn page_align(bytes: u64) -> u64 {
    match bytes.checked_next_multiple_of(PAGE_SIZE) {
        Some(aligned) => aligned,
        None => u64::MAX - (PAGE_SIZE - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::testing::segment;

    #[test]
    fn pages_are_counted_whole_up_to_the_largest_size() {
        for (bytes, pages) in [
            (0, 0),
            (1, 1),
            (4095, 1),
            (4096, 1),
            (4097, 2),
            (u64::MAX - 4095, (1 << 52) - 1),
            (u64::MAX - 4094, 1 << 52),
            (u64::MAX, 1 << 52),
        ] {
            assert_eq!(pages_of(bytes), pages, "{bytes}");
        }
    }

    #[test]
    fn aligning_stops_at_the_last_page_boundary() {
        for (bytes, aligned) in [
            (0, 0),
            (1, 4096),
            (4096, 4096),
            (4097, 8192),
            (u64::MAX - 4095, u64::MAX - 4095),
            (u64::MAX, u64::MAX - 4095),
        ] {
            assert_eq!(page_align(bytes), aligned, "{bytes}");
        }
    }

    #[test]
    fn the_mode_tells_marked_and_locked_apart() {
        let facts = |mode| (segment(mode).is_marked(), segment(mode).is_locked());
        assert_eq!(facts(0o777), (false, false));
        assert_eq!(facts(0o1000), (true, false));
        assert_eq!(facts(0o2000), (false, true));
        assert_eq!(facts(0o3777), (true, true));
    }
}
