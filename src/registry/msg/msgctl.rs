//! msgctl.

use super::{NO_ROOM, limits_of, msg_limits};
use crate::registry::credentials::Thread;
use crate::registry::error::{Error, Outcome};
use crate::registry::objects::{Objects, now, objects};
use crate::registry::rules;
use crate::storage::ipc::{ObjectKind, QueueBlock};
use crate::sysv::msg::{
    self, MsgCommand, MsgLimits, NewQueue, QueueFacts, QueueState, Receiver, ReceiverAnswer,
    Sender, SenderAnswer,
};
use crate::sysv::{Errno, Ruling, ShmId};

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

/// Changes a queue by msgctl: `check` looks at what is known of it, `rule` changes it. What was there before.
fn control(
    id: i32,
    check: impl Fn(&QueueFacts) -> Ruling<()>,
    removes: bool,
    rule: impl Fn(&mut QueueBlock),
    behind: impl Fn(&Objects, &QueueBlock),
) -> Outcome<()> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.queue(id)?;
        let facts = found.queue.facts();
        if !found.is_still() {
            continue;
        }
        check(&facts)?;
        let Some(mut copy) = objects.copy_of(&found, NO_ROOM)? else {
            continue;
        };
        if removes {
            for index in 0..copy.messages() {
                objects.claim(&found, copy.message(index).text);
            }
        }
        rule(&mut copy);
        if objects.publish_queue_then(&found, copy, true, |old| behind(objects, old)) {
            return Ok(());
        }
    }
}

/// IPC_SET.
pub fn msg_set(id: i32, new: NewQueue) -> Outcome<()> {
    let limits = msg_limits()?;
    let checked = |queue: &QueueFacts| msg::may_set_queue(queue, &new, &limits, &Thread);
    control(
        id,
        |queue| checked(queue).map(drop),
        false,
        |copy| {
            // As checked.
            if let Ok(new) = checked(&copy.facts()) {
                msg::set_queue(copy, new, now());
            }
        },
        |_, _| {},
    )
}

/// IPC_RMID.
pub fn msg_remove(id: i32) -> Outcome<()> {
    control(
        id,
        |queue| msg::may_remove_queue(queue, &Thread),
        true,
        |copy| {
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
        },
        |objects, old| {
            for index in 0..old.messages() {
                objects.give_text(old.message(index).text);
            }
        },
    )?;
    // Crash here: the next process that meets it in the directory takes it out.
    objects()?.forget(ObjectKind::Queue, id)
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
            .and_then(|id| objects.queue(id))
        {
            let facts = found.queue.facts();
            if found.is_still() {
                return each(&facts);
            }
        }
    });
    Ok(())
}
