//! shmget.

use super::caller::Thread;
use super::failure::{Failure, Outcome, Why};
use super::host::{Host, Session, host};
use super::segment;
use crate::os::{credentials, process};
use crate::storage::index::{self, Lookup};
use crate::storage::layout::{FLAG_HUGE_SHIFT, FLAG_NORESERVE, FLAG_ROUNDED, SlotState};
use crate::storage::lock::Held;
use crate::storage::slots::{self, Cursor, NewSegment};
use crate::storage::table::SlotImage;
use crate::storage::{Obstacle, books, recover};
use crate::sysv::{
    self, Caller, Errno, HugePages, IdCursor, Key, Limits, Reason, Refusal, ShmId, flags,
    shmget as rules,
};

/// `shmget(2)`: the id of the segment with `key`, made if need be.
pub fn shmget(key: i32, size: u64, shmflg: i32) -> Outcome<i32> {
    let host = host()?;
    let key = Key(key);
    // What only looks something up makes no system call, and does not find out whether somebody has cut the table.
    let makes = key.is_private() || shmflg & flags::IPC_EXCL != 0;
    let blocked = makes.then(|| host.namespace.block_all()).transpose()?;
    host.enforce_forced()?;
    if !key.is_private() {
        match index::find(host.namespace.table(), key.0) {
            Lookup::Found(image) => return open_existing(&image, size, shmflg),
            Lookup::Absent => rules::missing_key(key, shmflg)?,
            Lookup::Busy => {}
        }
    }
    let asked = super::huge::ask(host, shmflg);
    let blocked = match blocked {
        Some(blocked) => blocked,
        None => host.namespace.block_all()?,
    };
    let session = host.enter_blocked(blocked)?;
    create(host, &session, key, size, shmflg, &asked)
}

fn open_existing(image: &SlotImage, size: u64, shmflg: i32) -> Outcome<i32> {
    Ok(rules::open_existing(&segment(image), size, shmflg, &Thread)?.raw())
}

/// `asked` is what was found out about SHM_HUGETLB.
#[inline(never)]
fn create(
    host: &'static Host,
    session: &Session,
    key: Key,
    size: u64,
    shmflg: i32,
    asked: &Outcome<Option<HugePages>>,
) -> Outcome<i32> {
    // Limits that only the dead still hold are no reason to refuse: look once more without them.
    let mut swept = false;
    let mut collisions = 0;
    let mut repairs = 0;
    loop {
        let held = session.lock();
        if let Some(image) = find(&held, key) {
            drop(held);
            return open_existing(&image, size, shmflg);
        }
        if !key.is_private() {
            rules::missing_key(key, shmflg)?;
        }
        let limits = host.limits();
        let huge = match admit(&held, size, shmflg, asked, &limits) {
            Ok(huge) => huge,
            Err(failure) if swept || !is_scarcity(&failure) => return Err(failure),
            Err(_) => {
                drop(held);
                swept = true;
                host.namespace.reap_all(session.me);
                continue;
            }
        };
        let (new, before, after) = plan(&held, host, key, size, shmflg, huge)?;
        // An index that is passed over, or begins anew, may be taken by a marked segment that only the dead still have.
        let passed_over = new.id as u32 % sysv::SLOTS != before.next;
        if passed_over && !swept && (host.namespace.marked() != 0 || host.namespace.has_dying()) {
            drop(held);
            swept = true;
            host.namespace.reap_all(session.me);
            continue;
        }
        host.namespace
            .ensure_slot(&held, new.id as u32 % sysv::SLOTS)?;
        if held.table().image(new.id as u32 % sysv::SLOTS).state != SlotState::Free as u32 {
            // The books say that the slot is free, and it is not: they have been damaged.
            recover::rebuild(&held);
            repairs += 1;
            if repairs < 3 {
                continue;
            }
            return Err(host.namespace.is_damaged("its books do not agree").into());
        }
        if !key.is_private() {
            host.namespace.ensure_index(&held)?;
        }
        slots::reserve(&held, &new, after);
        let image = held.table().image(new.id as u32 % sysv::SLOTS);
        drop(held);
        // Crash here: the cell's `work` names the slot; whoever reaps the cell unlinks what there is of the file.
        let promise = shmflg & flags::SHM_NORESERVE == 0;
        let made = host.namespace.make_segment_file(&image, promise);
        let held = session.lock();
        let rival = find(&held, key);
        match (made, rival) {
            (Ok(()), None) => {
                slots::publish(&held, image.slot, process::now_secs());
                return Ok(new.id);
            }
            (Ok(()), Some(rival)) => {
                drop(held);
                let _ = host.namespace.unlink_segment_file(&image);
                slots::abandon(&session.lock(), image.slot, before, after);
                return open_existing(&rival, size, shmflg);
            }
            (Err(Obstacle::System { error, .. }), _)
                if error.0 == libc::EEXIST && collisions < 100 =>
            {
                // A file that the table does not know: not ours to touch. The next id will do.
                slots::abandon(&held, image.slot, after, after);
                collisions += 1;
            }
            (Err(obstacle), _) => {
                slots::abandon(&held, image.slot, before, after);
                if huge.is_none() {
                    return Err(obstacle.into());
                }
                let failure = super::huge::why_not_made(size, obstacle);
                if swept || !is_scarcity(&failure) {
                    return Err(failure);
                }
                drop(held);
                swept = true;
                host.namespace.reap_all(session.me);
            }
        }
    }
}

fn find(held: &Held<'_>, key: Key) -> Option<SlotImage> {
    if key.is_private() {
        None
    } else {
        index::find_locked(held, key.0)
    }
}

/// Whether a segment of `size` bytes may be made: kernel-semantics' D1 to D8, in that order. Returns the huge
/// pages that it gets, if any.
fn admit(
    held: &Held<'_>,
    size: u64,
    shmflg: i32,
    asked: &Outcome<Option<HugePages>>,
    limits: &Limits,
) -> Outcome<Option<HugePages>> {
    let namespace = held.namespace();
    rules::check_size(size, limits)?;
    rules::check_shmall(size, namespace.pages(), limits)?;
    let huge = (*asked)?;
    if huge.is_none() {
        rules::check_file_size(size)?;
        if shmflg & flags::SHM_NORESERVE == 0 {
            namespace.check_room(held, sysv::pages_of(size))?;
        }
    }
    if let Err(full) = rules::check_shmmni(namespace.segments(), limits) {
        // Huge pages are reserved by the making of the file, which it does not come to now.
        if let Some(pages) = huge {
            super::huge::check_free(pages, size, shmflg)?;
        }
        return Err(full.into());
    }
    Ok(huge)
}

fn is_scarcity(failure: &Failure) -> bool {
    matches!(
        failure.why,
        Why::Rule(
            Reason::AboveShmall { .. }
                | Reason::ShmmniReached { .. }
                | Reason::NoFreeId
                | Reason::NoHugePages { .. }
        ) | Why::Surroundings(Obstacle::NoRoom { .. })
    )
}

/// Chooses the id and writes down what the segment will be. Returns the cursor before and after, too.
fn plan(
    held: &Held<'_>,
    host: &Host,
    key: Key,
    size: u64,
    shmflg: i32,
    huge: Option<HugePages>,
) -> Outcome<(NewSegment, Cursor, Cursor)> {
    let before = slots::cursor(held);
    let cursor = IdCursor {
        next: before.next,
        last: before.last,
        seq: before.seq,
    };
    // Slots whose file is being made or unlinked at this moment are not free either; alone with itself, a process
    // finds as many as there are segments.
    let allocated = cursor.allocate(host.namespace.taken(), |from, to| {
        books::next_free_slot(held, from, to)
    });
    let (id, cursor): (ShmId, IdCursor) = allocated.ok_or(Refusal {
        errno: Errno::Enospc,
        reason: Reason::NoFreeId,
    })?;
    let after = Cursor {
        next: cursor.next,
        last: cursor.last,
        seq: cursor.seq,
    };
    let mut bits = 0;
    if let Some(pages) = huge {
        bits |= pages.size_log2 << FLAG_HUGE_SHIFT;
    }
    // The namespace's own file system promises nothing for a segment of huge pages.
    if shmflg & flags::SHM_NORESERVE != 0 || huge.is_some() {
        bits |= FLAG_NORESERVE;
    }
    if host.namespace.rounds_files() {
        bits |= FLAG_ROUNDED;
    }
    let new = NewSegment {
        id: id.raw(),
        key: key.0,
        uid: Thread.euid(),
        gid: credentials::egid(),
        mode: rules::new_mode(shmflg),
        segsz: size,
        flags: bits,
        pid: process::pid(),
    };
    Ok((new, before, after))
}
