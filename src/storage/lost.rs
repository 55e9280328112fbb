//! What was removed from under a namespace in use, as systemd-logind does with all that a user has in `/dev/shm` when his
//! last session ends (`RemoveIPC=yes`).
//!
//! The directories are made again by the next process that may. A segment whose file is gone counts as removed by its
//! owner: its key is free, nobody attaches it any more, and who has it attached keeps it.

use super::base::Choice;
use super::directory::Place;
use super::files;
use super::layout::{FLAG_RIGHTS, FLAG_UNLINKED, MODE_MARKED};
use super::live::Identity;
use super::namespace::Namespace;
use super::obstacle::{Obstacle, Stored};
use super::slots;
use super::table::SlotImage;
use crate::os::{OsError, file, helper_process, process};

impl Namespace {
    /// Makes the directories in the runtime directory again where they are missing. Returns whether any was. Signals are
    /// blocked.
    #[cold]
    #[inline(never)]
    pub(super) fn restore_parts(&self) -> Stored<bool> {
        let directory = *self.directory();
        let mut base = directory;
        base.pop();
        let place = Place {
            base,
            directory,
            scope: self.scope(),
            euid: process::euid(),
            choice: Choice::Default,
        };
        let checked = match file::status_of(&directory) {
            Ok(status) if status.identity() == self.directory_file => status,
            _ => return Ok(false),
        };
        let restored = helper_process::perform(
            || place.check_parts(&checked),
            |answer| answer.as_ref().err().and_then(Obstacle::os_error),
        )?;
        if restored {
            self.has_lost_files(true);
        }
        Ok(restored)
    }

    /// Ends the segments whose files went with the directory that they lay in. The lock must not be held.
    #[cold]
    #[inline(never)]
    pub(super) fn end_lost_segments(&self, me: Identity) {
        for slot in 0..self.table().slots_ready() {
            if let Some(image) = self.table().snapshot(slot).filter(SlotImage::is_live) {
                self.end_if_lost(me, slot, image.id);
            }
        }
    }

    /// Whether segment `id` in `slot` has lost its file; then it is ended. The lock must not be held.
    #[cold]
    #[inline(never)]
    pub fn end_if_lost(&self, me: Identity, slot: u32, id: i32) -> bool {
        let Ok(held) = self.lock(me) else {
            return false;
        };
        let image = held.table().image(slot);
        let is_there = image.is_live() && image.id == id && image.flags & FLAG_UNLINKED == 0;
        // Where one of huge pages lies, this process may not be able to see.
        if !is_there || files::huge_page_log2(&image).is_some() || !self.has_no_file(&image) {
            return false;
        }
        if image.nattch == 0 {
            slots::destroy_and_claim(&held, &image);
            drop(held);
            self.unlink_claimed(me, &image);
            return true;
        }
        // Crash here, between any two of these: whoever attaches it next does what is left to do.
        if image.mode & MODE_MARKED == 0 {
            slots::mark(&held, &image);
        }
        slots::clear_flags(&held, slot, FLAG_RIGHTS);
        slots::set_flags(&held, slot, FLAG_UNLINKED);
        true
    }

    fn has_no_file(&self, image: &SlotImage) -> bool {
        let mut path = crate::os::path::Path::new();
        self.segment_path(image, &mut path).is_ok()
            && file::status_of(&path) == Err(OsError(libc::ENOENT))
            && self.is_reachable()
    }
}
