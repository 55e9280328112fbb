//! semget, semop and semctl.

use super::error::Outcome;
use crate::os::OsError;
use crate::os::pages::PageVec;
use crate::storage::{StorageError, Stored};
use crate::sysv::NewPerm;
use crate::sysv::sem::{Operation, Question, SemCommand, SemLimits, SetPerm};

/// What all sets use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SemUsage {
    /// The limits.
    pub limits: SemLimits,
    /// Sets.
    pub sets: u32,
    /// Semaphores in them.
    pub semaphores: u32,
    /// The highest index in use, 0 if there is none.
    pub highest: u32,
}

fn todo<T>() -> Outcome<T> {
    let refused: Stored<T> = Err(StorageError::Call {
        doing: "serve semaphores",
        error: OsError(libc::ENOSYS),
    });
    Ok(refused?)
}

/// semget(2): the identifier.
pub fn semget(key: i32, count: i32, flags: i32) -> Outcome<i32> {
    let _ = (key, count, flags);
    todo()
}
/// The limits: how many operations a call may have is to be known before they are read.
pub fn sem_limits() -> Outcome<SemLimits> {
    todo()
}
/// Sets the limits; refused to whoever may not.
pub fn set_sem_limits(limits: SemLimits) -> Outcome<()> {
    let _ = limits;
    todo()
}
/// semop(2), semtimedop(2): operations that were counted and read; `limit`: nanoseconds to sleep at most.
pub fn semop(id: i32, operations: &[Operation], limit: Option<u64>) -> Outcome<()> {
    let _ = (id, operations, limit);
    todo()
}
/// One operation, if it can be answered without sleeping: 0, or the errno. Makes no system call where that can be avoided.
#[inline]
pub fn semop_at_once(id: i32, operation: Operation) -> Option<Result<(), i32>> {
    let _ = (id, operation);
    None
}
/// IPC_STAT, SEM_STAT, SEM_STAT_ANY.
pub fn sem_stat(id: i32, command: SemCommand) -> Outcome<SetPerm> {
    let _ = (id, command);
    todo()
}
/// IPC_SET.
pub fn sem_set(id: i32, new: NewPerm) -> Outcome<()> {
    let _ = (id, new);
    todo()
}
/// IPC_RMID.
pub fn sem_remove(id: i32) -> Outcome<()> {
    let _ = id;
    todo()
}
/// GETVAL, GETPID, GETNCNT, GETZCNT.
pub fn sem_ask(id: i32, number: i32, question: Question) -> Outcome<i32> {
    let _ = (id, number, question);
    todo()
}
/// SETVAL.
pub fn sem_set_value(id: i32, number: i32, value: i32) -> Outcome<()> {
    let _ = (id, number, value);
    todo()
}
/// GETALL.
pub fn sem_values(id: i32) -> Outcome<PageVec<u16>> {
    let _ = id;
    todo()
}
/// SETALL, first half: how many values are to be read from the caller; refused to whoever may not set them.
pub fn sem_count_to_set(id: i32) -> Outcome<u32> {
    let _ = id;
    todo()
}
/// SETALL, second half.
pub fn sem_set_values(id: i32, values: &[u16]) -> Outcome<()> {
    let _ = (id, values);
    todo()
}
/// IPC_INFO, SEM_INFO.
pub fn sem_usage() -> Outcome<SemUsage> {
    todo()
}
/// Every set, in the order of indices.
pub fn sem_list(each: &mut dyn FnMut(&SetPerm)) -> Outcome<()> {
    let _ = each;
    todo()
}
/// The calling thread leaves every queue that it sleeps in, of sets and of message queues: a handler has interrupted it and
/// makes a call, or jumps out of it, or the thread ends. Cheap where no thread of the process sleeps.
#[inline]
pub fn leave_sleeps() {}
