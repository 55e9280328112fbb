//! A cell for a child: prepared by its parent before the fork, so that the child is counted when fork returns, and
//! handed over to the child after it.
//!
//! ```text
//!   parent   locks the cell's liveness file and maps it; the mapping goes through the fork and holds the lock for both
//!     ├── child    keeps the mapping, and has its own children not inherit it as soon as it calls us or forks; waits
//!     │            until its parent has ended its own
//!     └── parent   unmaps, says so in the cell: only the child holds the lock now
//! ```
//!
//! Why the child waits: as long as its parent has the mapping, a child that ends would still be counted. Nearly
//! always the parent was faster. If it does not come (a debugger has stopped it), the child
//! takes a cell and a lock of its own and moves there.
//!
//! The child of a parent with several threads always moves out, for another thread could have made a child by a raw clone
//! meanwhile, which has the mapping too, and keeps it.

use super::cell::{Keep, Taken, open_live};
use super::probe::{is_worked_for, live_path};
use super::processes::Processes;
use super::reap::reap;
use crate::os::atomic::{Ordering, real_or_model, spin_loop};
use crate::os::file::{self, Lock};
use crate::os::{futex, map, process, served};
use crate::storage::error::Stored;
use crate::storage::table::attach_record::move_all;
use crate::storage::table::layout::{CellState, cell};
use crate::storage::table::{Identity, Journal};
use core::time::Duration;

/// A cell that was prepared for a child.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    child: Identity,
    /// What holds the lock, in the parent and in its child.
    mapping: usize,
    /// Nobody can have the mapping but these two.
    between_two: bool,
}

impl Prepared {
    /// The cell.
    pub fn child(&self) -> Identity {
        self.child
    }

    /// In the child: has its own children not inherit its hold on the lock.
    pub fn keep_to_oneself(&self) {
        let _ = map::not_inherited(self.mapping);
    }

    /// In a child that does not live in this cell: ends its hold on the lock.
    pub fn drop_mapping(&self) {
        map::unmap_page(self.mapping);
    }
}

/// How far a prepared cell has been handed over from parent to child, as it stands in the cell.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Handover {
    /// The parent holds the lock, too.
    Begun = 0,
    /// The parent holds the lock, too, and the child sleeps until that is over.
    Waited = 1,
    /// Only the child holds the lock.
    Done = 2,
}

impl Handover {
    /// The word for the cell's present process: another one's means nothing.
    fn of(self, child: Identity) -> u32 {
        child.generation() << 2 | self as u32
    }
}

/// How often a child checks whether its parent has let go before it sleeps, some microseconds; then how often and how long.
const HANDOVER_SPINS: u32 = real_or_model(200, 1);
const HANDOVER_NAPS: u32 = real_or_model(2, 1);
const HANDOVER_NAP: Duration = Duration::from_millis(1);

impl Processes {
    /// Prepares a cell for a child that is about to be forked; in the place of `last`, an earlier child, where that child
    /// has ended. `alone`: this process has one thread. Returns whether a cell was used again, too: then the dead child was
    /// reaped.
    pub fn prepare_child(
        &self,
        me: Identity,
        last: Option<Identity>,
        alone: bool,
    ) -> Stored<(Prepared, bool)> {
        // Most programs fork again when the child before has ended.
        let again = last
            .filter(|&last| self.seems_dead(last))
            .and_then(|last| self.retake(last, me))
            .and_then(|taken| self.prepare_taken(taken, me, alone).ok());
        match again {
            Some(prepared) => Ok((prepared, true)),
            None => {
                let taken = self.take_cell(Keep::Shared)?;
                Ok((self.prepare_taken(taken, me, alone)?, false))
            }
        }
    }

    fn prepare_taken(&self, taken: Taken, me: Identity, alone: bool) -> Stored<Prepared> {
        let child = self
            .occupy(taken, CellState::Forking, 0, Some(me))
            .inspect_err(|_| taken.let_go())?;
        // The child is not there yet, and no other process reads it.
        let begun = Handover::Begun.of(child);
        self.table().set32(cell!(child.cell(), handover), begun);
        Ok(Prepared {
            child,
            mapping: taken.mapping,
            between_two: alone,
        })
    }

    /// Whether a child of this process has ended, as far as can be told cheaply.
    fn seems_dead(&self, child: Identity) -> bool {
        self.table().cell_state(child.cell()) == (CellState::Live as u32, child.generation())
            && !process::exists(self.table().get32(cell!(child.cell(), pid)) as i32)
    }

    /// Locks the cell of a dead child, which is reaped, for another. One file is opened, where reaping and taking another cell
    /// would open two. `None`: it is not dead, or something is in the way.
    fn retake(&self, dead: Identity, me: Identity) -> Option<Taken> {
        let cell = dead.cell();
        let fd = open_live(self.directory(), &live_path(self.directory(), cell)).ok()?;
        // A probe first, which makes no dead process look alive. Locked for good it is only when nothing of the dead one's is
        // counted any more.
        if file::lock(&fd, Lock::TryShared) != Ok(true) {
            return None;
        }
        // The children of a process that serves itself do so, too.
        if served::client().is_some() && is_worked_for(&fd) {
            return None;
        }
        let held = self.lock(me).ok()?;
        if self.table().cell_state(cell) == (CellState::Live as u32, dead.generation()) {
            reap(&held, cell);
        }
        drop(held);
        if file::lock(&fd, Lock::TryExclusive) != Ok(true)
            || self.table().cell_state(cell).0 != CellState::Free as u32
        {
            return None;
        }
        let mapping = map::map_page(&fd, true).ok()?;
        self.begin_generation(cell);
        Some(Taken { cell, mapping })
    }

    /// Whether no process lives in this cell yet.
    #[inline(always)]
    pub fn is_prepared(&self, prepared: &Prepared) -> bool {
        // The cell is backed, for it was prepared: no need to touch the header, on a page of its own.
        let (table, child) = (self.table(), prepared.child);
        table.get32(cell!(child.cell(), state)) == CellState::Forking as u32
            && table.get32(cell!(child.cell(), generation)) == child.generation()
    }

    /// In the child: what the parent prepared becomes its own. The mapping is still one that children inherit: saying
    /// otherwise takes longer than all else here, and most children have none. If it is another cell that is returned, the
    /// mapping is gone. `None`: another process has undone it. Inlined, for a child pays for each part of the
    /// library that it runs through.
    #[inline(always)]
    pub fn child_adopts(&self, prepared: &Prepared, pid: i32) -> Option<Identity> {
        if !self.is_prepared(prepared) {
            return None;
        }
        // Crash here, until it lives: a cell that is Forking and not locked is undone as if the fork had failed.
        if prepared.between_two
            && (self.is_let_go(prepared.child) || self.is_let_go_soon(prepared.child))
        {
            self.begin_life(prepared.child, pid);
            return Some(prepared.child);
        }
        Some(self.move_out(prepared, pid))
    }

    /// The child lives in the prepared cell.
    #[inline(always)]
    fn begin_life(&self, child: Identity, pid: i32) {
        self.table().set32(cell!(child.cell(), pid), pid as u32);
        let state = CellState::Live as u32;
        self.table().set32(cell!(child.cell(), state), state);
    }

    /// Takes a cell and a lock of the child's own and moves there. Without a cell or a descriptor to be had, or when another
    /// process keeps the table's lock, it stays in the prepared one.
    #[cold]
    #[inline(never)]
    fn move_out(&self, prepared: &Prepared, pid: i32) -> Identity {
        let child = prepared.child;
        let Ok(own) = self.register(pid) else {
            self.begin_life(child, pid);
            return child;
        };
        let Ok(held) = self.lock(own) else {
            self.begin_life(child, pid);
            return child;
        };
        move_all(&held, child.cell(), own.cell());
        // Crash here: what has moved is reaped with this process, what has not is undone with the prepared cell.
        let mut journal = Journal::begin(&held);
        journal.put32(cell!(child.cell(), state), CellState::Free as u32);
        journal.commit();
        drop(held);
        map::unmap_page(prepared.mapping);
        own
    }

    /// Whether the parent has let go of the prepared cell's lock.
    #[inline(always)]
    fn is_let_go(&self, child: Identity) -> bool {
        let word = self.table().word32(cell!(child.cell(), handover));
        // Pairs with: the exchange in `parent_lets_go`.
        word.load(Ordering::Acquire) == Handover::Done.of(child)
    }

    /// Waits until the parent has let go of the prepared cell's lock, for a millisecond or two at most.
    #[cold]
    #[inline(never)]
    fn is_let_go_soon(&self, child: Identity) -> bool {
        for _ in 0..HANDOVER_SPINS {
            if self.is_let_go(child) {
                return true;
            }
            spin_loop();
        }
        let word = self.table().word32(cell!(child.cell(), handover));
        let waited = Handover::Waited.of(child);
        for _ in 0..HANDOVER_NAPS {
            match word.compare_exchange(
                Handover::Begun.of(child),
                waited,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Err(seen) if seen == Handover::Done.of(child) => return true,
                _ => futex::wait(word, waited, HANDOVER_NAP),
            }
        }
        self.is_let_go(child)
    }

    /// In the parent: from now on only the child holds the lock, if there is a child.
    pub fn parent_lets_go(&self, prepared: &Prepared) {
        map::unmap_page(prepared.mapping);
        // Crash here: the child does not learn of it, and takes a lock of its own.
        // The cell may be another's by now, if the child has moved out; the generation tells.
        let word = self.table().word32(cell!(prepared.child.cell(), handover));
        let done = Handover::Done.of(prepared.child);
        let hand_over = |from: Handover| {
            // Pairs with: the load in `is_let_go`.
            word.compare_exchange(
                from.of(prepared.child),
                done,
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
        };
        if !hand_over(Handover::Begun) && hand_over(Handover::Waited) {
            futex::wake_one(word);
        }
    }
}
