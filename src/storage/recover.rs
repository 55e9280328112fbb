//! The only repair there is.
//!
//! [`recover`] runs when the table's lock has been taken over from a dead process, before anything else. It
//! carries out a journal that was left armed, and rebuilds everything derived from the primary data: the bitmap,
//! the counters, the key index, the lists, and the versions that readers look at. What the dead process had
//! attached is not its business; that is reaped like any other dead process's (`live.rs`), for the primary data
//! says all of it.
//!
//! [`adopt`] runs when a runtime directory has segment files and no table, because somebody removed the table: it
//! makes a slot for each file whose name, owner and mode can be those of a segment.

use super::books;
use super::files;
use super::index;
use super::layout::{self, CellState, FLAG_NORESERVE, SlotState, cell, header, record, slot};
use super::lock::Held;
use super::namespace::Namespace;
use super::obstacle::{Obstacle, Stored};
use super::table::{self, Journal};
use crate::os::file::{self, Fd};
use crate::os::path::Path;
use crate::os::{OsError, dir, process};

/// Brings the table in order after its lock's owner died. Doing it twice does no harm, so a death in here is
/// followed by another run.
pub fn recover(held: &Held<'_>) {
    table::finish_journal(held);
    rebuild(held);
}

/// Rebuilds all derived data from the primary: after a death, and where derived data is found to be damaged. Readers
/// without a lock find everything busy meanwhile, and so they do when the rebuilding process dies.
pub fn rebuild(held: &Held<'_>) {
    let table = held.table();
    held.namespace().back_all();
    let slots = table.slots_ready();
    for index in 0..slots {
        table.set32(
            slot!(index, version),
            table.get32(slot!(index, version)) | 1,
        );
    }
    index::changing(held, || rebuild_all(held));
    for index in 0..slots {
        let version = table.get32(slot!(index, version)) | 1;
        table.set32(slot!(index, version), version.wrapping_add(1));
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
    let mut words = index::words_wanted(held);
    if words > index::words(table) && held.namespace().back_index(words).is_err() {
        words = index::words(table);
    }
    index::rebuild(held, words);
}

fn rebuild_slot(held: &Held<'_>, index: u32) {
    let table = held.table();
    table.set32(slot!(index, nattch), 0);
    table.set32(slot!(index, first_record), 0);
    table.set32(slot!(index, sole_cell), 0);
    table.set32(slot!(index, next_dying), 0);
    let state = table.get32(slot!(index, state));
    if state == SlotState::Free as u32 {
        return;
    }
    books::set_taken(held, index, true);
    let flags = table.get32(slot!(index, flags));
    let pages = files::pages_of(table.get64(slot!(index, segsz)));
    if flags & FLAG_NORESERVE == 0 {
        books::count64(held, header!(promised_pages), pages as i64);
    }
    if state == SlotState::Live as u32 {
        books::count(held, header!(in_use), 1);
        books::count64(held, header!(pages), pages as i64);
        if table.get32(slot!(index, mode)) & layout::MODE_MARKED != 0 {
            books::count(held, header!(marked), 1);
        }
    } else if state == SlotState::Creating as u32 {
        books::count_making(held, 1, pages);
    } else if state == SlotState::Dying as u32 {
        // Somebody may be at work on it: then its cell names it, and it is not for others to sweep.
        let claimed = (0..table.cells_ready()).any(|at| {
            table.get32(cell!(at, work)) == index + 1
                && table.get32(cell!(at, state)) != CellState::Free as u32
        });
        if !claimed {
            table.set32(slot!(index, flags), flags & !layout::FLAG_STUCK);
            books::push_dying(held, index);
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
            books::link_record(held, index, slot, owner);
            books::count(held, slot!(slot, nattch), count as i32);
        }
        _ => {
            table.set32(record!(index, cell), 0);
            books::push_free_record(held, index);
        }
    }
}

/// Makes a slot for each segment file of a directory that has lost its table. The lock is held, the table fresh.
/// What is not known any more (times, pids, the present owner if it was changed, who has it attached) starts anew.
/// `flags` are those of a slot whose file lies there.
pub fn adopt(held: &Held<'_>, namespace: &Namespace, directory: &Path, flags: u32) -> Stored<()> {
    let system = |doing, error| Obstacle::system(doing, directory, error);
    let fd = file::open_dir_to_read(None, directory).map_err(|error| system("open", error))?;
    let mut adopted = Ok(());
    dir::for_each_entry(&fd, |name| {
        if let (Some((key, id)), Some(path)) = (files::parse_name(name), directory.join(name)) {
            adopted = adopt_one(held, (&fd, &path), flags, key, id);
        }
        adopted.is_ok()
    })
    .map_err(|error| system("read", error))?;
    adopted?;
    rebuild(held);
    // Better no table than one that has forgotten keys.
    namespace.back_index(index::words_wanted(held))
}

fn adopt_one(
    held: &Held<'_>,
    (directory, path): (&Fd, &Path),
    flags: u32,
    key: i32,
    id: i32,
) -> Stored<()> {
    let table = held.table();
    // What cannot be looked at must not be left out: without a slot it would be lost for good.
    let status = match file::status_in(Some(directory), path) {
        Ok(status) => status,
        Err(OsError(libc::ENOENT)) => return Ok(()),
        Err(error) => return Err(Obstacle::system("stat", path, error)),
    };
    let index = id as u32 % layout::SLOTS;
    let sound = status.is_file() && status.links == 1 && status.len_bytes > 0;
    if !sound {
        return Ok(());
    }
    held.namespace().ensure_slot(held, index)?;
    if table.get32(slot!(index, state)) != SlotState::Free as u32 {
        return Ok(());
    }
    let marked = status.permissions() & layout::MODE_MARKED != 0;
    let mut journal = Journal::begin(held);
    journal.put32(slot!(index, id), id as u32);
    journal.put32(slot!(index, key), if marked { 0 } else { key as u32 });
    journal.put32(slot!(index, name_key), key as u32);
    journal.put32(slot!(index, uid), status.uid);
    journal.put32(slot!(index, cuid), status.uid);
    journal.put32(slot!(index, gid), status.gid);
    journal.put32(slot!(index, cgid), status.gid);
    journal.put32(slot!(index, mode), status.permissions() & 0o1777);
    journal.put64(slot!(index, segsz), status.len_bytes);
    journal.put64(slot!(index, atime), 0);
    journal.put64(slot!(index, dtime), 0);
    journal.put64(slot!(index, ctime), process::now_secs() as u64);
    journal.put32(slot!(index, cpid), 0);
    journal.put32(slot!(index, lpid), 0);
    journal.put32(slot!(index, flags), flags);
    journal.put32(slot!(index, creator_cell), 0);
    journal.put32(slot!(index, creator_gen), 0);
    journal.put32(slot!(index, state), SlotState::Live as u32);
    let last = table.get32(header!(cursor_last)) as i32;
    if index as i32 > last {
        journal.put32(header!(cursor_last), index);
        journal.put32(header!(cursor_next), index + 1);
    }
    let seq = id as u32 / layout::SLOTS;
    if seq > table.get32(header!(cursor_seq)) {
        journal.put32(header!(cursor_seq), seq);
    }
    journal.commit();
    Ok(())
}
