//! Every constant of `<sys/sem.h>` that a rule looks at, and those of [`crate::sysv::ipc::flags`].

pub use crate::sysv::ipc::flags::{
    IPC_CREAT, IPC_EXCL, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, READ, WRITE,
};

/// semop, in `sem_flg`: taken back when the process ends.
pub const SEM_UNDO: i32 = 0o10000;

/// SEMVMX: the largest value of a semaphore.
pub const SEMVMX: u16 = 32767;

/// semctl: the process id of a semaphore.
pub const GETPID: i32 = 11;
/// semctl: the value of a semaphore.
pub const GETVAL: i32 = 12;
/// semctl: all values.
pub const GETALL: i32 = 13;
/// semctl: how many wait until a semaphore grows.
pub const GETNCNT: i32 = 14;
/// semctl: how many wait until a semaphore is 0.
pub const GETZCNT: i32 = 15;
/// semctl: set the value of a semaphore.
pub const SETVAL: i32 = 16;
/// semctl: set all values.
pub const SETALL: i32 = 17;
/// semctl: [`IPC_STAT`] by index.
pub const SEM_STAT: i32 = 18;
/// semctl: copy out what all sets use together.
pub const SEM_INFO: i32 = 19;
/// semctl: [`SEM_STAT`] without a permission check.
pub const SEM_STAT_ANY: i32 = 20;
