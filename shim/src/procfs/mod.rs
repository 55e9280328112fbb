//! The files in `/proc` that show System V IPC, as the namespace's own.
//!
//! `/proc/sysvipc/{shm,sem,msg}` list its segments, sets and queues;
//! `/proc/sys/kernel/{shmmax,shmall,shmmni,shm_rmid_forced,sem,msgmax,msgmnb,msgmni}` show its limits and change
//! them. A program that opens one of them gets a memory file with the text of this moment in place of the kernel's file, with the
//! access rights that the kernel's file has.
//!
//! The real function is always called first, and only then the path is looked at: by then the kernel has read it,
//! so that it can be read here too. Opening the kernel's files has no effect on them.
//!
//! | file | job |
//! |---|---|
//! | `name.rs` | which path means one of the files |
//! | `hooks.rs` | open, openat, fopen and their forms; write; execve |
//! | `exists.rs` | stat, access, realpath, where the kernel has no such files |
//! | `access.rs` | what an open of one of them is answered with |
//! | `content.rs` | the memory file and its text |
//! | `limits.rs` | the limits: their text, and what a write sets |
//! | `pending.rs` | limits that the host has opened for writing |
//! | `sys.rs` | the system calls that this takes |
//!
//! Divergence: the text is that of the open, not of each read; `fstat` shows another device, and a size.

mod access;
mod content;
pub mod exists;
pub mod hooks;
mod limits;
mod name;
pub mod pending;
mod sys;

/// Whether an absolute path, as it stands, is that of one of the files.
pub fn shows(path: &[u8]) -> bool {
    name::File::at(path).is_some()
}
