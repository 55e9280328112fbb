//! This process: its namespace, opened at first use, and its own books behind the in-process lock.

use super::attaches::{Attaches, WIPED_WORDS};
use super::error::Outcome;
use super::forking;
use super::resident::Known;
use crate::os::brief::BriefLock;
use crate::os::fork::{ForkLock, Guard, Wiped};
use crate::os::signals::{self, Blocked, Mask};
use crate::os::{OsError, atfork, credentials, pages, process, stack, threads};
use crate::storage::live::{self, Identity};
use crate::storage::lock::Held;
use crate::storage::table::SlotImage;
use crate::storage::{LimitWords, Namespace, Obstacle, Rules, Unlinking, slots};
use crate::sysv::{self, Limits, SLOTS, ShmId};
use core::sync::atomic::{AtomicBool, Ordering};
use once_cell::race::OnceRef;

const _: () = assert!(SLOTS == crate::storage::layout::SLOTS);

/// Everything that this process knows.
pub struct Host {
    /// The namespace. A process keeps the one it opened first, whatever becomes of its uid.
    pub namespace: Namespace,
    /// What is guarded by the in-process lock.
    pub local: ForkLock<Local>,
    /// How much memory all segments took when that was asked last.
    pub resident: Known,
}

/// What is guarded by the in-process lock.
pub struct Local {
    /// The attaches.
    pub attaches: Attaches,
    /// A child that is being forked.
    pub fork: Option<forking::Plan>,
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
            attaches: Attaches::new(wiped),
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
pub(super) static OPENING: BriefLock = BriefLock::free();
static HANDLERS_INSTALLED: AtomicBool = AtomicBool::new(false);

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
    if HOST.get().is_none() && credentials::euid() == 0 {
        let _blocked = Blocked::all();
        Namespace::make_for_all(&rules_for_storage());
    }
}

/// A program is about to enter other namespaces, perhaps one of users. The one of segments that it has opened goes on counting
/// it as who it was outside, as the kernel does.
pub fn on_other_namespaces() {
    if HOST.get().is_some() {
        credentials::note_user_namespace();
    }
}

#[cold]
fn open() -> Outcome<&'static Host> {
    let _blocked = Blocked::all();
    if threads::is_alone() {
        return stack::on_own(open_undisturbed);
    }
    // A fork of another thread waits until what is opened here is closed.
    install_handlers_among_threads();
    OPENING.take();
    let opened = match HOST.get() {
        Some(host) => Ok(host),
        None => stack::on_own(open_undisturbed),
    };
    OPENING.let_go();
    opened
}

fn open_undisturbed() -> Outcome<&'static Host> {
    let call = |doing| move |error: OsError| Obstacle::Call { doing, error };
    let mut namespace = Namespace::open(&rules_for_storage())?;
    let behind_the_table = |len| namespace.move_table_before(len);
    let local = ForkLock::behind_slash(WIPED_WORDS, behind_the_table, Local::new)
        // A confined program may not be allowed to move it.
        .or_else(|_| ForkLock::new(WIPED_WORDS, Local::new))
        .map_err(call("set memory aside that children find empty"))?;
    let (host, room) = pages::leak_with_room(Host {
        namespace,
        local,
        resident: Known::new(),
    })
    .map_err(call("set memory aside"))?;
    host.local.lock().attaches.use_room(room);
    // Known from now on: the child of a vfork can be told from this process.
    host.local.pid();
    match HOST.set(host) {
        Ok(()) => Ok(host),
        // Another thread was faster. What this one opened stays mapped: a few pages, once.
        Err(()) => Ok(HOST.get().unwrap_or(host)),
    }
}

/// The host is about to install a signal handler: from now on our calls block signals. Returns when no thread is inside one
/// that does not, or after some seconds; the next to install one waits again then, and handlers that meet such a call are
/// refused, as if nobody had seen them come.
pub fn expect_handlers() {
    if signals::all_block() {
        return;
    }
    signals::note_handler();
    if let Some(host) = host_if_open() {
        let _blocked = Blocked::all();
        // A handler that was installed past us cannot wait for what it has interrupted.
        if host.local.is_held_below() || !host.local.calls_are_over() {
            return;
        }
    }
    signals::note_all_block();
}

#[cold]
fn reentered() -> Obstacle {
    Obstacle::Call {
        doing: "serve a signal handler that this library did not see being installed",
        error: OsError(libc::EBUSY),
    }
}

/// Installs the fork handlers, once: before the first attach, for without any there is nothing that a child inherits, and
/// in a program of several threads before the first call that opens a file.
///
/// A fork that another thread is in the middle of at that moment runs no handler of ours. Its child has no attach, or
/// one whose address it cannot know yet; if it ever makes a call it counts what it finds, as a child of a raw clone.
pub fn install_handlers() -> Outcome<()> {
    if HANDLERS_INSTALLED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    atfork::install::<forking::Forks>().map_err(|error| {
        HANDLERS_INSTALLED.store(false, Ordering::Relaxed);
        let doing = "install fork handlers";
        Obstacle::Call { doing, error }.into()
    })
}

/// Installs the fork handlers at once in a program of several threads: they wait for a call that another thread is in the
/// middle of, so that no child keeps a descriptor that is open meanwhile, or the lock of a liveness file with it.
#[inline]
fn install_handlers_among_threads() {
    if !threads::is_alone() && !HANDLERS_INSTALLED.load(Ordering::Relaxed) {
        // Without them a fork in the midst of this call may leave a descriptor to its child, which is no reason to fail now.
        let _ = install_handlers();
    }
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

/// A call that may change something: signals blocked (unless the host has no handlers), the in-process lock held, this
/// process registered.
pub struct Session {
    /// This process.
    pub host: &'static Host,
    /// Its cell.
    pub me: Identity,
    /// Whether it has one: see [`Host::enter_to_let_go`].
    pub counted: bool,
    /// What the lock guards.
    pub local: Guard<'static, Local>,
    // Dropped last: signals stay blocked until the lock is free.
    _blocked: Blocked,
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

    /// Goes on with a call that has blocked the signals before it looked at the table ([`Namespace::block`]).
    pub fn enter_blocked(&'static self, blocked: Blocked) -> Outcome<Session> {
        self.enter_as(blocked, true)
    }

    /// Begins a call that lets go of something, which must work in a process that cannot be registered, for want of
    /// room: in a child that has inherited what it lets go of. Then it is counted nowhere, the table is not touched,
    /// and its own books are all there is to change.
    pub fn enter_to_let_go(&'static self) -> Outcome<Session> {
        let blocked = self.namespace.block()?;
        self.enter_as(blocked, false)
    }

    fn enter_as(&'static self, blocked: Blocked, to_be_counted: bool) -> Outcome<Session> {
        install_handlers_among_threads();
        if !signals::all_block() && self.local.is_held_below() {
            return Err(reentered().into());
        }
        let (blocked, mut local) = self.local.lock_or_block(blocked);
        let me = match self.local.identity() {
            0 => match self.begin_as_new(&mut local) {
                Ok(me) => Some(me),
                Err(failure) if to_be_counted => return Err(failure),
                Err(_) => None,
            },
            packed => Some(Identity::from_packed(packed)),
        };
        if let Some(me) = me.filter(|_| !self.local.is_settled()) {
            self.settle_in(me, &mut local);
        }
        Ok(Session {
            host: self,
            me: me.unwrap_or(Identity::from_packed(0)),
            counted: me.is_some(),
            local,
            _blocked: blocked,
        })
    }

    /// While this lives a fork of another thread waits: for a look that opens files and changes nothing. `None`: there is no other
    /// thread, or this is a handler that has interrupted a call, and goes without. Signals are blocked, and this thread has
    /// no session.
    pub fn hold_off_forks(&'static self) -> Option<Guard<'static, Local>> {
        if threads::is_alone() || self.local.is_held_below() {
            return None;
        }
        install_handlers_among_threads();
        Some(self.local.lock())
    }

    /// A child of a raw clone, at its first call: what it has inherited is to be counted.
    #[cold]
    fn notice_child(&'static self) -> Outcome<&'static Host> {
        self.enter_to_let_go().map(|_| self)
    }

    /// This process's cell, if it has one.
    #[inline]
    pub fn me(&self) -> Option<Identity> {
        match self.local.identity() {
            0 => None,
            packed => Some(Identity::from_packed(packed)),
        }
    }

    /// A process without an identity: a new one, a child of a raw clone, or the child of a fork whose handler of ours
    /// has not run yet.
    #[cold]
    pub(super) fn begin_as_new(&'static self, local: &mut Local) -> Outcome<Identity> {
        stack::on_own(|| match self.become_planned_child_early(local) {
            Some(me) => Ok(me),
            None => self.register(local),
        })
    }

    /// In a child whose parent has counted for it: learns which records those are, and forgets what was not inherited.
    /// At its first call, for many a child never makes one.
    #[cold]
    pub(super) fn settle_in(&self, me: Identity, local: &mut Local) {
        if let Some(plan) = local.fork.take() {
            plan.keep_to_oneself();
        }
        local.attaches.drop_not_inherited();
        let held = self.namespace.lock(me);
        live::for_each_record(&held, me, |slot, record| {
            local.attaches.set_record(slot, record);
        });
        drop(held);
        self.local.set_settled();
    }

    /// Takes a cell for this process. A child of a raw clone, whose handlers never ran, enters its inherited
    /// attaches into the table now.
    fn register(&'static self, local: &mut Local) -> Outcome<Identity> {
        let me = self.namespace.register()?;
        self.local.set_identity(me.packed());
        // Known from now on: a program that confines itself later can still be told from its pid.
        self.local.pid();
        local.attaches.drop_not_inherited();
        if !local.attaches.is_empty() {
            self.enter_inherited(me, local);
        }
        self.local.set_settled();
        self.namespace.tidy(me, None);
        Ok(me)
    }

    /// Counts what a child has inherited without its parent's preparation.
    pub fn enter_inherited(&self, me: Identity, local: &mut Local) {
        let stamp = Some((process::parent_pid(), process::now_secs()));
        let held = self.namespace.lock(me);
        for at in 0..local.attaches.len() {
            let Some(entry) = local.attaches.entries().get(at).copied() else {
                continue;
            };
            let id = entry.piece.id;
            if live_locked(&held, id).is_some() {
                let known = local.attaches.record_of(id.slot());
                if let Ok(record) = slots::attach(&held, id.slot(), me, known, 1, stamp) {
                    local.attaches.set_record(id.slot(), record);
                }
            }
        }
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
        drop(session.lock());
        Ok(())
    }

    #[cold]
    fn read_locked(&'static self, slot: u32, image: &mut SlotImage) -> Outcome<()> {
        let session = self.enter()?;
        let held = session.host.namespace.lock(session.me);
        held.table().image_into(slot, image);
        Ok(())
    }
}

impl Session {
    /// Takes the in-table lock.
    pub fn lock(&self) -> Held<'static> {
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

/// The live segment with this id, with the lock held.
pub fn live_locked(held: &Held<'_>, id: ShmId) -> Option<SlotImage> {
    let image = held.table().image(id.slot());
    (image.is_live() && image.id == id.raw()).then_some(image)
}
