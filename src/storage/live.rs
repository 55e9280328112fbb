//! Liveness: which processes are there.
//!
//! A process owns cell N as long as it holds `live/N` locked, and it holds it without a descriptor: the file is
//! opened, locked (LOCK_EX), mapped, and closed; the lock belongs to the open file, and the mapping keeps that
//! open. It goes away with the address space: at exit, at exec, at SIGKILL, before `waitpid` returns. The mapping
//! is not inherited by children (MADV_DONTFORK), except the one that a parent makes for a child.
//!
//! A look at another process is a shared lock, asked for without waiting: two who look at once do not disturb
//! each other. Liveness files are never removed while the namespace exists, so a lock is always on the file that
//! its name leads to; the next process that needs a cell takes over a dead one's, file and all.

use super::books;
use super::layout::{self, CellState, SlotState, cell, header, record, slot};
use super::lock::{self, Held};
use super::namespace::Namespace;
use super::obstacle::{Obstacle, Stored};
use super::table::{self, Journal};
use crate::os::file::{self, Fd, Lock};
use crate::os::path::Path;
use crate::os::{OsError, elsewhere, futex, map, process};
use core::sync::atomic::Ordering;
use core::time::Duration;

const CELL_BITS: u32 = 14;
const HELD: u32 = 1 << 30;
const GENERATIONS: u32 = 1 << 16;

/// A process's cell and the cell's generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    cell: u32,
    generation: u32,
}

impl Identity {
    fn new(cell: u32, generation: u32) -> Identity {
        Identity {
            cell: cell % layout::CELLS,
            generation: generation % GENERATIONS,
        }
    }

    /// The cell's index.
    pub fn cell(self) -> u32 {
        self.cell
    }

    /// The cell's generation, 16 bits.
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// Whether a word can be one that [`Identity::packed`] gave.
    pub fn is_packed(word: u32) -> bool {
        word & HELD != 0
    }

    /// As one word that is never 0.
    pub fn packed(self) -> u32 {
        HELD | self.generation << CELL_BITS | self.cell
    }

    /// The inverse of [`Identity::packed`].
    pub fn from_packed(word: u32) -> Identity {
        Identity::new(word & (layout::CELLS - 1), (word & !HELD) >> CELL_BITS)
    }
}

/// How far a prepared cell has been handed over from parent to child, as it stands in the cell.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Handover {
    /// The parent's mapping holds the lock, too.
    Begun = 0,
    /// Likewise, and the child sleeps until that is over.
    Waited = 1,
    /// Only the child holds the lock.
    Done = 2,
}

impl Handover {
    /// The word for the cell's present process: another one's means nothing.
    fn of(self, prepared: Identity) -> u32 {
        prepared.generation << 2 | self as u32
    }
}

/// How often a child looks for its parent to let go before it sleeps, some microseconds; then how often and how long.
const HANDOVER_SPINS: u32 = 200;
const HANDOVER_NAPS: u32 = 2;
const HANDOVER_NAP: Duration = Duration::from_millis(1);

/// What a look at a process found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Liveness {
    /// Its liveness file is locked.
    Alive,
    /// Its liveness file is not locked.
    Dead,
    /// The file could not be looked at, so it counts as alive.
    Unknown,
}

impl Liveness {
    /// Whether it is certain that the process is gone.
    pub fn is_dead(self) -> bool {
        self == Liveness::Dead
    }
}

/// A cell whose liveness file this process has locked and mapped.
#[derive(Clone, Copy, Debug)]
struct Taken {
    cell: u32,
    mapping: usize,
}

impl Namespace {
    fn live_path(&self, cell: u32) -> Path {
        let mut path = self.inside(b"live/");
        let _ = path.push_decimal(cell);
        path
    }

    /// Looks whether the process of `cell` is there.
    pub fn probe(&self, cell: u32) -> Liveness {
        // Another namespace's liveness file says nothing.
        if self.check_in_place().is_err() {
            return Liveness::Unknown;
        }
        let path = self.live_path(cell);
        let looked = elsewhere::with_descriptor(|| {
            let fd = file::open(&path, libc::O_RDONLY, 0)?;
            file::lock(&fd, Lock::TryShared)
        });
        match looked {
            Ok(true) => Liveness::Dead,
            Ok(false) => Liveness::Alive,
            Err(_) => Liveness::Unknown,
        }
    }

    /// Whether nobody can be the process of `cell`: it has no liveness file, and those are never removed. Whatever the
    /// cell says: a table that was damaged may call it somebody's, and whoever waits for him would wait for ever.
    pub(super) fn is_nobody(&self, cell: u32) -> bool {
        file::status_of(&self.live_path(cell)) == Err(OsError(libc::ENOENT)) && self.is_reachable()
    }

    /// Registers this process: takes a cell of its own. Signals are blocked and the in-process lock is held.
    #[inline(never)]
    pub fn register(&self) -> Stored<Identity> {
        let taken = self.take_cell(false)?;
        self.occupy(taken, CellState::Live, process::pid())
            .inspect_err(|_| map::unmap_page(taken.mapping))
    }

    /// Looks at two cells in use, in turn, and reaps the dead: each process that comes does it once, so that the dead do
    /// not pile up. `child`: one that is being forked.
    #[inline(never)]
    pub fn tidy(&self, me: Identity, child: Option<Identity>) {
        let ready = self.table().cells_ready();
        let mut looks = 0;
        for _ in 0..ready {
            let hand = self.table().get32(header!(cell_hand)) % ready.max(1);
            let next = (hand + 1) % ready.max(1);
            self.table().set32(header!(cell_hand), next);
            let free = self.table().get32(cell!(hand, state)) == CellState::Free as u32;
            let known = hand == me.cell() || child.is_some_and(|child| hand == child.cell());
            if free || known {
                continue;
            }
            self.reap_if_dead(me, hand);
            looks += 1;
            if looks == 2 {
                break;
            }
        }
        self.sweep(me);
    }

    /// Prepares a cell for a child that is about to be forked. The mapping that carries the lock is inherited by
    /// the child; both addresses are needed later: [`Namespace::child_adopts`], [`Namespace::parent_lets_go`].
    pub fn register_child(&self) -> Stored<(Identity, usize)> {
        let taken = self.take_cell(true)?;
        let identity = self
            .occupy(taken, CellState::Forking, 0)
            .inspect_err(|_| map::unmap_page(taken.mapping))?;
        Ok((identity, taken.mapping))
    }

    /// Whether a child of this process has ended, as far as a cheap look tells.
    pub fn seems_dead(&self, child: Identity) -> bool {
        let (state, generation) = self.cell_state(child.cell);
        generation == child.generation
            && state == CellState::Live as u32
            && !process::exists(self.table().get32(cell!(child.cell, pid)) as i32)
    }

    /// [`Namespace::register_child`] in the cell of an earlier child, if that one is dead: it is reaped first. One file
    /// is opened in place of two. `None`: it is not, or something is in the way.
    pub fn register_child_in_place_of(
        &self,
        dead: Identity,
        me: Identity,
    ) -> Option<(Identity, usize)> {
        let taken = self.retake(dead, me);
        self.sweep(me);
        let taken = taken?;
        match self.occupy(taken, CellState::Forking, 0) {
            Ok(identity) => Some((identity, taken.mapping)),
            Err(_) => {
                map::unmap_page(taken.mapping);
                None
            }
        }
    }

    fn retake(&self, dead: Identity, me: Identity) -> Option<Taken> {
        let cell = dead.cell;
        let fd = open_or_make(&self.live_path(cell), self.scope().live_mode()).ok()?;
        // A look first, which makes nobody look alive. Locked for good it is only when nothing of the dead one's is
        // counted any more.
        if file::lock(&fd, Lock::TryShared) != Ok(true) {
            return None;
        }
        let held = lock::lock(self, me);
        if self.cell_state(cell) == (CellState::Live as u32, dead.generation) {
            reap(&held, cell);
        }
        drop(held);
        if file::lock(&fd, Lock::TryExclusive) != Ok(true)
            || self.cell_state(cell).0 != CellState::Free as u32
        {
            return None;
        }
        let mapping = map::map_page(&fd, true).ok()?;
        self.begin_generation(cell);
        Some(Taken { cell, mapping })
    }

    /// In the child: what the parent prepared becomes its own, in one of three ways.
    ///
    /// The parent's mapping holds the prepared cell's lock too until it is gone, and a child that ends sooner would
    /// still be counted. So the child waits for that, but not for long: the parent may be held up by another library's
    /// handler or by a debugger. Then it takes a cell and a lock of its own and moves there. Without a descriptor or a
    /// cell to be had it stays in the prepared one all the same.
    ///
    /// `alone`: the parent had one thread when it forked. Another one could have made a child by a raw clone meanwhile,
    /// which has the mapping too, and keeps it.
    pub fn child_adopts(
        &self,
        prepared: Identity,
        mapping: usize,
        alone: bool,
        pid: i32,
    ) -> Identity {
        if alone && self.is_handed_over(prepared) && map::not_inherited(mapping).is_ok() {
            self.begin_life(prepared, pid);
            return prepared;
        }
        self.move_out(prepared, mapping, pid)
    }

    /// Enters the child into the prepared cell.
    fn begin_life(&self, prepared: Identity, pid: i32) {
        let table = self.table();
        table.set32(cell!(prepared.cell, pid), pid as u32);
        // Crash here: a cell that is Forking and not locked is undone as if the fork had failed.
        table.set32(cell!(prepared.cell, state), CellState::Live as u32);
    }

    #[cold]
    #[inline(never)]
    fn move_out(&self, prepared: Identity, mapping: usize, pid: i32) -> Identity {
        let own = self
            .take_cell(false)
            .and_then(|taken| self.occupy(taken, CellState::Live, pid));
        let Ok(own) = own else {
            self.begin_life(prepared, pid);
            let _ = map::not_inherited(mapping);
            return prepared;
        };
        let held = lock::lock(self, own);
        super::slots::move_all(&held, prepared.cell, own.cell);
        // Crash here: what has moved is reaped with this process, what has not is undone with the prepared cell.
        let mut journal = Journal::begin(&held);
        journal.put32(cell!(prepared.cell, state), CellState::Free as u32);
        journal.commit();
        drop(held);
        map::unmap_page(mapping);
        own
    }

    /// Waits until the parent has let go of the prepared cell's lock, for a millisecond or two at most.
    fn is_handed_over(&self, prepared: Identity) -> bool {
        let word = self.table().word32(cell!(prepared.cell, handover));
        let done = Handover::Done.of(prepared);
        for _ in 0..HANDOVER_SPINS {
            // Pairs with: the exchange in `parent_lets_go`.
            if word.load(Ordering::Acquire) == done {
                return true;
            }
            core::hint::spin_loop();
        }
        let waited = Handover::Waited.of(prepared);
        for _ in 0..HANDOVER_NAPS {
            match word.compare_exchange(
                Handover::Begun.of(prepared),
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

    /// Whether this cell is still as [`Namespace::register_child`] left it.
    pub fn is_prepared(&self, child: Identity) -> bool {
        // The cell is backed, for it was prepared: no need to touch the header, on a page of its own.
        let table = self.table();
        table.get32(cell!(child.cell, state)) == CellState::Forking as u32
            && table.get32(cell!(child.cell, generation)) == child.generation
    }

    /// In the parent: the child holds the lock through its own mapping now, if there is a child.
    pub fn parent_lets_go(&self, prepared: Identity, mapping: usize) {
        map::unmap_page(mapping);
        // Crash here: the child does not learn of it, and takes a lock of its own.
        // The cell may be another's by now, if the child has moved out; the generation tells.
        let word = self.table().word32(cell!(prepared.cell, handover));
        let done = Handover::Done.of(prepared);
        let hand_over = |from: Handover| {
            // Pairs with: the loads in `is_handed_over`.
            word.compare_exchange(
                from.of(prepared),
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

    #[inline(never)]
    fn take_cell(&self, inherit: bool) -> Stored<Taken> {
        let ready = self.table().cells_ready();
        for cell in 0..ready {
            if self.table().get32(cell!(cell, state)) == CellState::Free as u32 {
                if let Some(taken) = self.try_take(cell, inherit, true)? {
                    return Ok(taken);
                }
            }
        }
        for cell in ready..layout::CELLS {
            if let Some(taken) = self.try_take(cell, inherit, true)? {
                return Ok(taken);
            }
        }
        // A dead one's, only now: while its file is locked again and its attaches are still counted, it would look alive.
        for cell in 0..ready {
            if let Some(taken) = self.try_take(cell, inherit, false)? {
                return Ok(taken);
            }
        }
        Err(Obstacle::TableFull {
            what: "processes",
            holds: layout::CELLS,
        })
    }

    /// Locks and maps the liveness file of `cell`, making it if need be. `None`: somebody has it.
    fn try_take(&self, cell: u32, inherit: bool, only_free: bool) -> Stored<Option<Taken>> {
        self.check_in_place()?;
        let path = self.live_path(cell);
        let mode = self.scope().live_mode();
        let mut doing = "open";
        let took = elsewhere::with_descriptor(|| {
            doing = "open";
            let fd = open_or_make(&path, mode)?;
            if !file::lock(&fd, Lock::TryExclusive)? {
                return Ok(None);
            }
            // It may have been taken, and its process have died, since it was found free: a dead one's attaches are still
            // counted, and while we hold its lock it would look alive.
            if only_free && self.cell_state(cell).0 != CellState::Free as u32 {
                return Ok(None);
            }
            doing = "map";
            map::map_page(&fd, inherit).map(Some)
        });
        match took {
            Ok(None) => Ok(None),
            Ok(Some(mapping)) => {
                self.begin_generation(cell);
                Ok(Some(Taken { cell, mapping }))
            }
            Err(error) => Err(Obstacle::system(doing, &path, error)),
        }
    }

    /// Whoever holds the file's lock owns the generation: from now on an in-table lock in the name of the cell's
    /// previous process is known to be a dead one's, though the file is locked.
    fn begin_generation(&self, cell: u32) {
        if cell < self.table().cells_ready() {
            let before = self.table().get32(cell!(cell, generation));
            let next = Identity::new(cell, before.wrapping_add(1)).generation;
            self.table().set32(cell!(cell, generation), next);
        }
    }

    /// Makes a cell whose file is locked this process's (or its child's) in the table.
    #[inline(never)]
    fn occupy(&self, taken: Taken, state: CellState, pid: i32) -> Stored<Identity> {
        let table = self.table();
        let known = taken.cell < table.cells_ready();
        let generation = if known {
            table.get32(cell!(taken.cell, generation))
        } else {
            0
        };
        let identity = Identity::new(taken.cell, generation);
        // A parent that prepares a cell for a child takes the lock in its own name.
        let locker = match state {
            CellState::Forking => self.forking_parent().unwrap_or(identity),
            _ => identity,
        };
        let held = lock::lock(self, locker);
        self.ensure_cell(&held, taken.cell)?;
        if table.get32(cell!(taken.cell, state)) != CellState::Free as u32 {
            reap(&held, taken.cell);
        }
        if state == CellState::Forking {
            let begun = Handover::Begun.of(identity);
            table.set32(cell!(taken.cell, handover), begun);
        }
        let mut journal = Journal::begin(&held);
        journal.put32(cell!(taken.cell, generation), identity.generation);
        journal.put32(cell!(taken.cell, pid), pid as u32);
        journal.put32(cell!(taken.cell, work), 0);
        journal.put32(cell!(taken.cell, state), state as u32);
        journal.commit();
        Ok(identity)
    }
}

/// Opens a liveness file, making it if need be. Anything but a plain file is refused: it is not one of ours.
fn open_or_make(path: &Path, mode: u32) -> Result<Fd, OsError> {
    let fd = open_or_make_any(path, mode)?;
    let status = file::status(&fd)?;
    if status.is_file() && status.links == 1 {
        Ok(fd)
    } else {
        Err(OsError(libc::EPERM))
    }
}

fn open_or_make_any(path: &Path, mode: u32) -> Result<Fd, OsError> {
    // Without O_CREAT first: in a sticky directory `fs.protected_regular` refuses O_CREAT on another's file.
    match file::open(path, libc::O_RDONLY, 0) {
        Err(OsError(libc::ENOENT)) => {}
        answer => return answer,
    }
    match file::open(path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, mode) {
        Ok(fd) => {
            // The umask may have taken bits that others need to look at the lock.
            file::set_permissions(&fd, mode)?;
            Ok(fd)
        }
        Err(OsError(libc::EEXIST)) => file::open(path, libc::O_RDONLY, 0),
        Err(error) => Err(error),
    }
}

/// Drops all that the dead process of `cell` had: its attaches, its unfinished work, the cell itself. Segments
/// that are gone thereby go on the list of dying ones; [`Namespace::sweep`] unlinks their files once the lock is
/// released. The caller has seen with its own eyes that the process is dead.
pub fn reap(held: &Held<'_>, cell: u32) {
    let table = held.table();
    let state = table.get32(cell!(cell, state));
    let pid = table.get32(cell!(cell, pid)) as i32;
    // A child that never ran was not there: its attaches are undone rather than ended.
    let ran = state != CellState::Forking as u32;
    for _ in 0..table.records_ready() {
        let Some(index) = books::in_range(table.get32(cell!(cell, first_record)), table) else {
            break;
        };
        let count = table.get32(record!(index, count));
        let ran = ran && table.get32(record!(index, ended)) == 0;
        super::slots::detach(
            held,
            index,
            count,
            ran.then_some((pid, process::now_secs())),
            super::slots::Last::List,
        );
    }
    let work = table.get32(cell!(cell, work)).checked_sub(1);
    if let Some(slot) = work.filter(|&slot| slot < table.slots_ready()) {
        let slot_state = table.get32(slot!(slot, state));
        if slot_state == SlotState::Creating as u32 || slot_state == SlotState::Dying as u32 {
            // Its file may or may not be there; unlinking finds out.
            table::change_slot(held, slot, || {
                let mut journal = Journal::begin(held);
                journal.put32(slot!(slot, state), SlotState::Dying as u32);
                journal.put32(cell!(cell, work), 0);
                journal.commit();
                books::push_dying(held, slot);
            });
        }
    }
    let mut journal = Journal::begin(held);
    journal.put32(cell!(cell, work), 0);
    journal.put32(cell!(cell, state), CellState::Free as u32);
    journal.commit();
}

/// Calls `each` with the slot and the index of every record that counts attaches of `owner`.
pub fn for_each_record(held: &Held<'_>, owner: Identity, mut each: impl FnMut(u32, u32)) {
    let table = held.table();
    let mut link = table.get32(cell!(owner.cell, first_record));
    for _ in 0..table.records_ready() {
        let Some(index) = books::in_range(link, table) else {
            break;
        };
        each(table.get32(record!(index, id)) % layout::SLOTS, index);
        link = table.get32(record!(index, next_of_cell));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_packing() {
        for cell in [0, 1, 77, layout::CELLS - 1] {
            for generation in [0, 1, 40_000, GENERATIONS - 1] {
                let identity = Identity::new(cell, generation);
                assert_ne!(identity.packed(), 0);
                assert_eq!(identity.packed() >> 31, 0, "bit 31 is the lock's");
                assert_eq!(Identity::from_packed(identity.packed()), identity);
            }
        }
    }
}
