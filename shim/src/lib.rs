//! `libshmshim.so`: the C border.
//!
//! What is here knows pointers, `errno`, panics, signals and reentrancy, and hands a plain call to
//! [`shmshim_core::registry`]. It knows no rule of System V IPC and no file of the runtime directory.
//!
//! | file | job |
//! |---|---|
//! | `exports.rs` | every symbol that is exported, at one glance |
//! | `hook.rs`, `next.rs` | how a symbol is exported, and how the function behind it is found |
//! | `direct.rs` | what happens where there is none, or not yet |
//! | `doors.rs` | dlopen, dlsym: look-ups in libc's table find ours |
//! | `panic_guard.rs` | no panic gets past it |
//! | `calls/` | shmget and its like, semget and its like, msgget and its like |
//! | `cancel.rs` | msgsnd and msgrcv as cancellation points |
//! | `jumps.rs` | longjmp and its like, out of a sleep |
//! | `by_number.rs` | the same by libc's `syscall` |
//! | `abi/` | the structures that shmctl, semctl and msgctl copy |
//! | `memory.rs` | munmap, mremap, mmap, madvise, when they concern an attach |
//! | `identity.rs` | setuid and its like, seccomp: what the core must know of |
//! | `remarks.rs` | lines of the trace about what is no call of ours |
//! | `runtime.rs` | memcpy and what else would be libc's, or the host's |
//! | `procfs/` | the files in `/proc` that show the objects and their limits |
//! | `trace/` | `SHMSHIM_TRACE` |
//!
//! **At load** nothing happens but what the dynamic linker does, and that the fork handlers are registered. (In a program
//! with more rights than its caller our variables leave the environment: programs that it starts with these rights must not heed
//! them.) A call may come before any constructor has run and after every destructor has, so nothing else depends on one:
//! whatever is needed is made at first use.
//!
//! **Reentrancy.** The memory and file functions are called from inside `malloc`, from inside the dynamic linker
//! and from signal handlers. Where they do not concern us (nearly always) they take no lock, allocate nothing,
//! and call nothing but the function behind them.
//!
//! **Cancellation.** `open`, `fopen`, `write`, `msgsnd` and `msgrcv` are cancellation points: glibc ends a thread there by unwinding
//! its stack with an exception that Rust may not touch. So a hook's own frame must have no cleanup at all around
//! the real call. Everything else that it does stands in `extern "C"` functions, which the compiler knows not to
//! unwind; then it drops redhook's `catch_unwind` around the whole. `scripts/check-exports` looks.

mod abi;
mod by_number;
mod calls;
mod cancel;
mod destination;
mod direct;
#[cfg(all(
    not(test), // The tests' own program keeps libc's dlsym.
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")
))]
mod doors;
mod events;
mod exports;
mod fail;
mod guard;
mod hook;
mod identity;
mod jumps;
mod memory;
mod next;
mod panic_guard;
#[cfg(feature = "panic-test")]
mod panic_test;
mod procfs;
mod remarks;
mod report;
mod runtime;
mod settings;
mod trace;

use core::ffi::{c_char, c_int};
use core::ptr::null_mut;

use shmshim_core::os::{atfork, env};
use shmshim_core::registry::{self, after_fork_in_child, after_fork_in_parent};

/// Runs before every other library's constructors (`-z initfirst`), so that our fork handlers are the innermost.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = at_load;

extern "C" fn at_load(_count: c_int, _arguments: *mut *mut c_char, given: *mut *mut c_char) {
    // Without them a child is counted at its first call.
    let _ = atfork::install(before_fork, after_fork_in_parent, in_child);
    if env::is_secure() {
        // Only glibc passes anything to a constructor.
        let environment = if cfg!(target_env = "gnu") {
            given
        } else {
            null_mut()
        };
        // SAFETY: the environment, before there is a second thread.
        unsafe { env::remove_all(environment, c"SHMSHIM_") };
    }
}

extern "C" fn before_fork() {
    // While nothing is locked.
    procfs::pending::apply();
    events::forks();
    registry::before_fork();
}

extern "C" fn in_child() {
    after_fork_in_child();
    events::is_forked();
}

/// Runs once when the process exits normally, or when the library is closed.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;

extern "C" fn at_exit() {
    // Most programs never come here for anything: they pay one load.
    if panic_guard::was_reached() {
        panic_guard::catch(report::at_exit);
        events::exits();
        panic_guard::catch(|| registry::at_exit(procfs::pending::apply));
    }
}
