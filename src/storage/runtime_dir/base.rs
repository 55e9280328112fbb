//! Where the base directory is, and who could exchange what lies on the way to it.
//!
//! Without `SHMSHIM_DIR` it is the first of these that can be used:
//!
//! | base | why |
//! |---|---|
//! | `/run/shmshim` | made by the administrator (root's, mode 1777), so that no other program cleans it up |
//! | `/dev/shm` | a tmpfs on nearly every machine; systemd-logind removes a user's files there when his last session ends |
//! | `/tmp` | where there is nothing better |
//!
//! Two programs must agree whenever they were started. So a namespace of one's own that lies in any of the three goes on
//! being used as long as it is there, and only a new one is made in the first of them: programs from before and after the
//! day on which `/run/shmshim` appears meet in the older place. An inherited TMPDIR has no say.
//!
//! A base, and each directory on the way to it, must belong to root or to oneself, and be writable for no other user or
//! sticky. Then no other user can put another directory in the place of one that was looked at, and a path that was
//! followed once leads to the same files as long as root and oneself leave them there.

use crate::os::file::{self, Status};
use crate::os::path::{CAPACITY, Path};
use crate::os::userns::{self, UNMAPPED, Uid};
use crate::os::{OsError, dir, env};
use crate::storage::error::{StorageError, Stored};
use crate::storage::sentence;

const STICKY: u32 = 0o1000;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const LINKS: u32 = 40;

/// The base that the administrator makes, and those that are there anyway.
const DEFAULTS: [&[u8]; 3] = [b"/run/shmshim", b"/dev/shm", b"/tmp"];

/// By what a base was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// By the library: it is one of the three.
    Default,
    /// By `SHMSHIM_DIR`.
    Setting,
    /// By a hugetlbfs that is mounted there.
    Mount,
}

/// The base for a namespace of this name when no setting names one. `is_own` says of an owner whether a directory of that
/// name can be ours.
#[inline(never)]
pub(in crate::storage) fn default_base(
    name: &[u8],
    euid: u32,
    is_own: impl Fn(u32) -> bool,
) -> Stored<Path> {
    let mut first = None;
    for text in DEFAULTS {
        let base = Path::from_bytes(text).unwrap_or_default();
        let here = base.join(name).unwrap_or_default();
        let exists = file::status_of(&here).is_ok_and(|status| is_own(status.uid));
        if (exists || first.is_none()) && is_usable(&base, euid) {
            if exists {
                return Ok(base);
            }
            first = Some(base);
        }
    }
    first.ok_or_else(|| StorageError::at(sentence::NO_DEFAULT, &Path::new()))
}

/// Whether files can be made there, and no other user could exchange them.
#[inline(never)]
fn is_usable(base: &Path, euid: u32) -> bool {
    // Where there is none, that is known sooner.
    if file::status_of(base).is_err() {
        return false;
    }
    let is_made_for_this = base.as_bytes() == DEFAULTS[0];
    let Ok((base, status)) = resolve(base, euid, Choice::Default) else {
        return false;
    };
    let open_to_us = if is_made_for_this {
        // The same for all, or programs of different users would not agree.
        status.permissions() == 0o1777 && (status.uid != euid || euid == 0)
    } else {
        status.uid == euid || status.permissions() & STICKY != 0
    };
    open_to_us && file::is_writable(&base)
}

/// What `SHMSHIM_DIR` says, as an absolute path; `None` where it says nothing.
#[inline(never)]
pub(in crate::storage) fn setting() -> Stored<Option<Path>> {
    if !env::is_set(c"SHMSHIM_DIR") {
        return Ok(None);
    }
    let mut text = [0u8; CAPACITY];
    let len = env::get(c"SHMSHIM_DIR", &mut text).ok_or_else(far_too_long)?;
    let text = text.get(..len).unwrap_or(&[]);
    if text.is_empty() {
        return Ok(None);
    }
    let given = Path::from_bytes(text).ok_or_else(far_too_long)?;
    if text.first() == Some(&b'/') {
        return Ok(Some(given));
    }
    // The host may change its directory later; the namespace stays where it is.
    let here = dir::working_directory().map_err(|error| StorageError::Call {
        doing: "find the working directory, which SHMSHIM_DIR is relative to",
        error,
    })?;
    here.join(text).map(Some).ok_or_else(|| too_long(&given))
}

/// Too long a path for the names that are made below it.
#[cold]
pub(in crate::storage) fn too_long(path: &Path) -> StorageError {
    StorageError::at(sentence::TOO_LONG, path)
}

fn far_too_long() -> StorageError {
    StorageError::at(sentence::FAR_TOO_LONG, &Path::new())
}

/// Follows `given` to the directory that it leads to, and makes sure that only root and oneself could lead it
/// elsewhere. Returns the path without links, and what was seen there.
#[inline(never)]
pub(in crate::storage) fn resolve(
    given: &Path,
    euid: u32,
    choice: Choice,
) -> Stored<(Path, Status)> {
    let mut rest = *given;
    let mut at = 0;
    let mut links = 0;
    let mut here = Path::from_bytes(b"/").unwrap_or_default();
    let mut status = look(&here)?;
    check(&here, &status, euid)?;
    loop {
        let behind = rest.as_bytes().get(at..).unwrap_or(&[]);
        at += behind.iter().take_while(|&&byte| byte == b'/').count();
        let behind = rest.as_bytes().get(at..).unwrap_or(&[]);
        let name = behind.split(|&byte| byte == b'/').next().unwrap_or(&[]);
        at += name.len();
        match name {
            b"" => break,
            b"." => {}
            b".." => {
                here.pop();
                status = look(&here)?;
            }
            _ => {
                let parent = status;
                let next = here.join(name).ok_or_else(|| too_long(given))?;
                status = file::status_of(&next).map_err(|error| match error {
                    OsError(libc::ENOENT) => StorageError::at(
                        match choice {
                            Choice::Setting => sentence::NO_SUCH_SETTING,
                            _ => sentence::NO_BASE,
                        },
                        &next,
                    ),
                    OsError(libc::EACCES) => {
                        StorageError::of(sentence::NOT_SEARCHABLE, &here, &parent)
                    }
                    error => StorageError::system("stat", &next, error),
                })?;
                let behind = rest.as_bytes().get(at..).unwrap_or(&[]);
                let is_last = behind.iter().all(|&byte| byte == b'/');
                if !status.is_link() {
                    check(&next, &status, euid)?;
                    here = next;
                } else if is_last && choice != Choice::Default {
                    return Err(StorageError::of(sentence::NOT_A_DIRECTORY, &next, &status));
                } else {
                    links += 1;
                    rest = follow(&next, &status, behind, euid, links)?;
                    at = 0;
                    if rest.as_bytes().first() == Some(&b'/') {
                        here = Path::from_bytes(b"/").unwrap_or_default();
                        status = look(&here)?;
                    } else {
                        status = parent;
                    }
                }
            }
        }
    }
    if status.uid == UNMAPPED && choice != Choice::Default && status.uid != euid {
        return Err(StorageError::of(sentence::FOREIGN_WAY, &here, &status));
    }
    Ok((here, status))
}

/// What is to be followed in place of a link, with what stood behind it.
#[inline(never)]
fn follow(link: &Path, status: &Status, behind: &[u8], euid: u32, links: u32) -> Stored<Path> {
    if !is_trusted(status.uid, euid) {
        return Err(StorageError::of(sentence::FOREIGN_LINK, link, status));
    }
    let cannot = |error| StorageError::system("follow", link, error);
    if links > LINKS {
        return Err(cannot(OsError(libc::ELOOP)));
    }
    let mut path = dir::read_link(link).map_err(cannot)?;
    path.push(behind).ok_or_else(|| too_long(link))?;
    Ok(path)
}

fn look(path: &Path) -> Stored<Status> {
    file::status_of(path).map_err(|error| StorageError::system("stat", path, error))
}

/// Whether only root and oneself could exchange what lies in this directory.
fn check(path: &Path, status: &Status, euid: u32) -> Stored<()> {
    let mode = status.permissions();
    let wrong = if !status.is_dir() {
        sentence::NOT_A_DIRECTORY
    } else if !is_trusted(status.uid, euid) {
        sentence::FOREIGN_WAY
    } else if mode & WRITABLE_BY_OTHERS != 0 && mode & STICKY == 0 {
        sentence::LOOSE_BASE
    } else {
        return Ok(());
    };
    Err(StorageError::of(wrong, path, status))
}

/// Whether this is root or oneself. Where the machine's root has no name, neither have many others: an owner without a
/// name counts as root there, for else there would be no way to any directory.
fn is_trusted(owner: u32, euid: u32) -> bool {
    owner == 0 || owner == euid || owner == UNMAPPED && root_has_no_name(euid)
}

fn root_has_no_name(euid: u32) -> bool {
    userns::outer(euid) != Uid::Same && !userns::shows_root()
}
