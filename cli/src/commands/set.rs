//! `shmshim set`.

use std::process::ExitCode;

use shmshim_core::registry::{self, msg, sem};
use shmshim_core::sysv::msg::{MsgCommand, NewQueue};
use shmshim_core::sysv::{IpcPerm, Kind, NewPerm};

use crate::client::{find, find_of, queues, refusal_of, refusal_of_kind, sets};
use crate::error::{Error, Outcome};
use crate::kinds::OneKind;
use crate::number;
use crate::place::Place;
use crate::segment::Which;

/// What `shmshim set` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim set 1073741824 --mode 660                 lets its group read and write it
  shmshim set --key 0x162e --owner alice --group staff
  shmshim set -s --key 0x162e --value 0=1           semaphore 0 becomes 1, and who waited for that goes on
  shmshim set -q --key 0x162e --bytes 64K           how many bytes the message queue may hold

What is not named stays as it is. Only its owner, its creator or root may. A value is set as by SETVAL: what processes owe the
semaphore is forgotten. All that is asked is checked before the first change.")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    kind: OneKind,
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
    /// With -s: the new value of a semaphore
    #[arg(long = "value", value_name = "NUMBER=VALUE", value_parser = value)]
    values: Vec<(i32, i32)>,
    /// With -q: how many bytes it may hold
    #[arg(long, value_parser = bytes)]
    bytes: Option<u32>,
}

fn value(text: &str) -> Result<(i32, i32), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(number, value)| Some((number.parse().ok()?, value.parse().ok()?)));
    parsed.ok_or_else(|| "write NUMBER=VALUE, as 0=1".to_owned())
}

fn bytes(text: &str) -> Result<u32, String> {
    let bytes = number::size(text)?;
    u32::try_from(bytes).map_err(|_| "a queue holds less than 4 GiB".to_owned())
}

impl Change {
    fn perm(&self, old: &IpcPerm) -> NewPerm {
        NewPerm {
            uid: self.owner.unwrap_or(old.uid),
            gid: self.group.unwrap_or(old.gid),
            mode: self.mode.unwrap_or(old.mode),
        }
    }

    fn has_rights(&self) -> bool {
        self.owner.is_some() || self.group.is_some() || self.mode.is_some()
    }
}

/// Change owner, group or mode of a segment, a semaphore set or a message queue, a semaphore's value, or what a queue may hold.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let kind = args.kind.kind();
    if !args.change.values.is_empty() && kind != Kind::Set {
        return Err(Error::usage("--value is for semaphore sets: write -s"));
    }
    if args.change.bytes.is_some() && kind != Kind::Queue {
        return Err(Error::usage("--bytes is for message queues: write -q"));
    }
    match kind {
        Kind::Segment => set_segment(&args)?,
        Kind::Set => set_set(&args)?,
        Kind::Queue => set_queue(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn set_segment(args: &Args) -> Outcome<()> {
    let segment = find(&args.which)?;
    let new = NewPerm {
        uid: args.change.owner.unwrap_or(segment.uid),
        gid: args.change.group.unwrap_or(segment.gid),
        mode: args.change.mode.unwrap_or(segment.mode),
    };
    let id = segment.id.raw();
    registry::set(id, new).map_err(|failure| refusal_of(id, &failure))
}

fn set_set(args: &Args) -> Outcome<()> {
    let sets = sets()?;
    let names: Vec<_> = sets.iter().map(|set| (set.id, set.raw_key)).collect();
    let id = find_of(&args.which, Kind::Set, &names)?;
    let refused = |failure| refusal_of_kind(Kind::Set, id, &failure);
    let set = sets.iter().find(|set| set.id == id);
    let rights = set
        .filter(|_| args.change.has_rights())
        .map(|set| args.change.perm(&set.perm));
    let values = &args.change.values;
    // All of it or none.
    sem::sem_may_change(id, values, rights).map_err(refused)?;
    for (number, value) in values {
        sem::sem_set_value(id, *number, *value).map_err(refused)?;
    }
    rights.map_or(Ok(()), |new| sem::sem_set(id, new).map_err(refused))
}

fn set_queue(args: &Args) -> Outcome<()> {
    let queues = queues()?;
    let names: Vec<_> = queues
        .iter()
        .map(|queue| (queue.id, queue.raw_key))
        .collect();
    let id = find_of(&args.which, Kind::Queue, &names)?;
    let refused = |failure| refusal_of_kind(Kind::Queue, id, &failure);
    let old = msg::msg_stat(id, MsgCommand::IpcStat).map_err(refused)?;
    let new = NewQueue {
        perm: args.change.perm(&old.perm),
        qbytes: args.change.bytes.unwrap_or(old.qbytes),
    };
    msg::msg_set(id, new).map_err(refused)
}
