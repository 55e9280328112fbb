//! Whether a table is as it must be: what is primary can be, and what is derived follows from it. Nothing is changed. Where
//! the lock is not held, a change that is being made may look like damage: look again.

use super::derived::{self, in_range, shares};
use super::key_index;
use super::layout::{
    self, CellState, FLAG_STUCK, JOURNAL_ENTRIES, SlotState, cell, header, record, slot,
};
use super::map::Table;
use super::parts::PARTS;
use super::slot::SlotImage;
use crate::storage::invariant::{Broken, Invariant};

const FREE: u32 = SlotState::Free as u32;
const CREATING: u32 = SlotState::Creating as u32;
const LIVE: u32 = SlotState::Live as u32;
const DYING: u32 = SlotState::Dying as u32;

/// Tells `broken` what is not as it must be.
pub fn audit(table: &Table, broken: &mut Broken<'_>) {
    audit_header(table, broken);
    for index in 0..table.slots_ready() {
        audit_slot(table, index, broken);
    }
    audit_keys(table, broken);
    audit_totals(table, broken);
    audit_dying(table, broken);
    audit_cells(table, broken);
    let used = audit_records(table, broken);
    audit_lists(table, used, broken);
}

/// Whether the cell is somebody's.
fn is_in_use(table: &Table, cell: u32) -> bool {
    cell < table.cells_ready() && table.get32(cell!(cell, state)) != CellState::Free as u32
}

/// Whether some process is making or unlinking the file of this slot.
fn is_claimed(table: &Table, slot: u32) -> bool {
    (0..table.cells_ready())
        .any(|cell| table.get32(cell!(cell, work)) == slot + 1 && is_in_use(table, cell))
}

fn audit_header(table: &Table, broken: &mut Broken<'_>) {
    let armed = table.get32(header!(journal_armed));
    let len = table.get32(header!(journal_len));
    if armed != 0 || len > JOURNAL_ENTRIES {
        broken(
            Invariant::Journal,
            format_args!("a change of {len} stores has been begun and not ended"),
        );
    }
    for part in &PARTS {
        let says = table.get32(part.ready);
        if says != table.ready(part) {
            broken(
                Invariant::Bounds,
                format_args!(
                    "{says} entries are said to be backed of a part that has {} to {}",
                    part.at_first, part.most
                ),
            );
        }
    }
    let (next, last) = (
        table.get32(header!(cursor_next)),
        table.get32(header!(cursor_last)) as i32,
    );
    if !is_cursor(next, last) {
        broken(
            Invariant::Bounds,
            format_args!("the next id is looked for at slot {next}, behind slot {last}"),
        );
    }
}

/// Whether ids can go on there.
pub fn is_cursor(next: u32, last: i32) -> bool {
    next <= layout::SLOTS && last >= -1 && i64::from(last) < i64::from(layout::SLOTS)
}

/// Whether a slot that is not free holds what a segment can be.
pub fn is_sound(image: &SlotImage) -> bool {
    let is_known = matches!(image.state, CREATING | LIVE | DYING);
    let is_its_own = image.id >= 0 && image.id as u32 % layout::SLOTS == image.slot;
    let is_keyed = image.key == image.name_key || image.key == 0;
    is_known && is_its_own && is_keyed && image.segsz > 0 && image.mode & !0o3777 == 0
}

fn audit_slot(table: &Table, index: u32, broken: &mut Broken<'_>) {
    let image = table.image(index);
    if image.state != FREE && !is_sound(&image) {
        let SlotImage {
            state,
            id,
            key,
            name_key,
            segsz,
            mode,
            ..
        } = image;
        broken(
            Invariant::Slots,
            format_args!(
                "slot {index} has state {state}, id {id}, key {key:#x} of a file for {name_key:#x}, {segsz} bytes, mode {mode:o}"
            ),
        );
    }
    if table.version_of(index) & 1 != 0 {
        broken(
            Invariant::Journal,
            format_args!("slot {index} is being changed, and nobody ends it"),
        );
    }
}

fn audit_keys(table: &Table, broken: &mut Broken<'_>) {
    let mut keyed = 0;
    for index in 0..table.slots_ready() {
        let image = table.image(index);
        if image.state != LIVE || image.key == 0 {
            continue;
        }
        keyed += 1;
        match key_index::probe(table, image.key) {
            Some(found) if found == index => {}
            Some(found) => broken(
                Invariant::Keys,
                format_args!("key {:#x} of slot {index} leads to slot {found}", image.key),
            ),
            None => broken(
                Invariant::Keys,
                format_args!("key {:#x} of slot {index} is not found", image.key),
            ),
        }
    }
    let entries = key_index::entries(table);
    if entries != keyed {
        broken(
            Invariant::Keys,
            format_args!("{entries} keys are listed, and {keyed} segments have one"),
        );
    }
}

fn audit_totals(table: &Table, broken: &mut Broken<'_>) {
    let (mut numbers, mut pages) = ([0i32; 4], [0i64; 3]);
    for word in 0..layout::SLOTS / 64 {
        let mut taken = 0u64;
        for index in word * 64..((word + 1) * 64).min(table.slots_ready()) {
            let image = table.image(index);
            let (more, more_pages) = shares(&image);
            taken |= u64::from(image.state != FREE) << (index % 64);
            for (sum, more) in numbers.iter_mut().zip(more) {
                *sum = sum.wrapping_add(more);
            }
            for (sum, more) in pages.iter_mut().zip(more_pages) {
                *sum = sum.wrapping_add(more);
            }
        }
        let says = table.get64(layout::BITMAP + word * 8);
        if says != taken {
            broken(
                Invariant::Totals,
                format_args!(
                    "the map of slots {} to {} is {says:#018x}, and should be {taken:#018x}",
                    word * 64,
                    word * 64 + 63
                ),
            );
        }
    }
    let words = [
        ("segments", header!(in_use)),
        ("segments that are marked", header!(marked)),
        ("segments that are being made", header!(making)),
        ("slots that are taken", header!(taken)),
    ];
    let long_words = [
        ("pages", header!(pages)),
        (
            "pages of segments that are being made",
            header!(making_pages),
        ),
        ("promised pages", header!(promised_pages)),
    ];
    let says = words.map(|(name, offset)| (name, i64::from(table.get32(offset) as i32)));
    let says_pages = long_words.map(|(name, offset)| (name, table.get64(offset) as i64));
    let are = numbers.map(i64::from).into_iter().chain(pages);
    for ((name, says), are) in says.into_iter().chain(says_pages).zip(are) {
        if says != are {
            broken(
                Invariant::Totals,
                format_args!("there are said to be {says} {name}, and there are {are}"),
            );
        }
    }
}

fn audit_dying(table: &Table, broken: &mut Broken<'_>) {
    let (mut waiting, mut stuck) = (0, 0);
    for index in 0..table.slots_ready() {
        let image = table.image(index);
        let is_orphan = image.state == CREATING && !is_claimed(table, index);
        if is_orphan {
            broken(
                Invariant::Dying,
                format_args!("the segment in slot {index} is being made by nobody"),
            );
        }
        if image.state == DYING && !is_claimed(table, index) {
            match image.flags & FLAG_STUCK {
                0 => waiting += 1,
                _ => stuck += 1,
            }
        }
    }
    let (mut listed, mut link) = (0, table.get32(header!(dying_head)));
    while let Some(index) = link.checked_sub(1) {
        let is_one = index < table.slots_ready() && table.get32(slot!(index, state)) == DYING;
        if !is_one || listed == layout::SLOTS {
            broken(
                Invariant::Dying,
                format_args!("the list of what awaits unlinking leads to slot {index}"),
            );
            break;
        }
        listed += 1;
        link = table.get32(slot!(index, next_dying));
    }
    let says = table.get32(header!(dying));
    if listed != waiting || says != waiting + stuck {
        broken(
            Invariant::Dying,
            format_args!(
                "{listed} files of {waiting} that await unlinking are listed, and {says} of {} counted",
                waiting + stuck
            ),
        );
    }
}

fn audit_cells(table: &Table, broken: &mut Broken<'_>) {
    for index in 0..table.cells_ready() {
        let state = table.get32(cell!(index, state));
        if state > CellState::Forking as u32 {
            broken(
                Invariant::Processes,
                format_args!("cell {index} has state {state}"),
            );
        }
        let Some(work) = table.get32(cell!(index, work)).checked_sub(1) else {
            continue;
        };
        let is_one = work < table.slots_ready()
            && matches!(table.get32(slot!(work, state)), CREATING | DYING);
        if is_in_use(table, index) && !is_one {
            broken(
                Invariant::Processes,
                format_args!("cell {index} is at work on slot {work}, on which there is none"),
            );
        }
    }
}

/// Whether an attach is a living cell's, of a live segment.
fn is_good_record(table: &Table, index: u32) -> bool {
    let owner = table.get32(record!(index, cell)).wrapping_sub(1);
    let id = table.get32(record!(index, id));
    let slot = id % layout::SLOTS;
    is_in_use(table, owner)
        && table.get32(record!(index, count)) > 0
        && slot < table.slots_ready()
        && table.get32(slot!(slot, state)) == LIVE
        && table.get32(slot!(slot, id)) == id
}

/// Returns how many records are in use.
fn audit_records(table: &Table, broken: &mut Broken<'_>) -> u32 {
    let mut used = 0;
    for index in 0..table.records_ready() {
        if table.get32(record!(index, cell)) == 0 {
            continue;
        }
        used += 1;
        if !is_good_record(table, index) {
            broken(
                Invariant::Records,
                format_args!(
                    "record {index} counts {} attaches of id {} for cell {}",
                    table.get32(record!(index, count)),
                    table.get32(record!(index, id)) as i32,
                    table.get32(record!(index, cell)).wrapping_sub(1)
                ),
            );
        }
    }
    used
}

fn audit_lists(table: &Table, used: u32, broken: &mut Broken<'_>) {
    let mut of_segments = 0;
    for index in 0..table.slots_ready() {
        let (mut sum, mut sole, mut len) = (0u32, 0, 0);
        for at in derived::records_of_segment(table, index) {
            let is_its = table.get32(record!(at, cell)) != 0
                && table.get32(record!(at, id)) % layout::SLOTS == index;
            if !is_its {
                broken(
                    Invariant::Lists,
                    format_args!("record {at} is listed for slot {index}, of which it is not"),
                );
                break;
            }
            sum = sum.wrapping_add(table.get32(record!(at, count)));
            sole = table.get32(record!(at, cell));
            len += 1;
        }
        of_segments += len;
        let image = table.image(index);
        let sole = if len == 1 { sole } else { 0 };
        // What a slot that is not live has there means nothing.
        if image.state == LIVE && (image.nattch != sum || image.sole_cell != sole) {
            broken(
                Invariant::Counts,
                format_args!(
                    "segment {} is said to have {} attaches, and has {sum}",
                    image.id, image.nattch
                ),
            );
        }
    }
    let mut of_cells = 0;
    for index in 0..table.cells_ready() {
        for at in derived::records_of_cell(table, index) {
            if table.get32(record!(at, cell)) != index + 1 {
                broken(
                    Invariant::Lists,
                    format_args!("record {at} is listed for cell {index}, whose it is not"),
                );
                break;
            }
            of_cells += 1;
        }
    }
    let (mut free, mut link) = (0, table.get32(header!(free_record)));
    while let Some(at) = in_range(link, table) {
        if table.get32(record!(at, cell)) != 0 || free == table.records_ready() {
            broken(
                Invariant::Lists,
                format_args!("record {at} is listed as free, and is not"),
            );
            break;
        }
        free += 1;
        link = table.get32(record!(at, next_of_segment));
    }
    let ready = table.records_ready();
    if of_segments != used || of_cells != used || free + used != ready {
        broken(
            Invariant::Lists,
            format_args!(
                "of {used} records in use {of_segments} are listed by segment and {of_cells} by process, and {free} of {} as free",
                ready - used.min(ready)
            ),
        );
    }
}
