//! The sentences in which the surroundings refuse, with the names of facts in braces: see `StorageError::write_fact`.

use crate::os::OsError;

/// Something else stands where a directory of ours should be.
pub const NOT_A_DIRECTORY: &str =
    "{path} is {kind} of uid {uid}, not a directory; remove it or choose another SHMSHIM_DIR";
/// Something else stands where a file of ours should be.
pub const NOT_A_FILE: &str =
    "{path} is {kind} of uid {uid}, not a regular file; remove it or choose another SHMSHIM_DIR";
/// It belongs to another user than uid `number`.
pub const WRONG_OWNER: &str = "{path} belongs to uid {uid}, not to uid {number}; have its owner remove it or choose another SHMSHIM_DIR";
/// Its permissions let too many or too few in: they should be `number`.
pub const WRONG_MODE: &str = "{path} of uid {uid} has mode {mode}, not {octal}; chmod {octal} it if nobody else has touched it, or choose another SHMSHIM_DIR";
/// Others could exchange what we make in the base directory.
pub const LOOSE_BASE: &str = "{path} of uid {uid} has mode {mode}: others could exchange what lies in it; it must be yours and writable for you alone, or sticky";
/// The owner of a directory on the way to the namespace could exchange what lies in it.
pub const FOREIGN_WAY: &str = "{path} belongs to {owner} (mode {mode}), who could exchange what lies in it; each directory on the way must be root's or yours: choose another SHMSHIM_DIR, or chown it";
/// The owner of a link on the way to the namespace could lead it elsewhere.
pub const FOREIGN_LINK: &str = "{path} is a symbolic link of uid {uid}, who could lead it elsewhere; links on the way must be root's or yours: name the directory itself in SHMSHIM_DIR";
/// A directory on the way to the namespace may not be searched.
pub const NOT_SEARCHABLE: &str = "{path} of uid {uid} has mode {mode} and may not be searched by this user; chmod it, or choose another SHMSHIM_DIR";
/// The base directory may not be written to.
pub const NOT_WRITABLE: &str = "{path} of uid {uid} has mode {mode} and may not be written to by this user; chmod it, or choose another SHMSHIM_DIR";
/// The base directory, or one on the way to it, does not exist.
pub const NO_BASE: &str = "{path} does not exist; have SHMSHIM_DIR name a directory of yours";
/// The same of the one that `SHMSHIM_DIR` names.
pub const NO_SUCH_SETTING: &str = "{path}, which SHMSHIM_DIR leads to, does not exist; make it (mkdir -m 0700), or have SHMSHIM_DIR name another";
/// None of the default bases can be used.
pub const NO_DEFAULT: &str = "none of /run/shmshim, /dev/shm and /tmp is a directory of root's, sticky, that can be written to; mount a tmpfs (mount -t tmpfs -o mode=1777 none /dev/shm), or have SHMSHIM_DIR name a directory of yours";
/// A directory that was named as a namespace's has another name than those have.
pub const NO_NAMESPACE: &str = "{path} is not called as a namespace's directory is, .shmshim or .shmshim-uid with a number; name one that is, as shmshim ls --all lists them";
/// No files can be made on the file system of the base directory.
pub const NO_PLACE: &str = "{path} is on a file system of the kernel's, where no files can be made; have SHMSHIM_DIR name a directory on a tmpfs";
/// The path of the base leaves no room for the names below it. It is said as far as it is known.
pub const TOO_LONG: &str = "the path that SHMSHIM_DIR names is too long ({path}): it may have {longest} bytes at most; name a shorter one";
/// The same of one that is too long to be said.
pub const FAR_TOO_LONG: &str = "the path that SHMSHIM_DIR names is too long: it may have {longest} bytes at most; name a shorter one";
/// The runtime directory of system scope is neither root's nor one's own.
pub const NOT_ROOTS: &str = "{path} belongs to {owner} (mode {mode}); in system scope it must be root's: have it removed, and run any program as root under this library, for example SHMSHIM_SCOPE=system LD_PRELOAD=libshmshim.so ipcs -m; a tmpfiles.d line keeps the name for root from each boot on (d {path} 0755 root root -), and the first such program fills the directory";
/// The effective uid has no number in this user namespace; `number` is what the kernel says instead.
pub const UNMAPPED: &str = "this program runs as uid {number}, by which its user namespace calls all that it does not know, so nobody can tell what is its own; give the user namespace a map in which the uid has a number (unshare --map-current-user)";
/// The namespace is that of uid `owner`, and the program has become uid `number`.
pub const OTHER_USER: &str = "{path} is of the namespace of uid {uid} alone, and this program has become uid {number} ({error}); programs that change their user need SHMSHIM_SCOPE=system";
/// The directory is locked by a process that does not let go of it within `number` seconds.
pub const LOCKED_FOR: &str = "{path} is to be repaired, and another process has it locked (flock) for more than {number} s; end that process, which fuser {path} or lslocks finds";
/// Something that was not made by this library has the name of what was to be made.
pub const IN_THE_WAY: &str =
    "{path} is {kind} of uid {uid}, which this library has not made; remove it";
/// In a runtime directory that is to be removed lies something else.
pub const NO_PART: &str = "{path} is {kind} of uid {uid}, which is no part of a namespace; remove it, or move it away, first";
/// The file of a segment was removed.
pub const FILE_GONE: &str = "{path} is gone, so the segment counts as removed (systemd-logind removes a user's files in /dev/shm when his last session ends, RemoveIPC=yes); make it again";
/// A file has more than one name.
pub const HARD_LINKED: &str = "{path} of uid {uid} has a second name (hard link), by which it could be changed; remove the other one, which find -samefile finds";
/// A part of the runtime directory, which is `owner`'s, is gone, and another user's to make again.
pub const MISSING: &str = "{path} is missing; the next program under this library that runs as uid {uid}, whose directory it is in, makes it again, for example ipcs -m";
/// The runtime directory in use is gone from its base.
pub const REMOVED: &str = "{path} was removed or renamed (in /dev/shm systemd-logind removes what a user has when his last session ends: loginctl enable-linger, RemoveIPC=no, or a base in /run/shmshim); {again}, or put it back";
/// The base of the runtime directory in use is gone, or out of reach.
pub const REMOVED_WITH_BASE: &str = "{path} cannot be found any more: a directory on the way to it was removed or renamed, or this program has another root directory now; {again}";
/// Its file system was unmounted, or another one mounted over it.
pub const OTHER_FILE_SYSTEM: &str = "{path} is not on the file system that it was opened on: that was unmounted, or another one was mounted over it; {again}, or put back what was there";
/// Another directory has its name.
pub const EXCHANGED: &str = "{path} is not the directory that this program has opened: that was removed and made anew, or exchanged; {again}, or put back what was there";
/// It has no table any more.
pub const TABLE_REMOVED: &str =
    "{path} has lost its file registry, which programs that start from now on make again; {again}";
/// It has another table.
pub const TABLE_EXCHANGED: &str = "{path} has another file registry than this program has opened: it was removed and made anew, or exchanged; {again}";
/// Locks or mappings of this file system, of type `number`, are not seen by everybody.
pub const INCOHERENT: &str = "{path} lies on a file system (type {hex}) whose locks or mappings not everybody sees; choose a SHMSHIM_DIR on tmpfs";
/// The table was made by version `number`; ours is `other`.
pub const OTHER_VERSION: &str = "{path} has layout version {number}, this library has {other}; end its users, remove it, or choose another SHMSHIM_DIR";
/// A segment's file has a length of `number` bytes, the table says `other`: one of them has been damaged.
pub const OTHER_LENGTH: &str = "{path} is {number} bytes long, the table says {other}; if it was truncated or enlarged, truncate -s {other} it, what was cut is lost; if the table is wrong, end its users and remove {registry}: the segments are found again by their files";
/// A segment's file has another owner than uid `number`, as the table says: one of them has been changed.
pub const OTHER_CREATOR: &str = "{path} belongs to uid {uid}, the table says to uid {number}; if the table is wrong, end its users and remove {registry}: the segments are found again by their files";
/// There are several files with the id of one segment; this is the one that the table names.
pub const NOT_ALONE: &str = "{path} is not the only file with this id: somebody has put one there; have the other one removed, or this, if it is not the segment's";
/// `SHMSHIM_SCOPE` says something that cannot be.
pub const NO_SUCH_SCOPE: &str = "SHMSHIM_SCOPE must be \"user\" or \"system\", with \",session\" behind it for one login session";
/// The file system has room for `number` bytes beside what was promised, and `other` are asked.
pub const NO_ROOM: &str = "{path} can promise {number} bytes more, {other} asked; remove segments, enlarge the file system, or use SHM_NORESERVE";
/// A living process, `number`, keeps the table's lock; its cell is `other`.
pub const KEPT: &str = "{path} is kept locked by process {number} (cell {other}); kill -CONT {number} if it is stopped, else end it";

/// What an error of the kernel's means here, and what helps.
pub fn advice(error: OsError, of_a_path: bool) -> &'static str {
    match error.0 {
        libc::EPERM if !of_a_path => {
            " (not permitted; to be executable, not on a file system mounted noexec)"
        }
        libc::EPERM => {
            " (not permitted on this file system, or it is immutable; choose another SHMSHIM_DIR)"
        }
        libc::ENOSPC => {
            " (the file system has no room left, or no inode; remove something there, or choose another SHMSHIM_DIR)"
        }
        libc::EDQUOT => " (the quota is used up; remove something, or choose another SHMSHIM_DIR)",
        libc::EROFS => " (the file system is read-only; choose another SHMSHIM_DIR)",
        libc::ELOOP => {
            " (a symbolic link is there, and none may be; remove it, or choose another SHMSHIM_DIR)"
        }
        libc::EMFILE => {
            " (the process has no descriptor left: RLIMIT_NOFILE, ulimit -n, is {descriptors}; raise it)"
        }
        libc::ENFILE => " (the system has no descriptor left)",
        libc::ESTALE => " (something else has taken its place)",
        libc::EFBIG => {
            " (RLIMIT_FSIZE, ulimit -f, is {file size}; the table takes {table} bytes, a segment its size: raise it; or the file system has no files so large)"
        }
        libc::ENOMEM => {
            " (no memory, or a limit: RLIMIT_AS, ulimit -v, is {address space}, of which the table takes {table} bytes; RLIMIT_DATA, ulimit -d, is {data}, of which this library takes some 100 KiB)"
        }
        _ => "",
    }
}
