//! The effective uid, remembered: asking the kernel for it costs more than all the rest of a lookup.
//!
//! The shim sees every libc call that changes it and says so here before and after the call ([`forget`]); an answer that
//! was asked for in between is thrown away. A thread that changes its own uid by a bare system call cannot be followed:
//! then nothing is remembered any more ([`never_remember`]).
//!
//! Divergence: a change by a system call instruction of the program's own is not seen. In system scope the segment
//! files' own rights still hold then.

use super::process;
use super::userns::{self, UNMAPPED};
use core::sync::atomic::{AtomicU64, Ordering};

/// A number that the kernel was asked for, in the low half, and above it whether it is [known](KNOWN), whether it may
/// [never](NEVER) be again, and how often it was forgotten.
struct Remembered(AtomicU64);

const KNOWN: u64 = 1 << 32;
const NEVER: u64 = 1 << 33;
const ONCE: u64 = 1 << 34;
/// No uid or gid at all.
const NO_ONE: u32 = u32::MAX;

static EUID: Remembered = Remembered(AtomicU64::new(0));

impl Remembered {
    #[inline]
    fn known(&self) -> Option<u32> {
        let word = self.0.load(Ordering::Acquire);
        (word & KNOWN != 0).then_some(word as u32)
    }

    #[inline]
    fn known_or_ask(&self, ask: fn() -> u32) -> u32 {
        let word = self.0.load(Ordering::Acquire);
        match word & KNOWN {
            0 => self.ask(word, ask),
            _ => word as u32,
        }
    }

    /// Asks, and remembers the answer if the word is still `before`: one from before a change is not to be kept.
    #[cold]
    fn ask(&self, before: u64, ask: fn() -> u32) -> u32 {
        let number = ask();
        // Of one that its user namespace has no name for yet the kernel says "nobody"; writing the namespace's map
        // changes that without a call of ours. And `NO_ONE` comes home perhaps.
        if number != UNMAPPED && number != NO_ONE && before & NEVER == 0 {
            let known = before | KNOWN | u64::from(number);
            let _ = self
                .0
                .compare_exchange(before, known, Ordering::AcqRel, Ordering::Relaxed);
        }
        number
    }

    /// Forgets the number, and with [`NEVER`] all that will be asked for.
    fn forget(&self, also: u64) {
        let forgotten =
            |word: u64| Some((word & !(KNOWN | u64::from(u32::MAX)) | also).wrapping_add(ONCE));
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, forgotten);
    }
}

/// The user namespace in which the namespace of segments was opened.
static OPENED_IN: AtomicU64 = AtomicU64::new(0);

/// The namespace of segments was opened: its uids are those of this process's user namespace.
pub fn note_user_namespace() {
    OPENED_IN.store(userns::number().unwrap_or(0), Ordering::Relaxed);
}

/// This process is about to enter other namespaces, perhaps one of users. That does not change who it is outside, so what
/// it is called by now is found out, and remembered from then on.
pub fn keep_over_namespaces() {
    match OPENED_IN.load(Ordering::Relaxed) {
        0 => forget(),
        _ => _ = euid(),
    }
}

/// Whether this process has left the user namespace in which the namespace of segments was opened: its numbers and its
/// rights there mean nothing outside.
pub fn is_elsewhere() -> bool {
    match OPENED_IN.load(Ordering::Relaxed) {
        0 => false,
        opened_in => userns::number().is_some_and(|here| here != opened_in),
    }
}

/// A map names the uids of the next namespace outside, which need not be the one that is meant, and there anybody can
/// choose them. So a process that has become another user in another user namespace owns nothing.
fn ask_euid() -> u32 {
    if is_elsewhere() {
        NO_ONE
    } else {
        process::euid()
    }
}

/// The effective uid of the calling thread.
#[inline]
pub fn euid() -> u32 {
    EUID.known_or_ask(ask_euid)
}

/// The effective uid of the calling thread, if it is remembered.
#[inline]
pub fn known_euid() -> Option<u32> {
    EUID.known()
}

/// The process is about to change its uid, or its user namespace, or has just done so.
pub fn forget() {
    EUID.forget(0);
}

/// The threads of this process may have different uids from now on.
pub fn never_remember() {
    EUID.forget(NEVER);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> u32 {
        7
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_kept() {
        let number = Remembered(AtomicU64::new(0));
        assert_eq!(number.known(), None);
        assert_eq!(number.known_or_ask(answer), 7);
        assert_eq!(number.known(), Some(7));
        number.forget(0);
        assert_eq!(number.known(), None);
        let before = number.0.load(Ordering::Relaxed);
        number.forget(0);
        assert_eq!(number.ask(before, answer), 7);
        assert_eq!(number.known(), None, "asked before the second change");
        assert_eq!(number.known_or_ask(answer), 7);
        assert_eq!(number.known(), Some(7));
        number.forget(NEVER);
        assert_eq!(number.known_or_ask(answer), 7);
        assert_eq!(number.known(), None);
    }

    #[test]
    fn a_uid_without_a_name_is_not_kept() {
        let number = Remembered(AtomicU64::new(0));
        assert_eq!(number.known_or_ask(|| UNMAPPED), UNMAPPED);
        assert_eq!(number.known(), None);
        assert_eq!(number.known_or_ask(|| NO_ONE), NO_ONE);
        assert_eq!(number.known(), None);
    }
}
