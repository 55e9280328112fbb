//! What the operations of a call come to: all of them are carried out, or none.

use super::flags::{IPC_NOWAIT, SEM_UNDO, SEMVMX};
use super::state::{Operation, SetState, Undo};
use crate::sysv::ipc::{Ruling, refusal};

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// The process. Storage's number, never 0.
    pub owner: u32,
    /// Its process id.
    pub pid: i32,
}

/// How a try went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// All was carried out.
    Done,
    /// Nothing was.
    Blocked {
        /// Which operation could not go on.
        at: u16,
        /// It has IPC_NOWAIT. Those of others do not matter.
        no_wait: bool,
    },
}

/// Where the undo of a process for a semaphore stands.
#[inline]
pub(super) fn find_undo(set: &impl SetState, owner: u32, number: u16) -> Option<u32> {
    (0..set.undos()).find(|index| {
        let undo = set.undo(*index);
        undo.number == number && undo.owner == owner
    })
}

/// Whether the set has an undo of a process for a semaphore.
#[inline(always)]
pub fn has_undo_of(set: &impl SetState, owner: u32, number: u16) -> bool {
    find_undo(set, owner, number).is_some()
}

/// Whether an operation asks for SEM_UNDO.
#[inline(always)]
pub(super) fn has_undo(op: Operation) -> bool {
    i32::from(op.flags) & SEM_UNDO != 0
}

/// What an operation comes to.
pub(super) enum Weighed {
    /// It cannot go on.
    Blocked,
    /// It can.
    Fits {
        /// The value then.
        value: u16,
        /// With SEM_UNDO: where the caller's undo stands if it has one, and what it is then.
        undo: Option<(Option<u32>, i16)>,
    },
}

/// Whether an operation that adds `change`, or waits for zero, cannot go on while the semaphore has this value.
#[inline(always)]
pub fn blocks(value: u16, change: i16) -> bool {
    match change {
        0 => value != 0,
        change => i32::from(value) + i32::from(change) < 0,
    }
}

/// Looks at one operation, as the set stands.
#[inline(always)]
pub(super) fn weigh(set: &impl SetState, op: Operation, owner: u32) -> Ruling<Weighed> {
    let before = set.value(u32::from(op.number));
    let after = i32::from(before) + i32::from(op.change);
    if blocks(before, op.change) {
        return Ok(Weighed::Blocked);
    }
    if after > i32::from(SEMVMX) {
        // "For some operation sem_op+semval is greater than SEMVMX, the implementation dependent maximum value for semval."
        // - man semop(2)
        return Err(refusal!(
            Erange,
            [number = op.number, before, change = op.change],
            "semaphore {number} is {before} and {change} is to be added, no value is above {SEMVMX}"
        ));
    }
    let value = after as u16;
    if !has_undo(op) {
        return Ok(Weighed::Fits { value, undo: None });
    }
    let place = find_undo(set, owner, op.number);
    let owed = place.map_or(0, |index| set.undo(index).adjust);
    let Ok(adjust) = i16::try_from(i32::from(owed) - i32::from(op.change)) else {
        // The manual is silent: what the process owes has a range, too.
        return Err(refusal!(
            Erange,
            [number = op.number, owed, change = op.change],
            "the process's end would add {} to semaphore {number}, SEM_UNDO allows {} to {}",
            i32::from(owed as i16) - i32::from(change as i16),
            i16::MIN,
            i16::MAX
        ));
    };
    Ok(Weighed::Fits {
        value,
        undo: Some((place, adjust)),
    })
}

/// Notes what a process owes for one operation, where [`weigh`] has found its place.
#[inline(always)]
pub(super) fn owe(
    set: &mut impl SetState,
    number: u16,
    place: Option<u32>,
    adjust: i16,
    by: Process,
) {
    let undo = Undo {
        owner: by.owner,
        pid: by.pid,
        number,
        adjust,
    };
    match place {
        Some(index) => set.set_undo(index, undo),
        None => set.push_undo(undo),
    }
}

/// That an operation is blocked, the `at`th.
#[inline(always)]
pub(super) fn blocked(op: Operation, at: u32) -> Attempt {
    Attempt::Blocked {
        at: at as u16,
        no_wait: i32::from(op.flags) & IPC_NOWAIT != 0,
    }
}

/// What a call of one operation would come to, without a change.
#[inline]
pub fn outlook(set: &impl SetState, op: Operation, owner: u32) -> Ruling<Attempt> {
    Ok(match weigh(set, op, owner)? {
        Weighed::Blocked => blocked(op, 0),
        Weighed::Fits { .. } => Attempt::Done,
    })
}

/// The operations of one call.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// Of the caller.
    Caller(&'a [Operation]),
    /// Of the sleeper with this index, beside which they stand.
    Sleeper(u32),
}

impl Asked<'_> {
    /// How many.
    pub(super) fn count(self, set: &impl SetState) -> u32 {
        match self {
            Asked::Caller(ops) => ops.len() as u32,
            Asked::Sleeper(index) => u32::from(set.sleeper(index).operations),
        }
    }

    /// One of them.
    pub(super) fn nth(self, set: &impl SetState, nth: u32) -> Operation {
        match self {
            Asked::Caller(ops) => ops.get(nth as usize).copied().unwrap_or_default(),
            Asked::Sleeper(index) => set.operation(index, nth),
        }
    }
}

/// Tries the operations of one call. Serves nobody, stamps nothing.
pub(super) fn attempt(set: &mut impl SetState, asked: Asked<'_>, by: Process) -> Ruling<Attempt> {
    let count = asked.count(set);
    let undos_before = set.undos();
    for nth in 0..count {
        let op = asked.nth(set, nth);
        let number = u32::from(op.number);
        // Each sees what those before it have left.
        match weigh(set, op, by.owner) {
            Ok(Weighed::Fits { value, undo }) => {
                if let Some((place, adjust)) = undo {
                    owe(set, op.number, place, adjust, by);
                }
                // The process id follows when all have succeeded.
                let pid = set.pid(number);
                set.set(number, value, pid);
            }
            Ok(Weighed::Blocked) => {
                take_back(set, asked, nth, by.owner, undos_before);
                return Ok(blocked(op, nth));
            }
            Err(refusal) => {
                take_back(set, asked, nth, by.owner, undos_before);
                return Err(refusal);
            }
        }
    }
    for nth in 0..count {
        let number = u32::from(asked.nth(set, nth).number);
        let value = set.value(number);
        set.set(number, value, by.pid);
    }
    Ok(Attempt::Done)
}

/// Takes back the first `count` operations, which were carried out.
fn take_back(set: &mut impl SetState, asked: Asked<'_>, count: u32, owner: u32, undos_before: u32) {
    for nth in (0..count).rev() {
        let op = asked.nth(set, nth);
        let number = u32::from(op.number);
        let (value, pid) = (set.value(number), set.pid(number));
        set.set(number, value.wrapping_sub(op.change as u16), pid);
        if !has_undo(op) {
            continue;
        }
        if let Some(index) = find_undo(set, owner, op.number) {
            let undo = set.undo(index);
            let adjust = undo.adjust.wrapping_add(op.change);
            set.set_undo(index, Undo { adjust, ..undo });
        }
    }
    // Those that were added stand last.
    while set.undos() > undos_before {
        set.swap_remove_undo(set.undos() - 1);
    }
}
