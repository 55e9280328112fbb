//! Whether a namespace is as it must be, and its repair: for the command.

use super::error::Outcome;
use super::process::registry;
use crate::os::process;
use crate::storage::invariant::Broken;
use crate::storage::table::audit;
use crate::storage::{Stored, View, Whole};
use crate::sysv;

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
        view.audit(&mut |_, _| is_whole = false)?;
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
            audit::audit(held.table(), &mut |_, _| is_whole = false);
            Ok(view.audit(&mut |_, _| is_whole = false)?)
        });
        if audited.is_ok() && is_whole {
            return Ok(());
        }
    }
    view.audit(broken)
}

/// Repairs the namespace: what is derived from primary data, what the files tell of that, what the dead have left. With
/// `from_files` the table is thrown away, which may be beyond use, and made anew from the segments' files, which know less: no
/// times, no owner but the creator, no limits. Nobody may live in the namespace then; `Ok(false)`: somebody does.
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
    Ok(true)
}
