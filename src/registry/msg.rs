//! msgget, msgsnd, msgrcv and msgctl.
//!
//! msgsnd and msgrcv are cancellation points: they sleep in a frame of the caller's, which needs no cleanup. So they go by
//! steps: [`Sending`], [`Receiving`].

use super::credentials::Thread;
use super::error::{Error, Outcome};
use super::objects::{self, Objects, now, objects, thread};
use super::sleep::{Answered, LONGEST};
use crate::os::atomic::{AtomicU32, Ordering};
use crate::os::signal_mask::{self, Blocked, Mask};
use crate::os::{process, usermem};
use crate::storage::ipc::{
    Block, Holding, MoreQueueRoom, ObjectKind, Presence, QueueBlock, Root, Seen,
};
use crate::sysv::msg::{
    self, Message, MsgCommand, MsgLimits, NewQueue, QueueFacts, QueueState, Receiver,
    ReceiverAnswer, Sender, SenderAnswer, Sent,
};
use crate::sysv::{self, Errno, Key, Kind, Refusal, Ruling, ShmId, refusal};

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

/// How far a call has come.
pub enum Step<T> {
    /// It is over.
    Done(T),
    /// The caller is to sleep, and then to make the next step.
    Sleep(Sleep),
}

/// A sleep on a word of shared memory.
#[derive(Clone, Copy)]
pub struct Sleep {
    /// The word.
    pub word: &'static AtomicU32,
    /// As long as it holds this.
    pub seen: u32,
    /// At most so many nanoseconds.
    pub nanos: u64,
    /// The thread's mask in the sleep; outside of it all signals are blocked until the call is over.
    pub mask: Mask,
}

/// Why a sleep was over; the first step comes with `Other`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Woken {
    /// A handler has run.
    BySignal,
    /// For any other reason.
    Other,
}

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
    pub(super) fn bury_in_removed_queue(&self, root: Root) -> bool {
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

    /// Makes a copy the queue, if it is still what was copied; then whoever was answered is woken.
    #[inline]
    fn publish_queue(&self, found: &Found, copy: QueueBlock) -> bool {
        self.publish_queue_then(found, copy, false, |_| {})
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

/// What became of a sleeper at a queue.
enum Slept {
    /// It has no answer yet.
    Waits,
    /// It is not there any more, but the queue is.
    Left,
    /// The queue was removed.
    Removed,
    /// It was told something, and is out of the queue now.
    Receiver(ReceiverAnswer),
    /// The same of a sender.
    Sender,
}

/// A call that sends or receives. Needs no drop.
#[derive(Clone, Copy)]
struct Call {
    objects: &'static Objects,
    id: ShmId,
    flags: i32,
    /// Where the caller sleeps; 0: it has not slept yet.
    place: u32,
    /// Whether it has a place.
    has_place: bool,
    /// With a place: the thread's mask before.
    mask: Mask,
}

impl Call {
    /// The queue to be tried: what was there and is not any more was removed.
    fn found(&self) -> Outcome<Found> {
        self.objects.queue(self.id).map_err(|error| {
            if self.has_place && error.errno == libc::EINVAL {
                self.removed()
            } else {
                error
            }
        })
    }

    fn removed(&self) -> Error {
        sysv::removed_meanwhile(Kind::Queue, self.id).into()
    }

    /// The caller's place, and what its word holds now; taken if there was none.
    fn lie_down(&mut self) -> Outcome<u32> {
        if !self.has_place {
            let owner = self.objects.owner()?;
            let file = &self.objects.file;
            self.place = file.take_place(owner, thread(), ObjectKind::Queue, self.id.raw())?;
            self.has_place = true;
            // From here on a handler runs in the sleep or not before the call is over.
            self.mask = Blocked::all().into_mask();
            self.objects.asleep().fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.place)
    }

    /// A sleep until the word changes from what it held before the queue was looked at.
    fn sleep(&self, seen: u32) -> Outcome<Sleep> {
        match self.objects.file.futex_of(self.place) {
            Some(word) => Ok(Sleep {
                word,
                seen,
                nanos: LONGEST,
                mask: self.mask,
            }),
            None => Err(self
                .objects
                .file
                .is_damaged("a sleeper's place is not there")
                .into()),
        }
    }

    fn seen(&self) -> u32 {
        let word = self.objects.file.futex_of(self.place);
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// The call is over.
    fn end(&self) {
        if self.has_place {
            self.objects.end_sleep(self.place);
            signal_mask::restore(self.mask);
        }
    }

    /// Looks whether the caller, asleep at the queue, was told something; `leaves`: it goes, whether it was or not.
    fn look(&self, leaves: bool) -> Slept {
        let objects = self.objects;
        let Some(root) = objects.file.root(ObjectKind::Queue, self.id.slot()) else {
            return Slept::Removed;
        };
        objects.look_at(root, self.id.raw(), self.place, leaves, true)
    }
}

impl Objects {
    /// What was said to a sleeper, which is taken out of the queue if it was told something (and `takes` says so), or if it
    /// `leaves`.
    fn look_at(&self, root: Root, id: i32, place: u32, leaves: bool, takes: bool) -> Slept {
        const LITTLE: u32 = 10_000_000;
        let mut patience = 100;
        loop {
            let Some(found) = self.queue_behind(root) else {
                return Slept::Removed;
            };
            let queue = &found.queue;
            let receiver = (0..queue.receivers()).find(|&at| queue.receiver(at).place == place);
            let sender = (0..queue.senders()).find(|&at| queue.sender(at).place == place);
            let slept = match (receiver, sender) {
                (Some(at), _) => match queue.receiver(at).answer {
                    ReceiverAnswer::Waits => Slept::Waits,
                    answer => Slept::Receiver(answer),
                },
                (_, Some(at)) => match queue.sender(at).answer {
                    SenderAnswer::Waits => Slept::Waits,
                    SenderAnswer::Again => Slept::Sender,
                },
                _ if queue.is_removed() => Slept::Removed,
                _ => Slept::Left,
            };
            let fits = queue.id() == id;
            if !found.is_still() {
                continue;
            }
            if !fits {
                return Slept::Removed;
            }
            let goes = match slept {
                Slept::Waits => leaves,
                Slept::Receiver(_) | Slept::Sender => takes,
                _ => false,
            };
            if !goes {
                return slept;
            }
            let text = match slept {
                Slept::Receiver(ReceiverAnswer::Got(message)) => message.text,
                _ => 0,
            };
            let claim = self.claim(&found, text);
            let changed = self.change_queue(&found, NO_ROOM, |copy| {
                if let Some(at) = receiver {
                    copy.remove_receiver(at);
                }
                if let Some(at) = sender {
                    copy.remove_sender(at);
                }
            });
            match changed {
                Ok(false) => {}
                Ok(true) => {
                    self.claim_again(claim);
                    return slept;
                }
                // No room for a copy without it. Its message would be given back twice: by its receiver, and by whoever finds
                // that the sleep is over.
                Err(_) if text != 0 && patience > 0 => {
                    patience -= 1;
                    process::nap(LITTLE);
                }
                Err(_) if text != 0 => return Slept::Left,
                Err(_) => return slept,
            }
        }
    }

    /// Takes a sleeper out of its queue; `answered`: also one that has an answer.
    pub(super) fn leave_queue(&self, id: i32, place: u32, answered: bool) {
        if let Some(root) = self.file.root(ObjectKind::Queue, id as u32 % sysv::SLOTS) {
            let slept = self.look_at(root, id, place, true, answered);
            if let (Slept::Receiver(ReceiverAnswer::Got(message)), true) = (slept, answered) {
                self.give_text(message.text);
            }
        }
    }
}

fn interrupted() -> Error {
    // "Sleeping on a full message queue condition, the process caught a signal." - man msgop(2)
    refusal!(
        Eintr,
        [],
        "a handler of a signal has run while the call slept"
    )
    .into()
}

fn unreadable() -> Refusal {
    // "The address pointed to by msgp isn't accessible." - man msgop(2)
    refusal!(Efault, [], "the text cannot all be read")
}

fn unwritable() -> Refusal {
    // As above.
    refusal!(
        Efault,
        [],
        "the text cannot all be written to the buffer, and the message is gone"
    )
}

/// IPC_NOWAIT.
fn waits_not(flags: i32) -> bool {
    flags & msg::flags::IPC_NOWAIT != 0
}

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
            call: Call {
                objects,
                id: ShmId::from_raw(id)?,
                flags,
                place: 0,
                has_place: false,
                mask: 0,
            },
            message,
        })
    }

    /// Tries.
    pub fn step(&mut self, woken: Woken) -> Outcome<Step<()>> {
        let stepped = self.try_step(woken);
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

    fn try_step(&mut self, woken: Woken) -> Outcome<Step<()>> {
        let objects = self.call.objects;
        let seen = self.call.seen();
        if self.call.has_place {
            match self.call.look(woken == Woken::BySignal) {
                Slept::Removed => return Err(self.call.removed()),
                _ if woken == Woken::BySignal => return Err(interrupted()),
                Slept::Waits => return self.call.sleep(seen).map(Step::Sleep),
                Slept::Left => return Err(interrupted()),
                Slept::Sender | Slept::Receiver(_) => {}
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
                return Err(msg::full(&facts, self.message.len).into());
            }
            if !fits {
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
                if objects.change_queue(&found, more, |copy| copy.push_sender(sender))? {
                    return self.call.sleep(seen).map(Step::Sleep);
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
            call: Call {
                objects,
                id: ShmId::from_raw(id)?,
                flags,
                place: 0,
                has_place: false,
                mask: 0,
            },
            text,
            room: size,
            mtype,
        })
    }

    /// Tries.
    pub fn step(&mut self, woken: Woken) -> Outcome<Step<Received>> {
        let stepped = self.try_step(woken);
        if !matches!(stepped, Ok(Step::Sleep(_))) {
            self.call.end();
        }
        stepped
    }

    fn try_step(&mut self, woken: Woken) -> Outcome<Step<Received>> {
        let objects = self.call.objects;
        let seen = self.call.seen();
        if self.call.has_place {
            match self.call.look(woken == Woken::BySignal) {
                Slept::Receiver(ReceiverAnswer::Got(message)) => {
                    let len = u64::from(message.len).min(self.room);
                    return self.give(message, len).map(Step::Done);
                }
                Slept::Receiver(ReceiverAnswer::Failed(Errno::E2big)) => {
                    return Err(msg::too_long_meanwhile(self.call.id, self.room).into());
                }
                Slept::Receiver(ReceiverAnswer::Failed(_)) | Slept::Removed => {
                    return Err(self.call.removed());
                }
                Slept::Left => return Err(interrupted()),
                _ if woken == Woken::BySignal => return Err(interrupted()),
                Slept::Waits => return self.call.sleep(seen).map(Step::Sleep),
                Slept::Receiver(_) | Slept::Sender => {}
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
                let refused = msg::nothing(&facts, self.mtype, flags);
                if found.is_still() {
                    return Err(refused.into());
                }
                continue;
            }
            if !is_there {
                if let Some(sleep) = self.lie_down(&found)? {
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
                        objects.claim_again(claim);
                        return self
                            .give(received.message, received.len.into())
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

    /// Puts the caller among the receivers.
    fn lie_down(&mut self, found: &Found) -> Outcome<Option<Sleep>> {
        let objects = self.call.objects;
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
            return self.call.sleep(seen).map(Some);
        }
        Ok(None)
    }

    /// Copies the text of a message that is the caller's now.
    fn give(&self, message: Message, len: u64) -> Outcome<Received> {
        let file = &self.call.objects.file;
        let given = message.len == 0
            || file.text(&message).is_some_and(|block| {
                usermem::copy_out_shared(self.text, block.content(), len as usize)
            });
        self.call.objects.give_text(message.text);
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

/// msgget(2): the identifier.
pub fn msgget(key: i32, flags: i32) -> Outcome<i32> {
    let objects = objects()?;
    let limits = limits_of(objects);
    let mut found = |root: Root, _: Seen| {
        let Some(found) = objects.queue_behind(root) else {
            return Ok(None);
        };
        let (facts, is_removed) = (found.queue.facts(), found.queue.is_removed());
        if is_removed || facts.key.0 != key || !found.is_still() {
            return Ok(None);
        }
        msg::open_queue(&facts, flags, &Thread)?;
        Ok(Some(facts.perm.id.raw()))
    };
    let mut missing = |queues: u32, _: u32| {
        msg::missing_queue_key(Key(key), flags)?;
        msg::check_new_queue(queues, &limits)
    };
    let mut build = |id: ShmId| {
        let words = objects::words_of_new(id, flags);
        let owner = objects.holder();
        let queue = objects
            .file
            .new_queue(words, key, limits.msgmnb, now(), owner)?;
        Ok(queue.block())
    };
    objects.get(
        ObjectKind::Queue,
        key,
        0,
        &mut found,
        &mut missing,
        &mut build,
    )
}

fn limits_of(objects: &Objects) -> MsgLimits {
    let [msgmax, msgmnb, msgmni] = objects.file.msg_limits();
    MsgLimits {
        msgmax,
        msgmnb,
        msgmni,
    }
}

/// The limits.
pub fn msg_limits() -> Outcome<MsgLimits> {
    objects().map(limits_of)
}

/// Sets the limits; refused to whoever may not.
pub fn set_msg_limits(limits: MsgLimits) -> Outcome<()> {
    let objects = objects()?;
    objects.must_set_limits()?;
    objects.file.set_msg_limits(objects::msg_words(&limits));
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

impl Objects {
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

impl Objects {
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
    // Crash here: whoever meets it in the directory takes it out.
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
