//! Words of one process.

use super::OsResult;
use super::atomic::AtomicU32;
use crate::mortal;
use std::cell::RefCell;

/// Words that nobody else looks at.
pub struct Wiped(&'static [AtomicU32]);

thread_local! {
    /// Those of the present story, and the cell of the process that they belong to.
    static ALL: RefCell<Vec<(u32, &'static [AtomicU32])>> = const { RefCell::new(Vec::new()) };
}

impl Wiped {
    /// The word at `index`.
    pub fn word(&self, index: usize) -> Option<&AtomicU32> {
        self.0.get(index)
    }
}

/// So many.
pub fn words(count: usize) -> OsResult<Wiped> {
    let words: &Vec<AtomicU32> = mortal::keep((0..count).map(|_| AtomicU32::plain(0)).collect());
    ALL.with_borrow_mut(|all| all.push((mortal::me(), words)));
    Ok(Wiped(words))
}

/// A story begins: nobody has any.
pub fn begin() {
    ALL.with_borrow_mut(Vec::clear);
}

/// What the words at `index` hold, and of which cells.
pub fn told(index: usize) -> Vec<(u32, u32)> {
    ALL.with_borrow(|all| {
        all.iter()
            .filter_map(|(cell, words)| Some((*cell, words.get(index)?.get())))
            .collect()
    })
}

/// The process of `cell` has ended, and its memory is gone.
pub fn end(cell: u32) {
    ALL.with_borrow_mut(|all| all.retain(|(one, _)| *one != cell));
}
