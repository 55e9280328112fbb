//! A call that may change something: the signals are blocked, the in-process lock is held, this process is registered.

use super::error::Outcome;
use super::process::{Local, Registry};
use crate::os::process_lock::{Guard, HeldBy};
use crate::os::signal_mask::Blocked;
use crate::os::timed_lock::{Deadline, NAP_NANOS};
use crate::os::{OsError, process};
use crate::storage::table::Held;
use crate::storage::table::Identity;
use crate::storage::table::SlotImage;
use crate::storage::table::attach_record;
use crate::storage::{StorageError, Stored};
use crate::sysv::ShmId;

/// A call that may change something: signals blocked, the in-process lock held, this process registered.
pub struct Session {
    /// The process that makes the call.
    pub registry: &'static Registry,
    /// Its cell.
    pub me: Identity,
    /// Whether it has a cell, and the table can be changed: see [`Registry::enter_to_follow`].
    pub counted: bool,
    /// What the lock guards.
    pub local: Guard<'static, Local>,
    // Dropped last: signals stay blocked until the lock is free.
    _blocked: Blocked,
}

/// The in-process lock, taken: with the signals blocked, and the process that keeps the table's lock, if one does.
pub(super) struct Entered {
    pub(super) local: Guard<'static, Local>,
    pub(super) kept: Option<Identity>,
    // Dropped last, as in a session.
    pub(super) blocked: Blocked,
}

/// Why the in-process lock cannot be had.
#[cold]
fn is_held(by: HeldBy) -> StorageError {
    let doing = match by {
        HeldBy::Oneself => "serve a call that comes out of another one of the same thread",
        HeldBy::Another => "wait any longer for the call of another thread",
    };
    let error = OsError(libc::EBUSY);
    StorageError::Call { doing, error }
}

impl Registry {
    /// Begins a call that may change something.
    pub fn enter(&'static self) -> Outcome<Session> {
        let blocked = self.namespace.block()?;
        self.enter_blocked(blocked)
    }

    /// Blocks the signals for a call that reads the table before it changes something. On return no other process holds the
    /// table's lock, so that reading does not have to wait for it with the signals blocked.
    #[inline]
    pub fn block(&'static self) -> Outcome<Blocked> {
        let blocked = self.namespace.block()?;
        if self.namespace.is_unlocked() {
            return Ok(blocked);
        }
        let Entered { blocked, kept, .. } = self.take_locks_patiently(blocked)?;
        self.must_not_be_kept(kept).map(|()| blocked)
    }

    /// [`Registry::enter`] from a function that has blocked the signals: they are let through while a lock is waited for.
    pub fn enter_from(&'static self, blocked: Option<Blocked>) -> Outcome<Session> {
        drop(blocked);
        self.enter()
    }

    /// [`Registry::enter`] for a call that has blocked the signals already ([`Registry::block`]).
    pub fn enter_blocked(&'static self, blocked: Blocked) -> Outcome<Session> {
        let mut entered = self.take_locks(blocked)?;
        self.must_not_be_kept(entered.kept)?;
        let me = self.begin(&mut entered.local)?;
        Ok(self.session(entered, Some(me)))
    }

    /// Like [`Registry::enter`], for shmdt: succeeds even if no cell is free. A child of a raw clone may have attaches and no cell;
    /// it is counted nowhere, so only its attach list changes.
    pub fn enter_to_detach(&'static self) -> Outcome<Session> {
        let blocked = self.namespace.block()?;
        let mut entered = self.take_locks(blocked)?;
        self.must_not_be_kept(entered.kept)?;
        let me = self.begin(&mut entered.local).ok();
        Ok(self.session(entered, me))
    }

    /// Like [`Registry::enter_to_detach`], for calls that change mappings and cannot be refused: succeeds also while another process
    /// keeps the table's lock. A later call enters into the table what is missing there.
    pub fn enter_to_follow(&'static self) -> Outcome<Session> {
        let blocked = self.namespace.block()?;
        let mut entered = self.take_locks(blocked)?;
        let me = match entered.kept {
            Some(_) => {
                self.namespace.processes().note_unfinished();
                None
            }
            None => self.begin(&mut entered.local).ok(),
        };
        Ok(self.session(entered, me))
    }

    #[inline]
    fn must_not_be_kept(&self, keeper: Option<Identity>) -> Outcome<()> {
        match keeper {
            None => Ok(()),
            Some(keeper) => Err(self.namespace.processes().is_kept_by(keeper).into()),
        }
    }

    fn session(&'static self, entered: Entered, me: Option<Identity>) -> Session {
        Session {
            registry: self,
            me: me.unwrap_or(Identity::from_packed(0)),
            counted: me.is_some(),
            local: entered.local,
            _blocked: entered.blocked,
        }
    }

    /// Takes the in-process lock while no other process holds the table's. Between two tries nothing is held and signals are let
    /// through, so that a process that is stopped with a lock held does not keep others from ending.
    #[inline]
    pub(super) fn take_locks(&'static self, blocked: Blocked) -> Outcome<Entered> {
        if let Ok(local) = self.local.lock_soon() {
            if self.namespace.processes().keeper(self.me()).is_none() {
                return Ok(Entered {
                    local,
                    kept: None,
                    blocked,
                });
            }
        }
        self.take_locks_patiently(blocked)
    }

    #[cold]
    #[inline(never)]
    fn take_locks_patiently(&'static self, mut blocked: Blocked) -> Outcome<Entered> {
        // For a process that keeps the table's lock, and for a thread that keeps this one.
        let (deadline, mut patience) = (Deadline::of_a_call(), Deadline::of_a_call());
        let mut turns = self.local.turns();
        // A process that shares memory and thread pointer (`clone` with `CLONE_VM` alone) cannot be told from this thread; it
        // releases the lock soon.
        let of_oneself = Deadline::in_a_second();
        loop {
            // The lock is not fair: as long as other threads take turns, it is nobody's fault that this one waits.
            if self.local.turns() != turns {
                turns = self.local.turns();
                patience = Deadline::of_a_call();
            }
            let is_over = deadline.has_passed();
            match self.local.lock_soon() {
                Ok(local) => {
                    let kept = self.namespace.processes().keeper(self.me());
                    if kept.is_none() || is_over {
                        return Ok(Entered {
                            local,
                            kept,
                            blocked,
                        });
                    }
                }
                Err(by)
                    if patience.has_passed()
                        || (by == HeldBy::Oneself && of_oneself.has_passed()) =>
                {
                    return Err(is_held(by).into());
                }
                Err(_) => {}
            }
            // Signals that are pending are handled here.
            drop(blocked);
            process::nap(NAP_NANOS);
            blocked = self.namespace.block()?;
        }
    }

    /// What `read` makes of the table's totals while they do not change: without a lock if possible. A process that was changing
    /// them may have died over it; taking the lock repairs that.
    #[inline]
    pub fn consistently<R>(&'static self, read: impl Fn() -> R) -> Outcome<R> {
        match self.namespace.table().consistently(&read) {
            Some(answer) => Ok(answer),
            None => self.read_totals_locked(read),
        }
    }

    #[cold]
    #[inline(never)]
    fn read_totals_locked<R>(&'static self, read: impl Fn() -> R) -> Outcome<R> {
        let session = self.enter()?;
        let _held = session.lock()?;
        Ok(read())
    }
}

impl Session {
    /// Takes the in-table lock.
    pub fn lock(&self) -> Stored<Held<'static>> {
        self.registry.namespace.lock(self.me)
    }

    /// The record that counts this process's attaches of segment `id`. The attach list may still
    /// have the parent's record, or an earlier child's, in a child that found no room for its own.
    pub fn record_of(&self, held: &Held<'_>, id: ShmId) -> Option<u32> {
        let record = self.local.attaches.record_of(id.slot())?;
        (self.counted && attach_record::counts_for(held, record, self.me, id.raw()))
            .then_some(record)
    }

    /// Unlinks the files of segments that are destroyed.
    pub fn sweep(&self) {
        self.registry.namespace.sweep(self.me);
    }

    /// Unlinks the file of a segment that this process has destroyed, and frees its slot.
    pub fn unlink_claimed(&self, image: &SlotImage) {
        self.registry.namespace.unlink_claimed(self.me, image);
    }
}
