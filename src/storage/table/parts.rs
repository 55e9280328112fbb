//! The table's arrays, which grow: `grow.rs`.

use super::layout::{
    CELL_AREA, CELLS, CELLS_AT_FIRST, Cell, EVENT_AREA, EVENTS, EVENTS_AT_FIRST, Event,
    RECORD_AREA, RECORDS, RECORDS_AT_FIRST, Record, SLOT_AREA, SLOTS, SLOTS_AT_FIRST, Slot, header,
};

/// The array whose entries are of type `E`.
const fn part<E>(ready: u32, area: u32, at_first: u32, most: u32) -> Part {
    Part {
        ready,
        area,
        entry_bytes: size_of::<E>() as u32,
        at_first,
        most,
    }
}

/// One of the table's arrays, which grow.
pub struct Part {
    /// Offset of the header's count of entries that are backed by pages.
    pub ready: u32,
    /// Offset of the first entry.
    pub area: u32,
    /// Size of an entry.
    pub entry_bytes: u32,
    /// Entries that are backed in a fresh table.
    pub at_first: u32,
    /// Entries that there can be.
    pub most: u32,
}

/// The cells.
pub const CELL_PART: Part = part::<Cell>(header!(cells_ready), CELL_AREA, CELLS_AT_FIRST, CELLS);
/// The slots.
pub const SLOT_PART: Part = part::<Slot>(header!(slots_ready), SLOT_AREA, SLOTS_AT_FIRST, SLOTS);
/// The records.
pub const RECORD_PART: Part = part::<Record>(
    header!(records_ready),
    RECORD_AREA,
    RECORDS_AT_FIRST,
    RECORDS,
);
/// The events.
pub const EVENT_PART: Part =
    part::<Event>(header!(events_ready), EVENT_AREA, EVENTS_AT_FIRST, EVENTS);
/// All of them.
pub const PARTS: [Part; 4] = [CELL_PART, SLOT_PART, RECORD_PART, EVENT_PART];
