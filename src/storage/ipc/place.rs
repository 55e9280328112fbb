//! Where threads sleep: a word each, that wakers change.

use super::file::IpcFile;
use super::layout::{Header, PLACE_PART, PLACES};
use super::owner::Presence;
use super::root::Kind;
use crate::os::atomic::{AtomicU32, Ordering};
use crate::os::map::Span;
use crate::os::{futex, process};
use crate::storage::error::{StorageError, Stored};
use core::mem::offset_of;

mod word {
    /// The owner, 0 while it is free.
    pub const HOLDER: usize = 0;
    /// How often it was taken.
    pub const SERIAL: usize = 1;
    /// What is slept on.
    pub const FUTEX: usize = 2;
    /// Kind of the object, and since when: [`since_word`](super::since_word).
    pub const SINCE: usize = 3;
    /// Its identifier.
    pub const ID: usize = 4;
    /// The text that the thread is to send.
    pub const TEXT: usize = 5;
    /// Of 64 bits: the thread.
    pub const THREAD: usize = 3;
}

/// The tenths of a second since 1970, without their highest bits, and in the lowest bit the kind: there is one word for both.
fn since_word(kind: Kind, tenths: u64) -> u32 {
    (tenths as u32) << 1 | u32::from(kind == Kind::Queue)
}

fn kind_in(word: u32) -> Kind {
    match word & 1 {
        0 => Kind::Set,
        _ => Kind::Queue,
    }
}

/// How many tenths of a second before `now` a word was written: six years at most. Where the clock was set back, none.
fn tenths_ago(word: u32, now: u64) -> u32 {
    const BITS: u32 = 31;
    let ago = (now as u32).wrapping_sub(word >> 1) << 1 >> 1;
    if ago >> (BITS - 1) == 0 { ago } else { 0 }
}

fn tenths_now() -> u64 {
    process::now_coarse_nanos() / 100_000_000
}

const INDEX_BITS: u32 = 14;
const _: () = assert!(PLACES <= 1 << INDEX_BITS);

/// A thread's sleep: in which object, by which place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sleeping {
    /// Its number, another one for each sleep.
    pub place: u32,
    /// The kind of the object.
    pub kind: Kind,
    /// The object's identifier.
    pub id: i32,
    /// The text that the thread is to send, or 0.
    pub text: u32,
}

impl IpcFile<'_> {
    fn place_words(&self, place: u32) -> Option<Span<'static>> {
        self.entry(&PLACE_PART, place & (PLACES - 1))
    }

    /// Takes a place for a thread of `owner` that is about to sleep in an object.
    pub fn take_place(&self, owner: u32, thread: u64, kind: Kind, id: i32) -> Stored<u32> {
        let hand = self.header32(offset_of!(Header, place_hand));
        let ready = self.ready(&PLACE_PART);
        let first = hand.fetch_add(1, Ordering::Relaxed) % ready;
        let take = |index, from_dead| self.try_place(index, from_dead, owner, thread, kind, id);
        let mut place = (first..ready)
            .chain(0..first)
            .find_map(|index| take(index, false));
        if place.is_none() && ready < PLACES {
            self.ensure(&PLACE_PART, ready)?;
            place = (ready..self.ready(&PLACE_PART)).find_map(|index| take(index, false));
        }
        let last = || (0..self.ready(&PLACE_PART)).find_map(|index| take(index, true));
        place.or_else(last).ok_or(StorageError::TableFull {
            what: "sleeping threads",
            holds: PLACES,
        })
    }

    fn try_place(
        &self,
        index: u32,
        from_dead: bool,
        owner: u32,
        thread: u64,
        kind: Kind,
        id: i32,
    ) -> Option<u32> {
        let words = self.entry(&PLACE_PART, index)?;
        let holder = words.word32(word::HOLDER);
        let seen = holder.load(Ordering::Relaxed);
        let is_free = seen == 0 || from_dead && self.presence(seen) != Presence::There;
        if !is_free
            || holder
                .compare_exchange(seen, owner, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
        {
            return None;
        }
        let serial = words
            .word32(word::SERIAL)
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        words
            .word32(word::SINCE)
            .store(since_word(kind, tenths_now()), Ordering::Relaxed);
        words.word32(word::ID).store(id as u32, Ordering::Relaxed);
        words.word64(word::THREAD).store(thread, Ordering::Relaxed);
        Some(index | serial << INDEX_BITS)
    }

    /// Gives a place back, unless its sleep is over already. Whether it was not.
    pub fn give_place(&self, place: u32) -> bool {
        let Some(words) = self.place_words(place) else {
            return false;
        };
        let is_mine = self.is_taken(place);
        if is_mine {
            words.word64(word::THREAD).store(0, Ordering::Relaxed);
            words.word32(word::TEXT).store(0, Ordering::Relaxed);
            words.word32(word::HOLDER).store(0, Ordering::Release);
        }
        is_mine
    }

    /// Gives back all places of a process, whose threads have all ended.
    pub(super) fn give_places_of(&self, owner: u32) {
        for index in 0..self.ready(&PLACE_PART) {
            if let Some(words) = self.entry(&PLACE_PART, index) {
                let holder = words.word32(word::HOLDER);
                let _ = holder.compare_exchange(owner, 0, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
    }

    /// Whether the sleep of this place is not over: one that could not be taken out of its object for want of room is not
    /// there any more all the same.
    #[inline]
    pub fn is_taken(&self, place: u32) -> bool {
        self.place_words(place).is_some_and(|words| {
            let serial = words.word32(word::SERIAL).load(Ordering::Acquire);
            place >> INDEX_BITS == serial << INDEX_BITS >> INDEX_BITS
                && words.word32(word::HOLDER).load(Ordering::Acquire) != 0
        })
    }

    /// Since when a thread sleeps at a place, in tenths of a second since 1970. `None`: its sleep is over.
    pub fn asleep_since(&self, place: u32) -> Option<u64> {
        let word = self.place_words(place)?.word32(word::SINCE);
        let now = tenths_now();
        let ago = tenths_ago(word.load(Ordering::Relaxed), now);
        self.is_taken(place).then(|| now.saturating_sub(ago.into()))
    }

    /// Notes the text that a sleeping sender has in its hands; 0: none.
    pub fn note_text(&self, place: u32, text: u32) {
        if let Some(words) = self.place_words(place) {
            words.word32(word::TEXT).store(text, Ordering::Release);
        }
    }

    /// The word that is slept on at a place.
    pub fn futex_of(&self, place: u32) -> Option<&'static AtomicU32> {
        Some(self.place_words(place)?.word32(word::FUTEX))
    }

    /// Wakes the sleeper at a place.
    pub fn wake(&self, place: u32) {
        if let Some(futex) = self.futex_of(place) {
            futex.fetch_add(1, Ordering::Release);
            futex::wake_one(futex);
        }
    }

    /// Calls `each` with every sleep of a thread.
    pub fn each_sleep_of(&self, owner: u32, thread: u64, each: &mut dyn FnMut(Sleeping)) {
        for index in 0..self.ready(&PLACE_PART) {
            let Some(words) = self.entry(&PLACE_PART, index) else {
                return;
            };
            let is_mine = words.word32(word::HOLDER).load(Ordering::Acquire) == owner
                && words.word64(word::THREAD).load(Ordering::Relaxed) == thread;
            let kind = kind_in(words.word32(word::SINCE).load(Ordering::Relaxed));
            if is_mine {
                let serial = words.word32(word::SERIAL).load(Ordering::Relaxed);
                each(Sleeping {
                    place: index | serial << INDEX_BITS,
                    kind,
                    id: words.word32(word::ID).load(Ordering::Relaxed) as i32,
                    text: words.word32(word::TEXT).load(Ordering::Acquire),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_kind_and_time() {
        let now = 17_959_328_005;
        for kind in [Kind::Set, Kind::Queue] {
            let word = since_word(kind, now);
            assert_eq!(kind_in(word), kind);
            assert_eq!(tenths_ago(word, now), 0);
            assert_eq!(tenths_ago(word, now + 32), 32);
            // The clock was set back.
            assert_eq!(tenths_ago(word, now - 1), 0);
        }
    }

    #[test]
    fn a_sleep_over_the_end_of_the_bits_has_its_length() {
        let before = (1 << 31) * 9 - 5;
        let word = since_word(Kind::Set, before);
        assert_eq!(tenths_ago(word, before + 12), 12);
    }
}
