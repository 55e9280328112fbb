//! The last events of a namespace: who made a segment, who removed it, when and how it went.
//!
//! A ring of some thousands; the newest takes the oldest one's place. Everything is noted with the lock held, behind the
//! change that it tells of. Nothing depends on it: what cannot be noted, because the process died in between or the file
//! system had no room for the ring, is missing there and nowhere else. `recover` leaves it alone.
//!
//! An event is sealed with its number, which is written last. A reader takes no lock: where another number stands, or it has
//! changed meanwhile, the event was never finished or has been overwritten, and is passed over.

use super::grow;
use super::layout::{EVENTS, NAME_WORDS, cell, event, header};
use super::lock_word::Held;
use super::map::{EventWords, Table, word};
use super::parts::EVENT_PART;
use super::slot::SlotImage;
use crate::os::atomic::{Ordering, fence};
use crate::os::process;

/// What can happen. The numbers are the table's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum What {
    /// The namespace was made.
    NamespaceMade = 1,
    /// The namespace's table was made anew from the files of its segments; `value` of them were found.
    NamespaceRestored = 2,
    /// A segment of `value` bytes was created.
    Created = 3,
    /// IPC_RMID of a segment that was attached `value` times.
    Marked = 4,
    /// IPC_RMID of a segment that nobody had attached: it is gone.
    Removed = 5,
    /// Its file was removed from under it, while it was attached `value` times: it is marked, or gone.
    FileLost = 6,
    /// A removed segment went with the last attach of a process that detached it.
    FreedByDetach = 7,
    /// A removed segment went with a process that had it attached and has ended; `other` has reaped it.
    FreedByEnd = 8,
    /// `shm_rmid_forced`: nobody had it attached, and its creator had ended.
    FreedAsOrphan = 9,
    /// IPC_SET: `value` is uid × 2³² + gid, `other` the mode.
    Set = 10,
    /// A limit was set to `value`; `id` says which.
    LimitSet = 11,
    /// A process had ended with `value` attaches; `other` has reaped it.
    FoundDead = 12,
    /// A segment of `value` bytes was copied from the kernel's.
    Imported = 13,
    /// A segment of `value` bytes was made again from a saved namespace.
    Restored = 14,
}

impl What {
    fn of(word: u32) -> Option<What> {
        use What::*;
        [
            NamespaceMade,
            NamespaceRestored,
            Created,
            Marked,
            Removed,
            FileLost,
            FreedByDetach,
            FreedByEnd,
            FreedAsOrphan,
            Set,
            LimitSet,
            FoundDead,
            Imported,
            Restored,
        ]
        .into_iter()
        .find(|what| *what as u32 == word)
    }
}

/// The limits, as [`What::LimitSet`] numbers them.
pub const LIMITS: [&str; 4] = ["shmmax", "shmall", "shmmni", "shm_rmid_forced"];

/// A process, as events name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its effective uid.
    pub uid: u32,
    /// The first bytes of its program's name, NULs behind it, as words.
    pub program: [u32; NAME_WORDS],
}

impl Process {
    /// This one.
    pub(in crate::storage) fn own() -> Process {
        Process {
            pid: process::pid(),
            uid: process::euid(),
            program: process::program_name(),
        }
    }

    /// The first bytes of its program's name, NULs behind it.
    pub fn program_bytes(&self) -> impl Iterator<Item = u8> {
        self.program.into_iter().flat_map(u32::to_ne_bytes)
    }
}

/// One event, as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Noted {
    /// Its number: events are numbered from 0 on.
    pub number: u64,
    /// Nanoseconds since 1970, by a clock that ticks every few milliseconds.
    pub at_nanos: u64,
    /// What happened.
    pub what: What,
    /// The segment's id; 0 where it is about none.
    pub id: i32,
    /// The segment's key.
    pub key: i32,
    /// See [`What`].
    pub value: u64,
    /// See [`What`].
    pub other: u32,
    /// The process that did it, or to which it happened.
    pub by: Process,
}

/// What is to be noted, and of which process.
#[derive(Clone, Copy)]
pub struct About {
    /// What happened.
    pub what: What,
    /// The segment's id.
    pub id: i32,
    /// Its key.
    pub key: i32,
    /// See [`What`].
    pub value: u64,
    /// See [`What`].
    pub other: u32,
}

impl About {
    /// What happened to a segment. Its key is the one that it was made with, for its life is searched for by that.
    pub fn segment(what: What, image: &SlotImage, value: u64) -> About {
        About {
            what,
            id: image.id,
            key: image.name_key,
            value,
            other: 0,
        }
    }
}

fn index_of(number: u64) -> u32 {
    (number % u64::from(EVENTS.max(1))) as u32
}

/// Notes what the holder of the lock has done. Not in its caller's frame, which may lie below the making of a file.
#[inline(never)]
pub fn note(held: &Held<'_>, about: &About) {
    if EVENTS == 0 {
        return;
    }
    let by = Process {
        uid: held.around().euid(),
        ..process_in(held.table(), held.me().cell())
    };
    note_of(held, about, &by);
}

/// Notes what befell another process, or what its end did.
#[inline(never)]
pub(in crate::storage) fn note_of(held: &Held<'_>, about: &About, by: &Process) {
    let table = held.table();
    let number = table.get64(header!(events));
    let index = index_of(number);
    if grow::ensure(held, &EVENT_PART, index).is_ok() {
        put(table, number, about, by);
    }
}

/// Writes an event down. The lock is held, or nobody else has the table yet.
pub(in crate::storage) fn put(table: &Table, number: u64, about: &About, by: &Process) {
    let index = index_of(number);
    if index >= table.ready(&EVENT_PART) {
        return;
    }
    let words = table.event(index);
    let seal = word!(words, Event, seal, 64);
    // Pairs with: the loads in `event_of`.
    seal.store(0, Ordering::Relaxed);
    fence(Ordering::Release);
    word!(words, Event, at_nanos, 64).store(process::now_coarse_nanos(), Ordering::Relaxed);
    word!(words, Event, value, 64).store(about.value, Ordering::Relaxed);
    word!(words, Event, what).store(about.what as u32, Ordering::Relaxed);
    word!(words, Event, id).store(about.id as u32, Ordering::Relaxed);
    word!(words, Event, key).store(about.key as u32, Ordering::Relaxed);
    word!(words, Event, pid).store(by.pid as u32, Ordering::Relaxed);
    word!(words, Event, uid).store(by.uid, Ordering::Relaxed);
    word!(words, Event, other).store(about.other, Ordering::Relaxed);
    put_name(table, event!(index, program), &by.program);
    seal.store(number.wrapping_add(1), Ordering::Release);
    // A death in front of this: the next event takes this one's place.
    table.set64(header!(events), number.wrapping_add(1));
}

fn put_name(table: &Table, at: u32, name: &[u32; NAME_WORDS]) {
    for (offset, word) in (at..).step_by(4).zip(name) {
        table.word32(offset).store(*word, Ordering::Relaxed);
    }
}

fn name(table: &Table, at: u32) -> [u32; NAME_WORDS] {
    let mut name = [0; NAME_WORDS];
    for (offset, word) in (at..).step_by(4).zip(&mut name) {
        *word = table.word32(offset).load(Ordering::Relaxed);
    }
    name
}

/// Writes down which process takes `cell`: for events alone, so that the dead have names, too. The lock is held, and the cell free.
pub(in crate::storage) fn introduce(held: &Held<'_>, cell: u32) {
    if EVENTS != 0 {
        let table = held.table();
        table.set32(cell!(cell, uid), held.around().euid());
        put_name(table, cell!(cell, program), &process::program_name());
    }
}

/// The process of a cell, as it was when it took the cell.
pub fn process_in(table: &Table, cell: u32) -> Process {
    if cell >= table.cells_ready() {
        return Process::default();
    }
    Process {
        pid: table.get32(cell!(cell, pid)) as i32,
        uid: table.get32(cell!(cell, uid)),
        program: name(table, cell!(cell, program)),
    }
}

impl Table {
    /// The numbers of the events that are kept, the oldest first. Some may be missing.
    pub fn events(&self) -> core::ops::Range<u64> {
        let end = self.get64(header!(events));
        end.saturating_sub(u64::from(EVENTS))..end
    }

    /// The event with this number, without a lock, if it is kept.
    pub fn event_of(&self, number: u64) -> Option<Noted> {
        let index = index_of(number);
        if index >= self.ready(&EVENT_PART) {
            return None;
        }
        let words: EventWords<'_> = self.event(index);
        let seal = word!(words, Event, seal, 64);
        // Pairs with: the stores in `put`.
        if seal.load(Ordering::Acquire) != number.wrapping_add(1) {
            return None;
        }
        let what = word!(words, Event, what).load(Ordering::Relaxed);
        let noted = Noted {
            number,
            at_nanos: word!(words, Event, at_nanos, 64).load(Ordering::Relaxed),
            what: What::of(what)?,
            id: word!(words, Event, id).load(Ordering::Relaxed) as i32,
            key: word!(words, Event, key).load(Ordering::Relaxed) as i32,
            value: word!(words, Event, value, 64).load(Ordering::Relaxed),
            other: word!(words, Event, other).load(Ordering::Relaxed),
            by: Process {
                pid: word!(words, Event, pid).load(Ordering::Relaxed) as i32,
                uid: word!(words, Event, uid).load(Ordering::Relaxed),
                program: name(self, event!(index, program)),
            },
        };
        fence(Ordering::Acquire);
        (seal.load(Ordering::Relaxed) == number.wrapping_add(1)).then_some(noted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_the_table_are_those_of_the_names() {
        for word in 0..20 {
            assert_eq!(What::of(word).map_or(word, |what| what as u32), word);
        }
        assert_eq!((What::of(0), What::of(15)), (None, None));
        assert_eq!(What::of(14), Some(What::Restored));
    }
}
