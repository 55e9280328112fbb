//! Memory that every child of a fork finds as zeros (`MADV_WIPEONFORK`), by whatever call it was made, raw `clone` included.
//!
//! Beside telling a child that it is one, this is cheap: a page of ordinary memory that is written on either side of a
//! fork is copied, which takes longer than all else that the fork handlers do. A wiped page never is.

use super::{OsResult, pages, process};
use core::sync::atomic::AtomicU32;

/// Words in wiped memory.
#[derive(Clone, Copy)]
pub struct Wiped(&'static [AtomicU32]);

impl Wiped {
    /// The word at `index`, if there are that many.
    #[inline]
    pub fn word(&self, index: usize) -> Option<&AtomicU32> {
        self.0.get(index)
    }
}

/// Maps so many words of wiped memory, for ever.
pub fn words(count: usize) -> OsResult<Wiped> {
    // SAFETY: an atomic integer, of which 0 is a value.
    unsafe { map::<AtomicU32>(count) }.map(|(_, wiped)| wiped)
}

/// Maps wiped memory, for ever: an `H`, and `words` words behind it.
///
/// # Safety
/// Zeros are a valid `H`, and it is changed through atomics alone.
pub(super) unsafe fn map<H>(words: usize) -> OsResult<(&'static H, Wiped)> {
    let head = size_of::<H>().next_multiple_of(64);
    let len = words
        .saturating_mul(size_of::<AtomicU32>())
        .saturating_add(head)
        .next_multiple_of(process::page_size());
    let start = pages::map_private(len)?;
    let addr = start.as_ptr() as usize;
    // SAFETY: our own fresh pages.
    let wiped = unsafe { pages::advise(addr, len, libc::MADV_WIPEONFORK) };
    // Kernels before 4.14 cannot: without it a child would take itself for its parent.
    wiped.inspect_err(|_| _ = pages::unmap(addr, len))?;
    // SAFETY: aligned, large enough and mapped for ever; integers, of which zeros are a value, and the caller promises the
    // rest.
    unsafe {
        let behind = start.add(head).cast().as_ptr();
        let wiped = Wiped(core::slice::from_raw_parts(behind, words));
        Ok((start.cast().as_ref(), wiped))
    }
}
