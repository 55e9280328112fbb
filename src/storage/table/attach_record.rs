//! Attach records: how many attaches of a segment a process has. Each change is one step that a SIGKILL cannot divide.

use super::derived;
use super::events::{self, About, What};
use super::grow;
use super::identity::Identity;
use super::journal::Journal;
use super::layout::{MODE_MARKED, RECORDS, SLOTS, header, record, slot};
use super::lock_word::Held;
use super::map::Table;
use super::parts::RECORD_PART;
use super::rebuild;
use super::seqlock::SeqLock;
use super::slot::SlotImage;
use super::slot_life::{Last, end, touch};
use crate::os::OsResult;
use crate::os::pages::PageVec;
use crate::storage::error::{StorageError, Stored};

/// What a record counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The cell of the process.
    pub cell: u32,
    /// Its attaches.
    pub count: u32,
}

/// Adds attaches of `owner` to segment `index`. Returns the record that counts it; `known` is the one that counted
/// earlier attaches of the same process, if any.
pub fn attach(
    held: &Held<'_>,
    index: u32,
    owner: Identity,
    known: Option<u32>,
    count: u32,
    stamp: Option<(i32, i64)>,
) -> Stored<u32> {
    let table = held.table();
    let id = table.get32(slot!(index, id));
    let known = known.filter(|&record| counts_for(held, record, owner, id as i32));
    let record = match known {
        Some(record) => record,
        None => take_record(held)?,
    };
    let put = |journal: &mut Journal<'_>| {
        if let Some((pid, now_secs)) = stamp {
            put_stamp(journal, index, slot!(index, atime), pid, now_secs);
        }
        if known.is_some() {
            let counted = table.get32(record!(record, count));
            journal.put32(record!(record, count), counted + count);
            journal.put32(record!(record, ended), 0);
        } else {
            // Nothing that a free record holds means anything, so only the step that makes it another needs the journal.
            table.set32(record!(record, id), id);
            table.set32(record!(record, count), count);
            table.set32(record!(record, ended), 0);
            // Crash here: a free record.
            journal.put32(record!(record, cell), owner.cell() + 1);
        }
    };
    touch(held, index, put, || {
        derived::count(held, slot!(index, nattch), count as i32);
        if known.is_none() {
            derived::link_record(held, record, index, owner.cell());
        }
    });
    Ok(record)
}

/// Stamps segment `index` with who did something to it, and at `time` with when, where it is not stamped so already.
#[inline(always)]
fn put_stamp(journal: &mut Journal<'_>, index: u32, time: u32, lpid: i32, now_secs: i64) {
    journal.put32_if_new(slot!(index, lpid), lpid as u32);
    journal.put64_if_new(time, now_secs as u64);
}

/// Whether `record` is the one that counts the attaches of segment `id` by `owner`.
pub fn counts_for(held: &Held<'_>, record: u32, owner: Identity, id: i32) -> bool {
    let table = held.table();
    record < table.records_ready()
        && table.get32(record!(record, cell)) == owner.cell() + 1
        && table.get32(record!(record, id)) as i32 == id
}

/// Takes `count` attaches off `record`, stamping the segment with who did it and when. When they were the last of
/// a segment that is destroyed then, `last` says what becomes of its file. Returns the segment if it ended.
pub fn detach(
    held: &Held<'_>,
    record: u32,
    count: u32,
    stamp: Option<(i32, i64)>,
    last: Last,
) -> Option<SlotImage> {
    let table = held.table();
    let owner = table.get32(record!(record, cell)).checked_sub(1)?;
    let index = table.get32(record!(record, id)) % SLOTS;
    if owner >= table.cells_ready() || index >= table.slots_ready() {
        return None;
    }
    let counted = table.get32(record!(record, count));
    let count = count.min(counted);
    let put = |journal: &mut Journal<'_>| {
        if let Some((pid, now_secs)) = stamp {
            put_stamp(journal, index, slot!(index, dtime), pid, now_secs);
        }
        match counted - count {
            0 => journal.put32(record!(record, cell), 0),
            left => journal.put32(record!(record, count), left),
        }
    };
    let then = || {
        derived::count(held, slot!(index, nattch), -(count as i32));
        if count == counted {
            derived::unlink_record(held, record, index, owner);
        }
    };
    // Decided and done in one step: a segment must not outlive the death of the process that takes the last attach off.
    let nattch = table.get32(slot!(index, nattch)).saturating_sub(count);
    if is_destroyed(held, table.get32(slot!(index, mode)), nattch) && table.image(index).is_live() {
        let ended = end(held, index, last, put, then);
        note_end(held, owner, &ended);
        return Some(ended);
    }
    touch(held, index, put, then);
    None
}

/// Notes that a segment went with the last attach of the process in cell `owner`: which is the caller, or dead.
fn note_end(held: &Held<'_>, owner: u32, ended: &SlotImage) {
    if owner == held.me().cell() {
        events::note(held, &About::segment(What::FreedByDetach, ended, 0));
    } else {
        let reaper = events::process_in(held.table(), held.me().cell());
        let about = About {
            other: reaper.pid as u32,
            ..About::segment(What::FreedByEnd, ended, 0)
        };
        let dead = events::process_in(held.table(), owner);
        events::note_of(held, &about, &dead);
    }
}

/// How many attaches of segment `id` `record` counts for `owner`.
pub fn counted_by(held: &Held<'_>, record: u32, owner: Identity, id: i32) -> u32 {
    if counts_for(held, record, owner, id) {
        held.table().get32(record!(record, count))
    } else {
        0
    }
}

/// The process that `record` belongs to is about to exit: stamps the segment with it now, and not when the process is
/// reaped, which may be after others have used the segment.
pub fn announce_end(held: &Held<'_>, index: u32, record: u32, lpid: i32, now_secs: i64) {
    let put = |journal: &mut Journal<'_>| {
        put_stamp(journal, index, slot!(index, dtime), lpid, now_secs);
        journal.put32(record!(record, ended), 1);
    };
    touch(held, index, put, || ());
}

fn is_destroyed(held: &Held<'_>, mode: u32, nattch: u32) -> bool {
    let rmid_forced = held.table().get32(header!(rmid_forced)) != 0;
    held.around()
        .is_destroyed(mode & MODE_MARKED != 0, nattch.into(), rmid_forced)
}

/// Everything that is counted for cell `from` counts for cell `to` from now on.
pub fn move_all(held: &Held<'_>, from: u32, to: u32) {
    let table = held.table();
    for record in derived::records_of_cell(table, from) {
        let index = table.get32(record!(record, id)) % SLOTS;
        let put = |journal: &mut Journal<'_>| journal.put32(record!(record, cell), to + 1);
        let then = || derived::move_record(held, record, index, from, to);
        touch(held, index, put, then);
    }
}

/// Takes off what is counted for `owner` beyond `wanted(id)` attaches of each segment, without a stamp.
pub fn reduce(held: &Held<'_>, owner: Identity, wanted: impl Fn(i32) -> u32) {
    let table = held.table();
    for record in derived::records_of_cell(held.table(), owner.cell()) {
        let wanted = wanted(table.get32(record!(record, id)) as i32);
        let surplus = table.get32(record!(record, count)).saturating_sub(wanted);
        if surplus > 0 {
            detach(held, record, surplus, None, Last::List);
        }
    }
}

/// Calls `each` with the slot and the index of every record that counts attaches of `owner`.
pub fn for_each_record(held: &Held<'_>, owner: Identity, mut each: impl FnMut(u32, u32)) {
    for record in derived::records_of_cell(held.table(), owner.cell()) {
        each(held.table().get32(record!(record, id)) % SLOTS, record);
    }
}

/// Takes a free record, backing more of them if need be.
fn take_record(held: &Held<'_>) -> Stored<u32> {
    let table = held.table();
    let full = StorageError::TableFull {
        what: "attached (process, segment) pairs",
        holds: RECORDS,
    };
    if let Some(free) = derived::pop_free_record(held) {
        if table.get32(record!(free, cell)) == 0 {
            return Ok(free);
        }
        // The list has been damaged: what it leads to is in use.
        rebuild::rebuild(held);
        if let Some(free) = derived::pop_free_record(held) {
            return Ok(free);
        }
    }
    let ready = table.records_ready();
    grow::ensure(held, &RECORD_PART, ready)?;
    for index in (ready..table.records_ready()).rev() {
        derived::push_free_record(held, index);
    }
    derived::pop_free_record(held).ok_or(full)
}

impl Table {
    /// Puts the cells of the processes that have segment `slot` attached into `out`, without a lock, but for the first `skip`
    /// of them. Returns how many. `None`: the list has changed meanwhile.
    pub fn attachers(&self, slot: u32, skip: u32, out: &mut [u32]) -> Option<usize> {
        if slot >= self.slots_ready() {
            return Some(0);
        }
        SeqLock::of_slot(self.slot(slot)).read_once(|| {
            let records = derived::records_of_segment(self, slot).skip(skip as usize);
            let mut found = 0;
            for (place, record) in out.iter_mut().zip(records) {
                *place = self.get32(record!(record, cell)).wrapping_sub(1);
                found += 1;
            }
            found
        })
    }

    /// Reads slot `slot` and what its records count, as both were at one moment, without a lock. `Ok(false)`: it is being
    /// changed all the time, or by a process that is stopped or dead.
    pub fn read_counted(
        &self,
        slot: u32,
        image: &mut SlotImage,
        counted: &mut PageVec<Counted>,
    ) -> OsResult<bool> {
        let read =
            SeqLock::of_slot(self.slot(slot)).read(|| self.read_as_it_stands(slot, image, counted));
        read.map_or(Ok(false), |read| read.map(|()| true))
    }

    /// The same, whatever is being changed meanwhile. A slot that is not backed is free.
    pub fn read_as_it_stands(
        &self,
        slot: u32,
        image: &mut SlotImage,
        counted: &mut PageVec<Counted>,
    ) -> OsResult<()> {
        *image = self.image(slot);
        counted.resize(0, Counted::default())?;
        if slot >= self.slots_ready() {
            return Ok(());
        }
        for record in derived::records_of_segment(self, slot) {
            let len = counted.len();
            counted.reserve(1)?;
            counted.insert(
                len,
                Counted {
                    cell: self.get32(record!(record, cell)).wrapping_sub(1),
                    count: self.get32(record!(record, count)),
                },
            );
        }
        Ok(())
    }

    /// Number of attaches of a slot, and the cell + 1 of the process that has all of them, if one has; a hint.
    pub fn attached_by(&self, slot: u32) -> (u32, u32) {
        if slot >= self.slots_ready() {
            return (0, 0);
        }
        (
            self.get32(slot!(slot, nattch)),
            self.get32(slot!(slot, sole_cell)),
        )
    }
}
