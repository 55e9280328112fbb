//! Inaccessible pages on both sides of attaches, where the user has asked for them: a program that runs over an end meets
//! one, and not what happens to lie there.
//!
//! The list is read by a signal handler, so it is of fixed size and without a lock; it is changed under the in-process lock.

use super::pages::{PRIVATE, map, unmap};
use super::process::page_size;
use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Attaches that can have guards at once; further ones have none.
const MOST: usize = 256;

/// An attach between two guards.
struct Guarded {
    /// Where the attach begins; 0: nothing. Written last.
    start: AtomicU64,
    len: AtomicU64,
    id: AtomicI32,
    key: AtomicI32,
    bytes: AtomicU64,
    /// Which of the two pages are still ours.
    has_low: AtomicBool,
    has_high: AtomicBool,
}

struct Guards {
    list: [Guarded; MOST],
    is_on: AtomicBool,
}

// In the library's data, not in .bss: that would be one mapping more in every process.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.shmshim_guards"))]
static GUARDS: Guards = Guards {
    list: [const {
        Guarded {
            start: AtomicU64::new(0),
            len: AtomicU64::new(0),
            id: AtomicI32::new(0),
            key: AtomicI32::new(0),
            bytes: AtomicU64::new(0),
            has_low: AtomicBool::new(false),
            has_high: AtomicBool::new(false),
        }
    }; MOST],
    is_on: AtomicBool::new(false),
};

/// The segment of an attach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its id.
    pub id: i32,
    /// Its key.
    pub key: i32,
    /// Its size as it was asked for.
    pub bytes: u64,
}

/// From now on attaches get guards.
pub fn turn_on() {
    GUARDS.is_on.store(true, Relaxed);
}

/// Whether they do.
#[inline]
pub fn is_on() -> bool {
    GUARDS.is_on.load(Relaxed)
}

/// Sets address space aside for an attach of `len` bytes between two guards. Returns where the attach is to be mapped.
/// `None`: guards are off, or there is no room for them.
#[cold]
#[inline(never)]
pub fn reserve(len: u64, segment: &Segment) -> Option<u64> {
    let page = page_size();
    let whole = usize::try_from(len).ok()?.checked_add(2 * page)?;
    let free = GUARDS
        .list
        .iter()
        .find(|guarded| guarded.start.load(Relaxed) == 0)?;
    let low = map(0, whole, libc::PROT_NONE, PRIVATE, -1).ok()?;
    let start = (low + page) as u64;
    free.len.store(len, Relaxed);
    free.id.store(segment.id, Relaxed);
    free.key.store(segment.key, Relaxed);
    free.bytes.store(segment.bytes, Relaxed);
    free.has_low.store(true, Relaxed);
    free.has_high.store(true, Relaxed);
    // Pairs with: the loads in `near` and `release`.
    free.start.store(start, Release);
    Some(start)
}

impl Guarded {
    fn range(&self) -> Option<(u64, u64)> {
        let start = self.start.load(Acquire);
        (start != 0).then(|| (start, start + self.len.load(Relaxed)))
    }

    /// Its two pages, each with whether it is still ours.
    fn pages(&self) -> Option<[(u64, &AtomicBool); 2]> {
        let (start, end) = self.range()?;
        Some([
            (start - page_size() as u64, &self.has_low),
            (end, &self.has_high),
        ])
    }
}

/// Takes the guards away from the attaches for which `is_over` says so of where they were mapped.
pub fn release(is_over: impl Fn(u64, u64) -> bool) {
    for guarded in GUARDS.list.iter() {
        let Some((start, end)) = guarded.range() else {
            continue;
        };
        if !is_over(start, end) {
            continue;
        }
        for (page, is_ours) in guarded.pages().into_iter().flatten() {
            if is_ours.load(Relaxed) {
                let _ = unmap(page as usize, page_size());
            }
        }
        guarded.start.store(0, Release);
    }
}

/// Gives back what [`reserve`] set aside at `start`, where nothing was mapped.
#[cold]
pub fn cancel(start: u64) {
    for guarded in GUARDS.list.iter() {
        if let Some((from, end)) = guarded.range().filter(|&(from, _)| from == start) {
            let page = page_size();
            let _ = unmap(from as usize - page, (end - from) as usize + 2 * page);
            guarded.start.store(0, Release);
        }
    }
}

/// The program has unmapped `start..end`, or mapped something there: what lay there is no guard any more.
pub fn forget(start: u64, end: u64) {
    for guarded in GUARDS.list.iter() {
        for (page, is_ours) in guarded.pages().into_iter().flatten() {
            if page < end && page + page_size() as u64 > start {
                is_ours.store(false, Relaxed);
            }
        }
    }
}

/// An access to a guard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// The segment that the program was in, as far as can be told.
    pub segment: Segment,
    /// Where it is attached.
    pub start: u64,
    /// How far from there the access was.
    pub offset: i64,
}

/// Whether `addr` lies in a guard. It may be asked in a signal handler.
pub fn near(addr: u64) -> Option<Hit> {
    let holds = |(page, is_ours): (u64, &AtomicBool)| {
        is_ours.load(Relaxed) && (page..page + page_size() as u64).contains(&addr)
    };
    let guarded = GUARDS.list.iter().find(|guarded| {
        guarded
            .pages()
            .is_some_and(|pages| pages.into_iter().any(holds))
    })?;
    let (start, _) = guarded.range()?;
    Some(Hit {
        segment: Segment {
            id: guarded.id.load(Relaxed),
            key: guarded.key.load(Relaxed),
            bytes: guarded.bytes.load(Relaxed),
        },
        start,
        offset: addr.wrapping_sub(start) as i64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attach_lies_between_two_pages_until_it_is_over() {
        let page = page_size() as u64;
        let segment = Segment {
            id: 7,
            key: 8,
            bytes: 5000,
        };
        let start = reserve(2 * page, &segment).unwrap();
        let hit = near(start - 1).unwrap();
        assert_eq!((hit.segment, hit.start, hit.offset), (segment, start, -1));
        let behind = 2 * page as i64;
        assert_eq!(near(start + 2 * page).unwrap().offset, behind);
        assert_eq!(near(start), None);
        assert_eq!(near(start + 3 * page), None);
        forget(start + 2 * page, start + 3 * page);
        assert_eq!(near(start + 2 * page), None, "it is the program's now");
        release(|from, to| (from, to) == (start, start + 2 * page));
        assert_eq!(near(start - 1), None);
        // The reservation of the attach itself, and the page that was the program's.
        unmap(start as usize, 3 * page as usize).unwrap();
    }
}
