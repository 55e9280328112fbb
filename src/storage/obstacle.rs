//! Why the surroundings refuse: which path, whose it is, and what to do.

use crate::os::OsError;
use crate::os::path::Path;
use core::fmt;

/// A refusal by the file system or by what lies in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Obstacle {
    /// A system call failed on a path.
    System {
        /// What was tried, such as "open".
        doing: &'static str,
        /// On what.
        path: Path,
        /// How it failed.
        error: OsError,
    },
    /// A system call without a path failed.
    Call {
        /// What was tried.
        doing: &'static str,
        /// How it failed.
        error: OsError,
    },
    /// Something else stands where a file or directory of ours should be.
    WrongKind {
        /// Where.
        path: Path,
        /// What stands there.
        found: &'static str,
        /// What should.
        wanted: &'static str,
        /// Its owner.
        owner: u32,
    },
    /// It belongs to somebody else.
    WrongOwner {
        /// What.
        path: Path,
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        wanted: u32,
    },
    /// Its permissions let too many or too few in.
    WrongMode {
        /// What.
        path: Path,
        /// Its owner.
        owner: u32,
        /// The mode it has.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// Others could exchange what we make in the base directory.
    LooseBase {
        /// The base directory.
        path: Path,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// A file has more than one name.
    HardLinked {
        /// One of them.
        path: Path,
        /// Its owner.
        owner: u32,
    },
    /// Locks or mappings of this file system are not seen by everybody.
    Incoherent {
        /// The base directory.
        path: Path,
        /// The file system's magic number.
        magic: u64,
    },
    /// The table was made by another version.
    OtherVersion {
        /// The table.
        path: Path,
        /// Its layout version.
        version: u32,
        /// Ours.
        ours: u32,
    },
    /// The table is not one, or is damaged beyond use.
    Damaged {
        /// The table.
        path: Path,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A segment's file is shorter than the segment.
    Short {
        /// The file.
        path: Path,
        /// Its length in bytes.
        len_bytes: u64,
        /// What the table says.
        wanted_bytes: u64,
    },
    /// SHMSHIM_DIR or SHMSHIM_SCOPE say something that cannot be.
    BadSetting {
        /// The variable.
        name: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file system could not hold what was already promised and this too.
    NoRoom {
        /// The runtime directory.
        path: Path,
        /// Bytes asked for.
        asked_bytes: u64,
        /// Bytes that could still be promised.
        left_bytes: u64,
    },
    /// A part of the table is full.
    TableFull {
        /// Which.
        what: &'static str,
        /// How many it holds.
        holds: u32,
    },
}

impl Obstacle {
    /// A failed system call on `path`.
    pub fn system(doing: &'static str, path: &Path, error: OsError) -> Obstacle {
        Obstacle::System {
            doing,
            path: *path,
            error,
        }
    }

    /// The kernel's error where the obstacle is one.
    pub fn os_error(&self) -> Option<OsError> {
        match self {
            Obstacle::System { error, .. } | Obstacle::Call { error, .. } => Some(*error),
            _ => None,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::System { doing, path, error } => {
                write!(f, "cannot {doing} {path}: {error}{}", advice(*error))
            }
            Obstacle::Call { doing, error } => {
                write!(f, "cannot {doing}: {error}{}", advice(*error))
            }
            Obstacle::WrongKind {
                path,
                found,
                wanted,
                owner,
            } => write!(
                f,
                "{path} is {found} of uid {owner}, not {wanted}; remove it or choose another SHMSHIM_DIR"
            ),
            Obstacle::WrongOwner {
                path,
                owner,
                wanted,
            } => write!(
                f,
                "{path} belongs to uid {owner}, not to uid {wanted}; have its owner remove it or choose another SHMSHIM_DIR"
            ),
            Obstacle::WrongMode {
                path,
                owner,
                mode,
                wanted,
            } => write!(
                f,
                "{path} of uid {owner} has mode {mode:04o}, not {wanted:04o}; chmod {wanted:04o} it if nobody else has touched it, or choose another SHMSHIM_DIR"
            ),
            Obstacle::LooseBase { path, owner, mode } => write!(
                f,
                "{path} of uid {owner} has mode {mode:04o}: others could exchange what lies in it; it must be yours and writable for you alone, or sticky"
            ),
            Obstacle::HardLinked { path, owner } => write!(
                f,
                "{path} of uid {owner} has a second name (hard link); remove it"
            ),
            Obstacle::Incoherent { path, magic } => write!(
                f,
                "{path} lies on a file system (type {magic:#x}) whose locks or mappings not everybody sees; choose a SHMSHIM_DIR on tmpfs"
            ),
            Obstacle::OtherVersion {
                path,
                version,
                ours,
            } => write!(
                f,
                "{path} has layout version {version}, this library has {ours}; end its users, remove it, or choose another SHMSHIM_DIR"
            ),
            Obstacle::Damaged { path, what } => write!(
                f,
                "{path} is damaged ({what}); end its users and remove this one file: the segments are found again by their files"
            ),
            Obstacle::Short {
                path,
                len_bytes,
                wanted_bytes,
            } => write!(
                f,
                "{path} is {len_bytes} bytes long, the segment has {wanted_bytes}: it was truncated"
            ),
            Obstacle::BadSetting { name, what } => write!(f, "{name} {what}"),
            Obstacle::NoRoom {
                path,
                asked_bytes,
                left_bytes,
            } => write!(
                f,
                "{path} can promise {left_bytes} bytes more, {asked_bytes} asked; remove segments, enlarge the file system, or use SHM_NORESERVE"
            ),
            Obstacle::TableFull { what, holds } => {
                write!(f, "the table holds {holds} {what} and no more")
            }
        }
    }
}

fn advice(error: OsError) -> &'static str {
    match error.0 {
        libc::ENOSPC => " (the file system is full)",
        libc::EDQUOT => " (the quota is used up)",
        libc::EROFS => " (the file system is read-only)",
        libc::EMFILE => " (the process has no descriptor left)",
        libc::EPERM => " (not permitted; to be executable, not on a file system mounted noexec)",
        libc::ENFILE => " (the system has no descriptor left)",
        _ => "",
    }
}

/// What storage answers.
pub type Stored<T> = Result<T, Obstacle>;
