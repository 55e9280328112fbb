//! Who is served after a change, and in which order: the kernel's.
//!
//! A process that changes a set carries out the operations of the sleepers that can go on then, in its own call, so that what it has
//! freed is theirs before it can take it again. There are two kinds of sleepers: *zero-waiters*, whose operations change
//! nothing, and *alterers*. A sleeper is *simple* with one operation and *complex* with more.
//!
//! 1. If a changed semaphore is 0, its simple zero-waiters are tried, and then all complex ones.
//! 2. Then the alterers are tried. Each one that can go on does at once, rule 1 is applied to what it has changed, and if it
//!    was complex, or others that are complex still sleep, the search begins again at the oldest.
//!
//! Both in the order of arrival. A try that ends in an error ends that sleep.

use super::attempt::{Asked, Attempt, Process, attempt};
use super::state::{Answer, SetState, Sleeper};
use crate::sysv::Errno;

/// Serves the sleepers that can go on, where any semaphore may have changed: after SETVAL, SETALL and an undo.
pub fn serve_all(set: &mut impl SetState, now: i64) {
    serve(set, None, now);
}

/// Serves the sleepers that can go on after the operations `changed` were carried out; `None`: after any change.
pub(super) fn serve(set: &mut impl SetState, changed: Option<Asked<'_>>, now: i64) {
    if set.sleepers() == 0 {
        return;
    }
    let zero = serve_zero_waiters(set, changed);
    let altered = serve_alterers(set, changed);
    if zero || altered {
        set.set_otime(now);
    }
}

/// How a sleeper's try went.
#[derive(PartialEq, Eq)]
enum Tried {
    /// It sleeps on.
    Blocked,
    /// It sleeps no more and has changed nothing.
    Failed,
    /// Its operations were carried out.
    Served,
}

fn waits(sleeper: &Sleeper) -> bool {
    sleeper.answer == Answer::Waits
}

fn is_complex(sleeper: &Sleeper) -> bool {
    sleeper.operations > 1
}

/// Tries the operations of a sleeper.
fn try_sleeper(set: &mut impl SetState, index: u32, sleeper: Sleeper) -> Tried {
    let by = Process {
        owner: sleeper.owner,
        pid: sleeper.pid,
    };
    let answer = match attempt(set, Asked::Sleeper(index), by) {
        Ok(Attempt::Done) => Answer::Done,
        Ok(Attempt::Blocked { no_wait: true, .. }) => Answer::Failed(Errno::Eagain),
        Ok(Attempt::Blocked { at, .. }) => {
            if at != sleeper.blocked_at {
                let blocked_at = at;
                set.set_sleeper(
                    index,
                    Sleeper {
                        blocked_at,
                        ..sleeper
                    },
                );
            }
            return Tried::Blocked;
        }
        Err(refusal) => Answer::Failed(refusal.errno),
    };
    set.set_sleeper(index, Sleeper { answer, ..sleeper });
    match answer {
        Answer::Done => Tried::Served,
        _ => Tried::Failed,
    }
}

/// Rule 1. Whether anybody was served.
fn serve_zero_waiters(set: &mut impl SetState, changed: Option<Asked<'_>>) -> bool {
    let mut served = false;
    let mut is_any_zero = false;
    match changed {
        Some(asked) => {
            for nth in 0..asked.count(set) {
                let number = asked.nth(set, nth).number;
                if set.value(u32::from(number)) == 0 {
                    is_any_zero = true;
                    served |= try_zero_waiters(set, |set, index, sleeper| {
                        !is_complex(sleeper) && set.operation(index, 0).number == number
                    });
                }
            }
        }
        // Of different semaphores they do not mind each other. Those whose semaphore is not 0 find it out.
        None => {
            served |= try_zero_waiters(set, |_, _, sleeper| !is_complex(sleeper));
            // That is all semaphores, and matters to few.
            is_any_zero = has(set, |sleeper| is_complex(sleeper) && !sleeper.alters)
                && (0..set.count()).any(|number| set.value(number) == 0);
        }
    }
    if is_any_zero {
        served |= try_zero_waiters(set, |_, _, sleeper| is_complex(sleeper));
    }
    served
}

/// Tries those zero-waiters that are meant. Whether anybody was served.
fn try_zero_waiters<S: SetState>(
    set: &mut S,
    is_meant: impl Fn(&S, u32, &Sleeper) -> bool,
) -> bool {
    let mut served = false;
    for index in 0..set.sleepers() {
        let sleeper = set.sleeper(index);
        if waits(&sleeper) && !sleeper.alters && is_meant(set, index, &sleeper) {
            served |= try_sleeper(set, index, sleeper) == Tried::Served;
        }
    }
    served
}

/// Whether such a sleeper sleeps.
fn has(set: &impl SetState, is_meant: impl Fn(&Sleeper) -> bool) -> bool {
    (0..set.sleepers()).any(|index| {
        let sleeper = set.sleeper(index);
        waits(&sleeper) && is_meant(&sleeper)
    })
}

/// Rule 2. Whether anybody was served.
fn serve_alterers(set: &mut impl SetState, changed: Option<Asked<'_>>) -> bool {
    let mut complex = (0..set.sleepers())
        .map(|index| set.sleeper(index))
        .filter(|sleeper| waits(sleeper) && sleeper.alters && is_complex(sleeper))
        .count();
    // Simple alterers wait for a larger value; a complex one can be asleep behind any value.
    if complex == 0 && changed.is_some_and(|asked| !increases(set, asked)) {
        return false;
    }
    let mut served = false;
    let mut index = 0;
    while index < set.sleepers() {
        let sleeper = set.sleeper(index);
        let tried = index;
        index += 1;
        if !waits(&sleeper) || !sleeper.alters {
            continue;
        }
        match try_sleeper(set, tried, sleeper) {
            Tried::Blocked => {}
            Tried::Failed => complex = complex.saturating_sub(usize::from(is_complex(&sleeper))),
            Tried::Served => {
                complex = complex.saturating_sub(usize::from(is_complex(&sleeper)));
                served = true;
                serve_zero_waiters(set, Some(Asked::Sleeper(tried)));
                if is_complex(&sleeper) || complex > 0 {
                    index = 0;
                }
            }
        }
    }
    served
}

/// Whether an operation adds to a value.
fn increases(set: &impl SetState, asked: Asked<'_>) -> bool {
    (0..asked.count(set)).any(|nth| asked.nth(set, nth).change > 0)
}

/// Before a complex sleeper takes its place: if it is the only one, the kernel merges the queues that it keeps for each
/// semaphore into one, those of later semaphores first. Simple alterers of different semaphores do not mind each other, but a
/// complex sleeper that is tried between two of them does, if one of its operations has IPC_NOWAIT.
pub(super) fn merge_queues(set: &mut impl SetState) {
    if set.sleepers() == 0 || has(set, is_complex) {
        return;
    }
    for index in 0..set.sleepers() {
        let Some(number) = simple_alterer(set, index) else {
            continue;
        };
        // Before those of earlier semaphores, and behind those of its own.
        let mut place = index;
        for older in (0..index).rev() {
            match simple_alterer(set, older) {
                Some(olders) if olders < number => {
                    set.swap_sleepers(older, place);
                    place = older;
                }
                Some(_) => break,
                None => {}
            }
        }
    }
}

/// The semaphore of a sleeper that would change a value, where no complex one sleeps.
fn simple_alterer(set: &impl SetState, index: u32) -> Option<u16> {
    let sleeper = set.sleeper(index);
    (waits(&sleeper) && sleeper.alters).then(|| set.operation(index, 0).number)
}
