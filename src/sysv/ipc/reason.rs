//! Every refusal: an errno for the caller, and the reason for the trace.

use core::fmt;

use super::id::ShmId;
use super::key::Key;

/// The errno values that the four calls return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Errno {
    /// Permission denied: the mode's bits.
    Eacces,
    /// The key has a segment already.
    Eexist,
    /// Bad address.
    Efault,
    /// Identifier removed.
    Eidrm,
    /// Invalid argument.
    Einval,
    /// The key has no segment.
    Enoent,
    /// No memory, no room.
    Enomem,
    /// A limit of the namespace is reached.
    Enospc,
    /// Not owner and not privileged.
    Eperm,
    /// Try again: locked memory is limited.
    Eagain,
}

impl Errno {
    /// The number.
    pub const fn raw(self) -> i32 {
        match self {
            Errno::Eacces => libc::EACCES,
            Errno::Eexist => libc::EEXIST,
            Errno::Efault => libc::EFAULT,
            Errno::Eidrm => libc::EIDRM,
            Errno::Einval => libc::EINVAL,
            Errno::Enoent => libc::ENOENT,
            Errno::Enomem => libc::ENOMEM,
            Errno::Enospc => libc::ENOSPC,
            Errno::Eperm => libc::EPERM,
            Errno::Eagain => libc::EAGAIN,
        }
    }

    /// The name, as the manual writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Errno::Eacces => "EACCES",
            Errno::Eexist => "EEXIST",
            Errno::Efault => "EFAULT",
            Errno::Eidrm => "EIDRM",
            Errno::Einval => "EINVAL",
            Errno::Enoent => "ENOENT",
            Errno::Enomem => "ENOMEM",
            Errno::Enospc => "ENOSPC",
            Errno::Eperm => "EPERM",
            Errno::Eagain => "EAGAIN",
        }
    }

    /// This errno, given for that reason.
    pub const fn because(self, reason: Reason) -> Refusal {
        Refusal {
            errno: self,
            reason,
        }
    }
}

/// What a call is refused with.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Refusal {
    /// For the caller.
    pub errno: Errno,
    /// For the trace.
    pub reason: Reason,
}

/// As a trace shows it: `EINVAL (segment 32769 holds 4096 bytes, 8192 asked)`.
impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.errno.name(), self.reason)
    }
}

/// What a rule decides: a value, or why not.
pub type Ruling<T> = Result<T, Refusal>;

/// Which bits of a mode apply to a caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Owner or creator.
    Owner,
    /// A member of the owner's or the creator's group.
    Group,
    /// Everybody else.
    Other,
}

impl Class {
    /// How far its bits stand from the right.
    pub const fn shift(self) -> u32 {
        match self {
            Class::Owner => 6,
            Class::Group => 3,
            Class::Other => 0,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Class::Owner => "owner",
            Class::Group => "group",
            Class::Other => "others",
        }
    }
}

/// Why a call was refused. Displays as one sentence without its final dot.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(missing_docs)] // Each variant is its own sentence, below.
pub enum Reason {
    // Identifiers.
    NegativeId(i32),
    UnknownId(ShmId),
    RemovedMeanwhile(ShmId),
    UnusedIndex(u32),

    // shmget.
    KeyExists {
        key: Key,
        id: ShmId,
    },
    KeyUnknown(Key),
    SegmentSmaller {
        id: ShmId,
        segsz: u64,
        asked: u64,
    },
    NotGranted {
        id: ShmId,
        mode: u32,
        class: Class,
        wanted: u32,
    },
    SizeZero,
    AboveShmmax {
        asked: u64,
        shmmax: u64,
    },
    AboveShmall {
        pages: u64,
        in_use: u64,
        shmall: u64,
    },
    NoSuchHugePage {
        size_log2: u32,
    },
    HugePagesNotAllowed,
    NoHugePages {
        asked: u64,
    },
    AboveFileSize {
        asked: u64,
    },
    MemoryRefused {
        asked: u64,
    },
    ShmmniReached {
        count: u32,
        shmmni: u32,
    },
    NoFreeId,

    // shmat and shmdt.
    RemapWithoutAddress,
    RemapRoundsToNull(u64),
    UnalignedAddress(u64),
    RangeWraps {
        addr: u64,
        len: u64,
    },
    RangeOccupied {
        addr: u64,
        len: u64,
    },
    RangeBeyondUserSpace {
        addr: u64,
        len: u64,
    },
    BelowMmapMinAddr {
        addr: u64,
    },
    RangeSealed {
        addr: u64,
        len: u64,
    },
    NoRoom {
        len: u64,
    },
    MlockLimit {
        len: u64,
    },
    NotAttached(u64),

    // shmctl.
    UnknownCommand(i32),
    BadBuffer(u64),
    NotOwner {
        id: ShmId,
        uid: u32,
        cuid: u32,
        euid: u32,
    },
    NobodysId {
        uid: u32,
        gid: u32,
    },
    LockingForbidden {
        id: ShmId,
    },
    LockLimit {
        id: ShmId,
        pages: u64,
        locked_bytes: u64,
        rlimit_bytes: u64,
    },

    // The files of the limits.
    LimitNotANumber(&'static str),
    LimitOutOfRange {
        name: &'static str,
        negative: bool,
        magnitude: u64,
    },

    // What is no rule.
    SystemCall {
        call: &'static str,
        errno: i32,
    },
    Other(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::NegativeId(raw) => write!(out, "no identifier is negative, {raw} is"),
            Reason::UnknownId(id) => write!(out, "no segment has the identifier {id}"),
            Reason::RemovedMeanwhile(id) => write!(out, "segment {id} was removed meanwhile"),
            Reason::UnusedIndex(slot) => write!(out, "no segment has the index {slot}"),

            Reason::KeyExists { key, id } => write!(
                out,
                "key {key} has segment {id} already and IPC_EXCL was asked"
            ),
            Reason::KeyUnknown(key) => {
                write!(out, "key {key} has no segment and IPC_CREAT was not asked")
            }
            Reason::SegmentSmaller { id, segsz, asked } => {
                write!(out, "segment {id} holds {segsz} bytes, {asked} asked")
            }
            Reason::NotGranted {
                id,
                mode,
                class,
                wanted,
            } => write!(
                out,
                "segment {id} with mode {mode:04o} grants its {} {}, {} asked",
                class.name(),
                Rwx(mode >> class.shift()),
                Rwx(wanted)
            ),
            Reason::SizeZero => write!(out, "a new segment needs at least one byte"),
            Reason::AboveShmmax { asked, shmmax } => {
                write!(out, "{asked} bytes asked, shmmax is {shmmax}")
            }
            Reason::AboveShmall {
                pages,
                in_use,
                shmall,
            } => write!(
                out,
                "{pages} pages asked, {in_use} in use, shmall is {shmall}"
            ),
            Reason::NoSuchHugePage { size_log2: 0 } => {
                write!(out, "this machine has no huge pages")
            }
            Reason::NoSuchHugePage { size_log2 } => {
                write!(out, "this machine has no huge pages of 2^{size_log2} bytes")
            }
            Reason::HugePagesNotAllowed => write!(
                out,
                "huge pages take CAP_IPC_LOCK or the group vm.hugetlb_shm_group"
            ),
            Reason::NoHugePages { asked } => {
                write!(out, "too few free huge pages for {asked} bytes")
            }
            Reason::AboveFileSize { asked } => {
                write!(out, "{asked} bytes asked, no file can be that long")
            }
            Reason::MemoryRefused { asked } => {
                write!(out, "{asked} bytes asked, there is no memory for them")
            }
            Reason::ShmmniReached { count, shmmni } => {
                write!(out, "there are {count} segments, shmmni is {shmmni}")
            }
            Reason::NoFreeId => write!(out, "every identifier is taken"),

            Reason::RemapWithoutAddress => write!(out, "SHM_REMAP needs an address"),
            Reason::RemapRoundsToNull(addr) => write!(
                out,
                "SHM_REMAP needs an address, SHM_RND makes NULL of {addr:#x}"
            ),
            Reason::UnalignedAddress(addr) => {
                write!(out, "address {addr:#x} is not page aligned")
            }
            Reason::RangeWraps { addr, len } => write!(
                out,
                "{len} bytes from {addr:#x} end behind the last address"
            ),
            Reason::RangeOccupied { addr, len } => {
                write!(out, "something is mapped within {len} bytes from {addr:#x}")
            }
            Reason::RangeBeyondUserSpace { addr, len } => {
                write!(out, "{len} bytes from {addr:#x} end beyond user space")
            }
            Reason::BelowMmapMinAddr { addr } => {
                write!(out, "address {addr:#x} is below vm.mmap_min_addr")
            }
            Reason::RangeSealed { addr, len } => write!(
                out,
                "a sealed mapping lies within {len} bytes from {addr:#x}"
            ),
            Reason::NoRoom { len } => {
                write!(out, "the address space has no room for {len} bytes")
            }
            Reason::MlockLimit { len } => write!(
                out,
                "future mappings are locked and {len} bytes exceed RLIMIT_MEMLOCK"
            ),
            Reason::NotAttached(addr) => write!(out, "no segment is attached at {addr:#x}"),

            Reason::UnknownCommand(cmd) => write!(out, "there is no command {cmd}"),
            Reason::BadBuffer(addr) => {
                write!(out, "the buffer at {addr:#x} is not accessible")
            }
            Reason::NotOwner {
                id,
                uid,
                cuid,
                euid,
            } => write!(
                out,
                "segment {id} is owned by uid {uid} and was created by uid {cuid}, the caller is uid {euid}"
            ),
            Reason::NobodysId { uid, gid } => write!(
                out,
                "uid {} and gid {} asked, nobody has the id -1",
                uid as i32, gid as i32
            ),
            Reason::LockingForbidden { id } => {
                write!(out, "segment {id} cannot be locked, RLIMIT_MEMLOCK is 0")
            }
            Reason::LockLimit {
                id,
                pages,
                locked_bytes,
                rlimit_bytes,
            } => write!(
                out,
                "segment {id} has {pages} pages to lock, {locked_bytes} bytes are locked, RLIMIT_MEMLOCK is {rlimit_bytes}"
            ),

            Reason::LimitNotANumber(name) => {
                write!(out, "what was written to {name} is not one number")
            }
            Reason::LimitOutOfRange {
                name,
                negative,
                magnitude,
            } => write!(
                out,
                "{}{magnitude} is out of the range of {name}",
                if negative { "-" } else { "" }
            ),

            Reason::SystemCall { call, errno } => {
                write!(out, "the system refused {call} with errno {errno}")
            }
            Reason::Other(sentence) => out.write_str(sentence),
        }
    }
}

/// One class's bits, as ls shows them.
struct Rwx(u32);

impl fmt::Display for Rwx {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(4, "r"), (2, "w"), (1, "x")] {
            out.write_str(if self.0 & bit != 0 { letter } else { "-" })?;
        }
        Ok(())
    }
}
