//! shmdt(2): which pieces of a process go.

use super::pieces::Piece;
use super::segment::check_aligned;
use crate::sysv::ipc::{Refusal, Ruling, ShmId, refusal};

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
        // "There is no segment attached at shmaddr; or, shmaddr is not aligned on a
        // page boundary." - man shmdt(2)
        check_aligned(addr)?;
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
        self.found().ok_or_else(|| not_attached(self.addr))
    }
}

/// Nothing is attached there.
pub fn not_attached(addr: u64) -> Refusal {
    // "There is no shared memory segment attached at shmaddr" - man shmdt(2)
    refusal!(Einval, [addr], "no segment is attached at {addr:#x}")
}
