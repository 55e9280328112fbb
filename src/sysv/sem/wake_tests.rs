//! Who is served, as Linux 6.18 served sleepers in the same situations.

use super::flags::{IPC_NOWAIT, SEM_UNDO};
use super::{Question, ask, drop_sleepers, end_process, set_value, set_values};
use crate::sysv::Errno;
use crate::sysv::for_tests::{NOW, TestSet, flagged, op, process};
use crate::sysv::sem::{Attempt, Operation, operate};

/// Who changes the set while others sleep.
const WAKER: u32 = 100;

/// A set with sleepers: the first one is process 1.
fn asleep(values: &[u16], sleepers: &[&[Operation]]) -> TestSet {
    let mut set = TestSet::new(values);
    for (number, ops) in (1..).zip(sleepers) {
        let attempt = set.semop(number, ops);
        assert!(matches!(attempt, Ok(Attempt::Blocked { .. })), "{ops:?}");
    }
    set
}

/// What a call that succeeds serves.
fn served_by(set: &mut TestSet, ops: &[Operation]) -> Vec<u32> {
    assert_eq!(set.semop(WAKER, ops), Ok(Attempt::Done));
    set.served()
}

/// GETNCNT and GETZCNT of every semaphore.
fn counts(set: &TestSet) -> (Vec<i32>, Vec<i32>) {
    let all = |question| {
        (0..set.values.len() as u32)
            .map(|number| ask(set, number, question))
            .collect()
    };
    (all(Question::Growth), all(Question::Zero))
}

#[test]
fn the_oldest_is_served_first() {
    let take: &[Operation] = &[op(0, -1)];
    let mut set = asleep(&[0], &[take, take, take]);
    assert_eq!(counts(&set), (vec![3], vec![0]));
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [1]);
    assert_eq!(served_by(&mut set, &[op(0, 2)]), [2, 3]);
    assert_eq!(set.numbers(), [0]);
}

#[test]
fn who_wants_much_waits_while_younger_ones_pass() {
    let sleepers: &[&[Operation]] = &[&[op(0, -2)], &[op(0, -1)]];
    let mut set = asleep(&[0], sleepers);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [2]);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), []);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [1]);
    // Enough for the older at once: it alone.
    let mut set = asleep(&[0], sleepers);
    assert_eq!(served_by(&mut set, &[op(0, 2)]), [1]);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [2]);
}

#[test]
fn what_was_released_is_the_sleepers_and_not_the_releasers() {
    let mut set = asleep(&[0], &[&[op(0, -1)]]);
    assert_eq!(set.semop(WAKER, &[op(0, 1)]), Ok(Attempt::Done));
    let again = set.semop(WAKER, &[flagged(0, -1, IPC_NOWAIT)]);
    assert_eq!(again, Err(Errno::Eagain));
    assert_eq!(set.values, [(0, 1)], "the sleeper's process id");
    assert_eq!(set.served(), [1]);
}

#[test]
fn zero_waiters_are_tried_before_and_between_alterers() {
    let wait: &[Operation] = &[op(0, 0)];
    // 1 and 2 makes 0 by the sleeper, which wakes the zero-waiter.
    let mut set = asleep(&[1], &[wait, &[op(0, -2)]]);
    assert_eq!(counts(&set), (vec![1], vec![1]));
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [2, 1]);
    let mut set = asleep(&[1], &[wait, wait]);
    assert_eq!(served_by(&mut set, &[op(0, -1)]), [1, 2]);
    assert_eq!(set.values, [(0, 2)], "the last zero-waiter's process id");
}

#[test]
fn a_value_that_is_zero_within_an_array_alone_wakes_nobody() {
    let mut set = asleep(&[2], &[&[op(0, 0)]]);
    assert_eq!(served_by(&mut set, &[op(0, -2), op(0, 2)]), []);
}

#[test]
fn of_two_in_the_lock_idiom_one_gets_the_lock() {
    let lock: &[Operation] = &[op(0, 0), op(0, 1)];
    let mut set = asleep(&[1], &[lock, lock]);
    assert_eq!(counts(&set), (vec![0], vec![2]));
    assert_eq!(served_by(&mut set, &[op(0, -1)]), [1]);
    assert_eq!(set.numbers(), [1]);
    assert_eq!(served_by(&mut set, &[op(0, -1)]), [2]);
}

#[test]
fn a_younger_zero_waiter_goes_before_the_lock_idiom() {
    let mut set = asleep(&[1], &[&[op(0, 0), op(0, 1)], &[op(0, 0)]]);
    assert_eq!(served_by(&mut set, &[op(0, -1)]), [2, 1]);
}

#[test]
fn a_simple_sleeper_passes_a_complex_one_that_needs_more() {
    let mut set = asleep(&[0, 0], &[&[op(0, -1), op(1, -1)], &[op(0, -1)]]);
    assert_eq!(counts(&set), (vec![2, 0], vec![0, 0]));
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [2]);
    assert_eq!(served_by(&mut set, &[op(0, 1), op(1, 1)]), [1]);
}

#[test]
fn simple_and_complex_stand_in_one_queue() {
    let take: &[Operation] = &[op(0, -1)];
    let mut set = asleep(&[0, 1], &[take, &[op(0, -1), op(1, -1)], take]);
    for number in [1, 2, 3] {
        assert_eq!(served_by(&mut set, &[op(0, 1)]), [number]);
    }
}

#[test]
fn a_complex_one_that_was_served_lets_older_ones_try_again() {
    let mut set = asleep(&[0, 0], &[&[op(1, -1)], &[op(0, -1), op(1, 1)]]);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [2, 1]);
    let both: &[Operation] = &[op(1, -1), op(2, -1)];
    let mut set = asleep(&[0, 0, 1], &[both, &[op(0, -1), op(1, 1)], both]);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [2, 1]);
    assert_eq!(set.numbers(), [0, 0, 0]);
}

#[test]
fn setval_and_setall_serve_as_many_as_they_can() {
    let take: &[Operation] = &[op(0, -1)];
    let mut set = asleep(&[0], &[take, take, take]);
    set_value(&mut set, 0, 2, 7, NOW);
    assert_eq!(set.served(), [1, 2]);
    assert_eq!((set.otime, set.ctime), (NOW, NOW));
    let mut set = asleep(&[0, 0, 0], &[&[op(2, -1)], &[op(0, -1)], &[op(1, -1)]]);
    set_values(&mut set, &[1, 1, 1], 7, NOW);
    let mut served = set.served();
    served.sort_unstable();
    assert_eq!(served, [1, 2, 3]);
    assert_eq!(set.values, [(0, 2), (0, 3), (0, 1)]);
}

#[test]
fn with_a_complex_sleeper_later_semaphores_come_first() {
    let mut set = asleep(
        &[0, 0, 0],
        &[
            &[op(2, -1)],
            &[op(0, -1)],
            &[op(1, -1)],
            &[op(0, -9), op(1, -9)],
        ],
    );
    set_values(&mut set, &[1, 1, 1], 7, NOW);
    assert_eq!(set.served(), [1, 3, 2]);
    assert_eq!(counts(&set), (vec![1, 0, 0], vec![0, 0, 0]));
}

#[test]
fn merged_queues_keep_the_order_of_arrival_of_each_semaphore() {
    let mut set = TestSet::new(&[0, 9, 0, 0]);
    let order = |set: &TestSet| {
        set.sleepers
            .iter()
            .map(|(it, _)| it.place)
            .collect::<Vec<_>>()
    };
    for (number, operation) in [
        (1, op(2, -1)),
        (2, op(0, -1)),
        (3, op(1, 0)),
        (4, op(3, -1)),
        (5, op(2, -1)),
        (6, op(0, -1)),
    ] {
        assert!(set.semop(number, &[operation]).is_ok());
    }
    assert!(set.semop(7, &[op(0, 1), op(1, -9), op(3, -1)]).is_ok());
    assert_eq!(order(&set), [4, 1, 3, 5, 2, 6, 7]);
    // The next ones stand behind the complex one, and no other merges anything.
    assert!(set.semop(8, &[op(3, -1)]).is_ok());
    assert!(set.semop(9, &[op(0, -1), op(3, -1)]).is_ok());
    assert_eq!(order(&set), [4, 1, 3, 5, 2, 6, 7, 8, 9]);
    let numbers: Vec<u16> = set.sleepers.iter().map(|(_, ops)| ops[0].number).collect();
    assert_eq!(numbers, [3, 2, 1, 2, 0, 0, 0, 3, 0]);
}

#[test]
fn a_complex_zero_waiter_between_simple_ones_sees_what_the_last_semaphore_left() {
    // Of semaphore 1 first: then the zero-waiter is tried when semaphore 0 is not yet 0. The other way round it would fail
    // for its second operation.
    let zeros: &[Operation] = &[op(0, 0), flagged(1, 0, IPC_NOWAIT)];
    let mut set = TestSet::new(&[0, 0]);
    for (number, ops) in [(1, op(0, -3)), (2, op(1, -3))] {
        assert!(set.semop(number, &[ops]).is_ok());
    }
    assert_eq!(served_by(&mut set, &[op(0, 1), op(1, 1)]), []);
    assert!(set.semop(3, zeros).is_ok());
    set_values(&mut set, &[3, 3], 7, NOW);
    assert_eq!(set.served(), [2, 1, 3]);
}

#[test]
fn a_try_that_ends_in_an_error_ends_the_sleep() {
    let mut set = asleep(&[0, 0], &[&[op(0, -1), flagged(1, -1, IPC_NOWAIT)]]);
    assert_eq!(set.semop(WAKER, &[op(0, 1)]), Ok(Attempt::Done));
    assert_eq!(set.answers(), [(1, Some(Errno::Eagain))]);
    assert_eq!(set.numbers(), [1, 0]);

    let mut set = asleep(&[0, 0], &[&[op(0, -1), op(1, 1)]]);
    set_value(&mut set, 1, 32767, 7, NOW);
    assert_eq!(set.answers(), []);
    assert_eq!(set.otime, 0);
    assert_eq!(set.semop(WAKER, &[op(0, 1)]), Ok(Attempt::Done));
    assert_eq!(set.answers(), [(1, Some(Errno::Erange))]);
    assert_eq!(set.values, [(1, 100), (32767, 7)]);
}

#[test]
fn a_failed_sleeper_does_not_keep_younger_ones_from_their_turn() {
    let mut set = asleep(
        &[0, 0],
        &[&[op(0, -1), flagged(1, -1, IPC_NOWAIT)], &[op(0, -1)]],
    );
    assert_eq!(set.semop(WAKER, &[op(0, 1)]), Ok(Attempt::Done));
    assert_eq!(set.answers(), [(1, Some(Errno::Eagain)), (2, None)]);
}

#[test]
fn counts_follow_the_operation_that_blocks_at_the_last_try() {
    let mut set = asleep(&[0, 0], &[&[op(0, -1), op(1, -1)]]);
    assert_eq!(counts(&set), (vec![1, 0], vec![0, 0]));
    assert_eq!(served_by(&mut set, &[op(0, 1)]), []);
    assert_eq!(counts(&set), (vec![0, 1], vec![0, 0]));
    assert_eq!(set.numbers(), [1, 0]);
    // A zero-waiter is tried when something has become 0, and not when something has grown.
    let mut set = asleep(&[1, 1], &[&[op(0, 0), op(1, 0)]]);
    assert_eq!(counts(&set), (vec![0, 0], vec![1, 0]));
    assert_eq!(served_by(&mut set, &[op(0, -1)]), []);
    assert_eq!(counts(&set), (vec![0, 0], vec![0, 1]));
    assert_eq!(served_by(&mut set, &[op(0, 1)]), []);
    assert_eq!(counts(&set), (vec![0, 0], vec![0, 1]));
}

#[test]
fn an_answered_sleeper_counts_no_more_and_is_not_served_again() {
    let mut set = asleep(&[0], &[&[op(0, -1)]]);
    for value in [0, 1] {
        assert_eq!(set.semop(WAKER, &[op(0, 1)]), Ok(Attempt::Done));
        assert_eq!(set.numbers(), [value]);
        assert_eq!(counts(&set), (vec![0], vec![0]));
    }
}

#[test]
fn a_dead_sleeper_is_passed() {
    let take: &[Operation] = &[op(0, -1)];
    let mut set = asleep(&[0], &[take, take]);
    assert!(end_process(&mut set, 1, NOW));
    assert_eq!(set.otime, 0);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [2]);
    assert!(!drop_sleepers(&mut set, 2));
}

#[test]
fn who_serves_notes_what_the_sleeper_owes() {
    let mut set = asleep(&[0], &[&[flagged(0, -1, SEM_UNDO)]]);
    assert_eq!(served_by(&mut set, &[op(0, 1)]), [1]);
    assert_eq!(set.undos.len(), 1);
    assert!(end_process(&mut set, 1, NOW));
    assert_eq!(set.values, [(1, 1)]);
    assert!(!end_process(&mut set, 1, NOW));
}

#[test]
fn an_undo_serves_the_next() {
    let lock: &[Operation] = &[flagged(0, -1, SEM_UNDO)];
    let mut set = TestSet::new(&[1]);
    for number in 1..4 {
        assert!(set.semop(number, lock).is_ok());
    }
    for (dead, next) in [(1, vec![2]), (2, vec![3]), (3, vec![])] {
        assert!(end_process(&mut set, dead, NOW));
        assert_eq!(set.served(), next);
    }
    assert_eq!(set.values, [(1, 3)]);
    assert_eq!(set.undos, []);
}

/// A small generator of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn operations(&mut self) -> Vec<Operation> {
        let count = [1, 1, 1, 2, 3][self.below(5) as usize];
        let one = |random: &mut Random| {
            let flags = [0, 0, 0, IPC_NOWAIT][random.below(4) as usize]
                | [0, SEM_UNDO][random.below(2) as usize];
            let change = [-2, -1, -1, 0, 1, 1, 2, 32766][random.below(8) as usize];
            flagged(random.below(3) as u16, change, flags)
        };
        (0..count).map(|_| one(self)).collect()
    }
}

#[test]
fn after_any_calls_nobody_sleeps_who_could_go_on_and_all_sums_are_right() {
    for seed in 1..=if cfg!(miri) { 2 } else { 400 } {
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let mut set = TestSet::new(&[1, 0, 2]);
        // What each process has added, beside what was set and paid.
        let mut sums = [1i64, 0, 2];
        for _ in 0..60 {
            let number = 1 + random.below(6) as u32;
            if random.below(12) == 0 {
                for undo in set.undos.iter().filter(|undo| undo.owner == number) {
                    let sum = &mut sums[usize::from(undo.number)];
                    *sum = (*sum + i64::from(undo.adjust)).clamp(0, 32767);
                }
                end_process(&mut set, number, NOW);
            } else if !set.sleepers.iter().any(|(it, _)| it.owner == number) {
                let ops = random.operations();
                if set.semop(number, &ops) == Ok(Attempt::Done) {
                    for op in &ops {
                        sums[usize::from(op.number)] += i64::from(op.change);
                    }
                }
            }
            let asleep = set.sleepers.clone();
            for (place, errno) in set.answers() {
                let ops = asleep.iter().find(|(it, _)| it.place == place);
                for op in ops.iter().flat_map(|(_, ops)| ops) {
                    sums[usize::from(op.number)] += match errno {
                        None => i64::from(op.change),
                        Some(_) => 0,
                    };
                }
            }
            let values: Vec<i64> = set.numbers().into_iter().map(i64::from).collect();
            assert_eq!(values, sums, "seed {seed}");
            for (sleeper, ops) in &set.sleepers {
                let attempt = operate(&mut set.clone(), ops, process(sleeper.owner), NOW);
                // A zero-waiter's operations are not tried when a value grows, so one with IPC_NOWAIT may block by now.
                let sleeps_on = matches!(attempt, Ok(Attempt::Blocked { no_wait, at })
                    if !sleeper.alters || !no_wait && at == sleeper.blocked_at);
                assert!(sleeps_on, "seed {seed}: {sleeper:?} {ops:?} of {set:?}");
            }
        }
    }
}
