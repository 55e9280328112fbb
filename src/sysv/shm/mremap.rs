//! What mremap makes of the pieces of a process.

use super::flags::{MREMAP_DONTUNMAP, MREMAP_FIXED};
use super::pieces::{Cut, Piece, cut};
use crate::sysv::page::{page_align, page_size};

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

/// A successful mremap. To apply it to the pieces of a process:
///
/// 1. [`cut`] every piece by [`Mremap::cleared`];
/// 2. ask [`moved`] what becomes of each;
/// 3. [`join`] what arrived to its neighbours.
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
    /// The mremap with these arguments that returned `new_start`. Lengths are rounded up to
    /// pages; over huge pages the kernel rounds up to those, and so must the caller have.
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

    /// The range that was unmapped first, to make place.
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
        MremapKind::InPlace if new_len > old_len => Moved {
            left: match piece.overlaps(old_start, old_end) {
                true => Cut::One(grown(*piece)),
                false => Cut::Untouched,
            },
            arrived: None,
        },
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
                .overlaps(old_start, old_start.saturating_add(page_size()))
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

/// How an arriving piece meets its neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// It stays a piece of its own.
    Apart,
    /// It joins the piece below, which becomes this.
    Below(Piece),
    /// It joins the piece above, which becomes this.
    Above(Piece),
}

/// Whether a piece that an mremap brought joins the piece right below or right above it:
/// it does when both come from one shmat and the segment's pages go on from one to the
/// other. It never makes one piece of all three. What joins is not attached anew: unlike
/// the arrival of a piece that stays apart it leaves atime as it is.
///
/// Divergence: the kernel joins mappings of equal protection only.
pub fn join(below: Option<&Piece>, arrived: &Piece, above: Option<&Piece>) -> Join {
    if let Some(both) = below.and_then(|below| joined(below, arrived)) {
        return Join::Below(both);
    }
    match above.and_then(|above| joined(arrived, above)) {
        Some(both) => Join::Above(both),
        None => Join::Apart,
    }
}

fn joined(low: &Piece, high: &Piece) -> Option<Piece> {
    let goes_on = low.attach == high.attach
        && low.start.checked_add(low.len) == Some(high.start)
        && low.offset.checked_add(low.len) == Some(high.offset);
    goes_on.then(|| Piece {
        len: low.len.saturating_add(high.len),
        ..*low
    })
}
