//! Signals by their numbers, those of real time included. For the command alone: what lives in other people's programs sends
//! none, and leaves what is to happen at one as it is.

use super::signal_mask::{self, Mask};
use super::{OsResult, process, raw};

/// Sends a signal to a process.
pub fn send(pid: i32, number: i32) -> OsResult<()> {
    // SAFETY: no memory is read or written.
    unsafe { raw::call(libc::SYS_kill, [pid as usize, number as usize]) }.map(drop)
}

/// Whether this process ignores a signal.
pub fn is_ignored(number: i32) -> bool {
    let mut action = Action::default();
    let args = [number as usize, 0, action.addr(), size_of::<Mask>()];
    // SAFETY: asks only; the buffer is longer than the structure.
    let asked = unsafe { raw::call(libc::SYS_rt_sigaction, args) };
    let [handler, ..] = action.0;
    asked.is_ok() && handler == libc::SIG_IGN
}

/// Has the kernel do with a signal what it does when nobody has said anything.
pub fn restore_default(number: i32) {
    let mut action = Action::default();
    let args = [number as usize, action.addr(), 0, size_of::<Mask>()];
    // SAFETY: the structure, which is read, names no handler: SIG_DFL is 0, as are flags and mask.
    let _ = unsafe { raw::call(libc::SYS_rt_sigaction, args) };
}

/// Ends this process by a signal, if that is what the signal does by default.
pub fn end_by(number: i32) {
    restore_default(number);
    let set: Mask = 1u64.checked_shl(number.wrapping_sub(1) as u32).unwrap_or(0);
    // SAFETY: the set is a live local. A handler that runs now is one that could run at any time.
    let _ = unsafe { signal_mask::change(libc::SIG_UNBLOCK, &raw const set as usize, 0) };
    let _ = send(process::pid(), number);
}

/// The kernel's `struct sigaction`: handler, flags, restorer where there is one, mask; and room behind it.
#[derive(Default)]
struct Action([usize; 8]);

impl Action {
    fn addr(&mut self) -> usize {
        self.0.as_mut_ptr() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_whether_a_signal_is_ignored() {
        // The standard library's runtime ignores it in every program.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(libc::SIGURG));
        assert!(!is_ignored(64));
        assert!(!is_ignored(65));
    }

    #[test]
    fn a_signal_that_does_nothing_can_be_sent() {
        assert!(send(process::pid(), 0).is_ok());
        assert!(send(process::pid(), libc::SIGURG).is_ok());
        assert!(send(process::pid(), 65).is_err());
        end_by(libc::SIGURG);
    }
}
