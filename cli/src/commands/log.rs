//! `shmshim log`: what happened in a namespace, as it remembers its last few thousand events.

use std::fmt::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Local, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;
use shmshim_core::registry::Error as Failure;
use shmshim_core::registry::events::{By, Event, Happening, Origin, Subject};
use shmshim_core::registry::inspect::{self, Inspection};

use crate::error::{Error, Outcome};
use crate::output::{complain, print, print_json};
use crate::place::Place;

const EXAMPLES: &str = "\
A namespace keeps its last 4096 events: segments created, removed, freed and changed, limits set, processes found dead with
attaches. Attaches and detaches are not among them; `shmshim trace` shows these.

Examples:
  shmshim log                     everything that is known
  shmshim log 1530200064          the life of a segment, also after it has gone
  shmshim log 0x162e --since 1h   of each segment that was made with this key
  shmshim log --follow --json     what happens from now on, one object per line, for a program";

/// What `shmshim log` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The segment's id, or its key in hexadecimal (0x…)
    #[arg(value_name = "ID|KEY", value_parser = parse_wanted)]
    segment: Option<Wanted>,
    /// Only what happened so recently: 10m, 2h, 1d12h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    since: Option<TimeDelta>,
    /// Go on with what happens, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Print JSON: an array, or with --follow one object per line
    #[arg(long)]
    json: bool,
}

/// Which segments are asked for.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Id(i32),
    Key(i32),
}

impl Wanted {
    fn is(self, segment: Subject) -> bool {
        match self {
            Wanted::Id(id) => segment.id == id,
            Wanted::Key(key) => segment.key == key,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Id(id) => write!(out, "segment {id}"),
            Wanted::Key(key) => write!(out, "a segment with key {key:#010x}"),
        }
    }
}

fn parse_wanted(text: &str) -> Result<Wanted, String> {
    let no = || {
        format!(
            "'{text}' is neither an id nor a key: a key is written as ipcs shows it, 0x0000162e"
        )
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16)
            .map(|key| Wanted::Key(key as i32))
            .map_err(|_| no()),
        None => text.parse().map(Wanted::Id).map_err(|_| no()),
    }
}

/// A duration as `10m`, `1d12h`.
fn parse_duration(text: &str) -> Result<TimeDelta, String> {
    let no = || format!("'{text}' is no duration: 30s, 10m, 2h, 1d12h are");
    let mut sum = TimeDelta::zero();
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .ok_or_else(no)?;
        let (number, behind) = rest.split_at(unit_at);
        let seconds = match behind.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86400,
            _ => return Err(no()),
        };
        let number: i64 = number.parse().map_err(|_| no())?;
        let part = number.checked_mul(seconds).and_then(TimeDelta::try_seconds);
        sum = part
            .and_then(|part| sum.checked_add(&part))
            .ok_or_else(no)?;
        rest = behind.get(1..).unwrap_or("");
    }
    match text {
        "" => Err(no()),
        _ => Ok(sum),
    }
}

/// Tell the life of a segment, also after it has gone.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let log = Log::new(args)?;
    let namespace = opened()?.ok_or_else(|| {
        Error::absent(
            "there is no namespace yet: no program under the library has used shared memory here",
        )
    })?;
    let mut next = log.tell(&namespace, 0)?;
    if !log.args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    let mut told = Some(namespace.namespace().identity);
    loop {
        std::thread::sleep(PAUSE);
        let now = opened()?;
        let is_there = now.as_ref().map(|now| now.namespace().identity);
        if is_there != told {
            // What is made anew begins to count anew.
            next = 0;
            if told.is_some() {
                complain("the namespace was removed; waiting for another one");
            }
            told = is_there;
        }
        if let Some(now) = now {
            next = log.tell(&now, next)?;
        }
    }
}

/// How long `--follow` waits: a person does not notice it.
const PAUSE: Duration = Duration::from_millis(200);

fn opened() -> Outcome<Option<Inspection>> {
    inspect::here().map_err(|failure| refused(&failure))
}

fn refused(failure: &Failure) -> Error {
    Error::refused(failure.why.to_string())
}

/// What is asked for.
struct Log {
    args: Args,
    earliest: DateTime<Utc>,
}

impl Log {
    fn new(args: Args) -> Outcome<Log> {
        let earliest = match args.since {
            None => DateTime::<Utc>::MIN_UTC,
            Some(since) => Utc::now()
                .checked_sub_signed(since)
                .ok_or_else(|| Error::usage("--since reaches back further than there are dates"))?,
        };
        Ok(Log { args, earliest })
    }

    fn is_asked_for(&self, event: &Event) -> bool {
        time_of(event) >= self.earliest
            && self.args.segment.is_none_or(|wanted| {
                let segment = event.what.segment();
                segment.is_some_and(|segment| wanted.is(segment))
            })
    }

    /// Tells what happened from event number `from` on; returns the number of the next one.
    fn tell(&self, namespace: &Inspection, from: u64) -> Outcome<u64> {
        let mut events = Vec::new();
        let next = namespace
            .each_event(from, &mut |event| {
                if self.is_asked_for(event) {
                    events.push(*event);
                }
            })
            .map_err(|failure| refused(&failure))?;
        if let (true, false, Some(wanted)) =
            (events.is_empty(), self.args.follow, self.args.segment)
        {
            return Err(Error::absent(format!(
                "nothing is known of {wanted}: shmshim log without a name tells what is"
            )));
        }
        if self.args.json && !self.args.follow {
            let objects: Vec<Object> = events.iter().map(Object::of).collect();
            print_json(&objects)?;
        } else if self.args.json {
            let mut text = String::new();
            for event in &events {
                let object = serde_json::to_string(&Object::of(event)).map_err(|error| {
                    Error::refused(format!("no JSON can be made of this: {error}"))
                })?;
                text += &object;
                text.push('\n');
            }
            print(&text)?;
        } else {
            let mut text = String::new();
            for event in &events {
                let time = time_of(event).with_timezone(&Local);
                let _ = writeln!(text, "{}  {}", time.format("%F %T"), sentence(event));
            }
            print(&text)?;
        }
        Ok(next)
    }
}

fn time_of(event: &Event) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::try_from(event.at_nanos).unwrap_or(0))
}

/// The name of a process's program; a byte that is no letter of a name cannot do harm to a terminal.
fn program(by: &By) -> String {
    let name = by.program.split(|byte| *byte == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(name)
        .chars()
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}

fn who(by: &By) -> String {
    match program(by).as_str() {
        "" => format!("pid {}, uid {}", by.pid, by.uid),
        name => format!("pid {} ({name}), uid {}", by.pid, by.uid),
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        count => format!("{count} times"),
    }
}

fn named(segment: &Subject) -> String {
    match segment.key {
        0 => format!("segment {}", segment.id),
        key => format!("segment {} (key {key:#010x})", segment.id),
    }
}

/// One event in words.
fn sentence(event: &Event) -> String {
    let who = who(&event.by);
    match &event.what {
        Happening::NamespaceMade => format!("the namespace was made by {who}"),
        Happening::NamespaceRestored { segments } => {
            format!(
                "the table was missing and was made anew from {segments} segment files by {who}"
            )
        }
        Happening::Created {
            segment,
            bytes,
            origin,
        } => {
            let how = match origin {
                Origin::Nothing => "created",
                Origin::Kernel => "imported from the kernel",
                Origin::Saved => "restored from a saved namespace",
            };
            format!("{} of {bytes} bytes was {how} by {who}", named(segment))
        }
        Happening::Marked { segment, nattch } => format!(
            "{} was removed by {who}, with IPC_RMID while it was attached {}",
            named(segment),
            times(*nattch)
        ),
        Happening::Removed { segment } => format!(
            "{} was removed by {who}, with IPC_RMID, and is gone: nobody had it attached",
            named(segment)
        ),
        Happening::FileLost { segment, nattch: 0 } => format!(
            "{} is gone: its file was missing, as {who} found",
            named(segment)
        ),
        Happening::FileLost { segment, nattch } => format!(
            "{} counts as removed: its file was missing, as {who} found, while it was attached {}",
            named(segment),
            times(*nattch)
        ),
        Happening::FreedByDetach { segment } => {
            format!(
                "{} went with its last attach, which {who} ended",
                named(segment)
            )
        }
        Happening::FreedByEnd { segment, reaper } => format!(
            "{} went with the end of {who}, which had it attached last; pid {reaper} found that",
            named(segment)
        ),
        Happening::FreedAsOrphan { segment } => format!(
            "{} was removed because of shm_rmid_forced by {who}: nobody had it attached, and its creator had ended",
            named(segment)
        ),
        Happening::Set {
            segment,
            uid,
            gid,
            mode,
        } => format!(
            "{} was given to uid {uid}, gid {gid}, with mode {mode:04o}, by {who}, with IPC_SET",
            named(segment)
        ),
        Happening::LimitSet { name, value } => format!("{name} was set to {value} by {who}"),
        Happening::FoundDead { nattch, reaper } => {
            format!("{who} had ended with {nattch} attached; pid {reaper} found that")
        }
    }
}

/// One event for a program.
#[derive(Serialize, Default)]
struct Object {
    number: u64,
    time: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    shmid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<i32>,
    pid: i32,
    uid: u32,
    program: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nattch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reaper: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<(u32, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<u64>,
    sentence: String,
}

impl Object {
    fn of(event: &Event) -> Object {
        let segment = event.what.segment();
        let mut object = Object {
            number: event.number,
            time: time_of(event).to_rfc3339_opts(SecondsFormat::Micros, true),
            shmid: segment.map(|segment| segment.id),
            key: segment.map(|segment| segment.key),
            pid: event.by.pid,
            uid: event.by.uid,
            program: program(&event.by),
            sentence: sentence(event),
            ..Object::default()
        };
        object.event = match event.what {
            Happening::NamespaceMade => "namespace-made",
            Happening::NamespaceRestored { segments } => {
                object.value = Some(segments);
                "namespace-restored"
            }
            Happening::Created { bytes, origin, .. } => {
                object.size = Some(bytes);
                match origin {
                    Origin::Nothing => "created",
                    Origin::Kernel => "imported",
                    Origin::Saved => "restored",
                }
            }
            Happening::Marked { nattch, .. } => {
                object.nattch = Some(nattch);
                "removed-while-attached"
            }
            Happening::Removed { .. } => "removed",
            Happening::FileLost { nattch, .. } => {
                object.nattch = Some(nattch);
                "file-lost"
            }
            Happening::FreedByDetach { .. } => "freed-by-detach",
            Happening::FreedByEnd { reaper, .. } => {
                object.reaper = Some(reaper);
                "freed-by-end"
            }
            Happening::FreedAsOrphan { .. } => "freed-as-orphan",
            Happening::Set { uid, gid, mode, .. } => {
                object.owner = Some((uid, gid));
                object.mode = Some(format!("{mode:04o}"));
                "set"
            }
            Happening::LimitSet { name, value } => {
                (object.limit, object.value) = (Some(name), Some(value));
                "limit-set"
            }
            Happening::FoundDead { nattch, reaper } => {
                (object.nattch, object.reaper) = (Some(nattch), Some(reaper));
                "found-dead"
            }
        };
        object
    }
}
