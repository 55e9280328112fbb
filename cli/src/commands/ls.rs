//! `shmshim ls`.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::error::Outcome;
use crate::namespaces::{self, Namespace};
use crate::output::{
    complain, print_json, print_table_in_colour, set_right, shortened, size, table,
};
use crate::place::Place;
use crate::source::{Look, NO_NAMESPACE, Segment};
use crate::time;
use crate::users::shown;

const EXAMPLES: &str = "\
Examples:
  shmshim ls                          the segments that a program started here would see
  shmshim ls --all                    every namespace on this machine, and who is in it
  shmshim ls --kernel                 the kernel's own segments, as ipcs -m, with their creators
  shmshim ls --json | jq '.[] | select(.attaches == 0) | .id'

Attaches are those of living processes. What a dead one had stands behind a + until the next call
of a program takes it off.

Flags:
  dest        marked for destruction: it goes with its last attach
  over        marked, and only the dead have it attached: a program's next call destroys it
  locked      SHM_LOCK
  huge        of huge pages
  noreserve   SHM_NORESERVE
  rights      its file does not have the rights yet that IPC_SET gave the segment
  unlinked    its file is gone; those that have it attached keep it
  unfinished  a process that is stopped or dead has begun to change it

JSON: an array; null where nothing is known, or there was no such time. Of segments: id, key, size,
attaches, dead_attaches, uid, owner, gid, group, cuid, creator, cgid, mode, flags, changed, attached,
detached (seconds since 1970), creator_pid, creator_alive, creator_command, last_pid, resident,
swapped, huge_page_size, file. Of namespaces: directory, scope, uid, owner, segments, size, resident,
attaches, pids, users, version";

/// What `shmshim ls` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    look: Look,
    /// List the namespaces on this machine that this user may read
    #[arg(long, conflicts_with_all = ["kernel", "at", "dir", "scope"])]
    all: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// List the segments of a namespace, or all namespaces.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    if args.all {
        return list_namespaces(args.json);
    }
    let segments = match args.look.source()? {
        Some(source) => source.segments()?,
        None => {
            complain(NO_NAMESPACE);
            Vec::new()
        }
    };
    if args.json {
        print_json(&segments)?;
    } else if !segments.is_empty() {
        print_segments(&segments)?;
    }
    Ok(ExitCode::SUCCESS)
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
            shown(segment.owner.as_deref(), segment.uid),
            segment.mode.clone(),
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
        "PROCESSES",
        "USERS",
    ]);
    set_right(&mut table, &[3, 4, 5, 6, 7]);
    for one in namespaces {
        table.add_row([
            one.directory.clone(),
            one.scope.to_owned(),
            shown(one.owner.as_deref(), one.uid),
            one.segments.to_string(),
            size(one.size),
            size(one.resident),
            one.attaches.to_string(),
            one.pids.len().to_string(),
            one.users.join(","),
        ]);
    }
    print_table_in_colour(&table, &[])
}
