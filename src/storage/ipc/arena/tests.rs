use super::super::for_tests::{DEAD, with_file};
use super::*;

#[test]
fn sizes_are_powers_of_two() {
    for (bytes, class) in [
        (1, 0),
        (64, 0),
        (65, 1),
        (128, 1),
        (129, 2),
        (256, 2),
        (4 << 20, 16),
        ((4 << 20) + 1, 17),
    ] {
        assert_eq!(class_of(bytes), class, "{bytes}");
    }
}

#[test]
fn a_block_has_room_and_a_holder_and_comes_again_when_it_was_given_back() {
    with_file(|file, owner| {
        for words in [0, 6, 7, 100, 1000, 40_000] {
            let block = file.take(words, owner).unwrap();
            let holding = file.holding(block);
            assert!(block.len_words() >= words, "{words}");
            assert_eq!(holding.owner(), owner);
            assert_eq!(block.words.len_bytes(), (UNIT as usize) << block.class());
            file.give(block);
            assert_eq!(file.holding(block).owner(), 0);
            let again = file.take(words, DEAD).unwrap();
            assert_eq!(again.unit, block.unit);
            let now = file.holding(again);
            assert_eq!(now.owner(), DEAD);
            assert_eq!(now.0 >> 32, (holding.0 >> 32) + 2, "its tag grows");
        }
    });
}

#[test]
fn what_was_taken_behind_an_exchange_nobody_claims_any_more() {
    const LOSER: u32 = DEAD;
    with_file(|file, owner| {
        let text = file.take(7, LOSER).unwrap();
        let seen = file.holding(text);
        // The loser claims it later than the winner, and once more when it comes to it behind the exchange.
        file.claim(text, seen, owner);
        file.claim(text, seen, LOSER);
        assert_eq!(file.holding(text).owner(), LOSER);
        let taken = file.take_claimed(text, seen, owner).unwrap();
        file.claim(text, seen, LOSER);
        assert_eq!(file.holding(text), taken);
        assert_eq!(taken.owner(), owner);
        assert!(file.give_replaced(text, taken));
        // Given back, as one that a dead process has left, between the exchange and the taking.
        assert_eq!(file.take_claimed(text, seen, owner), None);
        assert_eq!(file.holding(text).owner(), 0);
    });
}

#[test]
fn what_no_block_can_hold_is_refused() {
    with_file(|file, owner| {
        let most = EXTENT as usize / 8 - HEAD_WORDS;
        assert_eq!(file.take(most, owner).unwrap().len_words(), most);
        let refused = file.take(most + 1, owner);
        assert!(matches!(refused, Err(StorageError::TableFull { .. })));
    });
}

#[test]
fn numbers_that_are_no_block_lead_to_none() {
    with_file(|file, owner| {
        let block = file.take(30, owner).unwrap();
        let found = file.block(block.unit).unwrap();
        assert_eq!(found.words.len_bytes(), 256);
        let behind = EXTENT / UNIT * EXTENTS;
        for unit in [0, 1, SLAB / UNIT - 1, behind - 1, behind, u32::MAX] {
            assert!(file.block(unit).is_none(), "{unit}");
        }
        // Its size is none; or one for which it begins at a wrong place.
        for class in [u64::from(CLASSES), 0xff, u64::from(CLASSES - 1)] {
            block.words.word64(1).store(class, Ordering::Relaxed);
            assert!(file.block(block.unit).is_none(), "{class}");
        }
    });
}

#[test]
fn a_block_that_was_taken_again_is_neither_claimed_nor_given_back() {
    with_file(|file, owner| {
        let block = file.take(0, owner).unwrap();
        let before = file.holding(block);
        let claimed = file.claim(block, before, DEAD);
        assert_eq!(file.holding(block).owner(), DEAD);
        // As another process would that has claimed it meanwhile.
        assert!(file.give_replaced(block, before));
        assert!(!file.give_replaced(block, claimed));
        assert_eq!(file.take(0, owner).unwrap().unit, block.unit);
        let now = file.holding(block);
        assert!(file.give_held(block, claimed).is_err());
        assert!(!file.give_replaced(block, claimed));
        file.claim(block, claimed, DEAD);
        assert!(file.holding(block) == now, "it is another's");
    });
}

#[test]
fn a_block_is_kept_by_its_holder_alone() {
    with_file(|file, owner| {
        let block = file.take(0, owner).unwrap();
        let holding = file.holding(block);
        assert!(file.keep_replaced(block, holding, owner));
        assert!(file.holding(block) == holding);
        let class = block.class();
        assert!(file.kept_block(block.unit, class, owner).is_some());
        assert!(file.kept_block(block.unit, class, DEAD).is_none());
        assert!(file.kept_block(0, class, owner).is_none());
        assert!(file.keep_replaced(block, holding, DEAD));
        assert_eq!(file.holding(block).owner(), DEAD);
        assert!(
            !file.keep_replaced(block, holding, DEAD),
            "its tag is another"
        );
    });
}

#[test]
fn a_stack_of_free_blocks_that_leads_nowhere_is_as_an_empty_one() {
    with_file(|file, owner| {
        let block = file.take(0, owner).unwrap();
        let head = file.header64(offset_of!(Header, free));
        for unit in [1, u64::from(u32::MAX)] {
            head.store(7 << 32 | unit, Ordering::Relaxed);
            let other = file.take(0, owner).unwrap();
            assert_ne!(other.unit, block.unit);
            assert!(file.block(other.unit).is_some());
        }
        // A chain that leads back to itself is walked as long as the caller likes.
        block
            .words
            .word64(1)
            .store(u64::from(block.unit) << 32, Ordering::Relaxed);
        head.store(9 << 32 | u64::from(block.unit), Ordering::Relaxed);
        let mut count = 0;
        let seen = file.each_free(0, &mut |unit| {
            count += 1;
            unit == block.unit && count < 5
        });
        assert_eq!((count, seen >> 32), (5, 9));
        assert!(file.give_up_free(0, seen));
        assert!(!file.give_up_free(0, seen), "it is another head by now");
    });
}
