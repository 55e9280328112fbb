//! A namespace that is only looked at. Nothing is made, counted, reaped or repaired by it: the table is mapped without the
//! right to write, no cell is taken, and the dead are told from the living by probes.

use super::create::{TABLE, map_table, why_not_opened};
use super::rules::LimitWords;
use crate::os::file::{self, Status};
use crate::os::pages::PageVec;
use crate::os::path::Path;
use crate::os::{OsError, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::ipc::IpcView;
use crate::storage::process::Processes;
use crate::storage::runtime_dir::{PARTS, Place, RuntimeDir};
use crate::storage::segment_file::{Files, Homes};
use crate::storage::sentence;
use crate::storage::table::events::Noted;
use crate::storage::table::layout::{CellState, SlotState, header, slot};
use crate::storage::table::{Counted, SlotImage, Table, TableMap};
use core::ops::Range;

/// How long a slot is waited for that is being changed, and in how many naps.
const NAPS: u32 = 10;
const NAP_NANOS: u32 = 20_000_000;

/// A runtime directory that is looked at.
pub struct View {
    processes: Processes,
    homes: Homes,
    table_status: Status,
}

/// A process that has a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its cell.
    pub cell: u32,
    /// Which of the cell's processes it is.
    pub generation: u32,
    /// Its process id; 0 for a child that is being forked.
    pub pid: i32,
    /// Whether it has not ended, as far as can be told.
    pub is_alive: bool,
}

/// How a slot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As it was at one moment.
    Whole,
    /// As it stands: a process that is stopped is changing it, or one that died.
    Unfinished,
}

impl View {
    /// Looks at the namespace that the settings name. `None`: there is none.
    pub fn chosen() -> Stored<Option<View>> {
        View::of(Place::choose()?)
    }

    /// Looks at the namespace with this runtime directory. `None`: there is none any more.
    pub fn of_directory(directory: &Path) -> Stored<Option<View>> {
        match Place::of_directory(directory) {
            Err(error) if error.os_error() == Some(OsError(libc::ENOENT)) => Ok(None),
            place => View::of(place?),
        }
    }

    fn of(mut place: Place) -> Stored<Option<View>> {
        place.check_base()?;
        let Some(directory) = place.check_directory()? else {
            return Ok(None);
        };
        for part in PARTS {
            place.check_part(part, directory.uid)?;
        }
        let path = place.inside(TABLE);
        let fd = file::open(&path, libc::O_RDONLY, 0).map_err(|error| match error {
            OsError(libc::ENOENT) => StorageError::of(sentence::MISSING, &path, &directory),
            error => why_not_opened(&place, &path, error, directory.uid),
        })?;
        let (map, status) = map_table(&place, &path, &fd, directory.uid, TableMap::read_only)?;
        let opened = RuntimeDir::new(&place, TABLE, &status, &directory);
        let view = View {
            // Nothing is destroyed here.
            processes: Processes::new(Table::new(map), opened, |_, _, _| false),
            homes: Homes::default(),
            table_status: status,
        };
        view.check_whole()?;
        Ok(Some(view))
    }

    pub(super) fn table(&self) -> &Table {
        self.processes.table()
    }

    /// The runtime directory.
    pub fn directory(&self) -> &RuntimeDir {
        self.processes.directory()
    }

    /// The table's file, as it was when it was opened.
    pub fn table_status(&self) -> &Status {
        &self.table_status
    }

    /// That nobody has cut the table, which would end this process at the next reading of it.
    pub fn check_whole(&self) -> Stored<()> {
        self.processes.block().map(drop)
    }

    /// The version of the table's layout.
    pub fn version(&self) -> u32 {
        self.table().get32(header!(version))
    }

    /// The numbers of the events that are kept.
    pub fn events(&self) -> Range<u64> {
        self.table().events()
    }

    /// The event with this number, if it is kept.
    pub fn event(&self, number: u64) -> Option<Noted> {
        self.table().event_of(number)
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

    /// Calls `each` with every process that has a cell, the dead that nobody has reaped included.
    pub fn for_each_member(&self, each: &mut dyn FnMut(Member)) {
        for cell in self.table().cells_in_use() {
            each(self.member(cell));
        }
    }

    /// The process in this cell.
    pub fn member(&self, cell: u32) -> Member {
        let (state, generation) = self.table().cell_state(cell);
        Member {
            cell,
            generation,
            pid: self.table().pid_of(cell).unwrap_or(0),
            is_alive: state != CellState::Free as u32 && !self.processes.has_died(cell),
        }
    }

    /// Whether the cell has had no other process since `member` was seen there.
    pub fn is_still(&self, member: &Member) -> bool {
        let (state, generation) = self.table().cell_state(member.cell);
        state != CellState::Free as u32
            && generation == member.generation
            && self.table().pid_of(member.cell).unwrap_or(0) == member.pid
    }

    /// How many slots there are to be looked at.
    pub fn slots(&self) -> u32 {
        self.table().slots_ready()
    }

    /// Whether there is a segment in this slot, for the moment; [`View::read`] tells for certain.
    pub fn has_segment(&self, slot: u32) -> bool {
        self.table().get32(slot!(slot, state)) == SlotState::Live as u32
    }

    /// How many slots are in another state than free and live: whose file is being made, or awaits unlinking.
    pub fn unfinished_slots(&self) -> (u32, u32) {
        let (mut making, mut dying) = (0, 0);
        for slot in 0..self.slots() {
            let state = self.table().get32(slot!(slot, state));
            making += u32::from(state == SlotState::Creating as u32);
            dying += u32::from(state == SlotState::Dying as u32);
        }
        (making, dying)
    }

    /// Reads a slot and what is counted there for each process. A slot that is being changed is waited for, a fifth of a
    /// second if its version stands still; with `at_once` not at all.
    pub fn read(
        &self,
        slot: u32,
        at_once: bool,
        image: &mut SlotImage,
        counted: &mut PageVec<Counted>,
    ) -> Stored<Reading> {
        let mut read = || {
            self.table()
                .read_counted(slot, image, counted)
                .map_err(no_room)
        };
        let mut naps = if at_once { 0 } else { NAPS };
        let mut before = self.table().version_of(slot);
        loop {
            if read()? {
                return Ok(Reading::Whole);
            }
            let now = self.table().version_of(slot);
            // As long as it moves on, it is being changed again and again, and comes to rest in between.
            naps = if now == before || at_once { naps } else { NAPS };
            before = now;
            if naps == 0 || self.has_dead_locker() {
                break;
            }
            naps -= 1;
            process::nap(NAP_NANOS);
        }
        self.table()
            .read_as_it_stands(slot, image, counted)
            .map_err(no_room)?;
        Ok(Reading::Unfinished)
    }

    /// Whether the process that has locked the table is dead: the next one that takes the lock repairs what it has left.
    pub fn has_dead_locker(&self) -> bool {
        let locker = self.table().locker();
        locker.is_some_and(|locker| {
            self.table().is_replaced(locker) || self.processes.has_died(locker.cell())
        })
    }

    /// The file of semaphore sets and message queues. `None`: there is none.
    pub fn ipc(&self) -> Stored<Option<IpcView<'_>>> {
        IpcView::open(&self.processes)
    }

    /// The segment files.
    pub fn files(&self) -> Files<'_> {
        Files::new(self.directory(), &self.homes)
    }
}

fn no_room(error: OsError) -> StorageError {
    StorageError::Call {
        doing: "set memory aside",
        error,
    }
}
