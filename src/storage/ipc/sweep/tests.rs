use super::super::for_tests::{DEAD, with_file, words};
use super::*;
use crate::storage::ipc::{MoreQueueRoom, MoreRoom};
use crate::sysv::msg::{Message, Receiver};
use crate::sysv::sem::{Answer, Sleeper};

fn owner_of(file: &IpcFile<'_>, unit: u32) -> u32 {
    file.holding(file.block(unit).unwrap()).owner()
}

#[test]
fn the_blocks_of_the_dead_come_back_and_those_of_the_living_stay() {
    with_file(|file, me| {
        let units = |owner| [0, 20, 500].map(|words| file.take(words, owner).unwrap().unit);
        let (dead, living) = (units(DEAD), units(me));
        file.sweep();
        assert_eq!(dead.map(|unit| owner_of(file, unit)), [0; 3]);
        assert_eq!(living.map(|unit| owner_of(file, unit)), [me; 3]);
        assert_eq!(file.take(20, me).unwrap().unit, dead[1]);
        file.sweep();
        assert_eq!(owner_of(file, dead[1]), me, "it has come back once");
    });
}

#[test]
fn what_an_object_of_the_dead_leads_to_stays() {
    with_file(|file, _| {
        let text = || file.new_text(8, DEAD).unwrap().unit;
        let (queued, handed_over) = (text(), text());
        let message = |text| Message {
            mtype: 1,
            len: 8,
            text,
        };
        let new = file.new_queue(words(0), 1, 100, 0, DEAD).unwrap();
        let more = MoreQueueRoom {
            messages: 1,
            receivers: 1,
            senders: 0,
        };
        let mut queue = file.copy_queue(&new, more, DEAD).unwrap();
        queue.push_message(message(queued));
        queue.push_receiver(Receiver {
            owner: 0,
            tid: 1,
            place: 0,
            mtype: 0,
            room: 8,
            flags: 0,
            answer: ReceiverAnswer::Got(message(handed_over)),
        });
        let root = file.root_made(Kind::Queue, 3).unwrap();
        assert!(root.change(root.seen(), queue.block().unit));
        file.sweep();
        assert_eq!(owner_of(file, new.block().unit), 0, "nothing leads to it");
        for unit in [queue.block().unit, queued, handed_over] {
            assert_eq!(owner_of(file, unit), DEAD);
        }
        // With the queue goes what it led to.
        assert!(root.change(root.seen(), 0));
        file.sweep();
        for unit in [queue.block().unit, queued, handed_over] {
            assert_eq!(owner_of(file, unit), 0);
        }
    });
}

#[test]
fn an_object_that_was_entered_and_whose_root_is_not_set_stays() {
    with_file(|file, me| {
        let set = file.new_set(words(2), 1, 1, 0, DEAD).unwrap();
        let root = file.root_made(Kind::Set, 2).unwrap();
        let entry = Entry {
            id: 2,
            key: 1,
            size: 1,
            first: set.block().unit,
            tag: root.seen().tag(),
        };
        let directory = file.directory(Kind::Set);
        assert_eq!(file.enter(&directory, &entry, (0, 0, 0), me), Ok(true));
        file.sweep();
        assert_eq!(owner_of(file, entry.first), DEAD);
        // Behind that its first block is one as others.
        assert!(root.change(root.seen(), 0));
        file.sweep();
        assert_eq!(owner_of(file, entry.first), 0);
    });
}

#[test]
fn a_removed_set_ends_with_its_last_sleeper() {
    with_file(|file, me| {
        let new = file.new_set(words(1), 1, 1, 0, me).unwrap();
        let more = MoreRoom {
            sleepers: 1,
            ..MoreRoom::default()
        };
        let mut set = file.copy_set(&new, more, me).unwrap();
        let sleeper = Sleeper {
            owner: 0,
            pid: 1,
            place: 0,
            operations: 0,
            blocked_at: 0,
            alters: false,
            answer: Answer::Done,
        };
        set.push_sleeper(sleeper, &[]);
        let root = file.root_made(Kind::Set, 1).unwrap();
        assert!(root.change(root.seen(), set.block().unit));
        // Something is to be looked for.
        file.take(0, DEAD).unwrap();
        file.sweep();
        assert_eq!(root.seen().unit(), set.block().unit, "it is no removed one");
        set.set_removed();
        file.take(0, DEAD).unwrap();
        file.sweep();
        assert_eq!(root.seen().unit(), 0);
        assert_eq!(owner_of(file, set.block().unit), 0);
    });
}

#[test]
fn new_blocks_of_a_size_are_wanted_where_the_living_have_most_of_it() {
    with_file(|file, me| {
        let class = Block::class_for(500);
        let in_a_slab = (SLAB / UNIT) >> class;
        let mut units = Vec::new();
        for _ in 0..8 * in_a_slab {
            units.push(file.take(500, me).unwrap().unit);
        }
        assert_eq!(file.sweep_and_want(class), 2, "a quarter of eight slabs");
        // What the dead have is there to be taken, whether this sweep or another one has given it back.
        for &unit in units.iter().take(units.len() / 2) {
            file.give(file.block(unit).unwrap());
        }
        for _ in 0..in_a_slab {
            file.take(500, DEAD).unwrap();
        }
        assert_eq!(file.sweep_and_want(class), 0);
        assert_eq!(file.sweep_and_want(class), 0);
    });
}
