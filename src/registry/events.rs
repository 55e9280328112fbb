//! The last events of a namespace, read without being in it: for the command.

use super::error::Outcome;
use super::inspect::Inspection;
use super::process::registry_if_open;
use crate::storage::table::events::{LIMITS, Noted, Process, What};
use crate::sysv::ShmId;

/// A process, as events name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct By {
    /// Its id.
    pub pid: i32,
    /// Its effective uid.
    pub uid: u32,
    /// The first bytes of the name of its program, NULs behind it.
    pub program: [u8; 16],
}

/// One event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Its number: events are numbered from 0 on, and the numbers of those that could not be noted are given again.
    pub number: u64,
    /// Nanoseconds since 1970, by a clock that ticks every few milliseconds.
    pub at_nanos: u64,
    /// What happened.
    pub what: Happening,
    /// The process that did it, or to which it happened.
    pub by: By,
}

/// A segment, as events name it: by its id, and by the key that it was created with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// Its id.
    pub id: i32,
    /// Its key.
    pub key: i32,
}

/// What a segment was created from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nothing: by shmget.
    Nothing,
    /// One of the kernel's segments.
    Kernel,
    /// A saved namespace.
    Saved,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the sentences of `shmshim log` say it")]
pub enum Happening {
    /// The namespace was made.
    NamespaceMade,
    /// The namespace's table had been removed, and was made anew from the files of so many segments.
    NamespaceRestored { segments: u64 },
    /// A segment was created.
    Created {
        segment: Subject,
        bytes: u64,
        origin: Origin,
    },
    /// IPC_RMID of a segment that was attached so often.
    Marked { segment: Subject, nattch: u64 },
    /// IPC_RMID of a segment that nobody had attached.
    Removed { segment: Subject },
    /// A segment's file was removed from under it, while it was attached so often.
    FileLost { segment: Subject, nattch: u64 },
    /// A removed segment went with its last attach.
    FreedByDetach { segment: Subject },
    /// A removed segment went with a process that has ended.
    FreedByEnd { segment: Subject, reaper: i32 },
    /// `shm_rmid_forced`: a segment went because nobody had it attached and its creator had ended.
    FreedAsOrphan { segment: Subject },
    /// IPC_SET.
    Set {
        segment: Subject,
        uid: u32,
        gid: u32,
        mode: u32,
    },
    /// A limit was set.
    LimitSet { name: &'static str, value: u64 },
    /// A process had ended with so many attaches.
    FoundDead { nattch: u64, reaper: i32 },
}

impl Happening {
    /// The segment that it is about.
    pub fn segment(&self) -> Option<Subject> {
        use Happening::*;
        match *self {
            Created { segment, .. }
            | Marked { segment, .. }
            | Removed { segment }
            | FileLost { segment, .. }
            | FreedByDetach { segment }
            | FreedByEnd { segment, .. }
            | FreedAsOrphan { segment }
            | Set { segment, .. } => Some(segment),
            NamespaceMade | NamespaceRestored { .. } | LimitSet { .. } | FoundDead { .. } => None,
        }
    }
}

/// Calls `each` with every event that the process's own namespace has kept from number `from` on. Returns the number of the
/// next one.
pub fn each_since(from: u64, each: &mut dyn FnMut(&Event)) -> u64 {
    let Some(registry) = registry_if_open() else {
        return from;
    };
    let table = registry.namespace.table();
    let kept = table.events();
    for number in kept.start.max(from)..kept.end {
        if let Some(event) = table.event_of(number).and_then(|noted| event(&noted)) {
            each(&event);
        }
    }
    kept.end
}

/// Which process removed the segment that had this key last, as far as the process's own namespace remembers it. `None`: it knows of
/// no such segment, or the segment that has the key is there.
pub fn last_removal(key: i32) -> Option<Event> {
    let table = registry_if_open()?.namespace.table();
    let mut numbers = table.events();
    let mut found = None;
    while let Some(number) = numbers.next_back() {
        let about_it = table
            .event_of(number)
            .and_then(|noted| event(&noted))
            .filter(|event| {
                event
                    .what
                    .segment()
                    .is_some_and(|segment| segment.key == key)
            });
        match about_it.map(|event| (event, event.what)) {
            Some((_, Happening::Created { .. })) => break,
            Some((event, Happening::Marked { .. } | Happening::Removed { .. })) => {
                return Some(event);
            }
            Some((event, what)) if found.is_none() && !matches!(what, Happening::Set { .. }) => {
                found = Some(event)
            }
            _ => {}
        }
    }
    found
}

impl Inspection {
    /// Calls `each` with every event that is kept from number `from` on, the oldest first. Returns the number of the next
    /// one that there will be.
    pub fn each_event(&self, from: u64, each: &mut dyn FnMut(&Event)) -> Outcome<u64> {
        self.view.check_whole()?;
        let kept = self.view.events();
        for number in kept.start.max(from)..kept.end {
            // What does not make sense was damaged, and is passed over as what is torn.
            if let Some(event) = self.view.event(number).and_then(|noted| event(&noted)) {
                each(&event);
            }
        }
        Ok(kept.end)
    }
}

fn event(noted: &Noted) -> Option<Event> {
    let what = happening(noted)?;
    if let Some(segment) = what.segment() {
        ShmId::from_raw(segment.id).ok()?;
    }
    let Process { pid, uid, .. } = noted.by;
    let mut program = [0; 16];
    for (to, byte) in program.iter_mut().zip(noted.by.program_bytes()) {
        *to = byte;
    }
    Some(Event {
        number: noted.number,
        at_nanos: noted.at_nanos,
        what,
        by: By { pid, uid, program },
    })
}

fn happening(noted: &Noted) -> Option<Happening> {
    let Noted {
        id,
        key,
        value,
        other,
        ..
    } = *noted;
    let segment = Subject { id, key };
    let reaper = other as i32;
    Some(match noted.what {
        What::NamespaceMade => Happening::NamespaceMade,
        What::NamespaceRestored => Happening::NamespaceRestored { segments: value },
        What::Created | What::Imported | What::Restored => Happening::Created {
            segment,
            bytes: value,
            origin: match noted.what {
                What::Imported => Origin::Kernel,
                What::Restored => Origin::Saved,
                _ => Origin::Nothing,
            },
        },
        What::Marked => Happening::Marked {
            segment,
            nattch: value,
        },
        What::Removed => Happening::Removed { segment },
        What::FileLost => Happening::FileLost {
            segment,
            nattch: value,
        },
        What::FreedByDetach => Happening::FreedByDetach { segment },
        What::FreedByEnd => Happening::FreedByEnd { segment, reaper },
        What::FreedAsOrphan => Happening::FreedAsOrphan { segment },
        What::Set => Happening::Set {
            segment,
            uid: (value >> 32) as u32,
            gid: value as u32,
            mode: other,
        },
        What::LimitSet => Happening::LimitSet {
            name: LIMITS.get(id as usize)?,
            value,
        },
        What::FoundDead => Happening::FoundDead {
            nattch: value,
            reaper,
        },
    })
}
