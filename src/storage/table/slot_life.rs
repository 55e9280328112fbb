//! What can happen to a segment in the table, each as one step that a SIGKILL cannot divide.
//!
//! ```text
//!            reserve            publish            destroy    free_claimed
//!   Free  ───────────► Creating ───────► Live ───────────► Dying ────────► Free
//!                          │ abandon                          ▲
//!                          └──────────────────────────────────┘
//! ```
//!
//! The file is made between `reserve` and `publish`, and unlinked between `destroy` and `free_claimed`, without the lock;
//! the cell of the process that does it names the slot meanwhile (`work`), so that its death leaves nothing behind.

use super::derived;
use super::journal::Journal;
use super::key_index;
use super::layout::{
    FLAG_NORESERVE, FLAG_RIGHTS, FLAG_STUCK, MODE_MARKED, SLOTS, SlotState, cell, header, pages_of,
    slot,
};
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

/// Reserves the slot of `new.id` for a segment that this process is about to make, and moves the cursor.
/// The slot is free and backed ([`ensure_slot`](super::grow::ensure_slot)). Returns what it holds then.
pub fn reserve(held: &Held<'_>, new: &SlotImage, cursor: Cursor) -> SlotImage {
    let me = held.me();
    let index = new.id as u32 % SLOTS;
    let new = SlotImage {
        slot: index,
        creator_cell: me.cell() + 1,
        creator_gen: me.generation(),
        ..*new
    };
    change_slot(held, index, || {
        // Nothing that a free slot holds means anything, so only the step that makes it another needs the journal.
        new.store(held.table());
        // Crash here: a free slot.
        let mut journal = Journal::begin(held);
        journal.put32(slot!(index, state), SlotState::Creating as u32);
        journal.put32(cell!(me.cell(), work), index + 1);
        put_cursor(&mut journal, cursor);
        journal.commit();
        derived::set_taken(held, index, true);
        let pages = pages_of(new.segsz);
        derived::count_making(held, 1, pages);
        if new.flags & FLAG_NORESERVE == 0 {
            derived::count64(held, header!(promised_pages), pages as i64);
        }
    });
    new
}

/// The file is there: from now on it is a segment.
pub fn publish(held: &Held<'_>, index: u32, ctime_secs: i64) {
    let table = held.table();
    change_index(held, || {
        change_slot(held, index, || {
            let mut journal = Journal::begin(held);
            journal.put64(slot!(index, ctime), ctime_secs as u64);
            journal.put32(slot!(index, state), SlotState::Live as u32);
            journal.put32(cell!(held.me().cell(), work), 0);
            journal.commit();
            derived::count(held, header!(in_use), 1);
            let pages = pages_of(table.get64(slot!(index, segsz)));
            derived::count_making(held, -1, pages);
            derived::count64(held, header!(pages), pages as i64);
            let key = table.get32(slot!(index, key)) as i32;
            if key != 0 {
                key_index::insert(held, key, index);
            }
        });
    });
}

/// The file could not be made, or the key was taken meanwhile. What there may be of the file must be unlinked
/// already. The cursor goes back to `before` when nobody has moved it since.
pub fn abandon(held: &Held<'_>, index: u32, before: Cursor, after: Cursor) {
    let rewind = cursor(held) == after;
    free(held, index, rewind.then_some(before));
}

fn free(held: &Held<'_>, index: u32, rewind: Option<Cursor>) {
    let table = held.table();
    let was_made = table.get32(slot!(index, state)) != SlotState::Creating as u32;
    change_slot(held, index, || {
        let mut journal = Journal::begin(held);
        journal.put32(slot!(index, state), SlotState::Free as u32);
        journal.put32(slot!(index, key), 0);
        journal.put32(cell!(held.me().cell(), work), 0);
        if let Some(cursor) = rewind {
            put_cursor(&mut journal, cursor);
        }
        journal.commit();
        derived::set_taken(held, index, false);
        let pages = pages_of(table.get64(slot!(index, segsz)));
        if !was_made {
            derived::count_making(held, -1, pages);
        }
        if table.get32(slot!(index, flags)) & FLAG_NORESERVE == 0 {
            derived::count64(held, header!(promised_pages), -(pages as i64));
        }
    });
}

/// What becomes of the file of a segment that ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// The caller unlinks it: its cell's `work` names the slot already.
    Claim,
    /// It awaits unlinking by the next process that may.
    List,
}

/// Adds to a change that the segment in slot `index` ends.
pub(super) fn put_end(journal: &mut Journal<'_>, held: &Held<'_>, index: u32, last: Last) {
    journal.put32(slot!(index, key), 0);
    journal.put32(slot!(index, state), SlotState::Dying as u32);
    if last == Last::Claim {
        journal.put32(cell!(held.me().cell(), work), index + 1);
    }
}

/// Enters into the derived data that the segment, as it was in `image`, is none any more.
pub(super) fn enter_end(held: &Held<'_>, image: &SlotImage, last: Last) {
    if image.key != 0 {
        key_index::remove(held, image.key, image.slot);
    }
    derived::count(held, header!(in_use), -1);
    derived::count64(held, header!(pages), -(pages_of(image.segsz) as i64));
    if image.mode & MODE_MARKED != 0 {
        derived::count(held, header!(marked), -1);
    }
    if last == Last::List {
        derived::push_dying(held, image.slot);
    }
}

/// Changes what slot `index` holds as `change` does its image, in one step. What is derived, and what has a step of its own
/// here, stays as it is.
#[inline]
pub fn update(held: &Held<'_>, index: u32, change: impl FnOnce(&mut SlotImage)) {
    let before = held.table().image(index);
    let mut after = before;
    change(&mut after);
    set(held, &before, &after);
}

#[inline(never)]
fn set(held: &Held<'_>, before: &SlotImage, after: &SlotImage) {
    change_slot(held, before.slot, || {
        let mut journal = Journal::begin(held);
        after.put_changes(before, &mut journal);
        journal.commit();
    });
}

/// Marks a segment that is still attached: the key is free at once, the segment goes with its last attach. [`FLAG_RIGHTS`]
/// stays until its file says so, too.
pub fn mark(held: &Held<'_>, image: &SlotImage) {
    change_index(held, || {
        update(held, image.slot, |marked| {
            marked.key = 0;
            marked.mode |= MODE_MARKED;
            marked.flags |= FLAG_RIGHTS;
        });
        if image.key != 0 {
            key_index::remove(held, image.key, image.slot);
        }
        if image.mode & MODE_MARKED == 0 {
            derived::count(held, header!(marked), 1);
        }
    });
}

/// Ends a live segment that nobody has attached. Its file awaits unlinking afterwards, by the first process that may.
pub fn destroy(held: &Held<'_>, index: u32) {
    end(held, &held.table().image(index), Last::List);
}

/// Ends the live segment `image`, which nobody has attached, and claims it: the caller unlinks its file and then
/// [frees](free_claimed) it. Nobody else finds it in between, who might not be allowed to unlink.
pub fn destroy_and_claim(held: &Held<'_>, image: &SlotImage) {
    end(held, image, Last::Claim);
}

fn end(held: &Held<'_>, image: &SlotImage, last: Last) {
    if !image.is_live() {
        return;
    }
    change_index(held, || {
        change_slot(held, image.slot, || {
            let mut journal = Journal::begin(held);
            put_end(&mut journal, held, image.slot, last);
            journal.commit();
            enter_end(held, image, last);
        });
    });
}

/// Takes one dying segment to unlink its file: one of a creator whose files this process `may_unlink`. The others stay for
/// who may. `None`: there is none.
pub fn claim_dying(held: &Held<'_>, may_unlink: impl Fn(u32) -> bool) -> Option<SlotImage> {
    let table = held.table();
    let index = derived::take_dying(held, |index| may_unlink(table.get32(slot!(index, cuid))))?;
    if table.get32(slot!(index, state)) != SlotState::Dying as u32 {
        return None;
    }
    table.set32(cell!(held.me().cell(), work), index + 1);
    Some(table.image(index))
}

/// The file of a claimed segment is gone: the slot is free.
pub fn free_claimed(held: &Held<'_>, index: u32) {
    free(held, index, None);
}

/// The file of a claimed segment cannot be unlinked by this process: the next one may try.
pub fn give_up(held: &Held<'_>, index: u32) {
    let table = held.table();
    change_slot(held, index, || {
        // In one step: on the list of those that are nobody's work, and stuck, it would be listed twice.
        let flags = table.get32(slot!(index, flags));
        let mut journal = Journal::begin(held);
        journal.put32(slot!(index, flags), flags | FLAG_STUCK);
        journal.put32(cell!(held.me().cell(), work), 0);
        journal.commit();
        // Still counted as dying, but off the list, so that a sweep comes to its end.
        derived::count(held, header!(dying), 1);
    });
}

/// Puts those that were given up back on the list, where `may_unlink(cuid)` says that this process can do better.
pub fn list_stuck_again(held: &Held<'_>, may_unlink: impl Fn(u32) -> bool) {
    let table = held.table();
    for index in 0..table.slots_ready() {
        if table.get32(slot!(index, state)) == SlotState::Dying as u32
            && table.get32(slot!(index, flags)) & FLAG_STUCK != 0
            && may_unlink(table.get32(slot!(index, cuid)))
        {
            change_slot(held, index, || {
                let flags = table.get32(slot!(index, flags));
                table.set32(slot!(index, flags), flags & !FLAG_STUCK);
                derived::count(held, header!(dying), -1);
                derived::push_dying(held, index);
            });
        }
    }
}
