//! The only repair there is.
//!
//! [`recover`] runs when the table's lock has been taken over from a dead process, before anything else. It
//! carries out a journal that was left armed, and rebuilds everything derived from the primary data: the bitmap,
//! the counters, the key index, the lists, and the versions that readers look at. What the dead process had
//! attached is not its business: that is reaped as any other dead process's is, for the primary data says all of it.

use super::derived;
use super::grow;
use super::journal::finish_journal;
use super::key_index;
use super::layout::{self, CellState, SlotState, cell, header, record, slot};
use super::lock_word::Held;
use super::seqlock::{SeqLock, change_index};
use super::slot::SlotImage;

/// Brings the table in order after its lock's owner died. Doing it twice does no harm, so a death in here is
/// followed by another run.
pub fn recover(held: &Held<'_>) {
    finish_journal(held);
    rebuild(held);
}

/// Rebuilds all derived data from the primary: after a death, and where derived data is found to be damaged. Readers
/// without a lock find everything busy meanwhile, and so they do when the rebuilding process dies.
pub fn rebuild(held: &Held<'_>) {
    let table = held.table();
    grow::back_all(held);
    let slots = 0..table.slots_ready();
    for index in slots.clone() {
        SeqLock::of_slot(table.slot(index)).begin_repair(held);
    }
    change_index(held, || rebuild_all(held));
    for index in slots {
        SeqLock::of_slot(table.slot(index)).end_repair(held);
    }
}

fn rebuild_all(held: &Held<'_>) {
    let table = held.table();
    for word in 0..layout::SLOTS / 64 {
        table.set64(layout::BITMAP + word * 8, 0);
    }
    for counter in [
        header!(in_use),
        header!(taken),
        header!(making),
        header!(marked),
        header!(dying),
        header!(dying_head),
        header!(free_record),
    ] {
        table.set32(counter, 0);
    }
    table.set64(header!(pages), 0);
    table.set64(header!(promised_pages), 0);
    table.set64(header!(making_pages), 0);
    table.set64(header!(budget_pages), 0);
    table.set64(header!(budget_at), 0);
    for index in 0..table.cells_ready() {
        table.set32(cell!(index, first_record), 0);
    }
    for index in 0..table.slots_ready() {
        rebuild_slot(held, index);
    }
    for index in (0..table.records_ready()).rev() {
        rebuild_record(held, index);
    }
    // A table made anew from many files begins with a small index. Where a larger one is not to be had, some keys will
    // not be found by readers.
    let words = key_index::back(held, 0);
    key_index::fill(held, words.unwrap_or_else(|_| key_index::words(table)));
}

fn rebuild_slot(held: &Held<'_>, index: u32) {
    let table = held.table();
    table.set32(slot!(index, nattch), 0);
    table.set32(slot!(index, first_record), 0);
    table.set32(slot!(index, sole_cell), 0);
    table.set32(slot!(index, next_dying), 0);
    let image = table.image(index);
    let free = SlotImage {
        state: SlotState::Free as u32,
        ..image
    };
    derived::count_change(held, &free, &image);
    if image.state == SlotState::Dying as u32 {
        // A process may be at work on it: then its cell names it, and it is not for others to unlink.
        let claimed = (0..table.cells_ready()).any(|at| {
            table.get32(cell!(at, work)) == index + 1
                && table.get32(cell!(at, state)) != CellState::Free as u32
        });
        if !claimed {
            table.set32(slot!(index, flags), image.flags & !layout::FLAG_STUCK);
            derived::push_dying(held, index);
        }
    }
}

fn rebuild_record(held: &Held<'_>, index: u32) {
    let table = held.table();
    let owner = table.get32(record!(index, cell)).checked_sub(1);
    let id = table.get32(record!(index, id));
    let count = table.get32(record!(index, count));
    let slot = id % layout::SLOTS;
    let good = owner.is_some_and(|owner| {
        owner < table.cells_ready() && table.get32(cell!(owner, state)) != CellState::Free as u32
    }) && count > 0
        && slot < table.slots_ready()
        && table.get32(slot!(slot, state)) == SlotState::Live as u32
        && table.get32(slot!(slot, id)) == id;
    match owner {
        Some(owner) if good => {
            derived::link_record(held, index, slot, owner);
            derived::count(held, slot!(slot, nattch), count as i32);
        }
        _ => {
            table.set32(record!(index, cell), 0);
            derived::push_free_record(held, index);
        }
    }
}
