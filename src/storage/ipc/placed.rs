//! An object that is given the identifier that it had elsewhere: in a namespace that is made again.

use super::arena::Block;
use super::directory::{CursorWords, Entry};
use super::file::IpcFile;
use super::head::Words;
use super::queue::{MoreQueueRoom, QueueBlock};
use super::root::Kind;
use crate::storage::error::Stored;
use crate::sysv::msg::Message;

impl IpcFile<'_> {
    /// Enters an object of which `block` is the block. `Ok(false)`: another one has its identifier's index, or its key.
    pub fn place_object(
        &self,
        kind: Kind,
        (id, key): (i32, i32),
        size: u32,
        cursor: CursorWords,
        block: Block,
    ) -> Stored<bool> {
        let slot = id as u32 % super::layout::OBJECTS;
        let root = self.root_made(kind, slot)?;
        loop {
            let directory = self.directory(kind);
            let is_taken = directory.find_slot(slot).is_some()
                || key != 0 && directory.find_key(key).is_some();
            let seen = root.seen();
            if !directory.is_still() {
                continue;
            }
            if is_taken || seen.unit() != 0 {
                return Ok(false);
            }
            let entry = Entry {
                id,
                key,
                size,
                first: block.unit,
                tag: seen.tag(),
            };
            if self.enter(&directory, &entry, cursor, 0)? {
                root.change(seen, block.unit);
                return Ok(true);
            }
        }
    }

    /// A new queue with these messages' room, not yet published.
    pub fn new_queue_with_room(
        &self,
        words: Words,
        key: i32,
        qbytes: u32,
        messages: u32,
        owner: u32,
    ) -> Stored<QueueBlock> {
        let small = self.new_queue(words, key, qbytes, 0, owner)?;
        let more = MoreQueueRoom {
            messages,
            ..MoreQueueRoom::default()
        };
        let queue = self.copy_queue(&small, more, owner);
        self.give_unpublished(small.block());
        queue
    }

    /// A message with this text, in no queue yet.
    pub fn new_message(&self, mtype: i64, text: &[u8], owner: u32) -> Stored<Message> {
        let len = text.len() as u32;
        let mut unit = 0;
        if len != 0 {
            let block = self.new_text(len, owner)?;
            for (at, bytes) in text.chunks(8).enumerate() {
                let mut word = [0; 8];
                for (to, from) in word.iter_mut().zip(bytes) {
                    *to = *from;
                }
                block.put(at, u64::from_ne_bytes(word));
            }
            unit = block.unit;
        }
        Ok(Message {
            mtype,
            len,
            text: unit,
        })
    }

    /// Calls `each` with every byte of a message's text. `false`: it has none that could be.
    pub(super) fn each_byte(&self, message: &Message, each: &mut dyn FnMut(u8)) -> bool {
        if message.len == 0 {
            return true;
        }
        let Some(block) = self.text(message) else {
            return false;
        };
        let mut left = message.len;
        let mut at = 0;
        while left != 0 {
            for byte in block.get(at).to_ne_bytes().into_iter().take(left as usize) {
                each(byte);
            }
            left -= left.min(8);
            at += 1;
        }
        true
    }
}
