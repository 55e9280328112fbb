//! The redo journal: stores to primary data that are done whole or not at all.
//!
//! The stores are written down first, then one store arms the journal, then they are carried out, then it is disarmed. A
//! writer that is killed before arming has done nothing; after arming, the next owner of the lock carries the stores out
//! (again). Derived data is written outside the journal, and rebuilt after such a death.

use super::layout::{self, Header, JournalEntry, header};
use super::lock_word::Held;
use super::map::{Table, word};
use crate::os::atomic::Ordering;
use crate::os::map::Block;

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

    /// Adds a 32-bit store, unless that is there already.
    #[inline]
    pub fn put32_if_new(&mut self, offset: u32, value: u32) {
        if self.table.get32(offset) != value {
            self.put32(offset, value);
        }
    }

    /// Adds a 64-bit store, unless that is there already.
    #[inline]
    pub fn put64_if_new(&mut self, offset: u32, value: u64) {
        if self.table.get64(offset) != value {
            self.put64(offset, value);
        }
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
pub(crate) fn finish_journal(held: &Held<'_>) {
    let table = held.table();
    if table.get32(header!(journal_armed)) == 1 {
        carry_out(table, table.get32(header!(journal_len)));
    }
    table.set32(header!(journal_armed), 0);
}
