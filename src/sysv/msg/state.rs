//! A message queue as the rules see it: messages, and who sleeps for one or for room.

use crate::sysv::{Errno, IpcPerm, Key};

/// A message. Where its text lies is storage's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its type, at least 1.
    pub mtype: i64,
    /// Bytes of its text.
    pub len: u32,
    /// The text. Storage's number; 0 for an empty one.
    pub text: u32,
}

/// What is known of a queue beside its messages: `struct msqid_ds`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFacts {
    /// Owner, creator, mode and identifier.
    pub perm: IpcPerm,
    /// The key, 0 for a private one.
    pub key: Key,
    /// Seconds since 1970 of the last msgsnd, 0 before the first.
    pub stime: i64,
    /// The same of the last msgrcv.
    pub rtime: i64,
    /// Seconds since 1970 of the creation or the last change by msgctl.
    pub ctime: i64,
    /// Bytes of all texts in the queue.
    pub cbytes: u64,
    /// Messages in the queue.
    pub qnum: u32,
    /// Bytes that it may hold.
    pub qbytes: u32,
    /// The process that sent last, 0 before the first.
    pub lspid: i32,
    /// The process, or thread, that received last.
    pub lrpid: i32,
}

/// A thread that is asleep in msgrcv.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receiver {
    /// The process. Storage's number, never 0.
    pub owner: u32,
    /// The id of the thread (not of the process): that becomes lrpid.
    pub tid: i32,
    /// By which the thread is woken. Storage's number, another one for each sleep.
    pub place: u32,
    /// What msgrcv was asked for.
    pub mtype: i64,
    /// Bytes that its buffer holds, as far as a message can have them.
    pub room: u64,
    /// MSG_NOERROR, MSG_EXCEPT.
    pub flags: i32,
    /// Whether it was answered, and how.
    pub answer: ReceiverAnswer,
}

/// What a sleeping receiver was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReceiverAnswer {
    /// Nothing yet: it sleeps.
    Waits,
    /// Here is its message, which was never in the queue.
    Got(Message),
    /// To look again, at its rights as well: it takes its place at the end of the queue anew.
    Again,
    /// An error.
    Failed(Errno),
}

/// A thread that is asleep in msgsnd.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    /// The process. Storage's number, never 0.
    pub owner: u32,
    /// By which the thread is woken. Storage's number, another one for each sleep.
    pub place: u32,
    /// Bytes of its message's text.
    pub len: u32,
    /// The text, as a message has it.
    pub text: u32,
    /// Whether it was told something.
    pub answer: SenderAnswer,
}

/// What a sleeping sender was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SenderAnswer {
    /// Nothing yet: it sleeps.
    Waits,
    /// To try again: there may be room. It keeps its place until then.
    Again,
}

/// What a receive gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// How many bytes of its text the caller gets.
    pub len: u32,
}

/// One queue: a copy that belongs to the caller alone, and becomes the queue when the call is done. As
/// [`SetState`](crate::sysv::sem::SetState): where a rule refuses, what it has changed is thrown away. Storage makes room
/// beforehand for one message, one receiver and one sender more than there are.
pub trait QueueState {
    /// What is known of the queue; `cbytes` and `qnum` are kept by `push` and `remove`.
    fn facts(&self) -> QueueFacts;
    /// Changes it: stamps, pids, owner, mode, qbytes.
    fn set_facts(&mut self, facts: QueueFacts);

    /// A message, by its place from the oldest on, of which there are `qnum`.
    fn message(&self, index: u32) -> Message;
    /// Adds one at the end.
    fn push_message(&mut self, message: Message);
    /// Takes one out; those behind it move up.
    fn remove_message(&mut self, index: u32);

    /// How many receivers there are, in the order of their arrival, answered ones included.
    fn receivers(&self) -> u32;
    /// One of them.
    fn receiver(&self, index: u32) -> Receiver;
    /// Changes one.
    fn set_receiver(&mut self, index: u32, receiver: Receiver);
    /// Adds one at the end.
    fn push_receiver(&mut self, receiver: Receiver);
    /// Takes one away; those behind it move up.
    fn remove_receiver(&mut self, index: u32);

    /// How many senders there are, in the order of their arrival, told ones included.
    fn senders(&self) -> u32;
    /// One of them.
    fn sender(&self, index: u32) -> Sender;
    /// Changes one.
    fn set_sender(&mut self, index: u32, sender: Sender);
    /// Adds one at the end.
    fn push_sender(&mut self, sender: Sender);
    /// Takes one away; those behind it move up.
    fn remove_sender(&mut self, index: u32);
}

/// Whether a text of `len` bytes fits into the queue.
pub fn fits(queue: &QueueFacts, len: u32) -> bool {
    // "A message queue is considered to be full if either of the following conditions is true: Adding a new message to the
    // queue would cause the total number of bytes in the queue to exceed the queue's maximum size (the msg_qbytes field).
    // Adding another message to the queue would cause the total number of messages in the queue to exceed the queue's
    // maximum size (the msg_qbytes field)." - man msgop(2)
    let qbytes = u64::from(queue.qbytes);
    queue.cbytes.saturating_add(u64::from(len)) <= qbytes && u64::from(queue.qnum) < qbytes
}
