//! The words of the table, mapped into this process.

use super::layout::{self, Event, Slot, event, slot};
use super::parts::{self, Part};
use crate::os::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::os::map::{Block, SharedMap};

/// A table file, mapped.
pub type TableMap = SharedMap<{ layout::FILE_BYTES as usize }>;

/// The table, as mapped into this process.
pub struct Table {
    map: TableMap,
}

impl Table {
    /// Takes a mapping of a table file.
    pub fn new(map: TableMap) -> Table {
        Table { map }
    }

    /// Gives the mapping back.
    pub fn into_map(self) -> TableMap {
        self.map
    }

    /// All of its words, for reading several: where they are is looked up once.
    #[inline(always)]
    pub(crate) fn words(&self) -> TableWords<'_> {
        self.map.whole()
    }

    /// Loads a 32-bit word.
    #[inline]
    pub fn get32(&self, offset: u32) -> u32 {
        self.words().word32_at(offset).load(Ordering::Acquire)
    }

    /// Loads a 64-bit word.
    #[inline]
    pub fn get64(&self, offset: u32) -> u64 {
        self.words().word64_at(offset).load(Ordering::Acquire)
    }

    /// Stores a 32-bit word.
    #[inline]
    pub fn set32(&self, offset: u32, value: u32) {
        self.words()
            .word32_at(offset)
            .store(value, Ordering::Release);
    }

    /// Stores a 64-bit word.
    #[inline]
    pub fn set64(&self, offset: u32, value: u64) {
        self.words()
            .word64_at(offset)
            .store(value, Ordering::Release);
    }

    /// The word itself, for the kernel to read.
    pub(crate) fn word64(&self, offset: u32) -> &AtomicU64 {
        self.words().word64_at(offset)
    }

    /// The word itself, for the lock.
    pub(crate) fn word32(&self, offset: u32) -> &AtomicU32 {
        self.words().word32_at(offset)
    }

    /// Entries of a part that are backed by pages; never more than there can be nor fewer than at first, whatever the table
    /// says.
    #[inline]
    pub fn ready(&self, part: &Part) -> u32 {
        self.get32(part.ready).clamp(part.at_first, part.most)
    }

    /// Slots that are.
    #[inline]
    pub fn slots_ready(&self) -> u32 {
        self.ready(&parts::SLOT_PART)
    }

    /// Cells that are.
    #[inline]
    pub fn cells_ready(&self) -> u32 {
        self.ready(&parts::CELL_PART)
    }

    /// Records that are.
    #[inline]
    pub fn records_ready(&self) -> u32 {
        self.ready(&parts::RECORD_PART)
    }

    /// The fields of slot `index`, whose place is looked up once.
    #[inline(always)]
    pub(crate) fn slot(&self, index: u32) -> SlotWords<'_> {
        self.words().block_at(slot!(index, version))
    }

    /// The fields of event `index`.
    pub(crate) fn event(&self, index: u32) -> EventWords<'_> {
        self.words().block_at(event!(index, seal))
    }
}

/// The words of a table.
pub(crate) type TableWords<'t> = Block<'t, { layout::FILE_BYTES as usize }>;

/// The words of one slot.
pub(crate) type SlotWords<'t> = Block<'t, { size_of::<Slot>() }>;

/// The words of one event.
pub(crate) type EventWords<'t> = Block<'t, { size_of::<Event>() }>;

/// The atomic word of a field: `word!(words, Slot, id)`; `word!(words, Slot, segsz, 64)` for one of 64 bits.
macro_rules! word {
    ($words:expr, $kind:ident, $field:ident) => {
        $words.word32::<{ core::mem::offset_of!($crate::storage::table::layout::$kind, $field) }>()
    };
    ($words:expr, $kind:ident, $field:ident, 64) => {
        $words.word64::<{ core::mem::offset_of!($crate::storage::table::layout::$kind, $field) }>()
    };
}
pub(crate) use word;
