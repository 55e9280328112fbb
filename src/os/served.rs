//! On whose behalf the calls are made: this process's own, or a client's, whose supervisor this process is a part of
//! (`supervisor/`).
//!
//! For a client its process id counts in place of ours, its real uid, its capabilities and its limits; and what the host
//! is to have mapped is mapped into the client's memory, by system calls that the supervisor makes there. The effective
//! ids and the groups are not here: the process that serves a client has the client's.

use super::OsResult;
use super::file::Fd;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use once_cell::race::OnceRef;

/// Makes a system call in the client. With a descriptor, the client gets a copy of it for the duration of the call, whose
/// number is the call's fifth argument.
pub type Remote = fn(number: usize, args: [usize; 6], fd: Option<&Fd>) -> OsResult<usize>;

/// The soft limit of the process with that id, by its `RLIMIT_` number; `u64::MAX` for none.
pub type Limit = fn(pid: i32, which: usize) -> Option<u64>;

/// The process that is served.
pub struct Client {
    pid: AtomicI32,
    thread: AtomicI32,
    uid: AtomicU32,
    capabilities: AtomicU64,
    remote: Remote,
    limit: Limit,
    /// The number of the descriptor by which the client's cell is held, -1 for none.
    cell: AtomicI32,
}

static CLIENT: OnceRef<'static, Client> = OnceRef::new();

impl Client {
    /// The client with this process id.
    pub const fn new(pid: i32, remote: Remote, limit: Limit) -> Client {
        Client {
            pid: AtomicI32::new(pid),
            thread: AtomicI32::new(pid),
            uid: AtomicU32::new(0),
            capabilities: AtomicU64::new(0),
            remote,
            limit,
            cell: AtomicI32::new(-1),
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// In the process that serves a child of the client: the child's process id.
    pub fn become_child(&self, pid: i32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// The id of its thread that calls.
    pub fn thread(&self) -> i32 {
        self.thread.load(Ordering::Relaxed)
    }

    /// This thread of it calls now.
    pub fn set_thread(&self, tid: i32) {
        self.thread.store(tid, Ordering::Relaxed);
    }

    /// Its real uid.
    pub fn uid(&self) -> u32 {
        self.uid.load(Ordering::Relaxed)
    }

    /// Whether the capability with this number is effective in it.
    pub fn capable(&self, number: u32) -> bool {
        self.capabilities.load(Ordering::Relaxed) >> (number % 64) & 1 != 0
    }

    /// What its calling thread's credentials are, beside those that this process has taken on.
    pub fn set_credentials(&self, uid: u32, capabilities: u64) {
        self.uid.store(uid, Ordering::Relaxed);
        self.capabilities.store(capabilities, Ordering::Relaxed);
    }

    /// One of its limits. Nothing may be used where it cannot be told.
    pub fn limit(&self, which: usize) -> u64 {
        (self.limit)(self.pid(), which).unwrap_or(0)
    }

    /// Keeps the descriptor by which the client's cell is held while this process works in its name, or closes it.
    pub fn hold_cell(&self, by: Option<Fd>) {
        let new = by.map_or(-1, |fd| {
            let fd = core::mem::ManuallyDrop::new(fd);
            fd.number()
        });
        let old = self.cell.swap(new, Ordering::Relaxed);
        if old >= 0 {
            drop(Fd::of_number(old));
        }
    }

    /// Makes a system call in it.
    pub(super) fn call(
        &self,
        number: libc::c_long,
        args: [usize; 6],
        fd: Option<&Fd>,
    ) -> OsResult<usize> {
        (self.remote)(number as usize, args, fd)
    }
}

/// From now on this process makes calls for `client`.
pub fn begin(client: &'static Client) {
    let _ = CLIENT.set(client);
}

/// The client has ended: from now on calls are this process's own again.
pub fn end() {
    if let Some(client) = CLIENT.get() {
        client.hold_cell(None);
        client.become_child(0);
    }
}

/// The client, if calls are made for one.
#[inline(always)]
pub fn client() -> Option<&'static Client> {
    CLIENT.get().filter(|client| client.pid() != 0)
}
