//! msgget, msgsnd, msgrcv and msgctl.
//!
//! msgsnd and msgrcv are cancellation points: they sleep in a frame of the caller's, which needs no cleanup. So they go by
//! steps: [`Sending`], [`Receiving`].

use super::error::Outcome;
use crate::os::OsError;
use crate::os::atomic::AtomicU32;
use crate::storage::{StorageError, Stored};
use crate::sysv::msg::{MsgCommand, MsgLimits, NewQueue, QueueFacts};

/// What all queues use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsgUsage {
    /// The limits.
    pub limits: MsgLimits,
    /// Queues.
    pub queues: u32,
    /// Messages in them.
    pub messages: u32,
    /// Bytes of those.
    pub bytes: u64,
    /// The highest index in use, 0 if there is none.
    pub highest: u32,
}

/// How far a call has come.
pub enum Step<T> {
    /// It is over.
    Done(T),
    /// The caller is to sleep, and then to make the next step.
    Sleep(Sleep),
}

/// A sleep on a word of shared memory.
#[derive(Clone, Copy)]
pub struct Sleep {
    /// The word.
    pub word: &'static AtomicU32,
    /// As long as it holds this.
    pub seen: u32,
    /// At most so many nanoseconds.
    pub nanos: u64,
}

/// Why a sleep was over; the first step comes with `Other`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A handler has run.
    BySignal,
    /// For any other reason.
    Other,
}

fn todo<T>() -> Outcome<T> {
    let refused: Stored<T> = Err(StorageError::Call {
        doing: "serve message queues",
        error: OsError(libc::ENOSYS),
    });
    Ok(refused?)
}

/// msgsnd(2) on its way. Needs no drop.
#[derive(Clone, Copy)]
pub struct Sending {
    id: i32,
}

impl Sending {
    /// Begins with the caller's text at `text`, which is copied at once.
    pub fn begin(id: i32, mtype: i64, text: u64, len: u64, flags: i32) -> Outcome<Sending> {
        let _ = (mtype, text, len, flags, id);
        todo()
    }
    /// Tries.
    pub fn step(&mut self, woken: Woken) -> Outcome<Step<()>> {
        let _ = (woken, self.id);
        todo()
    }
}

/// What msgrcv gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// The message's type.
    pub mtype: i64,
    /// Bytes of text, which were copied to the caller.
    pub len: u64,
}

/// msgrcv(2) on its way. Needs no drop.
#[derive(Clone, Copy)]
pub struct Receiving {
    id: i32,
}

impl Receiving {
    /// Begins; the text goes to `text`.
    pub fn begin(id: i32, text: u64, size: u64, mtype: i64, flags: i32) -> Outcome<Receiving> {
        let _ = (id, text, size, mtype, flags);
        todo()
    }
    /// Tries.
    pub fn step(&mut self, woken: Woken) -> Outcome<Step<Received>> {
        let _ = (woken, self.id);
        todo()
    }
}

/// msgget(2): the identifier.
pub fn msgget(key: i32, flags: i32) -> Outcome<i32> {
    let _ = (key, flags);
    todo()
}
/// The limits.
pub fn msg_limits() -> Outcome<MsgLimits> {
    todo()
}
/// Sets the limits; refused to whoever may not.
pub fn set_msg_limits(limits: MsgLimits) -> Outcome<()> {
    let _ = limits;
    todo()
}
/// IPC_STAT, MSG_STAT, MSG_STAT_ANY.
pub fn msg_stat(id: i32, command: MsgCommand) -> Outcome<QueueFacts> {
    let _ = (id, command);
    todo()
}
/// IPC_SET.
pub fn msg_set(id: i32, new: NewQueue) -> Outcome<()> {
    let _ = (id, new);
    todo()
}
/// IPC_RMID.
pub fn msg_remove(id: i32) -> Outcome<()> {
    let _ = id;
    todo()
}
/// IPC_INFO, MSG_INFO.
pub fn msg_usage() -> Outcome<MsgUsage> {
    todo()
}
/// Every queue, in the order of indices.
pub fn msg_list(each: &mut dyn FnMut(&QueueFacts)) -> Outcome<()> {
    let _ = each;
    todo()
}

impl super::objects::Objects {
    /// Takes a sleeper that has no answer yet out of its queue.
    pub(super) fn leave_queue(&self, id: i32, place: u32) {
        let _ = (id, place);
    }
}
