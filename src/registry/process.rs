//! This process: its namespace, opened at first use, and what the in-process lock guards.

use super::attach_list::{self, AttachList, WIPED_WORDS};
use super::error::Outcome;
use super::resident::Known;
use super::rules;
use crate::os::path::Path;
use crate::os::process_lock::{Guard, ProcessLock};
use crate::os::signal_mask::{Blocked, Mask};
use crate::os::timed_lock::TimedLock;
use crate::os::wipe_on_fork::Wiped;
use crate::os::{OsError, credentials, file, own_stack, pages, threads};
use crate::storage::process::Prepared;
use crate::storage::runtime_dir::{Choice, Place};
use crate::storage::table::Held;
use crate::storage::table::Identity;
use crate::storage::table::SlotImage;
use crate::storage::{Namespace, StorageError};
use crate::sysv::{self, Limits, ShmId};
use once_cell::race::OnceRef;
/// What the library knows in this process.
pub struct Registry {
    /// The namespace. A process keeps the one it opened first, whatever becomes of its uid.
    pub namespace: Namespace,
    /// What is guarded by the in-process lock.
    pub local: ProcessLock<Local>,
    /// How much memory all segments took when that was asked last.
    pub resident: Known,
}

/// What is guarded by the in-process lock.
pub struct Local {
    /// The attaches.
    pub attaches: AttachList,
    /// What was prepared for a child. As long as a process has it, outside of a fork of its own, the process is a child that
    /// has the mapping that holds the lock of the prepared cell, and its own children inherit that mapping.
    pub fork: Option<Prepared>,
    /// The cell of the child that was forked last.
    pub last_child: Option<Identity>,
    /// The signal mask to be restored when the fork is over.
    pub fork_mask: Mask,
    /// The host's errno, if a child was prepared: a failing fork sets it before our handler runs. Restored with the mask.
    pub fork_errno: Option<i32>,
}

impl Local {
    fn new(wiped: Wiped) -> Local {
        Local {
            attaches: AttachList::new(wiped),
            fork: None,
            last_child: None,
            fork_mask: 0,
            fork_errno: None,
        }
    }
}

const _: () = assert!(
    size_of::<Registry>() < 2048,
    "it leaves room for the attaches"
);

static REGISTRY: OnceRef<'static, Registry> = OnceRef::new();
/// Held while the namespace is opened in a program of several threads, and over a fork that comes before that.
pub(super) static OPENING: TimedLock = TimedLock::free();

/// This process's namespace; opened, or made, at first use. Of two threads that make the first call at once one waits, for
/// a second at most. An error is not remembered.
#[inline]
pub fn registry() -> Outcome<&'static Registry> {
    match REGISTRY.get() {
        Some(registry) if registry.local.identity() == 0 && registry.has_attaches() => {
            registry.notice_child()
        }
        Some(registry) => Ok(registry),
        None => open(),
    }
}

/// The namespace if it is open already.
#[inline]
pub fn registry_if_open() -> Option<&'static Registry> {
    REGISTRY.get()
}

/// The namespace for an answer that takes no lock: it is open, no child has to be noticed and no orphan to be dropped.
#[inline(always)]
pub fn registry_for_fast_path() -> Option<&'static Registry> {
    let registry = registry_if_open()?;
    let unnoticed = registry.local.identity() == 0 && registry.has_attaches();
    (!unnoticed && !registry.namespace.is_rmid_forced()).then_some(registry)
}

#[cold]
fn open() -> Outcome<&'static Registry> {
    let _blocked = Blocked::all();
    if threads::is_alone() {
        return own_stack::call(open_undisturbed);
    }
    // A fork of another thread waits until what is opened here is closed.
    OPENING.take();
    let opened = match REGISTRY.get() {
        Some(registry) => Ok(registry),
        None => own_stack::call(open_undisturbed),
    };
    OPENING.release();
    opened
}

fn open_undisturbed() -> Outcome<&'static Registry> {
    sysv::set_page_size(crate::os::process::page_size() as u64);
    let call = |doing| move |error: OsError| StorageError::Call { doing, error };
    let namespace = Namespace::open(&rules::for_storage())?;
    let local = ProcessLock::new(WIPED_WORDS, Local::new)
        .map_err(call("set memory aside that children find empty"))?;
    let (registry, room) = pages::leak_with_room(Registry {
        namespace,
        local,
        resident: Known::new(),
    })
    .map_err(call("set memory aside"))?;
    if let Ok(mut local) = registry.local.lock_soon() {
        local.attaches.use_room(room);
    }
    // Asked now: by its pid the child of a vfork is told from this process, and by the other what is in another user
    // namespace later.
    registry.local.pid();
    credentials::note_user_namespace();
    match REGISTRY.set(registry) {
        Ok(()) => Ok(registry),
        // Another thread was faster. What this thread opened stays mapped: a few pages, once.
        Err(()) => Ok(REGISTRY.get().unwrap_or(registry)),
    }
}

impl Registry {
    /// The namespace's limits.
    pub fn limits(&self) -> Limits {
        rules::limits_of(&self.namespace.limit_words())
    }

    /// Whether this process has anything attached.
    pub fn has_attaches(&self) -> bool {
        attach_list::may_touch(0, u64::MAX)
    }

    /// This process's cell, if it has one.
    #[inline]
    pub fn me(&self) -> Option<Identity> {
        match self.local.identity() {
            0 => None,
            packed => Some(Identity::from_packed(packed)),
        }
    }

    /// While this lives, forks of other threads wait, so that no child inherits what is open meanwhile. For a thread that opens
    /// files, has no session and has blocked the signals. `None`: there is no other thread, or one is in a call for long.
    pub fn hold_off_forks(&'static self) -> Option<Guard<'static, Local>> {
        if threads::is_alone() {
            return None;
        }
        self.local.lock_soon().ok()
    }

    /// Reads the live segment with this id into `image`, without a lock if possible. `false`: there is none.
    #[inline]
    pub fn live(&'static self, id: ShmId, image: &mut SlotImage) -> Outcome<bool> {
        Ok(self.live_at(id.slot(), image)? && image.id == id.raw())
    }

    /// Reads the live segment in this slot into `image`, without a lock if possible. `false`: there is none.
    #[inline]
    pub fn live_at(&'static self, slot: u32, image: &mut SlotImage) -> Outcome<bool> {
        if !self.namespace.table().snapshot_into(slot, image) {
            self.read_locked(slot, image)?;
        }
        Ok(image.is_live())
    }

    #[cold]
    fn read_locked(&'static self, slot: u32, image: &mut SlotImage) -> Outcome<()> {
        let session = self.enter()?;
        let held = session.lock()?;
        *image = held.table().image(slot);
        Ok(())
    }
}

/// The live segment with this id, with the lock held.
pub fn live_locked(held: &Held<'_>, id: ShmId) -> Option<SlotImage> {
    let image = held.table().image(id.slot());
    (image.is_live() && image.id == id.raw()).then_some(image)
}

/// The runtime directory that the settings lead to, and why.
pub fn chosen_place() -> Outcome<(Path, &'static str)> {
    own_stack::call(|| {
        let place = Place::choose()?;
        let is_there = file::status_of(&place.directory).is_ok();
        let why = match (place.choice, is_there) {
            (Choice::Setting, _) => "SHMSHIM_DIR says so",
            (_, true) => "SHMSHIM_DIR is not set, and a namespace is there",
            (_, false) => "SHMSHIM_DIR is not set, and this is the first place that can be used",
        };
        Ok((place.directory, why))
    })
}
