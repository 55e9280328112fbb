//! SEM_UNDO: what a process owes, when it is paid, and what makes it forgotten.

use super::attempt::{Process, find_undo, has_undo};
use super::flags::SEMVMX;
use super::state::{Operation, SetState, Undo};
use super::wake::serve_all;

/// Notes that a process has asked for SEM_UNDO: an undo of 0 for each semaphore that it has none for.
///
/// The process's end stamps the set for it even where the operations fail or are never carried out. A call that fails at once may
/// leave it out; a sleeper needs it, because there is to be room for what it owes when another process serves it.
pub fn note_undo(set: &mut impl SetState, ops: &[Operation], by: Process) {
    for op in ops.iter().filter(|op| has_undo(**op)) {
        if find_undo(set, by.owner, op.number).is_none() {
            set.push_undo(Undo {
                owner: by.owner,
                pid: by.pid,
                number: op.number,
                adjust: 0,
            });
        }
    }
}

/// A process has ended: pays what it owes and takes its sleepers away. Whether anything has changed.
pub fn end_process(set: &mut impl SetState, owner: u32, now: i64) -> bool {
    // Before its debts are paid: a dead sleeper is not served.
    let had_sleepers = drop_sleepers(set, owner);
    let mut had_undos = false;
    let mut index = 0;
    while index < set.undos() {
        let undo = set.undo(index);
        if undo.owner != owner {
            index += 1;
            continue;
        }
        had_undos = true;
        set.swap_remove_undo(index);
        if undo.adjust != 0 {
            // "if this operation would try to decrease a semaphore's value to less than zero, ... Linux ... decreases
            // the semaphore value as far as possible (i.e., to zero)" - man semop(2)
            //
            // The largest value bounds it, too.
            let number = u32::from(undo.number);
            let value = i32::from(set.value(number)) + i32::from(undo.adjust);
            let value = value.clamp(0, i32::from(SEMVMX)) as u16;
            set.set(number, value, undo.pid);
        }
    }
    if had_undos {
        set.set_otime(now);
        serve_all(set, now);
    }
    had_undos || had_sleepers
}

/// SETVAL: no process owes this semaphore anything. The undos of 0 stay, see [`Undo`].
pub fn forget(set: &mut impl SetState, number: u32) {
    forget_where(set, |undo| u32::from(undo.number) == number);
}

/// SETALL: no process owes this set anything.
pub fn forget_all(set: &mut impl SetState) {
    forget_where(set, |_| true);
}

fn forget_where(set: &mut impl SetState, is_meant: impl Fn(&Undo) -> bool) {
    for index in 0..set.undos() {
        let undo = set.undo(index);
        if undo.adjust != 0 && is_meant(&undo) {
            set.set_undo(index, Undo { adjust: 0, ..undo });
        }
    }
}

/// Takes the sleepers of a process away, answered or not. Whether there were any. Nobody can go on because of that.
pub fn drop_sleepers(set: &mut impl SetState, owner: u32) -> bool {
    let before = set.sleepers();
    let mut index = 0;
    while index < set.sleepers() {
        if set.sleeper(index).owner == owner {
            set.remove_sleeper(index);
        } else {
            index += 1;
        }
    }
    set.sleepers() != before
}

#[cfg(test)]
mod tests {
    use super::super::flags::SEM_UNDO;
    use super::*;
    use crate::sysv::for_tests::{NOW, TestSet, flagged, op, process};
    use crate::sysv::sem::{Attempt, set_value, set_values};

    const LATER: i64 = NOW + 5;

    fn undo(number: u16, change: i16) -> Operation {
        flagged(number, change, SEM_UNDO)
    }

    fn done(set: &mut TestSet, by: u32, ops: &[Operation]) {
        assert_eq!(set.semop(by, ops), Ok(Attempt::Done));
    }

    #[test]
    fn the_end_of_a_process_takes_back_what_it_did_with_the_flag_alone() {
        let mut set = TestSet::new(&[5, 5]);
        done(&mut set, 1, &[undo(0, -3), undo(1, 2)]);
        done(&mut set, 1, &[op(0, 3)]);
        done(&mut set, 2, &[undo(1, -1)]);
        assert!(end_process(&mut set, 1, LATER));
        assert_eq!(set.values, [(8, 1), (4, 1)]);
        assert_eq!((set.otime, set.ctime), (LATER, 0));
        assert!(end_process(&mut set, 2, LATER));
        assert_eq!(set.values, [(8, 1), (5, 2)]);
        assert!(!end_process(&mut set, 2, LATER));
    }

    #[test]
    fn a_value_is_cut_at_0_and_at_the_largest() {
        let mut set = TestSet::new(&[0, 32767]);
        done(&mut set, 1, &[undo(0, 3), undo(1, -3)]);
        done(&mut set, 2, &[op(0, -2), op(1, 2)]);
        assert!(end_process(&mut set, 1, LATER));
        assert_eq!(set.numbers(), [0, 32767]);
    }

    #[test]
    fn what_was_undone_by_hand_stamps_the_set_and_no_semaphore() {
        let mut set = TestSet::new(&[1]);
        done(&mut set, 1, &[undo(0, -1)]);
        done(&mut set, 1, &[undo(0, 1)]);
        assert_eq!(set.undos.len(), 1);
        done(&mut set, 2, &[op(0, 1)]);
        assert!(end_process(&mut set, 1, LATER));
        assert_eq!((set.values.as_slice(), set.otime), (&[(2, 2)][..], LATER));
    }

    #[test]
    fn a_sleeper_that_dies_stamps_the_set_if_it_had_the_flag() {
        for (flags, stamped) in [(SEM_UNDO, LATER), (0, 0)] {
            let mut set = TestSet::new(&[0, 0]);
            let sleeps = set.semop(1, &[flagged(0, -1, flags), flagged(1, -1, flags)]);
            assert!(matches!(sleeps, Ok(Attempt::Blocked { at: 0, .. })));
            assert_eq!(set.undos.len(), if flags == 0 { 0 } else { 2 });
            assert!(end_process(&mut set, 1, LATER));
            assert_eq!((set.values[0], set.otime), ((0, 0), stamped));
            assert_eq!((set.undos.len(), set.sleepers.len()), (0, 0));
        }
    }

    #[test]
    fn a_failed_call_with_the_flag_can_be_noted() {
        let mut set = TestSet::new(&[0, 0]);
        note_undo(&mut set, &[undo(0, -1), op(1, 1), undo(0, 0)], process(1));
        assert_eq!(set.undos.len(), 1);
        assert!(end_process(&mut set, 1, LATER));
        assert_eq!(
            (set.values.as_slice(), set.otime),
            (&[(0, 0), (0, 0)][..], LATER)
        );
    }

    #[test]
    fn setval_forgets_what_is_owed_to_one_semaphore_and_setall_all() {
        let owed = |set: &TestSet| set.undos.iter().map(|undo| undo.adjust).collect::<Vec<_>>();
        let mut set = TestSet::new(&[5, 5]);
        done(&mut set, 1, &[undo(0, -3), undo(1, -3)]);
        done(&mut set, 2, &[undo(0, 4)]);
        assert_eq!(owed(&set), [3, 3, -4]);
        set_value(&mut set, 0, 6, 9, LATER);
        assert_eq!(owed(&set), [0, 3, 0]);
        set_values(&mut set, &[1, 2], 9, LATER);
        assert_eq!(owed(&set), [0, 0, 0]);
        assert!(end_process(&mut set, 1, LATER) && end_process(&mut set, 2, LATER));
        assert_eq!(set.values, [(1, 9), (2, 9)]);
    }

    #[test]
    fn only_the_sleepers_of_the_process_are_dropped() {
        let mut set = TestSet::new(&[0]);
        for number in [1, 2, 1, 3] {
            assert!(set.semop(number, &[op(0, -1)]).is_ok());
        }
        assert!(drop_sleepers(&mut set, 1));
        let left: Vec<u32> = set.sleepers.iter().map(|(it, _)| it.owner).collect();
        assert_eq!(left, [2, 3]);
    }
}
