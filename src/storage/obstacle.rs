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
    /// A directory in the runtime directory is gone.
    Missing {
        /// The directory.
        path: Path,
        /// Its mode when there is one.
        mode: u32,
    },
    /// Another directory, or another table in it, has taken the place of the one that this process has opened.
    Exchanged {
        /// The runtime directory.
        path: Path,
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
    /// A segment's file has another length than the table says: one of them has been damaged.
    OtherLength {
        /// The file.
        path: Path,
        /// Its length in bytes.
        len_bytes: u64,
        /// What the table says.
        wanted_bytes: u64,
    },
    /// A segment's file has another owner than the table says: one of them has been changed.
    OtherCreator {
        /// The file.
        path: Path,
        /// Its owner.
        owner: u32,
        /// Who has made the segment, as the table says.
        wanted: u32,
    },
    /// There are several files with the id of one segment.
    NotAlone {
        /// The one that the table names.
        path: Path,
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
                "{path} of uid {owner} has a second name (hard link), by which it could be changed; remove the other one, which find -samefile finds"
            ),
            Obstacle::Missing { path, mode } => {
                let bytes = path.as_bytes();
                let parent = bytes.iter().rposition(|&byte| byte == b'/');
                let parent = parent.and_then(|at| bytes.get(..at)).unwrap_or(bytes);
                let registry = Path::from_bytes(parent).and_then(|path| path.join(b"registry"));
                let registry = registry.unwrap_or_default();
                write!(
                    f,
                    "{path} is missing; end the users of the namespace, mkdir -m {mode:04o} {path} and remove {registry}: the segments are found again by their files"
                )
            }
            Obstacle::Exchanged { path } => write!(
                f,
                "{path} is not what this program has opened: the directory or its registry was removed and made anew, or exchanged; end this program, or put back what was there"
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
            Obstacle::OtherLength {
                path,
                len_bytes,
                wanted_bytes,
            } => write!(
                f,
                "{path} is {len_bytes} bytes long, the table says {wanted_bytes}; if it was truncated or enlarged, truncate -s {wanted_bytes} it, what was cut is lost; {}",
                IfTableIsWrong(path)
            ),
            Obstacle::OtherCreator {
                path,
                owner,
                wanted,
            } => write!(
                f,
                "{path} belongs to uid {owner}, the table says to uid {wanted}; {}",
                IfTableIsWrong(path)
            ),
            Obstacle::NotAlone { path } => write!(
                f,
                "{path} is not the only file with this id: somebody has put one there; have the other one removed, or this, if it is not the segment's"
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

/// What to do when a segment's file is right and the table is not.
struct IfTableIsWrong<'p>(&'p Path);

impl fmt::Display for IfTableIsWrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("if the table is wrong, end its users and remove ")?;
        let bytes = self.0.as_bytes();
        let directory = bytes
            .windows(SEGMENTS.len())
            .rposition(|part| part == SEGMENTS)
            .and_then(|at| bytes.get(..at))
            .and_then(Path::from_bytes)
            .and_then(|directory| directory.join(b"registry"));
        match directory {
            // A segment of huge pages lies elsewhere.
            Some(registry) if !is_huge_home(bytes) => write!(f, "{registry}")?,
            _ => f.write_str("the namespace's file registry")?,
        }
        f.write_str(": the segments are found again by their files")
    }
}

const SEGMENTS: &[u8] = b"/segments/";

fn is_huge_home(path: &[u8]) -> bool {
    path.windows(4).any(|part| part == b"-ino")
}

fn advice(error: OsError) -> &'static str {
    match error.0 {
        libc::ENOSPC => " (the file system has no room left, or no inode)",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_differs_from_the_table_is_never_said_to_be_the_one_to_remove() {
        let path = Path::from_bytes(b"/dev/shm/.shmshim-uid1/segments/SYSV00000001.7").unwrap();
        let text = Obstacle::OtherLength {
            path,
            len_bytes: 5,
            wanted_bytes: 4096,
        }
        .to_string();
        assert!(text.contains("truncate -s 4096 it"), "{text}");
        assert!(
            text.contains("remove /dev/shm/.shmshim-uid1/registry:"),
            "{text}"
        );
        let huge = b"/dev/hugepages/.shmshim-uid1-dev0.25-ino5/segments/SYSV00000001.7";
        let text = Obstacle::OtherCreator {
            path: Path::from_bytes(huge).unwrap(),
            owner: 1,
            wanted: 2,
        }
        .to_string();
        assert!(
            text.contains("remove the namespace's file registry:"),
            "{text}"
        );
    }
}
