//! fork: nattch must be right in both processes when `fork` returns, so the child's cell and the records that count its
//! attaches are made before the child is.
//!
//! Handlers, of `pthread_atfork`:
//!
//! ```text
//!   prepare (parent)   nothing in a process of one thread with nothing attached. Else takes the in-process lock and keeps it;
//!                      prepares a cell for the child and locks its liveness file; counts in it what the child inherits
//!   child              makes the cell its own (`storage/process/fork_cell.rs`); the in-process lock was wiped, so it is free
//!   parent             ends its hold on the child's liveness lock, of which it has a mapping, too; releases the in-process
//!                      lock. If the fork failed, takes back what was prepared
//! ```
//!
//! Order: they are registered from a constructor that runs before all others (`-z initfirst`, `shim/src/lib.rs`), which makes
//! them the innermost: prepare runs last, child and parent run first. No handler of another library runs between them, so
//! while the in-process lock is kept the only foreign code that runs is libc's. A C library may have registered handlers
//! before ours all the same; a call that such a handler makes is refused, because its thread holds the in-process lock.
//!
//! Locking: the in-process lock, and all signals blocked, from prepare to child and parent. It also keeps other threads from
//! opening files meanwhile, which the child would inherit. Until the namespace is open `OPENING` does that.
//!
//! What may go wrong: a fork that failed, and a child that was killed before its handler ran, leave a cell in the state Forking
//! whose liveness lock is free. The parent undoes it, or else the process that reaps it. While another process keeps the
//! table's lock nothing is prepared, after a bounded wait, and the child counts itself at its first call; so does a child
//! of a raw `clone`, for which no handler runs.
//!
//! Cost: a page that is written on one side of a fork while the other side has it, too, is copied. So the parent writes one
//! ordinary page, before the fork, and again after it to forget what it prepared; the child writes only the page that it
//! has found wiped. What was prepared therefore stays noted in the child when the fork is over, until the child's first
//! call, or its next fork, forgets it ([`Local::fork`]).

use super::attach_list;
use super::process::{Local, OPENING, Registry, live_locked, registry_if_open};
use super::session::Entered;
use crate::os::signal_mask;
use crate::os::timed_lock::WithinASecond;
use crate::os::{errno, process, threads};
use crate::storage::process::Prepared;
use crate::storage::table::Identity;
use crate::storage::table::{attach_record, slot_life};

/// The fork handler for the parent, before.
pub extern "C" fn before_fork() {
    if registry_if_open().is_none() && !threads::is_alone() {
        OPENING.take();
    }
    let Some(registry) = registry_if_open() else {
        return;
    };
    // Opened meanwhile by another thread, which is in a call.
    OPENING.release();
    // A call that another thread is in the middle of may have a descriptor open, and the child would keep it, with the
    // lock that its file may have. So with threads the lock is kept though nothing is inherited.
    if !attach_list::are_none() || !threads::is_alone() {
        registry.prepare_fork();
    } else {
        // Left by the fork that this process is the child of.
        registry.local.forget_fork();
    }
}

/// The fork handler for the parent, after, whether it worked or not.
pub extern "C" fn after_fork_in_parent() {
    OPENING.release();
    if let Some(registry) = registry_if_open() {
        registry.end_fork();
    }
}

/// The fork handler for the child. Writes only to the page that the child finds wiped, as long as the prepared cell is
/// adopted.
#[inline]
pub extern "C" fn after_fork_in_child() {
    match registry_if_open() {
        None => OPENING.release(),
        Some(open) if open.local.is_forking_thread() => follow(open),
        // Nothing was prepared, and the child is counted at its first call.
        Some(_) => {}
    }
}

// What seldom happens stands in functions of its own: their frames may be on a page of the stack that would be copied.

/// A child of a parent that has kept the lock over the fork.
#[inline(never)]
fn follow(open: &'static Registry) {
    let mut local = open.local.lock_as_child();
    let mask = local.fork_mask;
    let mut counted = false;
    if let Some(plan) = local.fork {
        counted = open.adopt_prepared_cell(&mut local, &plan);
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

/// A child that was not prepared, or whose prepared cell was taken back, registers and counts itself.
#[cold]
#[inline(never)]
fn count_unplanned(open: &'static Registry) {
    let _short = WithinASecond::begin();
    let _ = open.enter_to_follow();
}

impl Registry {
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
        let inherits = local.attaches.iter().any(|entry| !entry.not_inherited);
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
            // If nothing can be prepared the child registers itself, as one of a raw clone does.
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

    /// In the parent: ends what [`Registry::prepare_fork`] began.
    fn end_fork(&'static self) {
        let Some(mut local) = self.local.lock_kept_over_fork() else {
            return;
        };
        let mask = local.fork_mask;
        // Forgotten first, so that a raw child that another thread makes does not unmap what is unmapped here.
        if let Some(plan) = local.fork.take() {
            let failed = errno::get() != 0;
            if failed || local.fork_errno.is_some() {
                errno::set(local.fork_errno.unwrap_or(0));
            }
            self.namespace.processes().parent_lets_go(&plan);
            if let Some(me) = self.me().filter(|_| failed) {
                self.undo_failed(me, &plan, &mut local);
            }
        }
        drop(local);
        signal_mask::restore(mask);
    }

    /// In the child: adopts the cell that the parent has prepared. `false`: the cell was taken back meanwhile.
    #[inline(always)]
    fn adopt_prepared_cell(&self, local: &mut Local, plan: &Prepared) -> bool {
        // Asked now, as in any process that registers.
        let pid = self.local.pid();
        let Some(me) = self.namespace.processes().child_adopts(plan, pid) else {
            self.disown_plan(local);
            return false;
        };
        self.local.set_identity(me.packed());
        if me != plan.child() {
            local.fork = None;
        }
        true
    }

    /// Takes a cell for the child and counts in it what the child will inherit.
    fn plan_child(&self, me: Identity, local: &mut Local) -> Option<Prepared> {
        let alone = threads::is_alone();
        let processes = self.namespace.processes();
        let (prepared, again) = processes.prepare_child(me, local.last_child, alone).ok()?;
        let child = prepared.child();
        local.last_child = Some(child);
        // Adding a cell is the time to reap dead ones.
        if again {
            self.namespace.sweep(me);
        } else {
            self.namespace.tidy(me, Some(child));
        }
        let stamp = Some((self.local.pid(), process::now_secs()));
        local.attaches.plan();
        let Ok(held) = self.namespace.lock(me) else {
            prepared.drop_mapping();
            return None;
        };
        for at in 0..local.attaches.len() {
            let Some(id) = local.attaches.get(at).map(|entry| entry.piece.id) else {
                continue;
            };
            let count = local.attaches.take_planned(id.slot());
            let Some(image) = live_locked(&held, id).filter(|_| count != 0) else {
                continue;
            };
            local
                .attaches
                .note_stamp(id.slot(), image.atime, image.lpid);
            // Crash here: a cell that is Forking and whose lock died with this process is undone by the process that reaps it.
            let _ = attach_record::attach(&held, id.slot(), child, None, count, stamp);
        }
        drop(held);
        Some(prepared)
    }

    /// After a fork that failed: takes back what was prepared, unless the cell is in use.
    #[cold]
    #[inline(never)]
    fn undo_failed(&self, me: Identity, plan: &Prepared, local: &mut Local) {
        let cell = plan.child().cell();
        if !self.namespace.processes().is_prepared(plan)
            || !self.namespace.processes().reap_if_dead(me, cell)
        {
            return;
        }
        let pid = self.local.pid();
        let Ok(held) = self.namespace.lock(me) else {
            return;
        };
        for entry in local.attaches.iter() {
            let image = live_locked(&held, entry.piece.id).filter(|image| image.lpid == pid);
            let before = local.attaches.noted_stamp(entry.piece.id.slot());
            if let (Some(image), Some((atime, lpid))) = (image, before) {
                slot_life::update(&held, image.slot, |image| {
                    (image.atime, image.lpid) = (atime, lpid);
                });
            }
        }
        drop(held);
        self.namespace.sweep(me);
    }
}
