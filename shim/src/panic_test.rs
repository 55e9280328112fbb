//! Only in the build that a test makes for itself: calls that panic deep inside on purpose.

/// The key, id or address that panics.
const POISON: u64 = 0x5041_4000;

/// Panics when `value` is the poison.
#[allow(clippy::panic)]
#[inline(never)]
pub fn perhaps(value: u64) {
    if value == POISON {
        panic!("on purpose");
    }
}
