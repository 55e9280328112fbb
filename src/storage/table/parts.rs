//! The table's arrays, which grow: `grow.rs`.

use super::layout::{
    CELL_AREA, CELLS, CELLS_AT_FIRST, Cell, EVENT_AREA, EVENTS, EVENTS_AT_FIRST, Event,
    RECORD_AREA, RECORDS, RECORDS_AT_FIRST, Record, SLOT_AREA, SLOTS, SLOTS_AT_FIRST, Slot, header,
};

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
pub const CELL_PART: Part = Part {
    ready: header!(cells_ready),
    area: CELL_AREA,
    entry_bytes: size_of::<Cell>() as u32,
    at_first: CELLS_AT_FIRST,
    most: CELLS,
};
/// The slots.
pub const SLOT_PART: Part = Part {
    ready: header!(slots_ready),
    area: SLOT_AREA,
    entry_bytes: size_of::<Slot>() as u32,
    at_first: SLOTS_AT_FIRST,
    most: SLOTS,
};
/// The records.
pub const RECORD_PART: Part = Part {
    ready: header!(records_ready),
    area: RECORD_AREA,
    entry_bytes: size_of::<Record>() as u32,
    at_first: RECORDS_AT_FIRST,
    most: RECORDS,
};
/// The events.
pub const EVENT_PART: Part = Part {
    ready: header!(events_ready),
    area: EVENT_AREA,
    entry_bytes: size_of::<Event>() as u32,
    at_first: EVENTS_AT_FIRST,
    most: EVENTS,
};
/// All of them.
pub const PARTS: [Part; 4] = [CELL_PART, SLOT_PART, RECORD_PART, EVENT_PART];
