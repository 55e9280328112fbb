//! Why the surroundings refuse: which path, whose it is, and what to do.

use crate::os::OsError;
use crate::os::path::Path;

/// A refusal by the file system or by what lies in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StorageError {
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
    /// The owner of a directory on the way to the namespace could exchange what lies in it.
    ForeignWay {
        /// The directory.
        path: Path,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The owner of a link on the way to the namespace could lead it helper_process.
    ForeignLink {
        /// The link.
        path: Path,
        /// Its owner.
        owner: u32,
    },
    /// A directory on the way to the namespace may not be searched.
    NotSearchable {
        /// The directory.
        path: Path,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The base directory may not be written to.
    NotWritable {
        /// The base directory.
        path: Path,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The base directory, or one on the way to it, does not exist.
    NoBase {
        /// The directory.
        path: Path,
        /// SHMSHIM_DIR names it.
        is_setting: bool,
    },
    /// None of the default bases can be used.
    NoDefault,
    /// No files can be made on the file system of the base directory.
    NoPlace {
        /// The base directory.
        path: Path,
    },
    /// The path of the base leaves no room for the names below it.
    TooLong {
        /// As much of it as is known.
        path: Path,
    },
    /// The runtime directory of system scope is neither root's nor one's own.
    NotRoots {
        /// The directory.
        path: Path,
        /// Its owner.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The effective uid has no number in this user namespace.
    Unmapped {
        /// What the kernel says instead.
        euid: u32,
    },
    /// The namespace is that of one uid, and the program has become another.
    OtherUser {
        /// What was refused.
        path: Path,
        /// Whose the namespace is.
        opened_by: u32,
        /// Who the program is.
        euid: u32,
        /// How it was refused.
        error: OsError,
    },
    /// The directory is locked by somebody who does not come back.
    LockedFor {
        /// The directory.
        path: Path,
        /// How long it was waited for.
        secs: u32,
    },
    /// Something that was not made by this library has the name of what was to be made.
    InTheWay {
        /// The name.
        path: Path,
        /// What is there.
        found: &'static str,
        /// Its owner.
        owner: u32,
    },
    /// The file of a segment was removed.
    FileGone {
        /// The file.
        path: Path,
    },
    /// A file has more than one name.
    HardLinked {
        /// One of them.
        path: Path,
        /// Its owner.
        owner: u32,
    },
    /// A part of the runtime directory is gone, and another user's to make again.
    Missing {
        /// The directory or file.
        path: Path,
        /// Whose the runtime directory is.
        owner: u32,
    },
    /// The runtime directory, or the table in it, is not where this process has opened it.
    NotInPlace {
        /// The runtime directory.
        path: Path,
        /// What has become of it.
        away: Away,
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
    /// A living process keeps the table's lock.
    Kept {
        /// The table.
        path: Path,
        /// The process's cell.
        cell: u32,
        /// Its id, as the table says.
        pid: i32,
    },
    /// A part of the table is full.
    TableFull {
        /// Which.
        what: &'static str,
        /// How many it holds.
        holds: u32,
    },
}

/// What has become of a runtime directory in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// It is gone from its base.
    Removed,
    /// Its base is gone, or out of reach.
    WithItsBase,
    /// Its file system was unmounted, or another one mounted over it.
    OtherFileSystem,
    /// Another directory has its name.
    Exchanged,
    /// It has no table any more.
    TableRemoved,
    /// It has another table.
    TableExchanged,
}

impl StorageError {
    /// A failed system call on `path`.
    pub fn system(doing: &'static str, path: &Path, error: OsError) -> StorageError {
        StorageError::System {
            doing,
            path: *path,
            error,
        }
    }

    /// The kernel's error, where it is one.
    pub fn os_error(&self) -> Option<OsError> {
        match self {
            StorageError::System { error, .. }
            | StorageError::Call { error, .. }
            | StorageError::OtherUser { error, .. } => Some(*error),
            _ => None,
        }
    }
}

/// What storage answers.
pub type Stored<T> = Result<T, StorageError>;
