//! The calls by which a program installs a signal handler: passed on, and the core is told before.
//!
//! A call of ours holds signals back only where a handler could interrupt it (`os/signals.rs`).

use core::ffi::c_int;

use libc::{sigaction as Action, sighandler_t as Handler};
use shmshim_core::os::{errno, usermem};
use shmshim_core::registry;

use crate::next::next;

/// The host asks for the action at this address; it may be a handler. What cannot be read the kernel will refuse.
#[inline(never)]
pub extern "C" fn expect(action: usize) {
    if action == 0 {
        return;
    }
    let mut word = [0; size_of::<u64>()];
    let at = action.wrapping_add(core::mem::offset_of!(Action, sa_sigaction));
    if !usermem::copy_in(at as u64, &mut word) {
        return;
    }
    if let Some((handler, _)) = word.split_first_chunk() {
        expect_if_handler(usize::from_ne_bytes(*handler));
    }
}

/// The host wants signals to be handled so.
extern "C" fn expect_if_handler(handler: Handler) {
    if handler != libc::SIG_DFL && handler != libc::SIG_IGN && handler != libc::SIG_ERR {
        registry::expect_handlers();
    }
}

/// When there is no such function behind ours: only a stranger libc can lack one of these.
fn not_there() {
    errno::set(libc::ENOSYS);
}

macro_rules! installs_action {
    ($($name:ident)*) => {$(
        /// As libc's.
        ///
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name(signal: c_int, action: *const Action, old: *mut Action) -> c_int {
            type Real = unsafe extern "C" fn(c_int, *const Action, *mut Action) -> c_int;
            let Some(real) = next!(always $name: Real) else {
                not_there();
                return -1;
            };
            expect(action as usize);
            // SAFETY: the caller's promise is passed on.
            unsafe { real(signal, action, old) }
        }
    )*};
}

macro_rules! installs_handler {
    ($($name:ident)*) => {$(
        /// As libc's.
        ///
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name(signal: c_int, handler: Handler) -> Handler {
            let Some(real) = next!(always $name: unsafe extern "C" fn(c_int, Handler) -> Handler) else {
                not_there();
                return libc::SIG_ERR;
            };
            expect_if_handler(handler);
            // SAFETY: the caller's promise is passed on.
            unsafe { real(signal, handler) }
        }
    )*};
}

installs_action! { sigaction }
installs_handler! { signal }

/// The other names that glibc has for the same.
#[cfg(target_env = "gnu")]
mod gnu {
    #![allow(non_snake_case)]
    use super::*;

    installs_action! { __sigaction }
    installs_handler! { bsd_signal ssignal sysv_signal __sysv_signal sigset }
}
#[cfg(target_env = "gnu")]
pub use gnu::{__sigaction, __sysv_signal, bsd_signal, sigset, ssignal, sysv_signal};
