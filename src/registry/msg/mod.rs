//! msgget, msgsnd, msgrcv and msgctl, and what they share: a queue is found, without the dead in it, copied, and the changed copy
//! published.

mod call;
mod msgctl;
mod msgget;
mod msgrcv;
mod msgsnd;

use super::error::{Error, Outcome};
use super::objects::{Objects, objects};
use super::rules;
use super::sleep::Answered;
use crate::storage::ipc::{
    Block, Holding, MoreQueueRoom, ObjectKind, Presence, QueueBlock, Root, Seen,
};
use crate::sysv::msg::{self, MsgLimits, QueueState, ReceiverAnswer, SenderAnswer};
use crate::sysv::{self, Kind, ShmId};

pub use call::{Sleep, Step, Woken};
pub use msgctl::{MsgUsage, msg_list, msg_remove, msg_set, msg_stat, msg_usage, set_msg_limits};
pub use msgget::{msgget, msgget_at_once};
pub use msgrcv::{Received, Receiving};
pub use msgsnd::Sending;

/// A queue as it was at one moment.
#[derive(Clone, Copy)]
struct Found {
    root: Root,
    seen: Seen,
    queue: QueueBlock,
}

impl Found {
    #[inline(always)]
    fn is_still(&self) -> bool {
        self.root.is_still(self.seen)
    }
}

/// A text, and what was said of it while it was in the queue.
type Claim = Option<(Block, Holding)>;

const NO_ROOM: MoreQueueRoom = MoreQueueRoom {
    messages: 0,
    receivers: 0,
    senders: 0,
};

impl Objects {
    /// The queue that a root leads to, removed or not. `None`: there is none.
    #[inline(always)]
    fn queue_behind(&self, root: Root) -> Option<Found> {
        loop {
            let seen = root.seen();
            if seen.unit() == 0 {
                return None;
            }
            match self.file.queue(seen) {
                Some(queue) => return Some(Found { root, seen, queue }),
                None if root.is_still(seen) => return None,
                None => {}
            }
        }
    }

    /// The queue with this identifier, when those who have died are out of it.
    #[inline]
    fn queue(&self, id: ShmId) -> Outcome<Found> {
        let root = self.root_of(ObjectKind::Queue, id)?;
        let unknown = || Error::from(sysv::unknown_id(Kind::Queue, id));
        loop {
            let found = self.queue_behind(root).ok_or_else(unknown)?;
            let fits = found.queue.id() == id.raw() && !found.queue.is_removed();
            if !found.is_still() {
                continue;
            }
            if !fits {
                return Err(unknown());
            }
            if !self.bury_receivers(&found)? {
                return Ok(found);
            }
        }
    }

    /// The queue with this index.
    fn queue_at(&self, index: i32) -> Outcome<Found> {
        let slot = index as u32 & (sysv::SLOTS - 1);
        let unused = || Error::from(sysv::unused_index(Kind::Queue, slot));
        let root = self.root_at(ObjectKind::Queue, index)?;
        loop {
            let found = self.queue_behind(root).ok_or_else(unused)?;
            let is_removed = found.queue.is_removed();
            if found.is_still() {
                return if is_removed { Err(unused()) } else { Ok(found) };
            }
        }
    }

    /// Takes the sleepers of dead processes out of a queue. Whether there was anything to do.
    #[inline]
    fn bury_receivers(&self, found: &Found) -> Outcome<bool> {
        let queue = &found.queue;
        if queue.receivers() == 0 && queue.senders() == 0 {
            return Ok(false);
        }
        self.bury_sleepers(found)
    }

    /// The same for one that was removed. Whether anything was done.
    pub(in crate::registry) fn bury_in_removed_queue(&self, root: Root) -> bool {
        let found = self
            .queue_behind(root)
            .filter(|found| found.queue.is_removed());
        found.is_some_and(|found| matches!(self.bury_receivers(&found), Ok(true)))
    }

    #[cold]
    #[inline(never)]
    fn bury_sleepers(&self, found: &Found) -> Outcome<bool> {
        let queue = &found.queue;
        let me = self.owner_if_entered();
        let receivers = (0..queue.receivers()).map(|index| queue.receiver(index).owner);
        let senders = (0..queue.senders()).map(|index| queue.sender(index).owner);
        let is_gone = |&owner: &u32| owner != me && self.file.presence(owner) != Presence::There;
        let gone = receivers.chain(senders).find(is_gone);
        if !found.is_still() {
            return Ok(true);
        }
        let Some(owner) = gone else {
            return self.drop_left(found);
        };
        let Some(mut copy) = self.copy_of(found, NO_ROOM)? else {
            return Ok(true);
        };
        msg::drop_sleepers(&mut copy, owner, |message| {
            self.claim(found, message.text);
        });
        self.publish_queue_then(found, copy, true, |old| {
            for index in 0..old.receivers() {
                let receiver = old.receiver(index);
                if let (true, ReceiverAnswer::Got(message)) =
                    (receiver.owner == owner, receiver.answer)
                {
                    self.give_text(message.text);
                }
            }
        });
        Ok(true)
    }

    /// Takes a sleeper out whose sleep is over, and which could not be taken out then for want of room.
    fn drop_left(&self, found: &Found) -> Outcome<bool> {
        let queue = &found.queue;
        let has_left = |place: u32| !self.file.is_taken(place);
        let receiver = (0..queue.receivers()).find(|&at| has_left(queue.receiver(at).place));
        let sender = (0..queue.senders()).find(|&at| has_left(queue.sender(at).place));
        let lost = match receiver.map(|at| queue.receiver(at).answer) {
            Some(ReceiverAnswer::Got(message)) => message.text,
            _ => 0,
        };
        if !found.is_still() || receiver.is_none() && sender.is_none() {
            return Ok(!found.is_still());
        }
        let claim = self.claim(found, lost);
        let is_done = self.change_queue(found, NO_ROOM, |copy| {
            if let Some(at) = receiver {
                copy.remove_receiver(at);
            }
            if let Some(at) = sender {
                copy.remove_sender(at);
            }
        })?;
        if is_done {
            self.claim_again(claim);
            self.give_text(lost);
        }
        Ok(true)
    }

    /// A text is about to come into the caller's hands, if the queue does not change meanwhile.
    #[inline]
    fn claim(&self, found: &Found, text: u32) -> Claim {
        let claim = self.file.text_holding(text)?;
        if !found.is_still() {
            return None;
        }
        self.claim_again(Some(claim));
        Some(claim)
    }

    /// It has: others may have claimed it meanwhile.
    #[inline]
    fn claim_again(&self, claim: Claim) {
        if let Some((text, holding)) = claim {
            self.file.claim(text, holding, self.holder());
        }
    }

    /// Makes a copy the queue, if it is still what was copied; then the sleepers that were answered are woken.
    #[inline]
    fn publish_queue(&self, found: &Found, copy: QueueBlock) -> bool {
        self.publish_queue_then(found, copy, false, |_| {})
    }

    /// [`Objects::publish_queue`], and if it `reads_old`, `behind` looks at what was the queue before.
    #[inline]
    fn publish_queue_then(
        &self,
        found: &Found,
        copy: QueueBlock,
        reads_old: bool,
        behind: impl Fn(&QueueBlock),
    ) -> bool {
        let has_sleepers = copy.receivers() != 0 || copy.senders() != 0;
        let unit = if copy.is_removed() && !has_sleepers {
            0
        } else {
            copy.block().unit
        };
        // As soon as it is published, the copy is everybody's.
        let (receivers, senders) = if has_sleepers {
            (
                answered_receivers(&found.queue, &copy),
                told_senders(&found.queue, &copy),
            )
        } else {
            (Answered::none(), Answered::none())
        };
        let mut holding = self.file.holding(found.queue.block());
        if reads_old && found.is_still() {
            let block = found.queue.block();
            holding = self.file.claim(block, holding, self.holder());
        }
        if !self.holds(copy.block()) || !found.root.change(found.seen, unit) {
            self.give_unpublished(copy.block());
            return false;
        }
        // Crash here, before or in this: a sleeper looks again by itself after a while.
        let old = &found.queue;
        receivers.each(|index| self.file.wake(old.receiver(index).place));
        senders.each(|index| self.file.wake(old.sender(index).place));
        behind(old);
        self.file.give_replaced(old.block(), holding);
        if unit == 0 {
            self.give_unpublished(copy.block());
        }
        true
    }

    /// A copy of a queue; `None`: the queue has changed meanwhile.
    #[inline]
    fn copy_of(&self, found: &Found, more: MoreQueueRoom) -> Outcome<Option<QueueBlock>> {
        let copy = self.file.copy_queue(&found.queue, more, self.holder())?;
        if found.is_still() {
            return Ok(Some(copy));
        }
        self.give_unpublished(copy.block());
        Ok(None)
    }

    /// Changes a queue by a rule that cannot refuse.
    fn change_queue(
        &self,
        found: &Found,
        more: MoreQueueRoom,
        rule: impl FnOnce(&mut QueueBlock),
    ) -> Outcome<bool> {
        let Some(mut copy) = self.copy_of(found, more)? else {
            return Ok(false);
        };
        rule(&mut copy);
        Ok(self.publish_queue(found, copy))
    }
}

/// Which of the receivers have an answer in a copy and had none before.
#[cold]
#[inline(never)]
fn answered_receivers(old: &QueueBlock, copy: &QueueBlock) -> Answered {
    let answers = || {
        (0..copy.receivers())
            .map(|index| copy.receiver(index))
            .filter(|receiver| receiver.answer != ReceiverAnswer::Waits)
    };
    let mut answered = Answered::none();
    for index in 0..old.receivers() {
        let before = old.receiver(index);
        if before.answer == ReceiverAnswer::Waits
            && answers().any(|receiver| receiver.place == before.place)
        {
            answered.add(index);
        }
    }
    answered
}

/// The same of senders.
#[cold]
#[inline(never)]
fn told_senders(old: &QueueBlock, copy: &QueueBlock) -> Answered {
    let answers = || {
        (0..copy.senders())
            .map(|index| copy.sender(index))
            .filter(|sender| sender.answer != SenderAnswer::Waits)
    };
    let mut answered = Answered::none();
    for index in 0..old.senders() {
        let before = old.sender(index);
        if before.answer == SenderAnswer::Waits
            && answers().any(|sender| sender.place == before.place)
        {
            answered.add(index);
        }
    }
    answered
}

fn limits_of(objects: &Objects) -> MsgLimits {
    rules::msg_limits_of(objects.file.msg_limits())
}

/// The limits.
pub fn msg_limits() -> Outcome<MsgLimits> {
    objects().map(limits_of)
}
