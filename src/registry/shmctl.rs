//! shmctl, a function per command, and the namespace's limits.

use super::credentials::{Thread, is_granted_at_once, may_set_limits};
use super::error::Outcome;
use super::process::{Registry, live_locked, registry, registry_for_fast_path};
use super::rules::{segment, words_of};
use super::session::Session;
use crate::os::process;
use crate::storage::StorageError;
use crate::storage::table::Held;
use crate::storage::table::SlotImage;
use crate::storage::table::events::{self, About, What};
use crate::storage::table::layout::{FLAG_RIGHTS, FLAG_UNLINKED};
use crate::storage::table::{derived, slot_life};
use crate::sysv::flags::{SHM_DEST, SHM_LOCKED};
use crate::sysv::{
    self, Caller, Command, Kind, LimitName, Limits, LockBudget, NewPerm, Ruling, Segment, ShmId,
};

/// IPC_STAT, SHM_STAT and SHM_STAT_ANY.
pub fn stat(shmid: i32, cmd: Command) -> Outcome<Segment> {
    let id = ShmId::from_raw(shmid)?;
    let registry = registry()?;
    registry.enforce_forced()?;
    let find = |image: &mut SlotImage| -> Outcome<()> {
        registry.live_at(id.slot(), image)?;
        if is_asked_for(image, id, cmd) {
            Ok(())
        } else if sysv::is_by_index(cmd) {
            Err(sysv::unused_index(Kind::Segment, id.slot()).into())
        } else {
            Err(sysv::unknown_id(Kind::Segment, id).into())
        }
    };
    let mut image = SlotImage::default();
    registry.find_reaped(&mut image, find)?;
    let segment = segment(&image);
    sysv::may_stat(&segment, cmd, &Thread)?;
    Ok(segment)
}

/// IPC_STAT, SHM_STAT and SHM_STAT_ANY without a lock or a system call, of a segment that no other process has
/// attached. `None`: ask [`stat`].
#[inline]
pub fn stat_at_once(shmid: i32, cmd: Command) -> Option<Segment> {
    let registry = registry_for_fast_path()?;
    let id = ShmId::from_raw(shmid).ok()?;
    let image = registry.namespace.table().snapshot(id.slot())?;
    if !is_asked_for(&image, id, cmd) {
        return None;
    }
    if image.nattch != 0
        && registry
            .me()
            .is_none_or(|me| image.sole_cell != me.cell() + 1)
    {
        return None;
    }
    let allowed = sysv::is_for_all(cmd)
        || is_granted_at_once(image.mode, image.uid, image.cuid, sysv::flags::READ);
    (allowed && image.flags & FLAG_RIGHTS == 0).then(|| segment(&image))
}

/// Whether `image` is the segment that a command asks for: by its id, or by its index alone.
#[inline(always)]
fn is_asked_for(image: &SlotImage, id: ShmId, cmd: Command) -> bool {
    image.is_live() && (sysv::is_by_index(cmd) || image.id == id.raw())
}

/// A session, and the segment as it is once the dead are no longer counted in it, if the caller `may` do what it asks for.
///
/// Rights come first: a caller without them learns that also where it cannot be registered. They are asked again with the
/// lock held, for the segment may have been given away meanwhile.
fn enter_at(
    id: ShmId,
    may: impl Fn(&SlotImage) -> Ruling<()>,
) -> Outcome<(Session, Held<'static>, SlotImage)> {
    let registry = registry()?;
    let blocked = registry.block()?;
    registry.enforce_forced()?;
    let mut image = SlotImage::default();
    let find = |image: &mut SlotImage| -> Outcome<()> {
        if !registry.live(id, image)? {
            return Err(sysv::unknown_id(Kind::Segment, id).into());
        }
        Ok(may(image)?)
    };
    registry.find_reaped(&mut image, find)?;
    let session = registry.enter_blocked(blocked)?;
    let held = session.lock()?;
    let image = live_locked(&held, id).ok_or(sysv::unknown_id(Kind::Segment, id))?;
    may(&image)?;
    Ok((session, held, image))
}

/// IPC_SET.
pub fn set(shmid: i32, new: NewPerm) -> Outcome<()> {
    let id = ShmId::from_raw(shmid)?;
    let may = |image: &SlotImage| sysv::may_set(&segment(image), &new, &Thread).map(|_| ());
    let (session, held, image) = enter_at(id, may)?;
    change_permissions(&session, &held, &image, &new)
}

/// Not inlined: the frame of [`set`], which lies below everything that [`enter_at`] calls, is smaller without it.
#[inline(never)]
fn change_permissions(
    session: &Session,
    held: &Held<'_>,
    image: &SlotImage,
    new: &NewPerm,
) -> Outcome<()> {
    let new = sysv::may_set(&segment(image), new, &Thread)?;
    let mode = image.mode & !sysv::flags::MODE_BITS | new.mode;
    let changed = SlotImage {
        uid: new.uid,
        gid: new.gid,
        mode,
        ctime: process::now_secs(),
        flags: image.flags | FLAG_RIGHTS,
        ..*image
    };
    slot_life::update(held, image.slot, |image| *image = changed);
    // Crash here: the flag stays, and the next process that reads the segment and may do so gives the file its rights.
    match session.registry.namespace.files().set_rights(&changed) {
        Ok(()) => slot_life::update(held, image.slot, |image| image.flags &= !FLAG_RIGHTS),
        // An owner who is not the creator may change the segment but not its file: the table alone is changed, and the
        // creator's next call finds the flag.
        Err(error) if is_not_the_callers(&error) && Thread.euid() != image.cuid => {}
        // The last process that has it attached exits, and has unlinked it already: there is no file to have rights.
        Err(_) if image.flags & FLAG_UNLINKED != 0 => {}
        Err(error) => {
            slot_life::update(held, image.slot, |changed| *changed = *image);
            return Err(error.into());
        }
    }
    let owner = u64::from(new.uid) << 32 | u64::from(new.gid);
    let about = About {
        other: new.mode,
        ..About::segment(What::Set, image, owner)
    };
    events::note(held, &about);
    Ok(())
}

fn is_not_the_callers(error: &StorageError) -> bool {
    let cause = error.os_error();
    cause.is_some_and(|cause| matches!(cause.0, libc::EPERM | libc::EACCES))
}

/// IPC_RMID.
pub fn remove(shmid: i32) -> Outcome<()> {
    let id = ShmId::from_raw(shmid)?;
    let may = |image: &SlotImage| sysv::may_remove(&segment(image), &Thread);
    let (session, held, image) = enter_at(id, may)?;
    let forced = session.registry.namespace.is_rmid_forced();
    if sysv::must_destroy(true, image.nattch.into(), forced) {
        slot_life::destroy(&held, image.slot, slot_life::Last::Claim, What::Removed);
        drop(held);
        session.unlink_claimed(&image);
    } else if image.mode & SHM_DEST == 0 {
        slot_life::mark(&held, image.slot, What::Marked);
        let image = held.table().image(image.slot);
        // When the table must be rebuilt from the files, the sticky bit says that the key is free. If it cannot be set now,
        // the flag says so.
        // Crash here: as in `change_permissions`.
        if session.registry.namespace.files().mark(&image).is_ok() {
            slot_life::update(&held, image.slot, |image| image.flags &= !FLAG_RIGHTS);
        }
    }
    Ok(())
}

/// SHM_LOCK.
///
/// Divergence: user space cannot keep a file's pages from being swapped out; the flag and the limits are kept.
pub fn lock(shmid: i32) -> Outcome<()> {
    let id = ShmId::from_raw(shmid)?;
    let is_huge = |image: &SlotImage| image.huge_page_log2().is_some();
    let may_lock = |image: &SlotImage, locked_bytes: &dyn Fn() -> u64| {
        sysv::may_lock(&segment(image), &Thread, || {
            let rlimit_bytes = process::limit(libc::RLIMIT_MEMLOCK as usize);
            if is_huge(image) {
                return LockBudget::of_huge_pages(rlimit_bytes);
            }
            LockBudget {
                rlimit_bytes,
                locked_bytes: locked_bytes(),
            }
        })
    };
    // First as if nothing else were locked.
    let (_session, held, image) = enter_at(id, |image| may_lock(image, &|| 0))?;
    let uid = process::uid();
    may_lock(&image, &|| locked_bytes(&held, uid, image.slot))?;
    // Huge pages are never swapped out, and the mode does not say that they are locked.
    if image.mode & SHM_LOCKED == 0 && !is_huge(&image) {
        slot_life::update(&held, image.slot, |image| {
            (image.mode, image.locker) = (image.mode | SHM_LOCKED, uid);
        });
    }
    Ok(())
}

fn locked_bytes(held: &Held<'_>, uid: u32, except: u32) -> u64 {
    let mut sum = 0u64;
    for slot in derived::taken_slots(held.table()) {
        let image = held.table().image(slot);
        if slot != except && image.is_live() && image.mode & SHM_LOCKED != 0 && image.locker == uid
        {
            sum = sum.saturating_add(sysv::pages_of(image.segsz).saturating_mul(sysv::page_size()));
        }
    }
    sum
}

/// SHM_UNLOCK.
pub fn unlock(shmid: i32) -> Outcome<()> {
    let id = ShmId::from_raw(shmid)?;
    let may = |image: &SlotImage| sysv::may_unlock(&segment(image), &Thread);
    let (_session, held, image) = enter_at(id, may)?;
    if image.mode & SHM_LOCKED != 0 {
        slot_life::update(&held, image.slot, |image| {
            (image.mode, image.locker) = (image.mode & !SHM_LOCKED, 0);
        });
    }
    Ok(())
}

/// IPC_INFO: the limits, and the highest index in use (0 when there is none).
pub fn limits() -> Outcome<(Limits, i32)> {
    let registry = registry()?;
    let _blocked = registry.namespace.block()?;
    registry.enforce_forced()?;
    reap_if_it_matters(registry)?;
    let table = registry.namespace.table();
    registry.consistently(|| {
        let highest = derived::highest_live_slot(table).unwrap_or(0);
        (registry.limits(), highest as i32)
    })
}

#[inline]
fn reap_if_it_matters(registry: &'static Registry) -> Outcome<()> {
    // Only a marked segment can be destroyed with a process that died; and files wait to be unlinked that other processes
    // could not unlink.
    let namespace = &registry.namespace;
    let is_left = registry.consistently(|| namespace.marked() != 0 || namespace.has_dying())?;
    if is_left { registry.reap_all() } else { Ok(()) }
}

/// What SHM_INFO tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Segments, those marked for destruction included.
    pub used_ids: i32,
    /// Their pages.
    pub shm_tot: u64,
    /// Pages that are in memory.
    pub shm_rss: u64,
    /// Pages that are swapped out.
    pub shm_swp: u64,
    /// The highest index in use, 0 when there is none.
    pub highest: i32,
}

/// SHM_INFO.
pub fn usage() -> Outcome<Usage> {
    let registry = registry()?;
    registry.enforce_forced()?;
    reap_if_it_matters(registry)?;
    let namespace = &registry.namespace;
    let table = namespace.table();
    let rss = registry
        .resident
        .pages(namespace, |image| registry.resident_bytes(image));
    registry.consistently(|| Usage {
        used_ids: namespace.segments() as i32,
        shm_tot: namespace.pages(),
        shm_rss: rss,
        shm_swp: 0,
        highest: derived::highest_live_slot(table).unwrap_or(0) as i32,
    })
}

/// Calls `each` with every segment, by rising index, with its resident and its swapped bytes: `/proc/sysvipc/shm`.
pub fn list(each: &mut dyn FnMut(&Segment, u64, u64)) -> Outcome<()> {
    let registry = registry()?;
    let _blocked = registry.namespace.block()?;
    registry.enforce_forced()?;
    registry.reap_all()?;
    let table = registry.namespace.table();
    let mut image = SlotImage::default();
    for slot in derived::taken_slots(table) {
        if registry.live_at(slot, &mut image)? {
            each(&segment(&image), registry.resident_bytes(&image), 0);
        }
    }
    Ok(())
}

/// Sets a limit from the text that was written to its file under `/proc/sys/kernel`.
pub fn set_limit(name: LimitName, text: &[u8]) -> Outcome<()> {
    let registry = registry()?;
    let blocked = registry.block()?;
    // With shm_rmid_forced a death counts for more; those from before it was set must not.
    registry.reap_all()?;
    let session = registry.enter_blocked(blocked)?;
    if !may_set_limits() {
        return Err(StorageError::System {
            doing: "set a limit of",
            path: *registry.namespace.directory().path(),
            error: crate::os::OsError(libc::EACCES),
        }
        .into());
    }
    let held = session.lock()?;
    let mut limits = registry.limits();
    limits.parse_and_set(name, text)?;
    registry.namespace.set_limit_words(&held, words_of(&limits));
    drop(held);
    drop(session);
    registry.enforce_forced()
}
