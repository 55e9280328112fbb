//! A process has one thread, or several.

use crate::mortal;

/// The calling thread's number.
pub fn id() -> usize {
    mortal::thread_number() + 1
}

/// One of several.
pub fn is_alone() -> bool {
    false
}
