//! longjmp and its like: a handler that jumps out of a sleep in semop, msgsnd or msgrcv leaves the queue behind.
//!
//! The frames need no cleanup, and the jump passes them over.
#![allow(non_snake_case)] // Some of libc's names begin with underscores.

use core::ffi::{c_int, c_void};

use shmshim_core::os::process;

use crate::cancel;
use crate::next::next;

#[inline(never)]
extern "C" fn leave() {
    cancel::before_jump();
}

/// Only a stranger libc lacks one of the functions: there is nowhere to go. The dynamic linker ends a program so in which a
/// function is missing.
#[cold]
#[inline(never)]
extern "C" fn nowhere() {
    process::end(127);
}

macro_rules! jump {
    ($($name:ident),*) => {$(
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name(environment: *mut c_void, value: c_int) {
            leave();
            match next!($name: unsafe extern "C" fn(*mut c_void, c_int)) {
                // SAFETY: the caller's promise is passed on.
                Some(real) => unsafe { real(environment, value) },
                None => nowhere(),
            }
        }
    )*};
}

jump!(longjmp, _longjmp, siglongjmp);
#[cfg(target_env = "gnu")]
jump!(__longjmp_chk);
