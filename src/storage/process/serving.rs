//! Work in the name of another process (`os/served.rs`).
//!
//! Who serves a client takes locks and blocks that name the client's cell, and the client may be killed at any moment of that. So that
//! nobody takes them for a dead process's meanwhile, the serving process holds a lock of its own on the client's liveness file while it
//! works: a record lock (`fcntl`), which `flock` does not meet. A cell's process is gone when both are free. Idle it holds
//! none, so that its client's end is seen at once.

use super::probe::live_path;
use super::processes::Processes;
use crate::os::file::{self, Fd, Lock};
use crate::os::{OsError, OsResult, served};
use crate::storage::error::StorageError;

impl Processes {
    /// Begins to work in the name of the process of `cell`, if this process serves it. `false`: it is gone, or has begun another
    /// program.
    pub fn begin_work(&self, cell: u32) -> bool {
        let Some(client) = served::client() else {
            return true;
        };
        match self.hold(cell) {
            Ok((_, true)) => false,
            Ok((fd, false)) => {
                client.hold_cell(Some(fd));
                true
            }
            // As in a probe: it counts as there.
            Err(_) => true,
        }
    }

    /// The cell's liveness file, held, and whether the cell's own lock was free then.
    fn hold(&self, cell: u32) -> OsResult<(Fd, bool)> {
        let path = live_path(self.directory(), cell);
        let dir = self.directory().open_parent(&path)?;
        let fd = file::open_in(dir.as_ref(), &path, libc::O_RDONLY, 0)?;
        // In this order: a probe that finds the cell's own lock free from now on finds this one held.
        file::hold(&fd)?;
        let is_free = file::lock(&fd, Lock::TryShared)?;
        Ok((fd, is_free))
    }
}

/// The client of this process has ended, or has begun another program.
#[cold]
pub fn has_ended() -> StorageError {
    StorageError::Call {
        doing: "serve a process that has ended",
        error: OsError(libc::ESRCH),
    }
}
