//! What follows from the primary data: counters, the bitmap of slots, the lists of records, the list of dying slots.
//!
//! Every change of primary data keeps it up, and `rebuild` can make all of it anew.

use super::layout::{
    self, FLAG_NORESERVE, MODE_MARKED, SlotState, cell, header, pages_of, record, slot,
};
use super::lock_word::Held;
use super::map::Table;
use super::slot::SlotImage;

/// Adds to a 32-bit counter at `offset`.
pub(crate) fn count(held: &Held<'_>, offset: u32, by: i32) {
    if by != 0 {
        let table = held.table();
        table.set32(offset, table.get32(offset).wrapping_add_signed(by));
    }
}

/// What a slot with this image counts for: in use, marked, in the making, taken; then pages of the first, of those in the
/// making, and promised.
#[inline]
pub(super) fn shares(image: &SlotImage) -> ([i32; 4], [i64; 3]) {
    let live = image.state == SlotState::Live as u32;
    let making = image.state == SlotState::Creating as u32;
    let taken = image.state != SlotState::Free as u32;
    let marked = live && image.mode & MODE_MARKED != 0;
    let promised = taken && image.flags & FLAG_NORESERVE == 0;
    let pages = pages_of(image.segsz) as i64;
    (
        [live, marked, making, taken].map(i32::from),
        [live, making, promised].map(|counts| i64::from(counts) * pages),
    )
}

/// Enters into the bitmap and the counters that a slot holds `after` and no longer `before`.
pub(super) fn count_change(held: &Held<'_>, before: &SlotImage, after: &SlotImage) {
    let table = held.table();
    let ((numbers, pages), (new_numbers, new_pages)) = (shares(before), shares(after));
    let counters = [
        header!(in_use),
        header!(marked),
        header!(making),
        header!(taken),
    ];
    for (offset, (old, new)) in counters
        .into_iter()
        .zip(numbers.into_iter().zip(new_numbers))
    {
        count(held, offset, new - old);
    }
    let counters = [
        header!(pages),
        header!(making_pages),
        header!(promised_pages),
    ];
    for (offset, (old, new)) in counters.into_iter().zip(pages.into_iter().zip(new_pages)) {
        if old != new {
            table.set64(offset, table.get64(offset).wrapping_add_signed(new - old));
        }
    }
    let free = SlotState::Free as u32;
    if (before.state == free) != (after.state == free) {
        let offset = layout::BITMAP + after.slot / 64 * 8;
        table.set64(offset, table.get64(offset) ^ 1 << (after.slot % 64));
    }
}

/// The lowest slot in `from..to` whose bit, flipped by those of `flip`, is set.
fn next_slot(table: &Table, from: u32, to: u32, flip: u64) -> Option<u32> {
    let mut index = from;
    while index < to {
        let word = (table.get64(layout::BITMAP + index / 64 * 8) ^ flip) >> (index % 64);
        if word != 0 {
            return Some(index + word.trailing_zeros()).filter(|&found| found < to);
        }
        index = (index / 64 + 1) * 64;
    }
    None
}

/// The lowest free slot in `from..to`.
pub fn next_free_slot(held: &Held<'_>, from: u32, to: u32) -> Option<u32> {
    next_slot(held.table(), from, to.min(layout::SLOTS), !0)
}

/// The taken slots, by rising index. Needs no lock; a hint without one.
pub fn taken_slots(table: &Table) -> impl Iterator<Item = u32> + '_ {
    let mut from = 0;
    core::iter::from_fn(move || {
        let found = next_slot(table, from, table.slots_ready(), 0)?;
        from = found + 1;
        Some(found)
    })
}

/// The highest slot that holds a live segment, if any. Needs no lock; a hint without one.
pub fn highest_live_slot(table: &Table) -> Option<u32> {
    let end = table.slots_ready();
    for word in (0..end.div_ceil(64)).rev() {
        let mut taken = table.get64(layout::BITMAP + word * 8);
        while taken != 0 {
            let bit = 63 - taken.leading_zeros();
            let index = word * 64 + bit;
            if index < end && table.get32(slot!(index, state)) == SlotState::Live as u32 {
                return Some(index);
            }
            taken &= !(1 << bit);
        }
    }
    None
}

/// A list of records, linked both ways: all of a segment, or all of a process.
struct List {
    /// Where the first record + 1 stands.
    head: u32,
    /// Where record 0 has the link to the next one of the list.
    next: u32,
    /// Where it has the link to the one before.
    prev: u32,
}

/// Where record `index` has what stands at `first` in record 0.
#[inline(always)]
fn link_of(index: u32, first: u32) -> u32 {
    first + (record!(index, id) - record!(0, id))
}

impl List {
    fn of_segment(slot: u32) -> List {
        List {
            head: slot!(slot, first_record),
            next: record!(0, next_of_segment),
            prev: record!(0, prev_of_segment),
        }
    }

    fn of_cell(cell: u32) -> List {
        List {
            head: cell!(cell, first_record),
            next: record!(0, next_of_cell),
            prev: record!(0, prev_of_cell),
        }
    }

    fn push(&self, table: &Table, index: u32) {
        let first = table.get32(self.head);
        table.set32(link_of(index, self.next), first);
        table.set32(link_of(index, self.prev), 0);
        if let Some(first) = in_range(first, table) {
            table.set32(link_of(first, self.prev), index + 1);
        }
        table.set32(self.head, index + 1);
    }

    fn remove(&self, table: &Table, index: u32) {
        let next = table.get32(link_of(index, self.next));
        let prev = table.get32(link_of(index, self.prev));
        let before = in_range(prev, table).map_or(self.head, |prev| link_of(prev, self.next));
        table.set32(before, next);
        if let Some(next) = in_range(next, table) {
            table.set32(link_of(next, self.prev), prev);
        }
    }

    /// Its records. No list has more than `most`; one that does leads back into itself.
    fn records(self, table: &Table, most: u32) -> Records<'_> {
        Records {
            table,
            link: table.get32(self.head),
            next: self.next,
            left: most,
        }
    }
}

/// Links record `index`, whose primary fields are set, into its segment's and its process's list.
pub(crate) fn link_record(held: &Held<'_>, index: u32, slot: u32, owner: u32) {
    List::of_segment(slot).push(held.table(), index);
    List::of_cell(owner).push(held.table(), index);
    note_sole_owner(held, slot);
}

/// Takes record `index` out of both lists and puts it on the free list. Its `cell` word is 0 already.
pub(crate) fn unlink_record(held: &Held<'_>, index: u32, slot: u32, owner: u32) {
    List::of_segment(slot).remove(held.table(), index);
    List::of_cell(owner).remove(held.table(), index);
    push_free_record(held, index);
    note_sole_owner(held, slot);
}

/// Takes record `index` out of the list of cell `from` and puts it into that of cell `to`.
pub(crate) fn move_record(held: &Held<'_>, index: u32, slot: u32, from: u32, to: u32) {
    List::of_cell(from).remove(held.table(), index);
    List::of_cell(to).push(held.table(), index);
    note_sole_owner(held, slot);
}

/// Puts an unused record on the free list.
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
    let only = in_range(table.get32(slot!(slot, first_record)), table)
        .filter(|&only| table.get32(record!(only, next_of_segment)) == 0);
    let sole = only.map_or(0, |only| table.get32(record!(only, cell)));
    table.set32(slot!(slot, sole_cell), sole);
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
    next: u32,
    left: u32,
}

impl Iterator for Records<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let index = in_range(self.link, self.table)?;
        self.left = self.left.checked_sub(1)?;
        self.link = self.table.get32(link_of(index, self.next));
        Some(index)
    }
}

/// The records of the process in `cell`, which is backed.
pub fn records_of_cell(table: &Table, cell: u32) -> Records<'_> {
    List::of_cell(cell).records(table, table.records_ready())
}

/// The records of the segment in `slot`, which is backed. Each process is in the list once.
pub fn records_of_segment(table: &Table, slot: u32) -> Records<'_> {
    List::of_segment(slot).records(table, layout::CELLS)
}

/// Puts a slot whose file awaits unlinking on the list of those.
pub(crate) fn push_dying(held: &Held<'_>, index: u32) {
    let table = held.table();
    table.set32(slot!(index, next_dying), table.get32(header!(dying_head)));
    table.set32(header!(dying_head), index + 1);
    count(held, header!(dying), 1);
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
            count(held, header!(dying), -1);
            return Some(index);
        }
        link = next;
    }
    None
}
