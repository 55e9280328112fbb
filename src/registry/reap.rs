//! Reaping: attaches of dead processes are dropped from the table.
//!
//! A process that dies tells no other. So a call that needs a segment's nattch first probes the processes that it counts, and
//! drops what dead ones had. The count is then what the kernel's would be.

use super::error::Outcome;
use super::process::{Local, Registry};
use super::session::Session;
use crate::os::process;
use crate::os::process_lock::Guard;
use crate::os::signal_mask::Blocked;
use crate::storage::runtime_dir::Scope;
use crate::storage::table::SlotImage;
use crate::storage::table::events::What;
use crate::storage::table::layout::{self, CellState, FLAG_RIGHTS};
use crate::storage::table::{derived, rebuild, slot_life};
use crate::sysv;

/// How many processes are probed between two walks along a segment's list.
const BATCH: usize = 16;
/// How often a list may change under a walk before the walk goes on without it.
const MANY: u32 = 10_000;

impl Registry {
    /// Reads the segment that `find` finds into `image`, with no dead process counted in it.
    #[inline]
    pub fn find_reaped(
        &'static self,
        image: &mut SlotImage,
        find: impl Fn(&mut SlotImage) -> Outcome<()>,
    ) -> Outcome<()> {
        find(image)?;
        // One round will do, unless others attach and detach all the time: then the count of any moment is right.
        for _ in 0..20 {
            if image.nattch == 0 || !self.reap_attachers(image)? {
                break;
            }
            find(image)?;
        }
        if image.flags & FLAG_RIGHTS != 0 {
            self.set_overdue_rights(image)?;
        }
        Ok(())
    }

    /// Gives a segment's file the rights that the table has for it, if this process may: the one that changed the table was not
    /// allowed to, or died in between.
    #[cold]
    fn set_overdue_rights(&'static self, image: &SlotImage) -> Outcome<()> {
        if self.may_set_rights(image) {
            // Where the table's lock cannot be had, the flag stays, and a later call finds it.
            self.enter()?.set_rights_of_file(image);
        }
        Ok(())
    }

    /// In system scope every user can write the table, so no file is opened to others because of it.
    fn may_set_rights(&self, image: &SlotImage) -> bool {
        let euid = process::euid();
        let trusted = self.namespace.directory().scope() == Scope::User;
        trusted && (euid == image.cuid || euid == 0)
    }

    /// Reaps the dead processes that have `image` attached. Returns whether the segment has changed meanwhile, so that the
    /// slot must be read again.
    pub fn reap_attachers(&'static self, image: &SlotImage) -> Outcome<bool> {
        if image.nattch == 0 {
            return Ok(false);
        }
        let me = self.me().map(|me| me.cell());
        if me.is_some_and(|me| image.sole_cell == me + 1) {
            return Ok(false);
        }
        let mut blocked = Some(Blocked::all());
        let mut session = None;
        let mut reaped = false;
        let mut alive = 0;
        let mut restarts = 0;
        loop {
            let mut batch = [0u32; BATCH];
            let Some(count) = self
                .namespace
                .table()
                .attachers(image.slot, alive, &mut batch)
            else {
                // Another process attaches or detaches at this moment. Begun anew, the walk finds all that died before it.
                restarts += 1;
                if restarts > MANY {
                    break;
                }
                continue;
            };
            for &cell in batch.get(..count).unwrap_or(&[]) {
                let dead = Some(cell) != me && self.is_dead(cell, session.as_ref());
                if dead {
                    let session = match &session {
                        Some(session) => session,
                        None => {
                            // Registering may itself take over a dead one's cell and reap it.
                            reaped = true;
                            session.insert(self.enter_from(blocked.take())?)
                        }
                    };
                    // Reaped processes leave the list; the living stay in front of those that are not probed yet.
                    reaped |= self.namespace.processes().reap_if_dead(session.me, cell);
                } else {
                    alive += 1;
                }
            }
            if count < BATCH {
                break;
            }
            if alive > layout::CELLS {
                // More than there can be: the list has been damaged and leads back into itself.
                let session = match &session {
                    Some(session) => session,
                    None => session.insert(self.enter_from(blocked.take())?),
                };
                rebuild::rebuild(&session.lock()?);
                reaped = true;
                break;
            }
        }
        if let Some(session) = session {
            session.sweep();
        }
        // Another process may have reaped a dead one whose cell then got a new process, which is alive.
        Ok(reaped || self.namespace.table().snapshot(image.slot) != Some(*image))
    }

    /// Before this process stamps a segment: reaps its attachers if the pid of one of the first few is gone, so that the stamp
    /// of its end does not come after this one. Certainty would cost a liveness probe for each attacher.
    pub fn reap_lost_attachers(&'static self, slot: u32) -> Outcome<()> {
        if self.has_lost_attachers(slot) {
            if let Some(image) = self.namespace.table().snapshot(slot) {
                self.reap_attachers(&image)?;
            }
        }
        Ok(())
    }

    /// Whether the pid of one of the first few attachers is gone.
    pub fn has_lost_attachers(&self, slot: u32) -> bool {
        const FEW: usize = 8;
        let me = self.me().map(|me| me.cell());
        let (nattch, sole_cell) = self.namespace.table().attached_by(slot);
        if nattch == 0 || me.is_some_and(|me| sole_cell == me + 1) {
            return false;
        }
        let mut cells = [0u32; FEW];
        let count = self
            .namespace
            .table()
            .attachers(slot, 0, &mut cells)
            .unwrap_or(0);
        cells.get(..count).unwrap_or(&[]).iter().any(|&cell| {
            let pid = self
                .namespace
                .table()
                .pid_of(cell)
                .filter(|_| Some(cell) != me);
            pid.is_some_and(|pid| !process::exists(pid))
        })
    }

    /// Probes all processes of the namespace and reaps the dead ones.
    pub fn reap_all(&'static self) -> Outcome<()> {
        let blocked = Blocked::all();
        let me = self.me().map(|me| me.cell());
        let some_dead = self
            .namespace
            .table()
            .cells_in_use()
            .any(|cell| Some(cell) != me && self.is_dead(cell, None));
        if some_dead || self.namespace.has_dying() {
            match self.enter_from(Some(blocked)) {
                Ok(session) => self.namespace.reap_all(session.me),
                // Files that await unlinking count for nothing, and are left to a process that can be registered.
                Err(error) if some_dead => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// With shm_rmid_forced, destroys the segments that no process has attached and whose creator is gone.
    #[inline]
    pub fn enforce_forced(&'static self) -> Outcome<()> {
        if self.namespace.is_rmid_forced() {
            self.drop_orphans()
        } else {
            Ok(())
        }
    }

    #[cold]
    fn drop_orphans(&'static self) -> Outcome<()> {
        self.reap_all()?;
        let mut blocked = Some(Blocked::all());
        let table = self.namespace.table();
        let mut session: Option<Session> = None;
        let mut at = 0;
        while let Some(slot) = derived::next_taken_slot(table, at) {
            at = slot + 1;
            let Some(image) = table.snapshot(slot) else {
                continue;
            };
            if !image.is_live()
                || !sysv::must_destroy_orphan(
                    u64::from(image.nattch),
                    self.namespace.is_rmid_forced(),
                    self.creator_is_alive(&image, session.as_ref()),
                )
            {
                continue;
            }
            let session = match &mut session {
                Some(session) => session,
                None => session.insert(self.enter_from(blocked.take())?),
            };
            let held = session.lock()?;
            if held.table().image(slot) == image {
                slot_life::destroy(&held, slot, slot_life::Last::List, What::FreedAsOrphan);
            }
        }
        if let Some(session) = session {
            session.sweep();
        }
        Ok(())
    }

    fn creator_is_alive(&'static self, image: &SlotImage, session: Option<&Session>) -> bool {
        let registered = image.creator_cell.checked_sub(1).is_some_and(|cell| {
            let (state, generation) = self.namespace.table().cell_state(cell);
            state != CellState::Free as u32
                && generation == image.creator_gen
                && !self.is_dead(cell, session)
        });
        let _undisturbed = self.undisturbed(session);
        // Its cell is gone after an exec too, and the kernel does not take that for an exit.
        registered || process::is_running(image.cpid)
    }

    /// Whether the process of `cell` is certainly gone.
    fn is_dead(&'static self, cell: u32, session: Option<&Session>) -> bool {
        let _undisturbed = self.undisturbed(session);
        self.namespace.processes().has_died(cell)
    }

    /// Memory that a segment really takes, in bytes.
    #[inline]
    pub fn resident_bytes(&'static self, image: &SlotImage) -> u64 {
        if image.huge_page_log2().is_none() {
            return self.namespace.resident_bytes(image);
        }
        // Its file may have to be searched for, by what is mounted.
        let _blocked = Blocked::all();
        let _undisturbed = self.hold_off_forks();
        self.namespace.resident_bytes(image)
    }

    /// [`Registry::hold_off_forks`] for a thread that may have a session, which does so already.
    #[inline]
    fn undisturbed(&'static self, session: Option<&Session>) -> Option<Guard<'static, Local>> {
        match session {
            Some(_) => None,
            None => self.hold_off_forks(),
        }
    }
}

impl Session {
    /// Gives a segment's file the rights that the table has for it, if this process may. Returns whether it has.
    #[cold]
    #[inline(never)]
    pub(super) fn set_rights_of_file(&self, image: &SlotImage) -> bool {
        let namespace = &self.registry.namespace;
        let Ok(held) = self.lock() else { return false };
        let now = held.table().image(image.slot);
        let set = self.registry.may_set_rights(image)
            && now.id == image.id
            && now.is_live()
            && namespace.files().set_rights(&now).is_ok();
        if set {
            slot_life::update(&held, image.slot, |image| image.flags &= !FLAG_RIGHTS);
        }
        set
    }
}
