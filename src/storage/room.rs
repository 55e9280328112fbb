//! Room in the table: a part of it is written only once the file system has made sure of its pages.

use super::books;
use super::index;
use super::layout::{self, Cell, Record, Slot, cell, header, record, slot};
use super::lock::Held;
use super::namespace::Namespace;
use super::obstacle::Stored;
use super::recover;
use super::slots;

/// Bytes that so many cells take.
pub(super) const fn cells_bytes(count: u32) -> u32 {
    count * size_of::<Cell>() as u32
}

/// Bytes that so many slots take.
pub(super) const fn slots_bytes(count: u32) -> u32 {
    count * size_of::<Slot>() as u32
}

/// Bytes that so many records take.
pub(super) const fn records_bytes(count: u32) -> u32 {
    count * size_of::<Record>() as u32
}

impl Namespace {
    /// Makes sure that slot `index` is backed.
    pub fn ensure_slot(&self, held: &Held<'_>, index: u32) -> Stored<()> {
        let ready = self.table().slots_ready();
        if index < ready {
            return Ok(());
        }
        let wanted = (index + 1)
            .max(ready + ready.min(512))
            .next_multiple_of(64)
            .min(layout::SLOTS);
        self.back(slot!(ready, version), slots_bytes(wanted - ready), 0)?;
        held.table().set32(header!(slots_ready), wanted);
        Ok(())
    }

    /// Makes sure that cell `index` is backed.
    pub(super) fn ensure_cell(&self, held: &Held<'_>, index: u32) -> Stored<()> {
        let ready = self.table().cells_ready();
        if index < ready {
            return Ok(());
        }
        let wanted = (index + 1)
            .max(ready + ready.min(512))
            .next_multiple_of(64)
            .min(layout::CELLS);
        self.back(cell!(ready, state), cells_bytes(wanted - ready), 0)?;
        held.table().set32(header!(cells_ready), wanted);
        Ok(())
    }

    /// Before a repair, which touches all of the table that is said to be backed: makes it true where a damaged count says
    /// more than there is. Nothing happens where it is true already; what cannot be had now may be had by the next one.
    pub(super) fn back_all(&self) {
        let table = self.table();
        for (area, len_bytes) in [
            (layout::CELL_AREA, cells_bytes(table.cells_ready())),
            (layout::SLOT_AREA, slots_bytes(table.slots_ready())),
            (layout::RECORD_AREA, records_bytes(table.records_ready())),
        ] {
            let _ = self.back(area, len_bytes, len_bytes);
        }
    }

    /// Backs the key index for so many words.
    pub(super) fn back_index(&self, words: u32) -> Stored<()> {
        self.back(layout::INDEX, words * 4, index::words(self.table()) * 4)
    }

    /// Takes a free record, backing more of them if need be.
    pub(super) fn take_record(&self, held: &Held<'_>) -> Stored<u32> {
        if let Some(free) = books::pop_free_record(held) {
            if self.table().get32(record!(free, cell)) == 0 {
                return Ok(free);
            }
            // The list has been damaged: what it leads to is in use.
            recover::rebuild(held);
            if let Some(free) = books::pop_free_record(held) {
                return Ok(free);
            }
        }
        let ready = self.table().records_ready();
        let more = ready.clamp(128, 2048).min(layout::RECORDS - ready);
        if more == 0 {
            return Err(slots::no_record());
        }
        self.back(record!(ready, cell), records_bytes(more), 0)?;
        held.table().set32(header!(records_ready), ready + more);
        for index in (ready..ready + more).rev() {
            books::push_free_record(held, index);
        }
        books::pop_free_record(held).ok_or(slots::no_record())
    }

    /// Makes the key index large enough for one more key.
    pub fn ensure_index(&self, held: &Held<'_>) -> Stored<()> {
        if index::is_crowded(held) {
            self.back_index(index::bytes_when_grown(held) / 4)?;
            index::grow(held);
        }
        Ok(())
    }
}
