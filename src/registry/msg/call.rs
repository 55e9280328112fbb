//! A call that may sleep.
//!
//! msgsnd and msgrcv are cancellation points: they sleep in a frame of the caller's, which needs no cleanup. So they go by
//! steps: [`Sending`](super::Sending), [`Receiving`](super::Receiving).

use super::{Claim, Found, NO_ROOM};
use crate::os::atomic::Ordering;
use crate::os::process;
use crate::os::signal_mask::{self, Blocked, Mask};
use crate::registry::error::{Error, Outcome};
use crate::registry::objects::{Objects, thread};
use crate::registry::sleep::{LONGEST, Sleep};
use crate::storage::ipc::{ObjectKind, Root};
use crate::sysv::msg::{self, QueueState, ReceiverAnswer, SenderAnswer};
use crate::sysv::{self, Kind, ShmId, refusal};

/// What became of a sleeper at a queue.
pub(super) enum Slept {
    /// It has no answer yet.
    Waits,
    /// It is not there any more, but the queue is.
    Left,
    /// The queue was removed.
    Removed,
    /// It was told something, and is out of the queue now, with the text that it was handed.
    Receiver(ReceiverAnswer, Claim),
    /// The same of a sender.
    Sender,
}

/// A call that sends or receives. Needs no drop.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) objects: &'static Objects,
    pub(super) id: ShmId,
    pub(super) flags: i32,
    /// Where the caller sleeps; 0: it has not slept yet.
    pub(super) place: u32,
    /// Whether it has a place.
    pub(super) has_place: bool,
    /// With a place: the thread's mask before.
    pub(super) mask: Mask,
}

impl Call {
    /// A call that has not slept yet.
    pub(super) fn new(objects: &'static Objects, id: i32, flags: i32) -> Outcome<Call> {
        Ok(Call {
            objects,
            id: ShmId::from_raw(id)?,
            flags,
            place: 0,
            has_place: false,
            mask: 0,
        })
    }

    /// The queue to be tried: what was there and is not any more was removed.
    pub(super) fn found(&self) -> Outcome<Found> {
        self.objects.queue(self.id).map_err(|error| {
            if self.has_place && error.errno == libc::EINVAL {
                self.removed()
            } else {
                error
            }
        })
    }

    pub(super) fn removed(&self) -> Error {
        sysv::removed_meanwhile(Kind::Queue, self.id).into()
    }

    /// The caller's place, and what its word holds now; taken if there was none.
    pub(super) fn lie_down(&mut self) -> Outcome<u32> {
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
    pub(super) fn sleep(&self, seen: u32) -> Outcome<Sleep> {
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

    pub(super) fn seen(&self) -> u32 {
        let word = self.objects.file.futex_of(self.place);
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// The call is over.
    pub(super) fn end(&self) {
        if self.has_place {
            self.objects.end_sleep(self.place);
            signal_mask::restore(self.mask);
        }
    }

    /// Looks whether the caller, asleep at the queue, was told something; `leaves`: it goes, whether it was or not.
    pub(super) fn look(&self, leaves: bool) -> Slept {
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
                    answer => Slept::Receiver(answer, None),
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
                Slept::Receiver(..) | Slept::Sender => takes,
                _ => false,
            };
            if !goes {
                return slept;
            }
            let text = match slept {
                Slept::Receiver(ReceiverAnswer::Got(message), _) => message.text,
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
                    let claim = self.take_claimed(claim);
                    return match slept {
                        Slept::Receiver(answer, _) => Slept::Receiver(answer, claim),
                        slept => slept,
                    };
                }
                // No room for a copy without it. Its message would be given back twice: by its receiver, and by the process that finds
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
    pub(in crate::registry) fn leave_queue(&self, id: i32, place: u32, answered: bool) {
        if let Some(root) = self.file.root(ObjectKind::Queue, id as u32 % sysv::SLOTS) {
            if let Slept::Receiver(_, claim) = self.look_at(root, id, place, true, answered) {
                self.give_claimed(claim);
            }
        }
    }
}

pub(super) fn interrupted() -> Error {
    // "Sleeping on a full message queue condition, the process caught a signal." - man msgop(2)
    refusal!(
        Eintr,
        [],
        "a handler of a signal has run while the call slept"
    )
    .into()
}

/// IPC_NOWAIT.
pub(super) fn waits_not(flags: i32) -> bool {
    flags & msg::flags::IPC_NOWAIT != 0
}
