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
//! | `symbols` | what libc and the other objects define |
//! | `futex`, `atomic` | words of shared memory |
//! | `atfork` | the fork handlers |
//! | `signal`, `startup` | signals by number, what comes before `main`: for the command |
//!
//! | mechanisms | |
//! |---|---|
//! | `process_lock`, `wipe_on_fork` | the in-process lock; memory that a child finds as zeros |
//! | `timed_lock` | a lock, and deadlines, for waits that end |
//! | `signal_mask` | no handler runs while a lock is held |
//! | `helper_process` | work that the host's own limits refuse |
//! | `exposed_sleep` | a sleep that a handler ends, wherever it comes |
//! | `robust` | marks by which the kernel tells that a thread has ended |
//! | `own_stack` | work that a small stack has no room for |
//! | `credentials` | the effective uid, remembered |
//! | `seccomp` | whether a filter of the host forbids a system call |
//! | `usermem` | copies that answer `EFAULT` where a plain one would crash |
//! | `huge` | huge pages: mounts, sizes, reservations |
//! | `kernel_shm` | segments, semaphores and messages of the kernel's, to be read |
//! | `guard` | inaccessible pages beside attaches |
//! | `append` | a line for a file that the user chose |
//! | `served` | calls on behalf of another process |

pub mod append;
pub mod atfork;
pub mod atomic;
pub mod credentials;
pub mod dir;
pub mod env;
pub mod errno;
pub mod exposed_sleep;
pub mod file;
pub mod futex;
pub mod guard;
pub mod helper_process;
pub mod huge;
pub mod kernel_shm;
pub mod map;
pub mod own_stack;
pub mod pages;
pub mod path;
pub mod process;
pub mod process_lock;
pub mod raw;
pub mod robust;
pub mod seccomp;
pub mod served;
pub mod signal;
pub mod signal_mask;
pub mod spin;
pub mod startup;
mod status;
#[cfg(target_env = "gnu")]
pub mod symbols;
pub mod threads;
pub mod timed_lock;
pub mod usermem;
pub mod userns;
pub mod wipe_on_fork;

/// The kernel's error number of a refused system call, as a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OsError(pub i32);

/// The errnos that our calls can meet.
macro_rules! names {
    ($($errno:ident)*) => {
        /// The name of this number, or an empty one.
        fn name_of(number: i32) -> &'static str {
            match number {
                $(libc::$errno => stringify!($errno),)*
                _ => "",
            }
        }

        impl OsError {
            /// The error with this name, if it is one that our calls can meet.
            pub fn named(name: &[u8]) -> Option<OsError> {
                $(if name == stringify!($errno).as_bytes() {
                    return Some(OsError(libc::$errno));
                })*
                None
            }
        }
    };
}

names! {
    EPERM ENOENT EINTR EIO EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST ENODEV
    ENOTDIR EISDIR EINVAL ENFILE EMFILE ETXTBSY EFBIG ENOSPC EROFS ENAMETOOLONG ENOLCK
    ENOSYS ENOTEMPTY ELOOP EOVERFLOW EDQUOT ESTALE ENXIO EOPNOTSUPP EIDRM E2BIG ENOMSG ERANGE
}

impl core::fmt::Display for OsError {
    /// The symbolic name where it is one that our calls can meet.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match name_of(self.0) {
            "" => write!(f, "error {}", self.0),
            name => f.write_str(name),
        }
    }
}

/// What a system call answered.
pub type OsResult<T> = Result<T, OsError>;
