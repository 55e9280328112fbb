//! Whether the namespace still lies where it was opened, and its directories as descriptors.
//!
//! In user scope files are made, opened and unlinked by their paths: every directory on the path is root's or our own and
//! nobody else can exchange it (`base.rs`), and descriptors would have an attach take 1.7 times as long. In system
//! scope others make files in `segments` and `live`, and what is done there goes by descriptors, each opened from the
//! runtime directory and held against what was checked when the namespace was opened.

use super::directory::Scope;
use super::layout;
use super::namespace::Namespace;
use super::obstacle::{Away, Obstacle, Stored};
use crate::os::file::{self, Fd, Status};
use crate::os::path::Path;
use crate::os::signal_mask::Blocked;
use crate::os::{OsError, OsResult, credentials, helper_process, process};
use core::sync::atomic::Ordering;

impl Namespace {
    /// Whether the paths still lead here: not after a chroot, nor when somebody has removed the directory.
    pub fn is_reachable(&self) -> bool {
        self.reaches().unwrap_or(false)
    }

    /// The same, or why that could not be found out.
    pub(super) fn reaches(&self) -> OsResult<bool> {
        file::status_of(&self.inside(self.table_name))
            .map(|status| status.identity() == self.table_file)
    }

    /// Before a file of the namespace is used by its name: whether the directory is still the one that was opened. Where
    /// somebody has removed it and others have made it anew, or has exchanged it for another, the names lead to others'
    /// segments; and what cannot be looked at is not in its place. It costs a system call, so once in a while must do.
    pub(super) fn check_in_place(&self) -> Stored<()> {
        const FRESH_NANOS: u64 = 20_000_000;
        let now = process::coarse_nanos();
        let age = now.wrapping_sub(self.seen_in_place.load(Ordering::Relaxed));
        if age < FRESH_NANOS {
            return Ok(());
        }
        self.look_in_place(now)
    }

    #[cold]
    #[inline(never)]
    pub(super) fn look_in_place(&self, now: u64) -> Stored<()> {
        match file::status_of(&self.inside(self.table_name)) {
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
    fn why_not_in_place(&self, table: &OsResult<Status>) -> Obstacle {
        let directory = self.directory();
        let mut base = *directory;
        base.pop();
        let away = match (file::status_of(directory), table) {
            (Ok(seen), Ok(_)) if seen.identity() == self.directory_file => Away::TableExchanged,
            (Ok(seen), Err(OsError(libc::ENOENT))) if seen.identity() == self.directory_file => {
                Away::TableRemoved
            }
            (Ok(seen), Ok(_) | Err(OsError(libc::ENOENT | libc::ENOTDIR))) => {
                if seen.device == self.directory_file.0 {
                    Away::Exchanged
                } else {
                    Away::OtherFileSystem
                }
            }
            (Err(OsError(libc::ENOENT | libc::ENOTDIR)), _) => match file::status_of(&base) {
                Ok(base) if base.device == self.directory_file.0 => Away::Removed,
                Ok(_) => Away::OtherFileSystem,
                Err(_) => Away::WithItsBase,
            },
            (Err(error), _) | (_, &Err(error)) => {
                return self.obstacle("stat", &self.inside(self.table_name), error);
            }
        };
        Obstacle::NotInPlace {
            path: *directory,
            away,
        }
    }

    /// A system call that failed on a path in the namespace: with the reason, where this program is not any more who it was.
    #[cold]
    pub(super) fn obstacle(&self, doing: &'static str, path: &Path, error: OsError) -> Obstacle {
        let euid = credentials::euid();
        let denied = matches!(error, OsError(libc::EACCES | libc::EPERM));
        if denied && self.scope() == Scope::User && euid != self.opened_by() {
            return Obstacle::OtherUser {
                path: *path,
                opened_by: self.opened_by(),
                euid,
                error,
            };
        }
        Obstacle::system(doing, path, error)
    }

    /// Opens the runtime directory to look names up in it: the one that was checked, or none (`ESTALE`). Returns its owner,
    /// too.
    fn open_directory(&self) -> OsResult<(Fd, u32)> {
        let fd = file::open_dir(None, self.directory())?;
        let status = file::status(&fd)?;
        if status.identity() == self.directory_file {
            Ok((fd, status.uid))
        } else {
            Err(OsError(libc::ESTALE))
        }
    }

    /// In system scope the directory in which the file at `path` lies; `None` in user scope, where the path will do. To be
    /// used where the answer is: a helper with descriptors of its own may do the work.
    #[inline]
    pub(super) fn open_parent(&self, path: &Path) -> OsResult<Option<Fd>> {
        match self.scope() {
            Scope::User => Ok(None),
            Scope::System => self.open_parent_of(path).map(Some),
        }
    }

    #[inline(never)]
    fn open_parent_of(&self, path: &Path) -> OsResult<Fd> {
        let mut parent = *path;
        parent.pop();
        let inside = parent.as_bytes().strip_prefix(self.directory().as_bytes());
        let (directory, owner) = match inside {
            Some([b'/', ..]) => self.open_directory()?,
            _ => open_huge_home(&parent)?,
        };
        let fd = file::open_dir(Some(&directory), &parent)?;
        match file::status(&fd)?.uid == owner {
            true => Ok(fd),
            false => Err(OsError(libc::ESTALE)),
        }
    }

    /// Backs bytes of the table with memory, so that writing them cannot fail. The first `used` of them were backed before.
    #[inline(never)]
    pub(super) fn back(&self, offset: u32, len_bytes: u32, used: u32) -> Stored<()> {
        let path = self.inside(self.table_name);
        // As for a segment's file: SIGXFSZ.
        let _blocked = Blocked::all();
        let backed = helper_process::with_descriptor(|| {
            let fd = file::open(&path, libc::O_RDWR, 0)?;
            let status = file::status(&fd)?;
            let whole = status.len_bytes == u64::from(layout::FILE_BYTES);
            if status.identity() != self.table_file || !whole {
                return Err(OsError(libc::ENOENT));
            }
            file::allocate_behind(&fd, offset.into(), used.into(), len_bytes.into())
        });
        backed.map_err(|error| self.obstacle("enlarge", &path, error))
    }
}

/// Opens the directory on a hugetlbfs in which `segments` lies. Whoever came first has made it: he can exchange it for another
/// of his, and nothing else. Returns him, too.
#[cold]
#[inline(never)]
fn open_huge_home(segments: &Path) -> OsResult<(Fd, u32)> {
    let mut home = *segments;
    home.pop();
    let fd = file::open_dir(None, &home)?;
    let owner = file::status(&fd)?.uid;
    Ok((fd, owner))
}
