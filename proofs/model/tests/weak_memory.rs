//! Under loom: every interleaving with so many preemptions, and every value that a load may see in C11's memory model.
#![cfg(all(feature = "loom", not(feature = "shuttle")))]

use loom::cell::UnsafeCell;
use loom::thread;
use shmshim_model::audit::audit;
use shmshim_model::explore::{explore, preemptions};
use shmshim_model::mortal;
use shmshim_model::os::map::leave_plain;
use shmshim_model::scene::{self, SLOTS, create, process};
use shmshim_model::seen::{Look, Seen, check_reaped};
use shmshim_model::storage::Namespace;
use shmshim_model::storage::process::reap;
use shmshim_model::storage::table::events::What;
use shmshim_model::storage::table::layout::CellState;
use shmshim_model::storage::table::{attach_record, derived, key_index, slot_life};
use shmshim_model::stories::{STORIES, Story};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn seen_of(story: &'static Story) -> Seen {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let out = Arc::clone(&seen);
    explore(0, move || *out.lock().unwrap() = Seen::of(story));
    let seen = seen.lock().unwrap().clone();
    seen
}

#[test]
fn a_reader_without_a_lock_sees_a_segment_as_it_was_at_one_moment() {
    for story in STORIES {
        let seen = seen_of(story);
        let ways: Vec<_> = Look::ALL.map(|look| read_during(story, &seen, look)).into();
        println!("read while others {}: {ways:?} ways", story.name);
    }
}

fn read_during(story: &'static Story, seen: &Seen, look: Look) -> usize {
    let seen = seen.clone();
    leave_plain(story.plain);
    let ways = explore(preemptions(2), move || {
        let namespace = scene::empty();
        (story.before)(&namespace.lock(process(0)).unwrap());
        let writer = {
            let namespace = Arc::clone(&namespace);
            thread::spawn(move || {
                for step in story.steps {
                    step(&namespace.lock(process(0)).unwrap());
                }
            })
        };
        seen.check_as_reader(&namespace, look);
        writer.join().unwrap();
        audit(&namespace.lock(process(1)).unwrap());
    });
    leave_plain(&[]);
    ways
}

#[test]
fn after_a_death_at_any_store_the_segment_is_as_before_or_as_after() {
    for story in STORIES {
        let seen = seen_of(story);
        let (mut deaths, mut ways) = (0, 0);
        loop {
            let lived = Arc::new(AtomicBool::new(false));
            let (said, seen) = (Arc::clone(&lived), seen.clone());
            ways += explore(preemptions(2), move || {
                let namespace = scene::empty();
                (story.before)(&namespace.lock(process(0)).unwrap());
                let mortal = {
                    let (namespace, said) = (Arc::clone(&namespace), Arc::clone(&said));
                    thread::spawn(move || {
                        let lived = mortal::live(0, Some(deaths), || {
                            for step in story.steps {
                                step(&namespace.lock(process(0)).unwrap());
                            }
                        });
                        if lived {
                            said.store(true, Ordering::Relaxed);
                        }
                    })
                };
                {
                    let held = namespace.lock(process(1)).unwrap();
                    audit(&held);
                    seen.check_primary(&held);
                }
                mortal.join().unwrap();
                mortal::end(0);
                let held = namespace.lock(process(1)).unwrap();
                audit(&held);
                seen.check_primary(&held);
                reap(&held, 0);
                check_reaped(&held);
            });
            if lived.load(Ordering::Relaxed) {
                break;
            }
            deaths += 1;
        }
        println!("die at {} stores of: {}: {ways} ways", deaths, story.name);
    }
}

#[test]
fn a_reader_in_the_middle_of_a_death_and_a_repair_sees_one_moment() {
    for name in [
        "publish a segment",
        "detach the last of a removed one",
        "remove while attached",
    ] {
        let story = STORIES.iter().find(|story| story.name == name).unwrap();
        let seen = seen_of(story);
        let (mut deaths, mut ways) = (0, 0);
        loop {
            let lived = Arc::new(AtomicBool::new(false));
            for look in [Look::Snapshot, Look::Totals] {
                let (said, seen) = (Arc::clone(&lived), seen.clone());
                ways += explore(preemptions(1), move || {
                    let namespace = scene::empty();
                    (story.before)(&namespace.lock(process(0)).unwrap());
                    // Dead before the others begin: the deaths among the living are the test before.
                    let alive = mortal::live(0, Some(deaths), || {
                        for step in story.steps {
                            step(&namespace.lock(process(0)).unwrap());
                        }
                    });
                    said.store(alive, Ordering::Relaxed);
                    mortal::end(0);
                    let taker = {
                        let namespace = Arc::clone(&namespace);
                        // As the cell's next process, which need not wait to know that the lock is a dead one's.
                        thread::spawn(move || audit(&namespace.lock(process(0)).unwrap()))
                    };
                    seen.check_as_reader(&namespace, look);
                    taker.join().unwrap();
                });
            }
            if lived.load(Ordering::Relaxed) {
                break;
            }
            deaths += 1;
        }
        println!("read while a death is repaired at {deaths} stores of: {name}: {ways} ways");
    }
}

/// Two processes at once in something that only one may be in at a time.
fn exclusively(inside: &AtomicBool, work: impl FnOnce()) {
    assert!(!inside.swap(true, Ordering::Relaxed), "two hold the lock");
    work();
    inside.store(false, Ordering::Relaxed);
}

#[test]
fn two_takers_never_both_hold_the_lock() {
    // The lock is free; held by one who died with it; held by the previous process of the cell of one of the takers.
    for (name, left_by) in [
        ("free", None),
        ("left by a dead process", Some(process(2))),
        ("left in a taker's own cell", Some(process(1))),
    ] {
        let ways = explore(preemptions(3), move || {
            let namespace = scene::empty();
            create(&namespace.lock(process(0)).unwrap(), 0, 5);
            if let Some(owner) = left_by {
                mortal::end(2);
                namespace.table().set32(scene::LOCK, owner.packed());
            }
            // Words that are no atomics: loom sees when one's look at them is not behind the other's store.
            let inside = Arc::new((AtomicBool::new(false), UnsafeCell::new(0)));
            let take = {
                let namespace = Arc::clone(&namespace);
                move |cell: u32| {
                    let held = namespace.lock(process(cell)).unwrap();
                    exclusively(&inside.0, || {
                        inside.1.with_mut(|count| {
                            // SAFETY: nobody else has the lock; that is what is tried here.
                            unsafe { *count += 1 }
                        });
                        // A switch of threads, whatever it may be good for.
                        slot_life::update(&held, 0, |image| image.lpid = cell as i32);
                    });
                }
            };
            let other = {
                let take = take.clone();
                thread::spawn(move || take(1))
            };
            take(3);
            other.join().unwrap();
            assert_eq!(namespace.table().get32(scene::LOCK), 0);
            audit(&namespace.lock(process(0)).unwrap());
        });
        println!("two take a lock that is {name}: {ways} ways");
    }
}

/// What `shmget` does, as `registry/shmget.rs` has it: the file is made without the lock, and the key looked for again.
fn make(namespace: &Namespace, cell: u32, key: i32) -> Option<u32> {
    let me = process(cell);
    let held = namespace.lock(me).unwrap();
    if key_index::find_locked(&held, key).is_some() {
        return None;
    }
    let before = slot_life::cursor(&held);
    let slot = derived::next_free_slot(&held, 0, SLOTS).unwrap();
    let after = scene::cursor_behind(slot);
    slot_life::reserve(&held, &scene::new_segment(slot, key), after);
    drop(held);
    let held = namespace.lock(me).unwrap();
    if key_index::find_locked(&held, key).is_some() {
        slot_life::free(&held, slot, Some((before, after)));
        return None;
    }
    slot_life::publish(&held, slot, 900);
    Some(slot)
}

#[test]
fn two_makers_of_a_key_leave_one_segment() {
    explore(0, || {
        let namespace = scene::empty();
        make(&namespace, 0, 5);
        make(&namespace, 1, 6);
    });
    let ways = explore(preemptions(2), || {
        let namespace = scene::empty();
        let other = {
            let namespace = Arc::clone(&namespace);
            thread::spawn(move || make(&namespace, 0, 5))
        };
        let made = [make(&namespace, 1, 5), other.join().unwrap()];
        assert_eq!(made.iter().flatten().count(), 1, "{made:?}");
        let held = namespace.lock(process(2)).unwrap();
        audit(&held);
        assert_eq!(
            key_index::find_locked(&held, 5).map(|found| found.slot),
            made[0].or(made[1])
        );
    });
    println!("two make the same key: {ways} ways");
}

/// What `IPC_RMID` does, and every process that sweeps: each time a file is unlinked, `unlinked` counts it.
fn remove(namespace: &Namespace, cell: u32, key: i32, unlinked: &AtomicUsize) {
    let me = process(cell);
    let held = namespace.lock(me).unwrap();
    if let Some(image) = key_index::find_locked(&held, key) {
        slot_life::destroy(&held, image.slot, slot_life::Last::Claim, What::Removed);
        drop(held);
        unlinked.fetch_add(1, Ordering::Relaxed);
        slot_life::free(&namespace.lock(me).unwrap(), image.slot, None);
    } else if let Some(image) = slot_life::claim_dying(&held, |_| true) {
        drop(held);
        unlinked.fetch_add(1, Ordering::Relaxed);
        slot_life::free(&namespace.lock(me).unwrap(), image.slot, None);
    }
}

#[test]
fn nobody_else_unlinks_what_is_claimed() {
    let run = |cells: [u32; 2]| {
        let namespace = scene::empty();
        create(&namespace.lock(process(0)).unwrap(), 0, 5);
        let unlinked = Arc::new(AtomicUsize::new(0));
        let other = {
            let (namespace, unlinked) = (Arc::clone(&namespace), Arc::clone(&unlinked));
            thread::spawn(move || remove(&namespace, cells[0], 5, &unlinked))
        };
        remove(&namespace, cells[1], 5, &unlinked);
        other.join().unwrap();
        assert_eq!(unlinked.load(Ordering::Relaxed), 1, "unlinkings");
        let held = namespace.lock(process(2)).unwrap();
        audit(&held);
        assert!(!namespace.table().image(0).is_live());
    };
    explore(0, move || run([0, 1]));
    let ways = explore(preemptions(2), move || run([0, 1]));
    println!("two remove the same segment: {ways} ways");
}

/// The children that cells 2 and 3 were for have ended, and nothing of them is held or counted.
fn nobody_is_left(namespace: &Namespace) {
    for cell in [2, 3] {
        assert_eq!(mortal::holders(cell), 0, "somebody has kept a mapping");
        namespace.processes().reap_if_dead(process(1), cell);
    }
    assert_eq!(scene::attaches(namespace), 0);
    audit(&namespace.lock(process(1)).unwrap());
}

/// What a fork does, as `registry/fork.rs` has it, while somebody else looks who is there, and prepares a child of his
/// own.
fn fork_beside_a_looker(parent_returns_first: bool) {
    let namespace = scene::empty();
    create(&namespace.lock(process(0)).unwrap(), 0, 5);
    scene::free_cell(&namespace, 2);
    scene::free_cell(&namespace, 3);
    let (prepared, _) = namespace
        .processes()
        .prepare_child(process(0), None, true)
        .unwrap();
    let cell = prepared.child().cell();
    attach_record::attach(
        &namespace.lock(process(0)).unwrap(),
        0,
        prepared.child(),
        None,
        1,
        None,
    )
    .unwrap();
    mortal::share(cell);
    if parent_returns_first {
        namespace.processes().parent_lets_go(&prepared);
    }
    let [ends, gone] = [(); 2].map(|()| Arc::new(loom::sync::atomic::AtomicBool::new(false)));
    let child = {
        let (namespace, ends, gone) =
            (Arc::clone(&namespace), Arc::clone(&ends), Arc::clone(&gone));
        thread::spawn(move || {
            let me = namespace.processes().child_adopts(&prepared, 102).unwrap();
            assert_eq!(
                mortal::holders(me.cell()),
                1,
                "another holds the child's lock as well"
            );
            // It ends: its last mapping goes.
            ends.store(true, Ordering::Release);
            mortal::unmap(me.cell());
            gone.store(true, Ordering::Release);
        })
    };
    let parent = {
        let namespace = Arc::clone(&namespace);
        thread::spawn(move || {
            if !parent_returns_first {
                namespace.processes().parent_lets_go(&prepared);
            }
        })
    };
    // A look at what is, not at what was.
    let is = |flag: &loom::sync::atomic::AtomicBool| flag.fetch_or(false, Ordering::AcqRel);
    let was_gone = is(&gone);
    for cell in [2, 3] {
        namespace.processes().reap_if_dead(process(1), cell);
    }
    let attaches = scene::attaches(&namespace);
    if was_gone {
        assert_eq!(attaches, 0, "a child that has ended is counted");
    } else if !is(&ends) {
        assert_eq!(attaches, 1, "a child that lives is not counted");
    }
    // The cell that the child has moved out of, as soon as its parent does not hold it any more.
    let moved_out = namespace.table().cell_state(cell).0 == CellState::Free as u32;
    let next = moved_out.then(|| namespace.processes().prepare_child(process(1), None, true));
    child.join().unwrap();
    parent.join().unwrap();
    if let Some(Ok((next, _))) = next {
        let begun = next.child().generation() << 2;
        let stands = scene::handover(&namespace, next.child().cell());
        assert_eq!(
            stands, begun,
            "a late parent has handed over what is another's"
        );
        next.drop_mapping();
    }
    nobody_is_left(&namespace);
}

#[test]
fn a_forked_child_is_counted_as_long_as_it_lives_and_no_longer() {
    // With three, loom lets the parent's exchange come behind the store that begins the next child, though what it has read
    // stands before that: it keeps the order of a word's values only where something else orders who wrote them.
    let at_most = preemptions(2).min(2);
    for parent_returns_first in [false, true] {
        explore(0, move || fork_beside_a_looker(parent_returns_first));
        let ways = explore(at_most, move || fork_beside_a_looker(parent_returns_first));
        let when = if parent_returns_first {
            "before"
        } else {
            "while"
        };
        println!("a parent lets go {when} its child begins: {ways} ways");
    }
}
