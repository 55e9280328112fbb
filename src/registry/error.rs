//! Every errno with the reason it was given, and the one place that says which errno a failure of the surroundings becomes.
//!
//! | what failed | errno |
//! |---|---|
//! | what lies in the file system is not as it must be, or not to be reached | `EACCES` |
//! | anything else of it: no room, no descriptor, no memory | `ENOMEM` |
//! | a mapping, in shmat | [`Failure::of_mapping`] |
//! | a hugetlbfs, in shmget | `ENOMEM` |
//! | anything, in shmdt | `EINVAL` |

use crate::os::{OsError, map};
use crate::storage::{StorageError, sentence};
use crate::sysv::{AttachRequest, Errno, Reason, Refusal};
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
    Surroundings(StorageError),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Rule(reason) => reason.fmt(f),
            Why::Surroundings(obstacle) => obstacle.fmt(f),
        }
    }
}

/// What a failed call returns: the errno for the caller, the reason for the trace.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Failure {
    /// An errno that the call's manual has.
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

impl From<StorageError> for Failure {
    fn from(obstacle: StorageError) -> Failure {
        Failure {
            errno: errno_of(&obstacle),
            why: Why::Surroundings(obstacle),
        }
    }
}

impl Failure {
    /// shmdt has only one errno.
    pub fn of_shmdt(self) -> Failure {
        self.with(Errno::Einval)
    }

    /// The directory on a hugetlbfs cannot be used: to a program that is as if there were no huge pages.
    pub fn of_huge_home(obstacle: StorageError) -> Failure {
        Failure::from(obstacle).with(Errno::Enomem)
    }

    fn with(self, errno: Errno) -> Failure {
        Failure {
            errno: errno.raw(),
            ..self
        }
    }

    /// The mapping of a segment's file was refused with `error`. `unaligned`: the address does not fit its huge pages.
    pub fn of_mapping(
        request: &AttachRequest,
        len: u64,
        unaligned: bool,
        obstacle: StorageError,
        error: OsError,
    ) -> Failure {
        let addr = request.addr;
        let (errno, reason) = match error.0 {
            libc::EINVAL if unaligned => (
                Errno::Einval,
                Reason::Other("the address is not aligned to the segment's huge pages"),
            ),
            libc::EEXIST | libc::EINVAL => (Errno::Einval, Reason::RangeOccupied { addr, len }),
            libc::ENOMEM if request.fixed => no_room_at(request, len),
            libc::ENOMEM => (Errno::Enomem, Reason::NoRoom { len }),
            // A file system mounted noexec, most likely.
            libc::EPERM if request.exec && !(request.fixed && addr < MMAP_MIN_ADDR) => {
                return obstacle.into();
            }
            libc::EPERM if request.remap => (Errno::Eperm, Reason::RangeSealed { addr, len }),
            libc::EPERM if request.fixed => (Errno::Eperm, Reason::BelowMmapMinAddr { addr }),
            libc::EAGAIN => (Errno::Eagain, Reason::MlockLimit { len }),
            _ => return obstacle.into(),
        };
        Refusal { errno, reason }.into()
    }
}

/// Below this `vm.mmap_min_addr` may forbid a mapping, at its usual value.
const MMAP_MIN_ADDR: u64 = 65536;

/// Why `len` bytes are not to be had where they were asked for.
fn no_room_at(request: &AttachRequest, len: u64) -> (Errno, Reason) {
    let addr = request.addr;
    let Some(end) = map::user_space_end().filter(|end| addr.saturating_add(len) > *end) else {
        return (Errno::Enomem, Reason::NoRoom { len });
    };
    // The range ends where no mapping can be, and begins where others are: that comes first.
    if !request.remap && addr < end && map::is_occupied(addr, end) {
        (Errno::Einval, Reason::RangeOccupied { addr, len })
    } else {
        (Errno::Enomem, Reason::RangeBeyondUserSpace { addr, len })
    }
}

/// The errno that says to a program what the surroundings say to a human. Only such as all of shmget, shmat and
/// shmctl may return.
fn errno_of(obstacle: &StorageError) -> i32 {
    match obstacle {
        StorageError::Refused(refused) => match refused.sentence {
            // As of a segment that was removed: shmat alone finds out.
            sentence::FILE_GONE => Errno::Eidrm.raw(),
            // For the moment: the same call may succeed later.
            sentence::NO_ROOM | sentence::KEPT => Errno::Enomem.raw(),
            _ => Errno::Eacces.raw(),
        },
        StorageError::Damaged { .. } => Errno::Eacces.raw(),
        StorageError::TableFull { .. } => Errno::Enomem.raw(),
        StorageError::System { error, .. } | StorageError::Call { error, .. } => {
            errno_of_os(*error)
        }
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
