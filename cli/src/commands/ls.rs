//! `shmshim ls`.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use shmshim_core::sysv::Kind;

use crate::error::{ABSENT, Error, Outcome};
use crate::kinds::Kinds;
use crate::namespaces::{self, Namespace};
use crate::objects::{Queue, Set};
use crate::output::{
    complain, print, print_json, print_table_in_colour, set_right, shortened, size, table,
};
use crate::place::Place;
use crate::source::{Look, NO_NAMESPACE, Segment, Source};
use crate::time;
use crate::users::shown;

const EXAMPLES: &str = "\
Examples:
  shmshim ls                          what a program started here would see
  shmshim ls -s                       semaphore sets alone; -m segments, -q message queues
  shmshim ls --all                    every namespace on this machine, and who is in it
  shmshim ls --kernel                 the kernel's own, as ipcs, with the creators of segments
  shmshim ls --json | jq '.[] | select(.attaches == 0) | .id'

Attaches are those of living processes. What a dead one had stands behind a + until the next call
of a program takes it off. SLEEPERS are threads that wait in a set or a queue, DEBTORS processes
whose end changes a set's values (SEM_UNDO): who -s and who -q tell which.

Flags:
  dest        marked for destruction: it goes with its last attach
  over        marked, and only the dead have it attached: a program's next call destroys it
  locked      SHM_LOCK
  huge        of huge pages
  noreserve   SHM_NORESERVE
  rights      its file does not have the rights yet that IPC_SET gave the segment
  unlinked    its file is gone; those that have it attached keep it
  unfinished  a process that is stopped or dead has begun to change it

JSON: an array of objects, whose kind is segment, semaphores or queue; null where nothing is known,
or there was no such time. All have id, key, uid, owner, gid, group, cuid, creator, cgid, mode,
changed (seconds since 1970). Segments: size, attaches, dead_attaches, flags, attached, detached,
creator_pid, creator_alive, creator_command, last_pid, resident, swapped, huge_page_size, file.
Semaphore sets: semaphores, sleepers, debtors, operated. Message queues: messages, bytes, capacity,
sleepers, sent, received, last_sender, last_receiver. Of namespaces: directory, scope, uid, owner,
segments, size, resident, attaches, sets, queues, pids, users, version";

/// What `shmshim ls` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    kinds: Kinds,
    #[command(flatten)]
    look: Look,
    /// List the namespaces on this machine that this user may read
    #[arg(long, conflicts_with_all = ["kernel", "at", "dir", "scope", "segments", "semaphores", "queues"])]
    all: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// What is listed.
#[derive(Default)]
struct Listed {
    segments: Vec<Segment>,
    sets: Vec<Set>,
    queues: Vec<Queue>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Object<'l> {
    Segment(&'l Segment),
    Set(&'l Set),
    Queue(&'l Queue),
}

/// List the segments, semaphore sets and message queues of a namespace, or all namespaces.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    if args.all {
        return list_namespaces(args.json);
    }
    let listed = match args.look.source()? {
        Some(source) => listed(&source, args.kinds)?,
        None => {
            complain(NO_NAMESPACE);
            Listed::default()
        }
    };
    if args.json {
        let segments = listed.segments.iter().map(Object::Segment);
        let sets = listed.sets.iter().map(Object::Set);
        let queues = listed.queues.iter().map(Object::Queue);
        let all: Vec<_> = segments.chain(sets).chain(queues).collect();
        print_json(&all)?;
    } else {
        print_all(&listed)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(source: &Source, kinds: Kinds) -> Outcome<Listed> {
    let mut listed = Listed::default();
    // A kernel may have been built without one of them, which is an error where that is asked for alone.
    let lenient = |error: Error| match kinds.is_given() || error.status != ABSENT {
        true => Err(error),
        false => Ok(()),
    };
    if kinds.has(Kind::Segment) {
        listed.segments = source.segments()?;
    }
    if kinds.has(Kind::Set) {
        match source.sets() {
            Ok(sets) => listed.sets = sets,
            Err(error) => lenient(error)?,
        }
    }
    if kinds.has(Kind::Queue) {
        match source.queues() {
            Ok(queues) => listed.queues = queues,
            Err(error) => lenient(error)?,
        }
    }
    Ok(listed)
}

/// A table of each kind that there is, with a heading where there are several.
fn print_all(listed: &Listed) -> Outcome<()> {
    let Listed {
        segments,
        sets,
        queues,
    } = listed;
    let there = [segments.is_empty(), sets.is_empty(), queues.is_empty()];
    let several = there.iter().filter(|is_empty| !**is_empty).count() > 1;
    let mut is_first = true;
    let mut heading = |text: &str| {
        let gap = if is_first { "" } else { "\n" };
        is_first = false;
        match several {
            true => print(&format!("{gap}{text}:\n")),
            false => Ok(()),
        }
    };
    if !segments.is_empty() {
        heading("segments")?;
        print_segments(segments)?;
    }
    if !sets.is_empty() {
        heading("semaphore sets")?;
        print_sets(sets)?;
    }
    if !queues.is_empty() {
        heading("message queues")?;
        print_queues(queues)?;
    }
    Ok(())
}

fn print_sets(sets: &[Set]) -> Outcome<()> {
    let mut table = table(&[
        "ID",
        "KEY",
        "SEMAPHORES",
        "SLEEPERS",
        "DEBTORS",
        "OWNER",
        "MODE",
        "CHANGED",
        "OPERATED",
    ]);
    set_right(&mut table, &[0, 2, 3, 4]);
    for set in sets {
        table.add_row([
            set.id.to_string(),
            set.key.clone(),
            set.semaphores.to_string(),
            number(set.sleepers),
            number(set.debtors),
            shown(set.rights.owner.as_deref(), set.rights.uid),
            set.rights.mode.clone(),
            time::short(set.changed),
            time::short(set.operated),
        ]);
    }
    print_table_in_colour(&table, &[])
}

fn print_queues(queues: &[Queue]) -> Outcome<()> {
    let mut table = table(&[
        "ID", "KEY", "MESSAGES", "BYTES", "SLEEPERS", "OWNER", "MODE", "CHANGED", "SENT",
        "RECEIVED",
    ]);
    set_right(&mut table, &[0, 2, 3, 4]);
    for queue in queues {
        table.add_row([
            queue.id.to_string(),
            queue.key.clone(),
            queue.messages.to_string(),
            queue.bytes.to_string(),
            number(queue.sleepers),
            shown(queue.rights.owner.as_deref(), queue.rights.uid),
            queue.rights.mode.clone(),
            time::short(queue.changed),
            time::short(queue.sent),
            time::short(queue.received),
        ]);
    }
    print_table_in_colour(&table, &[])
}

/// A number, or `-` where it is not known.
fn number(known: Option<usize>) -> String {
    known.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn print_segments(segments: &[Segment]) -> Outcome<()> {
    let mut table = table(&[
        "ID", "KEY", "SIZE", "ATTACHES", "OWNER", "MODE", "CHANGED", "ATTACHED", "FLAGS", "CREATOR",
    ]);
    set_right(&mut table, &[0, 2, 3]);
    let mut styles = Vec::new();
    for segment in segments {
        table.add_row([
            segment.id.to_string(),
            segment.key.clone(),
            size(segment.size),
            attaches(segment),
            shown(segment.rights.owner.as_deref(), segment.rights.uid),
            segment.rights.mode.clone(),
            time::short(segment.changed),
            time::short(segment.attached),
            segment.flags.join(","),
            shortened(&creator(segment), 40),
        ]);
        styles.push(style(segment));
    }
    print_table_in_colour(&table, &styles)
}

/// Attaches of the living; behind a + those of the dead that are counted still.
pub fn attaches(segment: &Segment) -> String {
    match segment.dead_attaches {
        0 => segment.attaches.to_string(),
        dead => format!("{}+{dead}", segment.attaches),
    }
}

/// The process that made it.
pub fn creator(segment: &Segment) -> String {
    match (segment.creator_pid, &segment.creator_command) {
        (None, _) => "-".to_owned(),
        (Some(pid), Some(command)) => format!("{pid} {command}"),
        (Some(pid), None) if segment.creator_alive == Some(false) => format!("{pid} (gone)"),
        (Some(pid), None) => pid.to_string(),
    }
}

fn style(segment: &Segment) -> Style {
    if segment.flags.contains(&"over") {
        Style::new().dimmed()
    } else if segment.flags.contains(&"dest") || segment.flags.contains(&"unfinished") {
        AnsiColor::Yellow.on_default()
    } else {
        Style::new()
    }
}

fn list_namespaces(json: bool) -> Outcome<ExitCode> {
    let survey = namespaces::survey()?;
    for sentence in &survey.refused {
        complain(sentence);
    }
    if survey.closed > 0 {
        let count = survey.closed;
        complain(&format!(
            "{count} more of other users may not be read; root sees them"
        ));
    }
    if survey.removed > 0 {
        let count = survey.removed;
        complain(&format!(
            "{count} more were removed, and processes that had them open go on with what they have attached"
        ));
    }
    if survey.elsewhere > 0 {
        let count = survey.elsewhere;
        complain(&format!(
            "{count} more are used by processes with another view of the file system; run shmshim there (nsenter -m -t PID)"
        ));
    }
    if json {
        print_json(&survey.namespaces)?;
    } else if !survey.namespaces.is_empty() {
        print_namespaces(&survey.namespaces)?;
    } else if survey.refused.is_empty() && survey.closed == 0 {
        complain("there is no namespace on this machine: no program has used the library yet");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_namespaces(namespaces: &[Namespace]) -> Outcome<()> {
    let mut table = table(&[
        "DIRECTORY",
        "SCOPE",
        "OWNER",
        "SEGMENTS",
        "SIZE",
        "RESIDENT",
        "ATTACHES",
        "SETS",
        "QUEUES",
        "PROCESSES",
        "USERS",
    ]);
    set_right(&mut table, &[3, 4, 5, 6, 7, 8, 9]);
    for one in namespaces {
        table.add_row([
            one.directory.clone(),
            one.scope.to_owned(),
            shown(one.owner.as_deref(), one.uid),
            one.segments.to_string(),
            size(one.size),
            size(one.resident),
            one.attaches.to_string(),
            one.sets.to_string(),
            one.queues.to_string(),
            one.pids.len().to_string(),
            one.users.join(","),
        ]);
    }
    print_table_in_colour(&table, &[])
}
