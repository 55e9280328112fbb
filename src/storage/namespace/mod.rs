//! An IPC namespace: the open table of one runtime directory, its processes and its segment files.
//!
//! What the processes have done to each other and to the files is made up for here: the dead are reaped, their files
//! unlinked, and what was removed from under a namespace in use is ended, as when systemd-logind removes all that a user has
//! in `/dev/shm` at the end of the last session (`RemoveIPC=yes`). The directories are made again by the next process that
//! may; a segment whose file is gone counts as removed by its owner: its key is free, no process attaches it any more, and
//! those that have it attached keep it.

mod audit;
mod create;
mod mend;
mod recover;
mod rules;
mod view;
mod whole;

pub use rules::{LimitWords, Rules};
pub use view::{Member, Reading, View};
pub use whole::{Builder, Whole};

use super::error::Stored;
use super::process::{Processes, has_ended};
use super::runtime_dir::{RuntimeDir, Scope};
use super::segment_file::{Files, Homes};
use super::table::events::{self, About, What};
use super::table::layout::{
    self, CellState, FLAG_RIGHTS, FLAG_UNLINKED, MODE_MARKED, cell, header,
};
use super::table::{Held, Identity, Journal, SlotImage, Table, slot_life};
use crate::os::signal_mask::Blocked;
use crate::os::{credentials, served};

/// One runtime directory, opened.
pub struct Namespace {
    processes: Processes,
    homes: Homes,
    rules: Rules,
    rounds_files: bool,
}

impl Namespace {
    /// A namespace whose table is mapped and found good.
    pub(super) fn new(
        table: Table,
        directory: RuntimeDir,
        rounds_files: bool,
        rules: &Rules,
    ) -> Namespace {
        Namespace {
            processes: Processes::new(table, directory, rules.is_destroyed),
            homes: Homes::default(),
            rules: *rules,
            rounds_files,
        }
    }

    /// The model's: a namespace over words that are there already, without a directory.
    #[cfg(shmshim_model)]
    pub fn over(map: super::table::TableMap) -> Namespace {
        let rules = Rules {
            limits: LimitWords {
                shmmax: 0,
                shmall: 0,
                shmmni: 0,
                rmid_forced: 0,
            },
            ipc_limits: super::ipc::FirstLimits {
                sem: [0; 4],
                msg: [0; 3],
            },
            fresh_cursor: |_| slot_life::Cursor {
                next: 0,
                last: -1,
                seq: 0,
            },
            is_destroyed: |marked, nattch, forced| nattch == 0 && (marked || forced),
            may_unlink: |_, _, _, _| true,
        };
        Namespace::new(Table::new(map), RuntimeDir::nowhere(), false, &rules)
    }

    /// The table.
    #[inline(always)]
    pub fn table(&self) -> &Table {
        self.processes.table()
    }

    /// The runtime directory.
    #[inline]
    pub fn directory(&self) -> &RuntimeDir {
        self.processes.directory()
    }

    /// The processes.
    #[inline(always)]
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// The segment files.
    #[inline]
    pub fn files(&self) -> Files<'_> {
        Files::new(self.directory(), &self.homes)
    }

    /// Whether files are made page-rounded, because their file system drops what stands behind a file's end.
    pub fn rounds_files(&self) -> bool {
        self.rounds_files
    }

    /// Blocks all signals and sees that the table is all there: see [`Processes::block`].
    pub fn block(&self) -> Stored<Blocked> {
        self.processes.block()
    }

    /// Takes the in-table lock. Signals are blocked and the in-process lock is held.
    pub fn lock(&self, me: Identity) -> Stored<Held<'_>> {
        let held = self.processes.lock(me)?;
        if served::client().is_some() && !self.is_in_its_cell(me) {
            return Err(has_ended());
        }
        Ok(held)
    }

    /// Whether the process of `me` has not been reaped, with the lock held. A client can die while it is served; then another
    /// process may have its cell by now, and the lock, taken in the dead process's name, is free to others.
    fn is_in_its_cell(&self, me: Identity) -> bool {
        let (state, generation) = self.table().cell_state(me.cell());
        state != CellState::Free as u32 && generation == me.generation()
    }

    /// Whether the lock is free at this moment.
    #[inline]
    pub fn is_unlocked(&self) -> bool {
        self.table().get32(header!(lock)) == 0
    }

    /// The limits.
    pub fn limit_words(&self) -> LimitWords {
        LimitWords {
            shmmax: self.table().get64(header!(shmmax)),
            shmall: self.table().get64(header!(shmall)),
            shmmni: self.table().get32(header!(shmmni)),
            rmid_forced: self.table().get32(header!(rmid_forced)),
        }
    }

    /// Sets the limits.
    pub fn set_limit_words(&self, held: &Held<'_>, words: LimitWords) {
        let before = self.limit_words();
        let mut journal = Journal::begin(held);
        journal.put64(header!(shmmax), words.shmmax);
        journal.put64(header!(shmall), words.shmall);
        journal.put32(header!(shmmni), words.shmmni);
        journal.put32(header!(rmid_forced), words.rmid_forced);
        journal.commit();
        let numbered = (0..).zip(words.in_order().into_iter().zip(before.in_order()));
        for (id, (value, _)) in numbered.filter(|(_, (new, old))| new != old) {
            let what = What::LimitSet;
            let (key, other) = (0, 0);
            let about = About {
                what,
                id,
                key,
                value,
                other,
            };
            events::note(held, &about);
        }
    }

    /// Whether shm_rmid_forced is set.
    #[inline]
    pub fn is_rmid_forced(&self) -> bool {
        self.table().get32(header!(rmid_forced)) != 0
    }

    /// Live segments.
    pub fn segments(&self) -> u32 {
        self.table().get32(header!(in_use))
    }

    /// Slots that are not free.
    pub fn taken(&self) -> u32 {
        self.table().get32(header!(taken))
    }

    /// Segments whose files are being made.
    pub fn making(&self) -> u32 {
        self.table().get32(header!(making))
    }

    /// Pages of those.
    pub fn making_pages(&self) -> u64 {
        self.table().get64(header!(making_pages))
    }

    /// Live segments that are marked for destruction.
    pub fn marked(&self) -> u32 {
        self.table().get32(header!(marked))
    }

    /// Pages of all live segments.
    pub fn pages(&self) -> u64 {
        self.table().get64(header!(pages))
    }

    /// Whether files await unlinking.
    pub fn has_dying(&self) -> bool {
        self.table().get32(header!(dying)) != 0
    }

    /// Probes two cells in use, in turn, and reaps the dead: each process that comes does it once, so that the dead do
    /// not pile up. `child`: one that is being forked.
    #[inline(never)]
    pub fn tidy(&self, me: Identity, child: Option<Identity>) {
        let ready = self.table().cells_ready();
        let mut probes = 0;
        for _ in 0..ready {
            let hand = self.table().get32(header!(cell_hand)) % ready.max(1);
            let next = (hand + 1) % ready.max(1);
            self.table().set32(header!(cell_hand), next);
            let free = self.table().get32(cell!(hand, state)) == CellState::Free as u32;
            let known = hand == me.cell() || child.is_some_and(|child| hand == child.cell());
            if free || known {
                continue;
            }
            self.processes.reap_if_dead(me, hand);
            probes += 1;
            if probes == 2 {
                break;
            }
        }
        if self.directory().take_lost_files() {
            self.end_lost_segments(me);
        }
        self.sweep(me);
    }

    /// Probes all other processes and reaps the dead; tries again what could not be unlinked.
    pub fn reap_all(&self, me: Identity) {
        for cell in 0..self.table().cells_ready() {
            self.processes.reap_if_dead(me, cell);
        }
        if self.table().get32(header!(dying)) != 0 {
            let Ok(held) = self.lock(me) else { return };
            slot_life::list_stuck_again(&held, |cuid| self.may_unlink(cuid));
        }
        self.sweep(me);
    }

    /// Unlinks the files of all dying segments that this process may unlink. The lock must not be held.
    pub fn sweep(&self, me: Identity) {
        for _ in 0..layout::SLOTS {
            if self.table().get32(header!(dying_head)) == 0 {
                return;
            }
            let Ok(held) = self.lock(me) else { return };
            let Some(image) = slot_life::claim_dying(&held, |cuid| self.may_unlink(cuid)) else {
                return;
            };
            drop(held);
            self.unlink_claimed(me, &image);
        }
    }

    /// Whether this process may unlink the files of that creator.
    fn may_unlink(&self, cuid: u32) -> bool {
        let directory = self.directory();
        let is_shared = directory.scope() == Scope::System;
        (self.rules.may_unlink)(credentials::euid(), cuid, directory.owner(), is_shared)
    }

    /// Unlinks the file of a segment that this process has claimed, and frees its slot. The lock must not be held.
    pub fn unlink_claimed(&self, me: Identity, image: &SlotImage) {
        // Crash here: the cell's `work` names the slot; reaping the cell puts it on the list of dying ones.
        let unlinked = self.files().unlink(image);
        let Ok(held) = self.lock(me) else { return };
        match unlinked {
            Ok(()) => slot_life::free(&held, image.slot, None),
            Err(_) => slot_life::give_up(&held, image.slot),
        }
    }

    /// Ends the segments whose files went with the directory that they lay in. The lock must not be held.
    #[cold]
    #[inline(never)]
    pub(super) fn end_lost_segments(&self, me: Identity) {
        for slot in 0..self.table().slots_ready() {
            if let Some(image) = self.table().snapshot(slot).filter(SlotImage::is_live) {
                self.end_if_lost(me, slot, image.id);
            }
        }
    }

    /// Whether segment `id` in `slot` has lost its file; then it is ended. The lock must not be held.
    #[cold]
    #[inline(never)]
    pub fn end_if_lost(&self, me: Identity, slot: u32, id: i32) -> bool {
        let Ok(held) = self.lock(me) else {
            return false;
        };
        let image = held.table().image(slot);
        let is_there = image.is_live() && image.id == id && image.flags & FLAG_UNLINKED == 0;
        if !is_there || !self.files().is_lost(&image) {
            return false;
        }
        if image.nattch == 0 {
            slot_life::destroy(&held, image.slot, slot_life::Last::Claim, What::FileLost);
            drop(held);
            self.unlink_claimed(me, &image);
            return true;
        }
        // Crash here, between the two: the next attach does what is left to do.
        if image.mode & MODE_MARKED == 0 {
            slot_life::mark(&held, slot, What::FileLost);
        }
        slot_life::update(&held, slot, |image| {
            image.flags = image.flags & !FLAG_RIGHTS | FLAG_UNLINKED;
        });
        true
    }

    /// Memory that a segment really takes, in bytes.
    pub fn resident_bytes(&self, image: &SlotImage) -> u64 {
        match self.table().is_untouched(image.slot) {
            true => 0,
            false => self.files().resident_bytes(image),
        }
    }
}
