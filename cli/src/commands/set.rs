//! `shmshim set`.

use std::process::ExitCode;

use shmshim_core::registry;
use shmshim_core::sysv::NewPerm;

use crate::client::{find, refusal_of};
use crate::error::Outcome;
use crate::number;
use crate::place::Place;
use crate::segment::Which;

/// What `shmshim set` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim set 1073741824 --mode 660                 lets its group read and write it
  shmshim set --key 0x162e --owner alice --group staff

What is not named stays as it is. Only the segment's owner, its creator or root may.")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct Change {
    /// The new owner, by name or number
    #[arg(long, value_name = "USER", value_parser = number::user)]
    owner: Option<u32>,
    /// The new group, by name or number
    #[arg(long, value_name = "GROUP", value_parser = number::group)]
    group: Option<u32>,
    /// The new permission bits, in octal
    #[arg(long, value_parser = number::mode)]
    mode: Option<u32>,
}

/// Change a segment's owner, group or mode.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let segment = find(&args.which)?;
    let new = NewPerm {
        uid: args.change.owner.unwrap_or(segment.uid),
        gid: args.change.group.unwrap_or(segment.gid),
        mode: args.change.mode.unwrap_or(segment.mode),
    };
    let id = segment.id.raw();
    registry::set(id, new).map_err(|failure| refusal_of(id, &failure))?;
    Ok(ExitCode::SUCCESS)
}
