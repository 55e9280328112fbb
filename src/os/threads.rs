//! Which thread this is, and whether there are others.

use super::{OsError, errno, raw};
use core::ffi::c_char;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

/// What is read where libc does not say: there may be other threads.
static NOT_ALONE: c_char = 0;

/// libc's word on whether the process has no thread but this one.
static ALONE: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());

/// A number that no other living thread of this process has. Costs one load.
#[inline(always)]
pub fn mark() -> usize {
    #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
    {
        let mark: usize;
        // SAFETY: the thread pointer, which by the ABI of thread-local storage stands in the first word that it points to.
        unsafe {
            core::arch::asm!("mov {}, fs:0", out(reg) mark, options(nostack, preserves_flags, readonly));
        }
        mark
    }
    #[cfg(target_arch = "aarch64")]
    {
        let mark: usize;
        // SAFETY: reads the thread pointer's register.
        unsafe {
            core::arch::asm!("mrs {}, tpidr_el0", out(reg) mark, options(nostack, preserves_flags, nomem));
        }
        mark
    }
    #[cfg(not(any(
        all(target_arch = "x86_64", target_pointer_width = "64"),
        target_arch = "aarch64"
    )))]
    errno::address()
}

/// A place on the stack that the caller runs on.
#[inline(always)]
pub fn stack_place() -> usize {
    let here = 0u8;
    &raw const here as usize
}

/// Whether the caller may be a signal handler that has interrupted what ran at `place` of a stack: it has a stack of its own
/// for signals, or runs further down the same one, with nothing unmapped between.
pub fn may_have_interrupted(place: usize) -> bool {
    const STEP: usize = 64;
    /// As far as is looked.
    const FAR: usize = 16 << 20;
    let here = stack_place();
    if is_on_signal_stack() {
        return true;
    }
    if here > place {
        return false;
    }
    let page = super::process::page_size();
    let mut at = here / page * page;
    while at < place && at.saturating_sub(here) < FAR {
        let pages = (place - at).div_ceil(page).min(STEP);
        let mut resident = [0u8; STEP];
        // SAFETY: asks only; one byte for each page.
        let asked = unsafe {
            raw::call(
                libc::SYS_mincore,
                [at, pages * page, &raw mut resident as usize, 0, 0, 0],
            )
        };
        if asked == Err(OsError(libc::ENOMEM)) {
            return false;
        }
        at += pages * page;
    }
    true
}

/// Whether the caller runs on the stack that the thread has set aside for signals.
fn is_on_signal_stack() -> bool {
    // SAFETY: plain data, of which zeros are a value.
    let mut stack: libc::stack_t = unsafe { core::mem::zeroed() };
    // SAFETY: asks only; the answer goes into a live local.
    let asked = unsafe {
        raw::call(
            libc::SYS_sigaltstack,
            [0, &raw mut stack as usize, 0, 0, 0, 0],
        )
    };
    asked.is_ok() && stack.ss_flags & libc::SS_ONSTACK != 0
}

/// Whether it is certain that the process has no thread but this one. Costs two loads.
#[inline(always)]
pub fn is_alone() -> bool {
    let mut alone: *const c_char = ALONE.load(Acquire);
    if alone.is_null() {
        alone = ask_libc();
    }
    // SAFETY: a byte of libc's or ours. libc writes it, but only while there is one thread, or on behalf of it.
    unsafe { alone.read_volatile() != 0 }
}

#[cold]
#[inline(never)]
extern "C" fn ask_libc() -> *const c_char {
    let kept = errno::get();
    // SAFETY: the name is NUL-terminated.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    errno::set(kept);
    let alone = if found.is_null() {
        (&raw const NOT_ALONE).cast_mut()
    } else {
        found.cast()
    };
    ALONE.store(alone, Release);
    alone
}
