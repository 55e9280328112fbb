use super::super::for_tests::{with_file, words};
use super::*;

const MORE: MoreRoom = MoreRoom {
    undos: 1,
    sleepers: 3,
    operations: 5,
};

fn undo(owner: u32, adjust: i16) -> Undo {
    Undo {
        owner,
        pid: 40,
        number: 1,
        adjust,
    }
}

fn sleeper(place: u32, operations: u16) -> Sleeper {
    Sleeper {
        owner: place + 100,
        pid: -7,
        place,
        operations,
        blocked_at: 1,
        alters: place % 2 == 0,
        answer: Answer::Waits,
    }
}

fn operations(count: u16) -> Vec<Operation> {
    let one = |number| Operation {
        number,
        change: -(number as i16) - 1,
        flags: 0x1800,
    };
    (0..count).map(one).collect()
}

/// A copy of a set of three semaphores, with an undo and sleepers of so many operations each.
fn with_sleepers(file: &IpcFile<'_>, owner: u32, counts: [u16; 3]) -> SetBlock {
    let new = file.new_set(words(32768), 5, 3, 77, owner).unwrap();
    let more = MoreRoom {
        operations: counts.into_iter().map(u32::from).sum(),
        ..MORE
    };
    let mut set = file.copy_set(&new, more, owner).unwrap();
    set.set(1, 9, 50);
    set.push_undo(undo(8, -2));
    for (place, count) in (0..).zip(counts) {
        set.push_sleeper(sleeper(place, count), &operations(count));
    }
    set
}

fn places(set: &SetBlock) -> Vec<(u32, Vec<Operation>)> {
    let of = |index| {
        let sleeper = set.sleeper(index);
        let its = (0..sleeper.operations.into()).map(|nth| set.operation(index, nth));
        (sleeper.place, its.collect())
    };
    (0..set.sleepers()).map(of).collect()
}

#[test]
fn a_new_set_has_its_head_zeros_and_nobody() {
    with_file(|file, owner| {
        let set = file.new_set(words(32768), 5, 3, 77, owner).unwrap();
        let facts = set.facts(|words| {
            assert_eq!((words.uid, words.gid, words.mode), (1, 2, 0o640));
            crate::storage::ipc::for_tests::perm(words)
        });
        assert_eq!((facts.key, facts.count), (Key(5), 3));
        assert_eq!((facts.otime, facts.ctime), (0, 77));
        assert_eq!([0, 1, 2].map(|number| set.value(number)), [0; 3]);
        assert_eq!((set.undos(), set.sleepers()), (0, 0));
    });
}

#[test]
fn a_copy_has_what_was_there_and_more_room() {
    with_file(|file, owner| {
        let old = with_sleepers(file, owner, [2, 1, 0]);
        let mut copy = file.copy_set(&old, MORE, owner).unwrap();
        assert_ne!(copy.block().unit, old.block().unit);
        assert_eq!((copy.value(1), copy.pid(1)), (9, 50));
        assert_eq!((copy.undos(), copy.undo(0)), (1, undo(8, -2)));
        assert_eq!(places(&copy), places(&old));
        copy.push_undo(undo(9, 4));
        copy.push_sleeper(sleeper(3, 5), &operations(5));
        assert_eq!((copy.undo(0), copy.undo(1)), (undo(8, -2), undo(9, 4)));
        assert_eq!(copy.sleeper(3), sleeper(3, 5));
        assert_eq!(places(&copy)[..3], places(&old));
        assert_eq!(places(&copy)[3].1, operations(5));
    });
}

#[test]
fn a_sleeper_for_whom_there_is_no_room_changes_nothing() {
    with_file(|file, owner| {
        let mut set = with_sleepers(file, owner, [2, 1, 1]);
        let before = places(&set);
        set.push_sleeper(sleeper(9, 0), &[]);
        assert_eq!(places(&set), before, "there is room for three");
        set.remove_sleeper(0);
        set.push_sleeper(sleeper(9, 1), &operations(1));
        assert_eq!(places(&set), before[1..], "all operations are used still");
    });
}

#[test]
fn who_goes_leaves_the_others_in_their_order_with_their_operations() {
    with_file(|file, owner| {
        let mut set = with_sleepers(file, owner, [2, 3, 1]);
        let before = places(&set);
        set.remove_sleeper(1);
        assert_eq!(places(&set), [before[0].clone(), before[2].clone()]);
        set.remove_sleeper(2);
        assert_eq!(set.sleepers(), 2, "there is no third");
        set.remove_sleeper(0);
        assert_eq!(places(&set), before[2..]);
        // The next copy has the operations of those who are there, and no others.
        let copy = file.copy_set(&set, MoreRoom::default(), owner).unwrap();
        assert_eq!(places(&copy), before[2..]);
        assert_eq!(copy.block.get(8), pair(1, 1));
    });
}

#[test]
fn two_sleepers_change_places_with_their_operations() {
    with_file(|file, owner| {
        let mut set = with_sleepers(file, owner, [2, 3, 1]);
        let before = places(&set);
        set.swap_sleepers(0, 2);
        let swapped = [2, 1, 0].map(|at: usize| before[at].clone());
        assert_eq!(places(&set), swapped);
        set.swap_sleepers(1, 3);
        assert_eq!(places(&set), swapped, "there is no fourth");
    });
}

#[test]
fn the_last_undo_takes_the_place_of_one_that_goes() {
    with_file(|file, owner| {
        let old = with_sleepers(file, owner, [0, 0, 0]);
        let more = MoreRoom { undos: 2, ..MORE };
        let mut set = file.copy_set(&old, more, owner).unwrap();
        set.push_undo(undo(9, 1));
        set.push_undo(undo(10, 2));
        set.swap_remove_undo(3);
        assert_eq!(set.undos(), 3, "there is no fourth");
        set.swap_remove_undo(0);
        assert_eq!(
            (0..set.undos()).map(|at| set.undo(at)).collect::<Vec<_>>(),
            [undo(10, 2), undo(9, 1)]
        );
        assert_eq!(set.sleepers(), 3);
    });
}

#[test]
fn an_answer_is_read_as_it_was_given() {
    with_file(|file, owner| {
        let mut set = with_sleepers(file, owner, [1, 1, 1]);
        let before = places(&set);
        for answer in [
            Answer::Done,
            Answer::Failed(Errno::Eidrm),
            Answer::Failed(Errno::Eagain),
            Answer::Failed(Errno::Erange),
        ] {
            let told = Sleeper {
                answer,
                ..sleeper(1, 1)
            };
            set.set_sleeper(1, told);
            assert_eq!(set.sleeper(1), told);
        }
        assert_eq!(places(&set), before);
    });
}

#[test]
fn a_quiet_copy_has_no_sleepers_and_needs_a_block_that_is_large_enough() {
    with_file(|file, owner| {
        let old = with_sleepers(file, owner, [2, 1, 0]);
        let block = file.take(old.words_of_quiet_copy(2), owner).unwrap();
        let mut copy = old.copy_quiet(block, 2).unwrap();
        assert_eq!((copy.value(1), copy.undo(0)), (9, undo(8, -2)));
        assert_eq!(copy.sleepers(), 0);
        copy.push_undo(undo(9, 1));
        assert_eq!(copy.undos(), 2);
        assert!(copy.is_sound());
        let small = file.take(0, owner).unwrap();
        assert!(old.copy_quiet(small, 2).is_none());
    });
}

#[test]
fn a_block_whose_counts_are_too_large_is_no_set() {
    with_file(|file, owner| {
        let set = with_sleepers(file, owner, [2, 1, 0]);
        for (at, word) in [
            // More semaphores, undos, sleepers or operations than the block has words for.
            (3, pair(0, u32::MAX)),
            (6, pair(0, u32::MAX)),
            (7, pair(0, 1 << 31)),
            (8, pair(0, 1000)),
            // More than there is room for.
            (6, pair(2, 1)),
            (7, pair(4, 3)),
            (8, pair(u32::MAX, 3)),
        ] {
            let before = set.block.get(at);
            set.block.put(at, word);
            assert!(file.set_of(set.block).is_none(), "{at}: {word:#x}");
            set.block.put(at, before);
        }
        assert!(file.set_of(set.block).is_some());
    });
}

#[test]
fn counts_that_grow_behind_the_look_at_them_lead_nowhere_else() {
    with_file(|file, owner| {
        let set = with_sleepers(file, owner, [2, 1, 0]);
        // Somebody else's by now.
        for at in [3, 6, 7, 8] {
            set.block.put(at, u64::MAX);
        }
        assert_eq!((set.count(), set.undos(), set.sleepers()), (3, 1, 3));
        assert_eq!(set.value(3), 0);
        let copy = file.copy_set(&set, MORE, owner).unwrap();
        assert!(copy.is_sound());
        assert_eq!((copy.undos(), copy.sleepers()), (1, 3));
    });
}
