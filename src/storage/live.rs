//! Liveness: which processes are there.
//!
//! A process owns cell N as long as it holds `live/N` locked, and it holds it without a descriptor: the file is
//! opened, locked (LOCK_EX), mapped, and closed; the lock belongs to the open file, and the mapping keeps that
//! open. It goes away with the address space: at exit, at exec, at SIGKILL, before `waitpid` returns. The mapping
//! is not inherited by children (MADV_DONTFORK). What a parent prepares for a child is in `prepared.rs`.
//!
//! A look at another process is a shared lock, asked for without waiting: two who look at once do not disturb
//! each other. Liveness files are never removed while the namespace exists, so a lock is always on the file that
//! its name leads to; the next process that needs a cell takes over a dead one's, file and all.

use super::books;
use super::files;
use super::layout::{self, CellState, SlotState, cell, header, record, slot};
use super::lock::{self, Held};
use super::namespace::Namespace;
use super::obstacle::{Obstacle, Stored};
use super::prepared;
use super::table::{self, Journal};
use crate::os::file::{self, At, Fd, Lock, Status};
use crate::os::path::Path;
use crate::os::{OsError, helper_process, map, process};

const CELL_BITS: u32 = 14;
const HELD: u32 = 1 << 30;
const GENERATIONS: u32 = 1 << 16;
/// So many liveness files may be none of ours before a process gives up.
const MOST_UNUSABLE: u32 = 256;

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

/// Who is to have the mapping that holds a cell's lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// This process alone.
    ToOneself,
    /// Its children as well.
    Shared,
}

/// A cell whose liveness file this process has locked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) cell: u32,
    /// The mapping that holds the lock.
    pub(super) mapping: usize,
}

impl Taken {
    /// Ends it: the lock is free.
    pub(super) fn let_go(self) {
        map::unmap_page(self.mapping);
    }
}

impl Namespace {
    pub(super) fn live_path(&self, cell: u32) -> Path {
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
        let looked = helper_process::with_descriptor(|| {
            let dir = self.open_parent(&path)?;
            let fd = file::open_in(dir.as_ref(), &path, libc::O_RDONLY, 0)?;
            file::lock(&fd, Lock::TryShared)
        });
        match looked {
            Ok(true) => Liveness::Dead,
            Ok(false) => Liveness::Alive,
            Err(_) => Liveness::Unknown,
        }
    }

    /// Whether nobody can be the process of `cell`: it has no liveness file, and no process has its pid. A table that was
    /// damaged may call it somebody's, and whoever waits for him would wait for ever; but a file can be removed, too, while
    /// its process runs.
    pub(super) fn is_nobody(&self, cell: u32) -> bool {
        file::status_of(&self.live_path(cell)) == Err(OsError(libc::ENOENT))
            && self.is_reachable()
            && !self.pid_of(cell).is_some_and(process::exists)
    }

    /// Registers this process: takes a cell of its own. Signals are blocked and the in-process lock is held.
    #[inline(never)]
    pub fn register(&self) -> Stored<Identity> {
        self.take_own(process::pid())
    }

    /// Takes a cell for the process with this id, which is the calling one.
    pub(super) fn take_own(&self, pid: i32) -> Stored<Identity> {
        let taken = self.take_cell(Keep::ToOneself)?;
        self.occupy(taken, CellState::Live, pid)
            .inspect_err(|_| taken.let_go())
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
        if self.take_lost_files() {
            self.end_lost_segments(me);
        }
        self.sweep(me);
    }

    #[inline(never)]
    pub(super) fn take_cell(&self, keep: Keep) -> Stored<Taken> {
        let ready = self.table().cells_ready();
        let is_free = |cell| self.table().get32(cell!(cell, state)) == CellState::Free as u32;
        let free = (0..ready).filter(|&cell| is_free(cell));
        // A dead one's come last: while its file is locked again and its attaches are still counted, it would look alive.
        let all = free
            .chain(ready..layout::CELLS)
            .map(|cell| (cell, true))
            .chain((0..ready).map(|cell| (cell, false)));
        let (mut met, mut unusable) = (None, 0);
        for (cell, only_free) in all {
            match self.try_take(cell, keep, only_free) {
                Ok(Some(taken)) => return Ok(taken),
                Ok(None) => {}
                Err(obstacle) if self.is_unusable(cell) && unusable < MOST_UNUSABLE => {
                    met = met.or(Some(obstacle));
                    unusable += 1;
                }
                Err(obstacle) => return Err(met.unwrap_or(obstacle)),
            }
        }
        Err(met.unwrap_or(Obstacle::TableFull {
            what: "processes",
            holds: layout::CELLS,
        }))
    }

    /// Whether something else lies where the liveness file of `cell` should be, so that another cell may do: not if it is
    /// the directory or the file system that refuses.
    #[cold]
    fn is_unusable(&self, cell: u32) -> bool {
        let path = self.live_path(cell);
        file::status_of(&path).is_ok_and(|status| {
            !is_liveness_file(&status)
                || file::open(&path, libc::O_RDONLY, 0).err() == Some(OsError(libc::EACCES))
        })
    }

    /// Locks the liveness file of `cell`, making it if need be. `None`: somebody has it.
    fn try_take(&self, cell: u32, keep: Keep, only_free: bool) -> Stored<Option<Taken>> {
        self.check_in_place()?;
        let path = self.live_path(cell);
        let mut doing = "open";
        let mut take = || {
            doing = "open";
            let fd = self.open_live(&path)?;
            if !file::lock(&fd, Lock::TryExclusive)? {
                return Ok(None);
            }
            // It may have been taken, and its process have died, since it was found free: a dead one's attaches are still
            // counted, and while we hold its lock it would look alive.
            if only_free && self.cell_state(cell).0 != CellState::Free as u32 {
                return Ok(None);
            }
            doing = "map";
            keep_lock(&fd, keep).map(Some)
        };
        let mut took = helper_process::with_descriptor(&mut take);
        if took == Err(OsError(libc::ENOENT)) && self.restore_parts()? {
            took = helper_process::with_descriptor(&mut take);
        }
        match took {
            Ok(None) => Ok(None),
            Ok(Some(mapping)) => {
                self.begin_generation(cell);
                Ok(Some(Taken { cell, mapping }))
            }
            Err(error) => Err(self.why_not_taken(doing, &path, error)),
        }
    }

    /// Says what lies in place of a liveness file.
    #[cold]
    #[inline(never)]
    fn why_not_taken(&self, doing: &'static str, path: &Path, error: OsError) -> Obstacle {
        let (path, wanted) = (*path, "a regular file");
        match file::status_of(&path) {
            Ok(status) if !status.is_file() => Obstacle::WrongKind {
                path,
                found: status.kind(),
                wanted,
                owner: status.uid,
            },
            Ok(status) if status.links != 1 => Obstacle::HardLinked {
                path,
                owner: status.uid,
            },
            Ok(status) if error == OsError(libc::EACCES) => Obstacle::WrongMode {
                path,
                owner: status.uid,
                mode: status.permissions(),
                wanted: self.scope().live_mode(),
            },
            _ => self.obstacle(doing, &path, error),
        }
    }

    /// Whoever holds the file's lock owns the generation: from now on an in-table lock in the name of the cell's
    /// previous process is known to be a dead one's, though the file is locked.
    pub(super) fn begin_generation(&self, cell: u32) {
        if cell < self.table().cells_ready() {
            let before = self.table().get32(cell!(cell, generation));
            let next = Identity::new(cell, before.wrapping_add(1)).generation;
            self.table().set32(cell!(cell, generation), next);
        }
    }

    /// Makes a cell whose file is locked this process's (or its child's) in the table.
    #[inline(never)]
    pub(super) fn occupy(&self, taken: Taken, state: CellState, pid: i32) -> Stored<Identity> {
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
        let held = lock::lock(self, locker)?;
        self.ensure_cell(&held, taken.cell)?;
        if table.get32(cell!(taken.cell, state)) != CellState::Free as u32 {
            reap(&held, taken.cell);
        }
        if state == CellState::Forking {
            prepared::begin(table, identity);
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

/// Has the lock on `fd` held by a mapping.
pub(super) fn keep_lock(fd: &Fd, keep: Keep) -> Result<usize, OsError> {
    map::map_page(fd, keep == Keep::Shared)
}

/// Whether it can be one of our liveness files.
fn is_liveness_file(status: &Status) -> bool {
    status.is_file() && status.links == 1
}

impl Namespace {
    /// Opens a liveness file, making it if need be. Anything but a plain file is refused: it is not one of ours.
    pub(super) fn open_live(&self, path: &Path) -> Result<Fd, OsError> {
        let dir = self.open_parent(path)?;
        let fd = open_or_make(dir.as_ref(), path, self.scope().live_mode())?;
        if is_liveness_file(&file::status(&fd)?) {
            Ok(fd)
        } else {
            Err(OsError(libc::EPERM))
        }
    }
}

fn open_or_make(dir: At<'_>, path: &Path, mode: u32) -> Result<Fd, OsError> {
    // Without O_CREAT first: in a sticky directory `fs.protected_regular` refuses O_CREAT on another's file.
    match file::open_in(dir, path, libc::O_RDONLY, 0) {
        Err(OsError(libc::ENOENT)) => {}
        answer => return answer,
    }
    let new = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    match file::open_in(dir, path, new, mode) {
        Ok(fd) => {
            // The umask may have taken bits that others need to look at the lock.
            file::set_permissions(&fd, mode)?;
            Ok(fd)
        }
        Err(OsError(libc::EEXIST)) => file::open_in(dir, path, libc::O_RDONLY, 0),
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
    list_unfinished(held, cell);
    let mut journal = Journal::begin(held);
    journal.put32(cell!(cell, work), 0);
    journal.put32(cell!(cell, state), CellState::Free as u32);
    journal.commit();
}

/// Puts what the process of `cell` was making or unlinking, and does so no longer, on the list of dying segments.
pub(super) fn list_unfinished(held: &Held<'_>, cell: u32) {
    let table = held.table();
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
                if slot_state == SlotState::Creating as u32 {
                    let pages = files::pages_of(table.get64(slot!(slot, segsz)));
                    books::count_making(held, -1, pages);
                }
                books::push_dying(held, slot);
            });
        }
    }
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
