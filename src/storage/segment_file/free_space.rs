//! The promise that the memory of a segment is there.

use super::file::Files;
use crate::os::{file, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::sentence;
use crate::storage::table::Held;
use crate::storage::table::layout::{
    FLAG_NORESERVE, FLAG_UNLINKED, SlotState, header, page_bytes, pages_of, slot,
};

impl Files<'_> {
    /// Whether `pages` more can be promised, and remembers that they were.
    ///
    /// The file system is asked seldom: a budget that it had room for is used up first, in small steps.
    #[inline(never)]
    pub fn check_room(&self, held: &Held<'_>, pages: u64) -> Stored<()> {
        const FRESH_NANOS: u64 = 250_000_000;
        let table = held.table();
        let now = process::coarse_nanos();
        let budget = table.get64(header!(budget_pages));
        let age = now.wrapping_sub(table.get64(header!(budget_at)));
        if pages <= budget / 16 && age < FRESH_NANOS {
            table.set64(header!(budget_pages), budget - pages);
            return Ok(());
        }
        let system = file::file_system_of(self.directory.path()).map_err(|error| {
            let away = self.directory.look_in_place(now).err();
            away.unwrap_or_else(|| self.directory.error("statfs", self.directory.path(), error))
        })?;
        if system.total_bytes == 0 {
            // No bound of its own (ramfs, or tmpfs with size=0).
            return Ok(());
        }
        let left = system.available_bytes / page_bytes();
        let promised = table.get64(header!(promised_pages));
        // First as if nothing that was promised were in use yet, which costs nothing to know.
        let mut spoken_for = promised;
        if spoken_for.saturating_add(pages) > left {
            spoken_for = self.promised_and_not_resident(held);
        }
        if spoken_for.saturating_add(pages) > left {
            return Err(StorageError::numbers(
                sentence::NO_ROOM,
                self.directory.path(),
                left.saturating_sub(spoken_for).saturating_mul(page_bytes()),
                pages.saturating_mul(page_bytes()),
            ));
        }
        table.set64(header!(budget_pages), left - spoken_for - pages);
        table.set64(header!(budget_at), now);
        Ok(())
    }

    #[inline(never)]
    fn promised_and_not_resident(&self, held: &Held<'_>) -> u64 {
        let table = held.table();
        let mut sum = 0u64;
        for index in 0..table.slots_ready() {
            let taken = table.get32(slot!(index, state)) != SlotState::Free as u32;
            let flags = table.get32(slot!(index, flags));
            if taken && flags & (FLAG_NORESERVE | FLAG_UNLINKED) == 0 {
                let image = table.image(index);
                let resident = match table.is_untouched(index) {
                    true => 0,
                    false => self.resident_bytes(&image) / page_bytes(),
                };
                sum = sum.saturating_add(pages_of(image.segsz).saturating_sub(resident));
            }
        }
        sum
    }
}
