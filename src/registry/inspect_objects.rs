//! Looking at the semaphore sets and message queues of a namespace: the part of [`inspect`](super::inspect) that reads the file
//! `ipc`. As there nothing is changed: what dead processes owe is not paid, and they are told from the living.

use super::error::Outcome;
use super::rules::{msg_limits_of, perm_of, sem_limits_of};
use crate::os::OsError;
use crate::os::pages::PageVec;
use crate::storage::ipc::{Entry, IpcView, ObjectKind, Presence, QueueBlock, SetBlock};
use crate::storage::{StorageError, Stored};
use crate::sysv::msg::{Message, MsgLimits, QueueFacts, QueueState, ReceiverAnswer, SenderAnswer};
use crate::sysv::sem::{Answer, Operation, SemLimits, SetPerm, SetState};
use crate::sysv::{IdCursor, Kind};

/// The file of semaphore sets and message queues of a namespace that is looked at.
pub struct Objects<'n> {
    view: IpcView<'n>,
}

/// A semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Semaphore {
    /// Its value. What dead processes owe it is not in it.
    pub value: u16,
    /// The process that changed it last; 0 for none.
    pub pid: i32,
}

/// What a process owes a semaphore: added to it when the process ends (SEM_UNDO).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Debt {
    /// The process.
    pub pid: i32,
    /// Whether it is there. Where it has ended, the next call about the set pays.
    pub presence: Presence,
    /// Which semaphore.
    pub number: u16,
    /// What is added.
    pub adjust: i16,
}

/// A thread that is asleep in semop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetSleeper {
    /// Its process.
    pub pid: i32,
    /// Whether that is there. Where it has ended, the next call about the set takes it out.
    pub presence: Presence,
    /// Since when, in tenths of a second since 1970; `None`: its sleep is over.
    pub since: Option<u64>,
    /// The first of its operations that cannot go on.
    pub blocked_at: u16,
    /// Where its operations begin among all.
    first: u32,
    /// How many it has.
    count: u16,
}

/// A semaphore set as it was at one moment.
pub struct Set<'a> {
    /// What IPC_STAT tells.
    pub stat: SetPerm,
    /// Its semaphores.
    pub semaphores: &'a [Semaphore],
    /// What processes owe it.
    pub debts: &'a [Debt],
    /// Its sleepers, in the order of arrival.
    pub sleepers: &'a [SetSleeper],
    operations: &'a [Operation],
}

impl Set<'_> {
    /// The operations of one of its sleepers.
    pub fn operations(&self, sleeper: &SetSleeper) -> &[Operation] {
        let first = sleeper.first as usize;
        let last = first.saturating_add(sleeper.count.into());
        self.operations.get(first..last).unwrap_or(&[])
    }
}

/// A thread that is asleep in msgsnd or msgrcv.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSleeper {
    /// Its process; 0: it is gone, and not known any more.
    pub pid: i32,
    /// Whether that is there. Where it has ended, the next call about the queue takes it out.
    pub presence: Presence,
    /// Since when, in tenths of a second since 1970; `None`: its sleep is over.
    pub since: Option<u64>,
    /// What it sleeps for.
    pub wish: Wish,
}

/// What a thread sleeps for that is asleep in a message queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A message: what msgrcv was asked for.
    Message {
        /// The type.
        mtype: i64,
        /// MSG_EXCEPT and others.
        flags: i32,
    },
    /// Room for one of so many bytes.
    Room(u32),
}

/// A message queue as it was at one moment.
pub struct Queue<'a> {
    /// What IPC_STAT tells.
    pub stat: QueueFacts,
    /// Its messages, the oldest first.
    pub messages: &'a [Message],
    /// Its sleepers: those that want a message in the order of their arrival, then those that want room.
    pub sleepers: &'a [QueueSleeper],
    /// The texts of all messages, one behind the other; empty unless they were asked for.
    pub texts: &'a [u8],
}

/// What is read of an object, in memory that is used again for the next one.
#[derive(Default)]
struct Read {
    semaphores: PageVec<Semaphore>,
    debts: PageVec<Debt>,
    sleepers: PageVec<SetSleeper>,
    operations: PageVec<Operation>,
    messages: PageVec<Message>,
    waiting: PageVec<QueueSleeper>,
    texts: PageVec<u8>,
    /// Whose each debt is, and each sleep.
    owners: PageVec<u32>,
}

fn push<T: Copy>(list: &mut PageVec<T>, value: T) -> Stored<()> {
    list.reserve(1).map_err(no_room)?;
    list.insert(list.len(), value);
    Ok(())
}

fn no_room(error: OsError) -> StorageError {
    StorageError::Call {
        doing: "set memory aside",
        error,
    }
}

fn clear<T: Copy>(list: &mut PageVec<T>) {
    while let Some(last) = list.len().checked_sub(1) {
        list.remove(last);
    }
}

impl Read {
    fn clear(&mut self) {
        clear(&mut self.semaphores);
        clear(&mut self.debts);
        clear(&mut self.sleepers);
        clear(&mut self.operations);
        clear(&mut self.messages);
        clear(&mut self.waiting);
        clear(&mut self.texts);
        clear(&mut self.owners);
    }

    fn set(&mut self, view: &IpcView<'_>, set: &SetBlock) -> Stored<()> {
        self.clear();
        for number in 0..set.count() {
            let (value, pid) = (set.value(number), set.pid(number));
            push(&mut self.semaphores, Semaphore { value, pid })?;
        }
        for index in 0..set.undos() {
            let undo = set.undo(index);
            let debt = Debt {
                pid: undo.pid,
                presence: Presence::There,
                number: undo.number,
                adjust: undo.adjust,
            };
            push(&mut self.debts, debt)?;
            push(&mut self.owners, undo.owner)?;
        }
        for index in 0..set.sleepers() {
            let sleeper = set.sleeper(index);
            // One that was answered is on its way out.
            if sleeper.answer != Answer::Waits {
                continue;
            }
            let slept = SetSleeper {
                pid: sleeper.pid,
                presence: Presence::There,
                since: view.asleep_since(sleeper.place),
                blocked_at: sleeper.blocked_at,
                first: self.operations.len() as u32,
                count: sleeper.operations,
            };
            for nth in 0..u32::from(sleeper.operations) {
                push(&mut self.operations, set.operation(index, nth))?;
            }
            push(&mut self.sleepers, slept)?;
            push(&mut self.owners, sleeper.owner)?;
        }
        Ok(())
    }

    fn queue(&mut self, view: &IpcView<'_>, queue: &QueueBlock) -> Stored<()> {
        self.clear();
        for index in 0..queue.messages() {
            push(&mut self.messages, queue.message(index))?;
        }
        for index in 0..queue.receivers() {
            let receiver = queue.receiver(index);
            if matches!(
                receiver.answer,
                ReceiverAnswer::Waits | ReceiverAnswer::Again
            ) {
                let (mtype, flags) = (receiver.mtype, receiver.flags);
                let since = view.asleep_since(receiver.place);
                self.waits(receiver.owner, since, Wish::Message { mtype, flags })?;
            }
        }
        for index in 0..queue.senders() {
            let sender = queue.sender(index);
            if sender.answer == SenderAnswer::Waits {
                let since = view.asleep_since(sender.place);
                self.waits(sender.owner, since, Wish::Room(sender.len))?;
            }
        }
        Ok(())
    }

    fn texts(&mut self, view: &IpcView<'_>) -> Stored<()> {
        for message in self.messages.iter() {
            self.texts.reserve(message.len as usize).map_err(no_room)?;
            let texts = &mut self.texts;
            // What is changing meanwhile is read anew.
            view.each_byte(message, &mut |byte| {
                texts.insert(texts.len(), byte);
            });
        }
        Ok(())
    }

    fn waits(&mut self, owner: u32, since: Option<u64>, wish: Wish) -> Stored<()> {
        let sleeper = QueueSleeper {
            pid: 0,
            presence: Presence::There,
            since,
            wish,
        };
        push(&mut self.waiting, sleeper)?;
        push(&mut self.owners, owner)
    }

    /// Finds out which of the processes are there.
    fn probe(&mut self, view: &IpcView<'_>) {
        let debts = self.debts.iter_mut().map(|debt| &mut debt.presence);
        let sleepers = self.sleepers.iter_mut().map(|one| &mut one.presence);
        let mut before = None;
        for (presence, &owner) in debts.chain(sleepers).zip(self.owners.iter()) {
            *presence = probed(view, owner, &mut before);
        }
        for (sleeper, &owner) in self.waiting.iter_mut().zip(self.owners.iter()) {
            sleeper.presence = probed(view, owner, &mut before);
            if sleeper.presence != Presence::Gone {
                sleeper.pid = view.pid(owner);
            }
        }
    }
}

/// Many debts in a row are one process's.
fn probed(view: &IpcView<'_>, owner: u32, before: &mut Option<(u32, Presence)>) -> Presence {
    match *before {
        Some((known, presence)) if known == owner => presence,
        _ => {
            let presence = view.presence(owner);
            *before = Some((owner, presence));
            presence
        }
    }
}

impl<'n> Objects<'n> {
    pub(super) fn new(view: IpcView<'n>) -> Objects<'n> {
        Objects { view }
    }
}

impl Objects<'_> {
    /// The limits of both.
    pub fn limits(&self) -> (SemLimits, MsgLimits) {
        (
            sem_limits_of(self.view.sem_limits()),
            msg_limits_of(self.view.msg_limits()),
        )
    }

    /// What the file takes on disk or in memory.
    pub fn file_bytes(&self) -> u64 {
        self.view.allocated_bytes
    }

    /// Calls `each` with every semaphore set, by rising index.
    pub fn each_set(&self, each: &mut dyn FnMut(&Set<'_>)) -> Outcome<()> {
        let mut read = Read::default();
        for entry in self.view.entries(ObjectKind::Set)?.iter() {
            self.set(entry, &mut read, each)?;
        }
        Ok(())
    }

    fn set(&self, entry: &Entry, read: &mut Read, each: &mut dyn FnMut(&Set<'_>)) -> Outcome<()> {
        let mut stat = None;
        let is_there = self.view.set(entry, &mut |set| {
            stat = Some(set.facts(|words| perm_of(Kind::Set, words)));
            read.set(&self.view, set)
        })?;
        if let (true, Some(stat)) = (is_there, stat) {
            read.probe(&self.view);
            each(&Set {
                stat,
                semaphores: &read.semaphores,
                debts: &read.debts,
                sleepers: &read.sleepers,
                operations: &read.operations,
            });
        }
        Ok(())
    }

    /// Calls `each` with every message queue, by rising index.
    pub fn each_queue(&self, each: &mut dyn FnMut(&Queue<'_>)) -> Outcome<()> {
        self.queues(false, each)
    }

    /// The same with the texts of the messages.
    pub fn each_queue_with_texts(&self, each: &mut dyn FnMut(&Queue<'_>)) -> Outcome<()> {
        self.queues(true, each)
    }

    /// Where the identifiers of sets and of queues go on.
    pub fn cursors(&self) -> Outcome<[Option<IdCursor>; 2]> {
        let of = |kind| -> Stored<Option<IdCursor>> {
            let cursor = self.view.cursor(kind)?;
            Ok(cursor.map(|(next, last, seq)| IdCursor { next, last, seq }))
        };
        Ok([of(ObjectKind::Set)?, of(ObjectKind::Queue)?])
    }

    fn queues(&self, with_texts: bool, each: &mut dyn FnMut(&Queue<'_>)) -> Outcome<()> {
        let mut read = Read::default();
        for entry in self.view.entries(ObjectKind::Queue)?.iter() {
            let mut stat = None;
            let is_there = self.view.queue(entry, &mut |queue| {
                stat = Some(queue.facts());
                read.queue(&self.view, queue)?;
                if with_texts {
                    read.texts(&self.view)?;
                }
                Ok(())
            })?;
            if let (true, Some(stat)) = (is_there, stat) {
                read.probe(&self.view);
                each(&Queue {
                    stat,
                    messages: &read.messages,
                    sleepers: &read.waiting,
                    texts: &read.texts,
                });
            }
        }
        Ok(())
    }
}
