//! semop(2), semtimedop(2): which operations are refused, and what they do.
//!
//! The order: [`check_operations_count`]; the operations are read (`EFAULT`); the identifier is parsed; [`check_limit`]; the
//! set is looked up; [`check_operations`]; then [`operate`], and where it cannot go on [`would_block`] or [`sleep`].

use super::attempt::{Asked, Attempt, Process, Weighed, attempt, blocked, owe, weigh};
use super::flags::{READ, WRITE};
use super::limits::SemLimits;
use super::state::{Operation, SetPerm, SetState, Sleeper};
use super::undo::note_undo;
use super::wake::{merge_queues, serve};
use crate::sysv::ipc::{Caller, Refusal, Ruling, may_access, refusal};

/// How many operations a call has, if it may have them.
pub fn check_operations_count(count: u64, limits: &SemLimits) -> Ruling<u32> {
    // The system call takes 32 bits, and compares them without a sign: a limit of −1 is none.
    let nsops = count as u32;
    if nsops > limits.semopm as u32 {
        // "The argument nsops is greater than SEMOPM, the maximum number of operations allowed per system call."
        // - man semop(2)
        return Err(refusal!(
            E2big,
            [nsops, semopm = limits.semopm],
            "{nsops} operations asked, semopm is {}",
            semopm as i32
        ));
    }
    if nsops == 0 {
        // "... or nsops has a nonpositive value." - man semop(2)
        return Err(refusal!(Einval, [], "a call needs at least one operation"));
    }
    if nsops > u32::from(u16::MAX) {
        // Divergence: without a limit the kernel takes as many as it has memory for.
        return Err(refusal!(
            Enomem,
            [nsops],
            "{nsops} operations asked, a sleeper has room for {}",
            u16::MAX
        ));
    }
    Ok(nsops)
}

/// How many nanoseconds a call may sleep.
pub fn check_limit(secs: i64, nanos: i64) -> Ruling<u64> {
    const NANOS: u64 = 1_000_000_000;
    match (u64::try_from(secs), u64::try_from(nanos)) {
        (Ok(secs), Ok(nanos)) if nanos < NANOS => {
            Ok(secs.saturating_mul(NANOS).saturating_add(nanos))
        }
        // The manual is silent: what is no time is refused.
        _ => Err(refusal!(
            Einval,
            [secs, nanos],
            "{} seconds and {} nanoseconds are no time limit",
            secs as i64,
            nanos as i64
        )),
    }
}

/// Whether any of the operations may change a value.
#[inline]
pub fn alters(ops: &[Operation]) -> bool {
    ops.iter().any(|op| op.change != 0)
}

/// Whether the caller may do that to the set.
#[inline]
pub fn check_operations(set: &SetPerm, ops: &[Operation], caller: &impl Caller) -> Ruling<()> {
    if let Some(op) = ops.iter().find(|op| u32::from(op.number) >= set.count) {
        // "For some operation the value of sem_num is less than 0 or greater than or equal to the number of semaphores in the
        // set." - man semop(2)
        return Err(refusal!(
            Efbig,
            [number = op.number, id = set.perm.id.raw(), has = set.count],
            "there is no semaphore {number}, semaphore set {id} has {has}"
        ));
    }
    // A caller that may write need not be able to read, though other operations of the call wait for zero.
    may_access(&set.perm, if alters(ops) { WRITE } else { READ }, caller)
}

/// Tries the operations of one call. If they can go on, everything is changed, and the sleepers that can go on because of
/// that are served. If not, nothing is.
#[inline]
pub fn operate(
    set: &mut impl SetState,
    ops: &[Operation],
    by: Process,
    now: i64,
) -> Ruling<Attempt> {
    let [op] = ops else {
        return operate_array(set, ops, by, now);
    };
    let Weighed::Fits { value, undo } = weigh(set, *op, by.owner)? else {
        return Ok(blocked(*op, 0));
    };
    if let Some((place, adjust)) = undo {
        owe(set, op.number, place, adjust, by);
    }
    set.set(u32::from(op.number), value, by.pid);
    set.set_otime(now);
    if op.change != 0 && set.sleepers() != 0 {
        serve(set, Some(Asked::Caller(ops)), now);
    }
    Ok(Attempt::Done)
}

fn operate_array(
    set: &mut impl SetState,
    ops: &[Operation],
    by: Process,
    now: i64,
) -> Ruling<Attempt> {
    let attempt = attempt(set, Asked::Caller(ops), by)?;
    if attempt == Attempt::Done {
        set.set_otime(now);
        if alters(ops) {
            serve(set, Some(Asked::Caller(ops)), now);
        }
    }
    Ok(attempt)
}

/// Lets a thread sleep whose operations were blocked at `at`.
pub fn sleep(set: &mut impl SetState, ops: &[Operation], at: u16, sleeper: Sleeper) {
    let by = Process {
        owner: sleeper.owner,
        pid: sleeper.pid,
    };
    note_undo(set, ops, by);
    if ops.len() > 1 {
        merge_queues(set);
    }
    let sleeper = Sleeper {
        operations: ops.len() as u16,
        blocked_at: at,
        alters: alters(ops),
        ..sleeper
    };
    set.push_sleeper(sleeper, ops);
}

/// Why the operations cannot go on at `at`, of the set with the identifier `id`.
pub fn would_block(set: &impl SetState, id: i32, ops: &[Operation], at: u16) -> Refusal {
    let op = ops.get(usize::from(at)).copied().unwrap_or_default();
    // As the operations before it would leave it.
    let before = ops.iter().take(usize::from(at));
    let left = before
        .filter(|earlier| earlier.number == op.number)
        .map(|earlier| i64::from(earlier.change))
        .sum::<i64>();
    let value = i64::from(set.value(u32::from(op.number))) + left;
    // "An operation could not proceed immediately and either IPC_NOWAIT was specified in sem_flg or the time limit specified
    // in timeout expired." - man semop(2)
    refusal!(
        Eagain,
        [number = op.number, id, value, change = op.change],
        "semaphore {number} of set {} is {value} and {}",
        id as i32,
        Wish(change as i16)
    )
}

/// What an operation waits for.
struct Wish(i16);

impl core::fmt::Display for Wish {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            0 => out.write_str("0 is waited for"),
            change => write!(out, "{} is to be taken", -i32::from(change)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempt::outlook;
    use super::super::flags::{IPC_NOWAIT, SEM_UNDO};
    use super::super::state::Undo;
    use super::*;
    use crate::sysv::Errno::{self, E2big, Eacces, Eagain, Efbig, Einval, Enomem, Erange};
    use crate::sysv::for_tests::{
        NOW, OWNER, Person, STRANGER, TestSet, errno, flagged, op, process, refused, set_perm,
        sleeper,
    };

    const LIMITS: SemLimits = SemLimits::KERNEL_DEFAULTS;

    #[test]
    fn the_number_of_operations_has_thirty_two_bits_and_a_limit() {
        let with = |semopm| SemLimits { semopm, ..LIMITS };
        for (count, semopm, expected) in [
            (0, 500, Err(Some(Einval))),
            (1, 500, Ok(1)),
            (500, 500, Ok(500)),
            (501, 500, Err(Some(E2big))),
            (u64::MAX, 500, Err(Some(E2big))),
            ((1 << 32) + 1, 500, Ok(1)),
            (1 << 32, 500, Err(Some(Einval))),
            (1, 0, Err(Some(E2big))),
            (65535, -1, Ok(65535)),
            (65536, -1, Err(Some(Enomem))),
        ] {
            let ruling = check_operations_count(count, &with(semopm));
            let ruling = ruling.map_err(|refusal| Some(refusal.errno));
            assert_eq!(ruling, expected, "{count}, semopm {semopm}");
        }
    }

    #[test]
    fn a_time_limit_is_no_negative_one_and_has_less_than_a_second_of_nanoseconds() {
        for (secs, nanos, expected) in [
            (0, 0, Some(0)),
            (1, 999_999_999, Some(1_999_999_999)),
            (i64::MAX, 999_999_999, Some(u64::MAX)),
            (-1, 0, None),
            (0, -1, None),
            (0, 1_000_000_000, None),
            (i64::MIN, i64::MIN, None),
        ] {
            let ruling = check_limit(secs, nanos);
            assert_eq!(ruling.ok(), expected, "{secs} {nanos}");
            let refused = expected.is_none().then_some(Einval);
            assert_eq!(errno(check_limit(secs, nanos)), refused);
        }
    }

    #[test]
    fn a_semaphore_behind_the_last_is_refused_before_rights() {
        let stranger = Person::with_euid(STRANGER);
        let asked = |mode, ops: &[Operation], caller| {
            errno(check_operations(&set_perm(mode, 2), ops, caller))
        };
        assert_eq!(asked(0o600, &[op(0, 1), op(2, 1)], &stranger), Some(Efbig));
        assert_eq!(asked(0o600, &[op(0, 1), op(1, 1)], &stranger), Some(Eacces));
        // Write for an alteration, read for nothing but waits for zero.
        for (mode, wait, alter, both) in [
            (0o604, None, Some(Eacces), Some(Eacces)),
            (0o602, Some(Eacces), None, None),
        ] {
            assert_eq!(asked(mode, &[op(0, 0)], &stranger), wait);
            assert_eq!(asked(mode, &[op(0, -1)], &stranger), alter);
            assert_eq!(asked(mode, &[op(0, 0), op(0, 1)], &stranger), both);
        }
        assert_eq!(asked(0o600, &[op(1, 1)], &Person::with_euid(OWNER)), None);
        assert_eq!(
            refused(check_operations(
                &set_perm(0o600, 2),
                &[op(2, 0)],
                &stranger
            )),
            Some((
                Efbig,
                "there is no semaphore 2, semaphore set 32769 has 2".into()
            ))
        );
    }

    /// Values, operations, then what comes of it: the values, or where it blocks and whether with IPC_NOWAIT, or an errno.
    fn check(
        values: &[u16],
        ops: &[Operation],
        expected: Result<Result<&[u16], (u16, bool)>, Errno>,
    ) {
        let before = TestSet::new(values);
        let mut set = before.clone();
        let attempt = operate(&mut set, ops, process(7), NOW).map_err(|refusal| refusal.errno);
        let came = match attempt {
            Ok(Attempt::Done) => {
                assert_eq!(set.otime, NOW);
                for (number, semaphore) in (0..).zip(&set.values) {
                    let is_named = ops.iter().any(|op| op.number == number);
                    assert_eq!(semaphore.1, if is_named { 7 } else { 0 });
                }
                Ok(Ok(set.numbers()))
            }
            Ok(Attempt::Blocked { at, no_wait }) => Ok(Err((at, no_wait))),
            Err(errno) => Err(errno),
        };
        if !matches!(came, Ok(Ok(_))) {
            assert_eq!(set, before, "a failure leaves no trace");
        }
        let expected = expected.map(|result| result.map(<[u16]>::to_vec));
        assert_eq!(came, expected, "{values:?} {ops:?}");
        if let [op] = ops {
            let looked = outlook(&before, *op, 7).map_err(|refusal| refusal.errno);
            assert_eq!(looked, attempt);
        }
    }

    const NOWAIT: i32 = IPC_NOWAIT;

    #[test]
    fn one_operation_goes_on_or_blocks_or_is_too_large() {
        check(&[0, 3], &[op(1, -3)], Ok(Ok(&[0, 0])));
        check(&[0, 3], &[op(1, -4)], Ok(Err((0, false))));
        check(&[0, 3], &[flagged(1, -4, NOWAIT)], Ok(Err((0, true))));
        check(&[0, 3], &[op(0, 0)], Ok(Ok(&[0, 3])));
        check(&[0, 3], &[op(1, 0)], Ok(Err((0, false))));
        check(&[0, 3], &[op(1, 32764)], Ok(Ok(&[0, 32767])));
        check(&[0, 3], &[op(1, 32765)], Err(Erange));
        check(&[32767], &[op(0, i16::MIN)], Ok(Err((0, false))));
        check(&[32767], &[op(0, i16::MAX)], Err(Erange));
        // Bits that mean nothing.
        check(
            &[1],
            &[flagged(0, -1, 0o127777 & !NOWAIT & !SEM_UNDO)],
            Ok(Ok(&[0])),
        );
    }

    #[test]
    fn the_first_operation_that_cannot_go_on_decides() {
        let one = op(1, -1);
        let zero = flagged(0, -1, NOWAIT);
        check(&[0, 0], &[one, zero], Ok(Err((0, false))));
        check(&[0, 0], &[zero, one], Ok(Err((0, true))));
        check(&[0, 1], &[one, zero], Ok(Err((1, true))));
        check(&[0, 32767], &[zero, op(1, 1)], Ok(Err((0, true))));
        check(&[0, 32767], &[op(1, 1), zero], Err(Erange));
        check(&[1, 32767], &[op(0, -1), op(1, 1)], Err(Erange));
    }

    #[test]
    fn one_semaphore_several_times_sees_itself() {
        check(&[0], &[op(0, 1), op(0, -1)], Ok(Ok(&[0])));
        check(&[0], &[op(0, -1), op(0, 1)], Ok(Err((0, false))));
        check(&[32767], &[op(0, 1), op(0, -1)], Err(Erange));
        check(&[32767], &[op(0, -1), op(0, 1)], Ok(Ok(&[32767])));
        check(&[0], &[op(0, 0), op(0, 1)], Ok(Ok(&[1])));
        check(
            &[2],
            &[op(0, -2), op(0, 0), op(0, 5), op(0, -6)],
            Ok(Err((3, false))),
        );
    }

    #[test]
    fn what_a_process_owes_has_a_range() {
        let owing = |adjust| {
            let mut set = TestSet::new(&[100, 100]);
            set.push_undo(Undo {
                owner: 7,
                pid: 7,
                number: 0,
                adjust,
            });
            set
        };
        for (adjust, change, expected) in [
            (-32768, 1, Some(Erange)),
            (-32767, 1, None),
            (32767, -1, Some(Erange)),
            (32766, -1, None),
            (32767, 0, None),
        ] {
            let change = flagged(0, change, SEM_UNDO);
            let ops = [flagged(1, -1, SEM_UNDO), change];
            for ops in [&ops[1..], &ops] {
                let mut set = owing(adjust);
                set.values[0].0 = if change.change == 0 { 0 } else { 100 };
                let before = set.clone();
                let ruling = operate(&mut set, ops, process(7), NOW);
                assert_eq!(errno(ruling), expected, "{adjust} {ops:?}");
                assert_eq!(set == before, expected.is_some());
            }
            // It is another process's.
            let ruling = operate(&mut owing(adjust), &[op(0, -1), change], process(8), NOW);
            assert_eq!(errno(ruling), None);
        }
    }

    #[test]
    fn an_array_adds_up_what_is_owed() {
        let mut set = TestSet::new(&[5]);
        let undo = |change| flagged(0, change, SEM_UNDO);
        let attempt = operate(&mut set, &[undo(-3), undo(1), op(0, 7)], process(7), NOW);
        assert_eq!(attempt, Ok(Attempt::Done));
        let owed = Undo {
            owner: 7,
            pid: 7,
            number: 0,
            adjust: 2,
        };
        assert_eq!(set.undos, [owed]);
        let before = set.clone();
        let attempt = operate(&mut set, &[undo(-3), undo(-8)], process(7), NOW);
        let blocked = Attempt::Blocked {
            at: 1,
            no_wait: false,
        };
        assert_eq!((attempt, set), (Ok(blocked), before));
    }

    #[test]
    fn who_goes_to_sleep_leaves_room_for_what_it_will_owe() {
        let mut set = TestSet::new(&[0, 0]);
        let ops = [flagged(0, 0, SEM_UNDO), op(1, 1), flagged(1, -2, SEM_UNDO)];
        sleep(&mut set, &ops, 2, sleeper(7));
        let (slept, beside) = set.sleepers.remove(0);
        let expected = Sleeper {
            operations: 3,
            blocked_at: 2,
            alters: true,
            ..sleeper(7)
        };
        assert_eq!((slept, beside), (expected, ops.to_vec()));
        let owed: Vec<_> = set
            .undos
            .iter()
            .map(|undo| (undo.number, undo.adjust))
            .collect();
        assert_eq!(owed, [(0, 0), (1, 0)]);
    }

    #[test]
    fn refusals_name_the_semaphore_and_its_value() {
        let mut set = TestSet::new(&[4, 32767]);
        set.values[1].1 = 4711;
        let said = |ops: &[Operation]| {
            let refusal = operate(&mut set.clone(), ops, process(7), NOW);
            refused(refusal).map(|(_, sentence)| sentence)
        };
        assert_eq!(
            said(&[op(1, 2)]).as_deref(),
            Some("semaphore 1 is 32767 and 2 is to be added, no value is above 32767")
        );
        let owing = [
            flagged(0, -4, SEM_UNDO),
            op(0, 32767),
            flagged(0, -32767, SEM_UNDO),
        ];
        assert_eq!(
            said(&owing).as_deref(),
            Some(
                "the process's end would add 32771 to semaphore 0, SEM_UNDO allows -32768 to 32767"
            )
        );
        for (ops, at, sentence) in [
            (
                &[op(0, -1), op(0, -5)][..],
                1,
                "semaphore 0 of set 32769 is 3 and 5 is to be taken",
            ),
            (
                &[op(1, 0)],
                0,
                "semaphore 1 of set 32769 is 32767 and 0 is waited for",
            ),
        ] {
            let refusal = Err::<(), _>(would_block(&set, 32769, ops, at));
            assert_eq!(refused(refusal), Some((Eagain, sentence.into())));
        }
    }
}
