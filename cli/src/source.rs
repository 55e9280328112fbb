//! Where segments are: in a namespace of the library's, or in the kernel. What is told of them has one form for both.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use serde::Serialize;
use shmshim_core::registry::Error as Failure;
use shmshim_core::registry::inspect::{self, Attach, Inspection, Process};
use shmshim_core::sysv;

use crate::bytes::Bytes;
use crate::error::{Error, Outcome};
use crate::kernel;
use crate::process::{self, Address, Mapping};
use crate::segment::Which;
use crate::users::Names;

/// The options that say where to look.
#[derive(clap::Args, Debug, Clone)]
pub struct Look {
    /// Look at the kernel's own segments, not at those of the library
    #[arg(long, conflicts_with_all = ["at", "dir", "scope"])]
    kernel: bool,
    /// The namespace in this runtime directory, as ls --all lists it
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["dir", "scope"], help_heading = "Namespace")]
    at: Option<PathBuf>,
}

impl Look {
    /// Where to look. `None`: there is no namespace yet.
    pub fn source(&self) -> Outcome<Option<Source>> {
        if self.kernel {
            return Ok(Some(Source::Kernel));
        }
        let found = match &self.at {
            None => inspect::here()?,
            Some(directory) => {
                let absolute = std::path::absolute(directory).map_err(|error| {
                    Error::refused(format!("{} cannot be found: {error}", directory.display()))
                })?;
                let found = inspect::open(absolute.as_os_str().as_bytes())?;
                Some(found.ok_or_else(|| {
                    Error::absent(format!(
                        "there is no {}; shmshim ls --all lists the namespaces that there are",
                        directory.display()
                    ))
                })?)
            }
        };
        Ok(found.map(|found| Source::Namespace(Box::new(found))))
    }

    /// The same for a command that needs a segment.
    pub fn existing(&self) -> Outcome<Source> {
        self.source()?.ok_or_else(|| Error::absent(NO_NAMESPACE))
    }
}

/// What is said where no program has run under the library yet.
pub const NO_NAMESPACE: &str = "there is no namespace here yet: no program has used System V shared memory under the library; shmshim ls --all lists those that there are";

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        Error::refused(failure.why.to_string())
    }
}

/// Where segments are.
pub enum Source {
    /// In a namespace of the library's.
    Namespace(Box<Inspection>),
    /// In the kernel.
    Kernel,
}

/// A segment as it is shown; the names are those of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Segment {
    /// Its id.
    pub id: i32,
    /// Its key, eight hexadecimal digits behind 0x.
    pub key: String,
    /// Bytes as asked for.
    pub size: u64,
    /// Attaches of living processes.
    pub attaches: u64,
    /// Attaches of dead ones that are still counted.
    pub dead_attaches: u64,
    /// Owner, and what it is called.
    pub uid: u32,
    /// See `uid`.
    pub owner: Option<String>,
    /// Group.
    pub gid: u32,
    /// See `gid`.
    pub group: Option<String>,
    /// Creator.
    pub cuid: u32,
    /// See `cuid`.
    pub creator: Option<String>,
    /// Creator's group.
    pub cgid: u32,
    /// The permission bits, octal.
    pub mode: String,
    /// What is special about it: see the help of ls.
    pub flags: Vec<&'static str>,
    /// When it was made or its rights changed, in seconds since 1970.
    pub changed: Option<i64>,
    /// When it was attached last.
    pub attached: Option<i64>,
    /// When it was detached last.
    pub detached: Option<i64>,
    /// The process that made it.
    pub creator_pid: Option<i32>,
    /// Whether that still runs.
    pub creator_alive: Option<bool>,
    /// What it is called.
    pub creator_command: Option<String>,
    /// The process that attached or detached last.
    pub last_pid: Option<i32>,
    /// Bytes that are in memory, or on the disk.
    pub resident: u64,
    /// Bytes that are swapped out, where they are counted apart.
    pub swapped: Option<u64>,
    /// The size of its huge pages.
    pub huge_page_size: Option<u64>,
    /// Its file.
    pub file: Option<String>,
    /// The key as a number.
    #[serde(skip)]
    pub raw_key: i32,
}

/// What one process has attached of one segment; the names are those of `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Use {
    /// The segment.
    pub id: i32,
    /// Its key.
    pub key: String,
    /// The process; none while it is being forked.
    pub pid: Option<i32>,
    /// Its effective user, and what that is called.
    pub uid: Option<u32>,
    /// See `uid`.
    pub user: Option<String>,
    /// Its command line.
    pub command: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: Option<i64>,
    /// False for a process that has ended without a detach, and is still counted.
    pub alive: bool,
    /// How often it has the segment attached.
    pub attaches: u64,
    /// Whether it cannot write there; none if its memory is not to be seen.
    pub read_only: Option<bool>,
    /// Where it has it.
    pub addresses: Vec<Address>,
}

impl Source {
    /// What sentences call it.
    pub fn name(&self) -> String {
        match self {
            Source::Namespace(inspection) => inspection.namespace().directory.to_string(),
            Source::Kernel => "the kernel".to_owned(),
        }
    }

    /// All segments, by rising index.
    pub fn segments(&self) -> Outcome<Vec<Segment>> {
        let mut names = Names::default();
        let mut shown = Vec::new();
        match self {
            Source::Kernel => {
                for listed in kernel::segments()? {
                    shown.push(of_kernel(&listed, &mut names));
                }
            }
            Source::Namespace(inspection) => {
                inspection.now()?.each_segment(&mut |segment, _| {
                    shown.push(of_namespace(segment, &mut names));
                })?;
            }
        }
        Ok(shown)
    }

    /// The segment that is meant.
    pub fn segment(&self, which: &Which) -> Outcome<Segment> {
        let mut segments = self.segments()?;
        let known: Vec<_> = segments.iter().map(|one| (one.id, one.raw_key)).collect();
        let id = which.find(&known, &self.name())?;
        segments.retain(|one| one.id == id);
        segments
            .pop()
            .ok_or_else(|| Error::absent(format!("segment {id} was removed meanwhile")))
    }

    /// Who has segments attached: this one, or any.
    pub fn uses(&self, id: Option<i32>) -> Outcome<Vec<Use>> {
        let is_asked_for = |one: i32| id.is_none_or(|id| id == one);
        match self {
            Source::Kernel => uses_of_kernel(&is_asked_for),
            Source::Namespace(inspection) => uses_of_namespace(inspection, &is_asked_for),
        }
    }

    /// A segment's bytes, to be read.
    pub fn bytes(&self, segment: &Segment) -> Outcome<Bytes> {
        let id = sysv::ShmId::from_raw(segment.id)
            .map_err(|refusal| Error::usage(Failure::from(refusal).why.to_string()))?;
        match self {
            Source::Kernel => Ok(Bytes::of_kernel(kernel::bytes(id)?, segment.size)),
            Source::Namespace(inspection) => {
                let opened = inspection
                    .open_file(id)?
                    .ok_or_else(|| Error::absent(format!("segment {id} was removed meanwhile")))?;
                Ok(Bytes::of_file(File::from(opened), segment.size))
            }
        }
    }
}

fn named(stat: &sysv::Segment, names: &mut Names) -> Segment {
    let time = |secs: i64| (secs != 0).then_some(secs);
    let pid = |pid: i32| (pid != 0).then_some(pid);
    Segment {
        id: stat.id.raw(),
        key: stat.key.to_string(),
        size: stat.segsz,
        attaches: stat.nattch,
        dead_attaches: 0,
        uid: stat.uid,
        owner: names.user(stat.uid),
        gid: stat.gid,
        group: names.group(stat.gid),
        cuid: stat.cuid,
        creator: names.user(stat.cuid),
        cgid: stat.cgid,
        mode: format!("{:04o}", stat.mode & 0o777),
        flags: Vec::new(),
        changed: time(stat.ctime),
        attached: time(stat.atime),
        detached: time(stat.dtime),
        creator_pid: pid(stat.cpid),
        creator_alive: None,
        creator_command: None,
        last_pid: pid(stat.lpid),
        resident: 0,
        swapped: None,
        huge_page_size: None,
        file: None,
        raw_key: stat.key.0,
    }
}

/// The names of those flags that are set.
fn flags(all: &[(bool, &'static str)]) -> Vec<&'static str> {
    let set = all.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| *name).collect()
}

fn command_of_living(pid: i32, is_alive: Option<bool>) -> Option<String> {
    let facts = process::facts(pid).filter(|_| is_alive == Some(true));
    facts.map(|facts| facts.command)
}

fn of_kernel(listed: &kernel::Listed, names: &mut Names) -> Segment {
    let stat = &listed.stat;
    let creator_alive = kernel::creator_is_alive(stat);
    Segment {
        flags: flags(&[(stat.is_marked(), "dest"), (stat.is_locked(), "locked")]),
        creator_alive,
        creator_command: command_of_living(stat.cpid, creator_alive),
        resident: listed.resident,
        swapped: Some(listed.swapped),
        ..named(stat, names)
    }
}

fn of_namespace(segment: &inspect::Segment, names: &mut Names) -> Segment {
    let stat = &segment.stat;
    Segment {
        dead_attaches: segment.counted.saturating_sub(stat.nattch),
        flags: flags(&[
            (stat.is_marked() && !segment.is_over(), "dest"),
            (segment.is_over(), "over"),
            (stat.is_locked(), "locked"),
            (segment.huge_page_bytes.is_some(), "huge"),
            (segment.is_unreserved, "noreserve"),
            (segment.has_overdue_rights, "rights"),
            (segment.is_unlinked, "unlinked"),
            (segment.is_unfinished, "unfinished"),
        ]),
        creator_alive: segment.creator_is_alive,
        creator_command: command_of_living(stat.cpid, segment.creator_is_alive),
        resident: segment.resident_bytes(),
        huge_page_size: segment.huge_page_bytes,
        file: segment.file.map(|file| file.path.to_string()),
        ..named(stat, names)
    }
}

fn is_read_only(addresses: &[Address]) -> Option<bool> {
    let writes = |address: &Address| address.access.contains('w');
    (!addresses.is_empty()).then(|| !addresses.iter().any(writes))
}

fn uses_of_kernel(is_asked_for: &dyn Fn(i32) -> bool) -> Outcome<Vec<Use>> {
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
            let uid = facts.as_ref().map(|facts| facts.uid);
            uses.push(Use {
                id,
                key: listed.stat.key.to_string(),
                pid: Some(pid),
                uid,
                user: uid.and_then(|uid| names.user(uid)),
                command: facts.as_ref().map(|facts| facts.command.clone()),
                started: facts.as_ref().and_then(|facts| facts.started),
                alive: true,
                attaches: addresses.len() as u64,
                read_only: is_read_only(&addresses),
                addresses,
            });
        }
    }
    uses.sort_by_key(|one| (order_of(one.id), one.pid));
    Ok(uses)
}

/// Ids in the order of their indices, as they are listed.
fn order_of(id: i32) -> u32 {
    id as u32 % sysv::SLOTS
}

/// The processes of a namespace, looked up in `/proc` once each.
struct Known<'n> {
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

impl Known<'_> {
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
        let uid = seen.facts.as_ref().map(|facts| facts.uid);
        Use {
            id: segment.stat.id.raw(),
            key: segment.stat.key.to_string(),
            pid: (process.pid != 0).then_some(process.pid),
            uid,
            user: uid.and_then(|uid| self.names.user(uid)),
            started: seen.facts.as_ref().and_then(|facts| facts.started),
            command: seen.facts.as_ref().map(|facts| facts.command.clone()),
            alive: process.is_alive,
            attaches: attach.count.into(),
            read_only: is_read_only(&addresses),
            addresses,
        }
    }
}

fn uses_of_namespace(
    inspection: &Inspection,
    is_asked_for: &dyn Fn(i32) -> bool,
) -> Outcome<Vec<Use>> {
    let mut known = Known {
        inspection,
        names: Names::default(),
        seen: BTreeMap::new(),
    };
    let mut uses = Vec::new();
    inspection.now()?.each_segment(&mut |segment, attaches| {
        if is_asked_for(segment.stat.id.raw()) {
            let its = attaches.iter().map(|attach| known.use_of(segment, attach));
            uses.extend(its);
        }
    })?;
    uses.sort_by_key(|one| (order_of(one.id), one.pid));
    Ok(uses)
}
