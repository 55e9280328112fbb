//! Every namespace on this machine: those in the places where programs make them, and those that living processes use
//! wherever they lie.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use shmshim_core::registry::inspect::{self, Inspection, Scope};

use crate::error::{Error, Outcome};
use crate::process;
use crate::users::{Names, shown};

/// Where programs make namespaces that are not told another place.
const BASES: [&str; 3] = ["/run/shmshim", "/dev/shm", "/tmp"];

/// A namespace as it is listed; the names are those of `--json`.
#[derive(Debug, Serialize)]
pub struct Namespace {
    /// Its runtime directory.
    pub directory: String,
    /// For whom it is: user or system.
    pub scope: &'static str,
    /// Whose it is, and what that is called.
    pub uid: u32,
    /// See `uid`.
    pub owner: Option<String>,
    /// Its segments.
    pub segments: usize,
    /// Their bytes, as asked for.
    pub size: u64,
    /// Bytes that it takes in memory or on the disk, its table included, and the file of semaphores and queues.
    pub resident: u64,
    /// Attaches of living processes.
    pub attaches: u64,
    /// Its semaphore sets.
    pub sets: usize,
    /// Its message queues.
    pub queues: usize,
    /// The living processes that are in it.
    pub pids: Vec<i32>,
    /// Whose those are.
    pub users: Vec<String>,
    /// The version of its table's layout.
    pub version: u32,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// The namespaces that can be read, by their paths.
    pub namespaces: Vec<Namespace>,
    /// What is wrong with those that would be refused.
    pub refused: Vec<String>,
    /// How many this user may not read.
    pub closed: usize,
    /// How many were removed from under processes that are in them.
    pub removed: usize,
    /// How many are used by processes that have another view of the file system.
    pub elsewhere: usize,
}

/// Looks for all namespaces.
pub fn survey() -> Outcome<Survey> {
    let mut found = BTreeSet::new();
    let setting = std::env::var_os("SHMSHIM_DIR").map(PathBuf::from);
    for base in BASES.iter().map(PathBuf::from).chain(setting) {
        found.extend(in_base(&base));
    }
    let mapped = of_processes()?;
    found.extend(mapped.iter().map(|one| one.directory.clone()));
    let mut survey = Survey::default();
    let (mut known, mut names) = (BTreeSet::new(), Names::default());
    for directory in &found {
        survey.add(directory, &mut known, &mut names)?;
    }
    for one in &mapped {
        if !known.contains(&one.table) && !one.is_in_sight() && !is_closed(&one.directory) {
            match one.is_removed {
                true => survey.removed += 1,
                false => survey.elsewhere += 1,
            }
        }
    }
    Ok(survey)
}

impl Survey {
    fn add(
        &mut self,
        directory: &Path,
        known: &mut BTreeSet<(u64, u64)>,
        names: &mut Names,
    ) -> Outcome<()> {
        match inspect::open(directory.as_os_str().as_bytes()) {
            Ok(Some(inspection)) => {
                if known.insert(inspection.namespace().identity) {
                    let mut listed = summary(&inspection, names)?;
                    if let Err(error) = count_objects(&inspection, &mut listed) {
                        self.refused.push(error.sentence);
                    }
                    self.namespaces.push(listed);
                }
            }
            Ok(None) => {}
            Err(_) if is_closed(directory) => self.closed += 1,
            Err(failure) => self.refused.push(failure.why.to_string()),
        }
        Ok(())
    }
}

/// Whether this user may not look into a directory.
fn is_closed(directory: &Path) -> bool {
    fs::read_dir(directory).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

fn in_base(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries
        .filter(|entry| inspect::scope_of_name(entry.file_name().as_bytes()).is_some())
        .map(|entry| entry.path())
        .collect()
}

/// A table that a process has mapped.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mapped {
    /// The runtime directory that the process saw it in.
    directory: PathBuf,
    /// Device and inode.
    table: (u64, u64),
    /// It has no name any more.
    is_removed: bool,
}

impl Mapped {
    /// Whether it is what this process finds there, too.
    fn is_in_sight(&self) -> bool {
        let seen = fs::symlink_metadata(self.directory.join("registry"));
        seen.is_ok_and(|seen| (seen.dev(), seen.ino()) == self.table)
    }
}

fn of_processes() -> Outcome<BTreeSet<Mapped>> {
    let pids =
        process::all().map_err(|error| Error::refused(format!("/proc cannot be read: {error}")))?;
    let mut found = BTreeSet::new();
    for pid in pids {
        for mapping in process::mappings(pid).unwrap_or_default() {
            let path = PathBuf::from(OsString::from_vec(mapping.path().to_vec()));
            let is_table = path.file_name().is_some_and(|name| name == "registry");
            let Some(directory) = path.parent().filter(|_| is_table) else {
                continue;
            };
            let name = directory.file_name().unwrap_or_default();
            if inspect::scope_of_name(name.as_bytes()).is_some() {
                found.insert(Mapped {
                    directory: directory.to_owned(),
                    table: mapping.file,
                    is_removed: mapping.path().len() < mapping.path.len(),
                });
            }
        }
    }
    Ok(found)
}

/// Semaphore sets and message queues: what is wrong with their file is no reason not to list the rest.
fn count_objects(inspection: &Inspection, listed: &mut Namespace) -> Outcome<()> {
    if let Some(objects) = inspection.objects()? {
        listed.resident += objects.file_bytes();
        objects.each_set(&mut |_| listed.sets += 1)?;
        objects.each_queue(&mut |_| listed.queues += 1)?;
    }
    Ok(())
}

fn summary(inspection: &Inspection, names: &mut Names) -> Outcome<Namespace> {
    let facts = inspection.namespace();
    let now = inspection.now()?;
    let mut listed = Namespace {
        directory: facts.directory.to_string(),
        scope: match facts.scope {
            Scope::User => "user",
            Scope::System => "system",
        },
        uid: facts.owner,
        owner: names.user(facts.owner),
        segments: 0,
        size: 0,
        resident: facts.table_bytes,
        attaches: 0,
        sets: 0,
        queues: 0,
        pids: Vec::new(),
        users: Vec::new(),
        version: facts.version,
    };
    now.each_segment(&mut |segment, _| {
        listed.segments += 1;
        listed.size = listed.size.saturating_add(segment.stat.segsz);
        listed.resident += segment.resident_bytes();
        listed.attaches += segment.stat.nattch;
    })?;
    let living = now.processes().iter().filter(|process| process.is_alive);
    let mut users = BTreeSet::new();
    for process in living.filter(|process| process.pid != 0) {
        listed.pids.push(process.pid);
        if let Some(facts) = process::facts(process.pid) {
            users.insert(shown(names.user(facts.uid).as_deref(), facts.uid));
        }
    }
    listed.pids.sort_unstable();
    listed.users = users.into_iter().collect();
    Ok(listed)
}
