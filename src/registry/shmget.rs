//! shmget.

use super::credentials::{Thread, is_granted_at_once};
use super::error::{Error, Outcome, Why};
use super::process::{Registry, registry, registry_for_fast_path};
use super::rules::{cursor_of, cursor_words, segment};
use super::session::Session;
use crate::os::process;
use crate::storage::table::Held;
use crate::storage::table::SlotImage;
use crate::storage::table::key_index::{self, Lookup};
use crate::storage::table::layout::{FLAG_HUGE_SHIFT, FLAG_NORESERVE, FLAG_ROUNDED, SlotState};
use crate::storage::table::parts::SLOT_PART;
use crate::storage::table::slot_life::{self, Cursor};
use crate::storage::table::{derived, grow, rebuild};
use crate::storage::{Namespace, StorageError, sentence};
use crate::sysv::{
    self, Caller, Errno, HugePages, IdCursor, Key, ShmId, flags, refusal, shmget as rules,
};

/// `shmget(2)`: the id of the segment with `key`, made if need be.
pub fn shmget(key: i32, size: u64, shmflg: i32) -> Outcome<i32> {
    let key = Key(key);
    let mut asked = Ok(None);
    let session = match open_or_enter(key, size, shmflg, &mut asked)? {
        Way::Existing(id) => return Ok(id),
        Way::Make(session) => session,
    };
    let mut creation = Creation {
        session: &session,
        namespace: &session.registry.namespace,
        key,
        size,
        shmflg,
        huge: &asked,
        swept: false,
        naps: 0,
        collisions: 0,
        repairs: 0,
    };
    creation.run()
}

/// What is to be done for a key.
enum Way {
    /// It has this segment.
    Existing(i32),
    /// One is to be made.
    Make(Session),
}

/// Opens the key's segment, or finds out whether one may be made. A function of its own, because the reasons that it may
/// return with are long, and would lie on the stack while the segment is made.
#[inline(never)]
fn open_or_enter(
    key: Key,
    size: u64,
    shmflg: i32,
    asked: &mut Outcome<Option<HugePages>>,
) -> Outcome<Way> {
    let registry = registry()?;
    // What only looks something up makes no system call, and does not find out whether the table's file has been cut.
    let makes = rules::is_no_lookup(key, shmflg);
    let blocked = if makes { Some(registry.block()?) } else { None };
    registry.enforce_forced()?;
    let mut is_new = true;
    if !key.is_private() {
        match key_index::find(registry.namespace.table(), key.0) {
            Lookup::Found(known) => {
                let mut image = SlotImage::default();
                if registry.live(ShmId::from_raw(known.id)?, &mut image)? && image.key == key.0 {
                    return open_existing(&image, size, shmflg).map(Way::Existing);
                }
                // It was removed at this moment.
                is_new = false;
            }
            Lookup::Absent => rules::missing_key(key, shmflg)?,
            Lookup::Unsure => is_new = false,
        }
    }
    *asked = super::huge_pages::ask(registry, shmflg);
    // What cannot be granted is refused before anything is needed for it: also where this process cannot be registered.
    if is_new {
        let limits = registry.limits();
        rules::check_size(size, &limits)?;
        if rules::check_shmall(size, registry.namespace.pages(), &limits).is_ok() {
            (*asked)?;
        }
    }
    let blocked = match blocked {
        Some(blocked) => blocked,
        None => registry.namespace.block()?,
    };
    registry.enter_blocked(blocked).map(Way::Make)
}

/// `shmget(2)` without a lock or a system call, of a key that has a segment, or has none and asks for none; and only when
/// everything is as usual: the namespace is open, no process changes the table at this moment, the caller's uid is known
/// and decides. `None`: ask [`shmget`], which gives a reason with each refusal.
#[inline(always)]
pub fn shmget_at_once(key: i32, size: u64, shmflg: i32) -> Option<Result<i32, Errno>> {
    let wanted = sysv::wanted_bits(shmflg);
    let registry = registry_for_fast_path()?;
    if rules::is_no_lookup(Key(key), shmflg) {
        return None;
    }
    match key_index::find_at_once(registry.namespace.table(), key, wanted != 0) {
        Lookup::Found(known) if rules::is_too_small(known.segsz, size) => None,
        Lookup::Found(known) => match known.owners {
            Some(whose) if !is_granted_at_once(whose.mode, whose.uid, whose.cuid, wanted) => None,
            _ => Some(Ok(known.id)),
        },
        Lookup::Absent => {
            let refusal = rules::missing_key(Key(key), shmflg).err()?;
            Some(Err(refusal.errno))
        }
        Lookup::Unsure => None,
    }
}

fn open_existing(image: &SlotImage, size: u64, shmflg: i32) -> Outcome<i32> {
    Ok(rules::open_existing(&segment(image), size, shmflg, &Thread)?.raw())
}

/// A segment that is to be made, and what has been tried for it.
struct Creation<'a> {
    session: &'a Session,
    namespace: &'a Namespace,
    key: Key,
    size: u64,
    shmflg: i32,
    /// What was found out about SHM_HUGETLB.
    huge: &'a Outcome<Option<HugePages>>,
    swept: bool,
    naps: u32,
    collisions: u32,
    repairs: u32,
}

impl Creation<'_> {
    #[inline(never)]
    fn run(&mut self) -> Outcome<i32> {
        loop {
            match self.attempt() {
                Ok(Some(id)) => return Ok(id),
                Ok(None) => {}
                Err(error) if self.is_scarcity(&error) && self.may_help() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn sweep(&mut self) {
        self.swept = true;
        self.namespace.reap_all(self.session.me);
    }

    /// The map of free slots says that a slot is free, and it is not: the table has been damaged.
    #[cold]
    fn repair(&mut self, held: &Held<'_>) -> Outcome<Option<i32>> {
        rebuild::rebuild(held);
        self.repairs += 1;
        if self.repairs < 3 {
            return Ok(None);
        }
        let processes = self.namespace.processes();
        Err(processes
            .is_damaged("what is derived in it does not agree")
            .into())
    }

    /// Whether the creation that was refused may succeed now: the dead have been reaped, or a creation of another process has
    /// ended, which may have failed or may have the key. Waits for that for a second at most, because that process may be
    /// stopped.
    fn may_help(&mut self) -> bool {
        const MOST_NAPS: u32 = 1000;
        const NAP_NANOS: u32 = 1_000_000;
        if !self.swept {
            self.sweep();
            return true;
        }
        let waits = self.namespace.making() != 0 && self.naps < MOST_NAPS;
        if waits {
            self.naps += 1;
            process::nap(NAP_NANOS);
        }
        waits
    }

    /// One try. `None`: what was in the way is gone, or another id will do.
    fn attempt(&mut self) -> Outcome<Option<i32>> {
        let (session, namespace) = (self.session, self.namespace);
        let held = session.lock()?;
        if let Some(image) = find(&held, self.key) {
            drop(held);
            return open_existing(&image, self.size, self.shmflg).map(Some);
        }
        rules::missing_key(self.key, self.shmflg)?;
        let huge = admit(&held, session.registry, self.size, self.shmflg, self.huge)?;
        let (new, before, after) = self.plan(&held, huge)?;
        let index = new.id as u32 % sysv::SLOTS;
        // An index that is passed over, or begins anew, may be taken by a marked segment that only the dead still have.
        let passed_over = index != before.next;
        if passed_over && !self.swept && (namespace.marked() != 0 || namespace.has_dying()) {
            drop(held);
            self.sweep();
            return Ok(None);
        }
        grow::ensure(&held, &SLOT_PART, index)?;
        if held.table().image(index).state != SlotState::Free as u32 {
            return self.repair(&held);
        }
        if !self.key.is_private() {
            key_index::make_room(&held)?;
        }
        // From here on the segment counts for the limits; `free` gives its share back.
        slot_life::reserve(&held, &new, after);
        let image = held.table().image(index);
        drop(held);
        // Crash here: the cell's `work` names the slot; the process that reaps the cell unlinks what there is of the file.
        let promise = self.shmflg & flags::SHM_NORESERVE == 0;
        let made = namespace.files().make(&image, promise);
        let held = session.lock()?;
        match (made, find(&held, self.key)) {
            (Ok(()), None) => {
                slot_life::publish(&held, index, process::now_secs());
                Ok(Some(new.id))
            }
            (Ok(()), Some(rival)) => {
                drop(held);
                let _ = namespace.files().unlink(&image);
                slot_life::free(&session.lock()?, index, Some((before, after)));
                open_existing(&rival, self.size, self.shmflg).map(Some)
            }
            (Err(StorageError::System { error: cause, .. }), _)
                if cause.0 == libc::EEXIST && self.collisions < 100 =>
            {
                // A file that the table does not know: not ours to touch. The next id will do.
                slot_life::free(&held, index, None);
                self.collisions += 1;
                Ok(None)
            }
            (Err(error), _) => {
                slot_life::free(&held, index, Some((before, after)));
                Err(match huge {
                    None => error.into(),
                    Some(_) => super::huge_pages::why_not_made(self.size, error),
                })
            }
        }
    }

    /// Whether something is used up: a limit of the namespace, the huge pages that the caller may have, or the file system.
    fn is_scarcity(&self, error: &Error) -> bool {
        match error.why {
            Why::Rule(_) => {
                let has_huge_pages = matches!(self.huge, Ok(Some(_)));
                error.errno == Errno::Enospc.raw()
                    || error.errno == Errno::Enomem.raw() && has_huge_pages
            }
            Why::Surroundings(StorageError::Refused(refused)) => {
                refused.sentence == sentence::NO_ROOM
            }
            Why::Surroundings(_) | Why::Blocked(_) => false,
        }
    }

    /// Chooses the id and writes down what the segment will be. Returns the cursor before and after, too.
    fn plan(
        &self,
        held: &Held<'_>,
        huge: Option<HugePages>,
    ) -> Outcome<(SlotImage, Cursor, Cursor)> {
        let shmflg = self.shmflg;
        let before = slot_life::cursor(held);
        let cursor = cursor_of(before);
        // Slots whose file is being made or unlinked at this moment are not free either; alone with itself, a process
        // finds as many as there are segments.
        let allocated = cursor.allocate(self.namespace.taken(), |from, to| {
            derived::next_free_slot(held, from, to)
        });
        let (id, cursor): (ShmId, IdCursor) =
            allocated.ok_or_else(|| refusal!(Enospc, [], "every identifier is taken"))?;
        let after = cursor_words(cursor);
        let mut bits = 0;
        if let Some(pages) = huge {
            bits |= pages.size_log2 << FLAG_HUGE_SHIFT;
        }
        // The namespace's own file system promises nothing for a segment of huge pages.
        if shmflg & flags::SHM_NORESERVE != 0 || huge.is_some() {
            bits |= FLAG_NORESERVE;
        }
        if self.namespace.rounds_files() {
            bits |= FLAG_ROUNDED;
        }
        let (uid, gid) = (Thread.euid(), process::egid());
        let new = SlotImage {
            id: id.raw(),
            key: self.key.0,
            name_key: self.key.0,
            uid,
            gid,
            cuid: uid,
            cgid: gid,
            mode: sysv::new_mode(shmflg),
            segsz: self.size,
            flags: bits,
            cpid: self.session.registry.local.pid(),
            ..SlotImage::default()
        };
        Ok((new, before, after))
    }
}

fn find(held: &Held<'_>, key: Key) -> Option<SlotImage> {
    if key.is_private() {
        None
    } else {
        key_index::find_locked(held, key.0)
    }
}

/// Whether a segment of `size` bytes may be made: kernel-semantics' D1 to D8, in that order. `huge` is what was found out
/// about SHM_HUGETLB. Returns the huge pages that it gets, if any.
pub(super) fn admit(
    held: &Held<'_>,
    registry: &Registry,
    size: u64,
    shmflg: i32,
    huge: &Outcome<Option<HugePages>>,
) -> Outcome<Option<HugePages>> {
    let (namespace, limits) = (&registry.namespace, &registry.limits());
    rules::check_size(size, limits)?;
    let pages = namespace.pages().saturating_add(namespace.making_pages());
    rules::check_shmall(size, pages, limits)?;
    let huge = (*huge)?;
    if huge.is_none() {
        rules::check_file_size(size)?;
        if shmflg & flags::SHM_NORESERVE == 0 {
            namespace.files().check_room(held, sysv::pages_of(size))?;
        }
    }
    let segments = namespace.segments().saturating_add(namespace.making());
    if let Err(full) = rules::check_shmmni(segments, limits) {
        // Huge pages are reserved by the making of the file, which it does not come to now.
        if let Some(pages) = huge {
            super::huge_pages::check_free(pages, size, shmflg)?;
        }
        return Err(full.into());
    }
    Ok(huge)
}
