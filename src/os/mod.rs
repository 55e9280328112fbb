//! One thin, safe function per thing asked of the operating system, and the mechanisms that are made of such functions.
//!
//! With the shim this is the only place in the project that holds `unsafe`. What callers may rely on:
//!
//! - **No exported symbol of ours is ever called.** Everything that touches files or mappings goes through
//!   [`raw::call`], which enters the kernel directly. Hosts patch the symbols that we export, and we export
//!   `munmap`, `mmap` and `open` ourselves.
//! - **No cancellation points.** A thread that is cancelled inside one of our calls would take a lock with it.
//! - **errno stays as it is.** Failures are values ([`OsError`]); only [`errno`] reads or writes the host's `errno`.
//! - **No allocation from the host's heap.** A call may arrive in a signal handler that interrupted `malloc`.
//!   What must grow lives in pages of our own ([`pages`]).
//!
//! | thin wrappers | ask for |
//! |---|---|
//! | `raw` | a system call, by number: every one passes here, or asks here before |
//! | `file`, `status`, `dir`, `path` | files, what they are, the names in directories |
//! | `map`, `pages` | shared mappings, memory of our own |
//! | `process`, `threads`, `userns`, `env`, `errno` | what the process is, and what it was started with |
//! | `futex`, `atomic` | words of shared memory |
//! | `atfork` | the fork handlers |
//!
//! | mechanisms | |
//! |---|---|
//! | `process_lock`, `wipe_on_fork` | the in-process lock; memory that a child finds as zeros |
//! | `timed_lock` | a lock, and deadlines, for waits that end |
//! | `signal_mask` | no handler runs while a lock is held |
//! | `helper_process` | work that the host's own limits refuse |
//! | `own_stack` | work that a small stack has no room for |
//! | `credentials` | the effective uid, remembered |
//! | `seccomp` | whether a filter of the host forbids a system call |
//! | `usermem` | copies that answer `EFAULT` where a plain one would crash |
//! | `huge` | huge pages: mounts, sizes, reservations |
//! | `append` | a line for a file that the user chose |
//! | `served` | calls on behalf of another process |

pub mod append;
pub mod atfork;
pub mod atomic;
pub mod credentials;
pub mod dir;
pub mod env;
pub mod errno;
pub mod file;
pub mod futex;
pub mod helper_process;
pub mod huge;
pub mod map;
pub mod own_stack;
pub mod pages;
pub mod path;
pub mod process;
pub mod process_lock;
pub mod raw;
pub mod seccomp;
pub mod served;
pub mod signal_mask;
mod status;
pub mod threads;
pub mod timed_lock;
pub mod usermem;
pub mod userns;
pub mod wipe_on_fork;

/// The kernel's error number of a refused system call, as a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OsError(pub i32);

impl OsError {
    /// The symbolic name where it is one that our calls can meet, for messages.
    pub const fn name(self) -> &'static str {
        match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::EINTR => "EINTR",
            libc::EIO => "EIO",
            libc::EBADF => "EBADF",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EFAULT => "EFAULT",
            libc::EBUSY => "EBUSY",
            libc::EEXIST => "EEXIST",
            libc::ENODEV => "ENODEV",
            libc::ENOTDIR => "ENOTDIR",
            libc::EISDIR => "EISDIR",
            libc::EINVAL => "EINVAL",
            libc::ENFILE => "ENFILE",
            libc::EMFILE => "EMFILE",
            libc::ETXTBSY => "ETXTBSY",
            libc::EFBIG => "EFBIG",
            libc::ENOSPC => "ENOSPC",
            libc::EROFS => "EROFS",
            libc::ENAMETOOLONG => "ENAMETOOLONG",
            libc::ENOLCK => "ENOLCK",
            libc::ENOSYS => "ENOSYS",
            libc::ENOTEMPTY => "ENOTEMPTY",
            libc::ELOOP => "ELOOP",
            libc::EOVERFLOW => "EOVERFLOW",
            libc::EDQUOT => "EDQUOT",
            libc::ESTALE => "ESTALE",
            libc::ENXIO => "ENXIO",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            _ => "an error",
        }
    }
}

impl core::fmt::Display for OsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            "an error" => write!(f, "error {}", self.0),
            name => f.write_str(name),
        }
    }
}

/// What a system call answered.
pub type OsResult<T> = Result<T, OsError>;
