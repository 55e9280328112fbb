use super::super::for_tests::{with_file, words};
use super::*;
use crate::storage::ipc::layout::{CLASSES, OBJECTS};

const CURSOR: CursorWords = (7, 5, 2);

fn entry(slot: u32, key: i32, size: u32) -> Entry {
    Entry {
        id: (OBJECTS * 3 + slot) as i32,
        key,
        size,
        first: 0,
        tag: 0,
    }
}

fn enter(file: &IpcFile<'_>, owner: u32, new: &[Entry]) {
    for entry in new {
        let directory = file.directory(Kind::Set);
        assert_eq!(file.enter(&directory, entry, CURSOR, owner), Ok(true));
    }
}

fn entries(file: &IpcFile<'_>) -> Vec<Entry> {
    let directory = file.directory(Kind::Set);
    let all = (0..directory.count()).map(|at| directory.entry(at));
    all.collect()
}

#[test]
fn entries_stand_by_index_and_are_found_by_index_and_key() {
    with_file(|file, owner| {
        let [one, two, last] = [entry(9, 0, 3), entry(2, -1, 4), entry(OBJECTS - 1, 7, 5)];
        enter(file, owner, &[one, last, two]);
        assert_eq!(entries(file), [two, one, last]);
        let directory = file.directory(Kind::Set);
        assert_eq!(directory.find_slot(9), Some(one));
        assert_eq!(directory.find_slot(OBJECTS - 1), Some(last));
        assert_eq!(directory.find_slot(3), None);
        assert_eq!(directory.find_key(-1), Some(two));
        assert_eq!(directory.find_key(8), None);
        assert_eq!((directory.total(), directory.cursor()), (12, Some(CURSOR)));
        assert_eq!(file.directory(Kind::Queue).count(), 0);
    });
}

#[test]
fn who_leaves_is_gone_and_the_others_stay() {
    with_file(|file, owner| {
        let [one, two] = [entry(9, 1, 3), entry(2, 2, 4)];
        enter(file, owner, &[one, two]);
        let leave = |id| file.leave(&file.directory(Kind::Set), id, owner);
        assert_eq!(leave(two.id), Ok(true));
        assert_eq!(leave(two.id), Ok(false));
        assert_eq!(entries(file), [one]);
        let directory = file.directory(Kind::Set);
        assert_eq!((directory.total(), directory.cursor()), (3, Some(CURSOR)));
    });
}

#[test]
fn a_directory_that_has_changed_is_not_exchanged_and_its_copy_is_given_back() {
    with_file(|file, owner| {
        let old = file.directory(Kind::Set);
        enter(file, owner, &[entry(1, 1, 1)]);
        assert!(!old.is_still());
        assert_eq!(file.enter(&old, &entry(2, 2, 2), CURSOR, owner), Ok(false));
        assert_eq!(entries(file), [entry(1, 1, 1)]);
        let again = file.directory(Kind::Set);
        assert_eq!(
            file.enter(&again, &entry(1, 3, 1), CURSOR, owner),
            Ok(false),
            "the index is taken"
        );
        assert_eq!(file.leave(&old, entry(1, 1, 1).id, owner), Ok(false));
        // As many blocks as before are in use: the directory's own.
        let taken = |file: &IpcFile<'_>| {
            let mut taken = 0;
            file.each_block(0..CLASSES, &mut |block, _| {
                taken += u32::from(file.holding(block).owner() != 0);
                Some(())
            });
            taken
        };
        assert_eq!(taken(file), 1);
    });
}

#[test]
fn a_count_that_is_too_large_ends_with_the_block() {
    with_file(|file, owner| {
        enter(file, owner, &[entry(1, 1, 1), entry(2, 2, 2)]);
        let block = file.directory(Kind::Set).block().unwrap();
        block.put(1, u64::MAX);
        let directory = file.directory(Kind::Set);
        let room = (block.len_words() - HEAD) / ENTRY;
        assert_eq!(directory.count() as usize, room);
        assert_eq!(directory.find_key(99), None);
        assert!(!directory.is_right(&[entry(1, 1, 1), entry(2, 2, 2)]));
    });
}

#[test]
fn a_root_that_leads_to_no_block_is_an_empty_directory() {
    with_file(|file, owner| {
        enter(file, owner, &[entry(1, 1, 1)]);
        let root = file.directory_root(Kind::Set);
        assert!(root.change(root.seen(), u32::MAX));
        let directory = file.directory(Kind::Set);
        assert_eq!((directory.count(), directory.cursor()), (0, None));
        assert_eq!(directory.find_slot(1), None);
        assert_eq!(directory.find_key(1), None);
    });
}

#[test]
fn what_a_killed_maker_or_remover_has_left_is_finished() {
    with_file(|file, owner| {
        let set = file
            .new_set(words(entry(4, 0, 0).id), 1, 2, 0, owner)
            .unwrap();
        let root = file.root_made(Kind::Set, 4).unwrap();
        let made = Entry {
            first: set.block().unit,
            tag: root.seen().tag(),
            ..entry(4, 1, 2)
        };
        enter(file, owner, &[made]);
        let finish = || {
            let found = file.finish(Kind::Set, &file.directory(Kind::Set), &made, owner);
            found.unwrap().map(|root| root.seen().unit())
        };
        assert_eq!(finish(), Some(made.first), "the root is set");
        assert_eq!(finish(), Some(made.first));
        assert!(root.change(root.seen(), 0));
        assert_eq!(finish(), None);
        assert_eq!(entries(file), [], "it is taken out");
        let nowhere = Entry { id: -1, ..made };
        let found = file.finish(Kind::Set, &file.directory(Kind::Set), &nowhere, owner);
        assert!(matches!(found, Err(StorageError::Damaged { .. })));
    });
}
