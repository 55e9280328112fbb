//! fork: the child's cell and records are there before the child is, so that nattch is right when fork returns.
//!
//! ```text
//!   prepare (parent)   nothing at all in a process of one thread with nothing attached. Else the in-process lock is taken and
//!                      kept; a cell for the child is prepared, its liveness file locked; a record per segment counts for it
//!   child              the cell becomes its own (`storage/prepared.rs`); the lock was wiped, so it is free
//!   parent             ends its hold on the child's liveness lock, of which it has a mapping, too
//! ```
//!
//! Our handlers are the first to be registered, from a constructor that runs before all others (`shim/src/lib.rs`): so
//! prepare is the last and the other two are the first to run, and no handler of others runs between them. Where a C
//! library has registered some before us all the same, a call that such a handler makes is refused: its thread holds the
//! in-process lock.
//!
//! A fork that failed leaves a cell in the state Forking with nobody holding its lock: the parent, or whoever looks
//! first, undoes it. A child that was killed before its handler ran looks the same, and nobody can tell.
//!
//! When somebody keeps the table's lock nothing is prepared after a while, and the child is counted at its first call.
//!
//! What the handlers write costs more than what they do: a page that is written on one side of a fork while the other
//! has it too is copied. The parent writes one ordinary page, before the fork, and after it to forget the plan; the child
//! writes none, but the one that it has found wiped. So in the child the plan stays where it is when it is over, and
//! whoever finds it looks whether it is still a plan.

use super::attach_list;
use super::host::{Entered, Host, Local, OPENING, host_if_open, live_locked};
use crate::os::atfork::Handlers;
use crate::os::signal_mask;
use crate::os::timed_lock::WithinASecond;
use crate::os::{atfork, errno, process, threads};
use crate::storage::live::Identity;
use crate::storage::prepared::Prepared;
use crate::storage::slots;

/// What was prepared for a child. As long as a process has one, outside of a fork of its own, it is a child that has the
/// mapping that holds the lock of the prepared cell, and that its own children inherit.
#[derive(Clone, Copy)]
pub struct Plan {
    prepared: Prepared,
}

/// For `pthread_atfork`.
pub struct Forks;

impl Handlers for Forks {
    fn prepare() {
        prepare();
    }

    fn parent() {
        parent();
    }

    #[inline(always)]
    fn child() {
        child();
    }
}

/// Installs the fork handlers. To be called once, before anybody else installs some.
pub fn install_handlers() {
    // Without them a child is counted at its first call.
    let _ = atfork::install::<Forks>();
}

static BEFORE_FORK: atfork::Work = atfork::Work::none();

/// Has `work` called in the parent before each fork, while nothing is locked. For one function; a second one
/// replaces the first.
pub fn on_fork_prepare(work: fn()) {
    BEFORE_FORK.set(work);
}

fn prepare() {
    BEFORE_FORK.run();
    if host_if_open().is_none() && !threads::is_alone() {
        OPENING.take();
    }
    let Some(host) = host_if_open() else { return };
    // Opened meanwhile: who has done it is in a call.
    OPENING.release();
    // A call that another thread is in the middle of may have a descriptor open, and the child would keep it, with the
    // lock that its file may have. So with threads the lock is kept though nothing is inherited.
    if !attach_list::are_none() || !threads::is_alone() {
        host.prepare_fork();
    } else {
        // Left by the fork that this process is the child of.
        host.local.forget_fork();
    }
}

fn parent() {
    OPENING.release();
    if let Some(host) = host_if_open() {
        host.end_fork();
    }
}

/// Writes to no page but those that the child finds wiped, if it can: what is over is forgotten later. What nearly every
/// child does is one piece of code, for each part of the library that it runs through is a page fault.
#[inline(always)]
fn child() {
    let Some(open) = host_if_open() else {
        OPENING.release();
        return;
    };
    // Else nothing was prepared: the child is counted at its first call.
    if !open.local.is_forking_thread() {
        return;
    }
    let mut local = open.local.lock_as_child();
    let mask = local.fork_mask;
    let mut counted = false;
    if let Some(plan) = local.fork {
        counted = open.become_planned_child(&mut local, &plan);
    }
    if let Some(kept) = local.fork_errno {
        errno::set(kept);
    }
    drop(local);
    if !counted && open.has_attaches() {
        count_unplanned(open);
    }
    signal_mask::restore(mask);
}

// What seldom happens stands in functions of its own, for its room on the stack may be a page that both must copy.

/// A child without a plan, or with one whose cell is another's by now, registers and counts itself.
#[cold]
#[inline(never)]
fn count_unplanned(open: &'static Host) {
    let _short = WithinASecond::begin();
    let _ = open.enter_to_follow();
}

impl Plan {
    /// In a child that lives in the prepared cell: has its own children not inherit what holds its lock.
    pub fn keep_to_oneself(&self) {
        self.prepared.keep_to_oneself();
    }
}

impl Host {
    /// Takes the in-process lock, which is kept over the fork, and prepares a cell for the child, if it will inherit anything.
    fn prepare_fork(&'static self) {
        let entered = self.namespace.block().map_err(Into::into);
        let Ok(entered) = entered.and_then(|blocked| self.take_locks(blocked)) else {
            // Nothing is prepared, and the child counts itself.
            self.local.forget_fork();
            return;
        };
        let Entered {
            blocked,
            mut local,
            kept,
        } = entered;
        local.fork_errno = None;
        let inherits = local
            .attaches
            .entries()
            .iter()
            .any(|entry| !entry.not_inherited);
        // A child of a raw clone that forks before any call of its own is counted first itself.
        let is_known = self.me().is_some() || inherits || local.fork.is_some();
        let me = match kept {
            None if is_known => self.begin(&mut local).ok(),
            _ => None,
        };
        if let Some(left) = local.fork.take() {
            left.keep_to_oneself();
        }
        if let Some(me) = me.filter(|_| inherits) {
            // Without a plan the child registers itself, as one of a raw clone does.
            local.fork = self.plan_child(me, &mut local);
        }
        if local.fork.is_some() {
            // A fork that fails says so in errno before the parent's handler runs, one that works leaves it alone.
            let before = errno::get();
            if before != 0 {
                local.fork_errno = Some(before);
                errno::set(0);
            }
        }
        local.fork_mask = blocked.into_mask();
        local.keep_over_fork();
    }

    /// In the parent: ends what [`Host::prepare_fork`] began.
    fn end_fork(&'static self) {
        let Some(mut local) = self.local.lock_kept_over_fork() else {
            return;
        };
        let mask = local.fork_mask;
        // Forgotten first: a raw child that another thread makes must not take it for its own, nor end what is not there.
        if let Some(plan) = local.fork.take() {
            let failed = errno::get() != 0;
            if failed || local.fork_errno.is_some() {
                errno::set(local.fork_errno.unwrap_or(0));
            }
            self.namespace.parent_lets_go(&plan.prepared);
            if let Some(me) = self.me().filter(|_| failed) {
                self.undo_failed(me, &plan, &mut local);
            }
        }
        drop(local);
        signal_mask::restore(mask);
    }

    /// In the child: what the parent has planned becomes its own. `false`: its cell is another's.
    #[inline(always)]
    fn become_planned_child(&self, local: &mut Local, plan: &Plan) -> bool {
        // Known from now on, as in any process that registers.
        let pid = self.local.pid();
        let Some(me) = self.namespace.child_adopts(&plan.prepared, pid) else {
            self.disown_plan(local);
            return false;
        };
        self.local.set_identity(me.packed());
        if me != plan.prepared.child() {
            local.fork = None;
        }
        true
    }

    /// In a child that the plan is not for: ends its hold on the lock of another process, of its parent, which is a child
    /// itself and has made no call yet, or of a sibling, when it was made in the middle of a fork.
    #[cold]
    #[inline(never)]
    pub(super) fn disown_plan(&self, local: &mut Local) {
        if let Some(plan) = local.fork.take() {
            plan.prepared.drop_mapping();
        }
    }

    /// Takes a cell for the child and counts in it what the child will inherit.
    fn plan_child(&self, me: Identity, local: &mut Local) -> Option<Plan> {
        let alone = threads::is_alone();
        let (prepared, again) = self
            .namespace
            .prepare_child(me, local.last_child, alone)
            .ok()?;
        let child = prepared.child();
        local.last_child = Some(child);
        // Whoever adds a cell looks for dead ones.
        if !again {
            self.namespace.tidy(me, Some(child));
        }
        let stamp = Some((self.local.pid(), process::now_secs()));
        local.attaches.plan();
        let Ok(held) = self.namespace.lock(me) else {
            prepared.drop_mapping();
            return None;
        };
        for at in 0..local.attaches.len() {
            let Some(id) = local.attaches.entries().get(at).map(|entry| entry.piece.id) else {
                continue;
            };
            let count = local.attaches.take_planned(id.slot());
            let Some(image) = live_locked(&held, id).filter(|_| count != 0) else {
                continue;
            };
            local
                .attaches
                .note_stamp(id.slot(), image.atime, image.lpid);
            // Crash here: a cell that is Forking and whose lock died with this process is undone by the next look.
            let _ = slots::attach(&held, id.slot(), child, None, count, stamp);
        }
        drop(held);
        Some(Plan { prepared })
    }

    /// The fork failed, if the child's cell is still as it was prepared and nobody holds its lock: takes it all back.
    #[cold]
    #[inline(never)]
    fn undo_failed(&self, me: Identity, plan: &Plan, local: &mut Local) {
        let cell = plan.prepared.child().cell();
        if !self.namespace.is_prepared(&plan.prepared) || !self.namespace.reap_if_dead(me, cell) {
            return;
        }
        let pid = self.local.pid();
        let Ok(held) = self.namespace.lock(me) else {
            return;
        };
        for entry in local.attaches.entries() {
            let image = live_locked(&held, entry.piece.id).filter(|image| image.lpid == pid);
            let before = local.attaches.noted_stamp(entry.piece.id.slot());
            if let (Some(image), Some((atime, lpid))) = (image, before) {
                slots::stamp(&held, image.slot, Some(atime), None, lpid);
            }
        }
        drop(held);
        self.namespace.sweep(me);
    }
}
