//! The effective uid, remembered.
//!
//! Asking the kernel costs more than all the rest of a lookup. The shim sees every libc call that changes who the
//! process is, and says so here before and after it ([`forget`]); what a reader has asked for in between is thrown
//! away. A thread that changes its own identity by a bare system call cannot be followed: then nothing is
//! remembered any more ([`never_remember`]).
//!
//! Divergence: a change by a system call instruction of the program's own is not seen. In system scope the segment
//! files' own rights still hold then.

use super::process;
use core::sync::atomic::{AtomicU64, Ordering};

/// Bit 63: the low half is the euid. Bit 62: never again. Bits 32..62: how often it was forgotten.
static REMEMBERED: AtomicU64 = AtomicU64::new(0);
const KNOWN: u64 = 1 << 63;
const NEVER: u64 = 1 << 62;
const ONCE: u64 = 1 << 32;
/// What the kernel calls a uid that has no name in its user namespace.
const NOBODY: u32 = 65534;
const COUNT: u64 = (NEVER - 1) & !(ONCE - 1);

/// The effective uid of the calling thread.
#[inline]
pub fn euid() -> u32 {
    let word = REMEMBERED.load(Ordering::Acquire);
    if word & KNOWN != 0 {
        word as u32
    } else {
        ask(word)
    }
}

/// The effective uid of the calling thread, if it is remembered.
#[inline]
pub fn known_euid() -> Option<u32> {
    let word = REMEMBERED.load(Ordering::Acquire);
    (word & KNOWN != 0).then_some(word as u32)
}

#[cold]
fn ask(before: u64) -> u32 {
    let euid = process::euid();
    // Of a uid that its user namespace has no name for yet the kernel says "nobody"; whoever writes the namespace's
    // map changes that without a call of ours.
    if before & NEVER == 0 && euid != NOBODY {
        // Only if nobody has forgotten since: the answer may be from before a change.
        let known = KNOWN | (before & COUNT) | u64::from(euid);
        let _ = REMEMBERED.compare_exchange(before, known, Ordering::AcqRel, Ordering::Relaxed);
    }
    euid
}

/// Somebody is about to change the process's identity, or has just done it.
pub fn forget() {
    change(|word| (word & NEVER) | ((word & COUNT).wrapping_add(ONCE) & COUNT));
}

/// The threads of this process may have different identities from now on.
pub fn never_remember() {
    change(|word| NEVER | ((word & COUNT).wrapping_add(ONCE) & COUNT));
}

fn change(to: impl Fn(u64) -> u64) {
    let _ = REMEMBERED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| Some(to(word)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_before_a_change_is_not_kept() {
        if process::euid() == NOBODY {
            // Never remembered: nothing to see here.
            assert_eq!(euid(), NOBODY);
            return;
        }
        assert_eq!(euid(), process::euid());
        assert_ne!(REMEMBERED.load(Ordering::Relaxed) & KNOWN, 0);
        forget();
        let before = REMEMBERED.load(Ordering::Relaxed);
        assert_eq!(before & KNOWN, 0);
        forget();
        ask(before);
        assert_eq!(
            REMEMBERED.load(Ordering::Relaxed) & KNOWN,
            0,
            "asked before the second change"
        );
        assert_eq!(euid(), process::euid());
        assert_ne!(REMEMBERED.load(Ordering::Relaxed) & KNOWN, 0);
        never_remember();
        assert_eq!(euid(), process::euid());
        assert_eq!(REMEMBERED.load(Ordering::Relaxed) & KNOWN, 0);
    }
}
