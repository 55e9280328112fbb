//! The constants of `<sys/ipc.h>` that a rule looks at. They are the same on every architecture of Linux.

/// A get call: make the object when no object has the key.
pub const IPC_CREAT: i32 = 0o1000;
/// A get call: with [`IPC_CREAT`], fail when an object has the key.
pub const IPC_EXCL: i32 = 0o2000;

/// semop (in `sem_flg`), msgsnd, msgrcv: fail instead of sleeping.
pub const IPC_NOWAIT: i32 = 0o4000;

/// `ipc_perm.mode`: the permission bits.
pub const MODE_BITS: u32 = 0o777;

/// May read: one class's bit.
pub const READ: u32 = 4;
/// May write: one class's bit.
pub const WRITE: u32 = 2;
/// May execute: one class's bit.
pub const EXEC: u32 = 1;

/// A ctl call: remove the object.
pub const IPC_RMID: i32 = 0;
/// A ctl call: change owner, group and mode.
pub const IPC_SET: i32 = 1;
/// A ctl call: copy out what is known of the object.
pub const IPC_STAT: i32 = 2;
/// A ctl call: copy out the limits.
pub const IPC_INFO: i32 = 3;
