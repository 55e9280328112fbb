//! The constants of `<sys/msg.h>` that a rule looks at, and those of [`crate::sysv::ipc::flags`]. They are the same on
//! every architecture of Linux.

pub use crate::sysv::ipc::flags::{
    IPC_CREAT, IPC_EXCL, IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, MODE_BITS, READ, WRITE,
};

/// msgrcv: cut a message that is too long.
pub const MSG_NOERROR: i32 = 0o10000;
/// msgrcv: any type but the given one.
pub const MSG_EXCEPT: i32 = 0o20000;
/// msgrcv: a copy of the message at a position; it stays.
pub const MSG_COPY: i32 = 0o40000;

/// msgctl: [`IPC_STAT`] by index.
pub const MSG_STAT: i32 = 11;
/// msgctl: copy out what all queues use together.
pub const MSG_INFO: i32 = 12;
/// msgctl: [`MSG_STAT`] without a permission check.
pub const MSG_STAT_ANY: i32 = 13;
