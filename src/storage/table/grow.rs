//! Growing the table: a part of it is written only once the file system has made sure of its pages.

use super::layout::{self, Cell, Record, Slot, cell, header, record, slot};
use super::lock_word::Held;
use crate::storage::error::Stored;

/// Bytes that so many cells take.
pub const fn cells_bytes(count: u32) -> u32 {
    count * size_of::<Cell>() as u32
}

/// Bytes that so many slots take.
pub const fn slots_bytes(count: u32) -> u32 {
    count * size_of::<Slot>() as u32
}

/// Bytes that so many records take.
pub const fn records_bytes(count: u32) -> u32 {
    count * size_of::<Record>() as u32
}

/// Makes sure that slot `index` is backed.
pub fn ensure_slot(held: &Held<'_>, index: u32) -> Stored<()> {
    let ready = held.table().slots_ready();
    let wanted = wanted(index, ready, layout::SLOTS);
    let len_bytes = slots_bytes(wanted - ready);
    extend(
        held,
        header!(slots_ready),
        wanted,
        slot!(ready, version),
        len_bytes,
    )
}

/// Makes sure that cell `index` is backed.
pub fn ensure_cell(held: &Held<'_>, index: u32) -> Stored<()> {
    let ready = held.table().cells_ready();
    let wanted = wanted(index, ready, layout::CELLS);
    let len_bytes = cells_bytes(wanted - ready);
    extend(
        held,
        header!(cells_ready),
        wanted,
        cell!(ready, state),
        len_bytes,
    )
}

/// Backs more records, if there can be more.
pub(super) fn add_records(held: &Held<'_>) -> Stored<()> {
    let ready = held.table().records_ready();
    let more = ready.clamp(128, 2048).min(layout::RECORDS - ready);
    let at = record!(ready, cell);
    extend(
        held,
        header!(records_ready),
        ready + more,
        at,
        records_bytes(more),
    )
}

/// How many are to be backed so that `index` is, where `ready` are already and there can be `most`.
fn wanted(index: u32, ready: u32, most: u32) -> u32 {
    if index < ready {
        return ready;
    }
    (index + 1)
        .max(ready + ready.min(512))
        .next_multiple_of(64)
        .min(most)
}

/// Backs `len_bytes` at `at`, if any, and says in the header how many are backed then.
fn extend(held: &Held<'_>, ready: u32, wanted: u32, at: u32, len_bytes: u32) -> Stored<()> {
    if len_bytes > 0 {
        held.around().back(at, len_bytes, 0)?;
        held.table().set32(ready, wanted);
    }
    Ok(())
}

/// Before a repair, which touches all of the table that is said to be backed: makes it true where a damaged count says
/// more than there is. Nothing happens where it is true already; what cannot be had now may be had by the next process.
pub(super) fn back_all(held: &Held<'_>) {
    let table = held.table();
    for (area, len_bytes) in [
        (layout::CELL_AREA, cells_bytes(table.cells_ready())),
        (layout::SLOT_AREA, slots_bytes(table.slots_ready())),
        (layout::RECORD_AREA, records_bytes(table.records_ready())),
    ] {
        let _ = held.around().back(area, len_bytes, len_bytes);
    }
}
