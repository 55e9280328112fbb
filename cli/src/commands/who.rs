//! `shmshim who`.

use std::process::ExitCode;

use anstyle::Style;
use serde::Serialize;
use shmshim_core::sysv::Kind;

use crate::error::{Error, Outcome};
use crate::kinds::{self, OneKind};
use crate::objects;
use crate::output::{complain, print_json, print_table_in_colour, set_right, shortened, table};
use crate::participant::Participant;
use crate::place::Place;
use crate::process::Address;
use crate::segment::AnyOrWhich;
use crate::source::{Look, NO_NAMESPACE, Source, Use};
use crate::time;
use crate::users::shown;

const EXAMPLES: &str = "\
Examples:
  shmshim who                    which processes have what attached
  shmshim who 0x162e             those that have the segment with this key
  shmshim who -s                 who sleeps in a semaphore set, and whose end changes its values
  shmshim who -q 0x162e          who sleeps in the message queue with this key
  shmshim who --kernel           the same of the kernel's own segments, which ipcs does not tell
  shmshim who --json | jq '.[] | select(.read_only) | .pid'

STARTED is when the process began. Behind each address stands what the memory there may be used for:
rw, or r alone after an attach with SHM_RDONLY. Only root sees the memory of other users' processes.
A process that ended without a detach is shown as dead until the next call of a program takes its
attaches off; so is one that has ended and owes a semaphore something, until that is paid.
  owes +1 to semaphore 0         its operations with SEM_UNDO: this is added when it ends
  sleeps for 0-1, [1=0]          its operations; the one in brackets cannot go on
ASLEEP is how long it has slept.

JSON: an array of kind, id, key, pid, uid, user, command, started (seconds since 1970), alive, and of
segments attaches, read_only, and addresses with start, length, offset, access; null where it is not
known. Of semaphore sets asleep_since, and does: owes with semaphore, adjust, or operates with operations (semaphore,
change, undo), blocked_at. Of message queues asleep_since, and does: receives with type, except, or sends with bytes";

/// What `shmshim who` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    segment: AnyOrWhich,
    #[command(flatten)]
    kind: OneKind,
    #[command(flatten)]
    look: Look,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Tell which processes have segments attached, since when and where, or sleep in semaphore sets and message queues.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let which = args.segment.which();
    let source = match which {
        Some(_) => Some(args.look.existing()?),
        None => args.look.source()?,
    };
    let Some(source) = source else {
        complain(NO_NAMESPACE);
        return match args.json {
            true => print_json(&Vec::<Use>::new()).map(|()| ExitCode::SUCCESS),
            false => Ok(ExitCode::SUCCESS),
        };
    };
    if args.kind.is_given() && matches!(source, Source::Kernel) {
        return Err(Error::usage(
            "the kernel tells nobody who sleeps in its semaphore sets and message queues; show -s --kernel tells how many",
        ));
    }
    match args.kind.kind() {
        Kind::Segment => {
            let id = which.map(|which| source.segment(&which)).transpose()?;
            let uses = source.uses(id.map(|segment| segment.id))?;
            show(&uses, args.json, print)?;
        }
        Kind::Set => {
            let sets = match which {
                Some(which) => vec![source.set(&which)?],
                None => source.sets()?,
            };
            let uses: Vec<_> = sets.into_iter().flat_map(|set| set.uses).collect();
            show(&uses, args.json, print_sleepers)?;
        }
        Kind::Queue => {
            let queues = match which {
                Some(which) => vec![source.queue(&which)?],
                None => source.queues()?,
            };
            let uses: Vec<_> = queues.into_iter().flat_map(|queue| queue.uses).collect();
            show(&uses, args.json, print_sleepers)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show<T: Serialize>(
    uses: &[T],
    json: bool,
    print: impl FnOnce(&[T]) -> Outcome<()>,
) -> Outcome<()> {
    match (json, uses) {
        (true, _) => print_json(&uses),
        (false, []) => Ok(()),
        (false, _) => print(uses),
    }
}

/// Prints who has to do with sets or queues as a table.
pub fn print_sleepers(uses: &[objects::Use]) -> Outcome<()> {
    print_rows(["ASLEEP", "WHAT"], uses, |one| {
        let asleep = one.asleep_since.map(time::span_since);
        (&one.who, [or_dash(asleep), one.does.text()])
    })
}

/// Prints who has what attached as a table.
pub fn print(uses: &[Use]) -> Outcome<()> {
    print_rows(["ATTACHES", "ADDRESSES"], uses, |one| {
        let addresses: Vec<_> = one.addresses.iter().map(shown_address).collect();
        let addresses = (!addresses.is_empty()).then(|| addresses.join(", "));
        (&one.who, [one.attaches.to_string(), or_dash(addresses)])
    })
}

/// A row for each use: what all have, and between them these two columns.
fn print_rows<T>(
    columns: [&str; 2],
    uses: &[T],
    row: impl Fn(&T) -> (&Participant, [String; 2]),
) -> Outcome<()> {
    let [first, second] = columns;
    let mut table = table(&[
        "ID", "KEY", "PID", "USER", "STARTED", first, second, "COMMAND",
    ]);
    set_right(&mut table, &[0, 2, 5]);
    let mut styles = Vec::new();
    for one in uses {
        let (who, [first, second]) = row(one);
        table.add_row([
            who.id.to_string(),
            who.key.clone(),
            or_dash(who.pid.map(|pid| pid.to_string())),
            or_dash(who.uid.map(|uid| shown(who.user.as_deref(), uid))),
            time::short(who.started),
            first,
            second,
            command(who),
        ]);
        styles.push(match who.alive {
            true => Style::new(),
            false => Style::new().dimmed(),
        });
    }
    print_table_in_colour(&table, &styles)
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn command(who: &Participant) -> String {
    match (&who.command, who.alive, who.pid) {
        (_, false, _) => "(dead)".to_owned(),
        (Some(command), ..) => shortened(command, 60),
        (None, _, None) if who.kind == kinds::name(Kind::Segment) => "(being forked)".to_owned(),
        (None, ..) => "-".to_owned(),
    }
}

fn shown_address(address: &Address) -> String {
    format!("{} {}", address.start, address.access)
}
