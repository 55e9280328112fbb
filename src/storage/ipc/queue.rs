//! A message queue as a block, and the blocks of its messages' texts.
//!
//! ```text
//!   0  id | key           4  stime     7  cbytes            10  receivers | room for them
//!   1  uid | gid          5  rtime     8  lspid | lrpid     11  senders | room
//!   2  cuid | cgid        6  ctime     9  messages | room   
//!   3  mode, removed | qbytes
//!   12 two words a message: type; length | text
//!      seven a receiver: owner | tid; place | flags; type; room; answer; its message, as above
//!      three a sender: owner | place; length | answer; text
//! ```

use super::arena::{Block, HEAD_WORDS, Holding};
use super::file::IpcFile;
use super::head::{self, Words};
use super::layout::EXTENT;
use super::root::Seen;
use super::set::errno_of;
use super::words::{high, low, pair};
use crate::storage::error::Stored;
use crate::sysv::msg::{
    Message, QueueFacts, QueueState, Receiver, ReceiverAnswer, Sender, SenderAnswer,
};
use crate::sysv::{IpcPerm, Key, Kind, ShmId};

const HEAD: usize = 12;
const MESSAGE: usize = 2;
const RECEIVER: usize = 7;
const SENDER: usize = 3;

/// Messages that a queue can have: those for which a block has words.
pub const MOST_MESSAGES: u32 = (EXTENT / 8 - (HEAD_WORDS + HEAD) as u32) / MESSAGE as u32;
/// Bytes that a message can have.
pub const MOST_TEXT_BYTES: u32 = EXTENT - 8 * HEAD_WORDS as u32;

const WAITS: u32 = 0;
const GOT: u32 = 1;
const AGAIN: u32 = 2;
const FAILED: u32 = 3;

/// A queue's block: one that was published, to be read; or a copy, to be changed.
#[derive(Clone, Copy)]
pub struct QueueBlock {
    block: Block,
    receivers_at: usize,
    senders_at: usize,
}

/// How much more room a copy is to have than what is there takes.
#[derive(Clone, Copy, Default)]
pub struct MoreQueueRoom {
    /// Messages.
    pub messages: u32,
    /// Receivers.
    pub receivers: u32,
    /// Senders.
    pub senders: u32,
}

/// Bytes of the arena that a queue's list of so many messages takes, in which nobody sleeps.
pub fn queue_bytes(messages: u32) -> u64 {
    Block::bytes_for(HEAD + messages as usize * MESSAGE)
}

/// Bytes of the arena that the text of a message takes.
pub fn text_bytes(len: u32) -> u64 {
    match len {
        0 => 0,
        len => Block::bytes_for((len as usize).div_ceil(8)),
    }
}

impl QueueBlock {
    #[inline(always)]
    fn of(block: Block) -> QueueBlock {
        // More than the block has words is no more unsound than as many, and does not overflow.
        let room = |at| high(block.get(at)).min(block.len_words() as u32) as usize;
        let receivers_at = HEAD + room(9) * MESSAGE;
        QueueBlock {
            block,
            receivers_at,
            senders_at: receivers_at + room(10) * RECEIVER,
        }
    }

    #[inline(always)]
    fn is_sound(&self) -> bool {
        let room = high(self.block.get(11)).min(self.block.len_words() as u32);
        let end = self.senders_at + room as usize * SENDER;
        let fits = |word: u64| low(word) <= high(word);
        end <= self.block.len_words() && [9, 10, 11].into_iter().all(|at| fits(self.block.get(at)))
    }

    /// The block.
    pub fn block(&self) -> Block {
        self.block
    }

    /// Its identifier.
    #[inline(always)]
    pub fn id(&self) -> i32 {
        head::id(&self.block)
    }

    /// Whether the queue was removed.
    #[inline(always)]
    pub fn is_removed(&self) -> bool {
        head::is_removed(&self.block)
    }

    /// Says so, and forgets its messages.
    pub fn set_removed(&mut self) {
        head::set_removed(&self.block);
        self.block.put(7, 0);
        self.block.put(9, pair(0, high(self.block.get(9))));
    }

    /// How many messages there are.
    #[inline(always)]
    // Counts are bounded by where the parts lie, which was looked at once: the block may be another's by now.
    pub fn messages(&self) -> u32 {
        let room = (self.receivers_at - HEAD) / MESSAGE;
        low(self.block.get(9)).min(room as u32)
    }

    fn message_at(index: u32) -> usize {
        HEAD + index as usize * MESSAGE
    }

    /// Calls `each` with the text of every message in it, and of those that were handed to its receivers.
    pub(super) fn each_text(&self, each: &mut dyn FnMut(u32)) {
        for index in 0..self.messages() {
            each(self.message(index).text);
        }
        for index in 0..self.receivers() {
            if let ReceiverAnswer::Got(message) = self.receiver(index).answer {
                each(message.text);
            }
        }
    }

    fn bytes(&self) -> u64 {
        let messages = (0..self.messages()).map(|at| self.message(at));
        messages.map(|message| u64::from(message.len)).sum()
    }

    /// Whether it says how many bytes its messages have.
    pub fn has_right_sum(&self) -> bool {
        self.block.get(7) == self.bytes()
    }

    /// Says so: of a copy that was not published.
    pub fn count_bytes(&mut self) {
        self.block.put(7, self.bytes());
    }

    /// The first of its messages that has no text.
    pub fn without_text(&self, file: &IpcFile<'_>) -> Option<u32> {
        (0..self.messages()).find(|&at| {
            let message = self.message(at);
            message.len != 0 && file.text(&message).is_none()
        })
    }

    fn write_message(&self, at: usize, message: Message) {
        self.block.put(at, message.mtype as u64);
        self.block.put(at + 1, pair(message.len, message.text));
    }

    fn read_message(&self, at: usize) -> Message {
        let body = self.block.get(at + 1);
        Message {
            mtype: self.block.get(at) as i64,
            len: low(body),
            text: high(body),
        }
    }

    fn write_receiver(&self, index: u32, receiver: &Receiver) {
        let at = self.receivers_at + index as usize * RECEIVER;
        let nothing = Message {
            mtype: 0,
            len: 0,
            text: 0,
        };
        let (answer, message) = match receiver.answer {
            ReceiverAnswer::Waits => (WAITS, nothing),
            ReceiverAnswer::Got(message) => (GOT, message),
            ReceiverAnswer::Again => (AGAIN, nothing),
            ReceiverAnswer::Failed(errno) => (FAILED + errno.raw() as u32, nothing),
        };
        self.block
            .put(at, pair(receiver.owner, receiver.tid as u32));
        self.block
            .put(at + 1, pair(receiver.place, receiver.flags as u32));
        self.block.put(at + 2, receiver.mtype as u64);
        self.block.put(at + 3, receiver.room);
        self.block.put(at + 4, answer.into());
        self.write_message(at + 5, message);
    }

    fn write_sender(&self, index: u32, sender: &Sender) {
        let at = self.senders_at + index as usize * SENDER;
        let answer = match sender.answer {
            SenderAnswer::Waits => WAITS,
            SenderAnswer::Again => AGAIN,
        };
        self.block.put(at, pair(sender.owner, sender.place));
        self.block.put(at + 1, pair(sender.len, answer));
        self.block.put(at + 2, sender.text.into());
    }
}

impl QueueState for QueueBlock {
    #[inline]
    fn facts(&self) -> QueueFacts {
        let (words, pids) = (Words::of(&self.block), self.block.get(8));
        QueueFacts {
            perm: IpcPerm {
                kind: Kind::Queue,
                id: ShmId::new(words.id as u32, words.id as u32 / super::layout::OBJECTS),
                uid: words.uid,
                gid: words.gid,
                cuid: words.cuid,
                cgid: words.cgid,
                mode: words.mode,
            },
            key: Key(high(self.block.get(0)) as i32),
            stime: self.block.get(4) as i64,
            rtime: self.block.get(5) as i64,
            ctime: self.block.get(6) as i64,
            cbytes: self.block.get(7),
            qnum: self.messages(),
            qbytes: high(self.block.get(3)),
            lspid: low(pids) as i32,
            lrpid: high(pids) as i32,
        }
    }

    fn set_facts(&mut self, facts: QueueFacts) {
        self.block.put(1, pair(facts.perm.uid, facts.perm.gid));
        self.block.put(3, pair(facts.perm.mode, facts.qbytes));
        self.block.put(4, facts.stime as u64);
        self.block.put(5, facts.rtime as u64);
        self.block.put(6, facts.ctime as u64);
        self.block
            .put(8, pair(facts.lspid as u32, facts.lrpid as u32));
    }

    #[inline]
    fn message(&self, index: u32) -> Message {
        self.read_message(Self::message_at(index))
    }

    fn push_message(&mut self, message: Message) {
        let (messages, room) = (self.messages(), high(self.block.get(9)));
        debug_assert!(messages < room);
        if messages < room {
            self.write_message(Self::message_at(messages), message);
            self.block.put(9, pair(messages + 1, room));
            self.block
                .put(7, self.block.get(7).wrapping_add(message.len.into()));
        }
    }

    fn remove_message(&mut self, index: u32) {
        let (messages, room) = (self.messages(), high(self.block.get(9)));
        if index >= messages {
            return;
        }
        let gone = self.message(index);
        let (at, behind) = (Self::message_at(index), Self::message_at(index + 1));
        let words = (messages - 1 - index) as usize * MESSAGE;
        self.block.copy_from(at, &self.block, behind, words);
        self.block.put(9, pair(messages - 1, room));
        self.block
            .put(7, self.block.get(7).wrapping_sub(gone.len.into()));
    }

    #[inline(always)]
    fn receivers(&self) -> u32 {
        let room = (self.senders_at - self.receivers_at) / RECEIVER;
        low(self.block.get(10)).min(room as u32)
    }

    fn receiver(&self, index: u32) -> Receiver {
        let at = self.receivers_at + index as usize * RECEIVER;
        let (who, how) = (self.block.get(at), self.block.get(at + 1));
        let answer = match low(self.block.get(at + 4)) {
            WAITS => ReceiverAnswer::Waits,
            GOT => ReceiverAnswer::Got(self.read_message(at + 5)),
            AGAIN => ReceiverAnswer::Again,
            errno => ReceiverAnswer::Failed(errno_of(errno - FAILED)),
        };
        Receiver {
            owner: low(who),
            tid: high(who) as i32,
            place: low(how),
            flags: high(how) as i32,
            mtype: self.block.get(at + 2) as i64,
            room: self.block.get(at + 3),
            answer,
        }
    }

    fn set_receiver(&mut self, index: u32, receiver: Receiver) {
        if index < self.receivers() {
            self.write_receiver(index, &receiver);
        }
    }

    fn push_receiver(&mut self, receiver: Receiver) {
        let (receivers, room) = (self.receivers(), high(self.block.get(10)));
        debug_assert!(receivers < room);
        if receivers < room {
            self.block.put(10, pair(receivers + 1, room));
            self.write_receiver(receivers, &receiver);
        }
    }

    fn remove_receiver(&mut self, index: u32) {
        let (receivers, room) = (self.receivers(), high(self.block.get(10)));
        for at in index..receivers.saturating_sub(1) {
            let behind = self.receiver(at + 1);
            self.write_receiver(at, &behind);
        }
        if index < receivers {
            self.block.put(10, pair(receivers - 1, room));
        }
    }

    #[inline(always)]
    fn senders(&self) -> u32 {
        let room = self.block.len_words().saturating_sub(self.senders_at) / SENDER;
        low(self.block.get(11)).min(room as u32)
    }

    fn sender(&self, index: u32) -> Sender {
        let at = self.senders_at + index as usize * SENDER;
        let (who, what) = (self.block.get(at), self.block.get(at + 1));
        Sender {
            owner: low(who),
            place: high(who),
            len: low(what),
            text: low(self.block.get(at + 2)),
            answer: match high(what) {
                WAITS => SenderAnswer::Waits,
                _ => SenderAnswer::Again,
            },
        }
    }

    fn set_sender(&mut self, index: u32, sender: Sender) {
        if index < self.senders() {
            self.write_sender(index, &sender);
        }
    }

    fn push_sender(&mut self, sender: Sender) {
        let (senders, room) = (self.senders(), high(self.block.get(11)));
        debug_assert!(senders < room);
        if senders < room {
            self.block.put(11, pair(senders + 1, room));
            self.write_sender(senders, &sender);
        }
    }

    fn remove_sender(&mut self, index: u32) {
        let (senders, room) = (self.senders(), high(self.block.get(11)));
        for at in index..senders.saturating_sub(1) {
            let behind = self.sender(at + 1);
            self.write_sender(at, &behind);
        }
        if index < senders {
            self.block.put(11, pair(senders - 1, room));
        }
    }
}

impl IpcFile<'_> {
    /// The queue that a root has led to; `None`: it is none, or it has changed meanwhile.
    #[inline(always)]
    pub fn queue(&self, seen: Seen) -> Option<QueueBlock> {
        self.queue_of(self.block_of(seen)?)
    }

    /// A block as a queue; `None`: it is none.
    #[inline(always)]
    pub(super) fn queue_of(&self, block: Block) -> Option<QueueBlock> {
        let queue = QueueBlock::of(block);
        queue.is_sound().then_some(queue)
    }

    /// A new queue, not yet published.
    pub fn new_queue(
        &self,
        words: Words,
        key: i32,
        qbytes: u32,
        now: i64,
        owner: u32,
    ) -> Stored<QueueBlock> {
        let block = self.take(HEAD, owner)?;
        for at in 0..HEAD {
            block.put(at, 0);
        }
        words.write(&block, key, qbytes);
        block.put(6, now as u64);
        Ok(QueueBlock::of(block))
    }

    /// A copy of a queue with more room in it. What was copied was the queue if its root is still what it was.
    #[inline]
    pub fn copy_queue(
        &self,
        old: &QueueBlock,
        more: MoreQueueRoom,
        owner: u32,
    ) -> Stored<QueueBlock> {
        let (messages, receivers, senders) = (old.messages(), old.receivers(), old.senders());
        let message_room = messages.saturating_add(more.messages);
        let receiver_room = receivers.saturating_add(more.receivers);
        let sender_room = senders.saturating_add(more.senders);
        let receivers_at = HEAD + message_room as usize * MESSAGE;
        let senders_at = receivers_at + receiver_room as usize * RECEIVER;
        let block = self.take(senders_at + sender_room as usize * SENDER, owner)?;
        let (from, to) = (old.block, block);
        to.copy_from(0, &from, 0, HEAD + messages as usize * MESSAGE);
        to.copy_from(
            receivers_at,
            &from,
            old.receivers_at,
            receivers as usize * RECEIVER,
        );
        to.copy_from(senders_at, &from, old.senders_at, senders as usize * SENDER);
        // Should it have been torn, it is thrown away; until then it must be in order.
        to.put(9, pair(messages, message_room));
        to.put(10, pair(receivers, receiver_room));
        to.put(11, pair(senders, sender_room));
        Ok(QueueBlock {
            block,
            receivers_at,
            senders_at,
        })
    }

    /// A block for a text of so many bytes, at least one.
    pub fn new_text(&self, len: u32, owner: u32) -> Stored<Block> {
        self.take((len as usize).div_ceil(8), owner)
    }

    /// The text of a message.
    #[inline]
    pub fn text(&self, message: &Message) -> Option<Block> {
        let block = self.block(message.text)?;
        (block.len_words() * 8 >= message.len as usize).then_some(block)
    }

    /// Gives back a block that was not published.
    pub fn give_unpublished(&self, block: Block) {
        self.give(block);
    }

    /// The block of a text, and what is said of it.
    #[inline]
    pub fn text_holding(&self, text: u32) -> Option<(Block, Holding)> {
        let block = self.block(text)?;
        Some((block, self.holding(block)))
    }
}

#[cfg(test)]
mod tests;
