//! Every constant of `<sys/ipc.h>`, `<sys/shm.h>` and the kernel's headers that a rule
//! looks at. They are the same on every architecture of Linux. Spelt out here because libc
//! lacks several (`SHM_STAT`, `SHM_INFO`, `SHM_DEST`, `SHM_LOCKED`).

/// shmget: make the segment when no segment has the key.
pub const IPC_CREAT: i32 = 0o1000;
/// shmget: with [`IPC_CREAT`], fail when a segment has the key.
pub const IPC_EXCL: i32 = 0o2000;
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
/// `shm_perm.mode`: the permission bits.
pub const MODE_BITS: u32 = 0o777;

/// May read: one class's bit.
pub const READ: u32 = 4;
/// May write: one class's bit.
pub const WRITE: u32 = 2;
/// May execute: one class's bit.
pub const EXEC: u32 = 1;

/// shmctl: remove the segment, or mark it.
pub const IPC_RMID: i32 = 0;
/// shmctl: change owner, group and mode.
pub const IPC_SET: i32 = 1;
/// shmctl: copy out what is known of the segment.
pub const IPC_STAT: i32 = 2;
/// shmctl: copy out the limits.
pub const IPC_INFO: i32 = 3;
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
