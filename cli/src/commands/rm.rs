//! `shmshim rm`.

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use shmshim_core::registry::{self, inspect, whole};
use shmshim_core::sysv::{Kind, Segment};

use crate::client::{existing, find_of, queues, refusal, refusal_of_kind, segments, sets};
use crate::error::{Error, Outcome, REFUSED};
use crate::kinds::{self, OneKind};
use crate::number;
use crate::objects::{Queue, Set};
use crate::output;
use crate::place::Place;
use crate::segment::Which;

/// What `shmshim rm` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim rm 1073741824 0x162e                      two segments, one by its id and one by its key
  shmshim rm --orphaned --older-than 1h             what nobody has attached and whose creator is gone
  shmshim rm -s 0x162e                              the semaphore set with this key; -q: the message queue
  shmshim rm --all --dry-run                        says what would be removed
  shmshim rm --namespace                            the whole directory; nothing of it is left

A segment that is still attached loses its key at once and goes with its last attach. Who sleeps in a semaphore set or a
message queue that is removed gets the error EIDRM. All that are named are looked up
before the first is removed. Processes that live in a namespace that is removed keep what they have attached, and go on with sets
and queues as long as the file of these need not grow; a program that is started later makes a namespace of its own.")]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    kind: OneKind,
    /// With --orphaned: only what nobody has made, attached or detached for so long (90s, 15m, 1h, 7d)
    #[arg(long, value_name = "TIME", value_parser = number::duration)]
    older_than: Option<Duration>,
    /// With --namespace: also while processes live in it; new segments and attaches are refused to them from then on
    #[arg(long)]
    force: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct What {
    /// Segments, or what -s and -q say, by id (decimal or 0x…) or key (0x…)
    #[arg(value_name = "ID|KEY", conflicts_with_all = ["all", "orphaned", "namespace"])]
    segments: Vec<String>,
    /// The one with this key (decimal or 0x…)
    #[arg(
        long,
        value_parser = number::key,
        allow_hyphen_values = true,
        conflicts_with_all = ["all", "orphaned", "namespace"]
    )]
    key: Vec<i32>,
    /// Every segment, semaphore set and message queue; with -s or -q those alone
    #[arg(long, conflicts_with_all = ["orphaned", "namespace"])]
    all: bool,
    /// Every segment that nobody has attached and whose creator is gone
    #[arg(long, conflicts_with = "namespace")]
    orphaned: bool,
    /// The namespace itself: its directory with everything in it
    #[arg(long)]
    namespace: bool,
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    removed: Vec<Removed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

#[derive(Serialize)]
struct Removed {
    kind: &'static str,
    id: i32,
    key: String,
    #[serde(flatten)]
    what: Contents,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Contents {
    Segment {
        size: u64,
        /// How many attaches it goes with; 0: it is gone.
        attaches: u64,
    },
    Set {
        semaphores: u32,
    },
    Queue {
        messages: u32,
    },
}

impl Removed {
    fn kind(&self) -> Kind {
        match self.what {
            Contents::Segment { .. } => Kind::Segment,
            Contents::Set { .. } => Kind::Set,
            Contents::Queue { .. } => Kind::Queue,
        }
    }
}

fn of_segment(segment: &Segment) -> Removed {
    Removed {
        kind: kinds::name(Kind::Segment),
        id: segment.id.raw(),
        key: format!("{:#010x}", segment.key.0),
        what: Contents::Segment {
            size: segment.segsz,
            attaches: segment.nattch,
        },
    }
}

fn of_set(set: &Set) -> Removed {
    Removed {
        kind: set.kind,
        id: set.id,
        key: set.key.clone(),
        what: Contents::Set {
            semaphores: set.semaphores,
        },
    }
}

fn of_queue(queue: &Queue) -> Removed {
    Removed {
        kind: queue.kind,
        id: queue.id,
        key: queue.key.clone(),
        what: Contents::Queue {
            messages: queue.messages,
        },
    }
}

/// Remove segments, semaphore sets and message queues, or a whole namespace.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    // The parser forgets what an option requires where that is at odds with another one.
    for (is_given, option, other, has_other) in [
        (
            args.older_than.is_some(),
            "--older-than",
            "--orphaned",
            args.what.orphaned,
        ),
        (args.force, "--force", "--namespace", args.what.namespace),
    ] {
        if is_given && !has_other {
            return Err(Error::usage(format!(
                "{option} is for {other} alone; nothing was removed"
            )));
        }
    }
    if args.kind.is_given() && (args.what.orphaned || args.what.namespace) {
        return Err(Error::usage(
            "-s and -q do not go with --orphaned, which is for segments, and --namespace; nothing was removed",
        ));
    }
    if args.what.namespace {
        return remove_namespace(&args);
    }
    let doomed = doomed(&args)?;
    let mut removed = Vec::new();
    let mut failed = false;
    for one in doomed {
        match remove(&one, args.dry_run) {
            Ok(()) => removed.push(one),
            Err(error) => {
                output::complain(&error.sentence);
                failed = true;
            }
        }
    }
    if args.json {
        output::print_json(&Report {
            dry_run: args.dry_run,
            removed,
            namespace: None,
        })?;
    } else {
        let lines: String = removed.iter().map(|one| line(one, args.dry_run)).collect();
        output::print(&lines)?;
    }
    Ok(match failed {
        true => ExitCode::from(REFUSED),
        false => ExitCode::SUCCESS,
    })
}

fn line(removed: &Removed, dry_run: bool) -> String {
    let Removed { id, key, .. } = removed;
    let word = removed.kind().word();
    let of = |count: u32, noun: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {noun}{plural}")
    };
    let (what, attaches) = match &removed.what {
        Contents::Segment { size, attaches } => (output::size(*size), *attaches),
        Contents::Set { semaphores } => (of(*semaphores, "semaphore"), 0),
        Contents::Queue { messages } => (of(*messages, "message"), 0),
    };
    let (verb, rest) = match (dry_run, attaches) {
        (false, 0) => ("removed", String::new()),
        (true, 0) => ("would remove", String::new()),
        (false, many) => ("marked", gone_with(many)),
        (true, many) => ("would mark", gone_with(many)),
    };
    format!("{verb} {word} {id}, key {key}, {what}{rest}\n")
}

fn gone_with(attaches: u64) -> String {
    match attaches {
        1 => ": it goes with its last attach".to_owned(),
        many => format!(": it goes with the last of its {many} attaches"),
    }
}

fn remove(one: &Removed, dry_run: bool) -> Outcome<()> {
    if dry_run {
        return Ok(());
    }
    let (kind, id) = (one.kind(), one.id);
    match kind {
        Kind::Segment => registry::remove(id),
        Kind::Set => registry::sem::sem_remove(id),
        Kind::Queue => registry::msg::msg_remove(id),
    }
    .map_err(|failure| refusal_of_kind(kind, id, &failure))
}

/// What is to be removed, each once.
fn doomed(args: &Args) -> Outcome<Vec<Removed>> {
    if args.what.orphaned {
        let orphans = orphans(args.older_than.unwrap_or_default())?;
        return Ok(orphans.iter().map(of_segment).collect());
    }
    let kind = args.kind.kind();
    if args.what.all {
        let mut all = Vec::new();
        if !args.kind.is_given() {
            all.extend(segments()?.iter().map(of_segment));
        }
        if kind != Kind::Queue {
            all.extend(sets()?.iter().map(of_set));
        }
        if kind != Kind::Set {
            all.extend(queues()?.iter().map(of_queue));
        }
        return Ok(all);
    }
    match kind {
        Kind::Segment => {
            let all = segments()?;
            let names = all.iter().map(|one| (one.id.raw(), one.key.0));
            named(args, kind, names, all.iter().map(of_segment))
        }
        Kind::Set => {
            let all = sets()?;
            let names = all.iter().map(|one| (one.id, one.raw_key));
            named(args, kind, names, all.iter().map(of_set))
        }
        Kind::Queue => {
            let all = queues()?;
            let names = all.iter().map(|one| (one.id, one.raw_key));
            named(args, kind, names, all.iter().map(of_queue))
        }
    }
}

/// Those that the command line names; all of the kind are given, with their ids and keys.
fn named(
    args: &Args,
    kind: Kind,
    names: impl Iterator<Item = (i32, i32)>,
    all: impl Iterator<Item = Removed>,
) -> Outcome<Vec<Removed>> {
    let names: Vec<(i32, i32)> = names.collect();
    let by_id = args
        .what
        .segments
        .iter()
        .map(|name| find_of(&Which::named(name), kind, &names));
    let by_key = args.what.key.iter().map(|key| {
        let found = names.iter().find(|(_, of)| of == key && *key != 0);
        found.map(|(id, _)| *id).ok_or_else(|| {
            Error::absent(format!(
                "the namespace has no {} with key {key:#010x}; shmshim ls lists them",
                kind.word()
            ))
        })
    });
    let ids = by_id.chain(by_key).collect::<Outcome<Vec<i32>>>()?;
    Ok(all.filter(|one| ids.contains(&one.id)).collect())
}

/// Those that nobody has attached, whose creator is gone, and that nothing has happened to for that long.
fn orphans(age: Duration) -> Outcome<Vec<Segment>> {
    let inspection = existing()?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut found = Vec::new();
    let moment = inspection.now().map_err(|failure| refusal(&failure))?;
    moment
        .each_segment(&mut |segment, _| {
            let stat = segment.stat;
            let last = stat.ctime.max(stat.atime).max(stat.dtime);
            let idle = now.saturating_sub(Duration::from_secs(u64::try_from(last).unwrap_or(0)));
            if stat.nattch == 0 && segment.creator_is_alive != Some(true) && idle >= age {
                found.push(stat);
            }
        })
        .map_err(|failure| refusal(&failure))?;
    Ok(found)
}

fn remove_namespace(args: &Args) -> Outcome<ExitCode> {
    let found = whole::find()
        .map_err(|failure| refusal(&failure))?
        .ok_or_else(|| Error::absent("there is no namespace that could be removed"))?;
    let living = found.count_living().map_err(|failure| refusal(&failure))?;
    let directory = found.directory().to_string();
    if living > 0 && !args.force {
        return Err(Error::refused(format!(
            "{} in {directory}{}; end them, or use --force, after which new segments and attaches are refused to them",
            match living {
                1 => "a process lives".to_owned(),
                many => format!("{many} processes live"),
            },
            who(),
        )));
    }
    if !args.dry_run {
        found.remove().map_err(|failure| refusal(&failure))?;
    }
    if args.json {
        output::print_json(&Report {
            dry_run: args.dry_run,
            removed: Vec::new(),
            namespace: Some(directory),
        })?;
    } else {
        let verb = if args.dry_run {
            "would remove"
        } else {
            "removed"
        };
        output::print(&format!("{verb} namespace {directory}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The pids of those that live there, as far as the table can be read.
fn who() -> String {
    let pids = || -> Option<Vec<String>> {
        let inspection = inspect::here().ok()??;
        let moment = inspection.now().ok()?;
        let living = moment.processes().iter().filter(|one| one.is_alive);
        Some(living.map(|one| one.pid.to_string()).take(5).collect())
    };
    match pids() {
        Some(pids) if !pids.is_empty() => format!(" (pid {})", pids.join(", ")),
        _ => String::new(),
    }
}
