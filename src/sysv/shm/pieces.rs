//! The attaches of one process as pieces of address space, and what an unmapped range leaves
//! of them. What shmdt takes is in [`shmdt`](crate::sysv::Detach), what mremap does to them is in [`mremap`](crate::sysv::Mremap).
//!
//! A piece is what the kernel has as one mapping: a run of pages of one segment, made by
//! one shmat. nattch counts pieces, over all processes. An attach begins as one piece, and
//! a hole cut into it makes two. Pieces that come to lie side by side do not become one;
//! only what an mremap brings can [`join`](crate::sysv::join) a piece that is already there.
//!
//! Divergence: mprotect, mlock and madvise make pieces of the kernel's mappings, too. They
//! are not seen here.

use crate::sysv::ipc::ShmId;

/// A run of pages of an attached segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Its first address.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// How far its first byte is from the segment's first byte.
    pub offset: u64,
    /// Which shmat call it comes from. No two calls of a process have the same number.
    pub attach: u32,
    /// Which segment.
    pub id: ShmId,
    /// The segment's length in whole pages, in bytes.
    pub seg_len: u64,
}

impl Piece {
    /// The address behind its last byte.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Whether any of its bytes lies in `start..end`.
    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        start < end && self.start < end && start < self.end()
    }

    /// The part of it in `start..end`, still at its old address.
    pub(super) fn part(&self, start: u64, end: u64) -> Option<Piece> {
        let start = start.max(self.start);
        let end = end.min(self.end());
        (start < end).then(|| Piece {
            start,
            len: end - start,
            offset: self.offset.saturating_add(start - self.start),
            ..*self
        })
    }
}

/// What is left of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// All of it.
    Untouched,
    /// Nothing.
    Gone,
    /// This.
    One(Piece),
    /// These two, the lower one first.
    Two(Piece, Piece),
}

/// What is left of `piece` when `start..end` is unmapped: by munmap, by a mapping put over
/// it, by SHM_REMAP.
pub fn cut(piece: &Piece, start: u64, end: u64) -> Cut {
    if !piece.overlaps(start, end) {
        return Cut::Untouched;
    }
    match (piece.part(0, start), piece.part(end, u64::MAX)) {
        (None, None) => Cut::Gone,
        (Some(left), None) | (None, Some(left)) => Cut::One(left),
        (Some(below), Some(above)) => Cut::Two(below, above),
    }
}
