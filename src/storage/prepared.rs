//! A cell for a child: prepared by its parent before the fork, so that the child is counted when fork returns, and
//! handed over to the child after it.
//!
//! ```text
//!   parent   opens the cell's liveness file, locks it, and leaves the descriptor open over the fork
//!     ├── child    maps the file and closes the descriptor; waits until its parent has closed its own
//!     └── parent   closes the descriptor, says so in the cell: only the child holds the lock now
//! ```
//!
//! Why the child waits: as long as the parent's descriptor is open, a child that ends would still be counted. Nearly
//! always the parent was faster. If it does not come (another library's handler holds it up, or a debugger), the child
//! takes a cell and a lock of its own and moves there.
//!
//! A parent with several threads maps the file in place of leaving it open, for another thread could close the
//! descriptor; and its child always moves out, for another thread could have made a child by a raw clone meanwhile,
//! which has the lock too, and keeps it. So does a parent that has no descriptor left.

use super::layout::{CellState, cell};
use super::live::{self, Hold, Identity, Keep, Taken};
use super::lock;
use super::namespace::Namespace;
use super::obstacle::Stored;
use super::slots;
use super::table::{Journal, Table};
use crate::os::file::{self, Lock};
use crate::os::{futex, map, process};
use core::sync::atomic::Ordering;
use core::time::Duration;

/// A cell that was prepared for a child.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    child: Identity,
    hold: Hold,
}

impl Prepared {
    /// The cell.
    pub fn child(&self) -> Identity {
        self.child
    }

    /// Whether a child can tell that it is not the one it was prepared for: the descriptor is closed.
    pub fn tells_itself(&self) -> bool {
        matches!(self.hold, Hold::Descriptor(_))
    }
}

/// Whether a parent with one thread leaves the descriptor open. Not as long as handlers of the program that close it, in
/// the parent and in the child, leave the lock held by nobody for a moment, in which whoever looks takes the child for
/// dead.
const LENDS_DESCRIPTORS: bool = false;

/// How far a prepared cell has been handed over from parent to child, as it stands in the cell.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Handover {
    /// The parent holds the lock, too.
    Begun = 0,
    /// Likewise, and the child sleeps until that is over.
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

/// How often a child looks for its parent to let go before it sleeps, some microseconds; then how often and how long.
const HANDOVER_SPINS: u32 = 200;
const HANDOVER_NAPS: u32 = 2;
const HANDOVER_NAP: Duration = Duration::from_millis(1);

/// The parent begins to prepare this cell.
pub(super) fn begin(table: &Table, child: Identity) {
    table.set32(cell!(child.cell(), handover), Handover::Begun.of(child));
}

impl Namespace {
    /// Prepares a cell for a child that is about to be forked; in the place of `last`, an earlier child, where that one
    /// has ended. `alone`: this process has one thread. Returns whether a cell was used again, too.
    pub fn prepare_child(
        &self,
        me: Identity,
        last: Option<Identity>,
        alone: bool,
    ) -> Stored<(Prepared, bool)> {
        let keep = if alone && LENDS_DESCRIPTORS {
            Keep::Open
        } else {
            Keep::Shared
        };
        self.set_forking_parent(Some(me));
        // Most programs fork again when the child before has ended.
        let again = last.filter(|&last| self.seems_dead(last));
        let prepared = match again.and_then(|last| self.prepare_in_place_of(last, me, keep)) {
            Some(prepared) => Ok((prepared, true)),
            None => self
                .prepare_new(keep)
                .or_else(|obstacle| match keep {
                    Keep::Open => self.prepare_new(Keep::Shared),
                    Keep::Shared | Keep::ToOneself => Err(obstacle),
                })
                .map(|prepared| (prepared, false)),
        };
        self.set_forking_parent(None);
        prepared
    }

    fn prepare_new(&self, keep: Keep) -> Stored<Prepared> {
        self.prepare_taken(self.take_cell(keep)?)
    }

    fn prepare_taken(&self, taken: Taken) -> Stored<Prepared> {
        match self.occupy(taken, CellState::Forking, 0) {
            Ok(child) => Ok(Prepared {
                child,
                hold: taken.hold,
            }),
            Err(obstacle) => {
                taken.hold.let_go();
                Err(obstacle)
            }
        }
    }

    /// Whether a child of this process has ended, as far as a cheap look tells.
    fn seems_dead(&self, child: Identity) -> bool {
        self.cell_state(child.cell()) == (CellState::Live as u32, child.generation())
            && !process::exists(self.table().get32(cell!(child.cell(), pid)) as i32)
    }

    /// One file is opened, where reaping and taking another cell would open two. `None`: it is not dead, or something is
    /// in the way.
    fn prepare_in_place_of(&self, dead: Identity, me: Identity, keep: Keep) -> Option<Prepared> {
        let taken = self.retake(dead, me, keep);
        self.sweep(me);
        self.prepare_taken(taken?).ok()
    }

    fn retake(&self, dead: Identity, me: Identity, keep: Keep) -> Option<Taken> {
        let cell = dead.cell();
        let (fd, status) =
            live::open_or_make(&self.live_path(cell), self.scope().live_mode()).ok()?;
        // A look first, which makes nobody look alive. Locked for good it is only when nothing of the dead one's is
        // counted any more.
        if file::lock(&fd, Lock::TryShared) != Ok(true) {
            return None;
        }
        let held = lock::lock(self, me);
        if self.cell_state(cell) == (CellState::Live as u32, dead.generation()) {
            live::reap(&held, cell);
        }
        drop(held);
        if file::lock(&fd, Lock::TryExclusive) != Ok(true)
            || self.cell_state(cell).0 != CellState::Free as u32
        {
            return None;
        }
        let hold = live::keep_lock(fd, &status, keep).ok()?;
        self.begin_generation(cell);
        Some(Taken { cell, hold })
    }

    /// Whether this cell is still as [`Namespace::prepare_child`] left it.
    pub fn is_prepared(&self, prepared: &Prepared) -> bool {
        // The cell is backed, for it was prepared: no need to touch the header, on a page of its own.
        let (table, child) = (self.table(), prepared.child);
        table.get32(cell!(child.cell(), state)) == CellState::Forking as u32
            && table.get32(cell!(child.cell(), generation)) == child.generation()
    }

    /// In the child: what the parent prepared becomes its own. `None`: it is another's, or cannot be held.
    ///
    /// `certain`: this is the child that it was prepared for. Without that a descriptor that is not there any more tells
    /// of a child that the parent made later, without a handler.
    pub fn child_adopts(&self, prepared: &Prepared, pid: i32, certain: bool) -> Option<Identity> {
        let mapping = match prepared.hold {
            Hold::Mapping(mapping) => Some(mapping),
            Hold::Descriptor(lent) => match lent.reclaim() {
                Some(fd) => map::map_page(&fd, false).ok(),
                None if certain => None,
                None => return None,
            },
        };
        if prepared.tells_itself() && mapping.is_some() && self.is_handed_over(prepared.child) {
            self.begin_life(prepared.child, pid);
            return Some(prepared.child);
        }
        self.move_out(prepared.child, mapping, pid)
    }

    /// Enters the child into the prepared cell.
    fn begin_life(&self, child: Identity, pid: i32) {
        let table = self.table();
        table.set32(cell!(child.cell(), pid), pid as u32);
        // Crash here: a cell that is Forking and not locked is undone as if the fork had failed.
        table.set32(cell!(child.cell(), state), CellState::Live as u32);
    }

    /// Takes a cell and a lock of the child's own and moves there. Without a cell or a descriptor to be had it stays in
    /// the prepared one, if it holds that.
    #[cold]
    #[inline(never)]
    fn move_out(&self, child: Identity, mapping: Option<usize>, pid: i32) -> Option<Identity> {
        let Ok(own) = self.take_own(pid) else {
            let mapping = mapping?;
            self.begin_life(child, pid);
            let _ = map::not_inherited(mapping);
            return Some(child);
        };
        let held = lock::lock(self, own);
        slots::move_all(&held, child.cell(), own.cell());
        // Crash here: what has moved is reaped with this process, what has not is undone with the prepared cell.
        let mut journal = Journal::begin(&held);
        journal.put32(cell!(child.cell(), state), CellState::Free as u32);
        journal.commit();
        drop(held);
        if let Some(mapping) = mapping {
            map::unmap_page(mapping);
        }
        Some(own)
    }

    /// Waits until the parent has let go of the prepared cell's lock, for a millisecond or two at most.
    fn is_handed_over(&self, child: Identity) -> bool {
        let word = self.table().word32(cell!(child.cell(), handover));
        let done = Handover::Done.of(child);
        for _ in 0..HANDOVER_SPINS {
            // Pairs with: the exchange in `parent_lets_go`.
            if word.load(Ordering::Acquire) == done {
                return true;
            }
            core::hint::spin_loop();
        }
        let waited = Handover::Waited.of(child);
        for _ in 0..HANDOVER_NAPS {
            match word.compare_exchange(
                Handover::Begun.of(child),
                waited,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Err(seen) if seen == done => return true,
                _ => futex::wait(word, waited, HANDOVER_NAP),
            }
        }
        word.load(Ordering::Acquire) == done
    }

    /// In the parent: from now on only the child holds the lock, if there is a child.
    pub fn parent_lets_go(&self, prepared: &Prepared) {
        prepared.hold.let_go();
        // Crash here: the child does not learn of it, and takes a lock of its own.
        // The cell may be another's by now, if the child has moved out; the generation tells.
        let word = self.table().word32(cell!(prepared.child.cell(), handover));
        let done = Handover::Done.of(prepared.child);
        let hand_over = |from: Handover| {
            // Pairs with: the loads in `is_handed_over`.
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
