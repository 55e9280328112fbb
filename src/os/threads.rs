//! Which thread this is, and whether there are others.

use core::ffi::c_char;
use core::sync::atomic::{AtomicPtr, Ordering};

/// What is read where libc does not say: there may be other threads.
static NOT_ALONE: c_char = 0;

/// libc's word on whether the process has no thread but this one.
static ALONE: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());

/// A number that no other living thread of this process has: where its `errno` is.
#[inline(always)]
pub fn id() -> usize {
    super::errno::address()
}

/// Whether a number, or 0 for no thread, is the calling one's. A child of a fork is mostly asked of none: where errno is stands on a
/// page of libc's that it would touch for this alone.
#[inline(always)]
pub fn is_calling(id: usize) -> bool {
    id != 0 && id == self::id()
}

/// Whether it is certain that the process has no thread but this one. Costs two loads.
#[inline(always)]
pub fn is_alone() -> bool {
    let mut alone: *const c_char = ALONE.load(Ordering::Acquire);
    if alone.is_null() {
        alone = ask_libc();
    }
    // SAFETY: a byte of libc's or ours. libc writes it, but only while there is one thread, or on behalf of it.
    unsafe { alone.read_volatile() != 0 }
}

#[cold]
#[inline(never)]
extern "C" fn ask_libc() -> *const c_char {
    #[cfg(target_env = "gnu")]
    let found = super::symbols::first(c"__libc_single_threaded").map(|found| found.address);
    #[cfg(not(target_env = "gnu"))]
    let found: Option<usize> = None;
    let alone = match found {
        Some(found) => found as *mut c_char,
        None => (&raw const NOT_ALONE).cast_mut(),
    };
    ALONE.store(alone, Ordering::Release);
    alone
}
