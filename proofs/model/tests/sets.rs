//! Semaphore sets under loom: as `weak_memory.rs`, but there is no lock. Threads are processes that die.
#![cfg(all(feature = "loom", not(feature = "shuttle")))]

mod common;

use common::{at_each_death, explored};
use loom::thread;
use shmshim_model::explore::{explore, preemptions};
use shmshim_model::mortal;
use shmshim_model::objects::{
    as_mortal, as_process, audit, audit_swept, begin, change, change_at_once, new_set, op, values,
};
use shmshim_model::registry::file;
use shmshim_model::registry::sem::{self, semget};
use shmshim_model::scene::process;
use shmshim_model::storage::ipc::Block;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Words of a set's content: its identifier, which goes when the block is kept, and the values of its first two semaphores.
const VALUES: &[u64] = &[0, 9, 10];

const EXCL: i32 = 0o2000;

/// A set whose identifier is told by its key, and some blocks of its size that are free.
fn a_set() {
    let id = new_set(5, 2);
    change(id, &[op(0, 1, 0), op(1, 1, 0)]);
}

fn id_of_set() -> i32 {
    semget(5, 0, 0).unwrap()
}

/// Raises both values.
fn raise(id: i32) {
    assert_eq!(change_at_once(id, &[op(0, 1, 0), op(1, 1, 0)]), 0);
}

#[test]
fn each_change_of_a_set_is_made_once_and_seen_whole() {
    let explored = explored(a_set, VALUES);
    let ways = explore(preemptions(2).min(1), move || {
        begin(&explored);
        as_process(0, a_set);
        let changers =
            [1, 2].map(|cell| thread::spawn(move || as_process(cell, || raise(id_of_set()))));
        as_process(0, || {
            let values = values(id_of_set());
            assert_eq!(values[0], values[1], "half of a change is seen");
        });
        for changer in changers {
            changer.join().unwrap();
        }
        as_process(0, || {
            assert_eq!(values(id_of_set()), [3, 3], "two changes");
            audit(&[]);
        });
    });
    println!("two change a set beside a reader: {ways} ways");
}

#[test]
fn a_slow_reader_and_a_slow_changer_notice_that_a_block_has_come_back() {
    let explored = explored(a_set, VALUES);
    // Behind two changes the first block is the set again.
    for slow_reads in [true, false] {
        let explored = explored.clone();
        let ways = explore(preemptions(2).min(1), move || {
            begin(&explored);
            as_process(0, a_set);
            let other = thread::spawn(|| {
                as_process(1, || {
                    let id = id_of_set();
                    (0..2).for_each(|_| raise(id));
                });
            });
            as_process(2, || {
                let id = id_of_set();
                if slow_reads {
                    let values = values(id);
                    assert_eq!(values[0], values[1], "half of a change is seen");
                } else {
                    raise(id);
                }
            });
            other.join().unwrap();
            as_process(0, || {
                let changes = 3 + u16::from(!slow_reads);
                assert_eq!(values(id_of_set()), [changes, changes], "changes");
                audit(&[]);
            });
        });
        let what = if slow_reads { "reads" } else { "changes" };
        println!("one {what} a set while another changes it twice: {ways} ways");
    }
}

#[test]
fn who_dies_in_a_change_has_made_it_or_not_and_loses_no_block_of_others() {
    let explored = explored(a_set, VALUES).without_heads();
    at_each_death("a change of a set", preemptions(2), move |writes| {
        begin(&explored);
        as_process(0, a_set);
        let lived = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lived);
        let mortal = thread::spawn(move || {
            let id = as_process(1, id_of_set);
            said.store(as_mortal(1, writes, || raise(id)), Ordering::Relaxed);
        });
        as_process(2, || raise(id_of_set()));
        mortal.join().unwrap();
        let lived = lived.load(Ordering::Relaxed);
        as_process(0, || {
            let values = values(id_of_set());
            assert_eq!(values[0], values[1], "half of a change was made");
            assert!(values[0] == 3 || values[0] == 2 && !lived, "{values:?}");
            audit(&[1]);
            audit_swept(&[1]);
            raise(id_of_set());
            audit_swept(&[1]);
        });
        lived
    });
}

/// Some blocks of one size that are free, and nothing else.
fn free_blocks() {
    file().give_unpublished(file().new_text(100, 0).unwrap());
}

#[test]
fn no_block_is_given_out_twice() {
    let explored = explored(free_blocks, &[]);
    let ways = explore(preemptions(2), move || {
        begin(&explored);
        as_process(0, free_blocks);
        let held: Arc<[AtomicBool; 64]> = Arc::new([const { AtomicBool::new(false) }; 64]);
        let work = |cell: u32, held: &[AtomicBool; 64]| {
            as_process(cell, || {
                let holder = process(cell).packed();
                let take = || {
                    let block = file().new_text(100, holder).unwrap();
                    let before = held[block.unit as usize].swap(true, Ordering::Relaxed);
                    assert!(!before, "block {} is given out twice", block.unit);
                    block
                };
                let give = |block: Block| {
                    held[block.unit as usize].store(false, Ordering::Relaxed);
                    file().give_unpublished(block);
                };
                let first = take();
                let second = (cell == 1).then(take);
                give(first);
                second.map(give);
            });
        };
        let other = {
            let held = Arc::clone(&held);
            thread::spawn(move || work(1, &held))
        };
        work(2, &held);
        other.join().unwrap();
        as_process(0, || audit(&[]));
    });
    println!("two take and give back blocks: {ways} ways");
}

/// A set that a process has changed last that is dead now, and in whose hands another block was.
fn a_set_of_a_dead_process() {
    a_set();
    as_process(3, || {
        raise(id_of_set());
        let holder = process(3).packed();
        file().new_text(100, holder).unwrap();
    });
    mortal::end(3);
}

#[test]
fn a_sweep_gives_back_what_the_dead_have_lost_and_nothing_else() {
    let explored = explored(a_set_of_a_dead_process, VALUES);
    for two_sweep in [false, true] {
        let explored = explored.clone();
        let ways = explore(preemptions(2).min(1), move || {
            begin(&explored);
            as_process(0, a_set_of_a_dead_process);
            let other = thread::spawn(move || {
                as_process(1, || {
                    if two_sweep {
                        file().sweep();
                    } else {
                        let id = id_of_set();
                        (0..2).for_each(|_| raise(id));
                    }
                });
            });
            as_process(2, || {
                file().sweep();
            });
            other.join().unwrap();
            as_process(0, || {
                let changes = if two_sweep { 2 } else { 4 };
                assert_eq!(values(id_of_set()), [changes, changes]);
                audit(&[]);
            });
        });
        let who = if two_sweep {
            "another does"
        } else {
            "a set is changed"
        };
        println!("sweep while {who}: {ways} ways");
    }
}

#[test]
fn two_makers_of_a_key_make_one_set() {
    let explored = explored(a_set, &[0, 1, 3]);
    let ways = explore(preemptions(2).min(1), move || {
        begin(&explored);
        as_process(0, a_set);
        let make = |cell| as_process(cell, || semget(7, 2, 0o1600 | EXCL).is_ok());
        let other = thread::spawn(move || make(1));
        let made = [make(2), other.join().unwrap()];
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
        as_process(0, || {
            assert_eq!(values(semget(7, 0, 0).unwrap()), [0, 0]);
            audit(&[]);
        });
    });
    println!("two make a set of one key: {ways} ways");
}

#[test]
fn a_set_that_is_removed_while_its_key_is_asked_for_is_another_one_behind_that() {
    let explored = explored(a_set, &[0, 1, 3]);
    let ways = explore(preemptions(2).min(1), move || {
        begin(&explored);
        as_process(0, a_set);
        let first = as_process(0, id_of_set);
        let remover = thread::spawn(move || as_process(1, || sem::sem_remove(first).unwrap()));
        let second = as_process(2, || new_set(5, 2));
        remover.join().unwrap();
        as_process(0, || {
            match semget(5, 0, 0) {
                Ok(id) => {
                    assert!(id == second && id != first);
                    assert_eq!(values(id), [0, 0], "not a fresh one");
                }
                Err(_) => assert_eq!(first, second, "lost"),
            }
            audit(&[]);
        });
    });
    println!("make beside remove: {ways} ways");
}

/// Process 1 does something and dies meanwhile; process 2 makes or finds the set with key 5, and uses it.
fn others_finish(name: &'static str, setup: fn(), work: fn()) {
    let explored = explored(setup, &[]).without_heads();
    at_each_death(name, preemptions(2).min(1), move |writes| {
        begin(&explored);
        as_process(0, setup);
        let lived = Arc::new(AtomicBool::new(false));
        let said = Arc::clone(&lived);
        let mortal = thread::spawn(move || {
            said.store(as_mortal(1, writes, work), Ordering::Relaxed);
        });
        as_process(2, || {
            let id = new_set(5, 2);
            // It may be removed already.
            let changed = change(id, &[op(0, 1, 0), op(1, 1, 0)]);
            assert!(
                [0, libc::EINVAL, libc::EIDRM].contains(&changed),
                "{changed}"
            );
        });
        mortal.join().unwrap();
        as_process(0, || {
            audit(&[1]);
            audit_swept(&[1]);
            let id = new_set(5, 2);
            let values = values(id);
            assert_eq!(values[0], values[1]);
            raise(id);
            sem::sem_remove(id).unwrap();
            assert!(semget(5, 0, 0).is_err());
            audit_swept(&[1]);
        });
        lived.load(Ordering::Relaxed)
    });
}

#[test]
fn what_a_dead_maker_has_begun_others_finish() {
    others_finish(
        "making a set",
        || sem::sem_remove(new_set(4, 2)).unwrap(),
        || {
            new_set(5, 2);
        },
    );
}

#[test]
fn what_a_dead_remover_has_begun_others_finish() {
    others_finish("removing a set", a_set, || {
        if let Ok(id) = semget(5, 0, 0) {
            let _ = sem::sem_remove(id);
        }
    });
}

/// Words of a text, of whose blocks a slab has few.
const TEXT_WORDS: usize = 13;

/// All blocks of one size that there are, in the hands of a process that is dead now.
fn lost_blocks() {
    as_process(3, || {
        let take = || file().take(TEXT_WORDS, process(3).packed()).unwrap();
        let first = take();
        for _ in 1..512 / first.words.len_bytes() {
            take();
        }
    });
    mortal::end(3);
}

#[test]
fn of_two_that_sweep_at_once_neither_cuts_new_blocks() {
    let explored = explored(lost_blocks, &[]);
    let ways = explore(preemptions(2).min(1), move || {
        begin(&explored);
        as_process(0, lost_blocks);
        let look = |cell: u32| {
            as_process(cell, || {
                let wanted = file().sweep_and_want(Block::class_for(TEXT_WORDS));
                assert_eq!(wanted, 0, "what the other has given back is not counted");
            });
        };
        let other = thread::spawn(move || look(1));
        look(2);
        other.join().unwrap();
        as_process(0, || audit(&[]));
    });
    println!("two sweep at once: {ways} ways");
}
