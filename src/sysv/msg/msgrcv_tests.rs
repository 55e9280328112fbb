//! Which message a receiver gets, as the kernel and the manual say.

use super::flags::{IPC_NOWAIT, MSG_COPY, MSG_EXCEPT, MSG_NOERROR};
use super::for_tests::{Queue, facts, message, queue_of, receiver, sender};
use super::limits::MsgLimits;
use super::msgrcv::*;
use super::state::{QueueFacts, QueueState, Received};
use crate::sysv::for_tests::{OWNER, Person, STRANGER, errno, refused};
use crate::sysv::ipc::Ruling;
use crate::sysv::{Capability, Errno};

const LIMITS: MsgLimits = MsgLimits::KERNEL_DEFAULTS;

#[test]
fn identifier_size_and_flags_are_looked_at_first() {
    let copy = MSG_COPY | IPC_NOWAIT;
    for (id, size, msgflg, sentence) in [
        (-1, -1, MSG_COPY, "no identifier is negative, -1 is"),
        (0, -1, MSG_COPY, "no buffer has -1 bytes"),
        (
            0,
            1,
            copy | MSG_EXCEPT,
            "MSG_COPY takes a position, MSG_EXCEPT a type",
        ),
        (0, 1, MSG_COPY, "MSG_COPY needs IPC_NOWAIT"),
    ] {
        assert_eq!(
            refused(check_receive(id, size, msgflg)),
            Some((Errno::Einval, sentence.into()))
        );
    }
    for (size, msgflg) in [
        (0, 0),
        (i64::MAX, MSG_EXCEPT | MSG_NOERROR),
        (1, copy | MSG_NOERROR),
        // Unknown bits mean nothing.
        (1, i32::MIN | 0o777),
    ] {
        assert_eq!(check_receive(0, size, msgflg), Ok(()));
    }
}

#[test]
fn receiving_takes_the_right_to_read_alone() {
    let by = |mode, person: Person| errno(may_receive(&facts(mode), &person));
    assert_eq!(by(0o400, Person::with_euid(OWNER)), None);
    assert_eq!(by(0o004, Person::with_euid(STRANGER)), None);
    let eacces = Some(Errno::Eacces);
    assert_eq!(by(0o377, Person::with_euid(OWNER)), eacces);
    assert_eq!(by(0o773, Person::with_euid(STRANGER)), eacces);
    let capable = Person::with_euid(STRANGER).with(&[Capability::IpcOwner]);
    assert_eq!(by(0, capable), None);
}

/// The types in the order in which they are received, `None` for ENOMSG.
fn types(sent: &[i64], asked: &[(i64, i32)]) -> Vec<Option<i64>> {
    let mut queue = queue_of(sent);
    let mut take = |(mtype, msgflg): &(i64, i32)| {
        let received = receive(&mut queue, *mtype, 100, *msgflg, 1, 1);
        received
            .ok()
            .flatten()
            .map(|received| received.message.mtype)
    };
    asked.iter().map(&mut take).collect()
}

#[test]
fn the_type_chooses_the_message() {
    // Rows of Linux 6.18.
    let some = |types: &[i64]| types.iter().map(|mtype| Some(*mtype)).collect::<Vec<_>>();
    let all = [5, 3, 9, 3, 1];
    assert_eq!(types(&all, &[(4, 0)]), [None]);
    assert_eq!(
        types(
            &all,
            &[(3, 0), (-2, 0), (-1, 0), (-8, 0), (-8, 0), (0, 0), (0, 0)]
        ),
        [Some(3), Some(1), None, Some(3), Some(5), Some(9), None]
    );
    assert_eq!(
        types(
            &[2, 1, 2],
            &[(2, MSG_EXCEPT), (-9, MSG_EXCEPT), (0, MSG_EXCEPT)]
        ),
        some(&[1, 2, 2])
    );
    assert_eq!(types(&[2, 2], &[(2, MSG_EXCEPT)]), [None]);
    assert_eq!(
        types(
            &[1, i64::MAX],
            &[(i64::MIN, 0), (i64::MIN, 0), (i64::MIN, 0)]
        ),
        [Some(1), Some(i64::MAX), None]
    );
    assert_eq!(types(&[7], &[(-6, 0), (-7, 0)]), [None, Some(7)]);
}

#[test]
fn of_the_smallest_type_the_oldest_message_is_received() {
    let queue = queue_of(&[4, 2, 2, 3, 1, 1]);
    assert_eq!(find(&queue, -4, 0), Some(4));
    let queue = queue_of(&[4, 2, 2, 3]);
    assert_eq!(find(&queue, -4, 0), Some(1));
    assert_eq!(find(&queue, -1, 0), None);
    assert_eq!(find(&queue, 2, 0), Some(1));
    assert_eq!(find(&queue, 0, 0), Some(0));
    assert_eq!(find(&queue_of(&[]), 0, 0), None);
}

#[test]
fn a_sleeping_receiver_wants_what_it_asked_for() {
    for (mtype, flags, wanted, unwanted) in [
        (0, 0, &[1, 5, i64::MAX][..], &[][..]),
        (0, MSG_EXCEPT, &[1, 5], &[]),
        (5, 0, &[5], &[1, 6]),
        (5, MSG_EXCEPT, &[1, 6], &[5]),
        (-5, 0, &[1, 5], &[6, i64::MAX]),
        (-5, MSG_EXCEPT, &[1, 5], &[6]),
        (i64::MIN, 0, &[1, i64::MAX], &[]),
    ] {
        // Room plays no part.
        let receiver = receiver(1, mtype, 0, flags);
        let matches = |mtype: &i64| matches(&receiver, &message(*mtype, 9));
        assert!(wanted.iter().all(matches), "{mtype} {flags:o}");
        assert!(!unwanted.iter().any(matches), "{mtype} {flags:o}");
    }
}

#[test]
fn a_message_that_is_too_long_stays_or_is_cut() {
    let mut queue = Queue::new(facts(0o600));
    queue.push_message(message(3, 5));
    let before = queue.clone();
    let sentence = "the message in message queue 32769 has 5 bytes, the buffer 4";
    assert_eq!(
        refused(receive(&mut queue, 0, 4, 0, 42, 1000)),
        Some((Errno::E2big, sentence.into()))
    );
    assert_eq!(queue, before);
    for (room, msgflg, len) in [
        (5, 0, 5),
        (i64::MAX as u64, 0, 5),
        (2, MSG_NOERROR, 2),
        (0, MSG_NOERROR, 0),
        (100, MSG_NOERROR, 5),
    ] {
        let mut queue = before.clone();
        let expected = Received {
            message: message(3, 5),
            len,
        };
        let received = receive(&mut queue, 0, room, msgflg, 42, 1000);
        assert_eq!(received, Ok(Some(expected)));
        assert_eq!(queue.messages, []);
    }
}

#[test]
fn an_empty_message_is_a_message() {
    let mut queue = Queue::new(facts(0o600));
    queue.push_message(message(3, 0));
    let received = receive(&mut queue, 0, 0, 0, 42, 1000);
    assert_eq!(received.map(|some| some.map(|it| it.len)), Ok(Some(0)));
    assert_eq!(receive(&mut queue, 0, 0, 0, 42, 1000), Ok(None));
}

#[test]
fn a_receive_is_stamped_and_one_that_finds_nothing_is_not() {
    let mut queue = queue_of(&[1, 2]);
    let before = queue.clone();
    assert_eq!(receive(&mut queue, 9, 100, 0, 42, 1000), Ok(None));
    assert_eq!(queue, before);
    assert!(receive(&mut queue, 2, 100, 0, 42, 1000).is_ok());
    let after = queue.facts();
    assert_eq!((after.lrpid, after.rtime), (42, 1000));
    assert_eq!((after.lspid, after.stime), (0, 0));
    assert_eq!((after.qnum, after.cbytes), (1, 1));
    assert_eq!(queue.messages, [message(1, 1)]);
}

#[test]
fn a_receive_tells_every_sender_whose_message_fits_now() {
    let ten = |messages: &[u32]| {
        let mut queue = Queue::new(QueueFacts {
            qbytes: 10,
            ..facts(0o600)
        });
        for len in messages {
            queue.push_message(message(1, *len));
        }
        queue
    };
    // 4 bytes are freed: 8 do not fit, 2 do.
    let mut queue = ten(&[4, 6]);
    queue.push_sender(sender(1, 8));
    queue.push_sender(sender(2, 2));
    assert!(receive(&mut queue, 0, 100, 0, 42, 1000).is_ok());
    assert_eq!(queue.told(), [false, true]);
    assert!(receive(&mut queue, 0, 100, 0, 42, 1000).is_ok());
    assert_eq!(queue.told(), [true, true]);
    // Each is judged alone: of three of 4 bytes all are told, and two will find room.
    let mut queue = ten(&[10]);
    for owner in 1..=3 {
        queue.push_sender(sender(owner, 4));
    }
    assert!(receive(&mut queue, 0, 100, 0, 42, 1000).is_ok());
    assert_eq!(queue.told(), [true, true, true]);
    // Where nothing is received, nobody is told.
    let mut queue = ten(&[9]);
    queue.push_sender(sender(1, 1));
    assert!(receive(&mut queue, 0, 1, 0, 42, 1000).is_err());
    assert_eq!(receive(&mut queue, 5, 100, 0, 42, 1000), Ok(None));
    assert_eq!(queue.told(), [false]);
}

#[test]
fn a_copy_is_by_position_and_changes_nothing() {
    let queue = queue_of(&[5, 3]);
    let at = |position| copy(&queue, position, 100, MSG_COPY | IPC_NOWAIT, &LIMITS);
    let types = |ruling: Ruling<Received>| ruling.map(|received| received.message.mtype);
    assert_eq!(types(at(0)), Ok(5));
    assert_eq!(types(at(1)), Ok(3));
    for (position, sentence) in [
        (
            2,
            "message queue 32769 holds 2 messages, none at position 2",
        ),
        (
            -1,
            "message queue 32769 holds 2 messages, none at position -1",
        ),
        (
            1 << 32,
            "message queue 32769 holds 2 messages, none at position 4294967296",
        ),
    ] {
        assert_eq!(
            refused(at(position)),
            Some((Errno::Enomsg, sentence.into()))
        );
    }
}

#[test]
fn a_copy_is_never_cut() {
    let mut queue = Queue::new(facts(0o600));
    queue.push_message(message(3, 50));
    let copied = |room, msgflg, msgmax| {
        let limits = MsgLimits { msgmax, ..LIMITS };
        let msgflg = msgflg | MSG_COPY | IPC_NOWAIT;
        copy(&queue, 0, room, msgflg, &limits).map(|received| received.len)
    };
    assert_eq!(copied(50, 0, 8192), Ok(50));
    assert_eq!(copied(i64::MAX as u64, MSG_NOERROR, 50), Ok(50));
    // Rows of Linux 6.18, the last four with msgmax lowered afterwards.
    for (room, msgflg, msgmax, expected) in [
        (49, 0, 8192, Errno::E2big),
        (49, MSG_NOERROR, 8192, Errno::Einval),
        (100, 0, 20, Errno::Einval),
        (100, MSG_NOERROR, 20, Errno::Einval),
        (20, MSG_NOERROR, 20, Errno::Einval),
        (30, 0, 20, Errno::E2big),
    ] {
        let ruling = copied(room, msgflg, msgmax);
        assert_eq!(errno(ruling), Some(expected), "{room} {msgflg:o} {msgmax}");
    }
    let sentence = "message 0 of message queue 32769 has 50 bytes, it can be copied whole alone, and not into 20";
    assert_eq!(
        refused(copied(100, 0, 20)),
        Some((Errno::Einval, sentence.into()))
    );
}

#[test]
fn a_receive_of_nothing_names_what_was_wanted() {
    for (mtype, msgflg, wanted) in [
        (0, MSG_EXCEPT, "of any type"),
        (7, 0, "of type 7"),
        (7, MSG_EXCEPT, "of another type than 7"),
        (-7, MSG_EXCEPT, "of a type up to 7"),
        (i64::MIN, 0, "of a type up to 9223372036854775807"),
    ] {
        let sentence = format!("message queue 32769 holds 0 messages, none {wanted}");
        let refusal = nothing(&facts(0o600), mtype, msgflg);
        assert_eq!(refused::<()>(Err(refusal)), Some((Errno::Enomsg, sentence)));
    }
}

#[test]
fn a_sleeper_is_refused_with_the_room_it_had() {
    let refusal = too_long_meanwhile(facts(0).perm.id, 2);
    let sentence = "a message with more than the 2 bytes of the buffer came to message queue 32769";
    assert_eq!(
        refused::<()>(Err(refusal)),
        Some((Errno::E2big, sentence.into()))
    );
}
