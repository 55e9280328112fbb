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
    Cut, Join, Moved, Mremap, MremapKind, Piece, ShmId, cut, join, moved, page_align, page_size,
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

/// `None`: there is nothing to follow, or this thread is in a call already.
fn session() -> Option<Session> {
    registry_if_open()?.enter_to_follow().ok()
}

fn unmapping<T: Copy>(
    addr: u64,
    len: u64,
    real: impl FnOnce() -> T,
    has_worked: impl FnOnce(T) -> bool,
) -> T {
    let Some(mut session) = session() else {
        return real();
    };
    let prepared = session.local.attaches.reserve(1);
    let answer = real();
    if has_worked(answer) && prepared.is_ok() {
        let end = addr.saturating_add(page_align(len));
        session.forget_range(addr, end, true);
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
    let Some(mut session) = session() else {
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
            session.forget_range(new_addr, end, true);
        }
    }
    answer
}

/// madvise: MADV_DONTFORK and MADV_DOFORK of whole pieces decide whether a child has them.
pub fn madvise(addr: u64, len: u64, advice: i32, real: impl FnOnce() -> i32) -> i32 {
    if advice != libc::MADV_DONTFORK && advice != libc::MADV_DOFORK {
        return real();
    }
    let Some(mut session) = session() else {
        return real();
    };
    let answer = real();
    let end = addr.saturating_add(page_align(len));
    if answer == 0 {
        for entry in session.local.attaches.iter_mut() {
            if entry.piece.start >= addr && entry.piece.end() <= end {
                entry.not_inherited = advice == libc::MADV_DONTFORK;
            }
        }
    }
    answer
}

/// What a change of mappings stamps in the table: any of these.
const LPID: u32 = 1;
const ATIME: u32 = 2;
const DTIME: u32 = 4;

impl Session {
    /// The slot of the segment whose attach begins at `addr`, if one does.
    pub(super) fn slot_attached_at(&self, addr: u64) -> Option<u32> {
        let at = self.local.attaches.count_above(addr).checked_sub(1)?;
        let piece = self.local.attaches.get(at)?.piece;
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
        self.local.attaches.iter().any(|entry| {
            let piece = &entry.piece;
            piece.overlaps(start, end) && (start < piece.start || end > piece.end())
        })
    }

    /// Whether an attach in `start..end` is not there any more. All of the range is as its first such page is.
    fn has_lost_pages(&self, start: u64, end: u64) -> bool {
        let mut pieces = self.local.attaches.iter();
        pieces
            .find(|entry| entry.piece.overlaps(start, end))
            .is_some_and(|entry| !map::is_mapped(entry.piece.start.max(start)))
    }

    /// Brings the list in order after `start..end` was unmapped or covered. Where no attach was counted there, nothing is
    /// stamped.
    pub(super) fn forget_range(&mut self, start: u64, end: u64, stamped: bool) {
        let mut at = 0;
        while let Some(entry) = self.local.attaches.get(at).copied() {
            let left = cut(&entry.piece, start, end);
            let pieces_left = self.apply_cut(at, entry, left);
            at += pieces_left;
            if left != Cut::Untouched {
                let stamps = match (stamped, pieces_left) {
                    (false, _) => 0,
                    (true, 0) => LPID | DTIME,
                    (true, _) => LPID | ATIME | DTIME,
                };
                self.enter_change(entry.piece.id, pieces_left as i32 - 1, stamps);
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
        let mut entries = self.local.attaches.iter();
        let entry = entries.find(|entry| entry.piece.start <= addr && addr < entry.piece.end());
        let slot = entry.map(|entry| entry.piece.id.slot());
        slot.and_then(|slot| self.registry.namespace.table().snapshot(slot))
            .and_then(|image| image.huge_page_log2())
            .map_or(page_size(), |log2| 1 << log2)
    }

    fn follow_mremap(&mut self, mremap: &Mremap) {
        if let Some((start, end)) = mremap.cleared() {
            self.forget_range(start, end, true);
        }
        // What arrives must not be taken for something that was there: first all that leaves, then all that comes.
        // More than one piece cannot arrive: a range of several was refused.
        let mut arrival = None;
        let mut at = 0;
        while let Some(entry) = self.local.attaches.get(at).copied() {
            let Moved { left, arrived } = moved(&entry.piece, mremap);
            let pieces_left = self.apply_cut(at, entry, left);
            at += pieces_left;
            arrival = arrived.map(|piece| (entry, piece)).or(arrival);
            let has_arrived = arrived.is_some();
            let has_left =
                left != Cut::Untouched && (has_arrived || mremap.new_len <= mremap.old_len);
            if !has_left && !has_arrived {
                continue;
            }
            let stays = match left {
                Cut::Two(..) => true,
                Cut::One(_) => mremap.kind == MremapKind::InPlace,
                Cut::Gone | Cut::Untouched => false,
            };
            let stamps = LPID | if stays { ATIME } else { 0 } | if has_left { DTIME } else { 0 };
            // Counted in one step, so that a move of the last piece never looks like a detach.
            let pieces = pieces_left as i32 - 1 + i32::from(has_arrived);
            self.enter_change(entry.piece.id, pieces, stamps);
        }
        if let Some((entry, arrived)) = arrival {
            self.arrive(entry, arrived);
        }
    }

    /// Puts a moved piece in its place, joining it to a neighbour as the kernel does.
    fn arrive(&mut self, entry: Entry, arrived: Piece) {
        let pieces = || self.local.attaches.iter().map(|other| other.piece);
        let below = pieces().find(|other| other.end() == arrived.start);
        let above = pieces().find(|other| other.start == arrived.end());
        match join(below.as_ref(), &arrived, above.as_ref()) {
            Join::Apart => {
                self.insert_piece(entry, arrived);
                self.enter_change(entry.piece.id, 0, LPID | ATIME);
            }
            Join::Below(joined) | Join::Above(joined) => {
                // Of what is in the list, only the neighbour lies there.
                if let Some(at) =
                    pieces().position(|other| other.overlaps(joined.start, joined.end()))
                {
                    self.replace(at, entry, joined);
                    self.enter_change(entry.piece.id, -1, 0);
                }
            }
        }
    }

    /// Enters into the table that segment `id` has so many pieces more here, or fewer, with the `stamps` of that.
    fn enter_change(&mut self, id: ShmId, pieces: i32, stamps: u32) {
        if !self.counted || self.local.attaches.record_of(id.slot()).is_none() {
            return;
        }
        let Ok(held) = self.lock() else { return };
        let Some(record) = self.record_of(&held, id) else {
            return;
        };
        if live_locked(&held, id).is_none() {
            return;
        }
        if stamps != 0 {
            let (pid, now) = (self.registry.local.pid(), process::now_secs());
            slot_life::update(&held, id.slot(), |image| {
                image.lpid = pid;
                if stamps & ATIME != 0 {
                    image.atime = now;
                }
                if stamps & DTIME != 0 {
                    image.dtime = now;
                }
            });
        }
        let count = pieces.unsigned_abs();
        if pieces > 0 {
            let _ = attach_record::attach(&held, id.slot(), self.me, Some(record), count, None);
        } else if pieces < 0 {
            let ended = attach_record::detach(&held, record, count, None, slot_life::Last::Claim);
            drop(held);
            if let Some(image) = ended {
                self.unlink_claimed(&image);
            }
        }
    }
}
