//! Whose an object is, and what its mode grants, as it is shown.

use serde::Serialize;
use shmshim_core::sysv::IpcPerm;

use crate::users::Names;

/// The names are those of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Rights {
    /// Owner, and what it is called.
    pub uid: u32,
    /// See `uid`.
    pub owner: Option<String>,
    /// Group.
    pub gid: u32,
    /// See `gid`.
    pub group: Option<String>,
    /// Creator.
    pub cuid: u32,
    /// See `cuid`.
    pub creator: Option<String>,
    /// Creator's group.
    pub cgid: u32,
    /// The permission bits, octal.
    pub mode: String,
}

impl Rights {
    /// Of an object.
    pub fn of(perm: &IpcPerm, names: &mut Names) -> Rights {
        Rights {
            uid: perm.uid,
            owner: names.user(perm.uid),
            gid: perm.gid,
            group: names.group(perm.gid),
            cuid: perm.cuid,
            creator: names.user(perm.cuid),
            cgid: perm.cgid,
            mode: format!("{:04o}", perm.mode & 0o777),
        }
    }
}
