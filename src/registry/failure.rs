//! Every errno with the reason it was given.

use crate::os::OsError;
use crate::storage::Obstacle;
use crate::sysv::{Errno, Reason, Refusal};
use core::fmt;

/// Why a call failed. Displays as one sentence without its final dot.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "made on the stack by a failing call, and there is no heap"
)]
pub enum Why {
    /// A rule of System V shared memory.
    Rule(Reason),
    /// The surroundings: the file system, or what lies in it.
    Surroundings(Obstacle),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Rule(reason) => reason.fmt(f),
            Why::Surroundings(obstacle) => obstacle.fmt(f),
        }
    }
}

/// What a failed call returns: the errno for the caller, the reason for whoever wants to know.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Failure {
    /// One that the call may return by its manual.
    pub errno: i32,
    /// Why.
    pub why: Why,
}

/// What a call returns.
pub type Outcome<T> = Result<T, Failure>;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure {
            errno: refusal.errno.raw(),
            why: Why::Rule(refusal.reason),
        }
    }
}

impl From<Obstacle> for Failure {
    fn from(obstacle: Obstacle) -> Failure {
        Failure {
            errno: errno_of(&obstacle),
            why: Why::Surroundings(obstacle),
        }
    }
}

/// The errno that says to a program what the surroundings say to a human. Only such as all of shmget, shmat and
/// shmctl may return.
fn errno_of(obstacle: &Obstacle) -> i32 {
    match obstacle {
        Obstacle::WrongKind { .. }
        | Obstacle::WrongOwner { .. }
        | Obstacle::WrongMode { .. }
        | Obstacle::LooseBase { .. }
        | Obstacle::ForeignWay { .. }
        | Obstacle::ForeignLink { .. }
        | Obstacle::NotSearchable { .. }
        | Obstacle::NoBase { .. }
        | Obstacle::NoDefault
        | Obstacle::NoPlace { .. }
        | Obstacle::TooLong { .. }
        | Obstacle::NotRoots { .. }
        | Obstacle::Unmapped { .. }
        | Obstacle::OtherUser { .. }
        | Obstacle::LockedFor { .. }
        | Obstacle::InTheWay { .. }
        | Obstacle::HardLinked { .. }
        | Obstacle::Incoherent { .. }
        | Obstacle::Missing { .. }
        | Obstacle::NotInPlace { .. }
        | Obstacle::OtherVersion { .. }
        | Obstacle::Damaged { .. }
        | Obstacle::OtherLength { .. }
        | Obstacle::OtherCreator { .. }
        | Obstacle::NotAlone { .. }
        | Obstacle::BadSetting { .. } => Errno::Eacces.raw(),
        // As of a segment that was removed: shmat alone finds out.
        Obstacle::FileGone { .. } => Errno::Eidrm.raw(),
        Obstacle::NoRoom { .. } | Obstacle::TableFull { .. } => Errno::Enomem.raw(),
        Obstacle::System { error, .. } | Obstacle::Call { error, .. } => errno_of_os(*error),
    }
}

fn errno_of_os(error: OsError) -> i32 {
    match error.0 {
        libc::EACCES
        | libc::EPERM
        | libc::EROFS
        | libc::ENOENT
        | libc::ENOTDIR
        | libc::ELOOP
        | libc::ENXIO
        | libc::ESTALE
        | libc::EISDIR => Errno::Eacces.raw(),
        _ => Errno::Enomem.raw(),
    }
}
