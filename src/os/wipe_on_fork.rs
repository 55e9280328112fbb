//! Memory that every child of a fork finds as zeros (`MADV_WIPEONFORK`), by whatever call it was made, raw `clone` included.
//!
//! Beside telling a child that it is one, this is cheap: a page of ordinary memory that is written on either side of a
//! fork is copied, which takes longer than all else that the fork handlers do. A wiped page never is.

use super::{OsResult, pages, process};
use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

/// Words in wiped memory.
#[derive(Clone, Copy)]
pub struct Wiped {
    start: NonNull<AtomicU32>,
    len: usize,
}

// SAFETY: only atomics are handed out, of memory that is never unmapped.
unsafe impl Send for Wiped {}
// SAFETY: as above.
unsafe impl Sync for Wiped {}

impl Wiped {
    /// The word at `index`, if there are that many.
    #[inline]
    pub fn word(&self, index: usize) -> Option<&AtomicU32> {
        // SAFETY: in bounds of the mapping that `map` made, which is never unmapped; any integer is a valid value.
        (index < self.len).then(|| unsafe { self.start.add(index).as_ref() })
    }
}

/// Maps wiped memory, for ever: an `H`, of which it holds the zeros, and `words` words behind it.
pub(super) fn map<H>(words: usize) -> OsResult<(NonNull<H>, Wiped)> {
    let head = size_of::<H>().next_multiple_of(64);
    let len = words
        .saturating_mul(size_of::<AtomicU32>())
        .saturating_add(head)
        .next_multiple_of(process::page_size());
    let start = pages::map_private(len)?;
    let addr = start.as_ptr() as usize;
    // SAFETY: our own fresh pages.
    let wiped = unsafe { pages::advise(addr, len, libc::MADV_WIPEONFORK) };
    if let Err(error) = wiped {
        // Kernels before 4.14: without it a child would take itself for its parent.
        let _ = pages::unmap(addr, len);
        return Err(error);
    }
    let wiped = Wiped {
        // SAFETY: there are at least as many bytes.
        start: unsafe { start.add(head) }.cast(),
        len: words,
    };
    Ok((start.cast(), wiped))
}
