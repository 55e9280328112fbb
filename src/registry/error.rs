//! Every errno with the reason it was given, and the one place that says which errno an error of the surroundings becomes.
//!
//! | what failed | errno |
//! |---|---|
//! | what lies in the file system is not as it must be, or not to be reached | `EACCES` |
//! | anything else of it: no room, no descriptor, no memory | `ENOMEM` |
//! | a mapping, in shmat | [`Error::of_mapping`] |
//! | a hugetlbfs, in shmget | `ENOMEM` |
//! | anything, in shmdt | `EINVAL` |

use super::blocked::Blocked;
use crate::os::{OsError, map};
use crate::storage::{StorageError, sentence};
use crate::sysv::{AttachRequest, Errno, Reason, Refusal, refusal};
use core::fmt;

/// Why a call failed. Displays as one sentence without its final dot.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "made on the stack by a failing call, and there is no heap"
)]
pub enum Why {
    /// A rule of System V shared memory.
    Rule(Reason),
    /// The surroundings: the file system, or what lies in it.
    Surroundings(StorageError),
    /// A rule of semaphores or message queues: the call would have to sleep, and others stand in its way.
    Blocked(Blocked),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Rule(reason) => reason.fmt(f),
            Why::Surroundings(error) => error.fmt(f),
            Why::Blocked(blocked) => blocked.fmt(f),
        }
    }
}

/// What a failed call returns: the errno for the caller, the reason for the trace.
#[derive(Clone, Copy, Debug)]
pub struct Error {
    /// An errno that the call's manual has.
    pub errno: i32,
    /// Why.
    pub why: Why,
}

/// What a call returns.
pub type Outcome<T> = Result<T, Error>;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error {
            errno: refusal.errno.raw(),
            why: Why::Rule(refusal.reason),
        }
    }
}

impl From<Blocked> for Error {
    fn from(blocked: Blocked) -> Error {
        Error {
            errno: blocked.errno.raw(),
            why: Why::Blocked(blocked),
        }
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Error {
        Error {
            errno: errno_of(&error).raw(),
            why: Why::Surroundings(error),
        }
    }
}

impl Error {
    /// shmdt has only one errno.
    pub fn of_shmdt(self) -> Error {
        self.with(Errno::Einval)
    }

    /// The directory on a hugetlbfs cannot be used: to a program that is as if there were no huge pages.
    pub fn of_huge_home(error: StorageError) -> Error {
        Error::from(error).with(Errno::Enomem)
    }

    fn with(self, errno: Errno) -> Error {
        Error {
            errno: errno.raw(),
            ..self
        }
    }

    /// The mapping of a segment's file was refused with `cause`. `unaligned`: the address does not fit its huge pages.
    pub fn of_mapping(
        request: &AttachRequest,
        len: u64,
        unaligned: bool,
        error: StorageError,
        cause: OsError,
    ) -> Error {
        let addr = request.addr;
        let refusal = match cause.0 {
            libc::EINVAL if unaligned => refusal!(
                Einval,
                [],
                "the address is not aligned to the segment's huge pages"
            ),
            libc::EEXIST | libc::EINVAL => occupied(addr, len),
            libc::ENOMEM if request.fixed => no_room_at(request, len),
            libc::ENOMEM => no_room(len),
            // A file system mounted noexec, most likely.
            libc::EPERM if request.exec && !(request.fixed && addr < MMAP_MIN_ADDR) => {
                return error.into();
            }
            libc::EPERM if request.remap => refusal!(
                Eperm,
                [addr, len],
                "a sealed mapping lies within {len} bytes from {addr:#x}"
            ),
            libc::EPERM if request.fixed => {
                refusal!(Eperm, [addr], "address {addr:#x} is below vm.mmap_min_addr")
            }
            libc::EAGAIN => refusal!(
                Eagain,
                [len],
                "future mappings are locked and {len} bytes exceed RLIMIT_MEMLOCK"
            ),
            _ => return error.into(),
        };
        refusal.into()
    }
}

/// No free range of the address space is that long.
pub fn no_room(len: u64) -> Refusal {
    refusal!(
        Enomem,
        [len],
        "the address space has no room for {len} bytes"
    )
}

/// Below this `vm.mmap_min_addr` may forbid a mapping, at its usual value.
const MMAP_MIN_ADDR: u64 = 65536;

/// Why `len` bytes are not to be had where they were asked for.
fn no_room_at(request: &AttachRequest, len: u64) -> Refusal {
    let addr = request.addr;
    let Some(end) = map::user_space_end().filter(|end| addr.saturating_add(len) > *end) else {
        return no_room(len);
    };
    // The range ends where no mapping can be, and begins where others are: that comes first.
    if !request.remap && addr < end && map::is_occupied(addr, end) {
        return occupied(addr, len);
    }
    refusal!(
        Enomem,
        [addr, len],
        "{len} bytes from {addr:#x} end beyond user space"
    )
}

fn occupied(addr: u64, len: u64) -> Refusal {
    refusal!(
        Einval,
        [addr, len],
        "something is mapped within {len} bytes from {addr:#x}"
    )
}

/// The errno that says to a program what the surroundings say to a human. Only such as all of shmget, shmat and
/// shmctl may return.
fn errno_of(error: &StorageError) -> Errno {
    use libc::{EACCES, EISDIR, ELOOP, ENOENT, ENOTDIR, ENXIO, EPERM, EROFS, ESTALE};
    match error {
        StorageError::Refused(refused) => match refused.sentence {
            // As of a segment that was removed: shmat alone finds out.
            sentence::FILE_GONE => Errno::Eidrm,
            // For the moment: the same call may succeed later.
            sentence::NO_ROOM | sentence::KEPT => Errno::Enomem,
            _ => Errno::Eacces,
        },
        StorageError::Damaged { .. } => Errno::Eacces,
        StorageError::TableFull { .. } => Errno::Enomem,
        StorageError::System { error, .. } | StorageError::Call { error, .. } => match error.0 {
            EACCES | EPERM | EROFS | ENOENT | ENOTDIR | ELOOP | ENXIO | ESTALE | EISDIR => {
                Errno::Eacces
            }
            _ => Errno::Enomem,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a mapping that was refused with `errno`.
    fn refused(request: &AttachRequest, errno: i32) -> (i32, String) {
        let cause = OsError(errno);
        let refused = StorageError::Call {
            doing: "map",
            error: cause,
        };
        let error = Error::of_mapping(request, 8192, false, refused, cause);
        (error.errno, error.why.to_string())
    }

    #[test]
    fn a_mapping_that_is_refused_says_where() {
        let end = map::user_space_end().unwrap();
        let anywhere = crate::sysv::parse_shmat(1, 0, 0).unwrap();
        let fixed = AttachRequest {
            fixed: true,
            addr: 4096,
            ..anywhere
        };
        let last = AttachRequest { addr: end, ..fixed };
        let replacing = AttachRequest {
            remap: true,
            ..fixed
        };
        for (request, errno, expected, sentence) in [
            (
                &fixed,
                libc::EEXIST,
                libc::EINVAL,
                "something is mapped within 8192 bytes from 0x1000".into(),
            ),
            (
                &last,
                libc::ENOMEM,
                libc::ENOMEM,
                format!("8192 bytes from {end:#x} end beyond user space"),
            ),
            (
                &fixed,
                libc::EPERM,
                libc::EPERM,
                "address 0x1000 is below vm.mmap_min_addr".into(),
            ),
            (
                &replacing,
                libc::EPERM,
                libc::EPERM,
                "a sealed mapping lies within 8192 bytes from 0x1000".into(),
            ),
            (
                &anywhere,
                libc::ENOMEM,
                libc::ENOMEM,
                "the address space has no room for 8192 bytes".into(),
            ),
            (
                &anywhere,
                libc::EAGAIN,
                libc::EAGAIN,
                "future mappings are locked and 8192 bytes exceed RLIMIT_MEMLOCK".into(),
            ),
        ] {
            assert_eq!(refused(request, errno), (expected, sentence));
        }
    }
}
