//! The processes of a namespace: the table that they share and the directory that says which of them are there.

use super::probe;
use super::reap::{list_unfinished, reap};
use crate::os::atomic::{AtomicU32, Ordering};
use crate::os::credentials;
use crate::os::signal_mask::Blocked;
use crate::storage::error::{StorageError, Stored};
use crate::storage::runtime_dir::RuntimeDir;
use crate::storage::sentence;
use crate::storage::table::layout::{self, CellState, cell};
use crate::storage::table::{Held, Identity, Surroundings, Table, lock};

/// Whether a segment is destroyed that so many attaches are left of: marked, attaches, shm_rmid_forced.
pub type IsDestroyed = fn(marked: bool, nattch: u64, rmid_forced: bool) -> bool;

/// A table and the directory that it lies in.
pub struct Processes {
    table: Table,
    directory: RuntimeDir,
    is_destroyed: IsDestroyed,
    /// See [`Processes::has_unfinished`].
    unfinished: AtomicU32,
}

impl Processes {
    /// Those of a table that was found good.
    pub fn new(table: Table, directory: RuntimeDir, is_destroyed: IsDestroyed) -> Processes {
        Processes {
            table,
            directory,
            is_destroyed,
            unfinished: AtomicU32::new(0),
        }
    }

    /// The table.
    #[inline(always)]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The runtime directory.
    #[inline(always)]
    pub fn directory(&self) -> &RuntimeDir {
        &self.directory
    }

    /// Probes whether the process of `cell` is certainly gone.
    pub fn has_died(&self, cell: u32) -> bool {
        probe::is_dead(&self.directory, cell)
    }

    /// Whether the process of `cell` is gone; `None`: it cannot be probed, as by a program that has become another user.
    pub fn probe(&self, cell: u32) -> Option<bool> {
        probe::probe(&self.directory, cell)
    }

    /// Blocks all signals before the table is used, and sees that it is all there. A table that was cut would raise
    /// SIGBUS in the host; this way it is a refusal. Calls that make no system call do not find out.
    pub fn block(&self) -> Stored<Blocked> {
        let every = self.table.word64(layout::LAST_PAGE);
        Blocked::all_if_there(every).ok_or_else(|| self.is_damaged("it was truncated while in use"))
    }

    /// That the table is damaged in a way that cannot be repaired from what it says itself.
    #[cold]
    #[inline(never)]
    pub fn is_damaged(&self, what: &'static str) -> StorageError {
        StorageError::Damaged {
            path: self.directory.table_path(),
            what,
        }
    }

    /// Takes the in-table lock. Signals are blocked and the in-process lock is held. Where a living process keeps it for too
    /// long, a change of the table is missing that the caller was about to make, which is noted.
    pub fn lock(&self, me: Identity) -> Stored<Held<'_>> {
        lock::lock(&self.table, self, me).map_err(|owner| {
            self.note_unfinished();
            self.is_kept_by(owner)
        })
    }

    /// The process that would make taking that lock last long, if one would: see [`lock::keeper`].
    #[inline]
    pub fn keeper(&self, me: Option<Identity>) -> Option<Identity> {
        lock::keeper(&self.table, self, me)
    }

    /// That this process keeps the lock.
    #[cold]
    #[inline(never)]
    pub fn is_kept_by(&self, owner: Identity) -> StorageError {
        let pid = self.table.pid_of(owner.cell()).unwrap_or(0) as u64;
        let table = self.directory.table_path();
        StorageError::numbers(sentence::KEPT, &table, pid, owner.cell().into())
    }

    /// Whether this process could not enter into the table what it has done: to be made up for.
    #[inline]
    pub fn has_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) != 0
    }

    /// Says so.
    pub fn note_unfinished(&self) {
        self.unfinished.store(1, Ordering::Relaxed);
    }

    /// It has been made up for, as far as a making or unlinking goes; what this process has attached is to be counted anew.
    pub fn forget_unfinished(&self, held: &Held<'_>) {
        self.unfinished.store(0, Ordering::Relaxed);
        list_unfinished(held, held.me().cell());
    }

    /// Probes the process of `cell` and reaps it if it is dead. Returns whether it was.
    pub fn reap_if_dead(&self, me: Identity, cell: u32) -> bool {
        let table = &self.table;
        let seen = table.cell_state(cell);
        if cell == me.cell() || seen.0 == CellState::Free as u32 || !self.has_died(cell) {
            return false;
        }
        let Ok(held) = self.lock(me) else {
            return false;
        };
        // Between the probe and the lock the cell may have got a new process.
        let same = table.get32(cell!(cell, generation)) == seen.1
            && table.get32(cell!(cell, state)) != CellState::Free as u32;
        if same {
            reap(&held, cell);
        }
        same
    }
}

impl Surroundings for Processes {
    fn is_dead(&self, cell: u32) -> bool {
        self.has_died(cell) || probe::is_nobody(&self.directory, &self.table, cell)
    }

    fn back(&self, offset: u32, len_bytes: u32, used: u32) -> Stored<()> {
        let whole = u64::from(layout::FILE_BYTES);
        self.directory
            .back_table(whole, offset.into(), used.into(), len_bytes.into())
    }

    fn is_destroyed(&self, marked: bool, nattch: u64, rmid_forced: bool) -> bool {
        (self.is_destroyed)(marked, nattch, rmid_forced)
    }

    fn euid(&self) -> u32 {
        credentials::euid()
    }
}
