//! The runtime directory is built whole under a name that no program opens, and renamed into place last, so that a half-made
//! one is never seen; what is missing in one that is there is made again.
//!
//! Everything here goes by descriptors: of the base, of the directory that is built, of those in it, each opened as a real
//! directory and seen to be our own. Until it is full the directory is closed to others, so no other user can put a link
//! where a directory was made, and what is removed is never followed out of it. It is opened to others last, right before
//! it gets its name.

use super::place::{DIRECTORY_MODES, FILES, PART_MODES, PARTS, Place, check_owner, open_seen};
use crate::os::file::{self, At, Fd, Lock, Status};
use crate::os::path::Path;
use crate::os::{OsError, OsResult, dir, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::sentence;

/// How often and how long a lock on a directory is waited for: three seconds.
const TRIES: u32 = 300;
const NAP_NANOS: u32 = 10_000_000;
/// What stands behind the name of a part of the runtime directory that is being made anew.
const HIDDEN: &[u8] = b".new";

impl Place {
    /// Makes the runtime directory: `fill` puts the table into it, whose descriptor it is given. Another maker may be
    /// faster; then its directory counts and ours goes.
    pub fn make(&self, fill: impl FnOnce(&Place, &Fd) -> Stored<()>) -> Stored<()> {
        match self.try_make(fill) {
            // A faster maker may have taken our unfinished one for abandoned; what counts is that there is one.
            Err(_) if file::status_of(&self.directory).is_ok() => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    /// The same for one that nobody else could have made. `Ok(false)`: another maker was faster, and ours is gone.
    #[inline(never)]
    pub(in crate::storage) fn try_make<E: From<StorageError>>(
        &self,
        fill: impl FnOnce(&Place, &Fd) -> Result<(), E>,
    ) -> Result<bool, E> {
        let base = file::open_dir(None, &self.base)
            .map_err(|error| StorageError::system("open", &self.base, error))?;
        let mut hidden = *self;
        let built = hidden.make_hidden(&base)?;
        let made = hidden
            .make_parts(&built)
            .map_err(E::from)
            .and_then(|()| fill(&hidden, &built))
            .and_then(|()| {
                let system = |doing, error| StorageError::system(doing, &self.directory, error);
                // Crash here, until it has its name: a directory that no program opens, unlocked; the next maker removes it.
                file::set_permissions(&built, self.scope.mode(DIRECTORY_MODES))
                    .map_err(|error| system("set the mode of", error))?;
                match dir::rename_new_in(Some(&base), &hidden.directory, &self.directory) {
                    Ok(()) => Ok(true),
                    Err(OsError(libc::EEXIST | libc::ENOTEMPTY)) => Ok(false),
                    Err(error) => Err(system("rename into place", error).into()),
                }
            });
        if !matches!(made, Ok(true)) {
            self.remove_tree(&base, &built, &hidden.directory);
        }
        drop(built);
        let is_ours = made?;
        self.remove_abandoned(&base);
        Ok(is_ours)
    }

    /// The hidden name of the directory for an attempt.
    pub(super) fn hidden_name(&self, attempt: u32) -> Path {
        let seed = process::coarse_nanos() as u32 ^ (process::pid() as u32).rotate_left(16);
        let mut hidden = self.directory;
        let _ = hidden
            .push(b".")
            .and_then(|()| hidden.push_hex8(seed.wrapping_add(attempt.wrapping_mul(0x9e37_79b1))));
        hidden
    }

    /// Makes a directory under a hidden name, and locks it.
    #[inline(never)]
    fn make_hidden(&mut self, base: &Fd) -> Stored<Fd> {
        let mut last = OsError(libc::EEXIST);
        for attempt in 0..100u32 {
            let hidden = self.hidden_name(attempt);
            let made = self.make_dir(Some(base), &hidden, 0o700).and_then(|fd| {
                // Where it is locked, a faster maker takes it for abandoned and removes it.
                file::lock(&fd, Lock::TryExclusive).map(|locked| locked.then_some(fd))
            });
            match made {
                Ok(Some(fd)) => {
                    self.directory = hidden;
                    return Ok(fd);
                }
                // It has been removed already, or the name was not free.
                Ok(None) | Err(OsError(libc::ENOENT | libc::EEXIST)) => {}
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
        Err(self.closed_base(true, "make a directory in", &self.base, last))
    }

    /// Makes a directory of this mode, whatever the umask, and opens it.
    fn make_dir(&self, at: At<'_>, path: &Path, mode: u32) -> OsResult<Fd> {
        dir::make_dir_in(at, path, 0o700)?;
        let open = || {
            let fd = match file::open_dir_to_read(at, path) {
                // The umask has closed it to ourselves.
                Err(OsError(libc::EACCES)) => {
                    let closed = file::open_dir(at, path)?;
                    check_owner(&closed, self.euid)?;
                    file::set_permissions_of_path_fd(&closed, 0o700)?;
                    file::open_dir_to_read(at, path)?
                }
                opened => opened?,
            };
            check_owner(&fd, self.euid)?;
            file::set_permissions(&fd, mode)?;
            Ok(fd)
        };
        let made = open();
        if made.is_err() {
            let _ = dir::remove_dir_in(at, path);
        }
        made
    }

    #[inline(never)]
    fn make_parts(&self, built: &Fd) -> Stored<()> {
        for name in PARTS {
            let path = self.inside(name);
            self.make_dir(Some(built), &path, self.scope.mode(PART_MODES))
                .map_err(|error| StorageError::system("make", &path, error))?;
        }
        Ok(())
    }

    /// Checks the directories in the runtime directory; its owner makes again what was removed. Returns whether
    /// anything was.
    #[inline(never)]
    pub(in crate::storage) fn check_parts(&self, checked: &Status) -> Stored<bool> {
        let mut restored = false;
        for name in PARTS {
            if !self.check_part(name, checked.uid)? {
                self.restore(name, checked, |directory, hidden| {
                    let _ = dir::remove_dir_in(Some(directory), hidden);
                    self.make_dir(Some(directory), hidden, self.scope.mode(PART_MODES))
                        .map_err(|error| StorageError::system("make", hidden, error))?;
                    Ok(())
                })?;
                self.check_part(name, checked.uid)?;
                restored = true;
            }
        }
        Ok(restored)
    }

    /// Makes `name` anew, which was removed from the runtime directory: by its owner alone, for no other user could make what
    /// others trust. `make` is given the directory and the hidden path to make it at, under a lock. Any process that opens the
    /// directory can lock it, so that is not waited for without an end.
    #[cold]
    #[inline(never)]
    pub(in crate::storage) fn restore(
        &self,
        name: &[u8],
        checked: &Status,
        make: impl FnOnce(&Fd, &Path) -> Stored<()>,
    ) -> Stored<()> {
        let path = self.inside(name);
        if checked.uid != self.euid {
            return Err(StorageError::of(sentence::MISSING, &path, checked));
        }
        let system = |doing, error| StorageError::system(doing, &self.directory, error);
        let seen = Some(checked.identity());
        let (directory, _) = open_seen(&self.directory, file::open_dir_to_read, seen)
            .map_err(|error| system("open", error))?;
        self.lock_directory(&directory)?;
        if file::status_in(Some(&directory), &path).is_ok() {
            return Ok(());
        }
        let mut hidden = path;
        let _ = hidden.push(HIDDEN);
        // Crash here: an empty directory, or a table, under a hidden name; the next one, holding the lock, removes it.
        make(&directory, &hidden)?;
        match dir::rename_new_in(Some(&directory), &hidden, &path) {
            Ok(()) | Err(OsError(libc::EEXIST)) => Ok(()),
            Err(error) => Err(StorageError::system("rename into place", &path, error)),
        }
    }

    /// Locks the open runtime directory; what others do to make it whole is waited for, for three seconds.
    pub(super) fn lock_directory(&self, directory: &Fd) -> Stored<()> {
        let failed = |error| StorageError::system("lock", &self.directory, error);
        let mut tries = 0;
        while !file::lock(directory, Lock::TryExclusive).map_err(failed)? {
            if tries == TRIES {
                let secs = (TRIES / 100).into();
                return Err(StorageError::numbers(
                    sentence::LOCKED_FOR,
                    &self.directory,
                    secs,
                    0,
                ));
            }
            tries += 1;
            process::nap(NAP_NANOS);
        }
        Ok(())
    }

    /// Removes what makers that were killed have left in the base directory: directories of our own with the hidden
    /// kind of name whose maker's lock is gone.
    #[inline(never)]
    pub(super) fn remove_abandoned(&self, base: &Fd) {
        self.for_each_abandoned(base, &mut |fd, path| self.remove_tree(base, fd, path));
    }

    /// Calls `each` with every such directory, open and locked.
    pub(super) fn for_each_abandoned(&self, base: &Fd, each: &mut dyn FnMut(&Fd, &Path)) {
        let Ok(to_read) = file::open_dir_to_read(None, &self.base) else {
            return;
        };
        let own = self.directory.name();
        let _ = dir::for_each_entry(&to_read, |name| {
            let suffix = name
                .strip_prefix(own)
                .and_then(|rest| rest.strip_prefix(b"."));
            let is_hidden =
                suffix.is_some_and(|hex| hex.len() == 8 && hex.iter().all(u8::is_ascii_hexdigit));
            let path = self.base.join(name).filter(|_| is_hidden);
            let opened = path.and_then(|path| {
                let fd = file::open_dir_to_read(Some(base), &path).ok()?;
                let is_abandoned = check_owner(&fd, self.euid).is_ok()
                    && file::lock(&fd, Lock::TryExclusive) == Ok(true);
                is_abandoned.then_some((fd, path))
            });
            if let Some((fd, path)) = opened {
                each(&fd, &path);
            }
            true
        });
    }

    /// Removes a runtime directory of our own under its hidden name. What is not ours in it stays, and so does it.
    #[inline(never)]
    pub(super) fn remove_tree(&self, base: &Fd, built: &Fd, path: &Path) {
        for name in PARTS {
            let part = Path::from_bytes(name).unwrap_or_default();
            if let Ok(fd) = file::open_dir_to_read(Some(built), &part) {
                if check_owner(&fd, self.euid).is_ok() {
                    remove_files(&fd);
                    let _ = dir::remove_dir_in(Some(built), &part);
                }
            }
        }
        remove_files(built);
        for name in PARTS {
            // What a killed process has left empty when it made one of them anew.
            let mut part = Path::from_bytes(name).unwrap_or_default();
            let _ = part.push(HIDDEN);
            let _ = dir::remove_dir_in(Some(built), &part);
        }
        let _ = dir::remove_dir_in(Some(base), path);
    }
}

/// Whether this is the name of something that is being made in a runtime directory, or that its killed maker has left.
pub(super) fn is_hidden_part(name: &[u8]) -> bool {
    name.strip_suffix(HIDDEN)
        .is_some_and(|part| FILES.contains(&part) || PARTS.contains(&part))
}

fn remove_files(fd: &Fd) {
    let _ = dir::for_each_entry(fd, |name| {
        if let Some(name) = Path::from_bytes(name) {
            let _ = dir::unlink_in(Some(fd), &name);
        }
        true
    });
}
