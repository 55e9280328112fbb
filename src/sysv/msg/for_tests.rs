//! What the tests of the rules of queues share: a queue that is made of three lists.

use super::state::{
    Message, QueueFacts, QueueState, Receiver, ReceiverAnswer, Sender, SenderAnswer,
};
use crate::sysv::for_tests::segment;
use crate::sysv::{IpcPerm, Kind};

/// A queue in memory.
#[derive(Clone, PartialEq, Debug)]
pub struct Queue {
    facts: QueueFacts,
    pub messages: Vec<Message>,
    pub receivers: Vec<Receiver>,
    pub senders: Vec<Sender>,
}

impl Queue {
    pub fn new(facts: QueueFacts) -> Queue {
        Queue {
            facts,
            messages: Vec::new(),
            receivers: Vec::new(),
            senders: Vec::new(),
        }
    }

    /// What the receivers were told.
    pub fn answers(&self) -> Vec<ReceiverAnswer> {
        self.receivers.iter().map(|it| it.answer).collect()
    }

    /// Whether the senders were told to try again.
    pub fn told(&self) -> Vec<bool> {
        let told = |sender: &Sender| sender.answer == SenderAnswer::Again;
        self.senders.iter().map(told).collect()
    }
}

impl QueueState for Queue {
    fn facts(&self) -> QueueFacts {
        QueueFacts {
            cbytes: self.messages.iter().map(|it| u64::from(it.len)).sum(),
            qnum: self.messages.len() as u32,
            ..self.facts
        }
    }
    fn set_facts(&mut self, facts: QueueFacts) {
        self.facts = QueueFacts {
            cbytes: 0,
            qnum: 0,
            ..facts
        };
    }

    fn message(&self, index: u32) -> Message {
        self.messages[index as usize]
    }
    fn push_message(&mut self, message: Message) {
        self.messages.push(message);
    }
    fn remove_message(&mut self, index: u32) {
        self.messages.remove(index as usize);
    }

    fn receivers(&self) -> u32 {
        self.receivers.len() as u32
    }
    fn receiver(&self, index: u32) -> Receiver {
        self.receivers[index as usize]
    }
    fn set_receiver(&mut self, index: u32, receiver: Receiver) {
        self.receivers[index as usize] = receiver;
    }
    fn push_receiver(&mut self, receiver: Receiver) {
        self.receivers.push(receiver);
    }
    fn remove_receiver(&mut self, index: u32) {
        self.receivers.remove(index as usize);
    }

    fn senders(&self) -> u32 {
        self.senders.len() as u32
    }
    fn sender(&self, index: u32) -> Sender {
        self.senders[index as usize]
    }
    fn set_sender(&mut self, index: u32, sender: Sender) {
        self.senders[index as usize] = sender;
    }
    fn push_sender(&mut self, sender: Sender) {
        self.senders.push(sender);
    }
    fn remove_sender(&mut self, index: u32) {
        self.senders.remove(index as usize);
    }
}

/// A new queue that its creator gave away.
pub fn facts(mode: u32) -> QueueFacts {
    let segment = segment(mode);
    QueueFacts {
        perm: IpcPerm {
            kind: Kind::Queue,
            ..segment.perm()
        },
        key: segment.key,
        stime: 0,
        rtime: 0,
        ctime: segment.ctime,
        cbytes: 0,
        qnum: 0,
        qbytes: 16384,
        lspid: 0,
        lrpid: 0,
    }
}

/// A queue with messages of these types, each of one byte.
pub fn queue_of(types: &[i64]) -> Queue {
    let mut queue = Queue::new(facts(0o600));
    for mtype in types {
        queue.push_message(message(*mtype, 1));
    }
    queue
}

/// A message whose text tells it from others of other types.
pub fn message(mtype: i64, len: u32) -> Message {
    Message {
        mtype,
        len,
        text: mtype as u32,
    }
}

/// A sleeping receiver of process `owner`, whose thread has the id 1000 + `owner`.
pub fn receiver(owner: u32, mtype: i64, room: u64, flags: i32) -> Receiver {
    Receiver {
        owner,
        tid: 1000 + owner as i32,
        place: owner,
        mtype,
        room,
        flags,
        answer: ReceiverAnswer::Waits,
    }
}

/// A sleeping sender.
pub fn sender(owner: u32, len: u32) -> Sender {
    Sender {
        owner,
        place: owner,
        len,
        text: 0,
        answer: SenderAnswer::Waits,
    }
}
