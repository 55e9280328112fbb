//! SEM_UNDO: what a process owes, when it is paid, and what makes it forgotten.

use super::flags::{SEM_UNDO, SEMVMX};
use super::semop::Process;
use super::state::{Operation, SetState, Undo};
use super::wake::serve_all;

/// Where the undo of a process for a semaphore stands.
#[inline]
pub(super) fn find_undo(set: &impl SetState, owner: u32, number: u16) -> Option<u32> {
    (0..set.undos()).find(|index| {
        let undo = set.undo(*index);
        undo.number == number && undo.owner == owner
    })
}

/// Whether an operation asks for SEM_UNDO.
#[inline(always)]
pub(super) fn has_undo(op: Operation) -> bool {
    i32::from(op.flags) & SEM_UNDO != 0
}

/// Notes that a process has asked for SEM_UNDO: an undo of 0 for each semaphore that it has none for.
///
/// The process's end stamps the set for it even where the operations fail or are never carried out. Who fails at once may
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
            // The largest value bounds it likewise.
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
