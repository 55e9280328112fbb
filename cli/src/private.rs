//! A namespace for one run, and what the program left in it.

use std::ffi::OsString;
use std::fmt::Write;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use serde::Serialize;
use shmshim_core::registry::events::{By, Event, Happening};
use shmshim_core::registry::inspect::{self, Attach, Moment, Segment};
use shmshim_core::registry::{self, whole};
use tempfile::TempDir;

use crate::error::{Error, Outcome, RUN_FAILED};
use crate::objects;
use crate::output::{self, escaped};
use crate::process;

/// What the directory's name begins with.
const PREFIX: &str = "shmshim-run.";
/// The file in a directory that is kept.
const KEPT: &str = "kept";

/// A fresh base directory. It is removed with this value, unless it is kept.
pub struct Private {
    directory: TempDir,
    /// Locked as long as this process lives: a directory without a lock was left by one that was killed.
    _lock: OwnedFd,
}

/// What is left when the program has ended.
#[derive(Serialize, Default)]
pub struct Report {
    /// The base directory of the run.
    dir: PathBuf,
    /// Segments that nobody has removed.
    pub leaks: Vec<Leak>,
    /// Semaphore sets that nobody has removed.
    sets: Vec<objects::Set>,
    /// Message queues that nobody has removed.
    queues: Vec<objects::Queue>,
    /// Processes that still use the namespace.
    pub processes: Vec<Left>,
}

/// A segment that nobody has removed.
#[derive(Serialize)]
pub struct Leak {
    id: i32,
    key: String,
    bytes: u64,
    /// Seconds since 1970.
    made: i64,
    made_by: Left,
    nattch: u64,
    attached_by: Vec<Left>,
}

/// A process; its command as far as it is known.
#[derive(Serialize, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its process id.
    pub pid: i32,
    command: Option<String>,
    has_ended: bool,
}

impl Left {
    fn alive(pid: i32) -> Left {
        let facts = process::facts(pid);
        Left {
            pid,
            command: facts.map(|facts| facts.command),
            has_ended: false,
        }
    }

    /// Who made a segment, as the namespace remembers it.
    fn creator(segment: &Segment, events: &[Event]) -> Left {
        let made = events.iter().rev().find(|event| {
            matches!(event.what, Happening::Created { segment: subject, .. } if subject.id == segment.stat.id.raw())
        });
        Left {
            pid: segment.stat.cpid,
            command: made.map(|event| name_of(&event.by)),
            has_ended: segment.creator_is_alive != Some(true),
        }
    }

    fn text(&self) -> String {
        if self.pid == 0 {
            return "one that is being forked".to_owned();
        }
        let ended = if self.has_ended { ", ended" } else { "" };
        match &self.command {
            Some(command) => format!("{} ({command}{ended})", self.pid),
            None => format!("{}{ended}", self.pid),
        }
    }
}

fn name_of(by: &By) -> String {
    let name = by.program.split(|byte| *byte == 0).next().unwrap_or(&[]);
    process::printable(&String::from_utf8_lossy(name))
}

impl Private {
    /// Makes the directory: where the settings of this process say, or where the library would make a namespace, or in the
    /// user's own directories.
    pub fn make() -> Outcome<Private> {
        let mode = match is_for_all() {
            true => 0o755,
            false => 0o700,
        };
        let mut last = None;
        for base in bases() {
            let made = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(PermissionsExt::from_mode(mode))
                .tempdir_in(&base)
                .and_then(Private::locked);
            match made {
                Ok(private) => {
                    remove_abandoned(&base);
                    return Ok(private);
                }
                Err(error) => last = Some(format!("{}: {error}", escaped(&base))),
            }
        }
        Err(Error::new(
            RUN_FAILED,
            format!(
                "no directory can be made for a private namespace ({}): name one with --dir",
                last.unwrap_or_default()
            ),
        ))
    }

    fn locked(directory: TempDir) -> io::Result<Private> {
        let lock = lock(directory.path())?;
        // Until it was locked another run could take it for abandoned.
        std::fs::metadata(directory.path())?;
        Ok(Private {
            directory,
            _lock: lock,
        })
    }

    /// The base directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What is in there now. A process that is just being forked has no id yet; it is given a moment.
    pub fn report(&self) -> Outcome<Report> {
        let mut report = self.look()?;
        for _ in 0..100 {
            if report.processes.iter().all(|process| process.pid != 0) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            report = self.look()?;
        }
        Ok(report)
    }

    fn look(&self) -> Outcome<Report> {
        report_of(self.path()).map_err(|failure| {
            Error::new(
                RUN_FAILED,
                format!("what the program left cannot be told: {}", failure.why),
            )
        })
    }

    /// Has the directory stay. Returns its path.
    pub fn keep(self) -> PathBuf {
        let path = self.directory.keep();
        let _ = std::fs::write(path.join(KEPT), "");
        path
    }

    /// Removes it with all that is in it. It must be the one that the settings of this process name.
    pub fn remove(self) -> Outcome<()> {
        let path = self.path().to_path_buf();
        // Segments of huge pages lie elsewhere, which the namespace alone knows. What it fails at goes with the directory.
        if let Ok(Some(namespace)) = whole::find() {
            let _ = namespace.remove();
        }
        self.directory.close().map_err(|error| {
            Error::new(
                RUN_FAILED,
                format!("{} cannot be removed: {error}", escaped(&path)),
            )
        })
    }
}

/// Locks a directory, or fails if another process has it locked.
fn lock(directory: &Path) -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(std::fs::File::open(directory)?);
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    Ok(fd)
}

/// Removes the directories of this user's runs whose parent was killed, once no process is in them.
fn remove_abandoned(base: &Path) {
    let own = nix::unistd::geteuid().as_raw();
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_run = entry.file_name().as_bytes().starts_with(PREFIX.as_bytes());
        let is_own = std::fs::symlink_metadata(&path)
            .is_ok_and(|status| status.is_dir() && status.uid() == own);
        if !is_run || !is_own || path.join(KEPT).exists() {
            continue;
        }
        let Ok(_lock) = lock(&path) else {
            continue;
        };
        if report_of(&path).is_ok_and(|report| report.processes.is_empty()) {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

/// Whether other users are to find what is in the directory.
fn is_for_all() -> bool {
    let setting = std::env::var_os("SHMSHIM_SCOPE").unwrap_or_default();
    let scope = registry::scope_of_setting(setting.as_bytes());
    matches!(scope, Some((registry::Scope::System, _)))
}

/// Where the directory can lie, best first.
fn bases() -> Vec<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(chosen) = given("SHMSHIM_DIR") {
        return vec![chosen.into()];
    }
    let mut bases = Vec::new();
    let of_library: OsString = "/run/shmshim".into();
    let all = [
        Some(of_library),
        Some("/dev/shm".into()),
        given("XDG_RUNTIME_DIR"),
        given("TMPDIR"),
        Some("/tmp".into()),
    ];
    for base in all.into_iter().flatten() {
        let path = PathBuf::from(base);
        // A path with links is no base.
        if let Ok(path) = path.canonicalize() {
            bases.push(path);
        }
    }
    bases
}

/// What is in the namespaces of a base directory.
fn report_of(base: &Path) -> registry::Outcome<Report> {
    let mut report = Report {
        dir: base.to_path_buf(),
        ..Report::default()
    };
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        if inspect::scope_of_name(entry.file_name().as_bytes()).is_some() {
            look(entry.path().as_os_str().as_bytes(), &mut report)?;
        }
    }
    Ok(report)
}

fn look(directory: &[u8], report: &mut Report) -> registry::Outcome<()> {
    let Some(inspection) = inspect::open(directory)? else {
        return Ok(());
    };
    let now = inspection.now()?;
    let own = std::process::id();
    for process in now.processes() {
        let is_other = process.pid.unsigned_abs() != own;
        if process.is_alive && is_other {
            report.processes.push(Left::alive(process.pid));
        }
    }
    let mut events = Vec::new();
    inspection.each_event(0, &mut |event| events.push(*event))?;
    leaks_of(&now, &events, &mut report.leaks)?;
    report.sets.extend(objects::sets_of(&inspection)?);
    report.queues.extend(objects::queues_of(&inspection)?);
    Ok(())
}

fn leaks_of(now: &Moment<'_>, events: &[Event], leaks: &mut Vec<Leak>) -> registry::Outcome<()> {
    now.each_segment(&mut |segment: &Segment, attaches: &[Attach]| {
        let stat = &segment.stat;
        // One that is marked goes with its last user.
        if stat.is_marked() {
            return;
        }
        let living = attaches.iter().filter(|attach| attach.process.is_alive);
        leaks.push(Leak {
            id: stat.id.raw(),
            key: stat.key.to_string(),
            bytes: stat.segsz,
            made: stat.ctime,
            made_by: Left::creator(segment, events),
            nattch: stat.nattch,
            attached_by: living
                .map(|attach| Left::alive(attach.process.pid))
                .collect(),
        });
    })
}

impl Report {
    /// Whether something was left that the program should have removed.
    pub fn has_leaks(&self) -> bool {
        !(self.leaks.is_empty() && self.sets.is_empty() && self.queues.is_empty())
    }

    /// As people read it: nothing if nothing is left.
    pub fn text(&self, program: &str) -> String {
        let mut text = String::new();
        if !self.leaks.is_empty() {
            let count = self.leaks.len();
            let noun = if count == 1 { "segment" } else { "segments" };
            let _ = writeln!(text, "shmshim: {program} left {count} {noun}:");
            let mut table =
                output::table(&["ID", "KEY", "SIZE", "MADE", "BY", "NATTCH", "ATTACHED BY"]);
            for leak in &self.leaks {
                let attached: Vec<String> = leak.attached_by.iter().map(Left::text).collect();
                table.add_row([
                    leak.id.to_string(),
                    leak.key.clone(),
                    output::size(leak.bytes),
                    ago(leak.made),
                    leak.made_by.text(),
                    leak.nattch.to_string(),
                    if attached.is_empty() {
                        "-".to_owned()
                    } else {
                        attached.join(", ")
                    },
                ]);
            }
            push_table(&mut text, &table);
        }
        self.push_objects(&mut text, program);
        if !self.processes.is_empty() {
            let names: Vec<String> = self.processes.iter().map(Left::text).collect();
            let _ = writeln!(
                text,
                "shmshim: {program} left processes that use its namespace: {} (--wait waits for them)",
                names.join(", ")
            );
        }
        text
    }
}

impl Report {
    fn push_objects(&self, text: &mut String, program: &str) {
        let heading = |text: &mut String, count: usize, noun: &str| {
            let plural = if count == 1 { "" } else { "s" };
            let _ = writeln!(text, "shmshim: {program} left {count} {noun}{plural}:");
        };
        if !self.sets.is_empty() {
            heading(text, self.sets.len(), "semaphore set");
            let mut table = output::table(&["ID", "KEY", "SEMAPHORES", "CHANGED", "OPERATED"]);
            for set in &self.sets {
                table.add_row([
                    set.id.to_string(),
                    set.key.clone(),
                    set.semaphores.to_string(),
                    set.changed.map_or_else(|| "-".to_owned(), ago),
                    set.operated.map_or_else(|| "-".to_owned(), ago),
                ]);
            }
            push_table(text, &table);
        }
        if !self.queues.is_empty() {
            heading(text, self.queues.len(), "message queue");
            let mut table = output::table(&[
                "ID",
                "KEY",
                "MESSAGES",
                "BYTES",
                "CHANGED",
                "LAST SENDER",
                "LAST RECEIVER",
            ]);
            let pid = |pid: Option<i32>| pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            for queue in &self.queues {
                table.add_row([
                    queue.id.to_string(),
                    queue.key.clone(),
                    queue.messages.to_string(),
                    queue.bytes.to_string(),
                    queue.changed.map_or_else(|| "-".to_owned(), ago),
                    pid(queue.last_sender),
                    pid(queue.last_receiver),
                ]);
            }
            push_table(text, &table);
        }
    }
}

fn push_table(text: &mut String, table: &comfy_table::Table) {
    for line in table.lines() {
        let _ = writeln!(text, "  {}", line.trim_end());
    }
}

/// How long ago that was.
fn ago(secs: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as i64);
    match now.saturating_sub(secs).max(0) {
        age @ 0..120 => format!("{age} s ago"),
        age @ 120..7200 => format!("{} min ago", age / 60),
        age => format!("{} h ago", age / 3600),
    }
}
