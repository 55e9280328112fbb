//! A namespace as a whole, by the settings: whether there is one, whether anybody lives in it, its removal, and one that is
//! built with everything in it and appears at once. Nothing of it needs a table that is sound.

use super::create::{TABLE, note_made, rounds_files, write_table};
use super::{Namespace, Rules, View};
use crate::os::file::{self, Fd, Status};
use crate::os::path::Path;
use crate::os::{OsError, dir};
use crate::storage::error::{StorageError, Stored};
use crate::storage::ipc::{self, IpcFile, ObjectKind};
use crate::storage::runtime_dir::{PARTS, Place, RuntimeDir};
use crate::storage::segment_file::{Files, Homes};
use crate::storage::sentence;
use crate::storage::table::events::{self, About, What};
use crate::storage::table::layout::{self, SlotState, header, slot};
use crate::storage::table::slot_life::Cursor;
use crate::storage::table::{Held, Identity, SlotImage, Table, grow, key_index, parts, rebuild};

/// The runtime directory that the settings name, found and checked.
pub struct Whole {
    place: Place,
    status: Status,
}

impl Whole {
    /// Finds it. `None`: there is none.
    pub fn chosen() -> Stored<Option<Whole>> {
        let mut place = Place::choose()?;
        place.check_base()?;
        let found = place.check_directory()?;
        Ok(found.map(|status| Whole { place, status }))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.place.directory
    }

    /// Tells `missing` which of its parts are not there, or not as the library makes them.
    pub fn check_parts(&self, missing: &mut dyn FnMut(&StorageError)) {
        for part in PARTS {
            let absent =
                || StorageError::of(sentence::MISSING, &self.place.inside(part), &self.status);
            match self.place.check_part(part, self.status.uid) {
                Ok(true) => {}
                Ok(false) => missing(&absent()),
                Err(error) => missing(&error),
            }
        }
    }

    /// How many processes live in it.
    pub fn count_living(&self) -> Stored<u32> {
        self.place.count_living(&self.status)
    }

    /// Whether it holds any segment's file.
    fn has_segments(&self) -> Stored<bool> {
        let mut any = has_entries(&self.place.inside(b"segments"))?;
        self.for_each_home(&mut |segments| {
            any |= has_entries(segments)?;
            Ok(())
        })?;
        Ok(any)
    }

    /// Whether it holds semaphore sets or message queues, as far as that can be told.
    fn has_objects(&self) -> bool {
        let found = View::of_directory(self.path());
        let Ok(Some(view)) = found else { return false };
        let Ok(Some(ipc)) = view.ipc() else {
            return false;
        };
        [ObjectKind::Set, ObjectKind::Queue]
            .into_iter()
            .any(|kind| ipc.entries(kind).is_ok_and(|entries| !entries.is_empty()))
    }

    /// Whether it holds objects or processes.
    fn is_in_use(&self) -> Stored<bool> {
        Ok(self.count_living()? > 0 || self.has_segments()? || self.has_objects())
    }

    /// Removes it, with all segments, those of huge pages included.
    pub fn remove(&self) -> Stored<()> {
        let mut homes = [Path::new(); 16];
        let mut rest = homes.iter_mut();
        self.for_each_home(&mut |segments| {
            if let Some(home) = rest.next() {
                *home = *segments;
                home.pop();
            }
            Ok(())
        })?;
        self.place.remove(&self.status)?;
        for home in homes.iter().filter(|home| !home.as_bytes().is_empty()) {
            let mut base = *home;
            base.pop();
            let place = Place {
                base,
                directory: *home,
                ..self.place
            };
            let status =
                file::status_of(home).map_err(|error| StorageError::system("stat", home, error))?;
            place.remove(&status)?;
        }
        Ok(())
    }

    /// Takes the table away, so that the next process makes it anew from the files of the segments.
    pub fn remove_table(&self) -> Stored<()> {
        let path = self.place.inside(TABLE);
        match dir::unlink_in(None, &path) {
            Ok(()) | Err(OsError(libc::ENOENT)) => Ok(()),
            Err(error) => Err(StorageError::system("unlink", &path, error)),
        }
    }

    /// Removes the file of semaphore sets and message queues: the next program that uses one makes another.
    pub fn remove_objects(&self) -> Stored<()> {
        let path = self.place.inside(ipc::NAME);
        match dir::unlink_in(None, &path) {
            Ok(()) | Err(OsError(libc::ENOENT)) => Ok(()),
            Err(error) => Err(StorageError::system("unlink", &path, error)),
        }
    }

    /// Calls `each` with what killed makers and removers have left.
    pub fn for_each_leftover(&self, each: &mut dyn FnMut(&Path)) -> Stored<()> {
        self.place.for_each_leftover(&self.status, each)
    }

    /// Removes what they have left in the base directory.
    pub fn remove_leftovers(&self) -> Stored<()> {
        self.place.remove_leftovers()
    }

    /// Calls `each` with each directory of segments on a hugetlbfs. They are named after the runtime directory, and without a
    /// table there is nothing that says whose they are.
    fn for_each_home(&self, each: &mut dyn FnMut(&Path) -> Stored<()>) -> Stored<()> {
        let Ok(table) = file::status_of(&self.place.inside(TABLE)) else {
            return Ok(());
        };
        let directory = RuntimeDir::new(&self.place, TABLE, &table, &self.status);
        let homes = Homes::default();
        Files::new(&directory, &homes)
            .huge()
            .for_each_home(&mut |segments, _| each(segments))
    }
}

fn has_entries(path: &Path) -> Stored<bool> {
    let fd = match file::open_dir_to_read(None, path) {
        Ok(fd) => fd,
        Err(OsError(libc::ENOENT)) => return Ok(false),
        Err(error) => return Err(StorageError::system("open", path, error)),
    };
    let mut any = false;
    dir::for_each_entry(&fd, |_| {
        any = true;
        false
    })
    .map_err(|error| StorageError::system("read", path, error))?;
    Ok(any)
}

/// A namespace that is being built, which nobody else can see yet.
pub struct Builder<'n> {
    namespace: &'n Namespace,
    held: &'n Held<'n>,
    ipc: &'n IpcFile<'n>,
}

impl Namespace {
    /// Builds the namespace that the settings name, with the segments that `fill` adds and the cursor of ids; it has the limits
    /// of `rules`. It is seen by others when it is whole, or never. One that is empty makes way. `Ok(false)`: there is one that
    /// is not.
    pub fn build<E: From<StorageError>>(
        rules: &Rules,
        cursor: Cursor,
        fill: impl FnOnce(&Builder<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut place = Place::choose()?;
        let rounded = rounds_files(place.check_base()?);
        let found = place
            .check_directory()?
            .map(|status| Whole { place, status });
        if let Some(found) = &found {
            if found.is_in_use()? {
                return Ok(false);
            }
        }
        // What a killed builder has left may be what there is no room for now.
        place.remove_leftovers()?;
        place.try_make(|hidden, built| {
            let (map, table) = write_table(hidden, built, &hidden.inside(TABLE), rules)?;
            ipc::write_file(
                built,
                &hidden.inside(ipc::NAME),
                hidden.scope,
                &rules.ipc_limits,
            )?;
            let status = file::status(built)
                .map_err(|error| StorageError::system("stat", &hidden.directory, error))?;
            let opened = RuntimeDir::new(hidden, TABLE, &table, &status);
            let namespace = Namespace::new(Table::new(map), opened, rounded, rules);
            // The table is nobody else's yet, so any identity will do to lock it.
            let held = namespace.lock(Identity::from_packed(0))?;
            let table = held.table();
            table.set32(header!(cursor_next), cursor.next);
            table.set32(header!(cursor_last), cursor.last as u32);
            table.set32(header!(cursor_seq), cursor.seq);
            note_made(table, What::NamespaceMade, 0);
            let ipc = IpcFile::open_hidden(namespace.processes(), &rules.ipc_limits)?;
            let filled = fill(&Builder {
                namespace: &namespace,
                held: &held,
                ipc: &ipc,
            });
            ipc.unmap();
            filled?;
            rebuild::rebuild(&held);
            // Better no namespace than one that has forgotten keys.
            key_index::back(&held, 0)?;
            match &found {
                // Where it is in use by now, it stays, and what was built has no name to get.
                Some(found) if !found.is_in_use()? => Ok(found.remove()?),
                _ => Ok(()),
            }
        })
    }
}

impl Builder<'_> {
    /// The file of its semaphore sets and message queues.
    pub fn ipc(&self) -> &IpcFile<'_> {
        self.ipc
    }

    /// Adds a segment, whose file `write` is given to fill: empty, and as long as the segment. No other has its slot or its key.
    pub fn add<E: From<StorageError>>(
        &self,
        image: &SlotImage,
        write: impl FnOnce(Fd) -> Result<(), E>,
    ) -> Result<(), E> {
        let table = self.held.table();
        let index = image.id as u32 % layout::SLOTS;
        grow::ensure(self.held, &parts::SLOT_PART, index)?;
        if table.get32(slot!(index, state)) != SlotState::Free as u32 {
            let path = self.namespace.directory().table_path();
            let what = "two segments have one slot";
            return Err(StorageError::Damaged { path, what }.into());
        }
        let mut image = SlotImage {
            slot: index,
            state: SlotState::Live as u32,
            ..*image
        };
        if self.namespace.rounds_files() {
            image.flags |= layout::FLAG_ROUNDED;
        }
        self.namespace.files().make_filled(&image, write)?;
        image.store(table);
        let about = About::segment(What::Restored, &image, image.segsz);
        events::note_of(self.held, &about, &events::Process::own());
        Ok(())
    }
}
