//! A segment that is given the id, the owners and the times that it had elsewhere: for the command, which brings the kernel's
//! segments into a namespace.

use super::error::{Error, Outcome, Why};
use super::process::{Registry, registry};
use super::saved::{Saved, Stopped, image_of};
use super::session::Session;
use super::shmget::admit;
use crate::storage::StorageError;
use crate::storage::table::events::What;
use crate::storage::table::layout::{FLAG_ROUNDED, SlotState};
use crate::storage::table::parts::SLOT_PART;
use crate::storage::table::{Held, SlotImage, grow, key_index, slot_life};
use crate::sysv::Key;
use crate::sysv::flags::SHM_NORESERVE;
use std::os::fd::OwnedFd;

/// What became of the wish for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is there.
    Done,
    /// Another segment has its key.
    KeyIsTaken,
    /// Another segment has the place of its id.
    IdIsTaken,
}

/// Makes a segment of ordinary pages with the id that it is to have, if that is free, and has `write` fill its file before
/// anybody sees it. The ids that the namespace gives out by itself go on as if nothing had happened.
pub fn place<E>(
    saved: &Saved,
    write: impl FnOnce(OwnedFd) -> Result<(), E>,
) -> Result<Placed, Stopped<E>> {
    let registry = registry()?;
    registry.enforce_forced()?;
    let session = registry.enter()?;
    let image = match reserve(registry, &session, saved)? {
        Ok(image) => image,
        Err(taken) => return Ok(taken),
    };
    // Until it is published, the cell's `work` names the slot: a death in here leaves as much as one in shmget.
    let write = |fd| write(OwnedFd::from(fd)).map_err(Stopped::ByCaller);
    let made = registry.namespace.files().make_filled(&image, write);
    let held = session.lock()?;
    match made {
        Ok(()) if !has_key(&held, saved.stat.key) => {
            slot_life::publish_as(&held, image.slot, saved.stat.ctime, What::Imported);
            Ok(Placed::Done)
        }
        Ok(()) => {
            drop(held);
            let _ = registry.namespace.files().unlink(&image);
            slot_life::free(&session.lock()?, image.slot, None);
            Ok(Placed::KeyIsTaken)
        }
        Err(Stopped::Failed(error)) if is_in_the_way(&error) => {
            // A file that the table does not know: not ours to touch.
            slot_life::free(&held, image.slot, None);
            Ok(Placed::IdIsTaken)
        }
        Err(stopped) => {
            slot_life::free(&held, image.slot, None);
            Err(stopped)
        }
    }
}

/// Reserves the slot of the segment's id, or says what has it already.
fn reserve(
    registry: &'static Registry,
    session: &Session,
    saved: &Saved,
) -> Outcome<Result<SlotImage, Placed>> {
    let held = session.lock()?;
    let stat = &saved.stat;
    if has_key(&held, stat.key) {
        return Ok(Err(Placed::KeyIsTaken));
    }
    let shmflg = if saved.is_unreserved {
        SHM_NORESERVE
    } else {
        0
    };
    admit(&held, registry, stat.segsz, shmflg, &Ok(None))?;
    let index = stat.id.slot();
    grow::ensure(&held, &SLOT_PART, index)?;
    if held.table().image(index).state != SlotState::Free as u32 {
        return Ok(Err(Placed::IdIsTaken));
    }
    if !stat.key.is_private() {
        key_index::make_room(&held)?;
    }
    let mut new = image_of(saved);
    if registry.namespace.rounds_files() {
        new.flags |= FLAG_ROUNDED;
    }
    slot_life::reserve(&held, &new, slot_life::cursor(&held));
    Ok(Ok(held.table().image(index)))
}

fn has_key(held: &Held<'_>, key: Key) -> bool {
    !key.is_private() && key_index::find_locked(held, key.0).is_some()
}

fn is_in_the_way(error: &Error) -> bool {
    match error.why {
        Why::Surroundings(StorageError::System { error, .. }) => error.0 == libc::EEXIST,
        _ => false,
    }
}
