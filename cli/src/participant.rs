//! A process that has to do with an object: has it attached, sleeps in it, owes it something.

use serde::Serialize;
use shmshim_core::sysv::Kind;

use crate::kinds;
use crate::process::Facts;
use crate::users::Names;

/// Which process, and which object; the names are those of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Participant {
    /// What the object is.
    pub kind: &'static str,
    /// The object.
    pub id: i32,
    /// Its key.
    pub key: String,
    /// The process; none while it is being forked, or where it has no number here.
    pub pid: Option<i32>,
    /// Its effective user, and what that is called.
    pub uid: Option<u32>,
    /// See `uid`.
    pub user: Option<String>,
    /// Its command line.
    pub command: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: Option<i64>,
    /// False for a process that has ended, and that no call has reaped yet.
    pub alive: bool,
}

impl Participant {
    /// Of an object, a process with this number (0: none), of which `/proc` shows these facts.
    pub fn new(
        (kind, id, key): (Kind, i32, String),
        pid: i32,
        facts: Option<&Facts>,
        alive: bool,
        names: &mut Names,
    ) -> Participant {
        let uid = facts.map(|facts| facts.uid);
        Participant {
            kind: kinds::name(kind),
            id,
            key,
            pid: (pid != 0).then_some(pid),
            uid,
            user: uid.and_then(|uid| names.user(uid)),
            command: facts.map(|facts| facts.command.clone()),
            started: facts.and_then(|facts| facts.started),
            alive,
        }
    }
}
