//! Every constant of `<sys/shm.h>`, `<sys/mman.h>` and the kernel's headers that a rule looks at, and those of
//! [`crate::sysv::ipc::flags`]. Spelt out here because libc lacks several (`SHM_STAT`, `SHM_INFO`, `SHM_DEST`, `SHM_LOCKED`).

pub use crate::sysv::ipc::flags::{
    EXEC, IPC_CREAT, IPC_EXCL, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, MODE_BITS, READ,
    WRITE,
};

/// shmget: use huge pages.
pub const SHM_HUGETLB: i32 = 0o4000;
/// shmget: do not reserve memory for the segment.
pub const SHM_NORESERVE: i32 = 0o10000;
/// shmget: where the base-2 logarithm of the huge page size stands in the flags.
pub const SHM_HUGE_SHIFT: u32 = 26;
/// shmget: how wide it is, after the shift.
pub const SHM_HUGE_MASK: u32 = 0x3f;

/// shmat: attach for reading only.
pub const SHM_RDONLY: i32 = 0o10000;
/// shmat: round the address down to a multiple of SHMLBA.
pub const SHM_RND: i32 = 0o20000;
/// shmat: replace whatever is mapped there.
pub const SHM_REMAP: i32 = 0o40000;
/// shmat: let the contents be executed.
pub const SHM_EXEC: i32 = 0o100000;

/// `shm_perm.mode`: destroyed when the last attach is gone.
pub const SHM_DEST: u32 = 0o1000;
/// `shm_perm.mode`: locked in memory.
pub const SHM_LOCKED: u32 = 0o2000;

/// shmctl: keep the segment in memory.
pub const SHM_LOCK: i32 = 11;
/// shmctl: let it be swapped out again.
pub const SHM_UNLOCK: i32 = 12;
/// shmctl: [`IPC_STAT`] by index.
pub const SHM_STAT: i32 = 13;
/// shmctl: copy out what all segments use together.
pub const SHM_INFO: i32 = 14;
/// shmctl: [`SHM_STAT`] without a permission check.
pub const SHM_STAT_ANY: i32 = 15;

/// mremap: the mapping may move.
pub const MREMAP_MAYMOVE: i32 = 1;
/// mremap: it shall move to the given address.
pub const MREMAP_FIXED: i32 = 2;
/// mremap: the old mapping stays.
pub const MREMAP_DONTUNMAP: i32 = 4;
