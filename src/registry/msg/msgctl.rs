//! msgctl.

use super::{Found, NO_ROOM, limits_of, msg_limits};
use crate::os::pages::PageVec;
use crate::registry::credentials::Thread;
use crate::registry::error::{Error, Outcome};
use crate::registry::objects::{Objects, now, objects};
use crate::registry::rules;
use crate::storage::ipc::{ObjectKind, QueueBlock};
use crate::sysv::msg::{
    self, MsgCommand, MsgLimits, NewQueue, QueueFacts, QueueState, Receiver, ReceiverAnswer,
    Sender, SenderAnswer,
};
use crate::sysv::{Errno, ShmId};

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

/// Sets the limits; refused to a caller that may not.
pub fn set_msg_limits(limits: MsgLimits) -> Outcome<()> {
    let objects = objects()?;
    objects.must_set_limits()?;
    objects.file.set_msg_limits(rules::msg_words(&limits));
    Ok(())
}

/// IPC_STAT, MSG_STAT, MSG_STAT_ANY.
pub fn msg_stat(id: i32, command: MsgCommand) -> Outcome<QueueFacts> {
    let objects = objects()?;
    loop {
        let found = match command {
            MsgCommand::IpcStat => objects.queue(ShmId::from_raw(id)?)?,
            _ => objects.queue_at(id)?,
        };
        let facts = found.queue.facts();
        if found.is_still() {
            msg::may_stat_queue(&facts, command, &Thread)?;
            return Ok(facts);
        }
    }
}

/// IPC_SET.
pub fn msg_set(id: i32, new: NewQueue) -> Outcome<()> {
    let limits = msg_limits()?;
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.queue(id)?;
        let facts = found.queue.facts();
        if !found.is_still() {
            continue;
        }
        let new = msg::may_set_queue(&facts, &new, &limits, &Thread)?;
        if objects.change_queue(&found, NO_ROOM, |copy| msg::set_queue(copy, new, now()))? {
            return Ok(());
        }
    }
}

/// IPC_RMID. Takes no room where nobody sleeps: what is full must be possible to empty.
pub fn msg_remove(id: i32) -> Outcome<()> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.queue_with_the_dead(id)?;
        let facts = found.queue.facts();
        if !found.is_still() {
            continue;
        }
        msg::may_remove_queue(&facts, &Thread)?;
        let is_reaped = matches!(objects.reap_in_queue(&found), Ok(true));
        if !is_reaped && objects.end_queue(&found)? {
            break;
        }
    }
    // Crash here, or for want of room: the next process that meets it in the directory takes it out.
    let _ = objects.forget(ObjectKind::Queue, id.raw());
    Ok(())
}

impl Objects {
    /// Ends a queue, or has its sleepers do it, which are told. `false`: it has changed.
    fn end_queue(&self, found: &Found) -> Outcome<bool> {
        let queue = &found.queue;
        let mut claims = PageVec::new();
        for index in 0..queue.messages() {
            // A text that could not be noted names its sender still: the sweep finds it when that has ended.
            if claims.reserve(1).is_ok() {
                let claim = self.claim(found, queue.message(index).text);
                claims.insert(claims.len(), claim);
            }
        }
        let is_done = if queue.receivers() != 0 || queue.senders() != 0 {
            self.change_queue(found, NO_ROOM, mark_removed)?
        } else {
            let holding = self.file.holding(queue.block());
            let is_done = found.root.change(found.seen, 0);
            if is_done {
                self.file.give_replaced(queue.block(), holding);
            }
            is_done
        };
        if is_done {
            claims.iter().for_each(|&claim| self.give_claimed(claim));
        }
        Ok(is_done)
    }
}

/// Removes a queue whose sleepers are to be told.
fn mark_removed(copy: &mut QueueBlock) {
    for index in 0..copy.receivers() {
        let receiver = copy.receiver(index);
        if matches!(
            receiver.answer,
            ReceiverAnswer::Waits | ReceiverAnswer::Again
        ) {
            let answer = ReceiverAnswer::Failed(Errno::Eidrm);
            copy.set_receiver(index, Receiver { answer, ..receiver });
        }
    }
    for index in 0..copy.senders() {
        let sender = copy.sender(index);
        let answer = SenderAnswer::Again;
        copy.set_sender(index, Sender { answer, ..sender });
    }
    copy.set_removed();
}

/// IPC_INFO, MSG_INFO.
pub fn msg_usage() -> Outcome<MsgUsage> {
    let objects = objects()?;
    let (queues, _, highest) = objects.totals(ObjectKind::Queue);
    let mut usage = MsgUsage {
        limits: limits_of(objects),
        queues,
        messages: 0,
        bytes: 0,
        highest,
    };
    msg_list(&mut |facts| {
        usage.messages = usage.messages.saturating_add(facts.qnum);
        usage.bytes = usage.bytes.saturating_add(facts.cbytes);
    })?;
    Ok(usage)
}

/// Every queue, in the order of indices.
pub fn msg_list(each: &mut dyn FnMut(&QueueFacts)) -> Outcome<()> {
    let objects = objects()?;
    objects.each(ObjectKind::Queue, &mut |id| {
        // One that was removed meanwhile is left out.
        while let Ok(found) = ShmId::from_raw(id)
            .map_err(Error::from)
            .and_then(|id| objects.queue_with_the_dead(id))
        {
            let facts = found.queue.facts();
            if found.is_still() {
                return each(&facts);
            }
        }
    });
    Ok(())
}
