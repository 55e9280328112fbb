//! Where the namespace lies, and whether that place can be trusted.
//!
//! ```text
//!   /dev/shm/.shmshim-uid1000/      0700, owned by the effective uid        user scope
//!   /dev/shm/.shmshim/              1777, for all uids                      system scope
//!   …-session4711                   the same for one login session
//!     registry                      the table, 0600 or 0666
//!     segments/SYSV0000162e.32769   one file per segment, mode and owner as the segment's creator set them
//!     live/17                       one file per process cell
//! ```
//!
//! The base is /dev/shm, or /tmp where there is no /dev/shm to write to: a fixed rule, for two programs of one user
//! must agree; never an inherited TMPDIR. `SHMSHIM_DIR` names another base. A runtime directory is built whole
//! under a name that nobody looks up, and renamed into place last, so a half-made one is never seen. What is found
//! there is checked and, when it is not as we would have made it, refused; nothing is ever repaired that is not
//! known to be ours.

use super::obstacle::{Obstacle, Stored};
use crate::os::file::{self, Fd, Lock, Status};
use crate::os::path::Path;
use crate::os::{OsError, env, process};

/// For whom a namespace is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// One effective uid.
    User,
    /// All uids of the machine.
    System,
}

impl Scope {
    /// The mode of a liveness file: to look at a lock takes the right to open the file.
    pub fn live_mode(self) -> u32 {
        match self {
            Scope::User => 0o600,
            Scope::System => 0o444,
        }
    }
}

/// A namespace's place and the rules that hold there.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The base directory.
    pub base: Path,
    /// The runtime directory in it.
    pub directory: Path,
    /// For whom.
    pub scope: Scope,
    /// The effective uid of whoever chose it.
    pub euid: u32,
}

const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;

impl Place {
    /// Reads the settings and chooses. In an AT_SECURE process the environment is not asked.
    #[inline(never)]
    pub fn choose() -> Stored<Place> {
        let euid = process::euid();
        let trusted = !env::is_secure();
        let (scope, session) = if trusted {
            scope_setting()?
        } else {
            (Scope::User, false)
        };
        let base = match trusted.then(base_setting).transpose()?.flatten() {
            Some(base) => base,
            None => default_base(),
        };
        let mut name = Path::new();
        let built = match scope {
            Scope::User => name
                .push(b".shmshim-uid")
                .and_then(|()| name.push_decimal(euid)),
            Scope::System => name.push(b".shmshim"),
        }
        .and_then(|()| {
            if session {
                name.push(b"-session")
            } else {
                Some(())
            }
        })
        .and_then(|()| {
            if session {
                name.push_decimal(process::session() as u32)
            } else {
                Some(())
            }
        })
        .and_then(|()| base.join(name.as_bytes()));
        match built {
            // Room for the longest name that is made below it.
            Some(directory) if directory.as_bytes().len() + 64 < crate::os::path::CAPACITY => {
                Ok(Place {
                    base,
                    directory,
                    scope,
                    euid,
                })
            }
            _ => Err(Obstacle::BadSetting {
                name: "SHMSHIM_DIR",
                what: "is too long",
            }),
        }
    }

    /// The mode of the runtime directory and those in it.
    pub fn directory_mode(&self) -> u32 {
        match self.scope {
            Scope::User => 0o700,
            Scope::System => 0o1777,
        }
    }

    /// The mode of the table.
    pub fn table_mode(&self) -> u32 {
        match self.scope {
            Scope::User => 0o600,
            Scope::System => 0o666,
        }
    }

    /// Checks the base directory: a real directory, sticky or ours alone, on a file system that will do.
    /// Returns that file system's magic number.
    #[inline(never)]
    pub fn check_base(&self) -> Stored<u64> {
        let system = |doing, error| Obstacle::system(doing, &self.base, error);
        let status = match file::open(&self.base, libc::O_PATH, 0) {
            Ok(fd) => file::status(&fd).map_err(|error| system("stat", error))?,
            Err(error) => return Err(system("open", error)),
        };
        if !status.is_dir() {
            return Err(Obstacle::WrongKind {
                path: self.base,
                found: status.kind(),
                wanted: "a directory",
                owner: status.uid,
            });
        }
        let mode = status.permissions();
        let ours = (status.uid == self.euid || status.uid == 0) && mode & WRITABLE_BY_OTHERS == 0;
        if mode & STICKY == 0 && !ours {
            return Err(Obstacle::LooseBase {
                path: self.base,
                owner: status.uid,
                mode,
            });
        }
        let system_of =
            file::file_system_of(&self.base).map_err(|error| system("statfs", error))?;
        if INCOHERENT.contains(&system_of.magic) {
            return Err(Obstacle::Incoherent {
                path: self.base,
                magic: system_of.magic,
            });
        }
        Ok(system_of.magic)
    }

    /// Checks the runtime directory and the two in it. `Ok(false)`: there is none yet.
    #[inline(never)]
    pub fn check_directory(&self) -> Stored<bool> {
        let status = match file::status_of(&self.directory) {
            Ok(status) => status,
            Err(OsError(libc::ENOENT)) => return Ok(false),
            Err(error) => return Err(Obstacle::system("stat", &self.directory, error)),
        };
        let owner = match self.scope {
            Scope::User => self.euid,
            // Whoever made it first. He could remove it, and nothing worse: see SECURITY.md.
            Scope::System => status.uid,
        };
        check(
            &self.directory,
            &status,
            "a directory",
            owner,
            self.directory_mode(),
        )?;
        for name in [&b"segments"[..], b"live"] {
            let path = self.inside(name);
            let mode = self.directory_mode();
            let status = file::status_of(&path).map_err(|error| match error {
                OsError(libc::ENOENT) => Obstacle::Missing { path, mode },
                error => Obstacle::system("stat", &path, error),
            })?;
            check(&path, &status, "a directory", owner, self.directory_mode())?;
        }
        Ok(true)
    }

    /// Checks the open table file.
    #[inline(never)]
    pub fn check_table(&self, path: &Path, fd: &Fd) -> Stored<Status> {
        let status = file::status(fd).map_err(|error| Obstacle::system("stat", path, error))?;
        let owner = match self.scope {
            Scope::User => self.euid,
            Scope::System => {
                let directory = file::status_of(&self.directory)
                    .map_err(|error| Obstacle::system("stat", &self.directory, error))?;
                directory.uid
            }
        };
        check(path, &status, "a regular file", owner, self.table_mode())?;
        if status.links != 1 {
            return Err(Obstacle::HardLinked {
                path: *path,
                owner: status.uid,
            });
        }
        Ok(status)
    }

    /// The path of `name` in the runtime directory.
    pub fn inside(&self, name: &[u8]) -> Path {
        // `choose` has made sure of the room.
        self.directory.join(name).unwrap_or(self.directory)
    }

    /// Makes the runtime directory: `fill` puts the table into a directory that nobody knows yet, then it gets its
    /// name. Somebody else may be faster; then theirs counts and ours goes.
    pub fn make(&self, fill: impl FnOnce(&Place) -> Stored<()>) -> Stored<()> {
        match self.try_make(fill) {
            // A faster maker may have taken our unfinished one for abandoned; what counts is that there is one.
            Err(_) if file::status_of(&self.directory).is_ok() => Ok(()),
            answer => answer,
        }
    }

    #[inline(never)]
    fn try_make(&self, fill: impl FnOnce(&Place) -> Stored<()>) -> Stored<()> {
        let mut hidden = *self;
        let lock = hidden.make_hidden()?;
        let made = hidden.make_inside().and_then(|()| fill(&hidden));
        let renamed = made.and_then(|()| {
            // Crash here: a directory with a name that nobody looks up, unlocked; the next maker removes it.
            match file::rename_new(&hidden.directory, &self.directory) {
                Ok(()) => Ok(true),
                Err(OsError(libc::EEXIST | libc::ENOTEMPTY)) => Ok(false),
                Err(error) => Err(Obstacle::system(
                    "rename into place",
                    &self.directory,
                    error,
                )),
            }
        });
        if !matches!(renamed, Ok(true)) {
            remove_tree(&hidden.directory);
        }
        drop(lock);
        renamed?;
        self.remove_abandoned();
        Ok(())
    }

    #[inline(never)]
    fn make_hidden(&mut self) -> Stored<Fd> {
        let seed = process::coarse_nanos() as u32 ^ (process::pid() as u32).rotate_left(16);
        let mut last = OsError(libc::EEXIST);
        for attempt in 0..100u32 {
            let mut hidden = self.directory;
            let _ = hidden.push(b".").and_then(|()| {
                hidden.push_hex8(seed.wrapping_add(attempt.wrapping_mul(0x9e37_79b1)))
            });
            match file::make_dir(&hidden, 0o700) {
                Ok(()) => {
                    let locked = file::open(&hidden, libc::O_RDONLY | libc::O_DIRECTORY, 0)
                        .and_then(|fd| {
                            if !file::lock(&fd, Lock::TryExclusive)? {
                                // A faster maker takes it for abandoned and removes it.
                                return Ok(None);
                            }
                            // The umask may have taken bits.
                            file::set_permissions(&fd, self.directory_mode())?;
                            Ok(Some(fd))
                        })
                        .or_else(|error| match error {
                            // He has done so already.
                            OsError(libc::ENOENT) => Ok(None),
                            error => Err(error),
                        })
                        .map_err(|error| {
                            let _ = file::remove_dir(&hidden);
                            Obstacle::system("open", &hidden, error)
                        })?;
                    if let Some(lock) = locked {
                        self.directory = hidden;
                        return Ok(lock);
                    }
                }
                Err(error) => last = error,
            }
            if last != OsError(libc::EEXIST) {
                break;
            }
        }
        Err(Obstacle::system("make a directory in", &self.base, last))
    }

    #[inline(never)]
    fn make_inside(&self) -> Stored<()> {
        for name in [&b"segments"[..], b"live"] {
            let path = self.inside(name);
            file::make_dir(&path, 0o700)
                .and_then(|()| file::open(&path, libc::O_RDONLY | libc::O_DIRECTORY, 0))
                .and_then(|fd| file::set_permissions(&fd, self.directory_mode()))
                .map_err(|error| Obstacle::system("make", &path, error))?;
        }
        Ok(())
    }

    /// Removes what makers that were killed have left in the base directory: directories of our own with the hidden
    /// kind of name whose maker's lock is gone.
    #[inline(never)]
    fn remove_abandoned(&self) {
        let Ok(base) = file::open(&self.base, libc::O_RDONLY | libc::O_DIRECTORY, 0) else {
            return;
        };
        let full = self.directory.as_bytes();
        let own = full.rsplit(|&byte| byte == b'/').next().unwrap_or(full);
        let _ = file::for_each_entry(&base, |name| {
            let suffix = name
                .strip_prefix(own)
                .and_then(|rest| rest.strip_prefix(b"."));
            if suffix.is_some_and(|hex| hex.len() == 8 && hex.iter().all(u8::is_ascii_hexdigit)) {
                if let Some(path) = self.base.join(name) {
                    self.remove_if_abandoned(&path);
                }
            }
            true
        });
    }

    fn remove_if_abandoned(&self, path: &Path) {
        let Ok(fd) = file::open(path, libc::O_RDONLY | libc::O_DIRECTORY, 0) else {
            return;
        };
        let ours = file::status(&fd).is_ok_and(|status| status.uid == self.euid);
        if ours && file::lock(&fd, Lock::TryExclusive) == Ok(true) {
            remove_tree(path);
        }
    }
}

/// Removes a runtime directory under its hidden name.
#[inline(never)]
fn remove_tree(directory: &Path) {
    for name in [&b"segments"[..], b"live"] {
        if let Some(path) = directory.join(name) {
            remove_files(&path);
            let _ = file::remove_dir(&path);
        }
    }
    remove_files(directory);
    let _ = file::remove_dir(directory);
}

fn remove_files(directory: &Path) {
    if let Ok(fd) = file::open(directory, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
        let _ = file::for_each_entry(&fd, |name| {
            if let Some(path) = directory.join(name) {
                let _ = file::unlink(&path);
            }
            true
        });
    }
}

fn check(path: &Path, status: &Status, wanted: &'static str, owner: u32, mode: u32) -> Stored<()> {
    let right_kind = if wanted == "a directory" {
        status.is_dir()
    } else {
        status.is_file()
    };
    if !right_kind {
        return Err(Obstacle::WrongKind {
            path: *path,
            found: status.kind(),
            wanted,
            owner: status.uid,
        });
    }
    if status.uid != owner {
        return Err(Obstacle::WrongOwner {
            path: *path,
            owner: status.uid,
            wanted: owner,
        });
    }
    if status.permissions() != mode {
        return Err(Obstacle::WrongMode {
            path: *path,
            owner: status.uid,
            mode: status.permissions(),
            wanted: mode,
        });
    }
    Ok(())
}

fn default_base() -> Path {
    let shm = Path::from_bytes(b"/dev/shm").unwrap_or_default();
    let open_to_us = file::status_of(&shm).is_ok_and(|status| {
        status.is_dir() && (status.permissions() & STICKY != 0 || status.uid == process::euid())
    });
    if open_to_us && file::is_writable(&shm) {
        shm
    } else {
        Path::from_bytes(b"/tmp").unwrap_or_default()
    }
}

#[inline(never)]
fn base_setting() -> Stored<Option<Path>> {
    let bad = |what| Obstacle::BadSetting {
        name: "SHMSHIM_DIR",
        what,
    };
    if !env::is_set(c"SHMSHIM_DIR") {
        return Ok(None);
    }
    let mut text = [0u8; crate::os::path::CAPACITY];
    let len = env::get(c"SHMSHIM_DIR", &mut text).ok_or(bad("is too long"))?;
    let text = text.get(..len).unwrap_or(&[]);
    let text = match text {
        [] => return Ok(None),
        [b'/'] => text,
        _ => text.strip_suffix(b"/").unwrap_or(text),
    };
    let given = Path::from_bytes(text).ok_or(bad("is too long"))?;
    if text.first() == Some(&b'/') {
        return Ok(Some(given));
    }
    // The host may change its directory later; the namespace stays where it is.
    let here = file::working_directory().map_err(|error| Obstacle::Call {
        doing: "find the working directory, which SHMSHIM_DIR is relative to",
        error,
    })?;
    here.join(text).map(Some).ok_or(bad("is too long"))
}

fn scope_setting() -> Stored<(Scope, bool)> {
    let mut text = [0u8; 32];
    if !env::is_set(c"SHMSHIM_SCOPE") {
        return Ok((Scope::User, false));
    }
    let len = env::get(c"SHMSHIM_SCOPE", &mut text).unwrap_or(text.len());
    parse_scope(text.get(..len).unwrap_or(&[])).ok_or(Obstacle::BadSetting {
        name: "SHMSHIM_SCOPE",
        what: "must be \"user\" or \"system\", with \",session\" behind it for one login session",
    })
}

pub(crate) fn parse_scope(text: &[u8]) -> Option<(Scope, bool)> {
    let (scope, session) = match text.strip_suffix(b",session") {
        Some(scope) => (scope, true),
        None => (text, false),
    };
    match scope {
        b"user" | b"" => Some((Scope::User, session)),
        b"system" => Some((Scope::System, session)),
        _ => None,
    }
}

/// File systems where a lock or a shared mapping on one machine is not seen on another.
const INCOHERENT: [u64; 9] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x0102_1997, // 9P
    0x5346_414f, // AFS
    0x7375_7245, // Coda
    0x00c3_6400, // Ceph
    0x0bd0_0bd0, // Lustre
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_two_words() {
        assert_eq!(parse_scope(b"user"), Some((Scope::User, false)));
        assert_eq!(parse_scope(b""), Some((Scope::User, false)));
        assert_eq!(parse_scope(b"system,session"), Some((Scope::System, true)));
        assert_eq!(parse_scope(b"user,session"), Some((Scope::User, true)));
        for bad in [&b"System"[..], b"system,", b"session", b"user,login"] {
            assert_eq!(parse_scope(bad), None);
        }
    }
}
