//! No panic leaves the library.
//!
//! A panic in our code happens in the host's program. It is caught here, silently, and the call ends with a
//! fixed answer.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

const NOISY: u8 = 0;
const BEING_SILENCED: u8 = 1;
const SILENT: u8 = 2;

static PANICS: AtomicU8 = AtomicU8::new(NOISY);

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
    PANICS.load(Relaxed) != NOISY
}

/// Makes a panic of ours print nothing. The hook is that of our own copy of the standard library: a host that is
/// written in Rust keeps its own.
#[inline]
fn silence() {
    if PANICS.load(Relaxed) != SILENT {
        silence_now();
    }
}

#[cold]
fn silence_now() {
    // Only one may try: a signal handler that interrupts it would wait for itself in `set_hook`.
    if PANICS
        .compare_exchange(NOISY, BEING_SILENCED, Relaxed, Relaxed)
        .is_ok()
    {
        // A box of nothing does not allocate.
        set_hook(Box::new(|_| {}));
        PANICS.store(SILENT, Relaxed);
    }
}
