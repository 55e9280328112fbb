//! A small table with something in it.

use crate::mortal;
use crate::storage::Namespace;
use crate::storage::table::Held;
use crate::storage::table::Identity;
use crate::storage::table::SlotImage;
use crate::storage::table::TableMap;
use crate::storage::table::layout::{self, CellState, cell, header, record};
use crate::storage::table::slot_life::{self, Cursor};
use std::sync::Arc;

/// Slots, processes and records of the small table.
pub const SLOTS: u32 = layout::SLOTS_AT_FIRST;
/// See [`SLOTS`].
pub const PROCESSES: u32 = layout::CELLS_AT_FIRST;
/// See [`SLOTS`].
pub const RECORDS: u32 = layout::RECORDS_AT_FIRST;

/// Where the lock's word lies.
pub const LOCK: u32 = header!(lock);

/// The process of `cell`.
pub fn process(cell: u32) -> Identity {
    Identity::from_packed(1 << 30 | 1 << 14 | cell)
}

/// A table without a segment, with [`PROCESSES`] processes registered.
pub fn empty() -> Arc<Namespace> {
    mortal::begin();
    let namespace = Namespace::over(TableMap::default());
    let table = namespace.table();
    table.set32(header!(index_words), layout::INDEX_WORDS_AT_FIRST);
    table.set32(header!(cursor_last), u32::MAX);
    table.set32(header!(slots_ready), SLOTS);
    table.set32(header!(cells_ready), PROCESSES);
    table.set32(header!(records_ready), RECORDS);
    table.set32(header!(shmmni), SLOTS);
    for index in 0..RECORDS {
        let next = if index + 1 < RECORDS { index + 2 } else { 0 };
        table.set32(record!(index, next_of_segment), next);
    }
    table.set32(header!(free_record), 1);
    for index in 0..PROCESSES {
        table.set32(cell!(index, state), CellState::Live as u32);
        table.set32(cell!(index, generation), 1);
        table.set32(cell!(index, pid), 100 + index);
    }
    Arc::new(namespace)
}

/// Makes `cell` one that nobody has.
pub fn free_cell(namespace: &Namespace, cell: u32) {
    mortal::end(cell);
    let free = CellState::Free as u32;
    namespace.table().set32(cell!(cell, state), free);
}

/// How far the handing over of `cell` has come, as it stands there.
pub fn handover(namespace: &Namespace, cell: u32) -> u32 {
    namespace.table().get32(cell!(cell, handover))
}

/// How many attaches segment 0 has.
pub fn attaches(namespace: &Namespace) -> u32 {
    namespace.table().attached_by(0).0
}

/// Keys that all would like to stand at the same place of the index.
pub fn colliding_keys() -> impl Iterator<Item = i32> {
    let bits = layout::INDEX_WORDS_AT_FIRST.trailing_zeros();
    (1..).filter(move |key: &i32| (*key as u32).wrapping_mul(0x9e37_79b1) >> (32 - bits) == 2)
}

/// What is asked for when segment `slot` with `key` is made.
pub fn new_segment(slot: u32, key: i32) -> SlotImage {
    SlotImage {
        id: slot as i32,
        key,
        name_key: key,
        uid: 1,
        gid: 2,
        cuid: 1,
        cgid: 2,
        mode: 0o600,
        segsz: 5000,
        cpid: 100,
        ..SlotImage::default()
    }
}

/// The cursor behind a segment made in `slot`.
pub fn cursor_behind(slot: u32) -> Cursor {
    Cursor {
        next: slot + 1,
        last: slot as i32,
        seq: 0,
    }
}

/// Makes a segment in one go.
pub fn create(held: &Held<'_>, slot: u32, key: i32) {
    slot_life::reserve(held, &new_segment(slot, key), cursor_behind(slot));
    slot_life::publish(held, slot, 500);
}

/// The primary data of the whole table, to be compared.
pub fn primary(held: &Held<'_>) -> Vec<u64> {
    let table = held.table();
    let cursor = slot_life::cursor(held);
    let mut words = vec![
        u64::from(cursor.next),
        cursor.last as u64,
        u64::from(cursor.seq),
    ];
    for slot in 0..SLOTS {
        let image = table.image(slot);
        // Nothing that a free slot holds means anything.
        words.push(image.state.into());
        if image.state != layout::SlotState::Free as u32 {
            let numbers = [image.id, image.key, image.name_key, image.cpid, image.lpid];
            words.extend(numbers.map(|word| word as u64));
            words.extend([image.atime, image.dtime, image.ctime].map(|word| word as u64));
            words.extend([image.uid, image.gid, image.cuid, image.cgid].map(u64::from));
            // That nobody could unlink a file is forgotten by a repair.
            let flags = image.flags & !layout::FLAG_STUCK;
            words.extend([image.mode, flags, image.creator_cell, image.locker].map(u64::from));
            words.push(image.segsz);
        }
    }
    for index in 0..PROCESSES {
        words.push(table.get32(cell!(index, state)).into());
        words.push(table.get32(cell!(index, work)).into());
    }
    for index in 0..RECORDS {
        let owner = table.get32(record!(index, cell));
        words.push(owner.into());
        if owner != 0 {
            words.push(table.get32(record!(index, id)).into());
            words.push(table.get32(record!(index, count)).into());
            words.push(table.get32(record!(index, ended)).into());
        }
    }
    words
}
