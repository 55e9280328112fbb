//! A namespace's place, and whether it can be trusted.
//!
//! ```text
//!   /dev/shm/.shmshim-uid1000/      0700, owned by the effective uid            user scope
//!   /dev/shm/.shmshim/              0755, owned by root or the effective uid    system scope
//!   …-session4711                   the same for one login session
//!     registry                      the table, 0600 or 0666
//!     segments/SYSV0000162e.32769   one file per segment, mode and owner as the segment's creator set them
//!     live/17                       one file per process cell
//! ```
//!
//! `segments` and `live` have mode 0700, or 1777 in system scope. Where the base is, and who could exchange what lies on
//! the way to it, says `base.rs`. What is found in the base is checked and, when it is not as we would have made it,
//! refused; nothing is changed that is not known to be ours. How it is made says `make.rs`.
//!
//! In system scope others have no right to make names in the runtime directory itself, and it must be root's or one's
//! own: then no other user can put another `registry`, `segments` or `live` into it.
//!
//! In a user namespace the name says which uid it is outside: `.shmshim-uid54001-as0`. Programs that call one uid by
//! different numbers never share a table of uids, and no user can make what is another's by his number.

use super::base::{self, Choice};
use crate::os::file::{self, At, Fd, Status};
use crate::os::path::{CAPACITY, Path};
use crate::os::userns::{self, UNMAPPED, Uid};
use crate::os::{OsError, OsResult, env, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::sentence;

/// Which user's a namespace is, or all users'.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// One effective uid.
    User,
    /// All uids of the machine.
    System,
}

impl Scope {
    /// Which of the two modes it is here.
    pub fn mode(self, (user, system): (u32, u32)) -> u32 {
        match self {
            Scope::User => user,
            Scope::System => system,
        }
    }

    /// The mode of a liveness file: to probe a lock takes the right to open the file.
    pub fn live_mode(self) -> u32 {
        self.mode((0o600, 0o444))
    }
}

/// The modes of the runtime directory, of those in it, and of the table: in user scope, and in system scope.
pub(super) const DIRECTORY_MODES: (u32, u32) = (0o700, 0o755);
pub(super) const PART_MODES: (u32, u32) = (0o700, 0o1777);
pub(in crate::storage) const TABLE_MODES: (u32, u32) = (0o600, 0o666);

/// A namespace's place and the rules that hold there.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The base directory.
    pub base: Path,
    /// The runtime directory in it.
    pub directory: Path,
    /// Whose namespace it is.
    pub scope: Scope,
    /// The effective uid of the process that chose it.
    pub euid: u32,
    /// By what the base was chosen.
    pub choice: Choice,
}

/// The files in the runtime directory that are not a segment's: the table, and the file of sets and queues.
pub(in crate::storage) const FILES: [&[u8]; 2] = [b"registry", b"ipc"];
/// The directories in it.
pub(in crate::storage) const PARTS: [&[u8]; 2] = [b"segments", b"live"];

/// Room for the longest name that is made below the runtime directory.
const BELOW: usize = 64;

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
        let mut name = Path::new();
        directory_name(&mut name, scope, session, euid)?;
        let given = if trusted { base::setting()? } else { None };
        let (base, choice) = match given {
            Some(base) => (base, Choice::Setting),
            None => {
                let is_own = |owner| is_owner(scope, euid, owner);
                let base = base::default_base(name.as_bytes(), euid, is_own)?;
                (base, Choice::Default)
            }
        };
        let mut place = Place {
            base,
            directory: base,
            scope,
            euid,
            choice,
        };
        place.set_directory(base, name.as_bytes())?;
        Ok(place)
    }

    /// Whether the settings ask for system scope.
    pub fn is_for_all() -> bool {
        !env::is_secure() && matches!(scope_setting(), Ok((Scope::System, _)))
    }

    /// The place for system scope, if there is no runtime directory for it yet.
    #[inline(never)]
    pub(in crate::storage) fn missing_for_all() -> Option<Place> {
        let mut place = Place::choose().ok()?;
        place.check_base().ok()?;
        (place.check_directory() == Ok(None)).then_some(place)
    }

    fn set_directory(&mut self, base: Path, name: &[u8]) -> Stored<()> {
        let directory = base.join(name);
        let fits = |path: &Path| path.as_bytes().len() + BELOW < CAPACITY;
        self.directory = directory
            .filter(fits)
            .ok_or_else(|| base::too_long(&base))?;
        self.base = base;
        Ok(())
    }

    /// Checks the base directory and the way to it, and has both paths be those without links: a real directory, root's or
    /// ours, in which no other user can exchange anything, on a file system that will do. Returns the magic number of that.
    #[inline(never)]
    pub fn check_base(&mut self) -> Stored<u64> {
        let (base, _) = base::resolve(&self.base, self.euid, self.choice)?;
        if base != self.base {
            let directory = self.directory;
            self.set_directory(base, directory.name())?;
        }
        let system = file::file_system_of(&self.base)
            .map_err(|error| StorageError::system("statfs", &self.base, error))?;
        let magic = system.magic;
        let refused = |sentence| Err(StorageError::numbers(sentence, &self.base, magic, 0));
        if INCOHERENT.contains(&magic) {
            refused(sentence::INCOHERENT)
        } else if NO_PLACE.contains(&magic) {
            refused(sentence::NO_PLACE)
        } else {
            Ok(magic)
        }
    }

    /// Checks the runtime directory. `Ok(None)`: there is none yet.
    #[inline(never)]
    pub fn check_directory(&self) -> Stored<Option<Status>> {
        let path = &self.directory;
        let seen = status_if_there(path);
        let Some(status) = seen.map_err(|error| self.closed_base(false, "stat", path, error))?
        else {
            return Ok(None);
        };
        let owner = match self.scope {
            Scope::User => self.euid,
            Scope::System if status.is_dir() && !self.is_own(status.uid) => {
                return Err(StorageError::of(sentence::NOT_ROOTS, path, &status));
            }
            Scope::System => status.uid,
        };
        let mode = self.scope.mode(DIRECTORY_MODES);
        check(path, &status, sentence::NOT_A_DIRECTORY, owner, mode)?;
        Ok(Some(status))
    }

    /// Why something failed that asks for a right to the base: to search it, or to write to it.
    #[cold]
    #[inline(never)]
    pub(super) fn closed_base(
        &self,
        writes: bool,
        doing: &'static str,
        what: &Path,
        error: OsError,
    ) -> StorageError {
        match file::status_of(&self.base) {
            Ok(base) if error.0 == libc::EACCES => {
                let closed = match writes {
                    true => sentence::NOT_WRITABLE,
                    false => sentence::NOT_SEARCHABLE,
                };
                StorageError::of(closed, &self.base, &base)
            }
            _ => StorageError::system(doing, what, error),
        }
    }

    /// Whether a runtime directory of this owner is one that we would use. On a hugetlbfs it has no table, and in system
    /// scope it is that of the first process.
    fn is_own(&self, owner: u32) -> bool {
        is_owner(self.scope, self.euid, owner) || self.choice == Choice::Mount
    }

    /// Checks the directory `name` in the runtime directory, whose owner is known. `Ok(false)`: it is missing.
    #[inline(never)]
    pub(in crate::storage) fn check_part(&self, name: &[u8], owner: u32) -> Stored<bool> {
        let path = self.inside(name);
        let seen = status_if_there(&path);
        let Some(status) = seen.map_err(|error| StorageError::system("stat", &path, error))? else {
            return Ok(false);
        };
        let mode = self.scope.mode(PART_MODES);
        check(&path, &status, sentence::NOT_A_DIRECTORY, owner, mode)?;
        Ok(true)
    }

    /// Checks the open table file; its owner is the runtime directory's.
    #[inline(never)]
    pub fn check_table(&self, path: &Path, fd: &Fd, owner: u32) -> Stored<Status> {
        let status = file::status(fd).map_err(|error| StorageError::system("stat", path, error))?;
        check(
            path,
            &status,
            sentence::NOT_A_FILE,
            owner,
            self.scope.mode(TABLE_MODES),
        )?;
        if status.links != 1 {
            return Err(StorageError::of(sentence::HARD_LINKED, path, &status));
        }
        Ok(status)
    }

    /// The path of `name` in the runtime directory.
    pub fn inside(&self, name: &[u8]) -> Path {
        // `set_directory` has made sure of the room.
        self.directory.join(name).unwrap_or(self.directory)
    }
}

/// Whether a runtime directory of this owner can be used: in system scope root's, for all; one's own always.
fn is_owner(scope: Scope, euid: u32, owner: u32) -> bool {
    owner == euid || scope == Scope::System && owner == 0
}

/// Puts the name of the runtime directory into `name`, which is empty.
#[inline(never)]
fn directory_name(name: &mut Path, scope: Scope, session: bool, euid: u32) -> Stored<()> {
    let uid = userns::outer(euid);
    if uid == Uid::None || uid != Uid::Same && euid == UNMAPPED {
        let euid = euid.into();
        return Err(StorageError::numbers(sentence::UNMAPPED, name, euid, 0));
    }
    let mut push = || {
        if scope == Scope::System {
            name.push(b".shmshim")?;
        } else {
            name.push(b".shmshim-uid")?;
            push_uid(name, euid, uid)?;
        }
        if session {
            name.push(b"-session")?;
            name.push_decimal(process::session() as u32)?;
        }
        Some(())
    };
    push().ok_or_else(|| base::too_long(name))
}

#[inline(never)]
fn push_uid(name: &mut Path, euid: u32, uid: Uid) -> Option<()> {
    match uid {
        Uid::Outer(0) if !userns::shows_root() => {
            // A root that is not the machine's: what it is called outside says nothing of which user it is.
            name.push_decimal(euid)?;
            name.push(b"-userns")?;
            name.push_decimal(userns::number().unwrap_or(0) as u32)
        }
        Uid::Outer(outer) if outer != euid => {
            name.push_decimal(outer)?;
            name.push(b"-as")?;
            name.push_decimal(euid)
        }
        _ => name.push_decimal(euid),
    }
}

/// Whether a file of the namespace is what it should be, else `wanted` is said; whose, and of which mode.
pub fn check(
    path: &Path,
    status: &Status,
    wanted: &'static str,
    owner: u32,
    mode: u32,
) -> Stored<()> {
    let is_wanted = match wanted {
        sentence::NOT_A_DIRECTORY => status.is_dir(),
        _ => status.is_file(),
    };
    let wrong = |sentence, should| Err(StorageError::of_other(sentence, path, status, should));
    if !is_wanted {
        wrong(wanted, 0)
    } else if status.uid != owner {
        wrong(sentence::WRONG_OWNER, owner)
    } else if status.permissions() != mode {
        wrong(sentence::WRONG_MODE, mode)
    } else {
        Ok(())
    }
}

fn status_if_there(path: &Path) -> OsResult<Option<Status>> {
    match file::status_of(path) {
        Err(OsError(libc::ENOENT)) => Ok(None),
        seen => seen.map(Some),
    }
}

/// Opens the directory `path`, if it is the one that was seen (else `ESTALE`). Returns its owner, too.
pub(super) fn open_seen(
    path: &Path,
    open: fn(At<'_>, &Path) -> OsResult<Fd>,
    seen: Option<(u64, u64)>,
) -> OsResult<(Fd, u32)> {
    let fd = open(None, path)?;
    let status = file::status(&fd)?;
    match seen {
        Some(seen) if seen != status.identity() => Err(OsError(libc::ESTALE)),
        _ => Ok((fd, status.uid)),
    }
}

/// Whether what was opened is of this owner; else something has taken its place (`ESTALE`).
pub(super) fn check_owner(fd: &Fd, owner: u32) -> OsResult<()> {
    match file::status(fd)?.uid == owner {
        true => Ok(()),
        false => Err(OsError(libc::ESTALE)),
    }
}

fn scope_setting() -> Stored<(Scope, bool)> {
    let mut text = [0u8; 32];
    if !env::is_set(c"SHMSHIM_SCOPE") {
        return Ok((Scope::User, false));
    }
    let len = env::get(c"SHMSHIM_SCOPE", &mut text).unwrap_or(text.len());
    parse_scope(text.get(..len).unwrap_or(&[]))
        .ok_or_else(|| StorageError::at(sentence::NO_SUCH_SCOPE, &Path::new()))
}

/// What the setting of the scope says; and whether the namespace is for one session.
pub fn parse_scope(text: &[u8]) -> Option<(Scope, bool)> {
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

/// File systems on which no files can be made.
const NO_PLACE: [u64; 9] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x1cd1,      // devpts
    0x27_e0eb,   // cgroup
    0x6367_7270, // cgroup2
    0x6265_6570, // configfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x1980_0202, // mqueue
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
