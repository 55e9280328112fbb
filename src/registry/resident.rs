//! How much memory all segments take: SHM_INFO.

use crate::os::process;
use crate::storage::Namespace;
use crate::storage::table::SlotImage;
use crate::storage::table::derived;
use crate::sysv;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// The last answer. A new one takes a stat of each segment's file that was ever attached, which costs several times what the
/// kernel's whole call does. So the answer is kept until the next tick of the clock, unless the table says that anything but
/// the contents of a segment has changed.
pub struct Known {
    /// Odd while the rest is being changed.
    version: AtomicU32,
    /// The segments, and how often each had changed.
    state: AtomicU64,
    tick: AtomicU64,
    pages: AtomicU64,
}

impl Known {
    /// Nothing is known.
    pub const fn new() -> Known {
        Known {
            version: AtomicU32::new(0),
            state: AtomicU64::new(0),
            tick: AtomicU64::new(0),
            pages: AtomicU64::new(0),
        }
    }

    fn get(&self, state: u64, tick: u64) -> Option<u64> {
        // Pairs with: the two version stores in `set`.
        let before = self.version.load(Ordering::Acquire);
        let is_it = self.state.load(Ordering::Relaxed) == state
            && self.tick.load(Ordering::Relaxed) == tick;
        let pages = self.pages.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let unchanged = before & 1 == 0 && self.version.load(Ordering::Relaxed) == before;
        (is_it && unchanged).then_some(pages)
    }

    fn set(&self, state: u64, tick: u64, pages: u64) {
        let before = self.version.load(Ordering::Relaxed) & !1;
        let begun =
            self.version
                .compare_exchange(before, before | 1, Ordering::Relaxed, Ordering::Relaxed);
        // Another thread, or what a handler has interrupted, is about to remember as good an answer.
        if begun.is_err() {
            return;
        }
        fence(Ordering::Release);
        self.state.store(state, Ordering::Relaxed);
        self.tick.store(tick, Ordering::Relaxed);
        self.pages.store(pages, Ordering::Relaxed);
        self.version
            .store(before.wrapping_add(2), Ordering::Release);
    }

    /// Pages that all segments of `namespace` really take, `bytes_of` each. Needs no lock.
    pub fn pages(&self, namespace: &Namespace, bytes_of: impl Fn(&SlotImage) -> u64) -> u64 {
        let table = namespace.table();
        let mut state = 0u64;
        let mut any = false;
        for_each_touched(namespace, |slot| {
            any = true;
            let change = u64::from(slot) << 32 | u64::from(table.version_of(slot));
            state = (state ^ change)
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(23);
        });
        if !any {
            return 0;
        }
        let tick = process::coarse_nanos();
        if let Some(pages) = self.get(state, tick) {
            return pages;
        }
        let mut pages = 0u64;
        for_each_touched(namespace, |slot| {
            let image = table.image(slot);
            if image.is_live() {
                pages = pages.saturating_add(bytes_of(&image) / sysv::page_size());
            }
        });
        self.set(state, tick, pages);
        pages
    }
}

fn for_each_touched(namespace: &Namespace, mut each: impl FnMut(u32)) {
    let table = namespace.table();
    let mut at = 0;
    while let Some(slot) = derived::next_taken_slot(table, at) {
        at = slot + 1;
        if !table.is_untouched(slot) {
            each(slot);
        }
    }
}
