//! Queues whose block says what cannot be.

use super::NO_ROOM;
use crate::registry::error::Outcome;
use crate::registry::objects::Objects;
use crate::storage::ipc::{ObjectKind, QueueBlock};
use crate::sysv::msg::{self, QueueState};

impl Objects {
    /// Takes the message with a text out that another one has, too. Its text is not given back.
    pub(in crate::registry) fn drop_text(&self, slot: u32, text: u32) -> Outcome<()> {
        let wrong = |queue: &QueueBlock| {
            let mut messages = (0..queue.messages()).rev();
            let its = messages.find(|&at| queue.message(at).text == text);
            its.map(Wrong::Message)
        };
        self.mend_once(slot, &wrong).map(|_| ())
    }

    /// Takes the messages out of a queue whose text is none, and counts its bytes.
    pub(in crate::registry) fn mend_queue(&self, slot: u32) -> Outcome<()> {
        let wrong = |queue: &QueueBlock| {
            let message = queue.without_text(&self.file).map(Wrong::Message);
            message.or_else(|| (!queue.has_right_sum()).then_some(Wrong::Sum))
        };
        while self.mend_once(slot, &wrong)? {}
        Ok(())
    }

    /// Mends one thing. Whether there was one.
    fn mend_once(&self, slot: u32, wrong: &dyn Fn(&QueueBlock) -> Option<Wrong>) -> Outcome<bool> {
        let Some(root) = self.file.root(ObjectKind::Queue, slot) else {
            return Ok(false);
        };
        while let Some(found) = self.queue_behind(root) {
            let wrong = wrong(&found.queue);
            if !found.is_still() {
                continue;
            }
            let Some(wrong) = wrong else {
                return Ok(false);
            };
            let is_done = self.change_queue(&found, NO_ROOM, |copy| {
                if let Wrong::Message(at) = wrong {
                    copy.remove_message(at);
                }
                copy.count_bytes();
                msg::wake_senders(copy);
            })?;
            if is_done {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is wrong with a queue.
#[derive(Clone, Copy)]
enum Wrong {
    /// The message at this place.
    Message(u32),
    /// The sum of bytes.
    Sum,
}
