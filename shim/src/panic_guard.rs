//! No panic leaves the library.
//!
//! A panic in our code happens in the host's program. It is caught here, silently, and the call ends with a
//! fixed answer.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

static WAS_REACHED: AtomicBool = AtomicBool::new(false);

/// What `body` answers; `None` when it panicked.
#[inline]
pub fn catch<T>(body: impl FnOnce() -> T) -> Option<T> {
    silence();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(answer) => Some(answer),
        Err(payload) => {
            // Dropping it could run code that panics again.
            core::mem::forget(payload);
            None
        }
    }
}

/// Whether any call has ever got as far as our own code.
pub fn was_reached() -> bool {
    WAS_REACHED.load(Relaxed)
}

/// Makes a panic of ours print nothing. The hook is that of our own copy of the standard library: a host that is
/// written in Rust keeps its own.
#[inline]
fn silence() {
    if !WAS_REACHED.load(Relaxed) {
        silence_now();
    }
}

#[cold]
fn silence_now() {
    // Only one may try: a signal handler that interrupts it would wait for itself in `set_hook`.
    if !WAS_REACHED.swap(true, Relaxed) {
        // A box of nothing does not allocate.
        set_hook(Box::new(|_| {}));
    }
}
