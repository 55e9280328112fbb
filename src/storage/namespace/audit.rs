//! Whether the files of a namespace are as the table says. Nothing is changed.

use super::view::View;
use crate::os::file::{self, Status};
use crate::os::path::Path;
use crate::os::{OsError, dir};
use crate::storage::error::{StorageError, Stored};
use crate::storage::invariant::{Broken, Invariant};
use crate::storage::runtime_dir::Scope;
use crate::storage::segment_file::parse_name;
use crate::storage::table::layout::{
    CELLS, CellState, FLAG_RIGHTS, FLAG_UNLINKED, MODE_MARKED, SLOTS, SlotState,
};
use crate::storage::table::{SlotImage, audit};

impl View {
    /// Tells `broken` what is not as it must be, in the table and of the files.
    pub fn audit(&self, broken: &mut Broken<'_>) -> Stored<()> {
        let table = self.table();
        if let Some(locker) = table.locker() {
            let (state, _) = table.cell_state(locker.cell());
            if state == CellState::Free as u32 || self.has_dead_locker() {
                broken(
                    Invariant::Lock,
                    format_args!(
                        "cell {} has it, in which no process lives; the next call repairs the table",
                        locker.cell()
                    ),
                );
            }
        }
        audit::audit(table, broken);
        for slot in 0..table.slots_ready() {
            let image = table.image(slot);
            if image.state == SlotState::Live as u32 {
                self.audit_file(&image, broken);
            }
        }
        match self.ipc() {
            Ok(Some(ipc)) => ipc.audit(broken)?,
            Ok(None) => {}
            Err(error) => broken(Invariant::Ipc, format_args!("{error}")),
        }
        self.audit_strays(broken)
    }

    fn audit_file(&self, image: &SlotImage, broken: &mut Broken<'_>) {
        let checked = self.files().check(image);
        let status = match checked {
            Ok(Some(status)) => status,
            Ok(None) if image.flags & FLAG_UNLINKED != 0 => return,
            Ok(None) => {
                let id = image.id;
                return broken(
                    Invariant::Files,
                    format_args!("segment {id} has lost its file; the next call about it ends it"),
                );
            }
            Err(error) => return broken(Invariant::Files, format_args!("{error}")),
        };
        // The flag says that its owner's next call gives it its rights.
        if image.flags & FLAG_RIGHTS == 0 && !self.has_its_rights(image, &status) {
            broken(
                Invariant::Rights,
                format_args!(
                    "the file of segment {} has mode {:o}, and the segment {:o}",
                    image.id,
                    status.permissions(),
                    image.mode & 0o1777
                ),
            );
        }
    }

    /// Whether a file has the mode of its segment, as far as that can be told: what the umask took is given back when it is
    /// missed, and an access list has the group's bits for its mask.
    fn has_its_rights(&self, image: &SlotImage, status: &Status) -> bool {
        let (is, should) = (
            status.permissions(),
            image.mode & 0o777 | image.mode & MODE_MARKED,
        );
        match self.directory().scope() {
            Scope::User => is & !should == 0,
            Scope::System if image.uid != image.cuid || image.gid != image.cgid => {
                is & 0o1707 == should & 0o1707
            }
            Scope::System => is == should,
        }
    }

    fn audit_strays(&self, broken: &mut Broken<'_>) -> Stored<()> {
        let segments = *self.directory().segments();
        for_each_name(&segments, &mut |name| {
            if !self.has_slot(name) {
                broken_stray(&segments, name, "which no segment has", broken);
            }
        })?;
        let live = self.directory().inside(b"live");
        for_each_name(&live, &mut |name| {
            let cell = core::str::from_utf8(name).ok().map(str::parse::<u32>);
            if !cell.is_some_and(|cell| cell.is_ok_and(|cell| cell < CELLS)) {
                broken_stray(&live, name, "which no process locks", broken);
            }
        })
    }

    /// Whether the table has a slot for a file of that name.
    fn has_slot(&self, name: &[u8]) -> bool {
        parse_name(name).is_some_and(|(key, id)| {
            let image = self.table().image(id as u32 % SLOTS);
            image.state != SlotState::Free as u32 && image.id == id && image.name_key == key
        })
    }
}

fn broken_stray(directory: &Path, name: &[u8], what: &str, broken: &mut Broken<'_>) {
    let path = directory.join(name).unwrap_or(*directory);
    broken(Invariant::Strays, format_args!("there is {path}, {what}"));
}

fn for_each_name(path: &Path, each: &mut dyn FnMut(&[u8])) -> Stored<()> {
    let fd = match file::open_dir_to_read(None, path) {
        Ok(fd) => fd,
        // That it is missing is said elsewhere.
        Err(OsError(libc::ENOENT)) => return Ok(()),
        Err(error) => return Err(StorageError::system("open", path, error)),
    };
    dir::for_each_entry(&fd, |name| {
        each(name);
        true
    })
    .map_err(|error| StorageError::system("read", path, error))
}
