//! shmat.

use super::attach_list::Entry;
use super::credentials::Thread;
use super::error::{Error, Outcome, no_room};
use super::process::{Registry, live_locked, registry};
use super::rules::segment;
use super::session::Session;
use crate::os::guard;
use crate::os::map::{self, Place};
use crate::os::{OsError, process};
use crate::storage::table::SlotImage;
use crate::storage::table::events::What;
use crate::storage::table::layout::{FLAG_RIGHTS, FLAG_UNLINKED};
use crate::storage::table::{attach_record, slot_life};
use crate::storage::{StorageError, Stored, sentence};
use crate::sysv::{self, AttachRequest, Kind, Piece, ShmId};

/// `shmat(2)`: attaches a segment and returns its address.
pub fn shmat(shmid: i32, addr: u64, shmflg: i32) -> Outcome<u64> {
    let request = sysv::parse_shmat(shmid, addr, shmflg)?;
    let mut image = SlotImage::default();
    let mut session = permit(&request, &mut image)?;
    let attached = session.attach(&image, &request);
    if attached.is_err() {
        // The kernel's failing attach holds the segment for a moment and then lets go of it.
        session.destroy_if_due(request.id);
    }
    attached
}

/// Finds the segment and asks whether the caller may attach it. A function of its own, because the reasons that it may
/// return with are long, and would lie on the stack while the segment is attached.
#[inline(never)]
fn permit(request: &AttachRequest, image: &mut SlotImage) -> Outcome<Session> {
    let registry = registry()?;
    let blocked = registry.block()?;
    registry.enforce_forced()?;
    find(registry, request.id, image)?;
    if image.mode & sysv::flags::SHM_DEST != 0 || image.flags & FLAG_RIGHTS != 0 {
        // The processes that had it attached may be dead; then it is destroyed.
        registry.find_reaped(image, |image| find(registry, request.id, image))?;
    }
    registry.reap_lost_attachers(request.id.slot())?;
    let session = registry.enter_blocked(blocked)?;
    sysv::may_attach(&segment(image), request, &Thread)?;
    Ok(session)
}

#[inline]
fn find(registry: &'static Registry, id: ShmId, image: &mut SlotImage) -> Outcome<()> {
    if registry.live(id, image)? {
        Ok(())
    } else {
        Err(sysv::unknown_id(Kind::Segment, id).into())
    }
}

/// A place between two guards; of huge pages, or where there is no room for so many, an ordinary one.
#[cold]
#[inline(never)]
fn guarded(image: &SlotImage, len: u64) -> Place {
    let segment = guard::Segment {
        id: image.id,
        key: image.key,
        bytes: image.segsz,
    };
    let start = match image.huge_page_log2() {
        None => guard::reserve(len, &segment),
        Some(_) => None,
    };
    start.map_or(Place::Anywhere(0), Place::Replace)
}

impl Session {
    fn attach(&mut self, image: &SlotImage, request: &AttachRequest) -> Outcome<u64> {
        let len = image.mapped_len();
        let huge = image.huge_page_log2();
        sysv::check_range(request, if huge.is_some() { len } else { image.segsz })?;
        let spare = self.local.attaches.reserve(2);
        spare.map_err(|_| no_room(len))?;
        let place = match (request.fixed, request.remap) {
            (false, _) if guard::is_on() => guarded(image, len),
            (false, _) => Place::Anywhere(self.local.attaches.last_choice(len)),
            (true, false) => Place::Free(request.addr),
            (true, true) => Place::Replace(request.addr),
        };
        if request.remap {
            // What is replaced cannot be put back, so the segment is made sure of first.
            self.count_attach(image, false)?;
            // Crash here: a count of a dead process, as any other.
        }
        let files = self.registry.namespace.files();
        let mapped = files
            .map(image, place, request.write, request.exec)
            .or_else(|error| self.map_again(image, place, request, error));
        let start = match mapped {
            Ok(start) => start,
            Err(error) => {
                if request.remap {
                    self.uncount_attach(image.slot);
                }
                if let Place::Replace(start) = place {
                    guard::cancel(start);
                }
                return Err(self.why_not_mapped(request, len, huge, error));
            }
        };
        // Crash here: the mapping dies with the process, and nothing was counted yet.
        if request.remap {
            let pid = self.registry.local.pid();
            if let Ok(held) = self.lock() {
                slot_life::update(&held, image.slot, |image| {
                    (image.atime, image.lpid) = (process::now_secs(), pid);
                });
            }
        } else if let Err(error) = self.count_attach(image, true) {
            let _ = map::unmap_segment(start, len);
            self.forget_range(start, start.saturating_add(len), false);
            self.local.attaches.release_guards();
            return Err(error);
        }
        if !request.fixed {
            self.local.attaches.note_choice(start, len);
        }
        let attach = self.local.attaches.number_attach();
        if request.remap {
            self.forget_range(start, start.saturating_add(len), true);
        }
        self.local.attaches.insert(Entry {
            piece: Piece {
                start,
                len,
                offset: 0,
                attach,
                id: request.id,
                seg_len: len,
            },
            not_inherited: false,
        });
        Ok(start)
    }

    /// The umask may have taken the owner's right when the file was made: gives the file its rights and tries again.
    #[cold]
    #[inline(never)]
    fn map_again(
        &self,
        image: &SlotImage,
        place: Place,
        request: &AttachRequest,
        error: StorageError,
    ) -> Stored<u64> {
        let is_denied = error.os_error() == Some(OsError(libc::EACCES));
        if is_denied && self.set_rights_of_file(image) {
            let files = self.registry.namespace.files();
            files.map(image, place, request.write, request.exec)
        } else {
            Err(error)
        }
    }

    /// Enters one more attach into the table, if the segment is still there: when the last process that has it attached exits, it
    /// unlinks the file, and the segment is destroyed with the process.
    fn count_attach(&mut self, image: &SlotImage, stamped: bool) -> Outcome<()> {
        let id = ShmId::from_raw(image.id)?;
        let known = self.local.attaches.record_of(image.slot);
        let stamp = stamped.then(|| (self.registry.local.pid(), process::now_secs()));
        let held = self.lock()?;
        if live_locked(&held, id).is_none_or(|image| image.flags & FLAG_UNLINKED != 0) {
            return Err(sysv::removed_meanwhile(Kind::Segment, id).into());
        }
        let record = attach_record::attach(&held, image.slot, self.me, known, 1, stamp)?;
        drop(held);
        self.local.attaches.set_record(image.slot, record);
        Ok(())
    }

    /// Takes back what [`Self::count_attach`] has entered.
    #[cold]
    fn uncount_attach(&mut self, slot: u32) {
        if let Some(record) = self.local.attaches.record_of(slot) {
            let Ok(held) = self.lock() else { return };
            let ended = attach_record::detach(&held, record, 1, None, slot_life::Last::Claim);
            drop(held);
            if let Some(image) = ended {
                self.unlink_claimed(&image);
            }
        }
    }

    /// The error for a segment that could not be mapped.
    #[cold]
    #[inline(never)]
    fn why_not_mapped(
        &self,
        request: &AttachRequest,
        len: u64,
        huge: Option<u32>,
        error: StorageError,
    ) -> Error {
        let addr = request.addr;
        let Some(cause) = error.os_error() else {
            return error.into();
        };
        if let StorageError::System { path, .. } = error {
            let namespace = &self.registry.namespace;
            let gone = cause.0 == libc::ENOENT && namespace.directory().is_reachable();
            let (slot, id) = (request.id.slot(), request.id.raw());
            return if gone && namespace.end_if_lost(self.me, slot, id) {
                StorageError::at(sentence::FILE_GONE, &path).into()
            } else if gone {
                sysv::removed_meanwhile(Kind::Segment, request.id).into()
            } else {
                error.into()
            };
        }
        let unaligned = huge.is_some_and(|log2| addr.trailing_zeros() < log2);
        Error::of_mapping(request, len, unaligned, error, cause)
    }

    fn destroy_if_due(&mut self, id: ShmId) {
        let Ok(held) = self.lock() else { return };
        let forced = self.registry.namespace.is_rmid_forced();
        let is_due = |image: &SlotImage| {
            let marked = segment(image).is_marked();
            sysv::must_destroy(marked, image.nattch.into(), forced)
        };
        if let Some(image) = live_locked(&held, id).filter(is_due) {
            slot_life::destroy(
                &held,
                image.slot,
                slot_life::Last::Claim,
                What::FreedByDetach,
            );
            drop(held);
            self.unlink_claimed(&image);
        }
    }
}
