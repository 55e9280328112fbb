//! Whether a namespace is as it must be, and its repair: for the command.

use super::error::{Error, Outcome, Why};
use super::objects::objects;
use super::process::registry;
use super::rules;
use crate::os::process;
use crate::storage::invariant::Broken;
use crate::storage::table;
use crate::storage::{StorageError, Stored, View, Whole, sentence};
use crate::sysv;
use crate::sysv::msg::MsgLimits;

pub use crate::os::path::Path;
pub use crate::storage::invariant::Invariant;

/// How often a namespace that looks damaged is looked at, because it may be in the middle of a change.
const LOOKS: u32 = 10;
const NAP_NANOS: u32 = 10_000_000;

/// Tells `broken` what is not as it must be in the namespace that the settings name, and `left` what killed makers and removers
/// have left. Nothing is changed. `Ok(false)`: there is none.
pub fn check(broken: &mut Broken<'_>, left: &mut dyn FnMut(&Path)) -> Outcome<bool> {
    sysv::set_page_size(process::page_size() as u64);
    let whole = match Whole::chosen() {
        Ok(Some(whole)) => whole,
        Ok(None) => return Ok(false),
        Err(error) => {
            broken(Invariant::Directory, format_args!("{error}"));
            return Ok(true);
        }
    };
    whole.for_each_leftover(left)?;
    let mut parts_are_there = true;
    whole.check_parts(&mut |error| {
        parts_are_there = false;
        broken(Invariant::Directory, format_args!("{error}"));
    });
    match View::chosen() {
        _ if !parts_are_there => {}
        Ok(Some(view)) => look(&view, broken)?,
        Ok(None) => return Ok(false),
        Err(error) => broken(Invariant::Table, format_args!("{error}")),
    }
    Ok(true)
}

fn look(view: &View, broken: &mut Broken<'_>) -> Stored<()> {
    for _ in 0..LOOKS {
        let mut is_whole = true;
        audit(view, &mut |_, _| is_whole = false)?;
        if is_whole {
            return Ok(());
        }
        process::nap(NAP_NANOS);
    }
    // Where others live, a change may have been met each time. With the lock held there is none.
    let mut others = false;
    view.for_each_member(&mut |member| others |= member.is_alive);
    if others && !view.has_dead_locker() {
        let mut is_whole = true;
        let audited = registry().and_then(|registry| {
            let session = registry.enter()?;
            let held = session.lock()?;
            table::audit::audit(held.table(), &mut |_, _| is_whole = false);
            Ok(audit(view, &mut |_, _| is_whole = false)?)
        });
        if audited.is_ok() && is_whole {
            return Ok(());
        }
    }
    audit(view, broken)
}

/// What storage can tell, and what of the limits the rules would not have let anybody set: a count that is too large lets calls
/// sleep that should be refused.
fn audit(view: &View, broken: &mut Broken<'_>) -> Stored<()> {
    view.audit(broken)?;
    let Ok(Some(ipc)) = view.ipc() else {
        return Ok(());
    };
    let (sem, msg) = (
        rules::sem_limits_of(ipc.sem_limits()),
        rules::msg_limits_of(ipc.msg_limits()),
    );
    if !sem.are_possible() {
        let semmni = sem.semmni;
        broken(
            Invariant::Ipc,
            format_args!("its semmni is {semmni}, which nobody can have set"),
        );
    }
    if !msg.are_possible() {
        let MsgLimits {
            msgmax,
            msgmnb,
            msgmni,
        } = msg;
        broken(
            Invariant::Ipc,
            format_args!(
                "its msgmax, msgmnb and msgmni are {msgmax}, {msgmnb} and {msgmni}, which nobody can have set"
            ),
        );
    }
    Ok(())
}

/// Whether the file of sets and queues is none that this version can read.
fn is_beyond_use(error: &Error) -> bool {
    match error.why {
        Why::Surroundings(StorageError::Damaged { .. }) => true,
        Why::Surroundings(StorageError::Refused(refused)) => {
            refused.sentence == sentence::OTHER_VERSION
        }
        _ => false,
    }
}

/// Repairs the namespace: what is derived from primary data, what the files tell of that, what the dead have left. With
/// `from_files` the table is thrown away, which may be beyond use, and made anew from the segments' files, which know less: no
/// times, no owner but the creator, no limits. No process may live in the namespace then; `Ok(false)`: one does.
pub fn repair(from_files: bool) -> Outcome<bool> {
    let Some(whole) = Whole::chosen()? else {
        return Ok(true);
    };
    if from_files {
        if whole.count_living()? > 0 {
            return Ok(false);
        }
        whole.remove_table()?;
    }
    let registry = registry()?;
    let session = registry.enter()?;
    registry.namespace.mend(session.me)?;
    session.sweep();
    whole.remove_leftovers()?;
    drop(session);
    // One is this process.
    let is_alone = || whole.count_living().is_ok_and(|living| living == 1);
    match objects() {
        Ok(objects) => objects.mend(&is_alone)?,
        Err(error) if from_files && is_beyond_use(&error) => whole.remove_objects()?,
        // The next look says why.
        Err(_) => {}
    }
    Ok(true)
}
