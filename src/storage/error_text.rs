//! The sentences in which the surroundings refuse.

use crate::os::path::{CAPACITY, Path};
use crate::os::userns::UNMAPPED;
use crate::os::{OsError, process};
use crate::storage::error::{Away, StorageError};
use crate::storage::table::layout::FILE_BYTES;
use core::fmt;

/// What a base may have at most, so that the longest names fit below it.
const LONGEST_BASE: usize = CAPACITY - 1 - 64 - "/.shmshim-uid4294967295".len();

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageError::System { doing, path, error } => {
                write!(f, "cannot {doing} {path}: {error}{}", Advice(*error))
            }
            StorageError::Call { doing, error } if *error == OsError(libc::EPERM) => write!(
                f,
                "cannot {doing}: {error} (not permitted; to be executable, not on a file system mounted noexec)"
            ),
            StorageError::Call { doing, error } => {
                write!(f, "cannot {doing}: {error}{}", Advice(*error))
            }
            StorageError::WrongKind {
                path,
                found,
                wanted,
                owner,
            } => write!(
                f,
                "{path} is {found} of uid {owner}, not {wanted}; remove it or choose another SHMSHIM_DIR"
            ),
            StorageError::WrongOwner {
                path,
                owner,
                wanted,
            } => write!(
                f,
                "{path} belongs to uid {owner}, not to uid {wanted}; have its owner remove it or choose another SHMSHIM_DIR"
            ),
            StorageError::WrongMode {
                path,
                owner,
                mode,
                wanted,
            } => write!(
                f,
                "{path} of uid {owner} has mode {mode:04o}, not {wanted:04o}; chmod {wanted:04o} it if nobody else has touched it, or choose another SHMSHIM_DIR"
            ),
            StorageError::ForeignWay { path, owner, mode } => write!(
                f,
                "{path} belongs to {} (mode {mode:04o}), who could exchange what lies in it; each directory on the way must be root's or yours: choose another SHMSHIM_DIR, or chown it",
                Owner(*owner)
            ),
            StorageError::ForeignLink { path, owner } => write!(
                f,
                "{path} is a symbolic link of uid {owner}, who could lead it helper_process; links on the way must be root's or yours: name the directory itself in SHMSHIM_DIR"
            ),
            StorageError::NotSearchable { path, owner, mode } => write!(
                f,
                "{path} of uid {owner} has mode {mode:04o} and may not be searched by this user; chmod it, or choose another SHMSHIM_DIR"
            ),
            StorageError::NotWritable { path, owner, mode } => write!(
                f,
                "{path} of uid {owner} has mode {mode:04o} and may not be written to by this user; chmod it, or choose another SHMSHIM_DIR"
            ),
            StorageError::NoBase { path, is_setting: true } => write!(
                f,
                "{path}, which SHMSHIM_DIR leads to, does not exist; make it (mkdir -m 0700), or have SHMSHIM_DIR name another"
            ),
            StorageError::NoBase { path, .. } => {
                write!(f, "{path} does not exist; have SHMSHIM_DIR name a directory of yours")
            }
            StorageError::NoDefault => f.write_str(
                "none of /run/shmshim, /dev/shm and /tmp is a directory of root's, sticky, that can be written to; mount a tmpfs (mount -t tmpfs -o mode=1777 none /dev/shm), or have SHMSHIM_DIR name a directory of yours",
            ),
            StorageError::NoPlace { path } => write!(
                f,
                "{path} is on a file system of the kernel's, where no files can be made; have SHMSHIM_DIR name a directory on a tmpfs"
            ),
            StorageError::TooLong { path } => {
                f.write_str("the path that SHMSHIM_DIR names is too long")?;
                if !path.as_bytes().is_empty() {
                    write!(f, " ({path})")?;
                }
                write!(f, ": it may have {LONGEST_BASE} bytes at most; name a shorter one")
            }
            StorageError::NotRoots { path, owner, mode } => write!(
                f,
                "{path} belongs to {} (mode {mode:04o}); in system scope it must be root's: have it removed, and run any program as root under this library, for example SHMSHIM_SCOPE=system LD_PRELOAD=libshmshim.so ipcs -m; a tmpfiles.d line keeps the name for root from each boot on (d {path} 0755 root root -), and the first such program fills the directory",
                Owner(*owner)
            ),
            StorageError::Unmapped { euid } => write!(
                f,
                "this program runs as uid {euid}, by which its user namespace calls all that it does not know, so nobody can tell what is its own; give the user namespace a map in which the uid has a number (unshare --map-current-user)"
            ),
            StorageError::OtherUser {
                path,
                opened_by,
                euid,
                error,
            } => write!(
                f,
                "{path} is of the namespace of uid {opened_by} alone, and this program has become uid {euid} ({error}); programs that change their user need SHMSHIM_SCOPE=system"
            ),
            StorageError::LockedFor { path, secs } => write!(
                f,
                "{path} is to be repaired, and another process has it locked (flock) for more than {secs} s; end that process, which fuser {path} or lslocks finds"
            ),
            StorageError::InTheWay { path, found, owner } => write!(
                f,
                "{path} is {found} of uid {owner}, which this library has not made; remove it"
            ),
            StorageError::FileGone { path } => write!(
                f,
                "{path} is gone, so the segment counts as removed (systemd-logind removes a user's files in /dev/shm when his last session ends, RemoveIPC=yes); make it again"
            ),
            StorageError::LooseBase { path, owner, mode } => write!(
                f,
                "{path} of uid {owner} has mode {mode:04o}: others could exchange what lies in it; it must be yours and writable for you alone, or sticky"
            ),
            StorageError::HardLinked { path, owner } => write!(
                f,
                "{path} of uid {owner} has a second name (hard link), by which it could be changed; remove the other one, which find -samefile finds"
            ),
            StorageError::Missing { path, owner } => write!(
                f,
                "{path} is missing; the next program under this library that runs as uid {owner}, whose directory it is in, makes it again, for example ipcs -m"
            ),
            StorageError::NotInPlace { path, away } => write!(f, "{path} {away}"),
            StorageError::Incoherent { path, magic } => write!(
                f,
                "{path} lies on a file system (type {magic:#x}) whose locks or mappings not everybody sees; choose a SHMSHIM_DIR on tmpfs"
            ),
            StorageError::OtherVersion {
                path,
                version,
                ours,
            } => write!(
                f,
                "{path} has layout version {version}, this library has {ours}; end its users, remove it, or choose another SHMSHIM_DIR"
            ),
            StorageError::Damaged { path, what } => write!(
                f,
                "{path} is damaged ({what}); end its users and remove this one file: the segments are found again by their files"
            ),
            StorageError::OtherLength {
                path,
                len_bytes,
                wanted_bytes,
            } => write!(
                f,
                "{path} is {len_bytes} bytes long, the table says {wanted_bytes}; if it was truncated or enlarged, truncate -s {wanted_bytes} it, what was cut is lost; {}",
                IfTableIsWrong(path)
            ),
            StorageError::OtherCreator {
                path,
                owner,
                wanted,
            } => write!(
                f,
                "{path} belongs to uid {owner}, the table says to uid {wanted}; {}",
                IfTableIsWrong(path)
            ),
            StorageError::NotAlone { path } => write!(
                f,
                "{path} is not the only file with this id: somebody has put one there; have the other one removed, or this, if it is not the segment's"
            ),
            StorageError::BadSetting { name, what } => write!(f, "{name} {what}"),
            StorageError::NoRoom {
                path,
                asked_bytes,
                left_bytes,
            } => write!(
                f,
                "{path} can promise {left_bytes} bytes more, {asked_bytes} asked; remove segments, enlarge the file system, or use SHM_NORESERVE"
            ),
            StorageError::Kept { path, cell, pid } => write!(
                f,
                "{path} is kept locked by process {pid} (cell {cell}); kill -CONT {pid} if it is stopped, else end it"
            ),
            StorageError::TableFull { what, holds } => {
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
            // A segment of huge pages lies helper_process.
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

/// Whose something is.
struct Owner(u32);

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.0)?;
        match self.0 {
            UNMAPPED => f.write_str(", nobody or one whom this user namespace does not know"),
            _ => Ok(()),
        }
    }
}

/// What an error of the kernel's means here, and what helps.
struct Advice(OsError);

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.0 {
            libc::EPERM => " (not permitted on this file system, or it is immutable; choose another SHMSHIM_DIR)",
            libc::ENOSPC => {
                " (the file system has no room left, or no inode; remove something there, or choose another SHMSHIM_DIR)"
            }
            libc::EDQUOT => " (the quota is used up; remove something, or choose another SHMSHIM_DIR)",
            libc::EROFS => " (the file system is read-only; choose another SHMSHIM_DIR)",
            libc::ELOOP => {
                " (a symbolic link is there, and none may be; remove it, or choose another SHMSHIM_DIR)"
            }
            libc::EMFILE => {
                let limit = process::limit(libc::RLIMIT_NOFILE as usize);
                return write!(
                    f,
                    " (the process has no descriptor left: RLIMIT_NOFILE, ulimit -n, is {limit}; raise it)"
                );
            }
            libc::ENFILE => " (the system has no descriptor left)",
            libc::ESTALE => " (something else has taken its place)",
            libc::EFBIG => {
                let limit = Limit(process::limit(libc::RLIMIT_FSIZE as usize));
                return write!(
                    f,
                    " (RLIMIT_FSIZE, ulimit -f, is {limit}; the table takes {FILE_BYTES} bytes, a segment its size: raise it)"
                );
            }
            libc::ENOMEM => {
                let space = Limit(process::limit(libc::RLIMIT_AS as usize));
                let data = Limit(process::limit(libc::RLIMIT_DATA as usize));
                return write!(
                    f,
                    " (no memory, or a limit: RLIMIT_AS, ulimit -v, is {space}, of which the table takes {FILE_BYTES} bytes; RLIMIT_DATA, ulimit -d, is {data}, of which this library takes some 100 KiB)"
                );
            }
            _ => "",
        })
    }
}

/// A resource limit, as the kernel says it.
struct Limit(u64);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            u64::MAX => f.write_str("unlimited"),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str =
            "what is attached stays; for new segments and attaches start this program anew";
        match self {
            Away::Removed => write!(
                f,
                "was removed or renamed (in /dev/shm systemd-logind removes what a user has when his last session ends: loginctl enable-linger, RemoveIPC=no, or a base in /run/shmshim); {AGAIN}, or put it back"
            ),
            Away::WithItsBase => write!(
                f,
                "cannot be found any more: a directory on the way to it was removed or renamed, or this program has another root directory now; {AGAIN}"
            ),
            Away::OtherFileSystem => write!(
                f,
                "is not on the file system that it was opened on: that was unmounted, or another one was mounted over it; {AGAIN}, or put back what was there"
            ),
            Away::Exchanged => write!(
                f,
                "is not the directory that this program has opened: that was removed and made anew, or exchanged; {AGAIN}, or put back what was there"
            ),
            Away::TableRemoved => write!(
                f,
                "has lost its file registry, which programs that start from now on make again; {AGAIN}"
            ),
            Away::TableExchanged => write!(
                f,
                "has another file registry than this program has opened: it was removed and made anew, or exchanged; {AGAIN}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_differs_from_the_table_is_never_said_to_be_the_one_to_remove() {
        let path = Path::from_bytes(b"/dev/shm/.shmshim-uid1/segments/SYSV00000001.7").unwrap();
        let text = StorageError::OtherLength {
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
        let text = StorageError::OtherCreator {
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
