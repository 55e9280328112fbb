//! What a command was started with, before the standard library's runtime has changed it: it opens `/dev/null` in place of
//! descriptors 0 to 2 that are closed, and ignores SIGPIPE.

use super::{raw, signal};
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether descriptors 0 to 2 were closed.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

static IGNORED_PIPE: AtomicBool = AtomicBool::new(false);

/// Has [`look`] run before `main` and before the runtime. To be written once, anywhere in a command.
#[macro_export]
macro_rules! look_before_main {
    () => {
        // SAFETY: libc calls each entry of this section once, as a function of C, before `main`. What it passes is ignored.
        #[used]
        #[unsafe(link_section = ".init_array")]
        static LOOK_BEFORE_MAIN: extern "C" fn() = $crate::os::startup::look;
    };
}

/// See [`look_before_main`].
pub extern "C" fn look() {
    for (number, is_closed) in CLOSED.iter().enumerate() {
        // SAFETY: asks only.
        let asked = unsafe { raw::call(libc::SYS_fcntl, [number, libc::F_GETFD as usize]) };
        is_closed.store(asked.is_err(), Ordering::Relaxed);
    }
    IGNORED_PIPE.store(signal::is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// Whether descriptor 0, 1 or 2 was closed.
pub fn was_closed(number: usize) -> bool {
    let closed = CLOSED.get(number);
    closed.is_some_and(|is_closed| is_closed.load(Ordering::Relaxed))
}

/// Whether SIGPIPE was ignored.
pub fn ignored_pipe() -> bool {
    IGNORED_PIPE.load(Ordering::Relaxed)
}
