//! Shared memory of the model checker's words, made when they are first looked at.

pub use super::real::map::{Place, is_occupied, map_segment, unmap_segment, user_space_end};
pub use super::span::{LazyPiece, SharedPiece, Span};

use super::atomic::{AtomicU32, AtomicU64};
use super::file::{self, Fd};
use super::{OsError, OsResult};
use crate::mortal;
use core::ptr::NonNull;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

const PAGE: usize = 4096;

/// A mapping that holds the lock of a liveness file: all of them have the same address.
pub fn map_page(fd: &Fd, _: bool) -> OsResult<usize> {
    let cell = file::cell_of(fd).ok_or(OsError(libc::ENODEV))?;
    Ok((cell as usize + 1) * PAGE)
}

/// Nothing that can be seen here: a story forks when it says so.
pub fn not_inherited(_: usize) -> OsResult<()> {
    Ok(())
}

/// Ends such a mapping.
pub fn unmap_page(addr: usize) {
    mortal::unmap((addr / PAGE - 1) as u32);
}

enum Word {
    Narrow(Box<AtomicU32>),
    Wide(Box<AtomicU64>),
}

// A model checker runs all of its threads on one of the system's, and each test on another.
thread_local! {
    /// Every word that any story has used so far, and whether it is a wide one. A word must be there before the threads
    /// of a story are, or its making would be a race of its own: so each story is told once before it is explored.
    static KNOWN: RefCell<BTreeMap<u32, bool>> = const { RefCell::new(BTreeMap::new()) };
    static PLAIN: Cell<&'static [u32]> = const { Cell::new(&[]) };
}

/// In the tables made from now on, loads of the words at `offsets` see what was stored last, and nothing else is tried.
/// A reader of so many words that a model checker would not come to an end of their mixtures is shown those of a few.
pub fn leave_plain(offsets: &'static [u32]) {
    PLAIN.set(offsets);
}

fn make(offset: u32, wide: bool) -> Word {
    KNOWN.with_borrow_mut(|known| known.insert(offset, wide));
    let plain = PLAIN.get().contains(&offset);
    match (wide, plain) {
        (false, false) => Word::Narrow(Box::new(AtomicU32::new(0))),
        (false, true) => Word::Narrow(Box::new(AtomicU32::plain(0))),
        (true, false) => Word::Wide(Box::new(AtomicU64::new(0))),
        (true, true) => Word::Wide(Box::new(AtomicU64::plain(0))),
    }
}

/// A file's worth of words, all 0 at first.
pub struct SharedMap<const BYTES: usize>(Words);

impl<const BYTES: usize> Default for SharedMap<BYTES> {
    fn default() -> SharedMap<BYTES> {
        let known = KNOWN.with_borrow(BTreeMap::clone);
        let words = known
            .into_iter()
            .map(|(offset, wide)| (offset, make(offset, wide)));
        SharedMap(Words(Mutex::new(words.collect())))
    }
}

impl<const BYTES: usize> SharedMap<BYTES> {
    /// There are no files here.
    pub fn new(_: &Fd) -> OsResult<SharedMap<BYTES>> {
        Err(OsError(libc::ENODEV))
    }

    /// There are no files here.
    pub fn read_only(_: &Fd) -> OsResult<SharedMap<BYTES>> {
        Err(OsError(libc::ENODEV))
    }

    /// There is nothing behind it.
    pub fn move_before(&mut self, _: usize) -> OsResult<NonNull<u8>> {
        Err(OsError(libc::ENODEV))
    }

    /// All of it.
    pub fn whole(&self) -> Block<'_, BYTES> {
        Block {
            words: &self.0,
            offset: 0,
        }
    }
}

struct Words(Mutex<HashMap<u32, Word>>);

impl Words {
    fn word32(&self, offset: u32) -> &AtomicU32 {
        assert!(offset % 4 == 0);
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match words.entry(offset).or_insert_with(|| make(offset, false)) {
            // SAFETY: the box lives as long as the map, and is never moved out of or replaced.
            Word::Narrow(word) => unsafe { &*core::ptr::from_ref(word.as_ref()) },
            Word::Wide(_) => panic!("the word at {offset} has 64 bits"),
        }
    }

    fn word64(&self, offset: u32) -> &AtomicU64 {
        assert!(offset % 8 == 0);
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match words.entry(offset).or_insert_with(|| make(offset, true)) {
            // SAFETY: the box lives as long as the map, and is never moved out of or replaced.
            Word::Wide(word) => unsafe { &*core::ptr::from_ref(word.as_ref()) },
            Word::Narrow(_) => panic!("the word at {offset} has 32 bits"),
        }
    }
}

/// `LEN` bytes of a [`SharedMap`].
#[derive(Clone, Copy)]
pub struct Block<'m, const LEN: usize> {
    words: &'m Words,
    offset: u32,
}

impl<'m, const LEN: usize> Block<'m, LEN> {
    /// The 32-bit word at byte `offset`.
    pub fn word32_at(self, offset: u32) -> &'m AtomicU32 {
        assert!((offset as usize) < LEN);
        self.words.word32(self.offset + offset)
    }

    /// The 64-bit word at byte `offset`.
    pub fn word64_at(self, offset: u32) -> &'m AtomicU64 {
        assert!((offset as usize) < LEN);
        self.words.word64(self.offset + offset)
    }

    /// The `PART` bytes from byte `offset` on.
    pub fn block_at<const PART: usize>(self, offset: u32) -> Block<'m, PART> {
        assert!(offset as usize + PART <= LEN);
        Block {
            words: self.words,
            offset: self.offset + offset,
        }
    }

    /// The 32-bit word at byte `AT` of the block.
    pub fn word32<const AT: usize>(self) -> &'m AtomicU32 {
        const { assert!(AT + 4 <= LEN) };
        self.words.word32(self.offset + AT as u32)
    }

    /// The 64-bit word at byte `AT` of the block.
    pub fn word64<const AT: usize>(self) -> &'m AtomicU64 {
        const { assert!(AT + 8 <= LEN) };
        self.words.word64(self.offset + AT as u32)
    }
}
