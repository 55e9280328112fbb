//! Who has segments attached: in a namespace as its table counts them, in the kernel as the maps of all processes say.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use shmshim_core::registry::inspect::{self, Attach, Inspection, Process};
use shmshim_core::sysv::{self, Kind};

use crate::error::{Error, Outcome};
use crate::kernel;
use crate::participant::Participant;
use crate::process::{self, Address, Mapping};
use crate::users::Names;

/// What one process has attached of one segment; the names are those of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Use {
    /// Which process, and which segment.
    #[serde(flatten)]
    pub who: Participant,
    /// How often it has the segment attached.
    pub attaches: u64,
    /// Whether it cannot write there; none if its memory is not to be seen.
    pub read_only: Option<bool>,
    /// Where it has it.
    pub addresses: Vec<Address>,
}

fn is_read_only(addresses: &[Address]) -> Option<bool> {
    let writes = |address: &Address| address.access.contains('w');
    (!addresses.is_empty()).then(|| !addresses.iter().any(writes))
}

/// Those of the segments of the kernel's that are asked for.
pub fn of_kernel(is_asked_for: &dyn Fn(i32) -> bool) -> Outcome<Vec<Use>> {
    let segments = kernel::segments()?;
    let mut names = Names::default();
    let mut uses = Vec::new();
    let pids =
        process::all().map_err(|error| Error::refused(format!("/proc cannot be read: {error}")))?;
    for pid in pids {
        let mapped: Vec<_> = process::mappings(pid)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|mapping| Some((kernel::mapped_segment(&mapping)?, mapping)))
            .collect();
        if mapped.is_empty() || !process::is_in_ipc_namespace(pid) {
            continue;
        }
        let facts = process::facts(pid);
        for listed in &segments {
            let id = listed.stat.id.raw();
            let its = mapped.iter().filter(|(mapped, _)| *mapped == id);
            let addresses = process::addresses(its.map(|(_, mapping)| mapping));
            if !is_asked_for(id) || addresses.is_empty() {
                continue;
            }
            let object = (Kind::Segment, id, listed.stat.key.to_string());
            uses.push(Use {
                who: Participant::new(object, pid, facts.as_ref(), true, &mut names),
                attaches: addresses.len() as u64,
                read_only: is_read_only(&addresses),
                addresses,
            });
        }
    }
    uses.sort_by_key(|one| (order_of(one.who.id), one.who.pid));
    Ok(uses)
}

/// Ids in the order of their indices, as they are listed.
fn order_of(id: i32) -> u32 {
    id as u32 % sysv::SLOTS
}

/// The processes of a namespace, looked up in `/proc` once each.
struct Members<'n> {
    inspection: &'n Inspection,
    names: Names,
    /// By their cells.
    seen: BTreeMap<u32, (Process, Rc<Seen>)>,
}

/// What `/proc` shows of a process.
#[derive(Default)]
struct Seen {
    facts: Option<process::Facts>,
    /// Nothing, if its memory is not to be seen, or another process has its number here.
    mappings: Vec<Mapping>,
}

impl Members<'_> {
    fn look(&mut self, process: &Process) -> Rc<Seen> {
        match self.seen.get(&process.cell) {
            Some((known, seen)) if known == process => Rc::clone(seen),
            _ => {
                let seen = Rc::new(self.look_up(process));
                let known = (*process, Rc::clone(&seen));
                self.seen.insert(process.cell, known);
                seen
            }
        }
    }

    fn look_up(&self, process: &Process) -> Seen {
        if !process.is_alive || process.pid == 0 {
            return Seen::default();
        }
        let facts = process::facts(process.pid);
        let Ok(mappings) = process::mappings(process.pid) else {
            return Seen {
                facts,
                ..Seen::default()
            };
        };
        // It has its liveness file mapped. One that has not is another one: of another pid namespace than the one that has
        // entered its number into the table.
        let directory = self.inspection.namespace().directory;
        let live = format!("/live/{}", process.cell);
        let live = [directory.as_bytes(), live.as_bytes()].concat();
        match mappings.iter().any(|mapping| mapping.path() == live) {
            true => Seen { facts, mappings },
            false => Seen::default(),
        }
    }

    fn use_of(&mut self, segment: &inspect::Segment, attach: &Attach) -> Use {
        let process = &attach.process;
        let seen = self.look(process);
        let is_its = |mapping: &&Mapping| {
            segment.file.is_some_and(|file| {
                mapping.file == file.identity || mapping.path() == file.path.as_bytes()
            })
        };
        let addresses = process::addresses(seen.mappings.iter().filter(is_its));
        let stat = &segment.stat;
        let object = (Kind::Segment, stat.id.raw(), stat.key.to_string());
        Use {
            who: Participant::new(
                object,
                process.pid,
                seen.facts.as_ref(),
                process.is_alive,
                &mut self.names,
            ),
            attaches: attach.count.into(),
            read_only: is_read_only(&addresses),
            addresses,
        }
    }
}

/// Those of the segments of a namespace that are asked for.
pub fn of_namespace(
    inspection: &Inspection,
    is_asked_for: &dyn Fn(i32) -> bool,
) -> Outcome<Vec<Use>> {
    let mut members = Members {
        inspection,
        names: Names::default(),
        seen: BTreeMap::new(),
    };
    let mut uses = Vec::new();
    inspection.now()?.each_segment(&mut |segment, attaches| {
        if is_asked_for(segment.stat.id.raw()) {
            let its = attaches
                .iter()
                .map(|attach| members.use_of(segment, attach));
            uses.extend(its);
        }
    })?;
    uses.sort_by_key(|one| (order_of(one.who.id), one.who.pid));
    Ok(uses)
}
