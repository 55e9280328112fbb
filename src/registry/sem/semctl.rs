//! semctl.

use super::limits_of;
use crate::os::OsError;
use crate::os::pages::PageVec;
use crate::registry::credentials::Thread;
use crate::registry::error::Outcome;
use crate::registry::objects::{now, objects};
use crate::registry::rules::{self, perm_of};
use crate::storage::StorageError;
use crate::storage::ipc::{MoreRoom, ObjectKind, SetBlock};
use crate::sysv::sem::{self, Answer, Question, SemCommand, SemLimits, SetPerm, SetState, Sleeper};
use crate::sysv::{Errno, Kind, NewPerm, Ruling, ShmId};

/// What all sets use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SemUsage {
    /// The limits.
    pub limits: SemLimits,
    /// Sets.
    pub sets: u32,
    /// Semaphores in them.
    pub semaphores: u32,
    /// The highest index in use, 0 if there is none.
    pub highest: u32,
}

/// Sets the limits; refused to a caller that may not.
pub fn set_sem_limits(limits: SemLimits) -> Outcome<()> {
    let objects = objects()?;
    objects.must_set_limits()?;
    objects.file.set_sem_limits(rules::sem_words(&limits));
    Ok(())
}

/// IPC_STAT, SEM_STAT, SEM_STAT_ANY.
pub fn sem_stat(id: i32, command: SemCommand) -> Outcome<SetPerm> {
    let objects = objects()?;
    loop {
        let found = match command {
            SemCommand::IpcStat => objects.set_of_the_living(ShmId::from_raw(id)?, true)?,
            _ => objects.set_at(id)?,
        };
        let facts = found.facts();
        if found.is_still() {
            sem::may_stat_set(&facts, command, &Thread)?;
            return Ok(facts);
        }
    }
}

/// Changes a set by semctl: `check` looks at what is known of it, `rule` changes it.
fn control(
    id: i32,
    check: impl Fn(&SetPerm) -> Ruling<()>,
    rule: impl Fn(&mut SetBlock),
) -> Outcome<SetBlock> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set_of_the_living(id, false)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        check(&facts)?;
        if objects.change_set(&found, MoreRoom::default(), &rule)? {
            return Ok(found.set);
        }
    }
}

/// IPC_SET.
pub fn sem_set(id: i32, new: NewPerm) -> Outcome<()> {
    let checked = |set: &SetPerm| sem::may_set_set(set, &new, &Thread);
    control(
        id,
        |set| checked(set).map(drop),
        |copy| {
            let facts = copy.facts(|words| perm_of(Kind::Set, words));
            // As checked.
            if let Ok(new) = checked(&facts) {
                copy.set_perm(new.uid, new.gid, new.mode);
                copy.set_ctime(now());
            }
        },
    )
    .map(drop)
}

/// IPC_RMID. Takes no room where nobody sleeps: what is full must be possible to empty.
pub fn sem_remove(id: i32) -> Outcome<()> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set(id)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        sem::may_remove_set(&facts, &Thread)?;
        let is_done = if found.set.sleepers() == 0 {
            objects.end_set(&found)
        } else if matches!(objects.reap_in_set(&found, false), Ok(true)) {
            false
        } else {
            objects.change_set(&found, MoreRoom::default(), mark_removed)?
        };
        if is_done {
            break;
        }
    }
    // Crash here, or for want of room: the next process that meets it in the directory takes it out.
    let _ = objects.forget(ObjectKind::Set, id.raw());
    Ok(())
}

/// Removes a set whose sleepers are to be told.
fn mark_removed(copy: &mut SetBlock) {
    for index in 0..copy.sleepers() {
        let sleeper = copy.sleeper(index);
        if sleeper.answer == Answer::Waits {
            let answer = Answer::Failed(Errno::Eidrm);
            copy.set_sleeper(index, Sleeper { answer, ..sleeper });
        }
    }
    copy.set_removed();
}

/// GETVAL, GETPID, GETNCNT, GETZCNT.
pub fn sem_ask(id: i32, number: i32, question: Question) -> Outcome<i32> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set_of_the_living(id, false)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        sem::may_read_set(&facts, &Thread)?;
        let answer = sem::ask(&found.set, sem::check_number(&facts, number)?, question);
        if found.is_still() {
            return Ok(answer);
        }
    }
}

/// SETVAL.
pub fn sem_set_value(id: i32, number: i32, value: i32) -> Outcome<()> {
    let value = sem::check_value(value)?;
    let pid = objects()?.pid();
    control(
        id,
        |set| {
            sem::check_number(set, number)?;
            sem::may_alter_set(set, &Thread)
        },
        |copy| sem::set_value(copy, number as u32, value, pid, now()),
    )
    .map(drop)
}

/// Whether each SETVAL of these, a number and a value, and IPC_SET would be granted as the set is now: for who does several
/// and wants none half done.
pub fn sem_may_change(id: i32, values: &[(i32, i32)], new: Option<NewPerm>) -> Outcome<()> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set_of_the_living(id, false)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        for (number, value) in values {
            sem::check_value(*value)?;
            sem::check_number(&facts, *number)?;
            sem::may_alter_set(&facts, &Thread)?;
        }
        if let Some(new) = new {
            sem::may_set_set(&facts, &new, &Thread)?;
        }
        return Ok(());
    }
}

/// GETALL.
pub fn sem_values(id: i32) -> Outcome<PageVec<u16>> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set_of_the_living(id, false)?;
        let facts = found.facts();
        if !found.is_still() {
            continue;
        }
        sem::may_read_set(&facts, &Thread)?;
        let mut values = PageVec::new();
        values.resize(facts.count as usize, 0).map_err(no_memory)?;
        for (number, value) in (0..).zip(values.iter_mut()) {
            *value = found.set.value(number);
        }
        if found.is_still() {
            return Ok(values);
        }
    }
}

fn no_memory(error: OsError) -> StorageError {
    StorageError::Call {
        doing: "set memory aside for the values",
        error,
    }
}

/// SETALL, first half: how many values are to be read from the caller; refused to a caller that may not set them.
pub fn sem_count_to_set(id: i32) -> Outcome<u32> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        let found = objects.set(id)?;
        let facts = found.facts();
        if found.is_still() {
            sem::may_alter_set(&facts, &Thread)?;
            return Ok(facts.count);
        }
    }
}

/// SETALL, second half.
pub fn sem_set_values(id: i32, values: &[u16]) -> Outcome<()> {
    sem::check_values(values)?;
    let pid = objects()?.pid();
    control(
        id,
        |set| sem::may_alter_set(set, &Thread),
        |copy| sem::set_values(copy, values, pid, now()),
    )
    .map(drop)
}

/// IPC_INFO, SEM_INFO.
pub fn sem_usage() -> Outcome<SemUsage> {
    let objects = objects()?;
    let (sets, semaphores, highest) = objects.totals(ObjectKind::Set);
    Ok(SemUsage {
        limits: limits_of(objects),
        sets,
        semaphores,
        highest,
    })
}

/// Every set, in the order of indices.
pub fn sem_list(each: &mut dyn FnMut(&SetPerm)) -> Outcome<()> {
    let objects = objects()?;
    objects.each(ObjectKind::Set, &mut |id| {
        // One that was removed meanwhile is left out.
        if let Ok(facts) = sem_stat_for_all(id) {
            each(&facts);
        }
    });
    Ok(())
}

fn sem_stat_for_all(id: i32) -> Outcome<SetPerm> {
    let objects = objects()?;
    let id = ShmId::from_raw(id)?;
    loop {
        // For want of room the dead stay in it.
        let found = objects.set_of_the_living(id, true);
        let found = found.or_else(|_| objects.set(id))?;
        let facts = found.facts();
        if found.is_still() {
            return Ok(facts);
        }
    }
}
