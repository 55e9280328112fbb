//! What must be true of a table whose lock is free: everything derived is what the primary data says.

use crate::scene::{PROCESSES, RECORDS, SLOTS};
use crate::storage::table::Held;
use crate::storage::table::key_index;
use crate::storage::table::layout::pages_of;
use crate::storage::table::layout::{
    self, CellState, FLAG_NORESERVE, FLAG_STUCK, MODE_MARKED, SlotState, cell, header, record, slot,
};
use std::collections::HashSet;

/// Panics with the first thing that is not so.
pub fn audit(held: &Held<'_>) {
    let table = held.table();
    assert_eq!(
        table.get32(header!(journal_armed)),
        0,
        "a journal is left armed"
    );
    assert_eq!(
        table.get32(header!(index_version)) & 1,
        0,
        "the index looks busy"
    );

    let mut keys = HashSet::new();
    let (mut live, mut taken, mut marked, mut dying, mut listed) = (0, 0, 0, 0, HashSet::new());
    let (mut pages, mut promised, mut making, mut making_pages) = (0, 0, 0, 0);
    for index in 0..SLOTS {
        let image = table.image(index);
        assert_eq!(
            table.get32(slot!(index, version)) & 1,
            0,
            "slot {index} looks busy"
        );
        let bit = table.get64(layout::BITMAP) >> index & 1 == 1;
        assert_eq!(
            bit,
            image.state != SlotState::Free as u32,
            "the bit of slot {index}"
        );
        if image.state == SlotState::Free as u32 {
            continue;
        }
        taken += 1;
        if image.flags & FLAG_NORESERVE == 0 {
            promised += pages_of(image.segsz);
        }
        if image.state == SlotState::Live as u32 {
            live += 1;
            pages += pages_of(image.segsz);
            marked += u32::from(image.mode & MODE_MARKED != 0);
            if image.key != 0 {
                assert!(keys.insert(image.key), "key {} has two segments", image.key);
                let found = key_index::find_locked(held, image.key).map(|found| found.slot);
                assert_eq!(found, Some(index), "what key {} leads to", image.key);
            }
        } else if image.state == SlotState::Dying as u32 {
            let claimed = (0..PROCESSES).any(|at| table.get32(cell!(at, work)) == index + 1);
            if !claimed {
                dying += 1;
                if image.flags & FLAG_STUCK == 0 {
                    listed.insert(index);
                }
            }
        } else {
            let maker = (0..PROCESSES).find(|&at| table.get32(cell!(at, work)) == index + 1);
            assert!(maker.is_some(), "nobody is making slot {index}");
            making += 1;
            making_pages += pages_of(image.segsz);
        }
        check_records_of_slot(held, index);
    }
    assert_eq!(table.get32(header!(in_use)), live, "in_use");
    assert_eq!(table.get32(header!(taken)), taken, "taken");
    assert_eq!(table.get32(header!(making)), making, "making");
    assert_eq!(
        table.get64(header!(making_pages)),
        making_pages,
        "pages being made"
    );
    assert_eq!(table.get32(header!(marked)), marked, "marked");
    assert_eq!(table.get32(header!(dying)), dying, "dying");
    assert_eq!(table.get64(header!(pages)), pages, "pages");
    assert_eq!(
        table.get64(header!(promised_pages)),
        promised,
        "promised pages"
    );

    let words = table.get32(header!(index_words));
    let entries = (0..words).filter(|word| table.get32(layout::INDEX + word * 4) != 0);
    assert_eq!(entries.count(), keys.len(), "entries of the index");

    let mut link = table.get32(header!(dying_head));
    while let Some(index) = link.checked_sub(1) {
        assert!(
            listed.remove(&index),
            "slot {index} is wrongly or twice listed as dying"
        );
        link = table.get32(slot!(index, next_dying));
    }
    assert!(listed.is_empty(), "not listed as dying: {listed:?}");
    check_records(held);
}

fn check_records_of_slot(held: &Held<'_>, index: u32) {
    let table = held.table();
    let mine = |at: &u32| {
        table.get32(record!(*at, cell)) != 0
            && table.get32(record!(*at, id)) == table.get32(slot!(index, id))
    };
    let mut expected: HashSet<u32> = (0..RECORDS).filter(mine).collect();
    let count: u32 = expected
        .iter()
        .map(|&at| table.get32(record!(at, count)))
        .sum();
    assert_eq!(
        table.get32(slot!(index, nattch)),
        count,
        "nattch of slot {index}"
    );
    let sole = match expected.iter().next() {
        Some(&only) if expected.len() == 1 => table.get32(record!(only, cell)),
        _ => 0,
    };
    assert_eq!(
        table.get32(slot!(index, sole_cell)),
        sole,
        "the only user of slot {index}"
    );
    let (mut link, mut before) = (table.get32(slot!(index, first_record)), 0);
    while let Some(at) = link.checked_sub(1) {
        assert!(
            expected.remove(&at),
            "record {at} is wrongly or twice listed for slot {index}"
        );
        assert_eq!(
            table.get32(record!(at, prev_of_segment)),
            before,
            "behind what record {at} stands"
        );
        before = link;
        link = table.get32(record!(at, next_of_segment));
    }
    assert!(
        expected.is_empty(),
        "not listed for slot {index}: {expected:?}"
    );
}

fn check_records(held: &Held<'_>) {
    let table = held.table();
    let mut seen = HashSet::new();
    for owner in 0..PROCESSES {
        let (mut link, mut before) = (table.get32(cell!(owner, first_record)), 0);
        while let Some(at) = link.checked_sub(1) {
            assert!(seen.insert(at), "record {at} is listed twice");
            assert_eq!(
                table.get32(record!(at, cell)),
                owner + 1,
                "whose record {at} is"
            );
            assert_ne!(
                table.get32(record!(at, count)),
                0,
                "record {at} counts nothing"
            );
            assert_ne!(
                table.get32(cell!(owner, state)),
                CellState::Free as u32,
                "nobody has record {at}"
            );
            assert_eq!(
                table.get32(record!(at, prev_of_cell)),
                before,
                "behind what record {at} stands"
            );
            before = link;
            link = table.get32(record!(at, next_of_cell));
        }
    }
    let mut link = table.get32(header!(free_record));
    while let Some(at) = link.checked_sub(1) {
        assert!(
            seen.insert(at),
            "record {at} is free and used, or free twice"
        );
        assert_eq!(
            table.get32(record!(at, cell)),
            0,
            "a free record {at} has an owner"
        );
        link = table.get32(record!(at, next_of_segment));
    }
    assert_eq!(seen.len(), RECORDS as usize, "records that are nowhere");
}
