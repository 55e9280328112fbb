//! What follows from the primary data: counters, the bitmap of slots, the lists of records, the list of dying slots.
//!
//! Every change of primary data keeps it up, and `rebuild` can make all of it anew.

use super::layout::{self, SlotState, cell, header, record, slot};
use super::lock_word::Held;
use super::map::{Table, word};
use crate::os::atomic::Ordering;

/// A field of a slot's or record's words: `get!(words, Slot, first_record)`.
macro_rules! get {
    ($words:expr, $kind:ident, $field:ident) => {
        word!($words, $kind, $field).load(Ordering::Acquire)
    };
}

/// Stores a field: `put!(words, Slot, first_record, value)`.
macro_rules! put {
    ($words:expr, $kind:ident, $field:ident, $value:expr) => {
        word!($words, $kind, $field).store($value, Ordering::Release)
    };
}

fn add32(table: &Table, offset: u32, by: i32) {
    table.set32(offset, table.get32(offset).wrapping_add_signed(by));
}

/// Adds to a 32-bit counter at `offset`.
pub(crate) fn count(held: &Held<'_>, offset: u32, by: i32) {
    add32(held.table(), offset, by);
}

/// Adds to a 64-bit counter at `offset`.
pub(crate) fn count64(held: &Held<'_>, offset: u32, by: i64) {
    let table = held.table();
    table.set64(offset, table.get64(offset).wrapping_add_signed(by));
}

/// Marks slot `index` as taken or free in the bitmap.
pub(crate) fn set_taken(held: &Held<'_>, index: u32, taken: bool) {
    let offset = layout::BITMAP + index / 64 * 8;
    let bit = 1u64 << (index % 64);
    let word = held.table().get64(offset);
    if (word & bit != 0) != taken {
        count(held, header!(taken), if taken { 1 } else { -1 });
    }
    held.table()
        .set64(offset, if taken { word | bit } else { word & !bit });
}

/// Counts segments of so many pages that are being made: one more, or one fewer.
pub(crate) fn count_making(held: &Held<'_>, by: i32, pages: u64) {
    count(held, header!(making), by);
    count64(held, header!(making_pages), i64::from(by) * pages as i64);
}

/// The lowest free slot in `from..to`.
pub fn next_free_slot(held: &Held<'_>, from: u32, to: u32) -> Option<u32> {
    let to = to.min(layout::SLOTS);
    let mut index = from;
    while index < to {
        let free = !held.table().get64(layout::BITMAP + index / 64 * 8) >> (index % 64);
        if free != 0 {
            let found = index + free.trailing_zeros();
            return (found < to).then_some(found);
        }
        index = (index / 64 + 1) * 64;
    }
    None
}

/// The lowest taken slot at or behind `from`, if any. Needs no lock; a hint without one.
pub fn next_taken_slot(table: &Table, from: u32) -> Option<u32> {
    let end = table.slots_ready();
    let mut index = from;
    while index < end {
        let taken = table.get64(layout::BITMAP + index / 64 * 8) >> (index % 64);
        if taken != 0 {
            let found = index + taken.trailing_zeros();
            return (found < end).then_some(found);
        }
        index = (index / 64 + 1) * 64;
    }
    None
}

/// The highest slot that holds a live segment, if any. Needs no lock; a hint without one.
pub fn highest_live_slot(table: &Table) -> Option<u32> {
    let mut end = table.slots_ready();
    while end > 0 {
        let base = (end - 1) / 64 * 64;
        let below = end - base;
        let mask = if below == 64 { !0 } else { (1u64 << below) - 1 };
        let taken = table.get64(layout::BITMAP + base / 8) & mask;
        if taken == 0 {
            end = base;
            continue;
        }
        let index = base + 63 - taken.leading_zeros();
        if table.get32(slot!(index, state)) == SlotState::Live as u32 {
            return Some(index);
        }
        end = index;
    }
    None
}

/// Links record `index`, whose primary fields are set, into its segment's and its process's list.
pub(crate) fn link_record(held: &Held<'_>, index: u32, slot: u32, owner: u32) {
    let table = held.table();
    let (this, of) = (table.record(index), table.slot(slot));
    let first = get!(of, Slot, first_record);
    put!(this, Record, next_of_segment, first);
    put!(this, Record, prev_of_segment, 0);
    if let Some(next) = in_range(first, table) {
        put!(table.record(next), Record, prev_of_segment, index + 1);
    }
    put!(of, Slot, first_record, index + 1);

    join_cell(table, index, owner);
    note_sole_owner(held, slot);
}

/// Takes record `index` out of both lists and puts it on the free list. Its `cell` word is 0 already.
pub(crate) fn unlink_record(held: &Held<'_>, index: u32, slot: u32, owner: u32) {
    let table = held.table();
    let this = table.record(index);
    let next = get!(this, Record, next_of_segment);
    let prev = get!(this, Record, prev_of_segment);
    match in_range(prev, table) {
        Some(prev) => put!(table.record(prev), Record, next_of_segment, next),
        None => put!(table.slot(slot), Slot, first_record, next),
    }
    if let Some(next) = in_range(next, table) {
        put!(table.record(next), Record, prev_of_segment, prev);
    }

    leave_cell(table, index, owner);
    push_free_record(held, index);
    note_sole_owner(held, slot);
}

/// Takes record `index` out of the list of cell `from` and puts it into that of cell `to`.
pub(crate) fn move_record(held: &Held<'_>, index: u32, slot: u32, from: u32, to: u32) {
    let table = held.table();
    leave_cell(table, index, from);
    join_cell(table, index, to);
    note_sole_owner(held, slot);
}

fn join_cell(table: &Table, index: u32, owner: u32) {
    let this = table.record(index);
    let first = table.get32(cell!(owner, first_record));
    put!(this, Record, next_of_cell, first);
    put!(this, Record, prev_of_cell, 0);
    if let Some(next) = in_range(first, table) {
        put!(table.record(next), Record, prev_of_cell, index + 1);
    }
    table.set32(cell!(owner, first_record), index + 1);
}

fn leave_cell(table: &Table, index: u32, owner: u32) {
    let this = table.record(index);
    let next = get!(this, Record, next_of_cell);
    let prev = get!(this, Record, prev_of_cell);
    match in_range(prev, table) {
        Some(prev) => put!(table.record(prev), Record, next_of_cell, next),
        None => table.set32(cell!(owner, first_record), next),
    }
    if let Some(next) = in_range(next, table) {
        put!(table.record(next), Record, prev_of_cell, prev);
    }
}

/// Puts a record that nobody uses on the free list.
pub(crate) fn push_free_record(held: &Held<'_>, index: u32) {
    let table = held.table();
    table.set32(
        record!(index, next_of_segment),
        table.get32(header!(free_record)),
    );
    table.set32(header!(free_record), index + 1);
}

/// Takes a record from the free list.
pub(crate) fn pop_free_record(held: &Held<'_>) -> Option<u32> {
    let table = held.table();
    let index = in_range(table.get32(header!(free_record)), table)?;
    table.set32(
        header!(free_record),
        table.get32(record!(index, next_of_segment)),
    );
    Some(index)
}

/// Writes down whether all attaches of a segment belong to one process.
fn note_sole_owner(held: &Held<'_>, slot: u32) {
    let table = held.table();
    let of = table.slot(slot);
    let sole = match in_range(get!(of, Slot, first_record), table) {
        Some(only) if get!(table.record(only), Record, next_of_segment) == 0 => {
            get!(table.record(only), Record, cell)
        }
        _ => 0,
    };
    put!(of, Slot, sole_cell, sole);
}

/// A link (index + 1) as an index, if it is one.
pub(crate) fn in_range(link: u32, table: &Table) -> Option<u32> {
    link.checked_sub(1)
        .filter(|&index| index < table.records_ready())
}

/// The records of one list, each read before it is handed out: the caller may take it off the list.
pub struct Records<'t> {
    table: &'t Table,
    link: u32,
    /// Where a record has the link to the next one of the list.
    next: fn(u32) -> u32,
    /// No list has more; one that does leads back into itself.
    left: u32,
}

impl Iterator for Records<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let index = in_range(self.link, self.table)?;
        self.left = self.left.checked_sub(1)?;
        self.link = self.table.get32((self.next)(index));
        Some(index)
    }
}

/// The records of the process in `cell`, which is backed.
pub fn records_of_cell(table: &Table, cell: u32) -> Records<'_> {
    Records {
        table,
        link: table.get32(cell!(cell, first_record)),
        next: |index| record!(index, next_of_cell),
        left: table.records_ready(),
    }
}

/// The records of the segment in `slot`, which is backed.
pub fn records_of_segment(table: &Table, slot: u32) -> Records<'_> {
    Records {
        table,
        link: table.get32(slot!(slot, first_record)),
        next: |index| record!(index, next_of_segment),
        // Each process is in the list once.
        left: layout::CELLS,
    }
}

/// Puts a slot whose file awaits unlinking on the list of those.
pub(crate) fn push_dying(held: &Held<'_>, index: u32) {
    let table = held.table();
    table.set32(slot!(index, next_dying), table.get32(header!(dying_head)));
    table.set32(header!(dying_head), index + 1);
    add32(table, header!(dying), 1);
}

/// Takes the first slot from that list that is `wanted`.
pub(crate) fn take_dying(held: &Held<'_>, wanted: impl Fn(u32) -> bool) -> Option<u32> {
    let table = held.table();
    let mut link = header!(dying_head);
    for _ in 0..layout::SLOTS {
        let index = table
            .get32(link)
            .checked_sub(1)
            .filter(|&index| index < table.slots_ready())?;
        let next = slot!(index, next_dying);
        if wanted(index) {
            table.set32(link, table.get32(next));
            add32(table, header!(dying), -1);
            return Some(index);
        }
        link = next;
    }
    None
}
