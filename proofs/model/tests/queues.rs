//! Message queues under loom: as `sets.rs`.
#![cfg(all(feature = "loom", not(feature = "shuttle")))]

mod common;

use common::{at_each_death, explored, fill_a_block};
use loom::thread;
use shmshim_model::explore::{explore, preemptions};
use shmshim_model::mortal;
use shmshim_model::objects::{
    as_mortal, as_process, audit, audit_swept, audit_swept_receiver, begin, new_queue, receive,
    receive_type, send, sleep_as_receiver, sleep_as_sender,
};
use shmshim_model::os::futex::may_end_by_itself;
use shmshim_model::registry::file;
use shmshim_model::registry::msg::{msg_remove, msg_set, msgget};
use shmshim_model::storage::ipc::ObjectKind;
use shmshim_model::sysv::NewPerm;
use shmshim_model::sysv::msg::NewQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const NOWAIT: i32 = 0o4000;

/// A queue with a message of a process that is dead now.
fn a_message_of_a_dead_process() {
    new_queue(6);
    as_process(3, || {
        let id = msgget(6, 0).unwrap();
        assert_eq!(send(id, 1, &[7, 7], 0), 0);
    });
    mortal::end(3);
}

fn id_of_queue() -> i32 {
    msgget(6, 0).unwrap()
}

/// Receives a message whose words are all `expected`.
fn receive_all_of(flags: i32, expected: u64) -> bool {
    match receive(id_of_queue(), flags) {
        Ok(words) => {
            assert_eq!(words, [expected; 2], "another text");
            true
        }
        Err(errno) => {
            assert_eq!(errno, libc::ENOMSG);
            false
        }
    }
}

#[test]
fn a_message_of_a_dead_sender_is_received_whole_while_others_sweep() {
    // A text of two words; in a queue its root's tag and its messages stand there, which count as plain.
    let explored = explored(a_message_of_a_dead_process, &[0, 1]);
    let ways = explore(preemptions(2), move || {
        begin(&explored);
        as_process(0, a_message_of_a_dead_process);
        let other = thread::spawn(move || {
            as_process(1, || {
                file().sweep();
                // What was given back is taken at once.
                fill_a_block(16);
            });
        });
        as_process(2, || {
            assert!(receive_all_of(NOWAIT, 7), "the message is lost")
        });
        other.join().unwrap();
        as_process(0, || audit(&[]));
    });
    println!("receive a dead one's message while others sweep: {ways} ways");
}

#[test]
fn two_receivers_share_two_messages() {
    let setup = || {
        new_queue(6);
        for text in [1, 2] {
            assert_eq!(send(id_of_queue(), 1, &[text, text], 0), 0);
        }
    };
    // Values of before; and both a long time between any two steps.
    for (explored, at_most, what) in [
        (
            explored(setup, &[0, 1]),
            preemptions(2).min(1),
            "of all words",
        ),
        (explored(setup, &[]).in_order(), 2, "in one order"),
    ] {
        let ways = explore(at_most, move || {
            begin(&explored);
            as_process(0, setup);
            let get = |cell| as_process(cell, || receive(id_of_queue(), NOWAIT).unwrap());
            let other = thread::spawn(move || get(1));
            let mut all = [get(2), other.join().unwrap()];
            all.sort_unstable();
            assert_eq!(all, [[1, 1], [2, 2]]);
            as_process(0, || {
                assert_eq!(receive(id_of_queue(), NOWAIT), Err(libc::ENOMSG));
                audit(&[]);
            });
        });
        println!("two receive two messages, {what}: {ways} ways");
    }
}

fn an_empty_queue() {
    new_queue(6);
    // Blocks of each size are there.
    assert_eq!(send(id_of_queue(), 1, &[5, 5], 0), 0);
    assert!(receive_all_of(NOWAIT, 5));
}

#[test]
fn a_receiver_that_sleeps_is_woken_with_its_message() {
    let explored = explored(an_empty_queue, &[]);
    let ways = explore(preemptions(2), move || {
        begin(&explored);
        as_process(0, an_empty_queue);
        let receiver = thread::spawn(|| as_process(1, || receive(id_of_queue(), 0)));
        as_process(2, || assert_eq!(send(id_of_queue(), 1, &[8, 8], 0), 0));
        assert_eq!(receiver.join().unwrap(), Ok([8, 8]));
        as_process(0, || {
            assert_eq!(receive(id_of_queue(), NOWAIT), Err(libc::ENOMSG));
            audit(&[]);
        });
    });
    println!("send to a receiver that is about to sleep: {ways} ways");
}

#[test]
fn a_message_of_a_sender_that_dies_is_there_or_not() {
    may_end_by_itself(true);
    let explored = explored(an_empty_queue, &[]);
    at_each_death("a sending", preemptions(2).min(1), move |writes| {
        begin(&explored);
        as_process(0, an_empty_queue);
        let lived = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lived);
        let sender = thread::spawn(move || {
            let id = as_process(1, id_of_queue);
            let lived = as_mortal(1, writes, || assert_eq!(send(id, 1, &[8, 8], 0), 0));
            said.store(lived, Ordering::Relaxed);
        });
        let early = as_process(2, || receive_all_of(NOWAIT, 8));
        sender.join().unwrap();
        let lived = lived.load(Ordering::Relaxed);
        as_process(2, || {
            audit(&[1]);
            audit_swept(&[1]);
            let late = receive_all_of(NOWAIT, 8);
            assert!(!(early && late), "received twice");
            assert!(early || late || !lived, "lost");
            audit_swept(&[1]);
        });
        lived
    });
    may_end_by_itself(false);
}

fn a_message() {
    new_queue(6);
    assert_eq!(send(id_of_queue(), 1, &[8, 8], 0), 0);
}

/// A receiver dies in front of each store, beside another one: one message of `setup` is there, and is taken once.
fn at_each_death_of_a_receiver(name: &str, setup: fn()) {
    let explored = explored(setup, &[]).without_heads();
    at_each_death(name, preemptions(2).min(1), move |writes| {
        begin(&explored);
        as_process(0, setup);
        let lived = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lived);
        let receiver = thread::spawn(move || {
            let id = as_process(1, id_of_queue);
            let lived = as_mortal(1, writes, || {
                let got = receive(id, NOWAIT);
                assert!(got == Ok([8, 8]) || got == Err(libc::ENOMSG));
            });
            said.store(lived, Ordering::Relaxed);
        });
        as_process(2, || {
            receive_all_of(NOWAIT, 8);
        });
        receiver.join().unwrap();
        as_process(2, || {
            audit(&[1]);
            audit_swept_receiver(1);
            receive_all_of(NOWAIT, 8);
            assert_eq!(receive(id_of_queue(), NOWAIT), Err(libc::ENOMSG));
            audit_swept_receiver(1);
        });
        lived.load(Ordering::Relaxed)
    });
}

#[test]
fn a_receiver_that_dies_has_taken_its_message_or_not() {
    at_each_death_of_a_receiver("a receiving", a_message);
}

#[test]
fn a_text_stays_the_winners_when_the_loser_dies_and_others_sweep() {
    let explored = explored(a_message, &[0, 1]).in_order();
    at_each_death("losing a message", preemptions(2).max(2), move |writes| {
        begin(&explored);
        as_process(0, a_message);
        let id = as_process(1, id_of_queue);
        let winner = thread::spawn(|| {
            let got = as_process(2, || receive(id_of_queue(), NOWAIT));
            // It may be gone; then the call says so.
            let fits = [Ok([8, 8]), Err(libc::ENOMSG), Err(libc::EACCES)].contains(&got);
            assert!(fits, "another text: {got:?}");
        });
        let lived = as_mortal(1, writes, || _ = receive(id, NOWAIT));
        as_process(3, || {
            file().sweep();
            // What was given back is taken at once.
            fill_a_block(16);
        });
        winner.join().unwrap();
        as_process(2, || audit_swept_receiver(1));
        lived
    });
}

/// A queue with a message of process 2, and two receivers that it has handed others; their process is dead now.
fn answered_receivers_that_have_died() {
    new_queue(6);
    as_process(3, || (0..2).for_each(|_| sleep_as_receiver(id_of_queue())));
    as_process(2, || {
        for text in [9, 9, 8] {
            assert_eq!(send(id_of_queue(), 1, &[text, text], 0), 0);
        }
    });
    mortal::end(3);
}

#[test]
fn answered_receivers_that_have_died_are_reaped_once_with_their_messages() {
    let explored = explored(answered_receivers_that_have_died, &[]).in_order();
    let ways = explore(preemptions(2).max(2), move || {
        begin(&explored);
        as_process(0, answered_receivers_that_have_died);
        let get = |cell| as_process(cell, || receive_all_of(NOWAIT, 8));
        let other = thread::spawn(move || get(1));
        let got = [get(2), other.join().unwrap()];
        assert_ne!(got[0], got[1], "another message is lost, or there twice");
        as_process(0, || audit(&[]));
    });
    println!("two reap receivers that were answered: {ways} ways");
}

#[test]
fn what_a_dead_process_has_reaped_of_another_others_reap() {
    at_each_death_of_a_receiver("a reaping", answered_receivers_that_have_died);
}

/// A queue that is full of one message.
fn a_full_queue() {
    a_message();
    let (uid, gid, mode) = (0, 0, 0o600);
    let perm = NewPerm { uid, gid, mode };
    let new = NewQueue { perm, qbytes: 16 };
    msg_set(id_of_queue(), new).unwrap();
    // Blocks of each size, places and owners are there.
    as_process(3, || {
        sleep_as_sender(id_of_queue(), &[7, 7]);
    });
    mortal::end(3);
    assert_eq!(receive_type(id_of_queue(), 2, NOWAIT), Err(libc::ENOMSG));
    file().sweep();
}

#[test]
fn who_sleeps_at_a_queue_that_is_removed_hears_of_it() {
    let explored = explored(a_full_queue, &[]).in_order();
    let ways = explore(preemptions(2).min(1), move || {
        begin(&explored);
        as_process(0, a_full_queue);
        let id = as_process(0, id_of_queue);
        let receiver = thread::spawn(move || as_process(1, || receive_type(id, 2, 0).unwrap_err()));
        let sender = thread::spawn(move || as_process(2, || send(id, 1, &[9, 9], 0)));
        as_process(0, || msg_remove(id).unwrap());
        for heard in [receiver.join().unwrap(), sender.join().unwrap()] {
            assert!([libc::EIDRM, libc::EINVAL].contains(&heard), "{heard}");
        }
        as_process(0, || {
            assert_eq!(file().root(ObjectKind::Queue, 0).unwrap().seen().unit(), 0);
            audit(&[]);
        });
    });
    println!("remove a queue at which two are about to sleep: {ways} ways");
}

#[test]
fn a_message_is_received_or_ends_with_its_queue() {
    let explored = explored(a_message, &[]).in_order();
    let ways = explore(preemptions(2).max(2), move || {
        begin(&explored);
        as_process(0, a_message);
        let id = as_process(0, id_of_queue);
        let receiver = thread::spawn(move || as_process(1, || receive(id, 0)));
        as_process(2, || msg_remove(id).unwrap());
        let got = receiver.join().unwrap();
        let fits = match got {
            Ok(words) => words == [8, 8],
            Err(errno) => [libc::EIDRM, libc::EINVAL].contains(&errno),
        };
        assert!(fits, "{got:?}");
        as_process(0, || audit(&[]));
    });
    println!("remove a queue of which another is about to receive: {ways} ways");
}

#[test]
fn a_remover_of_a_queue_that_dies_leaves_its_sleepers_there_or_told() {
    may_end_by_itself(true);
    let explored = explored(a_full_queue, &[]).without_heads();
    at_each_death("removing a queue", preemptions(2).min(1), move |writes| {
        begin(&explored);
        as_process(0, a_full_queue);
        let id = as_process(0, || {
            let id = id_of_queue();
            // With a sender whose process is dead.
            as_process(3, || sleep_as_sender(id, &[7, 7]));
            id
        });
        mortal::end(3);
        let lived = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lived);
        let remover = thread::spawn(move || {
            let lived = as_mortal(1, writes, || msg_remove(id).unwrap());
            said.store(lived, Ordering::Relaxed);
        });
        let receiver = thread::spawn(move || as_process(2, || receive_type(id, 2, 0).unwrap_err()));
        remover.join().unwrap();
        let lived = lived.load(Ordering::Relaxed);
        as_process(0, || {
            let removed = msg_remove(id).is_ok();
            assert!(!(lived && removed), "removed twice");
            assert!(msgget(6, 0).is_err(), "it is there still");
        });
        let heard = receiver.join().unwrap();
        assert!([libc::EIDRM, libc::EINVAL].contains(&heard), "{heard}");
        as_process(0, || {
            audit(&[1, 3]);
            audit_swept(&[1]);
            assert_eq!(file().root(ObjectKind::Queue, 0).unwrap().seen().unit(), 0);
        });
        lived
    });
    may_end_by_itself(false);
}
