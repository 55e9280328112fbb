//! What this process has attached: its own books, in memory of its own.
//!
//! The pieces are kept by falling address: the kernel hands out addresses downwards, so a new one mostly goes to
//! the end.

use crate::os::OsResult;
use crate::os::pages::PageVec;
use crate::sysv::{Piece, SLOTS};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The range that all attaches lie in; empty when there are none. A hint for whoever has no lock.
static LOWEST: AtomicU64 = AtomicU64::new(u64::MAX);
static HIGHEST: AtomicU64 = AtomicU64::new(0);

/// Whether `start..end` might touch an attach of this process. Costs two loads.
#[inline]
pub fn may_touch(start: u64, end: u64) -> bool {
    start < HIGHEST.load(Ordering::Relaxed) && end > LOWEST.load(Ordering::Relaxed)
}

/// Whether this process has nothing attached. Needs no lock; whatever another thread has detached by then is gone.
pub fn are_none() -> bool {
    // Pairs with: the store in `note_range`.
    HIGHEST.load(Ordering::Acquire) == 0
}

/// Per slot: the record + 1 in the shared table that counts this process's attaches, and the one that was prepared
/// for the child that is being forked. In the library's own zeroed memory, which costs nothing until it is written
/// and which no limit of the host's can refuse later. Guarded by the in-process lock.
static RECORDS: [AtomicU32; SLOTS as usize] = [const { AtomicU32::new(0) }; SLOTS as usize];
static CHILD_RECORDS: [AtomicU32; SLOTS as usize] = [const { AtomicU32::new(0) }; SLOTS as usize];

/// One piece and what is known of it beside its place.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it is and of what.
    pub piece: Piece,
    /// Children of a fork will not have it (MADV_DONTFORK).
    pub not_inherited: bool,
    /// The segment's atime and lpid before a fork stamped them, in case the fork fails.
    pub before_fork: Option<(i64, i32)>,
}

/// The books.
pub struct Attaches {
    entries: PageVec<Entry>,
    next_attach: u32,
    changes: u64,
}

impl Attaches {
    /// Empty books.
    pub const fn new() -> Attaches {
        Attaches {
            entries: PageVec::new(),
            next_attach: 0,
            changes: 0,
        }
    }

    /// Makes room for `more` pieces, so that nothing can fail once the mapping is made.
    pub fn reserve(&mut self, more: usize) -> OsResult<()> {
        self.entries.reserve(more)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The pieces, by falling address.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The pieces, to be changed in place; their order must stay.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// A number for the next shmat call.
    pub fn number_attach(&mut self) -> u32 {
        self.next_attach = self.next_attach.wrapping_add(1);
        self.next_attach
    }

    /// How many entries lie above `addr`: those with an index below the returned one start behind it.
    pub fn count_above(&self, addr: u64) -> usize {
        self.entries
            .partition_point(|entry| entry.piece.start >= addr)
    }

    /// Adds a piece.
    pub fn insert(&mut self, entry: Entry) {
        let at = self
            .entries
            .partition_point(|other| other.piece.start > entry.piece.start);
        let fits = self.entries.insert(at, entry);
        debug_assert!(fits, "room is reserved before anything is mapped");
        self.changes += 1;
        self.note_range();
    }

    /// How often pieces have come or gone.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Removes the piece at `index`.
    pub fn remove(&mut self, index: usize) {
        self.entries.remove(index);
        self.changes += 1;
        self.note_range();
    }

    /// The record in the shared table that counts this process's attaches of slot `slot`, as far as known.
    pub fn record_of(&self, slot: u32) -> Option<u32> {
        read(&RECORDS, slot)
    }

    /// Remembers that record.
    pub fn set_record(&mut self, slot: u32, record: u32) {
        write(&RECORDS, slot, record);
    }

    /// The record that counts what the child that is being forked will have of slot `slot`, as far as known.
    pub fn child_record_of(&self, slot: u32) -> Option<u32> {
        read(&CHILD_RECORDS, slot)
    }

    /// Remembers that record.
    pub fn set_child_record(&mut self, slot: u32, record: u32) {
        write(&CHILD_RECORDS, slot, record);
    }

    /// In the child: the record that was prepared for it is its own.
    pub fn adopt_child_record(&mut self, slot: u32) {
        if let Some(record) = self.child_record_of(slot) {
            self.set_record(slot, record);
        }
    }

    fn note_range(&self) {
        let lowest = self
            .entries
            .last()
            .map_or(u64::MAX, |entry| entry.piece.start);
        // The highest start need not have the highest end only if pieces overlapped, which mappings never do.
        let highest = self.entries.first().map_or(0, |entry| entry.piece.end());
        LOWEST.store(lowest, Ordering::Relaxed);
        // Pairs with: the load in `are_none`: who sees that there are none sees the books without any.
        HIGHEST.store(highest, Ordering::Release);
    }
}

fn read(words: &[AtomicU32], slot: u32) -> Option<u32> {
    words
        .get(slot as usize)?
        .load(Ordering::Relaxed)
        .checked_sub(1)
}

fn write(words: &[AtomicU32], slot: u32, record: u32) {
    if let Some(word) = words.get(slot as usize) {
        word.store(record + 1, Ordering::Relaxed);
    }
}

impl Default for Attaches {
    fn default() -> Attaches {
        Attaches::new()
    }
}
