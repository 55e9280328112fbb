//! Atomic words, as the code of shared memory uses them. The model checker (`proofs/model`) compiles that code over an `os` of
//! its own, which has the checker's atomics in this file's place.

pub use core::hint::spin_loop;
pub use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
/// What a process sets once.
pub use once_cell::race::OnceRef;

/// Stands for a word that is not there.
pub static NO_WORD: AtomicU32 = AtomicU32::new(0);

/// `real`. In the model it is `model`: a table small enough for every interleaving, a loop that tries once or twice.
#[inline(always)]
pub const fn real_or_model(real: u32, _model: u32) -> u32 {
    real
}
