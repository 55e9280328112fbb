//! Processes that sleep in semaphore sets, or owe them something, under loom.
#![cfg(all(feature = "loom", not(feature = "shuttle")))]

mod common;

use common::{at_each_death, explored, fill_a_block};
use loom::thread;
use shmshim_model::explore::{explore, preemptions};
use shmshim_model::mortal;
use shmshim_model::objects::{
    as_mortal, as_process, audit, audit_swept, begin, change, change_at_once, change_for, new_set,
    op, values,
};
use shmshim_model::os::futex::may_end_by_itself;
use shmshim_model::registry::sem::{self, semget};
use shmshim_model::registry::{self, file};
use shmshim_model::storage::ipc::{ObjectKind, Presence};
use shmshim_model::sysv::sem::Question;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const UNDO: i32 = 0x1000;

fn id_of_set() -> i32 {
    semget(5, 0, 0).unwrap()
}

/// Raises both values.
fn raise(id: i32) {
    assert_eq!(change_at_once(id, &[op(0, 1, 0), op(1, 1, 0)]), 0);
}

fn a_set_of_zeros() {
    let id = new_set(5, 2);
    // Blocks of each size, places and owners were used before.
    as_process(0, || {
        change(id, &[op(0, 1, UNDO), op(1, 1, UNDO)]);
        change(id, &[op(0, -1, UNDO), op(1, -1, UNDO)]);
        sem::sem_set_value(id, 0, 0).unwrap();
    });
}

#[test]
fn who_is_about_to_sleep_is_served_and_woken() {
    let explored = explored(a_set_of_zeros, &[0, 9]);
    let ways = explore(preemptions(2).min(1), move || {
        begin(&explored);
        as_process(0, a_set_of_zeros);
        let sleeper =
            thread::spawn(|| as_process(1, || change_at_once(id_of_set(), &[op(0, -1, 0)])));
        as_process(2, || {
            assert_eq!(change_at_once(id_of_set(), &[op(0, 1, 0)]), 0)
        });
        assert_eq!(sleeper.join().unwrap(), 0);
        as_process(0, || {
            assert_eq!(values(id_of_set()), [0, 0]);
            audit(&[]);
        });
    });
    println!("raise a value on which another is about to sleep: {ways} ways");
}

#[test]
fn a_waker_finds_who_sleeps_though_others_sweep() {
    // The sleeper's place is read behind the exchange, from a block that is nobody's by then.
    let explored = explored(a_set_of_zeros, &[0, 16]).in_order();
    let ways = explore(preemptions(2).max(2), move || {
        begin(&explored);
        as_process(0, a_set_of_zeros);
        let id = as_process(0, id_of_set);
        let sleeper = thread::spawn(move || as_process(1, || change_at_once(id, &[op(0, -1, 0)])));
        as_process(0, || {
            while sem::sem_ask(id, 0, Question::Growth).unwrap() == 0 {
                thread::yield_now();
            }
        });
        // Whose block it is now, is dead.
        as_process(3, || assert_eq!(change(id, &[op(1, 1, 0)]), 0));
        mortal::end(3);
        let waker =
            thread::spawn(move || as_process(2, || assert_eq!(change(id, &[op(0, 1, 0)]), 0)));
        as_process(0, || {
            file().sweep();
            fill_a_block(150);
        });
        waker.join().unwrap();
        assert_eq!(sleeper.join().unwrap(), 0);
        as_process(0, || {
            assert_eq!(values(id), [0, 1]);
            audit(&[]);
        });
    });
    println!("wake a sleeper while others sweep: {ways} ways");
}

#[test]
fn who_sleeps_in_a_set_that_is_removed_hears_of_it() {
    let explored = explored(a_set_of_zeros, &[0, 9]);
    let ways = explore(preemptions(2).min(1), move || {
        begin(&explored);
        as_process(0, a_set_of_zeros);
        let id = as_process(0, id_of_set);
        let sleeper = thread::spawn(move || as_process(1, || change_at_once(id, &[op(0, -1, 0)])));
        as_process(2, || sem::sem_remove(id).unwrap());
        let heard = sleeper.join().unwrap();
        assert!([libc::EIDRM, libc::EINVAL].contains(&heard), "{heard}");
        as_process(0, || {
            assert!(file().root(ObjectKind::Set, 0).unwrap().seen().unit() == 0);
            audit(&[]);
        });
    });
    println!("remove a set in which another is about to sleep: {ways} ways");
}

#[test]
fn a_sleeper_that_dies_leaves_nothing() {
    may_end_by_itself(true);
    let explored = explored(a_set_of_zeros, &[]).only_roots();
    at_each_death("a sleep in a set", preemptions(2).min(1), move |writes| {
        begin(&explored);
        as_process(0, a_set_of_zeros);
        let lived = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lived);
        let sleeper = thread::spawn(move || {
            let id = as_process(1, id_of_set);
            let lived = as_mortal(1, writes, || assert_eq!(change(id, &[op(0, -1, UNDO)]), 0));
            said.store(lived, Ordering::Relaxed);
        });
        as_process(2, || assert_eq!(change(id_of_set(), &[op(0, 1, 0)]), 0));
        sleeper.join().unwrap();
        as_process(0, || {
            assert_eq!(
                values(id_of_set()),
                [1, 0],
                "what the dead one has taken is back, once"
            );
            audit(&[1]);
            audit_swept(&[1]);
            assert_eq!(sem::sem_ask(id_of_set(), 0, Question::Growth).unwrap(), 0);
        });
        lived.load(Ordering::Relaxed)
    });
    may_end_by_itself(false);
}

#[test]
fn a_sleeper_that_dies_takes_no_block_from_one_that_keeps_it() {
    may_end_by_itself(true);
    let explored = explored(a_set_of_zeros, &[]).in_order();
    at_each_death(
        "a sleep beside a change that keeps its block",
        preemptions(2).min(1),
        move |writes| {
            begin(&explored);
            as_process(0, a_set_of_zeros);
            // Its next change keeps the block that it replaces.
            let id = as_process(2, || {
                let id = id_of_set();
                assert_eq!(change_at_once(id, &[op(1, 1, 0)]), 0);
                id
            });
            let lived = Arc::new(AtomicBool::new(false));
            let said = Arc::clone(&lived);
            let sleeper = thread::spawn(move || {
                let lived = as_mortal(1, writes, || assert_eq!(change(id, &[op(0, -1, 0)]), 0));
                said.store(lived, Ordering::Relaxed);
            });
            let changer = thread::spawn(move || {
                as_process(2, || {
                    assert_eq!(change_at_once(id, &[op(1, 1, 0)]), 0);
                    assert_eq!(change_at_once(id, &[op(0, 1, 0)]), 0);
                });
            });
            as_process(0, || {
                file().sweep();
            });
            changer.join().unwrap();
            sleeper.join().unwrap();
            let lived = lived.load(Ordering::Relaxed);
            as_process(0, || {
                let values = values(id);
                assert_eq!(values[1], 2, "changes");
                assert!(values[0] == 0 || values[0] == 1 && !lived, "{values:?}");
                audit(&[1]);
                audit_swept(&[1]);
            });
            lived
        },
    );
    may_end_by_itself(false);
}

#[test]
fn a_sleeper_whose_waker_dies_is_served_by_what_it_has_done_or_not_at_all() {
    may_end_by_itself(true);
    let explored = explored(a_set_of_zeros, &[]).only_roots();
    at_each_death("a waking", preemptions(2).min(1), move |writes| {
        begin(&explored);
        as_process(0, a_set_of_zeros);
        let lived = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lived);
        let waker = thread::spawn(move || {
            let id = as_process(1, id_of_set);
            let lived = as_mortal(1, writes, || assert_eq!(change(id, &[op(0, 1, 0)]), 0));
            said.store(lived, Ordering::Relaxed);
        });
        let slept = as_process(2, || {
            change_for(id_of_set(), &[op(0, -1, 0)], 10_000_000_000)
        });
        waker.join().unwrap();
        let lived = lived.load(Ordering::Relaxed);
        as_process(0, || {
            let value = values(id_of_set())[0];
            match slept {
                0 => assert_eq!(value, 0),
                libc::EAGAIN => assert!(value == 0 && !lived || value == 1),
                errno => panic!("{errno}"),
            }
            audit(&[1]);
            audit_swept(&[1]);
        });
        lived
    });
    may_end_by_itself(false);
}

/// A set that process 3, dead now, has lowered with SEM_UNDO.
fn a_debt() {
    let id = new_set(5, 2);
    change(id, &[op(0, 4, 0), op(1, 4, 0)]);
    as_process(3, || {
        change(id, &[op(0, -1, UNDO), op(1, -1, UNDO)]);
    });
    mortal::end(3);
    // Blocks of its size.
    as_process(0, || {
        change(id, &[op(0, -1, UNDO), op(1, -1, UNDO)]);
        change(id, &[op(0, 1, UNDO), op(1, 1, UNDO)]);
    });
}

/// The same, of which nobody knows yet.
fn a_debt_of_the_dead() {
    let id = new_set(5, 2);
    change(id, &[op(0, 4, 0), op(1, 4, 0)]);
    as_process(3, || {
        change(id, &[op(0, -1, UNDO), op(1, -1, UNDO)]);
    });
    mortal::end(3);
}

#[test]
fn what_the_dead_owe_is_paid_once() {
    let explored = explored(a_debt, &[0, 9, 10]).without_heads().with_owners();
    let ways = explore(preemptions(2), move || {
        begin(&explored);
        as_process(0, a_debt_of_the_dead);
        let meets = |cell, changes: bool| {
            as_process(cell, || {
                let id = id_of_set();
                if changes {
                    raise(id);
                } else {
                    assert_ne!(values(id)[0], 3, "the dead one's debt is seen");
                }
                let values = values(id);
                assert_eq!(values[0], values[1], "half of a debt is paid");
            });
        };
        let other = thread::spawn(move || meets(1, true));
        meets(2, false);
        other.join().unwrap();
        as_process(0, || {
            assert_eq!(values(id_of_set()), [5, 5]);
            audit(&[]);
        });
    });
    println!("two meet what a dead process owes: {ways} ways");
}

#[test]
fn of_two_that_find_the_entry_of_a_dead_owner_one_takes_it() {
    let explored = explored(a_debt, &[]).without_heads().with_owners();
    let ways = explore(preemptions(2).max(2), move || {
        begin(&explored);
        as_process(0, a_debt_of_the_dead);
        let lower = |cell| {
            as_process(cell, || {
                let lowered = change(id_of_set(), &[op(0, -1, UNDO), op(1, -1, UNDO)]);
                assert_eq!(lowered, 0);
                registry::owner()
            })
        };
        let other = thread::spawn(move || lower(1));
        let owners = [lower(2), other.join().unwrap()];
        assert_ne!(owners[0], owners[1], "two have one entry");
        let values_now = || as_process(0, || values(id_of_set()));
        assert_eq!(values_now(), [2, 2]);
        for (cell, value) in [(1, 3), (2, 4)] {
            mortal::end(cell);
            assert_eq!(values_now(), [value, value], "what the dead owe is paid");
        }
        as_process(0, || audit(&[]));
    });
    println!("two take the entry of a dead owner: {ways} ways");
}

#[test]
fn a_dead_owner_is_dead_also_while_another_takes_its_entry() {
    let explored = explored(a_debt, &[]).only_owners();
    let ways = explore(preemptions(2).max(2), move || {
        begin(&explored);
        as_process(0, a_debt_of_the_dead);
        let dead = as_process(3, registry::owner);
        let id = as_process(0, id_of_set);
        let taker = thread::spawn(move || {
            as_process(1, || assert_eq!(change(id, &[op(1, -1, UNDO)]), 0));
        });
        as_process(2, || assert_eq!(file().presence(dead), Presence::Gone));
        taker.join().unwrap();
        as_process(0, || {
            assert_eq!(values(id), [4, 3]);
            audit(&[]);
        });
    });
    println!("ask for a dead owner while another takes its entry: {ways} ways");
}
