//! semctl(2): which command it is, who may do what to a set, and what is done.
//!
//! The order: [`parse_semctl`]; SETVAL: [`check_value`]; IPC_SET: the caller's buffer is read (`EFAULT`); the set is looked
//! up; then SETVAL: [`check_number`], [`may_alter_set`]; the questions: [`may_read_set`], [`check_number`]; SETALL:
//! [`may_alter_set`], the values are read (`EFAULT`), [`check_values`]; the others: one of the `may_` functions. For the
//! commands that copy out, a bad buffer (`EFAULT`) comes last.

use super::flags::{self, READ, SEMVMX, WRITE};
use super::state::{Answer, SetPerm, SetState};
use super::undo::{forget, forget_all};
use super::wake::serve_all;
use crate::sysv::ipc::{
    Caller, Capability, NewPerm, Ruling, ShmId, check_new_perm, may_access, must_own, refusal,
};

/// What semctl is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SemCommand {
    /// Remove.
    IpcRmid,
    /// Change owner, group, mode.
    IpcSet,
    /// Tell about a set.
    IpcStat,
    /// Tell the limits.
    IpcInfo,
    /// One number of a semaphore.
    Get(Question),
    /// All values.
    GetAll,
    /// Set one value.
    SetVal,
    /// Set all values.
    SetAll,
    /// Tell about the set with an index.
    SemStat,
    /// Tell what all sets use.
    SemInfo,
    /// Tell about the set with an index, whatever its mode.
    SemStatAny,
}

/// What is asked of one semaphore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// GETVAL.
    Value,
    /// GETPID.
    Pid,
    /// GETNCNT: how many sleep until it grows.
    Growth,
    /// GETZCNT: how many sleep until it is 0.
    Zero,
}

/// Reads the command. Needs neither the set nor the argument, and comes before both.
pub fn parse_semctl(id: i32, cmd: i32) -> Ruling<SemCommand> {
    // "Invalid value for cmd or semid." - man semctl(2)
    //
    // A negative identifier is refused even where the command has no use for one.
    let command = match cmd {
        flags::IPC_RMID => SemCommand::IpcRmid,
        flags::IPC_SET => SemCommand::IpcSet,
        flags::IPC_STAT => SemCommand::IpcStat,
        flags::IPC_INFO => SemCommand::IpcInfo,
        flags::GETPID => SemCommand::Get(Question::Pid),
        flags::GETVAL => SemCommand::Get(Question::Value),
        flags::GETALL => SemCommand::GetAll,
        flags::GETNCNT => SemCommand::Get(Question::Growth),
        flags::GETZCNT => SemCommand::Get(Question::Zero),
        flags::SETVAL => SemCommand::SetVal,
        flags::SETALL => SemCommand::SetAll,
        flags::SEM_STAT => SemCommand::SemStat,
        flags::SEM_INFO => SemCommand::SemInfo,
        flags::SEM_STAT_ANY => SemCommand::SemStatAny,
        _ => {
            return Err(refusal!(
                Einval,
                [cmd],
                "there is no command {}",
                cmd as i32
            ));
        }
    };
    ShmId::from_raw(id)?;
    Ok(command)
}

impl SemCommand {
    /// Whether it takes an index, so that the sequence number of what it is given does not matter.
    #[inline(always)]
    pub fn is_by_index(self) -> bool {
        matches!(self, SemCommand::SemStat | SemCommand::SemStatAny)
    }
}

/// The value that SETVAL is to set.
pub fn check_value(value: i32) -> Ruling<u16> {
    match u16::try_from(value) {
        Ok(value) if value <= SEMVMX => Ok(value),
        // "The argument cmd has the value SETALL or SETVAL and the value to which semval is to be set (for some semaphore of
        // the set) is less than 0 or greater than the implementation limit SEMVMX." - man semctl(2)
        //
        // Before anything is known of the set.
        _ => Err(refusal!(
            Erange,
            [value],
            "{} asked, a value is 0 to {SEMVMX}",
            value as i32
        )),
    }
}

/// The values that SETALL is to set: one that cannot be is enough to set none.
pub fn check_values(values: &[u16]) -> Ruling<()> {
    match values.iter().position(|value| *value > SEMVMX) {
        None => Ok(()),
        // "The argument cmd has the value SETALL or SETVAL and the value to which semval is to be set (for some semaphore of
        // the set) is less than 0 or greater than the implementation limit SEMVMX." - man semctl(2)
        Some(number) => Err(refusal!(
            Erange,
            [
                number,
                value = values.get(number).copied().unwrap_or_default()
            ],
            "{value} asked for semaphore {number}, a value is 0 to {SEMVMX}"
        )),
    }
}

/// Which semaphore is meant.
#[inline]
pub fn check_number(set: &SetPerm, number: i32) -> Ruling<u32> {
    match u32::try_from(number) {
        Ok(number) if number < set.count => Ok(number),
        // The manual is silent: there is no such semaphore. (semop says EFBIG.)
        _ => Err(refusal!(
            Einval,
            [number, id = set.perm.id.raw(), has = set.count],
            "there is no semaphore {}, semaphore set {id} has {has}",
            number as i32
        )),
    }
}

/// Whether the caller may ask for values, process ids and sleepers.
#[inline]
pub fn may_read_set(set: &SetPerm, caller: &impl Caller) -> Ruling<()> {
    // "The argument cmd has one of the values GETALL, GETPID, GETVAL, GETNCNT, GETZCNT, IPC_STAT, SEM_STAT, SEM_STAT_ANY,
    // SETALL, or SETVAL and the calling process does not have the required permissions on the semaphore set and does not have
    // the CAP_IPC_OWNER capability" - man semctl(2)
    may_access(&set.perm, READ, caller)
}

/// Whether the caller may set values.
#[inline]
pub fn may_alter_set(set: &SetPerm, caller: &impl Caller) -> Ruling<()> {
    // "The calling process must have alter permission on the semaphore set." - man semctl(2)
    may_access(&set.perm, WRITE, caller)
}

/// Whether the caller may be told about the set by `command`.
pub fn may_stat_set(set: &SetPerm, command: SemCommand, caller: &impl Caller) -> Ruling<()> {
    if command == SemCommand::SemStatAny {
        // "sem_perm.mode is not checked for read access for semid meaning that any user can employ this operation"
        // - man semctl(2)
        return Ok(());
    }
    may_read_set(set, caller)
}

/// Whether the caller may remove the set.
pub fn may_remove_set(set: &SetPerm, caller: &impl Caller) -> Ruling<()> {
    // "The effective user ID of the calling process must match the creator or owner of the semaphore set or the caller must be
    // privileged." - man semctl(2)
    must_own(&set.perm, caller, Capability::SysAdmin)
}

/// Whether the caller may set `new`, and what is then set.
pub fn may_set_set(set: &SetPerm, new: &NewPerm, caller: &impl Caller) -> Ruling<NewPerm> {
    // "The effective user ID of the calling process must match the owner (sem_perm.uid) or creator (sem_perm.cuid) of the
    // semaphore set, or the caller must be privileged." - man semctl(2)
    must_own(&set.perm, caller, Capability::SysAdmin)?;
    check_new_perm(new)
}

/// GETVAL, GETPID, GETNCNT, GETZCNT.
#[inline]
pub fn ask(set: &impl SetState, number: u32, question: Question) -> i32 {
    match question {
        Question::Value => i32::from(set.value(number)),
        Question::Pid => set.pid(number),
        Question::Growth => blocked_at(set, number, |change| change < 0),
        Question::Zero => blocked_at(set, number, |change| change == 0),
    }
}

/// How many sleepers wait at an operation of this semaphore: the first that could not go on at their last try.
fn blocked_at(set: &impl SetState, number: u32, is_meant: impl Fn(i16) -> bool) -> i32 {
    let waiting = (0..set.sleepers()).filter(|index| {
        let sleeper = set.sleeper(*index);
        let op = set.operation(*index, u32::from(sleeper.blocked_at));
        sleeper.answer == Answer::Waits && u32::from(op.number) == number && is_meant(op.change)
    });
    waiting.count() as i32
}

/// SETVAL, by the process `pid`.
pub fn set_value(set: &mut impl SetState, number: u32, value: u16, pid: i32, now: i64) {
    // "Undo entries are cleared for altered semaphores in all processes. If the changes to semaphore values would permit
    // blocked semop(2) calls in other processes to proceed, then those processes are woken up." - man semctl(2)
    forget(set, number);
    set.set(number, value, pid);
    set.set_ctime(now);
    serve_all(set, now);
}

/// SETALL, by the process `pid`, with values that [`check_values`] has seen.
pub fn set_values(set: &mut impl SetState, values: &[u16], pid: i32, now: i64) {
    // As of SETVAL.
    forget_all(set);
    for (number, value) in (0..set.count()).zip(values) {
        set.set(number, *value, pid);
    }
    set.set_ctime(now);
    serve_all(set, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno::{Eacces, Einval, Eperm, Erange};
    use crate::sysv::for_tests::{
        CREATOR, NOW, OWNER, Person, STRANGER, TestSet, errno, op, refused, set_perm,
    };
    use crate::sysv::sem::{Attempt, operate};

    #[test]
    fn the_fourteen_commands_are_known_and_no_others() {
        let known = [
            (0, SemCommand::IpcRmid),
            (1, SemCommand::IpcSet),
            (2, SemCommand::IpcStat),
            (3, SemCommand::IpcInfo),
            (11, SemCommand::Get(Question::Pid)),
            (12, SemCommand::Get(Question::Value)),
            (13, SemCommand::GetAll),
            (14, SemCommand::Get(Question::Growth)),
            (15, SemCommand::Get(Question::Zero)),
            (16, SemCommand::SetVal),
            (17, SemCommand::SetAll),
            (18, SemCommand::SemStat),
            (19, SemCommand::SemInfo),
            (20, SemCommand::SemStatAny),
        ];
        for cmd in (-20..0x200).chain([i32::MIN, i32::MAX]) {
            let expected = known.iter().find(|(number, _)| *number == cmd);
            let parsed = parse_semctl(0, cmd);
            assert_eq!(parsed.ok(), expected.map(|(_, command)| *command), "{cmd}");
            assert_eq!(errno(parsed), expected.is_none().then_some(Einval));
            assert_eq!(errno(parse_semctl(-1, cmd)), Some(Einval));
        }
        assert!(SemCommand::SemStat.is_by_index() && !SemCommand::IpcStat.is_by_index());
    }

    #[test]
    fn a_value_is_0_to_32767() {
        for (value, expected) in [
            (0, None),
            (32767, None),
            (32768, Some(Erange)),
            (65536, Some(Erange)),
            (-1, Some(Erange)),
            (i32::MIN, Some(Erange)),
        ] {
            assert_eq!(errno(check_value(value)), expected, "{value}");
        }
        assert_eq!(errno(check_values(&[])), None);
        assert_eq!(errno(check_values(&[0, 32767])), None);
        for (ruling, sentence) in [
            (
                check_value(-1).map(|_| ()),
                "-1 asked, a value is 0 to 32767",
            ),
            (
                check_values(&[0, 32768]),
                "32768 asked for semaphore 1, a value is 0 to 32767",
            ),
        ] {
            assert_eq!(refused(ruling), Some((Erange, sentence.into())));
        }
    }

    #[test]
    fn a_number_is_one_of_the_sets() {
        let set = set_perm(0o600, 3);
        assert_eq!(check_number(&set, 2), Ok(2));
        for number in [3, -1, i32::MIN, i32::MAX] {
            assert_eq!(errno(check_number(&set, number)), Some(Einval));
        }
        assert_eq!(
            refused(check_number(&set, -1)),
            Some((
                Einval,
                "there is no semaphore -1, semaphore set 32769 has 3".into()
            ))
        );
    }

    #[test]
    fn reading_altering_and_owning_are_three_rights() {
        let new = NewPerm {
            uid: 5,
            gid: 6,
            mode: 0o7777,
        };
        let any = SemCommand::SemStatAny;
        let rights = |mode, euid| {
            let (set, caller) = (set_perm(mode, 3), Person::with_euid(euid));
            [
                errno(may_read_set(&set, &caller)),
                errno(may_stat_set(&set, SemCommand::SemStat, &caller)),
                errno(may_stat_set(&set, any, &caller)),
                errno(may_alter_set(&set, &caller)),
                errno(may_remove_set(&set, &caller)),
                errno(may_set_set(&set, &new, &caller)),
            ]
        };
        let (no, not_own) = (Some(Eacces), Some(Eperm));
        assert_eq!(
            rights(0o604, STRANGER),
            [None, None, None, no, not_own, not_own]
        );
        assert_eq!(
            rights(0o602, STRANGER),
            [no, no, None, None, not_own, not_own]
        );
        assert_eq!(rights(0, OWNER), [no, no, None, no, None, None]);
        assert_eq!(rights(0, CREATOR), [no, no, None, no, None, None]);
        let admin = Person::with_euid(STRANGER).with(&[Capability::SysAdmin]);
        assert_eq!(may_remove_set(&set_perm(0, 1), &admin), Ok(()));
    }

    #[test]
    fn ipc_set_asks_for_rights_before_it_looks_at_ids() {
        let nobody = NewPerm {
            uid: u32::MAX,
            gid: 6,
            mode: 0o7777,
        };
        let asked = |new: NewPerm, euid| {
            let ruling = may_set_set(&set_perm(0o600, 1), &new, &Person::with_euid(euid));
            ruling.map_err(|refusal| refusal.errno)
        };
        assert_eq!(asked(nobody, STRANGER), Err(Eperm));
        assert_eq!(asked(nobody, OWNER), Err(Einval));
        let group = NewPerm {
            uid: 5,
            gid: u32::MAX,
            ..nobody
        };
        assert_eq!(asked(group, OWNER), Err(Einval));
        let new = NewPerm { uid: 5, ..nobody };
        assert_eq!(asked(new, OWNER), Ok(NewPerm { mode: 0o777, ..new }));
    }

    #[test]
    fn each_call_stamps_what_it_stamps_on_linux() {
        // otime, ctime, process ids.
        let stamps = |set: &TestSet| {
            let pids: Vec<i32> = set.values.iter().map(|(_, pid)| *pid).collect();
            (set.otime, set.ctime, pids)
        };
        let mut set = TestSet::new(&[0, 0]);
        set_value(&mut set, 1, 0, 9, NOW);
        assert_eq!(stamps(&set), (0, NOW, vec![0, 9]));
        set_values(&mut set, &[3, 4], 8, NOW + 1);
        assert_eq!(stamps(&set), (0, NOW + 1, vec![8, 8]));
        let by = crate::sysv::for_tests::process(7);
        assert_eq!(
            operate(&mut set, &[op(0, -3)], by, NOW + 2),
            Ok(Attempt::Done)
        );
        assert_eq!(stamps(&set), (NOW + 2, NOW + 1, vec![7, 8]));
        assert!(set.semop(5, &[op(0, 0), op(1, -9)]).is_ok());
        set_value(&mut set, 1, 9, 9, NOW + 3);
        assert_eq!(stamps(&set), (NOW + 3, NOW + 3, vec![5, 5]));
    }

    #[test]
    fn the_four_questions_are_told_apart() {
        let mut set = TestSet::new(&[0, 2]);
        set.values[1].1 = 44;
        for (number, ops) in [
            (1, &[op(0, -1)][..]),
            (2, &[op(1, 0)]),
            (3, &[op(1, -1), op(0, -1)]),
            (4, &[op(1, -1), op(1, 0), op(0, -1)]),
        ] {
            assert!(set.semop(number, ops).is_ok());
        }
        let answers = |number| {
            [
                Question::Value,
                Question::Pid,
                Question::Growth,
                Question::Zero,
            ]
            .map(|question| ask(&set, number, question))
        };
        assert_eq!(answers(0), [0, 0, 2, 0]);
        assert_eq!(answers(1), [2, 44, 0, 2]);
    }
}
