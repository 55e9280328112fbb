//! A thread is not cancelled in the middle of our code.
//!
//! glibc ends a cancelled thread by unwinding its stack with an exception that Rust may not touch. None of our code
//! is a cancellation point, but a thread may have asked to be cancelled anywhere (`PTHREAD_CANCEL_ASYNCHRONOUS`),
//! and then the end can come between any two instructions. So for as long as we take it is as if it had asked for the
//! usual kind; what came meanwhile takes effect in [`uncancelled`] itself, whose frame, like that of the hook around
//! it, needs no cleanup. (Disabling cancellation altogether would do as well, but glibc 2.36 then forgets to say at
//! the thread's end that it was cancelled.)

use core::ffi::{c_char, c_int};
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

const PTHREAD_CANCEL_DEFERRED: c_int = 0;

unsafe extern "C" {
    safe fn pthread_setcanceltype(kind: c_int, old: Option<&mut c_int>) -> c_int;
}

/// Calls `ours`, which must be an `extern "C"` function and nothing else, with cancellation held back as long.
#[inline(always)]
pub fn uncancelled<T>(ours: impl FnOnce() -> T) -> T {
    if is_alone() {
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

/// What is read where libc does not say: there may be other threads.
static NOT_ALONE: c_char = 0;

/// libc's word on whether the process has no thread but this one.
static ALONE: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Whether nobody is there who could cancel this thread: then all of this costs two loads.
#[inline(always)]
fn is_alone() -> bool {
    let mut alone: *const c_char = ALONE.load(Acquire);
    if alone.is_null() {
        alone = ask_libc();
    }
    // SAFETY: a byte of libc's or ours. libc writes it, but only while there is one thread, or on behalf of it.
    unsafe { alone.read_volatile() != 0 }
}

#[cold]
#[inline(never)]
extern "C" fn ask_libc() -> *const c_char {
    let kept = shmshim_core::os::errno::get();
    // SAFETY: the name is NUL-terminated.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    shmshim_core::os::errno::set(kept);
    let alone = if found.is_null() {
        (&raw const NOT_ALONE).cast_mut()
    } else {
        found.cast()
    };
    ALONE.store(alone, Release);
    alone
}
