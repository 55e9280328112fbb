//! Reaping: what a dead process had is dropped from the table.

use crate::os::process;
use crate::storage::table::attach_record;
use crate::storage::table::derived;
use crate::storage::table::events::{self, About, What};
use crate::storage::table::layout::{CellState, SlotState, cell, record, slot};
use crate::storage::table::slot_life::{self, Last};
use crate::storage::table::{Held, Journal, SlotImage};

/// Drops all that the dead process of `cell` had: its attaches, its unfinished work, the cell itself. Segments
/// that are gone thereby go on the list of dying ones; [`Namespace::sweep`](crate::storage::Namespace::sweep) unlinks their
/// files once the lock is released. The caller has probed that the process is dead.
pub fn reap(held: &Held<'_>, cell: u32) {
    let table = held.table();
    let state = table.get32(cell!(cell, state));
    let pid = table.get32(cell!(cell, pid)) as i32;
    // A child that never ran was not there: its attaches are undone rather than ended.
    let ran = state != CellState::Forking as u32;
    let dead = events::process_in(table, cell);
    let mut attaches = 0;
    for record in derived::records_of_cell(table, cell) {
        let count = table.get32(record!(record, count));
        attaches += u64::from(count);
        let ran = ran && table.get32(record!(record, ended)) == 0;
        let stamp = ran.then_some((pid, process::now_secs()));
        attach_record::detach(held, record, count, stamp, Last::List);
    }
    if ran && attaches != 0 {
        let reaper = events::process_in(table, held.me().cell());
        let about = About {
            what: What::FoundDead,
            id: 0,
            key: 0,
            value: attaches,
            other: reaper.pid as u32,
        };
        events::note_of(held, &about, &dead);
    }
    list_unfinished(held, cell);
    let mut journal = Journal::begin(held);
    journal.put32(cell!(cell, work), 0);
    journal.put32(cell!(cell, state), CellState::Free as u32);
    journal.commit();
}

/// Puts what the process of `cell` was making or unlinking, and does so no longer, on the list of dying segments.
pub fn list_unfinished(held: &Held<'_>, cell: u32) {
    let table = held.table();
    let work = table.get32(cell!(cell, work)).checked_sub(1);
    if let Some(slot) = work.filter(|&slot| slot < table.slots_ready()) {
        let state = table.get32(slot!(slot, state));
        if state == SlotState::Creating as u32 || state == SlotState::Dying as u32 {
            // Its file may or may not be there; unlinking finds out.
            let end = |image: &mut SlotImage| image.state = SlotState::Dying as u32;
            let put = |journal: &mut Journal<'_>| journal.put32(cell!(cell, work), 0);
            slot_life::step(held, slot, end, put, || derived::push_dying(held, slot));
        }
    }
}
