//! msgrcv.

use super::call::{Call, Slept, interrupted, waits_not};
use super::msgsnd::unreadable;
use super::{Claim, Found, NO_ROOM, limits_of};
use crate::os::{process, usermem};
use crate::registry::blocked::{Blocked, Listener};
use crate::registry::credentials::Thread;
use crate::registry::error::Outcome;
use crate::registry::objects::{now, objects};
use crate::registry::sleep::{Sleep, Step, Woken};
use crate::storage::ipc::MoreQueueRoom;
use crate::sysv::msg::{self, Message, QueueState, Receiver, ReceiverAnswer};
use crate::sysv::{Errno, Refusal, refusal};

/// What msgrcv gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// The message's type.
    pub mtype: i64,
    /// Bytes of text, which were copied to the caller.
    pub len: u64,
}

/// msgrcv(2) on its way. Needs no drop.
#[derive(Clone, Copy)]
pub struct Receiving {
    call: Call,
    /// Where the text goes.
    text: u64,
    room: u64,
    mtype: i64,
}

impl Receiving {
    /// Begins; the text goes to `text`.
    pub fn begin(id: i32, text: u64, size: u64, mtype: i64, flags: i32) -> Outcome<Receiving> {
        let objects = objects()?;
        msg::check_receive(id, size as i64, flags)?;
        if flags & msg::flags::MSG_COPY != 0 {
            // The kernel reads what it is to overwrite, from the type on.
            let len = size.min(limits_of(objects).msgmax.into()) as usize;
            if !usermem::can_read(text.wrapping_sub(size_of::<libc::c_long>() as u64), len) {
                return Err(unreadable().into());
            }
        }
        Ok(Receiving {
            call: Call::new(objects, id, flags)?,
            text,
            room: size,
            mtype,
        })
    }

    /// Tries. `asleep` is told when the call begins to sleep.
    pub fn step(&mut self, woken: Woken, asleep: Listener<'_>) -> Outcome<Step<Received>> {
        let stepped = self.try_step(woken, asleep);
        if !matches!(stepped, Ok(Step::Sleep(_))) {
            self.call.end();
        }
        stepped
    }

    fn try_step(&mut self, woken: Woken, asleep: Listener<'_>) -> Outcome<Step<Received>> {
        let objects = self.call.objects;
        let seen = self.call.seen();
        if self.call.has_place {
            if let Some(step) = self.heard(woken, seen)? {
                return Ok(step);
            }
        }
        let flags = self.call.flags;
        loop {
            let found = self.call.found()?;
            let facts = found.queue.facts();
            let allowed = msg::may_receive(&facts, &Thread);
            if !found.is_still() {
                continue;
            }
            allowed?;
            if flags & msg::flags::MSG_COPY != 0 {
                if let Some(received) = self.copy(&found)? {
                    return Ok(Step::Done(received));
                }
                continue;
            }
            let is_there = msg::find(&found.queue, self.mtype, flags).is_some();
            if !is_there && waits_not(flags) {
                let refused = self.nothing(&found);
                if found.is_still() {
                    return Err(refused.into());
                }
                continue;
            }
            if !is_there {
                if let Some(sleep) = self.lie_down(&found, asleep)? {
                    return Ok(Step::Sleep(sleep));
                }
                continue;
            }
            let Some(mut copy) = objects.copy_of(&found, NO_ROOM)? else {
                continue;
            };
            match msg::receive(
                &mut copy,
                self.mtype,
                self.room,
                flags,
                objects.pid(),
                now(),
            ) {
                Ok(Some(received)) => {
                    let claim = objects.claim(&found, received.message.text);
                    if objects.publish_queue(&found, copy) {
                        let claim = objects.take_claimed(claim);
                        return self
                            .give(received.message, received.len.into(), claim)
                            .map(Step::Done);
                    }
                }
                Ok(None) => objects.give_unpublished(copy.block()),
                Err(refused) => {
                    objects.give_unpublished(copy.block());
                    return Err(refused.into());
                }
            }
        }
    }

    /// What the caller, asleep at the queue, was told. `None`: to look again.
    fn heard(&self, woken: Woken, seen: u32) -> Outcome<Option<Step<Received>>> {
        match self.call.look(woken == Woken::BySignal) {
            Slept::Receiver(ReceiverAnswer::Got(message), claim) => {
                let len = u64::from(message.len).min(self.room);
                self.give(message, len, claim)
                    .map(|received| Some(Step::Done(received)))
            }
            Slept::Receiver(ReceiverAnswer::Failed(Errno::E2big), _) => {
                Err(msg::too_long_meanwhile(self.call.id, self.room).into())
            }
            Slept::Receiver(ReceiverAnswer::Failed(_), _) | Slept::Removed => {
                Err(self.call.removed())
            }
            Slept::Left => Err(interrupted()),
            _ if woken == Woken::BySignal => Err(interrupted()),
            Slept::Waits => self.call.sleep(seen).map(|sleep| Some(Step::Sleep(sleep))),
            Slept::Receiver(..) | Slept::Sender => Ok(None),
        }
    }

    /// Why there is nothing to receive.
    fn nothing(&self, found: &Found) -> Blocked {
        let refused = msg::nothing(&found.queue.facts(), self.mtype, self.call.flags);
        Blocked::at_queue(refused, &found.queue, true)
    }

    /// Puts the caller among the receivers.
    fn lie_down(&mut self, found: &Found, asleep: Listener<'_>) -> Outcome<Option<Sleep>> {
        let objects = self.call.objects;
        // Of the queue as it was found: so it still is, if the caller lies in it afterwards.
        let why = asleep.map(|asleep| (asleep, self.nothing(found)));
        let place = self.call.lie_down()?;
        let seen = self.call.seen();
        let receiver = Receiver {
            owner: objects.owner()?,
            tid: process::thread_id(),
            place,
            mtype: self.mtype,
            room: self.room,
            flags: self.call.flags,
            answer: ReceiverAnswer::Waits,
        };
        let more = MoreQueueRoom {
            receivers: 1,
            ..NO_ROOM
        };
        if objects.change_queue(found, more, |copy| copy.push_receiver(receiver))? {
            if let Some((asleep, why)) = why {
                asleep(&why);
            }
            return self.call.sleep(seen).map(Some);
        }
        Ok(None)
    }

    /// Copies the text of a message that is the caller's now.
    fn give(&self, message: Message, len: u64, claim: Claim) -> Outcome<Received> {
        let file = &self.call.objects.file;
        if message.len != 0 && claim.is_none() {
            return Err(file.is_damaged("the text of a message is gone").into());
        }
        let given = message.len == 0
            || file.text(&message).is_some_and(|block| {
                usermem::copy_out_shared(self.text, block.content(), len as usize)
            });
        self.call.objects.give_claimed(claim);
        if !given {
            return Err(unwritable().into());
        }
        Ok(Received {
            mtype: message.mtype,
            len,
        })
    }

    /// MSG_COPY. `None`: the queue has changed meanwhile.
    fn copy(&self, found: &Found) -> Outcome<Option<Received>> {
        let objects = self.call.objects;
        let limits = limits_of(objects);
        let copied = msg::copy(
            &found.queue,
            self.mtype,
            self.room,
            self.call.flags,
            &limits,
        );
        if !found.is_still() {
            return Ok(None);
        }
        let received = copied?;
        let (message, len) = (received.message, received.len);
        let given = len == 0
            || objects.file.text(&message).is_some_and(|block| {
                usermem::copy_out_shared(self.text, block.content(), len as usize)
            });
        if !found.is_still() {
            return Ok(None);
        }
        if !given {
            let refused = refusal!(Efault, [], "the text cannot all be written to the buffer");
            return Err(refused.into());
        }
        Ok(Some(Received {
            mtype: message.mtype,
            len: len.into(),
        }))
    }
}

fn unwritable() -> Refusal {
    // As above.
    refusal!(
        Efault,
        [],
        "the text cannot all be written to the buffer, and the message is gone"
    )
}
