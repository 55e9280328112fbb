//! What can happen to a segment in the table, each as one step that a SIGKILL cannot divide.
//!
//! ```text
//!            reserve            publish            destroy      free
//!   Free  ───────────► Creating ───────► Live ───────────► Dying ────────► Free
//!                          │ reap                             ▲
//!                          └──────────────────────────────────┘
//! ```
//!
//! The file is made between `reserve` and `publish`, and unlinked between `destroy` and `free`, without the lock;
//! the cell of the process that does it names the slot meanwhile (`work`), so that its death leaves nothing behind.

use super::derived;
use super::events::{self, About, What};
use super::journal::Journal;
use super::key_index;
use super::layout::{FLAG_RIGHTS, FLAG_STUCK, MODE_MARKED, SLOTS, SlotState, cell, header, slot};
use super::lock_word::Held;
use super::seqlock::{change_index, change_slot};
use super::slot::SlotImage;

/// Where the next id is looked for; see `sysv::IdCursor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of layout::Header")]
pub struct Cursor {
    pub next: u32,
    pub last: i32,
    pub seq: u32,
}

/// Reads the cursor.
pub fn cursor(held: &Held<'_>) -> Cursor {
    let table = held.table();
    Cursor {
        next: table.get32(header!(cursor_next)),
        last: table.get32(header!(cursor_last)) as i32,
        seq: table.get32(header!(cursor_seq)),
    }
}

fn put_cursor(journal: &mut Journal<'_>, cursor: Cursor) {
    journal.put32(header!(cursor_next), cursor.next);
    journal.put32(header!(cursor_last), cursor.last as u32);
    journal.put32(header!(cursor_seq), cursor.seq);
}

/// A change in one step of which neither the key index nor the totals know: of a segment's stamps, and of who has it attached. `put`
/// says what changes, `then` enters what is derived from it.
pub(super) fn touch(
    held: &Held<'_>,
    index: u32,
    put: impl FnOnce(&mut Journal<'_>),
    then: impl FnOnce(),
) {
    change_slot(held, index, || {
        let mut journal = Journal::begin(held);
        put(&mut journal);
        journal.commit();
        then();
    });
}

/// Every other change of a slot that is not free, in one step: `change` changes its image, `put` adds what else changes with it, and `then` enters
/// what is derived from that; what is derived from the slot itself follows here. Returns what the slot held before.
#[inline(never)] // What it needs of the stack is free again when a file is made or unlinked.
pub(in crate::storage) fn step(
    held: &Held<'_>,
    index: u32,
    change: impl FnOnce(&mut SlotImage),
    put: impl FnOnce(&mut Journal<'_>),
    then: impl FnOnce(),
) -> SlotImage {
    let before = held.table().image(index);
    let mut after = before;
    change(&mut after);
    let carry_out = || {
        let mut journal = Journal::begin(held);
        after.put_changes(&before, &mut journal);
        put(&mut journal);
        journal.commit();
        if before.state != after.state || before.shown() != after.shown() {
            derived::count_change(held, &before, &after);
        }
        then();
    };
    let (was, is) = (before.shown(), after.shown());
    if was == is {
        change_slot(held, index, carry_out);
        return before;
    }
    change_index(held, || {
        change_slot(held, index, carry_out);
        if let Some((key, _)) = was.filter(|&(key, _)| key != 0 && key != after.key) {
            key_index::remove(held, key, index);
        }
        if let Some((key, _)) = is.filter(|&(key, _)| key != 0 && was.is_none()) {
            key_index::insert(held, key, index);
        }
    });
    before
}

/// A [`step`] that changes nothing else.
pub fn update(held: &Held<'_>, index: u32, change: impl FnOnce(&mut SlotImage)) {
    step(held, index, change, |_| (), || ());
}

fn put_work(held: &Held<'_>, journal: &mut Journal<'_>, work: u32) {
    journal.put32(cell!(held.me().cell(), work), work);
}

/// Reserves the slot of `new.id` for a segment that this process is about to make, and moves the cursor.
/// The slot is free and backed ([`ensure`](super::grow::ensure)).
#[inline(never)] // As publish.
pub fn reserve(held: &Held<'_>, new: &SlotImage, cursor: Cursor) {
    let index = new.id as u32 % SLOTS;
    let new = SlotImage {
        slot: index,
        creator_cell: held.me().cell() + 1,
        creator_gen: held.me().generation(),
        ..*new
    };
    let reserved = SlotImage {
        state: SlotState::Creating as u32,
        ..new
    };
    change_slot(held, index, || {
        // Nothing that a free slot holds means anything, so only the step that makes it another needs the journal.
        new.store(held.table());
        // Crash here: a free slot.
        let mut journal = Journal::begin(held);
        reserved.put_changes(&new, &mut journal);
        put_work(held, &mut journal, index + 1);
        put_cursor(&mut journal, cursor);
        journal.commit();
        derived::count_change(held, &new, &reserved);
    });
}

/// The file is there: from now on it is a segment.
pub fn publish(held: &Held<'_>, index: u32, ctime_secs: i64) {
    publish_as(held, index, ctime_secs, What::Created);
}

/// The same, with what is noted of it.
#[inline(never)] // For its frame's sake.
pub fn publish_as(held: &Held<'_>, index: u32, ctime_secs: i64, what: What) {
    let publish = |image: &mut SlotImage| {
        (image.state, image.ctime) = (SlotState::Live as u32, ctime_secs);
    };
    let put = |journal: &mut Journal<'_>| put_work(held, journal, 0);
    let made = step(held, index, publish, put, || ());
    events::note(held, &About::segment(what, &made, made.segsz));
}

/// What this process was making or unlinking is no more, its file neither: the slot is free. `rewind`: the cursor goes back to
/// the first where it still is the second, because no other process has moved it since.
#[inline(never)] // As publish.
pub fn free(held: &Held<'_>, index: u32, rewind: Option<(Cursor, Cursor)>) {
    let free = |image: &mut SlotImage| (image.state, image.key) = (SlotState::Free as u32, 0);
    let put = |journal: &mut Journal<'_>| {
        put_work(held, journal, 0);
        if let Some((earlier, _)) = rewind.filter(|&(_, moved)| cursor(held) == moved) {
            put_cursor(journal, earlier);
        }
    };
    step(held, index, free, put, || ());
}

/// Marks a segment that is still attached: the key is free at once, the segment goes with its last attach. [`FLAG_RIGHTS`]
/// stays until its file says so, too. `why` is what is noted.
pub fn mark(held: &Held<'_>, index: u32, why: What) {
    let mark = |image: &mut SlotImage| {
        image.key = 0;
        image.mode |= MODE_MARKED;
        image.flags |= FLAG_RIGHTS;
    };
    let marked = step(held, index, mark, |_| (), || ());
    events::note(held, &About::segment(why, &marked, marked.nattch.into()));
}

/// What becomes of the file of a segment that ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// The caller unlinks it and [frees](free) the slot: its cell's `work` names the slot already, and no other process finds it,
    /// which might not be allowed to unlink.
    Claim,
    /// It awaits unlinking by the next process that may.
    List,
}

/// Ends a live segment that no process has attached. `why` is what is noted.
pub fn destroy(held: &Held<'_>, index: u32, last: Last, why: What) {
    let ended = end(held, index, last, |_| (), || ());
    events::note(held, &About::segment(why, &ended, 0));
}

/// The [`step`] that ends a segment.
pub(super) fn end(
    held: &Held<'_>,
    index: u32,
    last: Last,
    put: impl FnOnce(&mut Journal<'_>),
    then: impl FnOnce(),
) -> SlotImage {
    let end = |image: &mut SlotImage| (image.state, image.key) = (SlotState::Dying as u32, 0);
    let put = |journal: &mut Journal<'_>| {
        put(journal);
        if last == Last::Claim {
            put_work(held, journal, index + 1);
        }
    };
    step(held, index, end, put, || {
        then();
        if last == Last::List {
            derived::push_dying(held, index);
        }
    })
}

/// Takes one dying segment to unlink its file: one of a creator whose files this process `may_unlink`. The others stay for
/// a process that may. `None`: there is none.
pub fn claim_dying(held: &Held<'_>, may_unlink: impl Fn(u32) -> bool) -> Option<SlotImage> {
    let table = held.table();
    let index = derived::take_dying(held, |index| may_unlink(table.get32(slot!(index, cuid))))?;
    let image = table.image(index);
    if image.state != SlotState::Dying as u32 {
        return None;
    }
    table.set32(cell!(held.me().cell(), work), index + 1);
    Some(image)
}

/// The file of a claimed segment cannot be unlinked by this process: the next one may try.
pub fn give_up(held: &Held<'_>, index: u32) {
    // In one step: on the list of those that are in no cell's work, and stuck, it would be listed twice.
    let stick = |image: &mut SlotImage| image.flags |= FLAG_STUCK;
    let put = |journal: &mut Journal<'_>| put_work(held, journal, 0);
    // Still counted as dying, but off the list, so that a sweep comes to its end.
    let then = || derived::count(held, header!(dying), 1);
    step(held, index, stick, put, then);
}

/// Puts those that were given up back on the list, where `may_unlink(cuid)` says that this process can do better.
pub fn list_stuck_again(held: &Held<'_>, may_unlink: impl Fn(u32) -> bool) {
    for index in 0..held.table().slots_ready() {
        let image = held.table().image(index);
        let is_stuck = image.state == SlotState::Dying as u32 && image.flags & FLAG_STUCK != 0;
        if is_stuck && may_unlink(image.cuid) {
            let list = |image: &mut SlotImage| image.flags &= !FLAG_STUCK;
            let then = || {
                derived::count(held, header!(dying), -1);
                derived::push_dying(held, index);
            };
            step(held, index, list, |_| (), then);
        }
    }
}
