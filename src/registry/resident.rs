//! How much memory all segments take: SHM_INFO.

use crate::os::process;
use crate::storage::Namespace;
use crate::storage::table::SlotImage;
use crate::storage::table::derived;
use crate::sysv;
use core::sync::atomic::{AtomicU64, Ordering};

/// The last answer. A new one takes a stat of each segment's file that was ever attached, which costs several times what the
/// kernel's whole call does. So the answer is kept until the next tick of the clock, unless the table says that anything but
/// the contents of a segment has changed.
pub struct Known {
    pages: AtomicU64,
    /// A hash of the tick and of how often each segment had changed, XOR `pages`: two threads that remember answers at once
    /// leave one of the two, or none.
    state: AtomicU64,
}

impl Known {
    /// Nothing is known.
    pub const fn new() -> Known {
        Known {
            pages: AtomicU64::new(0),
            state: AtomicU64::new(0),
        }
    }

    /// Pages that all segments of `namespace` really take, `bytes_of` each. Needs no lock.
    pub fn pages(&self, namespace: &Namespace, bytes_of: impl Fn(&SlotImage) -> u64) -> u64 {
        let table = namespace.table();
        let mut state = 0u64;
        let mut any = false;
        for_each_touched(namespace, |slot| {
            any = true;
            state = hash(
                state,
                u64::from(slot) << 32 | u64::from(table.version_of(slot)),
            );
        });
        if !any {
            return 0;
        }
        let state = hash(state, process::coarse_nanos());
        let known = self.pages.load(Ordering::Relaxed);
        if self.state.load(Ordering::Relaxed) ^ known == state {
            return known;
        }
        let mut pages = 0u64;
        for_each_touched(namespace, |slot| {
            let image = table.image(slot);
            if image.is_live() {
                pages = pages.saturating_add(bytes_of(&image) / sysv::page_size());
            }
        });
        self.pages.store(pages, Ordering::Relaxed);
        self.state.store(state ^ pages, Ordering::Relaxed);
        pages
    }
}

fn hash(state: u64, fact: u64) -> u64 {
    (state ^ fact)
        .wrapping_mul(0x0100_0000_01b3)
        .rotate_left(23)
}

fn for_each_touched(namespace: &Namespace, mut each: impl FnMut(u32)) {
    let table = namespace.table();
    for slot in derived::taken_slots(table) {
        if !table.is_untouched(slot) {
            each(slot);
        }
    }
}
