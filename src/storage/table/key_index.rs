//! The key index: which slot has this key.
//!
//! Open addressing with linear probing over `index_words` words, each 0 or slot + 1; a removal shifts the
//! followers back, so there are no tombstones. Derived data: `rebuild` makes it from the slots.

use super::layout::{self, SlotState, header, slot};
use super::lock_word::Held;
use super::map::{SlotWords, Table, word};
use super::seqlock::{READ_TRIES, SeqLock, change_index};
use super::slot::SlotImage;
use crate::os::atomic::{Ordering, spin_loop};
use crate::storage::error::Stored;

fn word_offset(position: u32) -> u32 {
    layout::INDEX + position * 4
}

/// Whether the index can have so many words.
#[inline]
fn are_possible(words: u32) -> bool {
    // Not `is_power_of_two`, which counts bits: the mask is needed anyhow.
    words & words.wrapping_sub(1) == 0
        && (layout::INDEX_WORDS_AT_FIRST..=layout::INDEX_WORDS).contains(&words)
}

pub(super) fn words(table: &Table) -> u32 {
    let words = table.get32(header!(index_words));
    // Whatever the table says, stay inside the first part, which is always backed, or the whole.
    if are_possible(words) {
        words
    } else {
        layout::INDEX_WORDS_AT_FIRST
    }
}

#[inline]
fn home(key: i32, words: u32) -> u32 {
    // Fibonacci hashing: the upper bits are the well-mixed ones, as many of them as there are words.
    let hash = (key as u32).wrapping_mul(0x9e37_79b1);
    ((u64::from(hash) * u64::from(words)) >> 32) as u32
}

/// What a lookup of a key needs of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of layout::Slot")]
pub struct Known {
    pub id: i32,
    pub segsz: u64,
    /// If it was asked for.
    pub owners: Option<Owners>,
}

/// Who has which rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of layout::Slot")]
pub struct Owners {
    pub uid: u32,
    pub cuid: u32,
    pub mode: u32,
}

/// What a lookup without a lock found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The segment. A hit does not need the index's version, for the slot itself bears it out.
    Found(Known),
    /// No segment has this key.
    Absent,
    /// Something is being changed, is not as it should be, or stands further on: look again, or take the lock.
    Unsure,
}

/// Looks `key` up without a lock. [`Lookup::Unsure`]: the index is being changed all the time, or by a process that is
/// stopped or dead.
pub fn find(table: &Table, key: i32) -> Lookup {
    for _ in 0..READ_TRIES {
        match find_at_once(table, key, u32::MAX, true) {
            Lookup::Unsure => spin_loop(),
            certain => return certain,
        }
    }
    Lookup::Unsure
}

/// Looks `key` up without a lock, once, at no more than `places` of those where it can be; its owners too, if they matter.
///
/// Each instruction here is one of a few dozen in all: what can be wrong is compared and branched on, not put right.
#[inline(always)]
pub fn find_at_once(table: &Table, key: i32, places: u32, with_owners: bool) -> Lookup {
    let table = table.words();
    let index = SeqLock::of_index(table).begin();
    let words = word!(table, Header, index_words).load(Ordering::Acquire);
    if !are_possible(words) {
        return Lookup::Unsure;
    }
    let mut position = home(key, words);
    for _ in 0..words.min(places) {
        let entry = table.word32_at(word_offset(position % layout::INDEX_WORDS));
        let Some(slot) = entry.load(Ordering::Acquire).checked_sub(1) else {
            return match index.is_unchanged() {
                true => Lookup::Absent,
                false => Lookup::Unsure,
            };
        };
        let ready = word!(table, Header, slots_ready).load(Ordering::Acquire);
        if slot >= layout::SLOTS || slot >= ready {
            return Lookup::Unsure;
        }
        let found: SlotWords<'_> = table.block_at(slot!(slot, version));
        let reading = SeqLock::of_slot(found).begin();
        macro_rules! get {
            ($field:ident) => {
                word!(found, Slot, $field).load(Ordering::Relaxed)
            };
        }
        if get!(key) as i32 != key {
            position = (position + 1) & (words - 1);
            continue;
        }
        let known = Known {
            id: get!(id) as i32,
            segsz: word!(found, Slot, segsz, 64).load(Ordering::Relaxed),
            owners: with_owners.then(|| Owners {
                uid: get!(uid),
                cuid: get!(cuid),
                mode: get!(mode),
            }),
        };
        let is_it = get!(state) == SlotState::Live as u32
            && get!(name_key) as i32 == key
            && known.id as u32 % layout::SLOTS == slot;
        return match is_it && reading.is_unchanged() {
            true => Lookup::Found(known),
            false => Lookup::Unsure,
        };
    }
    Lookup::Unsure
}

/// Looks `key` up with the lock held.
pub fn find_locked(held: &Held<'_>, key: i32) -> Option<SlotImage> {
    let table = held.table();
    probe(table, key)
        .map(|slot| table.image(slot))
        .filter(SlotImage::is_live)
}

#[inline]
pub(super) fn probe(table: &Table, key: i32) -> Option<u32> {
    let words = words(table);
    let mut position = home(key, words);
    for _ in 0..words {
        let entry = table.get32(word_offset(position));
        let slot = entry.checked_sub(1)?;
        if slot < table.slots_ready() && table.get32(slot!(slot, key)) as i32 == key {
            return Some(slot);
        }
        position = (position + 1) & (words - 1);
    }
    None
}

/// How many words of the index lead to a slot.
pub(super) fn entries(table: &Table) -> u32 {
    let taken = |position: &u32| table.get32(word_offset(*position)) != 0;
    (0..words(table)).filter(taken).count() as u32
}

/// How many words are right for the segments that there are and `more`, but never fewer than at present. They are backed.
pub(in crate::storage) fn back(held: &Held<'_>, more: u32) -> Stored<u32> {
    let table = held.table();
    let used = words(table);
    let segments = table.get32(header!(in_use)).min(layout::SLOTS) + more;
    let wanted = (segments * 2)
        .next_power_of_two()
        .clamp(used, layout::INDEX_WORDS);
    if wanted > used {
        held.around().back(layout::INDEX, wanted * 4, used * 4)?;
    }
    Ok(wanted)
}

/// Makes the index large enough for one more key.
pub fn make_room(held: &Held<'_>) -> Stored<()> {
    let wanted = back(held, 1)?;
    if wanted > words(held.table()) {
        resize(held, wanted);
    }
    Ok(())
}

/// Gives the index so many words, which are backed.
pub fn resize(held: &Held<'_>, words: u32) {
    change_index(held, || fill(held, words));
}

/// Builds the index anew from the slots, with so many words, which are backed; within [`change_index`].
pub(super) fn fill(held: &Held<'_>, words: u32) {
    let table = held.table();
    for position in 0..words {
        table.set32(word_offset(position), 0);
    }
    table.set32(header!(index_words), words);
    for slot in 0..table.slots_ready() {
        let live = table.get32(slot!(slot, state)) == SlotState::Live as u32;
        let key = table.get32(slot!(slot, key)) as i32;
        if live && key != 0 {
            insert(held, key, slot);
        }
    }
}

/// Puts a slot's key into the index; within [`change_index`].
pub(super) fn insert(held: &Held<'_>, key: i32, slot: u32) {
    let table = held.table();
    let words = words(table);
    let mut position = home(key, words);
    for _ in 0..words {
        if table.get32(word_offset(position)) == 0 {
            table.set32(word_offset(position), slot + 1);
            return;
        }
        position = (position + 1) & (words - 1);
    }
}

/// Takes a slot's key out of the index; within [`change_index`].
pub(super) fn remove(held: &Held<'_>, key: i32, slot: u32) {
    let table = held.table();
    let words = words(table);
    let mask = words - 1;
    let mut hole = home(key, words);
    for _ in 0..words {
        match table.get32(word_offset(hole)) {
            0 => return,
            entry if entry == slot + 1 => break,
            _ => hole = (hole + 1) & mask,
        }
    }
    // What stands behind the hole, and would have been put there or before it, moves up.
    let mut position = hole;
    for _ in 0..words {
        position = (position + 1) & mask;
        let entry = table.get32(word_offset(position));
        let Some(follower) = entry.checked_sub(1) else {
            break;
        };
        let wish = home(
            table.get32(slot!(follower.min(layout::SLOTS - 1), key)) as i32,
            words,
        );
        if (position.wrapping_sub(wish) & mask) >= (position.wrapping_sub(hole) & mask) {
            table.set32(word_offset(hole), entry);
            hole = position;
        }
    }
    table.set32(word_offset(hole), 0);
}
