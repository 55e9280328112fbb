//! The probe: whether the process of a cell is there.
//!
//! A process owns cell N as long as it holds `live/N` locked, and it holds it without a descriptor: the file is
//! opened, locked (LOCK_EX), mapped, and closed; the lock belongs to the open file, and the mapping keeps that
//! open. It goes away with the address space: at exit, at exec, at SIGKILL, before `waitpid` returns. The mapping
//! is not inherited by children (MADV_DONTFORK). What a parent prepares for a child is in `fork_cell.rs`.
//!
//! A probe of another process is a shared lock, asked for without waiting: two that probe at once do not disturb
//! each other. Liveness files are never removed while the namespace exists, so a lock is always on the file that
//! its name leads to; the next process that needs a cell takes over a dead one's, file and all.

use crate::os::file::{self, Fd, Lock};
use crate::os::path::Path;
use crate::os::{OsError, helper_process, process};
use crate::storage::runtime_dir::RuntimeDir;
use crate::storage::table::Table;

pub(super) fn live_path(directory: &RuntimeDir, cell: u32) -> Path {
    let mut path = directory.inside(b"live/");
    let _ = path.push_decimal(cell);
    path
}

/// Probes whether the process of `cell` is certainly gone: its liveness file is not locked. One that cannot be probed counts as
/// alive.
pub(super) fn is_dead(directory: &RuntimeDir, cell: u32) -> bool {
    probe(directory, cell) == Some(true)
}

/// Whether the process of `cell` is gone. `None`: it cannot be probed.
pub(super) fn probe(directory: &RuntimeDir, cell: u32) -> Option<bool> {
    // Another namespace's liveness file says nothing.
    directory.check_in_place().ok()?;
    let path = live_path(directory, cell);
    let unlocked = helper_process::with_descriptor(|| {
        let dir = directory.open_parent(&path)?;
        let fd = file::open_in(dir.as_ref(), &path, libc::O_RDONLY, 0)?;
        Ok(file::lock(&fd, Lock::TryShared)? && !is_worked_for(&fd))
    });
    unlocked.ok()
}

/// Whether another process works in the name of the one whose liveness file this is (`serving.rs`).
pub(super) fn is_worked_for(fd: &Fd) -> bool {
    file::is_held(fd).unwrap_or(false)
}

/// Whether no process can be that of `cell`: it has no liveness file, and no process has its pid. A table that was
/// damaged may say that a process has it, and a wait for that process would never end; but a file can be removed, too, while
/// its process runs.
pub(super) fn is_nobody(directory: &RuntimeDir, table: &Table, cell: u32) -> bool {
    file::status_of(&live_path(directory, cell)) == Err(OsError(libc::ENOENT))
        && directory.is_reachable()
        && !table.pid_of(cell).is_some_and(process::exists)
}
