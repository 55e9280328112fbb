//! msgget, msgsnd, msgrcv and msgctl, and what they share: a queue is found, without the dead in it, copied, and the changed copy
//! published.

mod call;
mod mend;
mod msgctl;
mod msgget;
mod msgrcv;
mod msgsnd;

use super::error::{Error, Outcome};
use super::objects::{Objects, objects};
use super::rules;
use super::sleep::{Answered, newly_answered};
use crate::storage::ipc::{
    Block, Holding, MoreQueueRoom, ObjectKind, Presence, QueueBlock, Root, Seen,
};
use crate::sysv::msg::{self, MsgLimits, QueueState, ReceiverAnswer, SenderAnswer};
use crate::sysv::{self, Kind, ShmId};

pub use super::sleep::{Sleep, Step, Woken};
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

/// A text, and what is said of it since the caller has claimed it.
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

    /// The queue with this identifier, when the dead are out of it.
    #[inline]
    fn queue(&self, id: ShmId) -> Outcome<Found> {
        loop {
            let found = self.queue_with_the_dead(id)?;
            if !self.reap_in_queue(&found)? {
                return Ok(found);
            }
        }
    }

    /// The queue with this identifier.
    #[inline]
    fn queue_with_the_dead(&self, id: ShmId) -> Outcome<Found> {
        let root = self.root_of(ObjectKind::Queue, id)?;
        let unknown = || Error::from(sysv::unknown_id(Kind::Queue, id));
        loop {
            let found = self.queue_behind(root).ok_or_else(unknown)?;
            let fits = found.queue.id() == id.raw() && !found.queue.is_removed();
            if !found.is_still() {
                continue;
            }
            return if fits { Ok(found) } else { Err(unknown()) };
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
    fn reap_in_queue(&self, found: &Found) -> Outcome<bool> {
        let queue = &found.queue;
        if queue.receivers() == 0 && queue.senders() == 0 {
            return Ok(false);
        }
        self.reap_sleepers_in_queue(found)
    }

    /// The same for one that was removed. Whether anything was done.
    pub(in crate::registry) fn reap_in_removed_queue(&self, root: Root) -> bool {
        let found = self
            .queue_behind(root)
            .filter(|found| found.queue.is_removed());
        found.is_some_and(|found| matches!(self.reap_in_queue(&found), Ok(true)))
    }

    #[cold]
    #[inline(never)]
    fn reap_sleepers_in_queue(&self, found: &Found) -> Outcome<bool> {
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
        let lost = msg::drop_sleepers(&mut copy, owner).map_or(0, |message| message.text);
        let claim = self.claim(found, lost);
        if self.publish_queue(found, copy) {
            self.give_claimed(claim);
        }
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
            self.give_claimed(claim);
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
        let (text, holding) = claim;
        Some((text, self.file.claim(text, holding, self.holder())))
    }

    /// It has: others may have claimed it meanwhile, or come to it, and have lost.
    #[inline]
    fn take_claimed(&self, claim: Claim) -> Claim {
        let (text, holding) = claim?;
        let taken = self.file.take_claimed(text, holding, self.holder())?;
        Some((text, taken))
    }

    /// Gives back a text that the caller's exchange has taken out of the queue, but in a child that a handler has forked since:
    /// the text is its parent's. Others may claim it still, and have lost.
    fn give_claimed(&self, claim: Claim) {
        if let Some((text, holding)) = claim {
            if holding.owner() == self.holder_if_entered() {
                self.file.give_replaced(text, holding);
            }
        }
    }

    /// Makes a copy the queue, if it is still what was copied; then the sleepers that were answered are woken.
    #[inline]
    fn publish_queue(&self, found: &Found, copy: QueueBlock) -> bool {
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
        let block = found.queue.block();
        let holding = if has_sleepers {
            self.claim_old(found.root, found.seen, block)
        } else {
            self.file.holding(block)
        };
        if !self.holds(copy.block()) || !found.root.change(found.seen, unit) {
            self.give_unpublished(copy.block());
            return false;
        }
        let taken = if has_sleepers {
            self.file.take_claimed(block, holding, self.holder())
        } else {
            Some(holding)
        };
        // Crash here, before or in this: a sleeper looks again by itself after a while.
        if let Some(holding) = taken {
            let old = &found.queue;
            receivers.each(|index| self.file.wake(old.receiver(index).place));
            senders.each(|index| self.file.wake(old.sender(index).place));
            self.file.give_replaced(block, holding);
        }
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

#[cold]
#[inline(never)]
fn answered_receivers(old: &QueueBlock, copy: &QueueBlock) -> Answered {
    fn at(queue: &QueueBlock) -> impl Fn(u32) -> (u32, bool) {
        |index| {
            let receiver = queue.receiver(index);
            (receiver.place, receiver.answer != ReceiverAnswer::Waits)
        }
    }
    newly_answered((old.receivers(), at(old)), (copy.receivers(), at(copy)))
}

#[cold]
#[inline(never)]
fn told_senders(old: &QueueBlock, copy: &QueueBlock) -> Answered {
    fn at(queue: &QueueBlock) -> impl Fn(u32) -> (u32, bool) {
        |index| {
            let sender = queue.sender(index);
            (sender.place, sender.answer != SenderAnswer::Waits)
        }
    }
    newly_answered((old.senders(), at(old)), (copy.senders(), at(copy)))
}

fn limits_of(objects: &Objects) -> MsgLimits {
    rules::msg_limits_of(objects.file.msg_limits())
}

/// The limits.
pub fn msg_limits() -> Outcome<MsgLimits> {
    objects().map(limits_of)
}
