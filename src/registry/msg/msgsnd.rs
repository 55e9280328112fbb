//! msgsnd.

use super::call::{Call, Slept, interrupted, waits_not};
use super::{Found, NO_ROOM, limits_of};
use crate::os::usermem;
use crate::registry::blocked::{Blocked, Listener};
use crate::registry::credentials::Thread;
use crate::registry::error::Outcome;
use crate::registry::objects::{now, objects};
use crate::registry::sleep::{Sleep, Step, Woken};
use crate::storage::ipc::MoreQueueRoom;
use crate::sysv::msg::{self, Message, QueueState, Sender, SenderAnswer, Sent};
use crate::sysv::{Refusal, refusal};

/// msgsnd(2) on its way. Needs no drop.
#[derive(Clone, Copy)]
pub struct Sending {
    call: Call,
    message: Message,
}

impl Sending {
    /// Begins with the caller's text at `text`, which is copied at once.
    pub fn begin(id: i32, mtype: i64, text: u64, len: u64, flags: i32) -> Outcome<Sending> {
        let objects = objects()?;
        let len = msg::check_message(id, mtype, len as i64, &limits_of(objects))?;
        let mut message = Message {
            mtype,
            len,
            text: 0,
        };
        if len != 0 {
            let block = objects.file.new_text(len, objects.holder())?;
            message.text = block.unit;
            if !usermem::copy_in_shared(text, block.content(), len as usize) {
                objects.give_unpublished(block);
                return Err(unreadable().into());
            }
        }
        Ok(Sending {
            call: Call::new(objects, id, flags)?,
            message,
        })
    }

    /// Tries. `asleep` is told when the call begins to sleep.
    pub fn step(&mut self, woken: Woken, asleep: Listener<'_>) -> Outcome<Step<()>> {
        let stepped = self.try_step(woken, asleep);
        match stepped {
            Ok(Step::Sleep(_)) => {}
            Ok(Step::Done(())) => self.call.end(),
            Err(_) => {
                self.call.objects.give_text(self.message.text);
                self.call.end();
            }
        }
        stepped
    }

    fn try_step(&mut self, woken: Woken, asleep: Listener<'_>) -> Outcome<Step<()>> {
        let objects = self.call.objects;
        let seen = self.call.seen();
        if self.call.has_place {
            match self.call.look(woken == Woken::BySignal) {
                Slept::Removed => return Err(self.call.removed()),
                _ if woken == Woken::BySignal => return Err(interrupted()),
                Slept::Waits => return self.call.sleep(seen).map(Step::Sleep),
                Slept::Left => return Err(interrupted()),
                Slept::Sender | Slept::Receiver(..) => {}
            }
        }
        loop {
            let found = self.call.found()?;
            let facts = found.queue.facts();
            let allowed = msg::may_send(&facts, &Thread);
            if !found.is_still() {
                continue;
            }
            allowed?;
            let fits = msg::fits(&facts, self.message.len);
            if !fits && waits_not(self.call.flags) {
                let refused = self.full(&found);
                if found.is_still() {
                    return Err(refused.into());
                }
                continue;
            }
            if !fits {
                if let Some(sleep) = self.lie_down(&found, asleep)? {
                    return Ok(Step::Sleep(sleep));
                }
                continue;
            }
            let more = MoreQueueRoom {
                messages: 1,
                ..NO_ROOM
            };
            let Some(mut copy) = objects.copy_of(&found, more)? else {
                continue;
            };
            if msg::send(&mut copy, self.message, objects.pid(), now()) == Sent::Full {
                objects.give_unpublished(copy.block());
                continue;
            }
            if self.call.has_place {
                objects.file.note_text(self.call.place, 0);
            }
            if objects.publish_queue(&found, copy) {
                return Ok(Step::Done(()));
            }
        }
    }
}

impl Sending {
    /// Why there is no room.
    fn full(&self, found: &Found) -> Blocked {
        let refused = msg::full(&found.queue.facts(), self.message.len);
        Blocked::at_queue(refused, &found.queue, false)
    }

    /// Puts the caller among the senders.
    fn lie_down(&mut self, found: &Found, asleep: Listener<'_>) -> Outcome<Option<Sleep>> {
        let objects = self.call.objects;
        // As a receiver's.
        let why = asleep.map(|asleep| (asleep, self.full(found)));
        let place = self.call.lie_down()?;
        objects.file.note_text(place, self.message.text);
        let seen = self.call.seen();
        let sender = Sender {
            owner: objects.owner()?,
            place,
            len: self.message.len,
            text: self.message.text,
            answer: SenderAnswer::Waits,
        };
        let more = MoreQueueRoom {
            senders: 1,
            ..NO_ROOM
        };
        if !objects.change_queue(found, more, |copy| copy.push_sender(sender))? {
            return Ok(None);
        }
        if let Some((asleep, why)) = why {
            asleep(&why);
        }
        self.call.sleep(seen).map(Some)
    }
}

pub(super) fn unreadable() -> Refusal {
    // "The address pointed to by msgp isn't accessible." - man msgop(2)
    refusal!(Efault, [], "the text cannot all be read")
}
