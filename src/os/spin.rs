//! A short watch of a word before a thread sleeps on it.
//!
//! Some 20 to 50 µs pass between a waker's call and the moment in which a sleeper on another processor goes on. Two processes that
//! take turns would pay that each turn. So a thread that is about to sleep watches its word for about as long first. Where that is
//! in vain (the other one is slow, or runs on the same processor), the process does so ever more rarely.

use super::process;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicU32, Ordering};

/// For how many nanoseconds at most.
const LIMIT: u64 = 50_000;
/// One of so many sleeps at least begins with it: what was in vain once need not be for ever.
const RAREST: u32 = 1024;

/// In the upper half: how many sleeps follow without it when one began with it. In the lower half: how many of them are left. Threads
/// that change it at once may lose a step of it, which does no harm.
static PAUSE: AtomicU32 = AtomicU32::new(0);

/// Watches `word` for a while, unless that was in vain of late. Whether the word no longer holds `seen`.
///
/// `extern "C"`: it cannot unwind, so that frames in which a thread may be cancelled have nothing to clean up (`exposed_sleep`).
#[inline(never)]
pub extern "C" fn until_changed(word: &AtomicU32, seen: u32) -> bool {
    let pause = PAUSE.load(Ordering::Relaxed);
    let (all, left) = (pause >> 16, pause & 0xffff);
    if left != 0 {
        PAUSE.store(pause - 1, Ordering::Relaxed);
        return false;
    }
    let has_changed = watch(word, seen);
    let next = next_pause(all, has_changed);
    PAUSE.store(next << 16 | next, Ordering::Relaxed);
    has_changed
}

/// One success is not enough for watching each time: it may be an accident, when the other one ran because this thread's time
/// on the processor was over.
fn next_pause(pause: u32, has_changed: bool) -> u32 {
    match has_changed {
        true => pause / 2,
        false => (pause * 2 + 1).min(RAREST - 1),
    }
}

fn watch(word: &AtomicU32, seen: u32) -> bool {
    /// Between two looks at the clock.
    const LOOKS: u32 = 32;
    let until = process::fine_nanos().saturating_add(LIMIT);
    loop {
        for _ in 0..LOOKS {
            if word.load(Ordering::Relaxed) != seen {
                return true;
            }
            spin_loop();
        }
        if process::fine_nanos() >= until {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_and_a_word_that_stays_is_given_up() {
        let word = AtomicU32::new(1);
        assert!(watch(&word, 0));
        assert!(!watch(&word, 1));
        let seen = std::thread::scope(|scope| {
            scope.spawn(|| word.store(2, Ordering::Relaxed));
            // However late the other thread runs.
            (0..1_000_000).any(|_| watch(&word, 1))
        });
        assert!(seen);
    }

    #[test]
    fn what_is_in_vain_becomes_rare_and_what_succeeds_becomes_the_rule_again() {
        let (mut pause, mut watched, mut sleeps) = (0, 0, 0);
        while sleeps < 100_000 {
            pause = next_pause(pause, false);
            watched += 1;
            sleeps += 1 + pause;
        }
        assert_eq!(pause, RAREST - 1);
        assert!(watched < 120, "{watched}");
        for _ in 0..10 {
            pause = next_pause(pause, true);
        }
        assert_eq!(pause, 0);
        assert_eq!(next_pause(0, true), 0);
    }
}
