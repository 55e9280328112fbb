//! The callers' buffers are all there.

pub use super::real::usermem::*;

use super::atomic::Ordering;
use super::map::Span;

/// Copies whole words in.
pub fn copy_in_shared(src: u64, to: Span<'_>, len: usize) -> bool {
    for index in 0..len.div_ceil(8) {
        // SAFETY: a story passes the address of so many words.
        let word = unsafe { *(src as *const u64).add(index) };
        to.word64(index).store(word, Ordering::Relaxed);
    }
    true
}

/// Copies whole words out.
pub fn copy_out_shared(dst: u64, from: Span<'_>, len: usize) -> bool {
    for index in 0..len.div_ceil(8) {
        let word = from.word64(index).load(Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { *(dst as *mut u64).add(index) = word };
    }
    true
}
