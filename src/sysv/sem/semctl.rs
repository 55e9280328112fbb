//! semctl(2): which command it is, and who may do what to a set.

/// What semctl is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SemCommand {
    /// Remove.
    IpcRmid,
    /// Change owner, group, mode.
    IpcSet,
    /// Tell about a set.
    IpcStat,
    /// Tell the limits.
    IpcInfo,
    /// One number of a semaphore.
    Get(Question),
    /// All values.
    GetAll,
    /// Set one value.
    SetVal,
    /// Set all values.
    SetAll,
    /// Tell about the set with an index.
    SemStat,
    /// Tell what all sets use.
    SemInfo,
    /// Tell about the set with an index, whatever its mode.
    SemStatAny,
}

/// What is asked of one semaphore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// GETVAL.
    Value,
    /// GETPID.
    Pid,
    /// GETNCNT: who sleeps until it grows.
    Growth,
    /// GETZCNT: who sleeps until it is 0.
    Zero,
}
