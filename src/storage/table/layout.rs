//! Where every byte of the shared table lies.
//!
//! Fixed-width integers only, at offsets that do not depend on the program's word size; little or big endian as
//! the machine is. The structures below are never instantiated: they are the drawing from which the offsets are
//! taken, and the asserts at the end pin them. Change anything here and [`VERSION`] changes too: a table of
//! another version is refused.
//!
//! ```text
//!   0        header: identity, lock, counters, limits, journal
//!   4 KiB    which slots are taken, one bit each                 derived
//!   8 KiB    key index: open addressing, slot + 1                derived
//!   264 KiB  cells: one per live process                         primary
//!   1.3 MiB  slots: one per segment                              primary
//!   5.3 MiB  records: one per (process, segment) attached        primary
//!   21.3 MiB events: a ring of what happened last                nothing depends on it
//!   21.5 MiB the last page: missing when the file was cut
//! ```
//!
//! The file is sparse. A part is written only after `fallocate` has made sure of its pages and the header's
//! `*_ready` counter says so; nothing behind that mark is ever touched, because a full file system would answer
//! with SIGBUS.

use crate::os::atomic::real_or_model;
use core::mem::offset_of;

/// Offset of a header field.
macro_rules! header {
    ($field:ident) => {
        core::mem::offset_of!($crate::storage::table::layout::Header, $field) as u32
    };
}
pub(crate) use header;

/// Identifies the file as ours.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SHMSHIM\n");
/// The version of this layout.
pub const VERSION: u32 = 4;

/// Segments that can exist at once; the range of a shmid's slot part.
pub const SLOTS: u32 = real_or_model(32768, 64);
/// Processes that can be registered at once.
pub const CELLS: u32 = real_or_model(16384, 16);
/// (process, segment) pairs that can exist at once.
pub const RECORDS: u32 = real_or_model(524_288, 16);
/// Events that are kept. The model has none: nothing depends on them.
pub const EVENTS: u32 = real_or_model(4096, 0);
/// Words of the key index at its largest: twice the number of slots.
pub const INDEX_WORDS: u32 = real_or_model(65536, 8);
/// Words of the key index at first.
pub const INDEX_WORDS_AT_FIRST: u32 = real_or_model(1024, 4);
/// Slots that are backed by pages in a fresh table.
pub const SLOTS_AT_FIRST: u32 = real_or_model(64, 3);
/// Cells that are.
pub const CELLS_AT_FIRST: u32 = real_or_model(64, 4);
/// Records that are.
pub const RECORDS_AT_FIRST: u32 = real_or_model(128, 5);
/// Events that are.
pub const EVENTS_AT_FIRST: u32 = real_or_model(64, 0);
/// Stores that the journal can hold.
pub const JOURNAL_ENTRIES: u32 = 32;

/// The first page.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`], written last when a table is made.
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// [`SIGNATURE`]: a hash of all sizes and offsets.
    pub signature: u32,
    /// Page size in bytes of the machine that made the table.
    pub page_bytes: u32,
    _pad0: [u32; 11],

    /// The in-table lock: see `lock_word.rs`.
    pub lock: u32,
    _pad1: [u32; 15],

    /// Sequence count of the key index: odd while it is being changed.
    pub index_version: u32,
    /// Words of the key index in use, a power of two.
    pub index_words: u32,
    _pad2: [u32; 14],

    /// Primary. Where the next id is looked for (the kernel's `idr_next`).
    pub cursor_next: u32,
    /// Primary. The index handed out last, -1 at first.
    pub cursor_last: i32,
    /// Primary. The sequence number of the next id.
    pub cursor_seq: u32,
    /// Primary. How many slots, cells and records are backed by pages.
    pub slots_ready: u32,
    /// See `slots_ready`.
    pub cells_ready: u32,
    /// See `slots_ready`.
    pub records_ready: u32,
    /// Derived. Live segments, those marked for destruction included.
    pub in_use: u32,
    /// Derived. Live segments that are marked for destruction.
    pub marked: u32,
    /// Derived. Pages of all live segments (`shm_tot`).
    pub pages: u64,
    /// Derived. Pages promised to segments, those that await unlinking included, without SHM_NORESERVE ones.
    pub promised_pages: u64,
    /// Derived. First slot + 1 of those whose file awaits unlinking.
    pub dying_head: u32,
    /// Derived. How many those are.
    pub dying: u32,
    /// Derived. First free record + 1.
    pub free_record: u32,
    /// Where the next search for dead processes begins; a hint.
    pub cell_hand: u32,

    /// Primary. Limits of the namespace.
    pub shmmax: u64,
    /// Limit in pages.
    pub shmall: u64,
    /// Limit of segments.
    pub shmmni: u32,
    /// 0 or 1.
    pub rmid_forced: u32,
    /// Pages that may still be promised before the file system is asked again; a cache.
    pub budget_pages: u64,
    /// When it was asked, in nanoseconds of the coarse monotonic clock.
    pub budget_at: u64,
    /// Derived. Slots that are not free: the segments, those being made, and those whose file awaits unlinking.
    pub taken: u32,
    /// Derived. Slots whose file is being made: they count for the limit of segments.
    pub making: u32,
    /// Derived. Pages of those: they count for the limit of pages.
    pub making_pages: u64,
    /// How many events have been noted: the next one's number.
    pub events: u64,
    /// See `slots_ready`.
    pub events_ready: u32,
    _pad3: [u32; 25],

    /// 1 when the journal's entries are to be carried out.
    pub journal_armed: u32,
    /// How many entries there are.
    pub journal_len: u32,
    /// The stores.
    pub journal: [JournalEntry; JOURNAL_ENTRIES as usize],
}

/// One store that a change consists of.
#[repr(C)]
pub struct JournalEntry {
    /// Byte offset in the table.
    pub offset: u32,
    /// 4 or 8 bytes.
    pub width: u32,
    /// What is stored.
    pub value: u64,
}

/// One segment.
#[repr(C)]
pub struct Slot {
    /// Sequence count: odd while the slot is being changed.
    pub version: u32,
    /// A [`SlotState`].
    pub state: u32,
    /// The whole shmid.
    pub id: i32,
    /// The key, 0 once removed.
    pub key: i32,
    /// The key that the file is named after.
    pub name_key: i32,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator.
    pub cuid: u32,
    /// Creator's group.
    pub cgid: u32,
    /// Permission bits, SHM_DEST, SHM_LOCKED.
    pub mode: u32,
    /// Size in bytes as asked for.
    pub segsz: u64,
    /// Seconds since 1970.
    pub atime: i64,
    /// Seconds since 1970.
    pub dtime: i64,
    /// Seconds since 1970.
    pub ctime: i64,
    /// Process that created it.
    pub cpid: i32,
    /// Process that attached or detached last.
    pub lpid: i32,
    /// [`FLAG_NORESERVE`] and the like.
    pub flags: u32,
    /// Cell + 1 of the creator's process.
    pub creator_cell: u32,
    /// Generation of that cell then.
    pub creator_gen: u32,
    /// User whose locked memory it counts as, while SHM_LOCKED.
    pub locker: u32,
    /// Derived. Number of attaches.
    pub nattch: u32,
    /// Derived. First record + 1 of this segment.
    pub first_record: u32,
    /// Derived. Cell + 1 when all attaches belong to one process.
    pub sole_cell: u32,
    /// Derived. Next slot + 1 in the list of those awaiting unlinking.
    pub next_dying: u32,
    _pad: [u32; 4],
}

/// One process.
#[repr(C)]
pub struct Cell {
    /// A [`CellState`].
    pub state: u32,
    /// Grows by one with each process that takes the cell.
    pub generation: u32,
    /// Its process id.
    pub pid: i32,
    /// The slot + 1 whose file it is making or unlinking at this moment, else 0.
    pub work: u32,
    /// Derived. First record + 1 of this process.
    pub first_record: u32,
    /// How far the handing over of a prepared cell has come (`process/fork_cell.rs`); means nothing in any other.
    pub handover: u32,
    /// Its effective uid when it took the cell.
    pub uid: u32,
    /// The name of its program, as far as it goes.
    pub program: [u32; NAME_WORDS],
    _pad: [u32; 5],
}

/// Words of a program's name.
pub const NAME_WORDS: usize = 4;

/// What one process has attached of one segment.
#[repr(C)]
pub struct Record {
    /// Cell + 1 of the process; 0: the record is free.
    pub cell: u32,
    /// The segment's id.
    pub id: i32,
    /// How many attaches (VMAs).
    pub count: u32,
    /// Derived. Neighbours + 1 in the segment's list; for a free record, the next free one.
    pub next_of_segment: u32,
    /// See `next_of_segment`.
    pub prev_of_segment: u32,
    /// Derived. Neighbours + 1 in the process's list.
    pub next_of_cell: u32,
    /// See `next_of_cell`.
    pub prev_of_cell: u32,
    /// 1 when the process has said at its exit that it goes: the segment bears the stamp of it already.
    pub ended: u32,
}

/// One event: see `events.rs`.
#[repr(C)]
pub struct Event {
    /// Its number + 1, written last; anything else while it is being written.
    pub seal: u64,
    /// Nanoseconds since 1970.
    pub at_nanos: u64,
    /// A size, a count, a limit, an owner: as `what` says.
    pub value: u64,
    /// What happened.
    pub what: u32,
    /// The segment, if it is about one.
    pub id: i32,
    /// Its key.
    pub key: i32,
    /// The process.
    pub pid: i32,
    /// Its effective uid.
    pub uid: u32,
    /// Another process, or a mode.
    pub other: u32,
    /// The name of its program.
    pub program: [u32; NAME_WORDS],
}

/// Life of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum SlotState {
    /// Nothing there.
    Free = 0,
    /// Reserved; its file is being made.
    Creating = 1,
    /// A segment.
    Live = 2,
    /// No segment any more; its file awaits unlinking.
    Dying = 3,
}

/// Life of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum CellState {
    /// Nobody's.
    Free = 0,
    /// A process's, as long as `live/N` is locked.
    Live = 1,
    /// Prepared by a parent for a child that has not yet taken it over.
    Forking = 2,
}

/// The bit of a mode word that says a segment goes with its last attach (SHM_DEST).
pub const MODE_MARKED: u32 = 0o1000;

/// SHM_NORESERVE: no memory was promised.
pub const FLAG_NORESERVE: u32 = 1;
/// The file could not be unlinked by the process that tried; its owner must.
pub const FLAG_STUCK: u32 = 2;
/// The file is page-rounded, because the file system drops what stands behind a file's end.
pub const FLAG_ROUNDED: u32 = 4;
/// The file is gone already, though the segment lives on in mappings.
pub const FLAG_UNLINKED: u32 = 8;
/// The file's rights are not yet those that the table has for it.
pub const FLAG_RIGHTS: u32 = 16;
/// Bits 8..14: log2 of the huge page size, 0 for ordinary pages.
pub const FLAG_HUGE_SHIFT: u32 = 8;

const PAGE: u32 = 4096;
/// Offset of the slot bitmap.
pub const BITMAP: u32 = PAGE;
/// Offset of the key index.
pub const INDEX: u32 = BITMAP + SLOTS / 8;
/// Offset of the cells.
pub const CELL_AREA: u32 = INDEX + INDEX_WORDS * 4;
/// Offset of the slots.
pub const SLOT_AREA: u32 = CELL_AREA + CELLS * size_of::<Cell>() as u32;
/// Offset of the records.
pub const RECORD_AREA: u32 = SLOT_AREA + SLOTS * size_of::<Slot>() as u32;
/// Offset of the events.
pub const EVENT_AREA: u32 = RECORD_AREA + RECORDS * size_of::<Record>() as u32;
/// Offset of the last page. Its first 64 bits are ones, the set of all signals: each call that changes something has the
/// kernel read it from here ([`crate::storage::Namespace::block`]).
pub const LAST_PAGE: u32 = EVENT_AREA + EVENTS * size_of::<Event>() as u32;
/// Length of the file in bytes.
pub const FILE_BYTES: u32 = LAST_PAGE + PAGE;

/// The unit in which memory is counted.
#[inline(always)]
pub fn page_bytes() -> u64 {
    crate::os::process::page_size() as u64
}

/// Pages that `bytes` take.
pub fn pages_of(bytes: u64) -> u64 {
    bytes / page_bytes() + u64::from(bytes % page_bytes() != 0)
}

/// `bytes`, rounded up to whole pages; 0 when that does not fit in 64 bits.
pub fn page_rounded(bytes: u64) -> u64 {
    pages_of(bytes).checked_mul(page_bytes()).unwrap_or(0)
}

/// Offset of a field of slot `index`.
macro_rules! slot {
    ($index:expr, $field:ident) => {
        $crate::storage::table::layout::SLOT_AREA
            + ($index) * (size_of::<$crate::storage::table::layout::Slot>() as u32)
            + core::mem::offset_of!($crate::storage::table::layout::Slot, $field) as u32
    };
}
pub(crate) use slot;

/// Offset of a field of cell `index`.
macro_rules! cell {
    ($index:expr, $field:ident) => {
        $crate::storage::table::layout::CELL_AREA
            + ($index) * (size_of::<$crate::storage::table::layout::Cell>() as u32)
            + core::mem::offset_of!($crate::storage::table::layout::Cell, $field) as u32
    };
}
pub(crate) use cell;

/// Offset of a field of record `index`.
macro_rules! record {
    ($index:expr, $field:ident) => {
        $crate::storage::table::layout::RECORD_AREA
            + ($index) * (size_of::<$crate::storage::table::layout::Record>() as u32)
            + core::mem::offset_of!($crate::storage::table::layout::Record, $field) as u32
    };
}
pub(crate) use record;

/// Offset of a field of event `index`.
macro_rules! event {
    ($index:expr, $field:ident) => {
        $crate::storage::table::layout::EVENT_AREA
            + ($index) * (size_of::<$crate::storage::table::layout::Event>() as u32)
            + core::mem::offset_of!($crate::storage::table::layout::Event, $field) as u32
    };
}
pub(crate) use event;

/// A hash of everything that two programs must agree on to share a table.
pub const SIGNATURE: u32 = {
    let facts = [
        VERSION,
        SLOTS,
        CELLS,
        RECORDS,
        EVENTS,
        INDEX_WORDS,
        JOURNAL_ENTRIES,
        size_of::<Header>() as u32,
        size_of::<Slot>() as u32,
        size_of::<Cell>() as u32,
        size_of::<Record>() as u32,
        size_of::<Event>() as u32,
        BITMAP,
        INDEX,
        CELL_AREA,
        SLOT_AREA,
        RECORD_AREA,
        EVENT_AREA,
        LAST_PAGE,
        offset_of!(Header, journal) as u32,
        offset_of!(Header, taken) as u32,
        offset_of!(Header, making_pages) as u32,
        offset_of!(Record, ended) as u32,
        offset_of!(Slot, next_dying) as u32,
        offset_of!(Cell, first_record) as u32,
        offset_of!(Cell, handover) as u32,
        offset_of!(Cell, program) as u32,
        offset_of!(Event, program) as u32,
        offset_of!(Record, prev_of_cell) as u32,
        // Tells a big-endian table from a little-endian one.
        u32::from_ne_bytes([1, 2, 3, 4]),
    ];
    let mut hash: u32 = 0x811c_9dc5;
    let mut rest: &[u32] = &facts;
    while let [fact, behind @ ..] = rest {
        hash = (hash ^ *fact).wrapping_mul(0x0100_0193);
        rest = behind;
    }
    hash
};

const _: () = {
    assert!(offset_of!(Header, lock) == 64);
    assert!(offset_of!(Header, index_version) == 128);
    assert!(offset_of!(Header, cursor_next) == 192);
    assert!(offset_of!(Header, pages) == 224);
    assert!(offset_of!(Header, dying_head) == 240);
    assert!(offset_of!(Header, shmmax) == 256);
    assert!(offset_of!(Header, budget_pages) == 280);
    assert!(offset_of!(Header, events) == 312);
    assert!(offset_of!(Header, journal_armed) == 424);
    assert!(size_of::<Header>() <= PAGE as usize);
    assert!(offset_of!(Slot, segsz) == 40);
    assert!(offset_of!(Slot, ctime) == 64);
    assert!(offset_of!(Slot, flags) == 80);
    assert!(offset_of!(Slot, nattch) == 96);
    assert!(size_of::<Cell>() == 64 && size_of::<Event>() == 64);
    // All that is hashed. The model's table is smaller.
    assert!(cfg!(any(shmshim_model, target_endian = "big")) || SIGNATURE == 0x0b82_e8ee);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_never_overflow() {
        assert_eq!(pages_of(0), 0);
        assert_eq!(pages_of(1), 1);
        assert_eq!(pages_of(4097), 2);
        assert_eq!(pages_of(u64::MAX), 1 << 52);
        assert_eq!(page_rounded(u64::MAX), 0);
        assert_eq!(page_rounded(5000), 8192);
    }
}
