//! The mapped table: words, consistent reads, and changes that are done whole or not at all.
//!
//! Readers take no lock. Each slot has a version that is odd while the slot is being changed; a reader that finds
//! the same even version before and after has read a state that really was.
//!
//! Writers hold the in-table lock (`lock.rs`) and change primary data through the [`Journal`]: the stores are
//! written down first, then one store arms the journal, then they are carried out, then it is disarmed. A writer
//! that is killed before arming has done nothing; after arming, whoever takes the lock over carries the stores out
//! (again). Derived data is written outside the journal, and rebuilt after such a death (`recover.rs`).

use super::layout::{self, Header, JournalEntry, Record, Slot, SlotState, header, record, slot};
use super::lock::Held;

use crate::os::atomic::{AtomicU32, AtomicU64, Ordering, fence, real_or_model, spin_loop};
use crate::os::map::{Block, SharedMap};

/// How often a reader without the lock tries.
pub(super) const READ_TRIES: u32 = real_or_model(100, 2);

/// A table file, mapped.
pub type TableMap = SharedMap<{ layout::FILE_BYTES as usize }>;

/// The table, as mapped into this process.
pub struct Table {
    map: TableMap,
}

/// What a slot holds: values that were all there at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of layout::Slot")]
pub struct SlotImage {
    pub slot: u32,
    pub state: u32,
    pub id: i32,
    pub key: i32,
    pub name_key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    pub mode: u32,
    pub segsz: u64,
    pub atime: i64,
    pub dtime: i64,
    pub ctime: i64,
    pub cpid: i32,
    pub lpid: i32,
    pub flags: u32,
    pub creator_cell: u32,
    pub creator_gen: u32,
    pub locker: u32,
    pub nattch: u32,
    pub sole_cell: u32,
}

impl SlotImage {
    /// Whether it is a segment. A slot that bears another's id, or another key than its file is named after, was
    /// damaged, and could lead to somebody else's data.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state == SlotState::Live as u32
            && self.id as u32 % layout::SLOTS == self.slot
            && (self.key == self.name_key || self.key == 0)
    }
}

impl Table {
    /// Takes a mapping of a table file.
    pub fn new(map: TableMap) -> Table {
        Table { map }
    }

    /// Gives the mapping back.
    pub(super) fn into_map(self) -> TableMap {
        self.map
    }

    /// All of its words, for whoever looks at several: where they are is read once.
    #[inline(always)]
    pub(super) fn words(&self) -> TableWords<'_> {
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
    pub(super) fn word64(&self, offset: u32) -> &AtomicU64 {
        self.words().word64_at(offset)
    }

    /// The word itself, for the lock.
    pub(super) fn word32(&self, offset: u32) -> &AtomicU32 {
        self.words().word32_at(offset)
    }

    /// Slots that are backed by pages; never more than there can be nor fewer than at first, whatever the table says.
    #[inline]
    pub fn slots_ready(&self) -> u32 {
        self.get32(header!(slots_ready))
            .clamp(layout::SLOTS_AT_FIRST, layout::SLOTS)
    }

    /// Cells that are backed by pages.
    #[inline]
    pub fn cells_ready(&self) -> u32 {
        self.get32(header!(cells_ready))
            .clamp(layout::CELLS_AT_FIRST, layout::CELLS)
    }

    /// Records that are backed by pages.
    #[inline]
    pub fn records_ready(&self) -> u32 {
        self.get32(header!(records_ready))
            .clamp(layout::RECORDS_AT_FIRST, layout::RECORDS)
    }

    /// The fields of slot `index`, whose place is looked at once.
    #[inline(always)]
    pub(super) fn slot(&self, index: u32) -> SlotWords<'_> {
        self.words().block_at(slot!(index, version))
    }

    /// The fields of record `index`, likewise.
    #[inline(always)]
    pub(super) fn record(&self, index: u32) -> RecordWords<'_> {
        self.words().block_at(record!(index, cell))
    }

    /// Reads slot `index` without a lock into `image`. `false`: it is being changed all the time, or by a process that is
    /// stopped or dead: take the lock.
    #[inline]
    pub fn snapshot_into(&self, index: u32, image: &mut SlotImage) -> bool {
        if index >= self.slots_ready() {
            *image = SlotImage::EMPTY;
            return true;
        }
        let words = self.slot(index);
        for _ in 0..READ_TRIES {
            // Pairs with: the two version stores in `change_slot`.
            let before = word!(words, Slot, version).load(Ordering::Acquire);
            if before & 1 == 0 {
                image.fill(index, words);
                fence(Ordering::Acquire);
                if word!(words, Slot, version).load(Ordering::Relaxed) == before {
                    return true;
                }
            }
            spin_loop();
        }
        false
    }

    /// Reads slot `index` without a lock, at one look. `None`: it is being changed, or not backed.
    #[inline(always)]
    pub fn glance(&self, index: u32) -> Option<SlotImage> {
        let table = self.words();
        let ready = word!(table, Header, slots_ready).load(Ordering::Acquire);
        if index >= layout::SLOTS || index >= ready {
            return None;
        }
        let words: SlotWords<'_> = table.block_at(slot!(index, version));
        // Pairs with: the two version stores in `change_slot`.
        let before = word!(words, Slot, version).load(Ordering::Acquire);
        if before & 1 != 0 {
            return None;
        }
        let mut image = SlotImage::EMPTY;
        image.fill(index, words);
        fence(Ordering::Acquire);
        (word!(words, Slot, version).load(Ordering::Relaxed) == before).then_some(image)
    }

    /// Reads slot `index` without a lock. `None` as for [`Table::snapshot_into`].
    pub fn snapshot(&self, index: u32) -> Option<SlotImage> {
        let mut image = SlotImage::EMPTY;
        self.snapshot_into(index, &mut image).then_some(image)
    }

    /// How often slot `index` has changed. Needs no lock; odd while it is being changed.
    #[inline]
    pub fn version_of(&self, index: u32) -> u32 {
        word!(self.slot(index), Slot, version).load(Ordering::Relaxed)
    }

    /// Whether nobody has ever attached the segment in slot `index`, so that its file holds nothing yet. Needs no lock: an
    /// attach sets `lpid` before it is counted. A segment that was found again by its file has no `cpid`; of that nothing
    /// is known.
    #[inline]
    pub fn is_untouched(&self, index: u32) -> bool {
        let words = self.slot(index);
        word!(words, Slot, lpid).load(Ordering::Relaxed) == 0
            && word!(words, Slot, cpid).load(Ordering::Relaxed) != 0
    }

    /// Whether slot `index`, which is backed, holds the live segment `id` as it stands: [`SlotImage::is_live`] without the
    /// rest of the image.
    #[inline]
    pub fn is_live_as(&self, index: u32, id: i32) -> bool {
        let words = self.slot(index);
        let key = word!(words, Slot, key).load(Ordering::Relaxed);
        word!(words, Slot, state).load(Ordering::Relaxed) == SlotState::Live as u32
            && word!(words, Slot, id).load(Ordering::Relaxed) as i32 == id
            && id as u32 % layout::SLOTS == index
            && (key == 0 || key == word!(words, Slot, name_key).load(Ordering::Relaxed))
    }

    /// Reads slot `index` as it stands into `image`; with the lock held that is a consistent state.
    #[inline]
    pub fn image_into(&self, index: u32, image: &mut SlotImage) {
        if index < self.slots_ready() {
            image.fill(index, self.slot(index));
        } else {
            *image = SlotImage::EMPTY;
        }
    }

    /// Reads slot `index` as it stands; with the lock held that is a consistent state.
    pub fn image(&self, index: u32) -> SlotImage {
        let mut image = SlotImage::EMPTY;
        self.image_into(index, &mut image);
        image
    }
}

/// The words of a table.
pub(super) type TableWords<'t> = Block<'t, { layout::FILE_BYTES as usize }>;

/// The words of one slot.
pub(super) type SlotWords<'t> = Block<'t, { size_of::<Slot>() }>;

/// The words of one record.
pub(super) type RecordWords<'t> = Block<'t, { size_of::<Record>() }>;

/// The atomic word of a field: `word!(words, Slot, id)`; `word!(words, Slot, segsz, 64)` for one of 64 bits.
macro_rules! word {
    ($words:expr, $kind:ident, $field:ident) => {
        $words.word32::<{ core::mem::offset_of!($crate::storage::layout::$kind, $field) }>()
    };
    ($words:expr, $kind:ident, $field:ident, 64) => {
        $words.word64::<{ core::mem::offset_of!($crate::storage::layout::$kind, $field) }>()
    };
}
pub(super) use word;

impl SlotImage {
    /// What no slot holds.
    pub const EMPTY: SlotImage = SlotImage {
        slot: 0,
        state: 0,
        id: -1,
        key: 0,
        name_key: 0,
        uid: 0,
        gid: 0,
        cuid: 0,
        cgid: 0,
        mode: 0,
        segsz: 0,
        atime: 0,
        dtime: 0,
        ctime: 0,
        cpid: 0,
        lpid: 0,
        flags: 0,
        creator_cell: 0,
        creator_gen: 0,
        locker: 0,
        nattch: 0,
        sole_cell: 0,
    };

    /// Copies every field. Whoever has no lock looks at the version before and after.
    #[inline(always)]
    fn fill(&mut self, index: u32, words: SlotWords<'_>) {
        macro_rules! get {
            ($field:ident) => {
                word!(words, Slot, $field).load(Ordering::Relaxed)
            };
            ($field:ident, 64) => {
                word!(words, Slot, $field, 64).load(Ordering::Relaxed)
            };
        }
        self.slot = index;
        self.state = get!(state);
        self.id = get!(id) as i32;
        self.key = get!(key) as i32;
        self.name_key = get!(name_key) as i32;
        self.uid = get!(uid);
        self.gid = get!(gid);
        self.cuid = get!(cuid);
        self.cgid = get!(cgid);
        self.mode = get!(mode);
        self.segsz = get!(segsz, 64);
        self.atime = get!(atime, 64) as i64;
        self.dtime = get!(dtime, 64) as i64;
        self.ctime = get!(ctime, 64) as i64;
        self.cpid = get!(cpid) as i32;
        self.lpid = get!(lpid) as i32;
        self.flags = get!(flags);
        self.creator_cell = get!(creator_cell);
        self.creator_gen = get!(creator_gen);
        self.locker = get!(locker);
        self.nattch = get!(nattch);
        self.sole_cell = get!(sole_cell);
    }
}

/// Stores that belong together.
pub struct Journal<'h> {
    table: &'h Table,
    len: u32,
}

type EntryWords<'t> = Block<'t, { size_of::<JournalEntry>() }>;

impl<'h> Journal<'h> {
    /// Begins a change. One at a time: the lock is held.
    #[inline]
    pub fn begin(held: &'h Held<'_>) -> Journal<'h> {
        Journal {
            table: held.table(),
            len: 0,
        }
    }

    #[inline]
    fn put(&mut self, offset: u32, width: u32, value: u64) {
        debug_assert!(self.len < layout::JOURNAL_ENTRIES);
        if self.len < layout::JOURNAL_ENTRIES {
            let entry = entry(self.table, self.len);
            word!(entry, JournalEntry, offset).store(offset, Ordering::Relaxed);
            word!(entry, JournalEntry, width).store(width, Ordering::Relaxed);
            word!(entry, JournalEntry, value, 64).store(value, Ordering::Relaxed);
            self.len += 1;
        }
    }

    /// Adds a 32-bit store.
    #[inline]
    pub fn put32(&mut self, offset: u32, value: u32) {
        self.put(offset, 4, u64::from(value));
    }

    /// Adds a 64-bit store.
    #[inline]
    pub fn put64(&mut self, offset: u32, value: u64) {
        self.put(offset, 8, value);
    }

    /// Carries the stores out, all or none.
    #[inline]
    pub fn commit(self) {
        self.table.set32(header!(journal_len), self.len);
        // Crash here: nothing has happened, `recover` finds the journal disarmed.
        self.table.set32(header!(journal_armed), 1);
        // Crash here: `recover` finds the journal armed and carries it out from the first entry.
        carry_out(self.table, self.len);
        self.table.set32(header!(journal_armed), 0);
        // Crash here: the primary data is as it should be; `recover` rebuilds what is derived from it.
    }
}

#[inline(always)]
fn entry(table: &Table, index: u32) -> EntryWords<'_> {
    let journal = core::mem::offset_of!(Header, journal) as u32;
    table
        .words()
        .block_at(journal + index * size_of::<JournalEntry>() as u32)
}

fn carry_out(table: &Table, len: u32) {
    for index in 0..len.min(layout::JOURNAL_ENTRIES) {
        let entry = entry(table, index);
        let offset = word!(entry, JournalEntry, offset).load(Ordering::Relaxed);
        let value = word!(entry, JournalEntry, value, 64).load(Ordering::Relaxed);
        match word!(entry, JournalEntry, width).load(Ordering::Relaxed) {
            4 if offset < layout::FILE_BYTES - 3 && offset % 4 == 0 => {
                table.set32(offset, value as u32);
            }
            8 if offset < layout::FILE_BYTES - 7 && offset % 8 == 0 => {
                table.set64(offset, value);
            }
            _ => {}
        }
    }
}

/// Carries out a journal that a dead writer left armed. The lock is held.
pub(super) fn finish_journal(held: &Held<'_>) {
    let table = held.table();
    if table.get32(header!(journal_armed)) == 1 {
        carry_out(table, table.get32(header!(journal_len)));
    }
    table.set32(header!(journal_armed), 0);
}

/// Runs `change` while readers know that slot `index` is being changed.
#[inline]
pub fn change_slot<R>(held: &Held<'_>, index: u32, change: impl FnOnce() -> R) -> R {
    let version = word!(held.table().slot(index), Slot, version);
    let before = version.load(Ordering::Relaxed) & !1;
    // Pairs with: the loads of `version` in `snapshot_into`, `glance` and `index::find_at_once`. The fence keeps the odd version in front of the change.
    version.store(before | 1, Ordering::Relaxed);
    fence(Ordering::Release);
    let answer = change();
    version.store(before.wrapping_add(2), Ordering::Release);
    answer
}
