//! What munmap, mremap, mmap(MAP_FIXED) and madvise do to attaches.
//!
//! The real call is made while the in-process lock is held, so that no other thread's attach can take an address
//! that has just become free before the list knows of it.

use super::attach_list::{self, Entry};
use super::process::{live_locked, registry_if_open};
use super::session::Session;
use crate::os::{errno, guard, map, process};
use crate::storage::table::{attach_record, slot_life};
use crate::sysv::{
    Cut, Join, Mremap, MremapKind, Piece, ShmId, cut, join, moved, page_align, page_size,
};

/// Whether a call on `len` bytes from `addr` can concern an attach of this process. Lock-free and cheap; `false` is
/// certain.
#[inline]
pub fn may_touch(addr: u64, len: u64) -> bool {
    attach_list::may_touch(addr, addr.saturating_add(page_align(len)))
}

/// munmap: `real` makes the call, the list follows if it succeeded.
pub fn munmap(addr: u64, len: u64, real: impl FnOnce() -> i32) -> i32 {
    unmapping(addr, len, real, |answer| answer == 0)
}

/// mmap with MAP_FIXED: what it covers is unmapped.
pub fn mmap_fixed(addr: u64, len: u64, real: impl FnOnce() -> u64) -> u64 {
    unmapping(addr, len, real, |answer| answer == addr)
}

fn unmapping<T: Copy>(
    addr: u64,
    len: u64,
    real: impl FnOnce() -> T,
    has_worked: impl FnOnce(T) -> bool,
) -> T {
    let Some(mut session) = registry_if_open().and_then(|registry| registry.enter_to_follow().ok())
    else {
        return real();
    };
    let prepared = session.local.attaches.reserve(1);
    let answer = real();
    if has_worked(answer) && prepared.is_ok() {
        let pid = Some(session.registry.local.pid());
        let end = addr.saturating_add(page_align(len));
        session.forget_range(addr, end, pid);
        session.follow_guards(addr, end);
    }
    answer
}

/// mremap.
pub fn mremap(
    old: u64,
    old_len: u64,
    new_len: u64,
    flags: i32,
    new_addr: u64,
    real: impl FnOnce() -> u64,
) -> u64 {
    let Some(mut session) = registry_if_open().and_then(|registry| registry.enter_to_follow().ok())
    else {
        return real();
    };
    // Over huge pages the kernel takes whole ones.
    let unit = session.page_bytes_at(old);
    let whole = |len: u64| len.checked_next_multiple_of(unit).unwrap_or(len);
    let (old_len, new_len) = (whole(old_len), whole(new_len));
    // The kernel refuses a range that is not of one mapping; the attaches of ours may be one to it that are several
    // to us.
    let end = old.saturating_add(page_align(old_len));
    let to_itself = flags & libc::MREMAP_FIXED != 0
        && new_addr < end
        && new_addr.saturating_add(page_align(new_len)) > old;
    // (A move onto itself is refused for that, first, and a range that begins inside a huge page for that.)
    let begins_whole = old % unit == 0;
    // And one that only becomes shorter may have holes.
    let shrinks = flags & libc::MREMAP_FIXED == 0 && new_len <= old_len;
    let asked = old_len != 0 && !to_itself && begins_whole && !shrinks;
    if asked && session.is_mixed(old, end) {
        drop(session);
        errno::set(libc::EFAULT);
        return u64::MAX;
    }
    let prepared = session.local.attaches.reserve(4);
    if guard::is_on() && new_len > old_len {
        // What grows needs the place of its guard.
        guard::release(|start, end| start < old.saturating_add(old_len.max(1)) && end > old);
    }
    let answer = real();
    if answer != u64::MAX && prepared.is_ok() {
        let mremap = Mremap::new(old, old_len, new_len, flags, answer);
        session.follow_mremap(&mremap);
        let (start, end) = mremap.cleared().unwrap_or((0, 0));
        session.follow_guards(start, end);
    } else if flags & libc::MREMAP_FIXED != 0 && prepared.is_ok() {
        // The kernel clears the new place before it looks at the old one, and leaves it so when that is no good.
        let end = new_addr.saturating_add(page_align(new_len));
        if session.has_lost_pages(new_addr, end) {
            let pid = Some(session.registry.local.pid());
            session.forget_range(new_addr, end, pid);
        }
    }
    answer
}

/// madvise: MADV_DONTFORK and MADV_DOFORK of whole pieces decide whether a child has them.
pub fn madvise(addr: u64, len: u64, advice: i32, real: impl FnOnce() -> i32) -> i32 {
    if advice != libc::MADV_DONTFORK && advice != libc::MADV_DOFORK {
        return real();
    }
    let Some(mut session) = registry_if_open().and_then(|registry| registry.enter_to_follow().ok())
    else {
        return real();
    };
    let answer = real();
    let end = addr.saturating_add(page_align(len));
    if answer == 0 {
        for entry in session.local.attaches.entries_mut() {
            if entry.piece.start >= addr && entry.piece.end() <= end {
                entry.not_inherited = advice == libc::MADV_DONTFORK;
            }
        }
    }
    answer
}

/// What a change of mappings does to one segment's entry in the table.
#[derive(Clone, Copy)]
struct Change {
    /// Pieces more or less.
    pieces: i32,
    attached: bool,
    detached: bool,
}

impl Session {
    /// The slot of the segment whose attach begins at `addr`, if one does.
    pub(super) fn slot_attached_at(&self, addr: u64) -> Option<u32> {
        let at = self.local.attaches.count_above(addr).checked_sub(1)?;
        let piece = self.local.attaches.entries().get(at)?.piece;
        (piece.start == addr).then_some(piece.id.slot())
    }

    /// What the guards beside attaches become when the program has unmapped or covered `start..end`.
    #[inline]
    fn follow_guards(&self, start: u64, end: u64) {
        if guard::is_on() {
            guard::forget(start, end);
            self.local.attaches.release_guards();
        }
    }

    /// Whether `start..end` touches an attach without lying in one piece of it.
    fn is_mixed(&self, start: u64, end: u64) -> bool {
        self.local.attaches.entries().iter().any(|entry| {
            let piece = &entry.piece;
            piece.overlaps(start, end) && (start < piece.start || end > piece.end())
        })
    }

    /// Whether an attach in `start..end` is not there any more. All of the range is as its first such page is.
    fn has_lost_pages(&self, start: u64, end: u64) -> bool {
        let mut pieces = self.local.attaches.entries().iter();
        pieces
            .find(|entry| entry.piece.overlaps(start, end))
            .is_some_and(|entry| !map::is_mapped(entry.piece.start.max(start)))
    }

    /// Brings the list in order after `start..end` was unmapped or covered. Without a pid nothing is stamped.
    pub(super) fn forget_range(&mut self, start: u64, end: u64, pid: Option<i32>) {
        let mut at = 0;
        while let Some(entry) = self.local.attaches.entries().get(at).copied() {
            let left = cut(&entry.piece, start, end);
            let pieces_left = self.apply_cut(at, entry, left);
            at += pieces_left;
            if left != Cut::Untouched {
                let change = Change {
                    pieces: pieces_left as i32 - 1,
                    attached: pieces_left > 0,
                    detached: true,
                };
                self.enter_change(entry.piece.id, change, pid);
            }
        }
    }

    /// Puts what is left of the piece at `at` in its place. Returns how many pieces that is.
    fn apply_cut(&mut self, at: usize, entry: Entry, left: Cut) -> usize {
        match left {
            Cut::Untouched => 1,
            Cut::Gone => {
                self.local.attaches.remove(at);
                0
            }
            Cut::One(left) => {
                self.replace(at, entry, left);
                1
            }
            Cut::Two(low, high) => {
                // The list is by falling address: the higher one stands first.
                self.replace(at, entry, high);
                self.insert_piece(entry, low);
                2
            }
        }
    }

    fn replace(&mut self, at: usize, entry: Entry, piece: Piece) {
        self.local.attaches.remove(at);
        self.insert_piece(entry, piece);
    }

    fn insert_piece(&mut self, entry: Entry, piece: Piece) {
        if self.local.attaches.reserve(1).is_ok() {
            self.local.attaches.insert(Entry { piece, ..entry });
        }
    }

    /// The size of the pages that the attach at `addr`, if there is one, is made of.
    fn page_bytes_at(&self, addr: u64) -> u64 {
        let entries = self.local.attaches.entries();
        let entry = entries
            .iter()
            .find(|entry| entry.piece.start <= addr && addr < entry.piece.end());
        let slot = entry.map(|entry| entry.piece.id.slot());
        slot.and_then(|slot| self.registry.namespace.table().snapshot(slot))
            .and_then(|image| image.huge_page_log2())
            .map_or(page_size(), |log2| 1 << log2)
    }

    fn follow_mremap(&mut self, mremap: &Mremap) {
        let pid = Some(self.registry.local.pid());
        if let Some((start, end)) = mremap.cleared() {
            self.forget_range(start, end, pid);
        }
        // What arrives must not be taken for something that was there: first all that leaves, then all that comes.
        // More than one piece cannot arrive: a range of several was refused.
        let mut arrival = None;
        let mut at = 0;
        while let Some(entry) = self.local.attaches.entries().get(at).copied() {
            let what = moved(&entry.piece, mremap);
            let before = self.local.attaches.len();
            at += self.apply_cut(at, entry, what.left);
            let mut pieces = self.local.attaches.len() as i32 - before as i32;
            let arrived = what.arrived.is_some();
            pieces += i32::from(arrived);
            arrival = what.arrived.map(|piece| (entry, piece)).or(arrival);
            let shrunk = !matches!(what.left, Cut::Untouched) && mremap.new_len <= mremap.old_len;
            let left_its_place =
                !matches!(what.left, Cut::Untouched) && (what.arrived.is_some() || shrunk);
            if left_its_place || arrived {
                // Counted in one step, so that a move of the last piece never looks like a detach.
                let change = Change {
                    pieces,
                    attached: match what.left {
                        Cut::Two(..) => true,
                        Cut::One(_) => mremap.kind == MremapKind::InPlace,
                        Cut::Gone | Cut::Untouched => false,
                    },
                    detached: left_its_place,
                };
                self.enter_change(entry.piece.id, change, pid);
            }
        }
        if let Some((entry, arrived)) = arrival {
            self.arrive(entry, arrived);
        }
    }

    /// Puts a moved piece in its place, joining it to a neighbour as the kernel does.
    fn arrive(&mut self, entry: Entry, arrived: Piece) {
        let entries = self.local.attaches.entries();
        let below_at = entries
            .iter()
            .position(|other| other.piece.end() == arrived.start);
        let above_at = entries
            .iter()
            .position(|other| other.piece.start == arrived.end());
        let piece_at =
            |at: Option<usize>| at.and_then(|at| entries.get(at)).map(|other| other.piece);
        let (below, above) = (piece_at(below_at), piece_at(above_at));
        let (joined_at, joined) = match join(below.as_ref(), &arrived, above.as_ref()) {
            Join::Apart => {
                self.insert_piece(entry, arrived);
                let change = Change {
                    pieces: 0,
                    attached: true,
                    detached: false,
                };
                return self.enter_change(entry.piece.id, change, Some(self.registry.local.pid()));
            }
            Join::Below(piece) => (below_at, piece),
            Join::Above(piece) => (above_at, piece),
        };
        if let Some(at) = joined_at {
            self.replace(at, entry, joined);
            let change = Change {
                pieces: -1,
                attached: false,
                detached: false,
            };
            self.enter_change(entry.piece.id, change, None);
        }
    }

    /// Enters what happened to pieces of `id` into the table.
    fn enter_change(&mut self, id: ShmId, change: Change, pid: Option<i32>) {
        if !self.counted || self.local.attaches.record_of(id.slot()).is_none() {
            return;
        }
        let now = process::now_secs();
        let Ok(held) = self.lock() else { return };
        let Some(record) = self.record_of(&held, id) else {
            return;
        };
        if live_locked(&held, id).is_none() {
            return;
        }
        if let Some(pid) = pid {
            slot_life::update(&held, id.slot(), |image| {
                image.lpid = pid;
                if change.attached {
                    image.atime = now;
                }
                if change.detached {
                    image.dtime = now;
                }
            });
        }
        if change.pieces > 0 {
            let more = change.pieces.unsigned_abs();
            let _ = attach_record::attach(&held, id.slot(), self.me, Some(record), more, None);
        } else if change.pieces < 0 {
            let fewer = change.pieces.unsigned_abs();
            let ended = attach_record::detach(&held, record, fewer, None, slot_life::Last::Claim);
            drop(held);
            if let Some(image) = ended {
                self.unlink_claimed(&image);
            }
        }
    }
}
