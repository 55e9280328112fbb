//! Looking at any namespace of the machine, without being in it: for the command.
//!
//! Nothing is changed by it. No cell is taken, the table is mapped without the right to write, and the dead are not reaped
//! but told from the living by probes: to reap would destroy segments that their last user has left behind, and stamp
//! others, which is what a person who looks for the reason of something wants to see as it is. So what is shown counts the
//! living alone, and beside it stands what the table counts.
//!
//! One exception: a process that died in the middle of a change has left a slot that nobody can read. In the namespace that
//! programs of this user would be in ([`here`]) the table's lock is taken once then, and the table repaired.
//!
//! Nothing is allocated but pages of our own; each list is handed out by a function that is called for each of its members.

use super::error::Outcome;
use super::process::registry;
use super::rules;
use crate::os::pages::PageVec;
use crate::os::process;
use crate::storage::table::layout::{FLAG_NORESERVE, FLAG_RIGHTS, FLAG_UNLINKED};
use crate::storage::table::{Counted, SlotImage};
use crate::storage::{Reading, StorageError, View};
use crate::sysv::{self, Limits, ShmId};
use core::cell::Cell;
use std::os::fd::OwnedFd;

pub use super::inspect_objects::{
    Debt, Objects, Queue, QueueSleeper, Semaphore, Set, SetSleeper, Wish,
};
pub use crate::os::path::Path;
pub use crate::storage::Member as Process;
pub use crate::storage::ipc::Presence;
pub use crate::storage::runtime_dir::{Scope, scope_of_name};

/// A namespace that is looked at.
pub struct Inspection {
    pub(super) view: View,
    is_own: bool,
}

/// What a namespace is.
#[derive(Clone, Copy, Debug)]
pub struct Namespace {
    /// Its runtime directory.
    pub directory: Path,
    /// The directory that this lies in.
    pub base: Path,
    /// Whose namespace it is.
    pub scope: Scope,
    /// Whose it is.
    pub owner: u32,
    /// What it allows.
    pub limits: Limits,
    /// The table.
    pub table: Path,
    /// The version of the table's layout.
    pub version: u32,
    /// Device and inode of the table: no two namespaces have the same.
    pub identity: (u64, u64),
    /// What the table takes on disk or in memory.
    pub table_bytes: u64,
    /// Segments whose file is being made at this moment.
    pub making: u32,
    /// Segments that are no more, but whose files are not unlinked yet.
    pub dying: u32,
}

/// A segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// What IPC_STAT tells of it once the dead are no longer counted.
    pub stat: sysv::Segment,
    /// Attaches as the table counts them, those of dead processes included that nobody has reaped yet.
    pub counted: u64,
    /// Its index.
    pub slot: u32,
    /// The size of its huge pages.
    pub huge_page_bytes: Option<u64>,
    /// Made with SHM_NORESERVE. Of huge pages nothing is promised here in any case.
    pub is_unreserved: bool,
    /// Its file does not have the rights yet that the table has for it.
    pub has_overdue_rights: bool,
    /// Its file is gone, and the segment with the last attach.
    pub is_unlinked: bool,
    /// A process that is stopped or dead has begun to change it: what is told of it may not belong together.
    pub is_unfinished: bool,
    /// Whether the process that made it still runs; `None`: nobody knows which one did.
    pub creator_is_alive: Option<bool>,
    /// Whose locked memory it counts as, while it is locked.
    pub locker: u32,
    /// Its file, unless no mount has it.
    pub file: Option<File>,
}

impl Segment {
    /// Whether only the dead have it attached and it is marked for destruction: the next call about it destroys it.
    pub fn is_over(&self) -> bool {
        self.stat.is_marked() && self.stat.nattch == 0
    }

    /// What it takes in memory, or of the disk.
    pub fn resident_bytes(&self) -> u64 {
        self.file.map_or(0, |file| file.allocated_bytes)
    }
}

/// The file of a segment.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Where it is, or was.
    pub path: Path,
    /// Device and inode; zeros if it is gone.
    pub identity: (u64, u64),
    /// What it takes in memory, or of the disk. Memory that is swapped out is part of it.
    pub allocated_bytes: u64,
}

/// What one process has attached of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attach {
    /// The process.
    pub process: Process,
    /// How often.
    pub count: u32,
}

/// Looks at the namespace that a program with these settings would use. `None`: there is none yet.
pub fn here() -> Outcome<Option<Inspection>> {
    opened(View::chosen()?, true)
}

/// Looks at the namespace with this runtime directory. `None`: there is none any more. What its owner's programs would
/// refuse is refused.
pub fn open(directory: &[u8]) -> Outcome<Option<Inspection>> {
    let path = Path::from_bytes(directory).ok_or(StorageError::Call {
        doing: "look at a directory whose path is too long for a namespace",
        error: crate::os::OsError(libc::ENAMETOOLONG),
    })?;
    opened(View::of_directory(&path)?, false)
}

fn opened(view: Option<View>, is_own: bool) -> Outcome<Option<Inspection>> {
    sysv::set_page_size(process::page_size() as u64);
    Ok(view.map(|view| Inspection { view, is_own }))
}

impl Inspection {
    /// What the namespace is.
    pub fn namespace(&self) -> Namespace {
        let directory = self.view.directory();
        let status = self.view.table_status();
        let (making, dying) = self.view.unfinished_slots();
        let mut base = *directory.path();
        base.pop();
        Namespace {
            directory: *directory.path(),
            base,
            scope: directory.scope(),
            owner: directory.owner(),
            limits: rules::limits_of(&self.view.limit_words()),
            table: directory.table_path(),
            version: self.view.version(),
            identity: status.identity(),
            table_bytes: status.allocated_bytes,
            making,
            dying,
        }
    }

    /// Finds out which processes live at this moment.
    pub fn now(&self) -> Outcome<Moment<'_>> {
        self.view.check_whole()?;
        let mut members = PageVec::new();
        let mut failed = None;
        self.view.for_each_member(&mut |member| {
            let len = members.len();
            match members.reserve(1) {
                Ok(()) => drop(members.insert(len, member)),
                Err(error) => failed = Some(error),
            }
        });
        match failed {
            Some(error) => Err(StorageError::Call {
                doing: "set memory aside",
                error,
            }
            .into()),
            None => Ok(Moment {
                inspection: self,
                members,
                is_stuck: Cell::new(false),
            }),
        }
    }

    /// Looks at the semaphore sets and message queues. `None`: no program has used either here.
    pub fn objects(&self) -> Outcome<Option<Objects<'_>>> {
        Ok(self.view.ipc()?.map(Objects::new))
    }

    /// Opens the file of the live segment with this id to read it. `None`: there is no such segment.
    pub fn open_file(&self, id: ShmId) -> Outcome<Option<OwnedFd>> {
        let (mut image, mut counted) = (SlotImage::default(), PageVec::new());
        self.view.check_whole()?;
        self.view.read(id.slot(), false, &mut image, &mut counted)?;
        if !image.is_live() || image.id != id.raw() {
            return Ok(None);
        }
        let fd = self.view.files().open_to_read(&image)?;
        Ok(Some(fd.into()))
    }

    /// Takes the table's lock, and with it what a dead process has left to be repaired. `false`: this namespace is not the
    /// one that this process can be in.
    #[cold]
    fn repair(&self) -> Outcome<bool> {
        if !self.is_own || !self.view.has_dead_locker() {
            return Ok(false);
        }
        registry()?.enter()?.lock()?;
        Ok(true)
    }
}

/// A namespace, and the processes in it at one moment. The segments are read when they are asked for.
pub struct Moment<'n> {
    inspection: &'n Inspection,
    members: PageVec<Process>,
    /// One slot stood still in the middle of a change: the others are not waited for.
    is_stuck: Cell<bool>,
}

impl Moment<'_> {
    /// The processes that have a cell, by rising cell: the dead that nobody has reaped yet included.
    pub fn processes(&self) -> &[Process] {
        &self.members
    }

    /// Calls `each` with every segment, by rising index, and with what each process has attached of it.
    pub fn each_segment(&self, each: &mut dyn FnMut(&Segment, &[Attach])) -> Outcome<()> {
        for slot in 0..self.inspection.view.slots() {
            if self.inspection.view.has_segment(slot) {
                self.slot(slot, each)?;
            }
        }
        Ok(())
    }

    /// Calls `each` with the segment of this id, if there is one. Returns whether there is.
    pub fn segment(&self, id: ShmId, each: &mut dyn FnMut(&Segment, &[Attach])) -> Outcome<bool> {
        let mut found = false;
        self.slot(id.slot(), &mut |segment, attaches| {
            if segment.stat.id == id {
                found = true;
                each(segment, attaches);
            }
        })?;
        Ok(found)
    }

    fn slot(&self, slot: u32, each: &mut dyn FnMut(&Segment, &[Attach])) -> Outcome<()> {
        let (mut image, mut counted) = (SlotImage::default(), PageVec::new());
        let reading = self.read(slot, &mut image, &mut counted)?;
        if !image.is_live() {
            return Ok(());
        }
        let mut attaches = PageVec::new();
        attaches
            .reserve(counted.len())
            .map_err(|error| StorageError::Call {
                doing: "set memory aside",
                error,
            })?;
        for one in counted.iter() {
            let (process, count) = (self.process(one.cell), one.count);
            attaches.insert(attaches.len(), Attach { process, count });
        }
        let segment = self.segment_of(&image, &attaches, reading == Reading::Unfinished);
        each(&segment, &attaches);
        Ok(())
    }

    fn read(
        &self,
        slot: u32,
        image: &mut SlotImage,
        counted: &mut PageVec<Counted>,
    ) -> Outcome<Reading> {
        let view = &self.inspection.view;
        let mut reading = view.read(slot, self.is_stuck.get(), image, counted)?;
        if reading == Reading::Unfinished && !self.is_stuck.get() {
            if self.inspection.repair()? {
                reading = view.read(slot, false, image, counted)?;
            }
            self.is_stuck.set(reading == Reading::Unfinished);
        }
        Ok(reading)
    }

    /// The process of a cell, which may have come since.
    fn process(&self, cell: u32) -> Process {
        let known = self
            .members
            .binary_search_by_key(&cell, |member| member.cell)
            .ok()
            .and_then(|at| self.members.get(at));
        match known {
            Some(known) if self.inspection.view.is_still(known) => *known,
            _ => self.inspection.view.member(cell),
        }
    }

    fn segment_of(&self, image: &SlotImage, attaches: &[Attach], is_unfinished: bool) -> Segment {
        let living = attaches.iter().filter(|attach| attach.process.is_alive);
        let nattch = living.map(|attach| u64::from(attach.count)).sum();
        let file = self.inspection.view.files().found(image).ok();
        Segment {
            stat: sysv::Segment {
                nattch,
                ..rules::segment(image)
            },
            counted: image.nattch.into(),
            slot: image.slot,
            huge_page_bytes: image.huge_page_log2().map(|log2| 1 << log2),
            is_unreserved: image.flags & FLAG_NORESERVE != 0 && image.huge_page_log2().is_none(),
            has_overdue_rights: image.flags & FLAG_RIGHTS != 0,
            is_unlinked: image.flags & FLAG_UNLINKED != 0,
            is_unfinished,
            creator_is_alive: (image.cpid != 0).then(|| self.creator_is_alive(image)),
            locker: image.locker,
            file: file.map(|(path, status)| File {
                path,
                identity: status.map_or((0, 0), |status| status.identity()),
                allocated_bytes: status.map_or(0, |status| status.allocated_bytes),
            }),
        }
    }

    fn creator_is_alive(&self, image: &SlotImage) -> bool {
        let registered = image.creator_cell.checked_sub(1).is_some_and(|cell| {
            let process = self.process(cell);
            process.is_alive && process.generation == image.creator_gen
        });
        // Its cell is gone after an exec, too.
        registered || process::is_running(image.cpid)
    }
}
