//! Growing the table: a part of it is written only once the file system has made sure of its pages.

use super::lock_word::Held;
use super::parts::{PARTS, Part};
use crate::storage::error::Stored;

/// Makes sure that entry `index` of a part is backed, if there can be so many.
pub fn ensure(held: &Held<'_>, part: &Part, index: u32) -> Stored<()> {
    let ready = held.table().ready(part);
    if index < ready || ready == part.most {
        return Ok(());
    }
    let wanted = (index + 1)
        .max(ready + ready.min(512))
        .next_multiple_of(64)
        .min(part.most);
    let (at, more) = (ready * part.entry_bytes, wanted - ready);
    held.around()
        .back(part.area + at, more * part.entry_bytes, 0)?;
    held.table().set32(part.ready, wanted);
    Ok(())
}

/// Before a repair, which touches all of the table that is said to be backed: makes it true where a damaged count says
/// more than there is. Nothing happens where it is true already; what cannot be had now may be had by the next process.
pub(super) fn back_all(held: &Held<'_>) {
    for part in &PARTS {
        let len_bytes = held.table().ready(part) * part.entry_bytes;
        let _ = held.around().back(part.area, len_bytes, len_bytes);
    }
}
