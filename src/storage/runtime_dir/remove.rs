//! A whole runtime directory is removed: one that is as we would have made it, with nothing in it but what is part of one, and
//! never through a link. It goes out of sight in one step, by a hidden name; what a killed remover leaves, the next maker
//! removes as any other's.

use super::make::is_hidden_part;
use super::place::{FILES, PARTS, Place, open_seen};
use crate::os::file::{self, Fd, Lock, Status};
use crate::os::path::Path;
use crate::os::{OsError, dir};
use crate::storage::error::{StorageError, Stored};
use crate::storage::sentence;

impl Place {
    /// How many processes live in the runtime directory that was checked: liveness files that are locked.
    pub(in crate::storage) fn count_living(&self, checked: &Status) -> Stored<u32> {
        let directory = self.open_checked(checked)?;
        let live = self.inside(b"live");
        let live_dir = match file::open_dir_to_read(Some(&directory), &live) {
            Ok(fd) => fd,
            Err(OsError(libc::ENOENT)) => return Ok(0),
            Err(error) => return Err(StorageError::system("open", &live, error)),
        };
        let mut count = 0;
        dir::for_each_entry(&live_dir, |name| {
            let locked = Path::from_bytes(name).is_some_and(|name| {
                let opened = file::open_in(Some(&live_dir), &name, libc::O_RDONLY, 0);
                opened.is_ok_and(|fd| file::lock(&fd, Lock::TryShared) == Ok(false))
            });
            count += u32::from(locked);
            true
        })
        .map_err(|error| StorageError::system("read", &live, error))?;
        Ok(count)
    }

    /// Removes the runtime directory that was checked.
    pub(in crate::storage) fn remove(&self, checked: &Status) -> Stored<()> {
        if checked.uid != self.euid {
            let (path, euid) = (&self.directory, self.euid);
            return Err(StorageError::of_other(
                sentence::WRONG_OWNER,
                path,
                checked,
                euid,
            ));
        }
        let base = self.open_base()?;
        self.check_content(&self.open_checked(checked)?)?;
        // Another descriptor, for the first has been read to its end.
        let directory = self.open_checked(checked)?;
        self.lock_directory(&directory)?;
        for attempt in 0..100 {
            let hidden = self.hidden_name(attempt);
            match dir::rename_new_in(Some(&base), &self.directory, &hidden) {
                Ok(()) => {
                    self.remove_tree(&base, &directory, &hidden);
                    return match file::status_in(Some(&base), &hidden) {
                        Err(OsError(libc::ENOENT)) => Ok(()),
                        Ok(left) => Err(StorageError::of(sentence::IN_THE_WAY, &hidden, &left)),
                        Err(error) => Err(StorageError::system("stat", &hidden, error)),
                    };
                }
                Err(OsError(libc::EEXIST)) => {}
                Err(error) => {
                    return Err(self.closed_base(true, "rename", &self.directory, error));
                }
            }
        }
        let error = OsError(libc::EEXIST);
        Err(StorageError::system("rename", &self.directory, error))
    }

    /// Removes what makers and removers that were killed have left in the base directory.
    pub(in crate::storage) fn remove_leftovers(&self) -> Stored<()> {
        self.remove_abandoned(&self.open_base()?);
        Ok(())
    }

    /// Calls `each` with the path of everything that makers and removers that were killed have left: in the base directory, and
    /// in the runtime directory that was checked.
    pub(in crate::storage) fn for_each_leftover(
        &self,
        checked: &Status,
        each: &mut dyn FnMut(&Path),
    ) -> Stored<()> {
        self.for_each_abandoned(&self.open_base()?, &mut |_, path| each(path));
        let directory = self.open_checked(checked)?;
        dir::for_each_entry(&directory, |name| {
            if is_hidden_part(name) {
                each(&self.inside(name));
            }
            true
        })
        .map_err(|error| StorageError::system("read", &self.directory, error))
    }

    fn open_base(&self) -> Stored<Fd> {
        file::open_dir(None, &self.base)
            .map_err(|error| StorageError::system("open", &self.base, error))
    }

    fn open_checked(&self, checked: &Status) -> Stored<Fd> {
        let seen = Some(checked.identity());
        open_seen(&self.directory, file::open_dir_to_read, seen)
            .map(|(fd, _)| fd)
            .map_err(|error| StorageError::system("open", &self.directory, error))
    }

    /// That nothing lies in the directory but what is part of a namespace.
    fn check_content(&self, directory: &Fd) -> Stored<()> {
        let mut foreign = None;
        let is_known =
            |name: &[u8]| FILES.contains(&name) || PARTS.contains(&name) || is_hidden_part(name);
        dir::for_each_entry(directory, |name| {
            foreign = Some(self.inside(name)).filter(|_| !is_known(name));
            foreign.is_none()
        })
        .map_err(|error| StorageError::system("read", &self.directory, error))?;
        for part in PARTS {
            let path = self.inside(part);
            let Ok(fd) = file::open_dir_to_read(Some(directory), &path) else {
                continue;
            };
            dir::for_each_entry(&fd, |name| {
                let inside = Path::from_bytes(name).unwrap_or_default();
                let is_dir = file::status_in(Some(&fd), &inside).is_ok_and(|seen| seen.is_dir());
                foreign = foreign.or(path.join(name).filter(|_| is_dir));
                foreign.is_none()
            })
            .map_err(|error| StorageError::system("read", &path, error))?;
        }
        let Some(path) = foreign else { return Ok(()) };
        let status =
            file::status_of(&path).map_err(|error| StorageError::system("stat", &path, error))?;
        Err(StorageError::of(sentence::NO_PART, &path, &status))
    }
}
