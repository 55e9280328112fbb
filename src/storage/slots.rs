//! What can happen to a segment in the table, each as one step that a SIGKILL cannot divide.
//!
//! ```text
//!            reserve            publish            destroy            bury
//!   Free  ───────────► Creating ───────► Live ───────────► Dying ────────► Free
//!                          │ abandon                          ▲
//!                          └──────────────────────────────────┘
//! ```
//!
//! The file is made between `reserve` and `publish`, and unlinked between `destroy` and `bury`, without the lock;
//! the cell of the process that does it names the slot meanwhile (`work`), so that its death leaves nothing behind.

use super::books;
use super::files::pages_of;
use super::index;
use super::layout::{
    FLAG_NORESERVE, FLAG_RIGHTS, FLAG_STUCK, FLAG_UNLINKED, MODE_MARKED, SLOTS, SlotState, cell,
    header, record, slot,
};
use super::live::Identity;
use super::lock::Held;
use super::obstacle::{Obstacle, Stored};
use super::table::{Journal, SlotImage, change_slot, word};
use crate::os::atomic::Ordering;

/// What a new segment is to be.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the fields are those of layout::Slot")]
pub struct NewSegment {
    pub id: i32,
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub segsz: u64,
    pub flags: u32,
    pub pid: i32,
}

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
/// The slot is free and backed ([`super::namespace::Namespace::ensure_slot`]).
pub fn reserve(held: &Held<'_>, new: &NewSegment, cursor: Cursor) {
    let me = held.me();
    let index = new.id as u32 % SLOTS;
    let words = held.table().slot(index);
    change_slot(held, index, || {
        macro_rules! set {
            ($field:ident, $value:expr) => {
                word!(words, Slot, $field).store($value, Ordering::Relaxed)
            };
            ($field:ident, $value:expr, 64) => {
                word!(words, Slot, $field, 64).store($value, Ordering::Relaxed)
            };
        }
        // Nothing that a free slot holds means anything, so only the step that makes it another needs the journal.
        set!(id, new.id as u32);
        set!(key, new.key as u32);
        set!(name_key, new.key as u32);
        set!(uid, new.uid);
        set!(gid, new.gid);
        set!(cuid, new.uid);
        set!(cgid, new.gid);
        set!(mode, new.mode);
        set!(segsz, new.segsz, 64);
        set!(atime, 0, 64);
        set!(dtime, 0, 64);
        set!(ctime, 0, 64);
        set!(cpid, new.pid as u32);
        set!(lpid, 0);
        set!(flags, new.flags);
        set!(creator_cell, me.cell() + 1);
        set!(creator_gen, me.generation());
        set!(locker, 0);
        // Crash here: a free slot.
        let mut journal = Journal::begin(held);
        journal.put32(slot!(index, state), SlotState::Creating as u32);
        journal.put32(cell!(me.cell(), work), index + 1);
        put_cursor(&mut journal, cursor);
        journal.commit();
        books::set_taken(held, index, true);
        let pages = pages_of(new.segsz);
        books::count_making(held, 1, pages);
        if new.flags & FLAG_NORESERVE == 0 {
            books::count64(held, header!(promised_pages), pages as i64);
        }
    });
}

/// The file is there: from now on it is a segment.
pub fn publish(held: &Held<'_>, index: u32, ctime_secs: i64) {
    let table = held.table();
    index::changing(held, || {
        change_slot(held, index, || {
            let mut journal = Journal::begin(held);
            journal.put64(slot!(index, ctime), ctime_secs as u64);
            journal.put32(slot!(index, state), SlotState::Live as u32);
            journal.put32(cell!(held.me().cell(), work), 0);
            journal.commit();
            books::count(held, header!(in_use), 1);
            let pages = pages_of(table.get64(slot!(index, segsz)));
            books::count_making(held, -1, pages);
            books::count64(held, header!(pages), pages as i64);
            let key = table.get32(slot!(index, key)) as i32;
            if key != 0 {
                index::insert(held, key, index);
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
        books::set_taken(held, index, false);
        let pages = pages_of(table.get64(slot!(index, segsz)));
        if !was_made {
            books::count_making(held, -1, pages);
        }
        if table.get32(slot!(index, flags)) & FLAG_NORESERVE == 0 {
            books::count64(held, header!(promised_pages), -(pages as i64));
        }
    });
}

/// Adds an attach of `me` to segment `index`. Returns the record that counts it; `known` is the one that counted
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
        None => held.namespace().take_record(held)?,
    };
    change_slot(held, index, || {
        let mut journal = Journal::begin(held);
        if known.is_some() {
            let before = table.get32(record!(record, count));
            journal.put32(record!(record, count), before + count);
            journal.put32(record!(record, ended), 0);
        } else {
            // Nothing that a free record holds means anything, so only the step that makes it another needs the journal.
            table.set32(record!(record, id), id);
            table.set32(record!(record, count), count);
            table.set32(record!(record, ended), 0);
            // Crash here: a free record.
            journal.put32(record!(record, cell), owner.cell() + 1);
        }
        if let Some((pid, now_secs)) = stamp {
            journal.put32(slot!(index, lpid), pid as u32);
            journal.put64(slot!(index, atime), now_secs as u64);
        }
        journal.commit();
        books::count(held, slot!(index, nattch), count as i32);
        if known.is_none() {
            books::link_record(held, record, index, owner.cell());
        }
    });
    Ok(record)
}

/// Whether slot `index` holds the live segment `id`, and its file is still to be there for others.
#[inline]
pub fn has_file(held: &Held<'_>, index: u32, id: i32) -> bool {
    let table = held.table();
    index < table.slots_ready()
        && table.is_live_as(index, id)
        && table.get32(slot!(index, flags)) & FLAG_UNLINKED == 0
}

/// Whether `record` is the one that counts the attaches of segment `id` by `owner`.
pub fn counts_for(held: &Held<'_>, record: u32, owner: Identity, id: i32) -> bool {
    let table = held.table();
    record < table.records_ready()
        && table.get32(record!(record, cell)) == owner.cell() + 1
        && table.get32(record!(record, id)) as i32 == id
}

/// What becomes of the file of a segment that ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// The caller unlinks it: its cell's `work` names the slot already.
    Claim,
    /// It awaits unlinking by the next process that may.
    List,
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
    let before = table.get32(record!(record, count));
    let count = count.min(before);
    let left = before - count;
    // Decided and done in one step: a segment must not outlive the death of whoever takes the last attach off.
    let nattch = table.get32(slot!(index, nattch)).saturating_sub(count);
    let mode = table.get32(slot!(index, mode));
    let image = if held.namespace().is_destroyed(mode, nattch) {
        Some(table.image(index)).filter(SlotImage::is_live)
    } else {
        None
    };
    let change = || {
        let mut journal = Journal::begin(held);
        if left == 0 {
            journal.put32(record!(record, cell), 0);
        } else {
            journal.put32(record!(record, count), left);
        }
        if let Some((pid, now_secs)) = stamp {
            journal.put32(slot!(index, lpid), pid as u32);
            journal.put64(slot!(index, dtime), now_secs as u64);
        }
        if image.is_some() {
            put_end(&mut journal, held, index, last);
        }
        journal.commit();
        books::count(held, slot!(index, nattch), -(count as i32));
        if left == 0 {
            books::unlink_record(held, record, index, owner);
        }
        if let Some(image) = &image {
            enter_end(held, image, last);
        }
    };
    if image.is_some() {
        index::changing(held, || change_slot(held, index, change));
    } else {
        change_slot(held, index, change);
    }
    image
}

/// Everything that is counted for cell `from` counts for cell `to` from now on.
pub fn move_all(held: &Held<'_>, from: u32, to: u32) {
    let table = held.table();
    for _ in 0..table.records_ready() {
        let first = table.get32(cell!(from, first_record));
        let Some(record) = books::in_range(first, table) else {
            break;
        };
        let index = table.get32(record!(record, id)) % SLOTS;
        change_slot(held, index, || {
            let mut journal = Journal::begin(held);
            journal.put32(record!(record, cell), to + 1);
            journal.commit();
            books::move_record(held, record, index, from, to);
        });
    }
}

/// Takes off what is counted for `owner` beyond `wanted(id)` attaches of each segment, without a stamp.
pub fn reduce(held: &Held<'_>, owner: Identity, wanted: impl Fn(i32) -> u32) {
    let table = held.table();
    let mut link = table.get32(cell!(owner.cell(), first_record));
    for _ in 0..table.records_ready() {
        let Some(record) = books::in_range(link, table) else {
            break;
        };
        // Read first: the record leaves the list when nothing of it is left.
        link = table.get32(record!(record, next_of_cell));
        let wanted = wanted(table.get32(record!(record, id)) as i32);
        let surplus = table.get32(record!(record, count)).saturating_sub(wanted);
        if surplus > 0 {
            detach(held, record, surplus, None, Last::List);
        }
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

fn put_end(journal: &mut Journal<'_>, held: &Held<'_>, index: u32, last: Last) {
    journal.put32(slot!(index, key), 0);
    journal.put32(slot!(index, state), SlotState::Dying as u32);
    if last == Last::Claim {
        journal.put32(cell!(held.me().cell(), work), index + 1);
    }
}

/// Enters into the books that the segment, as it was in `image`, is none any more.
fn enter_end(held: &Held<'_>, image: &SlotImage, last: Last) {
    if image.key != 0 {
        index::remove(held, image.key, image.slot);
    }
    books::count(held, header!(in_use), -1);
    books::count64(held, header!(pages), -(pages_of(image.segsz) as i64));
    if image.mode & MODE_MARKED != 0 {
        books::count(held, header!(marked), -1);
    }
    if last == Last::List {
        books::push_dying(held, image.slot);
    }
}

/// The process that `record` belongs to is about to exit: stamps the segment with it now, and not when the process is
/// reaped, which may be after others have used the segment.
pub fn announce_end(held: &Held<'_>, index: u32, record: u32, lpid: i32, now_secs: i64) {
    change_slot(held, index, || {
        let mut journal = Journal::begin(held);
        journal.put32(record!(record, ended), 1);
        journal.put64(slot!(index, dtime), now_secs as u64);
        journal.put32(slot!(index, lpid), lpid as u32);
        journal.commit();
    });
}

/// Sets atime, dtime and lpid, as far as given.
pub fn stamp(
    held: &Held<'_>,
    index: u32,
    atime_secs: Option<i64>,
    dtime_secs: Option<i64>,
    lpid: i32,
) {
    change_slot(held, index, || {
        let mut journal = Journal::begin(held);
        if let Some(now) = atime_secs {
            journal.put64(slot!(index, atime), now as u64);
        }
        if let Some(now) = dtime_secs {
            journal.put64(slot!(index, dtime), now as u64);
        }
        journal.put32(slot!(index, lpid), lpid as u32);
        journal.commit();
    });
}

/// Sets owner, group, permission bits and ctime to those of `image`, and the flags: with [`FLAG_RIGHTS`] until the file
/// has the rights as well.
pub fn set_permissions(held: &Held<'_>, image: &SlotImage) {
    let (index, uid, gid, mode) = (image.slot, image.uid, image.gid, image.mode);
    let (ctime_secs, flags) = (image.ctime, image.flags);
    change_slot(held, index, || {
        let mut journal = Journal::begin(held);
        journal.put32(slot!(index, uid), uid);
        journal.put32(slot!(index, gid), gid);
        journal.put32(slot!(index, mode), mode);
        journal.put64(slot!(index, ctime), ctime_secs as u64);
        journal.put32(slot!(index, flags), flags);
        journal.commit();
    });
}

/// Sets the mode word and the user whose locked memory the segment counts as.
pub fn set_locked(held: &Held<'_>, index: u32, mode: u32, locker: u32) {
    change_slot(held, index, || {
        let mut journal = Journal::begin(held);
        journal.put32(slot!(index, mode), mode);
        journal.put32(slot!(index, locker), locker);
        journal.commit();
    });
}

/// Marks a segment that is still attached: the key is free at once, the segment goes with its last attach.
pub fn mark(held: &Held<'_>, image: &SlotImage) {
    let index = image.slot;
    index::changing(held, || {
        change_slot(held, index, || {
            let mut journal = Journal::begin(held);
            journal.put32(slot!(index, key), 0);
            journal.put32(slot!(index, mode), image.mode | MODE_MARKED);
            journal.put32(slot!(index, flags), image.flags | FLAG_RIGHTS);
            journal.commit();
            if image.key != 0 {
                index::remove(held, image.key, index);
            }
            if image.mode & MODE_MARKED == 0 {
                books::count(held, header!(marked), 1);
            }
        });
    });
}

/// Ends a live segment that nobody has attached. Its file awaits unlinking afterwards, by whoever comes first.
pub fn destroy(held: &Held<'_>, index: u32) {
    end(held, &held.table().image(index), Last::List);
}

/// Ends the live segment `image`, which nobody has attached, and claims it: the caller unlinks its file and then
/// [buries](bury) it. Nobody else finds it in between, who might not be allowed to unlink.
pub fn destroy_and_claim(held: &Held<'_>, image: &SlotImage) {
    end(held, image, Last::Claim);
}

fn end(held: &Held<'_>, image: &SlotImage, last: Last) {
    if !image.is_live() {
        return;
    }
    index::changing(held, || {
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
    let index = books::take_dying(held, |index| may_unlink(table.get32(slot!(index, cuid))))?;
    if table.get32(slot!(index, state)) != SlotState::Dying as u32 {
        return None;
    }
    table.set32(cell!(held.me().cell(), work), index + 1);
    Some(table.image(index))
}

/// The file of a claimed segment is gone: the slot is free.
pub fn bury(held: &Held<'_>, index: u32) {
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
        books::count(held, header!(dying), 1);
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
                books::count(held, header!(dying), -1);
                books::push_dying(held, index);
            });
        }
    }
}

/// Takes flag bits off a slot.
pub fn clear_flags(held: &Held<'_>, index: u32, flags: u32) {
    let table = held.table();
    change_slot(held, index, || {
        let before = table.get32(slot!(index, flags));
        table.set32(slot!(index, flags), before & !flags);
    });
}

/// Sets flag bits of a slot.
pub fn set_flags(held: &Held<'_>, index: u32, flags: u32) {
    let table = held.table();
    change_slot(held, index, || {
        let before = table.get32(slot!(index, flags));
        table.set32(slot!(index, flags), before | flags);
    });
}

/// A record for a new (process, segment) pair, growing the table if need be.
pub(super) fn no_record() -> Obstacle {
    Obstacle::TableFull {
        what: "attached (process, segment) pairs",
        holds: super::layout::RECORDS,
    }
}
