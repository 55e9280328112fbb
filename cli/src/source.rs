//! Where segments are: in a namespace of the library's, or in the kernel. What is told of them has one form for both.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::Serialize;
use shmshim_core::registry::Error as Failure;
use shmshim_core::registry::inspect::{self, Inspection};
use shmshim_core::sysv::{self, Kind};

use crate::bytes::Bytes;
use crate::error::{Error, Outcome};
use crate::kernel;
use crate::kinds;
use crate::output::escaped;
use crate::process;
use crate::rights::Rights;
use crate::segment::Which;
use crate::users::Names;
use crate::uses;

pub use crate::uses::Use;

/// The options that say where to look.
#[derive(clap::Args, Debug, Clone)]
pub struct Look {
    /// Look at the kernel's own objects, not at those of the library
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
                    Error::refused(format!("{} cannot be found: {error}", escaped(&directory)))
                })?;
                // Without a slash at its end.
                let absolute: PathBuf = absolute.components().collect();
                let found = inspect::open(absolute.as_os_str().as_bytes())?;
                Some(found.ok_or_else(|| {
                    Error::absent(format!(
                        "there is no {}; shmshim ls --all lists the namespaces that there are",
                        escaped(&directory)
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
pub const NO_NAMESPACE: &str = "there is no namespace here yet: no program has used System V IPC under the library; shmshim ls --all lists those that there are";

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
    /// What it is.
    pub kind: &'static str,
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
    /// See there.
    #[serde(flatten)]
    pub rights: Rights,
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
        let mut known = Known::default();
        let mut shown = Vec::new();
        match self {
            Source::Kernel => {
                for listed in kernel::segments()? {
                    shown.push(of_kernel(&listed, &mut known));
                }
            }
            Source::Namespace(inspection) => {
                inspection.now()?.each_segment(&mut |segment, _| {
                    shown.push(of_namespace(segment, &mut known));
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
            Source::Kernel => uses::of_kernel(&is_asked_for),
            Source::Namespace(inspection) => uses::of_namespace(inspection, &is_asked_for),
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
        kind: kinds::name(Kind::Segment),
        id: stat.id.raw(),
        key: stat.key.to_string(),
        size: stat.segsz,
        attaches: stat.nattch,
        dead_attaches: 0,
        rights: Rights::of(&stat.perm(), names),
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

/// What was asked for so far: many segments have one creator.
#[derive(Default)]
struct Known {
    names: Names,
    processes: BTreeMap<i32, Option<process::Facts>>,
}

impl Known {
    /// Whether the process that made a segment still runs, and what it is called. One that is younger than the segment has
    /// only got its number. `is_alive` is what is known otherwise.
    fn creator(
        &mut self,
        stat: &sysv::Segment,
        is_alive: Option<bool>,
    ) -> (Option<bool>, Option<String>) {
        if stat.cpid == 0 || is_alive == Some(false) {
            return (is_alive, None);
        }
        let look_up = || process::facts(stat.cpid);
        let facts = self.processes.entry(stat.cpid).or_insert_with(look_up);
        let is_it = |facts: &&process::Facts| {
            let is_older = facts
                .started
                .is_none_or(|started| started <= stat.ctime + 1);
            is_older && !facts.is_zombie
        };
        match facts.as_ref().filter(is_it) {
            Some(facts) => (Some(true), Some(facts.command.clone())),
            // One of another pid namespace is not to be seen.
            None if facts.is_none() && is_alive.is_some() => (is_alive, None),
            None => (Some(false), None),
        }
    }
}

fn of_kernel(listed: &kernel::Listed, known: &mut Known) -> Segment {
    let stat = &listed.stat;
    let (creator_alive, creator_command) = known.creator(stat, None);
    Segment {
        flags: flags(&[(stat.is_marked(), "dest"), (stat.is_locked(), "locked")]),
        creator_alive,
        creator_command,
        resident: listed.resident,
        swapped: Some(listed.swapped),
        ..named(stat, &mut known.names)
    }
}

fn of_namespace(segment: &inspect::Segment, known: &mut Known) -> Segment {
    let stat = &segment.stat;
    let (creator_alive, creator_command) = known.creator(stat, segment.creator_is_alive);
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
        creator_alive,
        creator_command,
        resident: segment.resident_bytes(),
        huge_page_size: segment.huge_page_bytes,
        file: segment.file.map(|file| file.path.to_string()),
        ..named(stat, &mut known.names)
    }
}
