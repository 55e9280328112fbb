//! An IPC namespace: the open table of one runtime directory.

use super::books;
use super::directory::{Place, Scope};
use super::layout::{self, cell, header, record, slot};
use super::live::{self, Identity};
use super::lock::{self, Held};
use super::obstacle::{Obstacle, Stored};
use super::slots::{self, Cursor};
use super::table::{Journal, SlotImage, Table, TableMap};
use crate::os::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::os::credentials;
use crate::os::file::Status;
use crate::os::path::Path;
use crate::os::signal_mask::Blocked;

/// The limits, as the header holds them. What they mean is the rules' business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of layout::Header")]
pub struct LimitWords {
    pub shmmax: u64,
    pub shmall: u64,
    pub shmmni: u32,
    pub rmid_forced: u32,
}

/// What the rules say of what storage does by itself.
#[derive(Clone, Copy)]
pub struct Rules {
    /// The limits that a new namespace begins with.
    pub limits: LimitWords,
    /// Where a new namespace begins to hand out ids, for a number that no other has.
    pub fresh_cursor: fn(seed: u64) -> Cursor,
    /// Whether a segment is destroyed that so many attaches are left of.
    pub is_destroyed: fn(marked: bool, nattch: u64, rmid_forced: bool) -> bool,
    /// Whether a process may unlink the files of a creator in a directory.
    pub may_unlink: fn(&Unlinking) -> bool,
}

/// Who is to unlink whose file, and where.
#[derive(Clone, Copy, Debug)]
pub struct Unlinking {
    /// The effective uid of the process.
    pub euid: u32,
    /// The file's creator.
    pub cuid: u32,
    /// Whose the directory is.
    pub directory_owner: u32,
    /// Whether others than its owner may make files in the directory, so that it is sticky.
    pub is_shared: bool,
}

/// One runtime directory, opened.
pub struct Namespace {
    table: Table,
    directory: Path,
    /// Where the files of ordinary segments lie.
    segments: Path,
    scope: Scope,
    opened_by: u32,
    /// Whose the directory is, and so the table.
    pub(super) owner: u32,
    /// Device and inode of the directory.
    pub(super) directory_file: (u64, u64),
    /// The table's name in the directory.
    pub(super) table_name: &'static [u8],
    /// Device and inode of the table.
    pub(super) table_file: (u64, u64),
    /// When it was last seen at its place, in nanoseconds of the coarse clock.
    pub(super) seen_in_place: AtomicU64,
    rounds_files: bool,
    /// Not 0: files of segments were found to be gone; the table is to learn which.
    lost_files: AtomicU32,
    rules: Rules,
    /// The parent's packed identity while it prepares a child's cell, else 0.
    preparing: AtomicU32,
    /// See [`Namespace::has_unfinished`].
    unfinished: AtomicU32,
}

impl Namespace {
    /// A namespace whose table is mapped and found good.
    pub(super) fn new(
        place: &Place,
        table_name: &'static [u8],
        map: TableMap,
        table: &Status,
        directory: &Status,
        rounds_files: bool,
        rules: &Rules,
    ) -> Namespace {
        Namespace {
            table: Table::new(map),
            directory: place.directory,
            segments: place.inside(b"segments"),
            scope: place.scope,
            opened_by: place.euid,
            table_name,
            table_file: table.identity(),
            owner: table.uid,
            directory_file: directory.identity(),
            seen_in_place: AtomicU64::new(0),
            rounds_files,
            lost_files: AtomicU32::new(0),
            rules: *rules,
            preparing: AtomicU32::new(0),
            unfinished: AtomicU32::new(0),
        }
    }

    /// The model's: a namespace over words that are there already, without a directory.
    #[cfg(shmshim_model)]
    pub fn over(map: TableMap) -> Namespace {
        let nowhere = Path::from_bytes(b"/nowhere").unwrap_or_default();
        Namespace {
            table: Table::new(map),
            directory: nowhere,
            segments: nowhere,
            scope: Scope::User,
            opened_by: crate::os::process::euid(),
            table_name: b"registry",
            table_file: (0, 0),
            owner: crate::os::process::euid(),
            directory_file: (0, 0),
            seen_in_place: AtomicU64::new(0),
            rounds_files: false,
            lost_files: AtomicU32::new(0),
            rules: Rules {
                limits: LimitWords {
                    shmmax: 0,
                    shmall: 0,
                    shmmni: 0,
                    rmid_forced: 0,
                },
                fresh_cursor: |_| Cursor {
                    next: 0,
                    last: -1,
                    seq: 0,
                },
                is_destroyed: |marked, nattch, forced| nattch == 0 && (marked || forced),
                may_unlink: |_| true,
            },
            preparing: AtomicU32::new(0),
            unfinished: AtomicU32::new(0),
        }
    }

    /// The table.
    #[inline]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The runtime directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the files of ordinary segments lie.
    pub(super) fn segments_directory(&self) -> &Path {
        &self.segments
    }

    /// For whom it is.
    #[inline]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The effective uid that opened it.
    pub fn opened_by(&self) -> u32 {
        self.opened_by
    }

    /// Whether files are made page-rounded, because their file system drops what stands behind a file's end.
    pub fn rounds_files(&self) -> bool {
        self.rounds_files
    }

    /// The path of `name` in the runtime directory.
    pub(super) fn inside(&self, name: &[u8]) -> Path {
        // `Place::choose` has made sure of the room.
        self.directory.join(name).unwrap_or(self.directory)
    }

    /// Says whether files of segments may be gone that the table still knows.
    pub(super) fn has_lost_files(&self, lost: bool) {
        self.lost_files.store(u32::from(lost), Ordering::Relaxed);
    }

    /// Whether that was said, once.
    pub(super) fn take_lost_files(&self) -> bool {
        self.lost_files.swap(0, Ordering::Relaxed) != 0
    }

    /// Blocks all signals before the table is used, and sees that it is all there. A table that somebody has cut would raise
    /// SIGBUS in the host; this way it is a refusal. Calls that make no system call do not find out.
    pub fn block(&self) -> Stored<Blocked> {
        let every = self.table.word64(layout::LAST_PAGE);
        Blocked::all_if_there(every).ok_or_else(|| self.was_cut())
    }

    #[cold]
    fn was_cut(&self) -> Obstacle {
        self.is_damaged("it was truncated while in use")
    }

    /// Takes the in-table lock. Signals are blocked and the in-process lock is held.
    pub fn lock(&self, me: Identity) -> Stored<Held<'_>> {
        lock::lock(self, me)
    }

    /// Whether nobody has that lock at this moment.
    #[inline]
    pub fn is_unlocked(&self) -> bool {
        self.table.get32(header!(lock)) == 0
    }

    /// Why taking that lock would last long, if it would: see [`lock::keeper`].
    #[inline]
    pub fn keeper(&self, me: Option<Identity>) -> Option<Obstacle> {
        lock::keeper(self, me)
    }

    #[cold]
    pub(super) fn is_kept_by(&self, owner: Identity) -> Obstacle {
        Obstacle::Kept {
            path: self.inside(self.table_name),
            cell: owner.cell(),
            pid: self.pid_of(owner.cell()).unwrap_or(0),
        }
    }

    /// Whether this process could not enter into the table what it has done: to be made up for.
    #[inline]
    pub fn has_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) != 0
    }

    /// Says so.
    pub fn note_unfinished(&self) {
        self.unfinished.store(1, Ordering::Relaxed);
    }

    /// It has been made up for, as far as a making or unlinking goes; what this process has attached is to be counted anew.
    pub fn forget_unfinished(&self, held: &Held<'_>) {
        self.unfinished.store(0, Ordering::Relaxed);
        live::list_unfinished(held, held.me().cell());
    }

    /// Says in whose name the lock is taken while a child's cell is prepared.
    pub fn set_forking_parent(&self, parent: Option<Identity>) {
        self.preparing
            .store(parent.map_or(0, Identity::packed), Ordering::Relaxed);
    }

    pub(super) fn forking_parent(&self) -> Option<Identity> {
        match self.preparing.load(Ordering::Relaxed) {
            0 => None,
            packed => Some(Identity::from_packed(packed)),
        }
    }

    /// The limits.
    pub fn limit_words(&self) -> LimitWords {
        LimitWords {
            shmmax: self.table.get64(header!(shmmax)),
            shmall: self.table.get64(header!(shmall)),
            shmmni: self.table.get32(header!(shmmni)),
            rmid_forced: self.table.get32(header!(rmid_forced)),
        }
    }

    /// Sets the limits.
    pub fn set_limit_words(&self, held: &Held<'_>, words: LimitWords) {
        let mut journal = Journal::begin(held);
        journal.put64(header!(shmmax), words.shmmax);
        journal.put64(header!(shmall), words.shmall);
        journal.put32(header!(shmmni), words.shmmni);
        journal.put32(header!(rmid_forced), words.rmid_forced);
        journal.commit();
    }

    /// Whether shm_rmid_forced is set.
    #[inline]
    pub fn is_rmid_forced(&self) -> bool {
        self.table.get32(header!(rmid_forced)) != 0
    }

    /// Live segments.
    pub fn segments(&self) -> u32 {
        self.table.get32(header!(in_use))
    }

    /// Slots that are not free.
    pub fn taken(&self) -> u32 {
        self.table.get32(header!(taken))
    }

    /// Segments whose files are being made.
    pub fn making(&self) -> u32 {
        self.table.get32(header!(making))
    }

    /// Pages of those.
    pub fn making_pages(&self) -> u64 {
        self.table.get64(header!(making_pages))
    }

    /// Live segments that are marked for destruction.
    pub fn marked(&self) -> u32 {
        self.table.get32(header!(marked))
    }

    /// Pages of all live segments.
    pub fn pages(&self) -> u64 {
        self.table.get64(header!(pages))
    }

    /// Whether files await unlinking.
    pub fn has_dying(&self) -> bool {
        self.table.get32(header!(dying)) != 0
    }

    /// State and generation of a cell.
    pub fn cell_state(&self, cell: u32) -> (u32, u32) {
        if cell >= self.table.cells_ready() {
            return (0, 0);
        }
        (
            self.table.get32(cell!(cell, state)),
            self.table.get32(cell!(cell, generation)),
        )
    }

    /// Whether the process of this identity has lost its cell to another, which takes its death.
    pub fn is_replaced(&self, identity: Identity) -> bool {
        let cell = identity.cell();
        cell < self.table.cells_ready()
            && self.table.get32(cell!(cell, generation)) != identity.generation()
    }

    /// Number of attaches of a slot, and the cell + 1 of the process that has all of them, if one has; a hint.
    pub fn attached_by(&self, slot: u32) -> (u32, u32) {
        if slot >= self.table.slots_ready() {
            return (0, 0);
        }
        (
            self.table.get32(slot!(slot, nattch)),
            self.table.get32(slot!(slot, sole_cell)),
        )
    }

    /// The process id in a cell that is in use.
    pub fn pid_of(&self, cell: u32) -> Option<i32> {
        let (state, _) = self.cell_state(cell);
        (state == layout::CellState::Live as u32).then(|| self.table.get32(cell!(cell, pid)) as i32)
    }

    /// The cells that are not free.
    pub fn cells_in_use(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.table.cells_ready())
            .filter(|&cell| self.table.get32(cell!(cell, state)) != layout::CellState::Free as u32)
    }

    /// Walks along the list of those who have segment `slot` attached, without a lock: skips `skip` of them and
    /// fills `out` with the cells of the next. Returns how many. `None`: the list changed under the walk.
    pub fn attachers(&self, slot: u32, skip: u32, out: &mut [u32]) -> Option<usize> {
        if slot >= self.table.slots_ready() {
            return Some(0);
        }
        let version = self.table.get32(slot!(slot, version));
        if version & 1 != 0 {
            return None;
        }
        let mut link = self.table.get32(slot!(slot, first_record));
        let mut found = 0;
        // Each process is in the list once, so that a longer one leads back into itself.
        for step in 0..layout::CELLS + out.len() as u32 {
            let Some(index) = books::in_range(link, &self.table) else {
                break;
            };
            if step >= skip {
                let Some(place) = out.get_mut(found) else {
                    break;
                };
                *place = self.table.get32(record!(index, cell)).wrapping_sub(1);
                found += 1;
            }
            link = self.table.get32(record!(index, next_of_segment));
        }
        fence(Ordering::Acquire);
        (self.table.get32(slot!(slot, version)) == version).then_some(found)
    }

    /// That the table is damaged in a way that cannot be repaired from what it says itself.
    #[cold]
    #[inline(never)]
    pub fn is_damaged(&self, what: &'static str) -> Obstacle {
        Obstacle::Damaged {
            path: self.inside(self.table_name),
            what,
        }
    }

    /// Unlinks the files of all dying segments that this process may unlink. The lock must not be held.
    pub fn sweep(&self, me: Identity) {
        for _ in 0..layout::SLOTS {
            if self.table.get32(header!(dying_head)) == 0 {
                return;
            }
            let Ok(held) = self.lock(me) else { return };
            let Some(image) = slots::claim_dying(&held, |cuid| self.may_unlink(cuid)) else {
                return;
            };
            drop(held);
            self.unlink_claimed(me, &image);
        }
    }

    /// Whether this process may unlink the files of that creator.
    fn may_unlink(&self, cuid: u32) -> bool {
        (self.rules.may_unlink)(&Unlinking {
            euid: credentials::euid(),
            cuid,
            directory_owner: self.owner,
            is_shared: self.scope == Scope::System,
        })
    }

    /// Whether a segment with this mode is destroyed that `nattch` attaches are left of.
    pub(super) fn is_destroyed(&self, mode: u32, nattch: u32) -> bool {
        let marked = mode & layout::MODE_MARKED != 0;
        (self.rules.is_destroyed)(marked, nattch.into(), self.is_rmid_forced())
    }

    /// Unlinks the file of a segment that this process has claimed, and frees its slot. The lock must not be held.
    pub fn unlink_claimed(&self, me: Identity, image: &SlotImage) {
        // Crash here: the cell's `work` names the slot; whoever reaps the cell puts it on the list of dying ones.
        let unlinked = self.unlink_segment_file(image);
        let Ok(held) = self.lock(me) else { return };
        match unlinked {
            Ok(()) => slots::bury(&held, image.slot),
            Err(_) => slots::give_up(&held, image.slot),
        }
    }

    /// Looks at all other processes and drops what the dead ones had; tries again what could not be unlinked.
    pub fn reap_all(&self, me: Identity) {
        for cell in 0..self.table.cells_ready() {
            if cell != me.cell() {
                self.reap_if_dead(me, cell);
            }
        }
        if self.table.get32(header!(dying)) != 0 {
            let Ok(held) = self.lock(me) else { return };
            slots::list_stuck_again(&held, |cuid| self.may_unlink(cuid));
        }
        self.sweep(me);
    }

    /// Looks at the process of `cell` and reaps it if it is dead. Returns whether it was.
    pub fn reap_if_dead(&self, me: Identity, cell: u32) -> bool {
        if cell == me.cell() || cell >= self.table.cells_ready() {
            return false;
        }
        let generation = self.table.get32(cell!(cell, generation));
        if self.table.get32(cell!(cell, state)) == layout::CellState::Free as u32
            || !self.probe(cell).is_dead()
        {
            return false;
        }
        let Ok(held) = self.lock(me) else {
            return false;
        };
        // Between the look and the lock the cell may have got a new process.
        let same = self.table.get32(cell!(cell, generation)) == generation
            && self.table.get32(cell!(cell, state)) != layout::CellState::Free as u32;
        if same {
            live::reap(&held, cell);
        }
        same
    }
}
