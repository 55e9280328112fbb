//! Of what the library lets a user ask for (`shim/src/settings.rs`) the trace alone: the rest happens in the program itself.

use std::sync::Once;

use crate::trace;

/// Whether a trace is asked for.
pub fn is_on() -> bool {
    static READ: Once = Once::new();
    // SAFETY: this is the first and only time, and others wait until it is done.
    READ.call_once(|| unsafe { trace::read() });
    trace::is_set()
}
