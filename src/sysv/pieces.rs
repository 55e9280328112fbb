//! The attaches of one process as pieces of address space, and what shmdt, munmap and
//! mremap leave of them.
//!
//! A piece is what the kernel has as one mapping: a run of pages of one segment, made by
//! one shmat. nattch counts pieces, over all processes. An attach begins as one piece;
//! cutting a hole into it makes two, and they stay two when the hole is closed.

use super::flags::{MREMAP_DONTUNMAP, MREMAP_FIXED};
use super::ids::ShmId;
use super::reason::{Errno, Reason, Ruling};
use super::segment::{PAGE_SIZE, SHMLBA, page_align};

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
    fn part(&self, start: u64, end: u64) -> Option<Piece> {
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

/// One shmdt. Feed it the process's pieces by ascending address, from the first one that
/// starts at `addr` or above; it says which ones go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detach {
    addr: u64,
    found: Option<Found>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    attach: u32,
    id: ShmId,
    end: u64,
}

impl Detach {
    /// A shmdt of `addr`.
    pub fn new(addr: u64) -> Ruling<Detach> {
        if addr % SHMLBA != 0 {
            // "There is no segment attached at shmaddr; or, shmaddr is not aligned on a
            // page boundary." - man shmdt(2)
            return Err(Errno::Einval.because(Reason::UnalignedAddress(addr)));
        }
        Ok(Detach { addr, found: None })
    }

    /// Whether the piece goes.
    ///
    /// The first to go is the first piece that lies as far from the address as it does from
    /// the start of its segment: the address would be where the segment starts. With it go
    /// the others of the same shmat of which this is true, as far as the segment reaches.
    pub fn takes(&mut self, piece: &Piece) -> bool {
        if piece.start.checked_sub(self.addr) != Some(piece.offset) {
            return false;
        }
        match self.found {
            Some(found) => piece.attach == found.attach && piece.end() <= found.end,
            None => {
                self.found = Some(Found {
                    attach: piece.attach,
                    id: piece.id,
                    end: self.addr.saturating_add(piece.seg_len),
                });
                true
            }
        }
    }

    /// The segment that is detached, as soon as a piece of it went.
    pub fn found(&self) -> Option<ShmId> {
        self.found.map(|found| found.id)
    }

    /// Whether no piece that starts at `next_start` or above can go any more.
    pub fn is_done(&self, next_start: u64) -> bool {
        self.found.is_some_and(|found| next_start >= found.end)
    }

    /// The segment that was detached, when all pieces were shown.
    pub fn outcome(&self) -> Ruling<ShmId> {
        // "There is no shared memory segment attached at shmaddr" - man shmdt(2)
        self.found()
            .ok_or(Errno::Einval.because(Reason::NotAttached(self.addr)))
    }
}

/// What a successful mremap did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MremapKind {
    /// The range stayed where it is and became longer or shorter.
    InPlace,
    /// It went elsewhere.
    Move,
    /// A second view was made elsewhere; the first one stays as it is.
    Copy,
}

/// A successful mremap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mremap {
    /// What it did.
    pub kind: MremapKind,
    /// Where the range was.
    pub old_start: u64,
    /// How long it was, in whole pages. 0 when a copy was asked for that way.
    pub old_len: u64,
    /// Where it is.
    pub new_start: u64,
    /// How long it is, in whole pages.
    pub new_len: u64,
    fixed: bool,
}

impl Mremap {
    /// The mremap with these arguments that returned `new_start`.
    pub fn new(old_start: u64, old_len: u64, new_len: u64, flags: i32, new_start: u64) -> Mremap {
        let kind = if old_len == 0 || flags & MREMAP_DONTUNMAP != 0 {
            MremapKind::Copy
        } else if old_start == new_start {
            MremapKind::InPlace
        } else {
            MremapKind::Move
        };
        Mremap {
            kind,
            old_start,
            old_len: page_align(old_len),
            new_start,
            new_len: page_align(new_len),
            fixed: flags & MREMAP_FIXED != 0,
        }
    }

    /// The range that was unmapped first, to make place: [`cut`] every piece by it, and
    /// only then ask [`moved`].
    pub fn cleared(&self) -> Option<(u64, u64)> {
        self.fixed
            .then_some((self.new_start, self.new_start.saturating_add(self.new_len)))
    }
}

/// What became of one piece under an mremap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// What is left of it where it was.
    pub left: Cut,
    /// What there is of it elsewhere.
    pub arrived: Option<Piece>,
}

/// What becomes of `piece` under `mremap`.
pub fn moved(piece: &Piece, mremap: &Mremap) -> Moved {
    let Mremap {
        kind,
        old_start,
        old_len,
        new_start,
        new_len,
        ..
    } = *mremap;
    let old_end = old_start.saturating_add(old_len);
    // Where the range became longer, the piece that it ends with did.
    let grown = |part: Piece| Piece {
        len: if part.end() == old_end {
            part.len.saturating_add(new_len.saturating_sub(old_len))
        } else {
            part.len
        },
        ..part
    };
    let there = |part: Piece| Piece {
        start: new_start.saturating_add(part.start - old_start),
        ..part
    };
    // What of the range is kept; the rest of it is unmapped.
    let kept_end = old_end.min(old_start.saturating_add(new_len));
    match kind {
        MremapKind::InPlace if new_len > old_len => {
            let left = match piece.overlaps(old_start, old_end) && piece.end() == old_end {
                true => Cut::One(grown(*piece)),
                false => Cut::Untouched,
            };
            Moved {
                left,
                arrived: None,
            }
        }
        MremapKind::InPlace => Moved {
            left: cut(piece, kept_end, old_end),
            arrived: None,
        },
        MremapKind::Move => Moved {
            left: cut(piece, old_start, old_end),
            arrived: piece.part(old_start, kept_end).map(grown).map(there),
        },
        // The copy is of the one mapping that has the old address, however long it is.
        MremapKind::Copy => Moved {
            left: Cut::Untouched,
            arrived: piece
                .overlaps(old_start, old_start.saturating_add(PAGE_SIZE))
                .then(|| Piece {
                    start: new_start,
                    len: new_len,
                    offset: piece
                        .offset
                        .saturating_add(old_start.saturating_sub(piece.start)),
                    ..*piece
                }),
        },
    }
}
