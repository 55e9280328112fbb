//! `shmshim check`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;
use shmshim_core::registry::check::{self, Invariant};

use crate::client::refusal;
use crate::error::{Error, FOUND, Outcome};
use crate::output;
use crate::place::Place;
use crate::source::NO_NAMESPACE;

/// What `shmshim check` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim check                                     a line for each invariant, ok or broken; status 1 if one is broken
  shmshim check --repair                            repairs what can be repaired while programs run
  shmshim check --repair --from-files               makes the table anew from the segments' files, if nobody lives there

Processes that ended and that nobody has reaped yet are no damage: the next program does it. What killed makers have left is
told as left, is no damage either, and is removed by the next maker or by --repair. A repair takes what a damaged slot says
from its segment's file: its id, key, size, creator and mode.

Of semaphore sets and message queues a repair makes the directories and the lists of free memory anew from the objects. An object
of which nothing can be read is removed, and so is a message whose text is gone or another's; of two objects in one place the one
stays that belongs there, and of two with one key the second loses it. Values and texts that were written over stand nowhere else:
they are not noticed, and stay. A limit that nobody can have set is again that of a new namespace. Memory that may be in a living
process's hands comes back with a repair when nobody lives there. A file ipc that was made by another version, or cut below its
first blocks, goes with --from-files, and all sets and queues with it.")]
pub struct Args {
    /// Repair what is broken, and remove what killed makers have left
    #[arg(long)]
    repair: bool,
    /// With --repair: throw the table away and make it anew from the segments' files; owners, times, ids to come and limits are lost, and sets and queues if their file cannot be read
    #[arg(long, requires = "repair")]
    from_files: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What one look found.
#[derive(Default)]
struct Look {
    broken: BTreeMap<Invariant, Vec<String>>,
    left: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    /// Whether nothing is broken, or is no more.
    whole: bool,
    invariants: Vec<Line>,
    /// What killed makers have left, or had left.
    left: Vec<String>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    state: State,
    /// What is true, or should be.
    text: &'static str,
    /// What is not, or was not.
    findings: Vec<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Broken,
    Mended,
    /// Nobody could look, because the directory or the table is beyond use.
    Unknown,
}

/// Check every invariant of a namespace.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let before = look()?;
    let mut after = None;
    if args.repair && (args.from_files || !before.broken.is_empty() || !before.left.is_empty()) {
        repair(args.from_files)?;
        after = Some(look()?);
    }
    let report = report(&before, after.as_ref());
    if args.json {
        output::print_json(&report)?;
    } else {
        print(&report, after.is_some())?;
    }
    Ok(match report.whole {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FOUND),
    })
}

fn look() -> Outcome<Look> {
    let mut look = Look::default();
    let Look { broken, left } = &mut look;
    let is_there = check::check(
        &mut |invariant, text| broken.entry(invariant).or_default().push(text.to_string()),
        &mut |path| left.push(path.to_string()),
    );
    match is_there.map_err(|failure| refusal(&failure))? {
        true => Ok(look),
        false => Err(Error::absent(NO_NAMESPACE)),
    }
}

fn repair(from_files: bool) -> Outcome<()> {
    let repaired = check::repair(from_files).map_err(|failure| {
        let error = refusal(&failure);
        let hint = match from_files {
            false => " (--from-files makes the table anew)",
            true => "",
        };
        Error::new(error.status, format!("{}{hint}", error.sentence))
    })?;
    match repaired {
        true => Ok(()),
        false => Err(Error::refused(
            "processes live in the namespace, whose table would be taken from them; end them first (shmshim who lists them)",
        )),
    }
}

fn report(before: &Look, after: Option<&Look>) -> Report {
    let now = after.unwrap_or(before);
    let line = |invariant: Invariant| {
        let (name, text) = invariant.text();
        let (was, is) = (before.broken.get(&invariant), now.broken.get(&invariant));
        let (state, findings) = match (was, is) {
            (_, Some(is)) => (State::Broken, is.clone()),
            (Some(was), None) => (State::Mended, was.clone()),
            (None, None) if is_hidden(now, invariant) => (State::Unknown, Vec::new()),
            (None, None) => (State::Ok, Vec::new()),
        };
        Line {
            name,
            state,
            text,
            findings,
        }
    };
    Report {
        whole: now.broken.is_empty(),
        invariants: Invariant::ALL.into_iter().map(line).collect(),
        left: before.left.clone(),
    }
}

/// Whether an invariant could not be looked at.
fn is_hidden(look: &Look, invariant: Invariant) -> bool {
    [Invariant::Directory, Invariant::Table]
        .iter()
        .any(|first| *first < invariant && look.broken.contains_key(first))
}

fn print(report: &Report, is_repaired: bool) -> Outcome<()> {
    let mut text = String::new();
    let mut push = |state: &str, name: &str, what: &str| {
        text.push_str(&format!("{state:<8}{name:<11}{what}\n"));
    };
    for line in &report.invariants {
        match line.state {
            State::Ok => push("ok", line.name, line.text),
            State::Unknown => push("unknown", line.name, "nobody can look at it as things are"),
            State::Broken => push("broken", line.name, &first(&line.findings)),
            State::Mended => push("mended", line.name, &first(&line.findings)),
        }
    }
    for path in &report.left {
        match is_repaired {
            true => push("removed", "leftover", path),
            false => push("left", "leftover", path),
        }
    }
    output::print(&text)
}

/// The first finding, and how many more there are.
fn first(findings: &[String]) -> String {
    match findings {
        [] => String::new(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} (and {} more: --json lists them)", more.len()),
    }
}
