//! fork: the child's cell and records are there before the child is, so that nattch is right when fork returns.
//!
//! ```text
//!   prepare (parent)   nothing at all while nothing is attached, but that calls of other threads are waited for. Else the
//!                      in-process lock is taken and kept; a cell for the child is prepared, its liveness file locked; a
//!                      record per segment counts for it
//!   child              the cell becomes its own (`storage/prepared.rs`); the lock was wiped, so it is free
//!   parent             lets go of the child's lock, of which it has a mapping, too
//! ```
//!
//! A fork that failed leaves a cell in the state Forking with nobody holding its lock: the parent, or whoever looks
//! first, undoes it. A child that was killed before its handler ran looks the same, and nobody can tell.
//!
//! What the handlers write costs more than what they do: a page that is written on one side of a fork while the other
//! has it too is copied. The parent writes one ordinary page, before the fork, and after it to forget the plan; the child
//! writes none, but the one that it has found wiped. So in the child the plan stays where it is when it is over, and
//! whoever finds it looks whether it is still a plan.

use super::attaches;
use super::host::{Host, Local, OPENING, host, host_if_open, install_handlers, live_locked};
use crate::os::atfork::Handlers;
use crate::os::signals::{self, Blocked};
use crate::os::{errno, process, threads};
use crate::storage::live::{self, Identity};
use crate::storage::prepared::Prepared;
use crate::storage::slots;

/// What was prepared for a child. As long as a process has one, outside of a fork of its own, it is a child that has the
/// mapping that holds the lock of the prepared cell, and that its own children inherit.
#[derive(Clone, Copy)]
pub struct Plan {
    prepared: Prepared,
    /// How often the books had changed when the plan was made.
    changes: u64,
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

static BEFORE_FORK: crate::os::atfork::Work = crate::os::atfork::Work::none();

/// Has `work` called in the parent before each fork, while nothing is locked. For one function; a second one
/// replaces the first.
pub fn on_fork_prepare(work: fn()) {
    BEFORE_FORK.set(work);
    // Without handlers the work is not done, which is no reason to fail now: it is done at the next call as well.
    let _ = install_handlers();
}

fn prepare() {
    BEFORE_FORK.run();
    if host_if_open().is_none() && !threads::is_alone() {
        OPENING.take();
    }
    let Some(host) = host_if_open() else { return };
    // Opened meanwhile: who has done it is in a call.
    OPENING.let_go();
    // In another library's handler, between ours: the fork around this one has blocked the signals and holds the lock.
    if host.local.begins_nested_fork() {
        return;
    }
    let mut is_anything = !attaches::are_none();
    if !is_anything && !threads::is_alone() {
        // A call that another thread is in the middle of may have a descriptor open, and the child would keep it, with the
        // lock that its file may have.
        host.local.fork_is_ahead();
        is_anything = !attaches::are_none();
    }
    // A child in another library's handler, before ours, has the signals blocked still that its parent has blocked.
    let is_unborn = host.local.seems_unborn() && signals::are_held_back();
    // Nothing is inherited, so nothing is prepared.
    if !is_anything {
        if host.local.is_forking_thread() && !is_unborn {
            // Left by the fork that this process is the child of.
            host.local.forget_fork();
        }
        return;
    }
    host.local.fork_passed();
    if !signals::all_block() && host.local.is_held_below() {
        host.local.note_fork_below();
        return;
    }
    let whole = host.namespace.block_all();
    let is_whole = whole.is_ok();
    let mask = whole.unwrap_or_else(|_| Blocked::all()).into_mask();
    if !host.local.hold_over_fork() {
        // Nothing is prepared, and the child counts itself.
        signals::restore(mask);
        return;
    }
    let mut local = host.local.lock();
    if !is_unborn {
        local.fork_mask = mask;
        local.fork_errno = None;
    }
    let inherits = local
        .attaches
        .entries()
        .iter()
        .any(|entry| !entry.not_inherited);
    let me = match host.me() {
        // A child of a raw clone that forks before any call of its own is counted first itself.
        None if is_whole && (inherits || local.fork.is_some()) => begin_first(host, &mut local),
        me => me,
    };
    if let Some(me) = me.filter(|_| is_whole && !host.local.is_settled()) {
        host.settle_in(me, &mut local);
    }
    if let Some(left) = local.fork.take() {
        left.keep_to_oneself();
    }
    if let Some(me) = me.filter(|_| is_whole && inherits) {
        // Without a plan the child registers itself, as one of a raw clone does.
        local.fork = host.plan_child(me, &mut local);
    }
    if local.fork.is_some() {
        // A fork that fails says so in errno before the parent's handler runs, one that works leaves it alone.
        let kept = errno::get();
        if kept != 0 {
            local.fork_errno = Some(kept);
            errno::set(0);
        }
    }
    let mask = local.fork_mask;
    drop(local);
    // From here on other libraries' handlers run.
    signals::let_faults_through(mask);
}

fn parent() {
    let Some(host) = host_if_open() else {
        OPENING.let_go();
        return;
    };
    host.local.fork_passed();
    if host.local.ends_nested_fork() {
        return;
    }
    if !host.local.holds_over_fork() {
        OPENING.let_go();
        if host.local.is_fork_below() {
            host.local.forget_fork();
        }
        return;
    }
    signals::hold_faults_back();
    let mut local = host.local.lock();
    let mask = local.fork_mask;
    // Forgotten first: a raw child that another thread makes must not take it for its own, nor end what is not there.
    if let Some(plan) = local.fork.take() {
        let failed = errno::get() != 0;
        if failed || local.fork_errno.is_some() {
            errno::set(local.fork_errno.unwrap_or(0));
        }
        host.namespace.parent_lets_go(&plan.prepared);
        if let Some(me) = host.me().filter(|_| failed) {
            host.undo_failed(me, &plan, &mut local);
        }
    }
    drop(local);
    // The page is written already.
    host.local.forget_fork();
    host.local.fork_over();
    signals::restore(mask);
}

/// Writes to no page but those that the child finds wiped, if it can: what is over is forgotten later. What nearly every
/// child does is one piece of code, for each part of the library that it runs through is a page fault.
#[inline(always)]
fn child() {
    let Some(open) = host_if_open() else {
        OPENING.let_go();
        return;
    };
    if !open.local.is_forking_thread() {
        not_planned(open);
        return;
    }
    signals::hold_faults_back();
    let mut local = open.local.lock_as_child();
    open.local.set_born();
    let mask = local.fork_mask;
    let mut counted = open.me().is_some();
    if let Some(plan) = local.fork.filter(|_| !counted) {
        counted = open.become_planned_child(&mut local, &plan);
    }
    if let Some(kept) = local.fork_errno {
        errno::set(kept);
    }
    drop(local);
    if !counted {
        count_unplanned();
    }
    signals::restore(mask);
}

// What seldom happens stands in functions of its own, for its room on the stack may be a page that both must copy.

/// The child of a fork that nothing was prepared for.
#[cold]
#[inline(never)]
fn not_planned(open: &'static Host) {
    // Another thread may have opened the namespace since our preparations.
    OPENING.let_go();
    let below = open.local.is_fork_below();
    let nested = open.local.is_nested_child();
    open.local.forget_fork();
    if nested {
        leave_outer_fork(open);
    }
    if below {
        // What was interrupted may be in the middle of its books. The child is counted if it ever makes a call.
        return;
    }
    // Attached since our preparations, by another library's handler or by another thread.
    if open.me().is_none() && open.has_attaches() {
        count_unplanned();
    }
}

/// The child of a fork inside of another: the plan is not for it.
fn leave_outer_fork(open: &'static Host) {
    signals::hold_faults_back();
    let mut local = open.local.lock();
    if let Some(plan) = local.fork {
        plan.is_not_ours(&mut local);
    }
    let mask = local.fork_mask;
    drop(local);
    if open.has_attaches() {
        count_unplanned();
    }
    signals::restore(mask);
}

/// A child without a plan, or with one that is not as it was, registers and counts itself, if it has inherited anything.
#[cold]
#[inline(never)]
fn count_unplanned() {
    let _ = host();
}

#[cold]
#[inline(never)]
fn begin_first(host: &'static Host, local: &mut Local) -> Option<Identity> {
    host.begin_as_new(local).ok()
}

impl Plan {
    /// In a child that lives in the prepared cell: has its own children not inherit what holds its lock.
    pub fn keep_to_oneself(&self) {
        self.prepared.keep_to_oneself();
    }

    /// In a child that it is not for: ends its hold on the lock of another, of its parent, which is a child itself and has
    /// made no call yet, or of a sibling, when it was made in the middle of a fork.
    #[cold]
    #[inline(never)]
    fn is_not_ours(&self, local: &mut Local) {
        self.prepared.drop_mapping();
        local.fork = None;
    }
}

impl Host {
    /// In the child: what the parent has planned becomes its own. `false`: its cell is another's.
    #[inline(always)]
    fn become_planned_child(&self, local: &mut Local, plan: &Plan) -> bool {
        // Known from now on, as in any process that registers.
        let pid = self.local.pid();
        let Some(me) = self.namespace.child_adopts(&plan.prepared, pid) else {
            plan.is_not_ours(local);
            return false;
        };
        self.local.set_identity(me.packed());
        if me != plan.prepared.child() {
            local.fork = None;
        }
        if local.attaches.changes() != plan.changes {
            local.attaches.drop_not_inherited();
            self.count_anew(me, local);
        }
        true
    }

    /// In a child that has no identity: the same, if it is one that was planned for. That is so when its call comes before
    /// our handler, from another library's.
    #[cold]
    pub(super) fn become_planned_child_early(&self, local: &mut Local) -> Option<Identity> {
        let plan = local.fork?;
        // A fork inside of the one that it was made for has left it to its child, too, and so has one of another thread.
        if !self.local.is_forking_thread() {
            plan.is_not_ours(local);
        } else if self.become_planned_child(local, &plan) {
            return self.me();
        }
        None
    }

    /// Another library's fork handler has attached or detached between the plan and the fork: what the child really
    /// has is counted.
    #[cold]
    #[inline(never)]
    fn count_anew(&self, me: Identity, local: &mut Local) {
        let held = self.namespace.lock(me);
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
        let held = self.namespace.lock(me);
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
        Some(Plan {
            changes: local.attaches.changes(),
            prepared,
        })
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
        let held = self.namespace.lock(me);
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
