//! msgsnd(2): what may be sent, and what becomes of it.
//!
//! The order: the type is read (`EFAULT`); [`check_message`]; the text is read (`EFAULT`); the queue is looked up;
//! [`may_send`]; [`send`]. A sender that had to sleep begins again at the look-up.

use super::flags::WRITE;
use super::limits::MsgLimits;
use super::msgrcv::{matches, takes};
use super::state::{Message, QueueFacts, QueueState, Receiver, ReceiverAnswer, fits};
use crate::sysv::ipc::{Caller, Errno, Refusal, Ruling, ShmId, may_access, refusal};

/// Whether a message may be sent at all, to whichever queue: the bytes of its text.
pub fn check_message(id: i32, mtype: i64, size: i64, limits: &MsgLimits) -> Ruling<u32> {
    // "Invalid msqid value, or nonpositive mtype value, or invalid msgsz value (less than 0 or greater than the system
    // value MSGMAX)." - man msgop(2)
    ShmId::from_raw(id)?;
    let Some(len) = u32::try_from(size).ok().filter(|len| *len <= limits.msgmax) else {
        return Err(refusal!(
            Einval,
            [size, msgmax = limits.msgmax],
            "a text of {} bytes is to be sent, msgmax is {msgmax}",
            size as i64
        ));
    };
    if mtype < 1 {
        return Err(refusal!(
            Einval,
            [mtype],
            "the type of a message is at least 1, {} is not",
            mtype as i64
        ));
    }
    Ok(len)
}

/// Whether the caller may send to the queue. A sender that slept is asked again.
pub fn may_send(queue: &QueueFacts, caller: &impl Caller) -> Ruling<()> {
    // "The calling process does not have write permission on the message queue, and does not have the CAP_IPC_OWNER
    // capability in the user namespace that governs its IPC namespace." - man msgop(2)
    may_access(&queue.perm, WRITE, caller)
}

/// What msgsnd with IPC_NOWAIT is refused with when a text of `len` bytes does not fit.
pub fn full(queue: &QueueFacts, len: u32) -> Refusal {
    // "The message can't be sent due to the msg_qbytes limit for the queue and IPC_NOWAIT was specified in msgflg."
    // - man msgop(2)
    refusal!(
        Eagain,
        [
            id = queue.perm.id.raw(),
            cbytes = queue.cbytes,
            qnum = queue.qnum,
            // A sentence has room for four numbers.
            both = u64::from(queue.qbytes) << 32 | u64::from(len)
        ],
        "message queue {id} holds {qnum} messages of {cbytes} bytes in all, qbytes is {}, {} bytes are to be sent",
        both >> 32,
        both as u32
    )
}

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is in the queue.
    Queued,
    /// A sleeping receiver has it, and is to be woken. It was never in the queue.
    HandedOver,
    /// It does not fit, and nothing has changed.
    Full,
}

/// Sends: to the first sleeping receiver that takes the message, in the order of their arrival, else into the queue.
/// Receivers that want it and have too little room are told so, and the message passes them. `pid` is the process that
/// sends.
pub fn send(queue: &mut impl QueueState, message: Message, pid: i32, now: i64) -> Sent {
    // The manual is silent: a message that would not fit is not handed over either.
    let mut facts = queue.facts();
    if !fits(&facts, message.len) {
        return Sent::Full;
    }
    // "msg_lspid is set to the process ID of the calling process. [...] msg_stime is set to the current time."
    // - man msgop(2)
    facts.lspid = pid;
    facts.stime = now;
    let taker = hand_over(queue, message);
    if let Some(receiver) = taker {
        // The manual says that msg_lrpid is a process; of a receiver that slept it is the thread.
        facts.lrpid = receiver.tid;
        facts.rtime = now;
    }
    queue.set_facts(facts);
    match taker {
        Some(_) => Sent::HandedOver,
        None => {
            queue.push_message(message);
            Sent::Queued
        }
    }
}

/// Answers the sleeping receivers that want the message, up to the first that takes it, which is returned. One that was told to look
/// again, and has not run since, sleeps still.
fn hand_over(queue: &mut impl QueueState, message: Message) -> Option<Receiver> {
    for index in 0..queue.receivers() {
        let mut receiver = queue.receiver(index);
        let sleeps = matches!(
            receiver.answer,
            ReceiverAnswer::Waits | ReceiverAnswer::Again
        );
        if !sleeps || !matches(&receiver, &message) {
            continue;
        }
        let taken = takes(&receiver, &message);
        receiver.answer = if taken {
            ReceiverAnswer::Got(message)
        } else {
            // "The message text length is greater than msgsz and MSG_NOERROR isn't specified in msgflg." - man msgop(2)
            ReceiverAnswer::Failed(Errno::E2big)
        };
        queue.set_receiver(index, receiver);
        if taken {
            return Some(receiver);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::flags::{MSG_EXCEPT, MSG_NOERROR};
    use super::super::for_tests::{Queue, facts, message, receiver, sender};
    use super::*;
    use crate::sysv::Capability;
    use crate::sysv::for_tests::{OWNER, Person, STRANGER, errno, refused};

    const LIMITS: MsgLimits = MsgLimits::KERNEL_DEFAULTS;

    #[test]
    fn identifier_size_and_type_of_a_message_are_looked_at_first() {
        for (id, mtype, size, expected) in [
            (0, 1, 0, Ok(0)),
            (0, i64::MAX, 8192, Ok(8192)),
            (-1, 1, 1, Err("no identifier is negative, -1 is")),
            (
                5,
                0,
                8193,
                Err("a text of 8193 bytes is to be sent, msgmax is 8192"),
            ),
            (
                5,
                1,
                -1,
                Err("a text of -1 bytes is to be sent, msgmax is 8192"),
            ),
            (
                5,
                1,
                1 << 32,
                Err("a text of 4294967296 bytes is to be sent, msgmax is 8192"),
            ),
            (
                5,
                0,
                8192,
                Err("the type of a message is at least 1, 0 is not"),
            ),
            (
                5,
                i64::MIN,
                0,
                Err("the type of a message is at least 1, -9223372036854775808 is not"),
            ),
        ] {
            let ruling = check_message(id, mtype, size, &LIMITS);
            let sentence = refused(ruling);
            match expected {
                Ok(len) => assert_eq!(ruling, Ok(len)),
                Err(reason) => assert_eq!(sentence, Some((Errno::Einval, reason.into()))),
            }
        }
    }

    #[test]
    fn sending_takes_the_right_to_write_alone() {
        let by = |mode, person: Person| errno(may_send(&facts(mode), &person));
        assert_eq!(by(0o200, Person::with_euid(OWNER)), None);
        assert_eq!(by(0o002, Person::with_euid(STRANGER)), None);
        let eacces = Some(Errno::Eacces);
        assert_eq!(by(0o577, Person::with_euid(OWNER)), eacces);
        assert_eq!(by(0o775, Person::with_euid(STRANGER)), eacces);
        let capable = Person::with_euid(STRANGER).with(&[Capability::IpcOwner]);
        assert_eq!(by(0, capable), None);
    }

    #[test]
    fn bytes_and_number_of_messages_fill_a_queue() {
        for (qbytes, cbytes, qnum, len, expected) in [
            (16384, 0, 0, 16384, true),
            (16384, 0, 0, 16385, false),
            (16384, 16384, 2, 1, false),
            // An empty message fits into a queue full of bytes.
            (16384, 16384, 2, 0, true),
            (16384, 0, 16383, 0, true),
            (16384, 0, 16384, 0, false),
            (0, 0, 0, 0, false),
            (1, 0, 0, 1, true),
            // qbytes was lowered under what is there.
            (3, 10, 2, 0, false),
            (u32::MAX, u64::MAX, 0, u32::MAX, false),
        ] {
            let queue = QueueFacts {
                qbytes,
                cbytes,
                qnum,
                ..facts(0o600)
            };
            assert_eq!(fits(&queue, len), expected, "{queue:?} {len}");
        }
    }

    #[test]
    fn a_full_queue_is_refused_with_what_it_holds() {
        let queue = QueueFacts {
            cbytes: 16000,
            qnum: 4,
            ..facts(0o600)
        };
        let sentence = "message queue 32769 holds 4 messages of 16000 bytes in all, qbytes is 16384, 400 bytes are to be sent";
        assert_eq!(
            refused::<()>(Err(full(&queue, 400))),
            Some((Errno::Eagain, sentence.into()))
        );
    }

    #[test]
    fn a_message_for_which_nobody_sleeps_goes_to_the_end_and_is_stamped() {
        let mut queue = Queue::new(facts(0o600));
        assert_eq!(send(&mut queue, message(5, 3), 42, 1000), Sent::Queued);
        assert_eq!(send(&mut queue, message(1, 0), 43, 1001), Sent::Queued);
        assert_eq!(queue.messages, [message(5, 3), message(1, 0)]);
        let facts = queue.facts();
        assert_eq!((facts.cbytes, facts.qnum), (3, 2));
        assert_eq!((facts.lspid, facts.stime), (43, 1001));
        assert_eq!((facts.lrpid, facts.rtime), (0, 0));
    }

    #[test]
    fn a_message_that_does_not_fit_changes_nothing_and_wakes_nobody() {
        let mut queue = Queue::new(QueueFacts {
            qbytes: 3,
            ..facts(0o600)
        });
        queue.push_receiver(receiver(1, 0, 100, 0));
        let before = queue.clone();
        assert_eq!(send(&mut queue, message(1, 5), 42, 1000), Sent::Full);
        assert_eq!(queue, before);
        assert_eq!(send(&mut queue, message(1, 3), 42, 1000), Sent::HandedOver);
    }

    #[test]
    fn the_first_receiver_that_wants_it_gets_the_message_and_stamps_with_its_thread() {
        let mut queue = Queue::new(facts(0o600));
        queue.push_receiver(receiver(1, 5, 100, 0));
        queue.push_receiver(receiver(2, 0, 100, 0));
        queue.push_receiver(receiver(3, -3, 100, 0));
        assert_eq!(send(&mut queue, message(2, 1), 42, 1000), Sent::HandedOver);
        let waits = ReceiverAnswer::Waits;
        let got = ReceiverAnswer::Got;
        assert_eq!(queue.answers(), [waits, got(message(2, 1)), waits]);
        let after = queue.facts();
        assert_eq!((after.lspid, after.lrpid), (42, 1002));
        assert_eq!((after.stime, after.rtime), (1000, 1000));
        assert_eq!((after.qnum, after.cbytes), (0, 0));
        // An answered one is not asked again.
        assert_eq!(send(&mut queue, message(9, 1), 42, 1001), Sent::Queued);
        assert_eq!(send(&mut queue, message(3, 1), 42, 1002), Sent::HandedOver);
        assert_eq!(send(&mut queue, message(5, 1), 42, 1003), Sent::HandedOver);
        assert_eq!(
            queue.answers(),
            [got(message(5, 1)), got(message(2, 1)), got(message(3, 1))]
        );
        assert_eq!(queue.messages, [message(9, 1)]);
        assert_eq!(queue.facts().lrpid, 1001);
    }

    #[test]
    fn too_small_receivers_are_told_and_passed() {
        let mut queue = Queue::new(facts(0o600));
        queue.push_receiver(receiver(1, 0, 2, 0));
        queue.push_receiver(receiver(2, 7, 2, 0));
        queue.push_receiver(receiver(3, 7, 2, MSG_EXCEPT));
        queue.push_receiver(receiver(4, 0, 100, 0));
        assert_eq!(send(&mut queue, message(1, 5), 42, 1000), Sent::HandedOver);
        let e2big = ReceiverAnswer::Failed(Errno::E2big);
        assert_eq!(
            queue.answers(),
            [
                e2big,
                ReceiverAnswer::Waits,
                e2big,
                ReceiverAnswer::Got(message(1, 5))
            ]
        );
    }

    #[test]
    fn a_message_that_is_too_large_for_all_is_queued() {
        let mut queue = Queue::new(facts(0o600));
        queue.push_receiver(receiver(1, 0, 2, 0));
        assert_eq!(send(&mut queue, message(1, 5), 42, 1000), Sent::Queued);
        assert_eq!(queue.answers(), [ReceiverAnswer::Failed(Errno::E2big)]);
        assert_eq!(queue.messages, [message(1, 5)]);
        assert_eq!(queue.facts().lrpid, 0);
    }

    #[test]
    fn a_receiver_that_lets_messages_be_cut_takes_any() {
        let mut queue = Queue::new(facts(0o600));
        queue.push_receiver(receiver(1, 0, 2, MSG_NOERROR));
        assert_eq!(send(&mut queue, message(1, 5), 42, 1000), Sent::HandedOver);
        assert_eq!(queue.answers(), [ReceiverAnswer::Got(message(1, 5))]);
    }

    #[test]
    fn a_receiver_that_is_to_look_again_sleeps_still() {
        let mut queue = Queue::new(facts(0o600));
        for room in [2, 100, 100] {
            queue.push_receiver(Receiver {
                answer: ReceiverAnswer::Again,
                ..receiver(1, 0, room, 0)
            });
        }
        assert_eq!(send(&mut queue, message(1, 5), 42, 1000), Sent::HandedOver);
        assert_eq!(
            queue.answers(),
            [
                ReceiverAnswer::Failed(Errno::E2big),
                ReceiverAnswer::Got(message(1, 5)),
                ReceiverAnswer::Again
            ]
        );
    }

    #[test]
    fn sleeping_senders_do_not_stop_one_whose_message_fits() {
        let mut queue = Queue::new(QueueFacts {
            qbytes: 10,
            ..facts(0o600)
        });
        queue.push_message(message(1, 5));
        queue.push_sender(sender(1, 8));
        assert_eq!(send(&mut queue, message(1, 1), 42, 1000), Sent::Queued);
        assert_eq!(queue.told(), [false]);
    }
}
