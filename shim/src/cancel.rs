//! A thread is not cancelled in the middle of our code.
//!
//! glibc ends a cancelled thread by unwinding its stack with an exception that Rust may not touch. None of our code
//! is a cancellation point, but a thread may have asked to be cancelled anywhere (`PTHREAD_CANCEL_ASYNCHRONOUS`),
//! and then the end can come between any two instructions. So for as long as we take it is as if it had asked for the
//! usual kind; what came meanwhile takes effect in [`uncancelled`] itself, whose frame, like that of the hook around
//! it, needs no cleanup. (Disabling cancellation altogether would do as well, but glibc 2.36 then forgets to say at
//! the thread's end that it was cancelled.)

use core::ffi::c_int;

use shmshim_core::os::threads;

const PTHREAD_CANCEL_DEFERRED: c_int = 0;

unsafe extern "C" {
    safe fn pthread_setcanceltype(kind: c_int, old: Option<&mut c_int>) -> c_int;
}

/// Calls `ours`, which must be an `extern "C"` function and nothing else, with cancellation held back as long.
#[inline(always)]
pub fn uncancelled<T>(ours: impl FnOnce() -> T) -> T {
    // Nobody is there who could cancel this thread: then all of this costs two loads.
    if threads::is_alone() {
        return ours();
    }
    let mut before = 0;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, Some(&mut before));
    let answer = ours();
    if before != PTHREAD_CANCEL_DEFERRED {
        pthread_setcanceltype(before, None);
    }
    answer
}
