//! The list of what this process has attached, in memory of its own.
//!
//! The pieces are kept by falling address: the kernel hands out addresses downwards, so a new one mostly goes to
//! the end.

use crate::os::OsResult;
use crate::os::guard;
use crate::os::pages::PageVec;
use crate::os::process::page_size;
use crate::os::wipe_on_fork::Wiped;
use crate::sysv::{Piece, SLOTS};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The range that all attaches lie in; empty when there are none. A hint for a caller without the lock.
static LOWEST: AtomicU64 = AtomicU64::new(u64::MAX);
static HIGHEST: AtomicU64 = AtomicU64::new(0);

/// Whether `start..end` might touch an attach of this process. Costs two loads.
#[inline]
pub fn may_touch(start: u64, end: u64) -> bool {
    start < HIGHEST.load(Ordering::Relaxed) && end > LOWEST.load(Ordering::Relaxed)
}

/// Whether this process has nothing attached. Needs no lock: what another thread is detaching at this moment counts as attached or not.
pub fn are_none() -> bool {
    // Pairs with: the store in `note_range`.
    HIGHEST.load(Ordering::Acquire) == 0
}

const SLOT_COUNT: usize = SLOTS as usize;

/// Words that children find wiped, per slot: the record + 1 in the shared table that counts this process's attaches.
/// Behind those, four per slot for a child that is being prepared: see [`AttachList::plan`]. Pages of ordinary memory
/// would be copied at every fork.
pub const WIPED_WORDS: usize = SLOT_COUNT * (1 + NOTE_WORDS);
const NOTE_WORDS: usize = 4;
/// Set in a note's first word when it bears the plan's number, and not a count.
const NUMBERED: u32 = 1 << 31;

/// One piece and what is known of it beside its place.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it is and of what.
    pub piece: Piece,
    /// Children of a fork will not have it (MADV_DONTFORK).
    pub not_inherited: bool,
}

/// The attaches of this process.
pub struct AttachList {
    entries: PageVec<Entry>,
    wiped: Wiped,
    next_attach: u32,
    plan_number: u32,
    /// Where the kernel has put an attach last, and how long that was.
    chosen: (u64, u64),
}

impl AttachList {
    /// An empty list, with [`WIPED_WORDS`] words.
    pub const fn new(wiped: Wiped) -> AttachList {
        AttachList {
            entries: PageVec::new(),
            wiped,
            next_attach: 0,
            plan_number: 0,
            chosen: (0, 0),
        }
    }

    /// Gives room for the first pieces. The list is empty.
    pub fn use_room(&mut self, room: PageVec<Entry>) {
        self.entries = room;
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
        self.note_range();
    }

    /// Where the kernel has put an attach last, if that had this length; else 0. A program that attaches and detaches
    /// in turn finds that place free.
    pub fn last_choice(&self, len: u64) -> u64 {
        let (start, had) = self.chosen;
        if had == len { start } else { 0 }
    }

    /// The kernel has put an attach there. Never a place that the program chose: it may have plans for it.
    pub fn note_choice(&mut self, start: u64, len: u64) {
        self.chosen = (start, len);
    }

    /// Removes the piece at `index`.
    pub fn remove(&mut self, index: usize) {
        self.entries.remove(index);
        self.note_range();
    }

    /// Removes what this process, a child, has not inherited.
    pub fn drop_not_inherited(&mut self) {
        let mut at = 0;
        while let Some(entry) = self.entries.get(at) {
            if entry.not_inherited {
                self.remove(at)
            } else {
                at += 1
            }
        }
    }

    /// Takes the guards of attaches away that are over.
    #[inline]
    pub fn release_guards(&self) {
        if guard::is_on() {
            guard::release(|start, end| {
                let mut entries = self.entries.iter();
                !entries.any(|entry| entry.piece.overlaps(start, end))
            });
        }
    }

    /// How many pieces of segment `id` there are.
    pub fn pieces_of(&self, id: i32) -> u32 {
        let of_it = |entry: &&Entry| entry.piece.id.raw() == id;
        self.entries.iter().filter(of_it).count() as u32
    }

    /// The record in the shared table that counts this process's attaches of slot `slot`, as far as known.
    pub fn record_of(&self, slot: u32) -> Option<u32> {
        self.wiped
            .word(slot as usize)?
            .load(Ordering::Relaxed)
            .checked_sub(1)
    }

    /// Remembers that record.
    pub fn set_record(&mut self, slot: u32, record: u32) {
        if let Some(word) = self.wiped.word(slot as usize) {
            word.store(record + 1, Ordering::Relaxed);
        }
    }

    /// Begins to plan for a child: counts for each slot the pieces that it will inherit.
    pub fn plan(&mut self) {
        self.plan_number = self.plan_number.wrapping_add(1) & !NUMBERED;
        for entry in self.entries.iter() {
            self.note(entry.piece.id.slot(), 0, 0);
        }
        for entry in self.entries.iter().filter(|entry| !entry.not_inherited) {
            let slot = entry.piece.id.slot();
            let count = self.noted(slot, 0);
            self.note(slot, 0, count + 1);
        }
    }

    /// How many pieces of slot `slot` the child will inherit; 0 when that has been asked before.
    pub fn take_planned(&mut self, slot: u32) -> u32 {
        match self.noted(slot, 0) {
            count if count & NUMBERED == 0 => {
                self.note(slot, 0, 0);
                count
            }
            _ => 0,
        }
    }

    /// Remembers a segment's atime and lpid before the planned fork stamps them.
    pub fn note_stamp(&mut self, slot: u32, atime_secs: i64, lpid: i32) {
        self.note(slot, 1, lpid as u32);
        self.note(slot, 2, atime_secs as u32);
        self.note(slot, 3, (atime_secs >> 32) as u32);
        self.note(slot, 0, self.plan_number | NUMBERED);
    }

    /// What [`AttachList::note_stamp`] remembered for this plan.
    pub fn noted_stamp(&self, slot: u32) -> Option<(i64, i32)> {
        let low = i64::from(self.noted(slot, 2));
        let high = i64::from(self.noted(slot, 3)) << 32;
        (self.noted(slot, 0) == self.plan_number | NUMBERED)
            .then(|| (high | low, self.noted(slot, 1) as i32))
    }

    fn note_word(&self, slot: u32, which: usize) -> Option<&AtomicU32> {
        self.wiped
            .word(SLOT_COUNT + slot as usize * NOTE_WORDS + which)
    }

    fn noted(&self, slot: u32, which: usize) -> u32 {
        self.note_word(slot, which)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn note(&self, slot: u32, which: usize, value: u32) {
        if let Some(word) = self.note_word(slot, which) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn note_range(&self) {
        let lowest = self
            .entries
            .last()
            .map_or(u64::MAX, |entry| entry.piece.start);
        // The highest start need not have the highest end only if pieces overlapped, which mappings never do.
        let highest = self.entries.first().map_or(0, |entry| entry.piece.end());
        // What happens to a guard concerns us, too.
        let beside = match guard::is_on() && highest != 0 {
            true => page_size() as u64,
            false => 0,
        };
        let (lowest, highest) = (lowest - beside, highest + beside);
        LOWEST.store(lowest, Ordering::Relaxed);
        // Pairs with: the load in `are_none`: a thread that sees that there are none sees an empty list.
        HIGHEST.store(highest, Ordering::Release);
    }
}
