//! msgctl(2): which command it is, and who may do what to a queue.

/// What msgctl is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsgCommand {
    /// Remove.
    IpcRmid,
    /// Change owner, group, mode, qbytes.
    IpcSet,
    /// Tell about a queue.
    IpcStat,
    /// Tell the limits.
    IpcInfo,
    /// Tell about the queue with an index.
    MsgStat,
    /// Tell what all queues use.
    MsgInfo,
    /// Tell about the queue with an index, whatever its mode.
    MsgStatAny,
}

/// What IPC_SET is to make of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewQueue {
    /// Owner, group and mode.
    pub perm: crate::sysv::NewPerm,
    /// Bytes that it may hold.
    pub qbytes: u32,
}
