//! Taking a cell: a liveness file that this process locks, and the cell of that number in the table.

use super::probe::{is_worked_for, live_path};
use super::processes::Processes;
use super::reap::reap;
use super::serving::has_ended;
use crate::os::file::{self, At, Fd, Lock, Status};
use crate::os::path::Path;
use crate::os::{OsError, helper_process, map};
use crate::storage::error::{StorageError, Stored};
use crate::storage::runtime_dir::RuntimeDir;
use crate::storage::sentence;
use crate::storage::table::events;
use crate::storage::table::grow;
use crate::storage::table::layout::{self, CellState, cell};
use crate::storage::table::parts;
use crate::storage::table::{Identity, Journal};

/// So many liveness files may be none of ours before a process gives up.
const MOST_UNUSABLE: u32 = 256;

/// Which process is to have the mapping that holds a cell's lock.
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

impl Processes {
    /// Registers the calling process, which has this id: takes a cell of its own. Signals are blocked and the in-process lock is
    /// held.
    #[inline(never)]
    pub fn register(&self, pid: i32) -> Stored<Identity> {
        let taken = self.take_cell(Keep::ToOneself)?;
        if !self.begin_work(taken.cell) {
            taken.let_go();
            return Err(has_ended());
        }
        self.occupy(taken, CellState::Live, pid, None)
            .inspect_err(|_| taken.let_go())
    }

    /// The holder of the file's lock owns the generation: from now on an in-table lock in the name of the cell's
    /// previous process is known to be a dead one's, though the file is locked.
    pub(super) fn begin_generation(&self, cell: u32) {
        if cell < self.table().cells_ready() {
            let before = self.table().get32(cell!(cell, generation));
            let next = Identity::new(cell, before).next().generation();
            self.table().set32(cell!(cell, generation), next);
        }
    }

    /// Makes a cell whose file is locked this process's (or its child's) in the table, which is locked in the name of
    /// `locker`, else of the cell's new process.
    #[inline(never)]
    pub(super) fn occupy(
        &self,
        taken: Taken,
        state: CellState,
        pid: i32,
        locker: Option<Identity>,
    ) -> Stored<Identity> {
        let table = self.table();
        let known = taken.cell < table.cells_ready();
        let generation = if known {
            table.get32(cell!(taken.cell, generation))
        } else {
            0
        };
        let identity = Identity::new(taken.cell, generation);
        let held = self.lock(locker.unwrap_or(identity))?;
        grow::ensure(&held, &parts::CELL_PART, taken.cell)?;
        if table.get32(cell!(taken.cell, state)) != CellState::Free as u32 {
            reap(&held, taken.cell);
        }
        events::introduce(&held, taken.cell);
        let mut journal = Journal::begin(&held);
        journal.put32(cell!(taken.cell, generation), identity.generation());
        journal.put32(cell!(taken.cell, pid), pid as u32);
        journal.put32(cell!(taken.cell, work), 0);
        journal.put32(cell!(taken.cell, state), state as u32);
        journal.commit();
        Ok(identity)
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
                Err(error) if is_unusable(self.directory(), cell) && unusable < MOST_UNUSABLE => {
                    met = met.or(Some(error));
                    unusable += 1;
                }
                Err(error) => return Err(met.unwrap_or(error)),
            }
        }
        Err(met.unwrap_or(StorageError::TableFull {
            what: "processes",
            holds: layout::CELLS,
        }))
    }

    /// Locks the liveness file of `cell`, making it if need be. `None`: another process has it locked.
    fn try_take(&self, cell: u32, keep: Keep, only_free: bool) -> Stored<Option<Taken>> {
        self.directory().check_in_place()?;
        let path = live_path(self.directory(), cell);
        let mut doing = "open";
        let mut take = || {
            doing = "open";
            let fd = open_live(self.directory(), &path)?;
            if !file::lock(&fd, Lock::TryExclusive)? || is_worked_for(&fd) {
                return Ok(None);
            }
            // It may have been taken, and its process have died, since it was found free: a dead one's attaches are still
            // counted, and while we hold its lock it would look alive.
            if only_free && self.table().cell_state(cell).0 != CellState::Free as u32 {
                return Ok(None);
            }
            doing = "map";
            // From here on the mapping holds the lock.
            map::map_page(&fd, keep == Keep::Shared).map(Some)
        };
        let mut took = helper_process::with_descriptor(&mut take);
        if took == Err(OsError(libc::ENOENT)) && self.directory().restore_parts()? {
            took = helper_process::with_descriptor(&mut take);
        }
        match took {
            Ok(None) => Ok(None),
            Ok(Some(mapping)) => {
                self.begin_generation(cell);
                Ok(Some(Taken { cell, mapping }))
            }
            Err(error) => Err(why_not_taken(self.directory(), doing, &path, error)),
        }
    }
}

/// Whether it can be one of our liveness files.
fn is_liveness_file(status: &Status) -> bool {
    status.is_file() && status.links == 1
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
            // The umask may have taken bits that others need to probe the lock.
            file::set_permissions(&fd, mode)?;
            Ok(fd)
        }
        Err(OsError(libc::EEXIST)) => file::open_in(dir, path, libc::O_RDONLY, 0),
        Err(error) => Err(error),
    }
}

/// Opens a liveness file, making it if need be. Anything but a plain file is refused: it is not one of ours.
pub(super) fn open_live(directory: &RuntimeDir, path: &Path) -> Result<Fd, OsError> {
    let dir = directory.open_parent(path)?;
    let fd = open_or_make(dir.as_ref(), path, directory.scope().live_mode())?;
    if is_liveness_file(&file::status(&fd)?) {
        Ok(fd)
    } else {
        Err(OsError(libc::EPERM))
    }
}

/// Whether something else lies where the liveness file of `cell` should be, so that another cell may do: not if it is
/// the directory or the file system that refuses.
#[cold]
fn is_unusable(directory: &RuntimeDir, cell: u32) -> bool {
    let path = live_path(directory, cell);
    file::status_of(&path).is_ok_and(|status| {
        !is_liveness_file(&status)
            || file::open(&path, libc::O_RDONLY, 0).err() == Some(OsError(libc::EACCES))
    })
}

/// Says what lies in place of a liveness file.
#[cold]
#[inline(never)]
fn why_not_taken(
    directory: &RuntimeDir,
    doing: &'static str,
    path: &Path,
    error: OsError,
) -> StorageError {
    match file::status_of(path) {
        Ok(status) if !status.is_file() => StorageError::of(sentence::NOT_A_FILE, path, &status),
        Ok(status) if status.links != 1 => StorageError::of(sentence::HARD_LINKED, path, &status),
        Ok(status) if error == OsError(libc::EACCES) => {
            let mode = directory.scope().live_mode();
            StorageError::of_other(sentence::WRONG_MODE, path, &status, mode)
        }
        _ => directory.error(doing, path, error),
    }
}
