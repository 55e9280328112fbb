//! Marks: words that are changed when a process ends. Each process has one thread that holds one.

use super::atomic::{AtomicU32, Ordering};
use super::map::Span;
use crate::mortal;

/// Bytes that a mark takes.
pub const BYTES: usize = 64;

const WAITERS: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;

/// Has the calling process hold a mark.
pub fn hold(at: Span<'static>) -> Option<usize> {
    let word = at.word32(0);
    word.store(mortal::me() + 1, Ordering::Relaxed);
    mortal::on_end(move || {
        word.put(OWNER_DIED);
        super::futex::wake_by_kernel(word);
    });
    Some(0)
}

/// Whether its holder has ended.
pub fn is_set(word: u32) -> bool {
    word & OWNER_DIED != 0
}

/// Whether its holder is there.
pub fn is_held(word: u32) -> bool {
    word & OWNER_DIED == 0 && word & !WAITERS != 0
}

/// Whether the kernel has its list still: it marks every word here.
pub fn holder_has_list(_: u32) -> bool {
    true
}

/// Who sleeps on it is woken when its holder ends.
pub fn ask_to_be_woken(word: &AtomicU32) -> u32 {
    word.fetch_or(WAITERS, Ordering::AcqRel) | WAITERS
}
