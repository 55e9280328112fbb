//! What is no call and stands in the trace all the same: what this process is and where, forks and execs with attaches, the
//! files under /proc, and what the namespace has noted of this process (`registry/events.rs`).

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use shmshim_core::os::process;
use shmshim_core::registry;
use shmshim_core::registry::events::{Event, Happening};

use crate::panic_guard;
use crate::report::Name;
use crate::settings;
use crate::trace::line::Line;
use crate::trace::{DESTINATION, Stamp, format, json};

/// Whether events are asked for. It reads no setting: a process that has made no call has none.
#[inline]
pub fn are_on() -> bool {
    settings::is_known_on() && DESTINATION.is_set() && format::has(format::EVENTS)
}

/// Writes an event, if events are asked for.
pub fn say(event: &str, numbers: &[(&str, u64)], put: &dyn Fn(&mut Line)) {
    if are_on() {
        panic_guard::catch(|| write(event, numbers, put));
    }
}

#[cold]
#[inline(never)]
fn write(event: &str, numbers: &[(&str, u64)], put: &dyn Fn(&mut Line)) {
    let stamp = Stamp::now(0);
    let mut line = Line::new();
    if format::has(format::JSON) {
        json::event(&mut line, event, numbers, &stamp, put);
    } else {
        json::prefix(&mut line, DESTINATION.is_file(), &stamp);
        line.put(format_args!("--- "));
        put(&mut line);
        line.put(format_args!(" ---"));
    }
    DESTINATION.write(&mut line, "trace");
}

/// The first line of a process.
pub fn begin() {
    let version = env!("CARGO_PKG_VERSION");
    match registry::chosen_place() {
        Ok((directory, why)) => say("process", &[], &|line| {
            line.put(format_args!(
                "shmshim {version} serves {} in {directory}, because {why}",
                Name::own()
            ));
        }),
        Err(error) => say("process", &[], &|line| {
            line.put(format_args!(
                "shmshim {version} serves {} nowhere: {}",
                Name::own(),
                error.why
            ));
        }),
    }
}

/// Before a fork.
pub fn forks() {
    if let Some(attaches) = count() {
        say("fork", &[("attaches", attaches)], &|line| {
            line.put(format_args!("forks with {attaches} attached"));
        });
    }
}

/// In the child.
#[inline]
pub fn is_forked() {
    // A frame may be on a page of the stack that would be copied.
    if are_on() {
        tell_child();
    }
}

#[cold]
#[inline(never)]
fn tell_child() {
    if let Some(attaches) = count() {
        let parent = process::parent_pid();
        say(
            "child",
            &[("attaches", attaches), ("parent", parent as u64)],
            &|line| {
                line.put(format_args!(
                    "is a child of {parent}, with {attaches} attached"
                ));
            },
        );
    }
}

/// Before another program takes this one's place.
pub fn executes() {
    if let Some(attaches) = count() {
        say("exec", &[("attaches", attaches)], &|line| {
            line.put(format_args!(
                "executes another program, if it can, which drops {attaches} attached"
            ));
        });
    }
}

/// At its exit.
pub fn exits() {
    if let Some(attaches) = count() {
        say("exit", &[("attaches", attaches)], &|line| {
            line.put(format_args!("exits with {attaches} attached"));
        });
    }
}

/// How many attaches there are, if events are asked for and there are any.
#[inline]
fn count() -> Option<u64> {
    match are_on() {
        true => panic_guard::catch(registry::count_attaches).filter(|count| *count != 0),
        false => None,
    }
}

/// The number of the event that has not been looked at yet.
static NEXT: AtomicU64 = AtomicU64::new(0);
/// The namespace's clock ticks every few milliseconds.
const TICK_NANOS: u64 = 10_000_000;

/// Behind each call: what the namespace has noted of this process meanwhile.
pub fn follow() {
    if !are_on() {
        return;
    }
    let pid = process::pid();
    let next = registry::events::each_since(NEXT.load(Relaxed), &mut |event| {
        let is_new = event.at_nanos.saturating_add(TICK_NANOS) >= format::begun_at();
        if is_new && doer(event) == pid {
            tell(event);
        }
    });
    NEXT.store(next, Relaxed);
}

fn doer(event: &Event) -> i32 {
    match event.what {
        Happening::FreedByEnd { reaper, .. } | Happening::FoundDead { reaper, .. } => reaper,
        _ => event.by.pid,
    }
}

fn tell(event: &Event) {
    let by = &event.by;
    let dead = Name(by.program);
    match event.what {
        Happening::NamespaceMade => say("namespace-made", &[], &|line| {
            line.put(format_args!("has made the namespace"));
        }),
        Happening::NamespaceRestored { segments } => say("namespace-restored", &[], &|line| {
            line.put(format_args!(
                "has made the table anew, which was missing, from {segments} segment files"
            ));
        }),
        Happening::FoundDead { nattch, .. } => say(
            "found-dead",
            &[("attaches", nattch), ("dead", by.pid as u64)],
            &|line| {
                line.put(format_args!(
                    "found that pid {} ({dead}) had ended with {nattch} attached",
                    by.pid
                ));
            },
        ),
        Happening::FreedByEnd { segment, .. } => say("freed", &[], &|line| {
            line.put(format_args!(
                "segment {} went with the end of pid {} ({dead})",
                segment.id, by.pid
            ));
        }),
        Happening::FreedByDetach { segment } => say("freed", &[], &|line| {
            line.put(format_args!(
                "segment {} went with its last attach",
                segment.id
            ));
        }),
        Happening::FreedAsOrphan { segment } => say("freed", &[], &|line| {
            line.put(format_args!(
                "segment {} went because of shm_rmid_forced: no process had it attached, and its creator had ended",
                segment.id
            ));
        }),
        Happening::FileLost { segment, .. } => say("file-lost", &[], &|line| {
            line.put(format_args!("segment {} has lost its file", segment.id));
        }),
        // The line of the call says it.
        Happening::Created { .. }
        | Happening::Marked { .. }
        | Happening::Removed { .. }
        | Happening::Set { .. }
        | Happening::LimitSet { .. } => {}
    }
}
