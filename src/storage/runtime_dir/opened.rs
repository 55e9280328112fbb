//! Whether the namespace still lies where it was opened, and its directories as descriptors.
//!
//! In user scope files are made, opened and unlinked by their paths: every directory on the path is root's or our own and
//! no other user can exchange it (`base.rs`), and descriptors would have an attach take 1.7 times as long. In system
//! scope others make files in `segments` and `live`, and what is done there goes by descriptors, each opened from the
//! runtime directory and held against what was checked when the namespace was opened.

use super::place::{Place, Scope, check_owner, open_seen};
use crate::os::file::{self, Fd, Status};
use crate::os::path::Path;
use crate::os::signal_mask::Blocked;
use crate::os::{OsError, OsResult, credentials, helper_process, process};
use crate::storage::error::{Refused, StorageError, Stored, beyond_limits};
use crate::storage::sentence;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A runtime directory, opened.
pub struct RuntimeDir {
    place: Place,
    /// Where the files of ordinary segments lie.
    segments: Path,
    owner: u32,
    /// Device and inode of the directory.
    directory_file: (u64, u64),
    /// The table's name in the directory.
    table_name: &'static [u8],
    /// Device and inode of the table.
    table_file: (u64, u64),
    /// When it was last seen at its place, in nanoseconds of the coarse clock.
    seen_in_place: AtomicU64,
    /// Not 0: files of segments were found to be gone; the table is to learn which.
    lost_files: AtomicU32,
}

impl RuntimeDir {
    /// The directory of `place`, which was checked, with the table of that name.
    pub fn new(
        place: &Place,
        table_name: &'static [u8],
        table: &Status,
        directory: &Status,
    ) -> RuntimeDir {
        RuntimeDir {
            place: *place,
            segments: place.inside(b"segments"),
            owner: table.uid,
            directory_file: directory.identity(),
            table_name,
            table_file: table.identity(),
            seen_in_place: AtomicU64::new(0),
            lost_files: AtomicU32::new(0),
        }
    }

    /// The model's: there is none.
    #[cfg(shmshim_model)]
    pub fn nowhere() -> RuntimeDir {
        let nowhere = Path::from_bytes(b"/nowhere").unwrap_or_default();
        RuntimeDir {
            place: Place {
                base: nowhere,
                directory: nowhere,
                scope: Scope::User,
                euid: process::euid(),
                choice: super::base::Choice::Default,
            },
            segments: nowhere,
            owner: process::euid(),
            directory_file: (0, 0),
            table_name: b"registry",
            table_file: (0, 0),
            seen_in_place: AtomicU64::new(0),
            lost_files: AtomicU32::new(0),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.place.directory
    }

    /// Where the files of ordinary segments lie.
    pub fn segments(&self) -> &Path {
        &self.segments
    }

    /// Whose namespace it is.
    #[inline]
    pub fn scope(&self) -> Scope {
        self.place.scope
    }

    /// The effective uid that opened it.
    pub fn opened_by(&self) -> u32 {
        self.place.euid
    }

    /// Whose it is, and so the table.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// The path of `name` in it.
    pub fn inside(&self, name: &[u8]) -> Path {
        self.place.inside(name)
    }

    /// The path of the table.
    pub fn table_path(&self) -> Path {
        self.inside(self.table_name)
    }

    /// Says whether files of segments may be gone that the table still knows.
    pub fn has_lost_files(&self, lost: bool) {
        self.lost_files.store(u32::from(lost), Ordering::Relaxed);
    }

    /// Whether that was said, once.
    pub fn take_lost_files(&self) -> bool {
        self.lost_files.swap(0, Ordering::Relaxed) != 0
    }

    /// Makes the directories in the runtime directory again where they are missing. Returns whether any was. Signals are
    /// blocked.
    #[cold]
    #[inline(never)]
    pub fn restore_parts(&self) -> Stored<bool> {
        let place = Place {
            euid: process::euid(),
            ..self.place
        };
        let checked = match file::status_of(&place.directory) {
            Ok(status) if status.identity() == self.directory_file => status,
            _ => return Ok(false),
        };
        let restored = beyond_limits(|| place.check_parts(&checked))?;
        if restored {
            self.has_lost_files(true);
        }
        Ok(restored)
    }

    /// Checks an open file of the namespace that lies beside the table: owner, mode, kind.
    pub fn check_file(&self, path: &Path, fd: &Fd) -> Stored<Status> {
        self.place.check_table(path, fd, self.owner)
    }

    /// Makes the file `name` in the directory, whose owner alone may: `make` is given the open directory and the path to make it
    /// at, under a lock. Signals are blocked.
    #[cold]
    #[inline(never)]
    pub fn make_file(
        &self,
        name: &[u8],
        make: impl FnOnce(&Fd, &Path) -> Stored<()>,
    ) -> Stored<()> {
        let place = Place {
            euid: process::euid(),
            ..self.place
        };
        let path = &place.directory;
        match file::status_of(path) {
            Ok(checked) if checked.identity() == self.directory_file => {
                place.restore(name, &checked, make)
            }
            Ok(_) => Err(StorageError::at(sentence::EXCHANGED, path)),
            Err(error) => Err(self.error("stat", path, error)),
        }
    }

    /// Whether the paths still lead here: not after a chroot, nor when the directory was removed.
    pub fn is_reachable(&self) -> bool {
        self.reaches().unwrap_or(false)
    }

    /// The same, or why that could not be found out.
    pub fn reaches(&self) -> OsResult<bool> {
        file::status_of(&self.table_path()).map(|status| status.identity() == self.table_file)
    }

    /// Before a file of the namespace is used by its name: whether the directory is still the one that was opened. Where
    /// it was removed and made anew, or exchanged for another, the names lead to others'
    /// segments; and what cannot be checked is not in its place. It costs a system call, so once in a while must do.
    pub fn check_in_place(&self) -> Stored<()> {
        const FRESH_NANOS: u64 = 20_000_000;
        let now = process::coarse_nanos();
        let age = now.wrapping_sub(self.seen_in_place.load(Ordering::Relaxed));
        if age < FRESH_NANOS {
            return Ok(());
        }
        self.look_in_place(now)
    }

    /// Asks the file system whether the table is still in its place; `now` is the coarse clock's. Fails with what has become
    /// of the directory.
    #[cold]
    #[inline(never)]
    pub fn look_in_place(&self, now: u64) -> Stored<()> {
        match file::status_of(&self.table_path()) {
            Ok(status) if status.identity() == self.table_file => {
                self.seen_in_place.store(now, Ordering::Relaxed);
                Ok(())
            }
            seen => Err(self.why_not_in_place(&seen)),
        }
    }

    /// Says what has become of the directory, as far as it can be seen.
    #[cold]
    #[inline(never)]
    fn why_not_in_place(&self, table: &OsResult<Status>) -> StorageError {
        let Place {
            directory, base, ..
        } = &self.place;
        let away = match (file::status_of(directory), table) {
            (Ok(seen), Ok(_)) if seen.identity() == self.directory_file => {
                sentence::TABLE_EXCHANGED
            }
            (Ok(seen), Err(OsError(libc::ENOENT))) if seen.identity() == self.directory_file => {
                sentence::TABLE_REMOVED
            }
            (Ok(seen), Ok(_) | Err(OsError(libc::ENOENT | libc::ENOTDIR))) => {
                if seen.device == self.directory_file.0 {
                    sentence::EXCHANGED
                } else {
                    sentence::OTHER_FILE_SYSTEM
                }
            }
            (Err(OsError(libc::ENOENT | libc::ENOTDIR)), _) => match file::status_of(base) {
                Ok(base) if base.device == self.directory_file.0 => sentence::REMOVED,
                Ok(_) => sentence::OTHER_FILE_SYSTEM,
                Err(_) => sentence::REMOVED_WITH_BASE,
            },
            (Err(error), _) | (_, &Err(error)) => {
                return self.error("stat", &self.table_path(), error);
            }
        };
        StorageError::at(away, directory)
    }

    /// A system call that failed on a path in the namespace: with the reason, where this program has become another user.
    #[cold]
    pub fn error(&self, doing: &'static str, path: &Path, error: OsError) -> StorageError {
        let euid = credentials::euid();
        let denied = matches!(error, OsError(libc::EACCES | libc::EPERM));
        if denied && self.place.scope == Scope::User && euid != self.place.euid {
            return StorageError::Refused(Refused {
                sentence: sentence::OTHER_USER,
                path: *path,
                owner: self.place.euid,
                mode: 0,
                number: euid.into(),
                other: error.0 as u64,
            });
        }
        StorageError::system(doing, path, error)
    }

    /// In system scope the directory in which the file at `path` lies; `None` in user scope, where the path will do. To be
    /// used where the answer is: a helper with descriptors of its own may do the work.
    #[inline]
    pub fn open_parent(&self, path: &Path) -> OsResult<Option<Fd>> {
        match self.place.scope {
            Scope::User => Ok(None),
            Scope::System => self.open_parent_of(path).map(Some),
        }
    }

    #[inline(never)]
    fn open_parent_of(&self, path: &Path) -> OsResult<Fd> {
        let mut parent = *path;
        parent.pop();
        let mut directory = parent;
        directory.pop();
        // A directory on a hugetlbfs can be exchanged for another by its owner, the user that came first.
        let is_ours = directory.as_bytes() == self.place.directory.as_bytes();
        let seen = is_ours.then_some(self.directory_file);
        let (directory, owner) = open_seen(&directory, file::open_dir, seen)?;
        let fd = file::open_dir(Some(&directory), &parent)?;
        check_owner(&fd, owner)?;
        Ok(fd)
    }

    /// Backs bytes of the table with memory, so that writing them cannot fail: of a table of
    /// `whole` bytes, as it must still have. The first `used` of them were backed before.
    #[inline(never)]
    pub fn back_table(&self, whole: u64, offset: u64, used: u64, len_bytes: u64) -> Stored<()> {
        let path = self.table_path();
        // As for a segment's file: SIGXFSZ.
        let _blocked = Blocked::all();
        let backed = helper_process::with_descriptor(|| {
            let fd = file::open(&path, libc::O_RDWR, 0)?;
            let status = file::status(&fd)?;
            let uncut = status.len_bytes == whole;
            if status.identity() != self.table_file || !uncut {
                return Err(OsError(libc::ENOENT));
            }
            file::allocate_behind(&fd, offset, used, len_bytes)
        });
        backed.map_err(|error| self.error("enlarge", &path, error))
    }
}
