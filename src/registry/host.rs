//! This process: its namespace, opened at first use, and its own books behind the in-process lock.

use super::attach_list::{AttachList, WIPED_WORDS};
use super::error::Outcome;
use super::fork;
use super::resident::Known;
use crate::os::process_lock::{Guard, HeldBy, ProcessLock};
use crate::os::signal_mask::{Blocked, Mask};
use crate::os::timed_lock::{Deadline, NAP_NANOS, TimedLock};
use crate::os::wipe_on_fork::Wiped;
use crate::os::{OsError, credentials, own_stack, pages, process, threads};
use crate::storage::directory::Place;
use crate::storage::live::{self, Identity};
use crate::storage::lock::Held;
use crate::storage::table::SlotImage;
use crate::storage::{LimitWords, Namespace, Obstacle, Rules, Stored, Unlinking, slots};
use crate::sysv::{self, Limits, SLOTS, ShmId};
use once_cell::race::OnceRef;

const _: () = assert!(SLOTS == crate::storage::layout::SLOTS);

/// Everything that this process knows.
pub struct Host {
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
    /// A child that is being forked.
    pub fork: Option<fork::Plan>,
    /// The cell of the child that was forked last.
    pub last_child: Option<Identity>,
    /// The signal mask to be restored when the fork is over.
    pub fork_mask: Mask,
    /// The host's errno, if there is a plan: a failing fork sets it before our handler runs. To be restored likewise.
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

const _: () = assert!(size_of::<Host>() < 2048, "it leaves room for the attaches");

static HOST: OnceRef<'static, Host> = OnceRef::new();
/// Held while the namespace is opened in a program of several threads, and over a fork that comes before that.
pub(super) static OPENING: TimedLock = TimedLock::free();

/// This process's namespace; opened, or made, at first use. Of two threads that come first at once the second waits, for a
/// second at most. A failure is not remembered.
#[inline]
pub fn host() -> Outcome<&'static Host> {
    match HOST.get() {
        Some(host) if host.local.identity() == 0 && host.has_attaches() => host.notice_child(),
        Some(host) => Ok(host),
        None => open(),
    }
}

/// The namespace if it is open already.
#[inline]
pub fn host_if_open() -> Option<&'static Host> {
    HOST.get()
}

/// A program that runs as root is about to become another user. In system scope the namespace must be root's to be there for
/// all, so root makes it while there is one: a daemon that gives up root before its first segment could not.
pub fn on_giving_up_root() {
    if HOST.get().is_none() && Place::is_for_all() && credentials::euid() == 0 {
        let _blocked = Blocked::all();
        Namespace::make_for_all(&rules_for_storage());
    }
}

#[cold]
fn open() -> Outcome<&'static Host> {
    let _blocked = Blocked::all();
    if threads::is_alone() {
        return own_stack::call(open_undisturbed);
    }
    // A fork of another thread waits until what is opened here is closed.
    OPENING.take();
    let opened = match HOST.get() {
        Some(host) => Ok(host),
        None => own_stack::call(open_undisturbed),
    };
    OPENING.release();
    opened
}

fn open_undisturbed() -> Outcome<&'static Host> {
    let call = |doing| move |error: OsError| Obstacle::Call { doing, error };
    let namespace = Namespace::open(&rules_for_storage())?;
    let local = ProcessLock::new(WIPED_WORDS, Local::new)
        .map_err(call("set memory aside that children find empty"))?;
    let (host, room) = pages::leak_with_room(Host {
        namespace,
        local,
        resident: Known::new(),
    })
    .map_err(call("set memory aside"))?;
    if let Ok(mut local) = host.local.lock_soon() {
        local.attaches.use_room(room);
    }
    // Known from now on: the child of a vfork can be told from this process, and one that is in another user namespace.
    host.local.pid();
    credentials::note_user_namespace();
    match HOST.set(host) {
        Ok(()) => Ok(host),
        // Another thread was faster. What this one opened stays mapped: a few pages, once.
        Err(()) => Ok(HOST.get().unwrap_or(host)),
    }
}

/// Why the in-process lock cannot be had.
#[cold]
fn is_held(by: HeldBy) -> Obstacle {
    let doing = match by {
        HeldBy::Oneself => "serve a call that comes out of another one of the same thread",
        HeldBy::Another => "wait any longer for the call of another thread",
    };
    let error = OsError(libc::EBUSY);
    Obstacle::Call { doing, error }
}

/// What storage must know of the rules.
pub fn rules_for_storage() -> Rules {
    Rules {
        limits: words_of(&Limits::KERNEL_DEFAULTS),
        fresh_cursor: |seed| super::cursor_words(sysv::IdCursor::fresh(seed)),
        is_destroyed: sysv::must_destroy,
        may_unlink: |asked| {
            let Unlinking {
                euid,
                cuid,
                directory_owner,
                is_shared,
            } = *asked;
            sysv::may_unlink(euid, cuid, directory_owner, is_shared)
        },
    }
}

/// Limits as the table stores them.
pub fn words_of(limits: &Limits) -> LimitWords {
    LimitWords {
        shmmax: limits.shmmax,
        shmall: limits.shmall,
        shmmni: limits.shmmni,
        rmid_forced: u32::from(limits.shm_rmid_forced),
    }
}

/// A call that may change something: signals blocked, the in-process lock held, this process registered.
pub struct Session {
    /// This process.
    pub host: &'static Host,
    /// Its cell.
    pub me: Identity,
    /// Whether it has one, and the table can be changed: see [`Host::enter_to_follow`].
    pub counted: bool,
    /// What the lock guards.
    pub local: Guard<'static, Local>,
    // Dropped last: signals stay blocked until the lock is free.
    _blocked: Blocked,
}

/// The in-process lock, taken: with the signals blocked, and why the table's lock cannot be had, if it cannot.
pub(super) struct Entered {
    pub(super) local: Guard<'static, Local>,
    pub(super) kept: Option<Obstacle>,
    // Dropped last, as in a session.
    pub(super) blocked: Blocked,
}

impl Host {
    /// The namespace's limits.
    pub fn limits(&self) -> Limits {
        let words = self.namespace.limit_words();
        Limits {
            shmmax: words.shmmax,
            shmall: words.shmall,
            shmmni: words.shmmni,
            shm_rmid_forced: words.rmid_forced != 0,
        }
    }

    /// Begins a call that may change something.
    pub fn enter(&'static self) -> Outcome<Session> {
        let blocked = self.namespace.block()?;
        self.enter_blocked(blocked)
    }

    /// [`Namespace::block`] for a call that will change something and looks at others first: nobody keeps the table's lock, so
    /// that nothing in that look has to wait with the signals blocked.
    #[inline]
    pub fn block(&'static self) -> Outcome<Blocked> {
        let blocked = self.namespace.block()?;
        if self.namespace.is_unlocked() {
            return Ok(blocked);
        }
        let Entered { blocked, kept, .. } = self.take_locks_patiently(blocked)?;
        match kept {
            None => Ok(blocked),
            Some(kept) => Err(kept.into()),
        }
    }

    /// [`Host::enter`], in a look that has blocked the signals: they are let through while a lock is waited for.
    pub fn enter_from(&'static self, blocked: Option<Blocked>) -> Outcome<Session> {
        drop(blocked);
        self.enter()
    }

    /// Goes on with a call that has blocked the signals before it looked at the table ([`Namespace::block`]).
    pub fn enter_blocked(&'static self, blocked: Blocked) -> Outcome<Session> {
        let mut entered = self.take_locks(blocked)?;
        if let Some(kept) = entered.kept {
            return Err(kept.into());
        }
        let me = self.begin(&mut entered.local)?;
        Ok(self.session(entered, Some(me)))
    }

    /// Begins a detach, which must work in a process that cannot be registered, for want of room: in a child that has
    /// inherited what it detaches. Then it is counted nowhere, the table is not touched, and its own books are all there is
    /// to change.
    pub fn enter_to_detach(&'static self) -> Outcome<Session> {
        let blocked = self.namespace.block()?;
        let mut entered = self.take_locks(blocked)?;
        if let Some(kept) = entered.kept {
            return Err(kept.into());
        }
        let me = self.begin(&mut entered.local).ok();
        Ok(self.session(entered, me))
    }

    /// Begins a call that only follows what the program does to its mappings, which cannot be refused: likewise, and when
    /// somebody keeps the table's lock what is missing there is entered by a later call.
    pub fn enter_to_follow(&'static self) -> Outcome<Session> {
        let blocked = self.namespace.block()?;
        let mut entered = self.take_locks(blocked)?;
        let me = match entered.kept {
            Some(_) => {
                self.namespace.note_unfinished();
                None
            }
            None => self.begin(&mut entered.local).ok(),
        };
        Ok(self.session(entered, me))
    }

    fn session(&'static self, entered: Entered, me: Option<Identity>) -> Session {
        Session {
            host: self,
            me: me.unwrap_or(Identity::from_packed(0)),
            counted: me.is_some(),
            local: entered.local,
            _blocked: entered.blocked,
        }
    }

    /// Takes the in-process lock once nobody keeps the table's. As long as that, or another thread, is waited for, nothing
    /// is held between two tries and signals are let through, so that whoever keeps a lock keeps no program from ending.
    #[inline]
    pub(super) fn take_locks(&'static self, blocked: Blocked) -> Outcome<Entered> {
        if let Ok(local) = self.local.lock_soon() {
            if self.namespace.keeper(self.me()).is_none() {
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
        let deadline = Deadline::of_a_call();
        // A process that shares memory and thread pointer (`clone` with `CLONE_VM` alone) looks like this thread, and goes on.
        let of_oneself = Deadline::in_a_second();
        loop {
            let is_over = deadline.has_passed();
            match self.local.lock_soon() {
                Ok(local) => {
                    let kept = self.namespace.keeper(self.me());
                    if kept.is_none() || is_over {
                        return Ok(Entered {
                            local,
                            kept,
                            blocked,
                        });
                    }
                }
                Err(by) if is_over || (by == HeldBy::Oneself && of_oneself.has_passed()) => {
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

    /// The calling process's cell; it is registered, what a child has inherited is known, and what an earlier call could not
    /// enter into the table is there.
    #[inline]
    pub(super) fn begin(&'static self, local: &mut Local) -> Outcome<Identity> {
        let me = match self.me() {
            Some(me) => me,
            None => self.begin_as_new(local)?,
        };
        if !self.local.are_words_valid() {
            self.settle_in(me, local)?;
        }
        if self.namespace.has_unfinished() {
            self.finish(me, local)?;
        }
        Ok(me)
    }

    /// Makes up for what this process could not enter into the table because somebody kept its lock.
    #[cold]
    #[inline(never)]
    fn finish(&'static self, me: Identity, local: &mut Local) -> Outcome<()> {
        let held = self.namespace.lock(me)?;
        self.namespace.forget_unfinished(&held);
        slots::reduce(&held, me, |id| local.attaches.pieces_of(id));
        live::for_each_record(&held, me, |slot, record| {
            local.attaches.set_record(slot, record);
        });
        for at in 0..local.attaches.len() {
            let Some(id) = local.attaches.entries().get(at).map(|entry| entry.piece.id) else {
                continue;
            };
            let known = local.attaches.record_of(id.slot());
            let counted = known.map_or(0, |record| slots::counted_by(&held, record, me, id.raw()));
            let missing = local.attaches.pieces_of(id.raw()).saturating_sub(counted);
            if missing > 0 && live_locked(&held, id).is_some() {
                if let Ok(record) = slots::attach(&held, id.slot(), me, known, missing, None) {
                    local.attaches.set_record(id.slot(), record);
                }
            }
        }
        drop(held);
        self.namespace.sweep(me);
        Ok(())
    }

    /// While this lives a fork of another thread waits: for a look that opens files and changes nothing. `None`: there is no
    /// other thread, or one is in a call for long. Signals are blocked, and this thread has no session.
    pub fn hold_off_forks(&'static self) -> Option<Guard<'static, Local>> {
        if threads::is_alone() {
            return None;
        }
        self.local.lock_soon().ok()
    }

    /// A child of a raw clone, at its first call: what it has inherited is to be counted.
    #[cold]
    fn notice_child(&'static self) -> Outcome<&'static Host> {
        self.enter_to_follow().map(|_| self)
    }

    /// This process's cell, if it has one.
    #[inline]
    pub fn me(&self) -> Option<Identity> {
        match self.local.identity() {
            0 => None,
            packed => Some(Identity::from_packed(packed)),
        }
    }

    /// A process without an identity: a new one, or a child that nothing was prepared for.
    #[cold]
    #[inline(never)]
    fn begin_as_new(&'static self, local: &mut Local) -> Outcome<Identity> {
        self.disown_plan(local);
        own_stack::call(|| self.register(local))
    }

    /// In a child whose parent has counted for it: learns which records those are, and forgets what was not inherited.
    /// At its first call, for many a child never makes one.
    #[cold]
    #[inline(never)]
    fn settle_in(&self, me: Identity, local: &mut Local) -> Outcome<()> {
        self.local.forget_fork();
        if let Some(plan) = local.fork.take() {
            plan.keep_to_oneself();
        }
        local.attaches.drop_not_inherited();
        let held = self.namespace.lock(me)?;
        live::for_each_record(&held, me, |slot, record| {
            local.attaches.set_record(slot, record);
        });
        drop(held);
        self.local.set_words_valid();
        Ok(())
    }

    /// Takes a cell for this process. A child of a raw clone, whose handlers never ran, enters its inherited
    /// attaches into the table now.
    fn register(&'static self, local: &mut Local) -> Outcome<Identity> {
        let me = self.namespace.register()?;
        self.local.set_identity(me.packed());
        // Known from now on: a program that confines itself later can still be told from its pid.
        self.local.pid();
        self.local.forget_fork();
        local.attaches.drop_not_inherited();
        if !local.attaches.is_empty() {
            let stamp = Some((process::parent_pid(), process::now_secs()));
            // Refused, it is unfinished, and made up for at the next call.
            if let Ok(held) = self.namespace.lock(me) {
                count(&held, me, local, stamp);
            }
        }
        self.local.set_words_valid();
        self.namespace.tidy(me, None);
        Ok(me)
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

    /// Takes the table's lock once, and with it what is to be repaired after a death.
    #[cold]
    #[inline(never)]
    pub fn repair_if_need_be(&'static self) -> Outcome<()> {
        let session = self.enter()?;
        session.lock()?;
        Ok(())
    }

    #[cold]
    fn read_locked(&'static self, slot: u32, image: &mut SlotImage) -> Outcome<()> {
        let session = self.enter()?;
        let held = session.lock()?;
        held.table().image_into(slot, image);
        Ok(())
    }
}

impl Session {
    /// Takes the in-table lock.
    pub fn lock(&self) -> Stored<Held<'static>> {
        self.host.namespace.lock(self.me)
    }

    /// The record that counts this process's attaches of segment `id`. What the books remember may be the parent's, or
    /// an earlier child's, in a child for whose own there was no room.
    pub fn record_of(&self, held: &Held<'_>, id: ShmId) -> Option<u32> {
        let record = self.local.attaches.record_of(id.slot())?;
        (self.counted && slots::counts_for(held, record, self.me, id.raw())).then_some(record)
    }

    /// Unlinks the files of segments that are gone.
    pub fn sweep(&self) {
        self.host.namespace.sweep(self.me);
    }

    /// Unlinks the file of a segment that this process has ended and claimed.
    pub fn bury(&self, image: &SlotImage) {
        self.host.namespace.unlink_claimed(self.me, image);
    }
}

/// Counts all attaches of this process in the table.
fn count(held: &Held<'_>, me: Identity, local: &mut Local, stamp: Option<(i32, i64)>) {
    for at in 0..local.attaches.len() {
        let Some(entry) = local.attaches.entries().get(at).copied() else {
            continue;
        };
        let id = entry.piece.id;
        if live_locked(held, id).is_some() {
            let known = local.attaches.record_of(id.slot());
            if let Ok(record) = slots::attach(held, id.slot(), me, known, 1, stamp) {
                local.attaches.set_record(id.slot(), record);
            }
        }
    }
}

/// The live segment with this id, with the lock held.
pub fn live_locked(held: &Held<'_>, id: ShmId) -> Option<SlotImage> {
    let image = held.table().image(id.slot());
    (image.is_live() && image.id == id.raw()).then_some(image)
}
