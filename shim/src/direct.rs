//! Where there is no function behind ours: straight to the kernel while it is still being looked up, else `ENOSYS`.

use core::ffi::{c_int, c_long};

use shmshim_core::os::{errno, raw};

/// Makes a system call as libc would: -1 and `errno` on failure.
///
/// # Safety
/// The host asked for this call with these arguments.
#[cold]
#[inline(never)]
pub unsafe extern "C" fn kernel<const N: usize>(number: c_long, args: &[usize; N]) -> isize {
    // SAFETY: the caller's promise is passed on.
    match unsafe { raw::call(number, *args) } {
        Ok(answer) => answer as isize,
        Err(error) => {
            errno::set(error.0);
            -1
        }
    }
}

/// What a function of libc answers.
pub trait Answer: Copy + PartialEq {
    /// This, with `errno`, when it fails.
    const FAILED: Self;
}

impl Answer for c_int {
    const FAILED: c_int = -1;
}

impl Answer for isize {
    const FAILED: isize = -1;
}

impl<T> Answer for *mut T {
    const FAILED: *mut T = core::ptr::null_mut();
}

/// Only a stranger libc lacks one of the functions.
#[cold]
pub extern "C" fn not_there<T: Answer>() -> T {
    errno::set(libc::ENOSYS);
    T::FAILED
}
