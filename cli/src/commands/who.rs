//! `shmshim who`.

use std::process::ExitCode;

use anstyle::Style;

use crate::error::Outcome;
use crate::output::{complain, print_json, print_table_in_colour, set_right, shortened, table};
use crate::place::Place;
use crate::process::Address;
use crate::segment::AnyOrWhich;
use crate::source::{Look, NO_NAMESPACE, Use};
use crate::time;
use crate::users::shown;

const EXAMPLES: &str = "\
Examples:
  shmshim who                    which processes have what attached
  shmshim who 0x162e             those that have the segment with this key
  shmshim who --kernel           the same of the kernel's own segments, which ipcs does not tell
  shmshim who --json | jq '.[] | select(.read_only) | .pid'

STARTED is when the process began. Behind each address stands what the memory there may be used for:
rw, or r alone after an attach with SHM_RDONLY. Only root sees the memory of other users' processes.
A process that ended without a detach is shown as dead until the next call of a program takes its
attaches off.

JSON: an array of id, key, pid, uid, user, command, started (seconds since 1970), alive, attaches,
read_only, and addresses with start, length, offset, access; null where it is not known";

/// What `shmshim who` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    segment: AnyOrWhich,
    #[command(flatten)]
    look: Look,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Tell which processes have segments attached, since when and where.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let uses = match args.segment.which() {
        Some(which) => {
            let source = args.look.existing()?;
            let segment = source.segment(&which)?;
            source.uses(Some(segment.id))?
        }
        None => match args.look.source()? {
            Some(source) => source.uses(None)?,
            None => {
                complain(NO_NAMESPACE);
                Vec::new()
            }
        },
    };
    if args.json {
        print_json(&uses)?;
    } else if !uses.is_empty() {
        print(&uses)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints who has what attached as a table.
pub fn print(uses: &[Use]) -> Outcome<()> {
    let mut table = table(&[
        "ID",
        "KEY",
        "PID",
        "USER",
        "STARTED",
        "ATTACHES",
        "ADDRESSES",
        "COMMAND",
    ]);
    set_right(&mut table, &[0, 2, 5]);
    let mut styles = Vec::new();
    for one in uses {
        let addresses: Vec<_> = one.addresses.iter().map(shown_address).collect();
        table.add_row([
            one.id.to_string(),
            one.key.clone(),
            one.pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            one.uid
                .map_or_else(|| "-".to_owned(), |uid| shown(one.user.as_deref(), uid)),
            time::short(one.started),
            one.attaches.to_string(),
            match addresses.is_empty() {
                true => "-".to_owned(),
                false => addresses.join(", "),
            },
            command(one),
        ]);
        styles.push(match one.alive {
            true => Style::new(),
            false => Style::new().dimmed(),
        });
    }
    print_table_in_colour(&table, &styles)
}

fn command(one: &Use) -> String {
    match (&one.command, one.alive, one.pid) {
        (_, false, _) => "(dead)".to_owned(),
        (Some(command), ..) => shortened(command, 60),
        (None, _, None) => "(being forked)".to_owned(),
        (None, _, Some(_)) => "-".to_owned(),
    }
}

fn shown_address(address: &Address) -> String {
    format!("{} {}", address.start, address.access)
}
