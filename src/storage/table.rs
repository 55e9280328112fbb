//! The mapped table: words, consistent reads, and changes that are done whole or not at all.
//!
//! Readers take no lock. Each slot has a version that is odd while the slot is being changed; a reader that finds
//! the same even version before and after has read a state that really was.
//!
//! Writers hold the in-table lock (`lock.rs`) and change primary data through the [`Journal`]: the stores are
//! written down first, then one store arms the journal, then they are carried out, then it is disarmed. A writer
//! that is killed before arming has done nothing; after arming, whoever takes the lock over carries the stores out
//! (again). Derived data is written outside the journal, and rebuilt after such a death (`recover.rs`).

use super::layout::{self, Header, JournalEntry, SlotState, header, slot};
use super::lock::Held;
use crate::os::map::SharedMap;
use core::sync::atomic::{Ordering, fence};

/// The table, as mapped into this process.
pub struct Table {
    map: SharedMap,
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
    pub fn is_live(&self) -> bool {
        self.state == SlotState::Live as u32
            && self.id as u32 % layout::SLOTS == self.slot
            && (self.key == self.name_key || self.key == 0)
    }
}

impl Table {
    /// Takes a mapping of a table file.
    pub fn new(map: SharedMap) -> Table {
        Table { map }
    }

    /// Gives the mapping back.
    pub(super) fn into_map(self) -> SharedMap {
        self.map
    }

    /// Loads a 32-bit word.
    #[inline]
    pub fn get32(&self, offset: u32) -> u32 {
        self.map.word32(offset).load(Ordering::Acquire)
    }

    /// Loads a 64-bit word.
    #[inline]
    pub fn get64(&self, offset: u32) -> u64 {
        self.map.word64(offset).load(Ordering::Acquire)
    }

    /// Stores a 32-bit word.
    #[inline]
    pub fn set32(&self, offset: u32, value: u32) {
        self.map.word32(offset).store(value, Ordering::Release);
    }

    /// Stores a 64-bit word.
    #[inline]
    pub fn set64(&self, offset: u32, value: u64) {
        self.map.word64(offset).store(value, Ordering::Release);
    }

    /// The word itself, for the lock.
    pub(super) fn word32(&self, offset: u32) -> &core::sync::atomic::AtomicU32 {
        self.map.word32(offset)
    }

    /// Slots that are backed by pages; never more than there can be, whatever the table says.
    #[inline]
    pub fn slots_ready(&self) -> u32 {
        self.get32(header!(slots_ready)).min(layout::SLOTS)
    }

    /// Cells that are backed by pages.
    #[inline]
    pub fn cells_ready(&self) -> u32 {
        self.get32(header!(cells_ready)).min(layout::CELLS)
    }

    /// Records that are backed by pages.
    #[inline]
    pub fn records_ready(&self) -> u32 {
        self.get32(header!(records_ready)).min(layout::RECORDS)
    }

    /// Reads slot `index` without a lock. `None`: it is being changed all the time, or by a process that is
    /// stopped or dead: take the lock.
    pub fn snapshot(&self, index: u32) -> Option<SlotImage> {
        if index >= self.slots_ready() {
            return Some(SlotImage::EMPTY);
        }
        for _ in 0..100 {
            // Pairs with: the two version stores in `change_slot`.
            let before = self.get32(slot!(index, version));
            if before & 1 == 0 {
                let image = self.image(index);
                fence(Ordering::Acquire);
                if self.get32(slot!(index, version)) == before {
                    return Some(image);
                }
            }
            core::hint::spin_loop();
        }
        None
    }

    /// Reads slot `index` as it stands; with the lock held that is a consistent state.
    pub fn image(&self, index: u32) -> SlotImage {
        if index >= self.slots_ready() {
            return SlotImage::EMPTY;
        }
        SlotImage {
            slot: index,
            state: self.get32(slot!(index, state)),
            id: self.get32(slot!(index, id)) as i32,
            key: self.get32(slot!(index, key)) as i32,
            name_key: self.get32(slot!(index, name_key)) as i32,
            uid: self.get32(slot!(index, uid)),
            gid: self.get32(slot!(index, gid)),
            cuid: self.get32(slot!(index, cuid)),
            cgid: self.get32(slot!(index, cgid)),
            mode: self.get32(slot!(index, mode)),
            segsz: self.get64(slot!(index, segsz)),
            atime: self.get64(slot!(index, atime)) as i64,
            dtime: self.get64(slot!(index, dtime)) as i64,
            ctime: self.get64(slot!(index, ctime)) as i64,
            cpid: self.get32(slot!(index, cpid)) as i32,
            lpid: self.get32(slot!(index, lpid)) as i32,
            flags: self.get32(slot!(index, flags)),
            creator_cell: self.get32(slot!(index, creator_cell)),
            creator_gen: self.get32(slot!(index, creator_gen)),
            locker: self.get32(slot!(index, locker)),
            nattch: self.get32(slot!(index, nattch)),
            sole_cell: self.get32(slot!(index, sole_cell)),
        }
    }
}

impl SlotImage {
    const EMPTY: SlotImage = SlotImage {
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
}

/// Stores that belong together.
pub struct Journal<'h> {
    table: &'h Table,
    len: u32,
}

impl<'h> Journal<'h> {
    /// Begins a change. One at a time: the lock is held.
    pub fn begin(held: &'h Held<'_>) -> Journal<'h> {
        Journal {
            table: held.table(),
            len: 0,
        }
    }

    fn put(&mut self, offset: u32, width: u32, value: u64) {
        debug_assert!(self.len < layout::JOURNAL_ENTRIES);
        if self.len < layout::JOURNAL_ENTRIES {
            let entry = entry_offset(self.len);
            self.table.set32(entry, offset);
            self.table.set32(
                entry + core::mem::offset_of!(JournalEntry, width) as u32,
                width,
            );
            self.table.set64(
                entry + core::mem::offset_of!(JournalEntry, value) as u32,
                value,
            );
            self.len += 1;
        }
    }

    /// Adds a 32-bit store.
    pub fn put32(&mut self, offset: u32, value: u32) {
        self.put(offset, 4, u64::from(value));
    }

    /// Adds a 64-bit store.
    pub fn put64(&mut self, offset: u32, value: u64) {
        self.put(offset, 8, value);
    }

    /// Carries the stores out, all or none.
    pub fn commit(self) {
        self.table.set32(header!(journal_len), self.len);
        // Crash here: nothing has happened, `recover` finds the journal disarmed.
        self.table.set32(header!(journal_armed), 1);
        // Crash here: `recover` finds the journal armed and carries it out from the first entry.
        carry_out(self.table);
        self.table.set32(header!(journal_armed), 0);
        // Crash here: the primary data is as it should be; `recover` rebuilds what is derived from it.
    }
}

fn entry_offset(index: u32) -> u32 {
    core::mem::offset_of!(Header, journal) as u32 + index * size_of::<JournalEntry>() as u32
}

fn carry_out(table: &Table) {
    let len = table
        .get32(header!(journal_len))
        .min(layout::JOURNAL_ENTRIES);
    for index in 0..len {
        let entry = entry_offset(index);
        let offset = table.get32(entry);
        let value = table.get64(entry + core::mem::offset_of!(JournalEntry, value) as u32);
        match table.get32(entry + core::mem::offset_of!(JournalEntry, width) as u32) {
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
        carry_out(table);
    }
    table.set32(header!(journal_armed), 0);
}

/// Runs `change` while readers know that slot `index` is being changed.
pub fn change_slot<R>(held: &Held<'_>, index: u32, change: impl FnOnce() -> R) -> R {
    let table = held.table();
    let before = table.get32(slot!(index, version)) & !1;
    // Pairs with: the loads of `version` in `snapshot`. The fence keeps the odd version in front of the change.
    table.set32(slot!(index, version), before | 1);
    fence(Ordering::SeqCst);
    let answer = change();
    table.set32(slot!(index, version), before.wrapping_add(2));
    answer
}
