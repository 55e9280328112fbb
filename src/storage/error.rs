//! Why the surroundings refuse: which path, whose it is, and what to do.

use super::sentence;
use crate::os::file::Status;
use crate::os::path::Path;
use crate::os::{OsError, helper_process};

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
    /// The table is not one, or is damaged beyond use.
    Damaged {
        /// The table.
        path: Path,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A part of the table is full.
    TableFull {
        /// Which.
        what: &'static str,
        /// How many it holds.
        holds: u32,
    },
    /// What lies there is not as it must be, or not to be reached.
    Refused(Refused),
}

/// A sentence, and the facts that it names.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Refused {
    /// One of those in `sentence.rs`.
    pub sentence: &'static str,
    /// What it is about; empty where that is no file.
    pub path: Path,
    /// Whose the file is.
    pub owner: u32,
    /// Its type and permissions.
    pub mode: u32,
    /// What `{number}` stands for.
    pub number: u64,
    /// What `{other}` stands for.
    pub other: u64,
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

    /// A refusal of what lies at `path`.
    pub fn at(sentence: &'static str, path: &Path) -> StorageError {
        StorageError::numbers(sentence, path, 0, 0)
    }

    /// A refusal of what lies at `path`, with the numbers of its sentence.
    pub fn numbers(sentence: &'static str, path: &Path, number: u64, other: u64) -> StorageError {
        StorageError::Refused(Refused {
            sentence,
            path: *path,
            owner: 0,
            mode: 0,
            number,
            other,
        })
    }

    /// A refusal of the file at `path`.
    pub fn of(sentence: &'static str, path: &Path, status: &Status) -> StorageError {
        StorageError::of_other(sentence, path, status, 0)
    }

    /// A refusal of the file at `path`, which should be other than it is: the number of the sentence.
    pub fn of_other(
        sentence: &'static str,
        path: &Path,
        status: &Status,
        wanted: u32,
    ) -> StorageError {
        StorageError::Refused(Refused {
            sentence,
            path: *path,
            owner: status.uid,
            mode: status.mode,
            number: wanted.into(),
            other: 0,
        })
    }

    /// The kernel's error, where it is one.
    pub fn os_error(&self) -> Option<OsError> {
        match self {
            StorageError::System { error, .. } | StorageError::Call { error, .. } => Some(*error),
            StorageError::Refused(refused) if refused.sentence == sentence::OTHER_USER => {
                Some(OsError(refused.other as i32))
            }
            _ => None,
        }
    }
}

/// What storage answers.
pub type Stored<T> = Result<T, StorageError>;

/// Does `work`; when the host's limits are in its way, once more where they do not apply. Signals are blocked.
pub(super) fn beyond_limits<T: Send>(work: impl FnMut() -> Stored<T> + Send) -> Stored<T> {
    helper_process::perform(work, |answer| {
        answer.as_ref().err().and_then(StorageError::os_error)
    })
}
