//! The words of the file of sets and queues.
//!
//! What is read and written there between two exchanges is much, and a model checker would not come to an end of it. So each story
//! says of which words everything that a load may see is tried; of all others a load sees what was stored last, and no other
//! thread runs in front of it.

use super::OsResult;
use super::atomic::{AtomicU32, AtomicU64};
use super::file::{self, Fd};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;

enum Word {
    Narrow(AtomicU32),
    Wide(AtomicU64),
}

#[derive(Default)]
struct Words {
    explored: HashMap<u64, Box<Word>>,
    plain: HashMap<u64, Box<Word>>,
}

// A model checker runs all of its threads on one of the system's, and each test on another.
thread_local! {
    static WORDS: RefCell<Words> = RefCell::default();
}

/// What a word outside of everything is.
const NOWHERE: u64 = u64::MAX - 7;

/// A new file. Of the words at `wide` and `narrow` everything is tried.
pub fn begin(wide: &[u64], narrow: &[u64]) {
    WORDS.with_borrow_mut(|words| {
        words.explored.clear();
        for word in words.plain.values() {
            match word.as_ref() {
                Word::Narrow(word) => word.put(0),
                Word::Wide(word) => word.put(0),
            }
        }
        let wide = wide.iter().map(|&at| (at, Word::Wide(AtomicU64::new(0))));
        let narrow = narrow
            .iter()
            .map(|&at| (at, Word::Narrow(AtomicU32::new(0))));
        let made = wide.chain(narrow).map(|(at, word)| (at, Box::new(word)));
        words.explored.extend(made);
    });
}

fn word<T: 'static>(at: u64, make: fn() -> Word, of: fn(&Word) -> Option<&T>) -> &'static T {
    WORDS.with_borrow_mut(|words| {
        let word = match words.explored.get(&at) {
            Some(word) => word,
            None => words.plain.entry(at).or_insert_with(|| Box::new(make())),
        };
        let word = of(word).unwrap_or_else(|| panic!("the word at {at} has another width"));
        // SAFETY: the box stays where it is until the next story begins.
        unsafe { &*core::ptr::from_ref(word) }
    })
}

/// A piece of the file.
pub struct SharedPiece(Span<'static>);

impl SharedPiece {
    pub fn new(fd: &Fd, offset: u64, len: usize, _: bool) -> OsResult<SharedPiece> {
        assert!(file::is_ipc(fd));
        Ok(SharedPiece(Span {
            start: offset,
            len,
            map: PhantomData,
        }))
    }

    pub fn whole(&self) -> Span<'static> {
        self.0
    }

    pub fn unmap(self) {}
}

/// One that is mapped when it is needed first.
pub struct LazyPiece<const LEN: usize>(AtomicUsize);

impl<const LEN: usize> LazyPiece<LEN> {
    pub const fn empty() -> LazyPiece<LEN> {
        LazyPiece(AtomicUsize::new(0))
    }

    pub fn get(&self) -> Option<Span<'static>> {
        let start = self.0.load(Ordering::Relaxed) as u64;
        (start != 0).then_some(Span {
            start,
            len: LEN,
            map: PhantomData,
        })
    }

    pub fn put(&self, piece: SharedPiece) -> Option<Span<'static>> {
        self.0.store(piece.0.start as usize, Ordering::Relaxed);
        self.get()
    }

    pub fn end(&self) {}
}

/// Words, as many as are known at run time.
#[derive(Clone, Copy)]
pub struct Span<'m> {
    start: u64,
    len: usize,
    map: PhantomData<&'m AtomicU64>,
}

impl<'m> Span<'m> {
    /// All of the file.
    pub fn of_file() -> Span<'static> {
        Span {
            start: 0,
            len: 1 << 31,
            map: PhantomData,
        }
    }

    pub fn end(self) {}

    pub fn len_bytes(self) -> usize {
        self.len
    }

    pub fn populate(self) -> OsResult<()> {
        Ok(())
    }

    pub fn word64(self, index: usize) -> &'m AtomicU64 {
        let is_inside = index < self.len / 8;
        let at = if is_inside {
            self.start + index as u64 * 8
        } else {
            NOWHERE
        };
        word(
            at,
            || Word::Wide(AtomicU64::plain(0)),
            |word| match word {
                Word::Wide(word) => Some(word),
                Word::Narrow(_) => None,
            },
        )
    }

    pub fn word32(self, index: usize) -> &'m AtomicU32 {
        let is_inside = index < self.len / 4;
        let at = if is_inside {
            self.start + index as u64 * 4
        } else {
            NOWHERE - 8
        };
        word(
            at,
            || Word::Narrow(AtomicU32::plain(0)),
            |word| match word {
                Word::Narrow(word) => Some(word),
                Word::Wide(_) => None,
            },
        )
    }

    pub fn copy_words(self, to: usize, other: Span<'_>, from: usize, count: usize) {
        let room = (self.len / 8).saturating_sub(to);
        let there = (other.len / 8).saturating_sub(from);
        for index in 0..count.min(room).min(there) {
            let word = other.word64(from + index).load(Ordering::Relaxed);
            self.word64(to + index).store(word, Ordering::Relaxed);
        }
    }

    pub fn part(self, offset: usize, len: usize) -> Span<'m> {
        let offset = (offset & !7).min(self.len);
        Span {
            start: self.start + offset as u64,
            len: len.min(self.len - offset),
            map: PhantomData,
        }
    }
}
