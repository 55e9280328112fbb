//! `shmshim create`.

use std::process::ExitCode;

use serde::Serialize;
use shmshim_core::registry;
use shmshim_core::sysv::flags::{IPC_CREAT, IPC_EXCL, SHM_HUGETLB};

use crate::client::refusal;
use crate::error::{Error, Outcome};
use crate::number;
use crate::output;
use crate::place::Place;

/// What `shmshim create` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim create --key 0x162e --size 64K            prints the id of the segment with this key, made if need be
  shmshim create --private --size 1G --mode 600     a segment without a key
  shmshim create --key 0x162e --size 64K --excl     fails if the key has a segment already

  shmshim create -s 3 --key 0x162e                  a set of three semaphores, all 0
  shmshim create -q --key 0x162e                    a message queue

A segment that is created belongs to this command, which has ended when the id is read: rm --orphaned removes it unless a program
attaches it, and so does the next call where shm_rmid_forced is set.")]
#[command(group = clap::ArgGroup::new("which").args(["key", "private"]).required(true))]
pub struct Args {
    /// The key (decimal or 0x…)
    #[arg(long, value_parser = number::key, allow_hyphen_values = true)]
    key: Option<i32>,
    /// No key (IPC_PRIVATE)
    #[arg(long, conflicts_with = "excl")]
    private: bool,
    /// How large: bytes, or a number with K, M, G or T
    #[arg(long, value_parser = number::size, required_unless_present_any = ["semaphores", "queue"])]
    size: Option<u64>,
    /// A semaphore set with so many semaphores, not a segment
    #[arg(short, long, value_name = "COUNT", conflicts_with_all = ["size", "huge", "queue"])]
    semaphores: Option<i32>,
    /// A message queue, not a segment
    #[arg(short, long, conflicts_with_all = ["size", "huge"])]
    queue: bool,
    /// The permission bits, in octal
    #[arg(long, value_parser = number::mode, default_value = "600")]
    mode: u32,
    /// Fail if the key has one already
    #[arg(long)]
    excl: bool,
    /// Use huge pages (SHM_HUGETLB)
    #[arg(long)]
    huge: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Created {
    id: i32,
}

/// Create a segment, a semaphore set or a message queue.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let key = args.key.unwrap_or(0);
    if key == 0 && !args.private {
        return Err(Error::usage(
            "key 0 is IPC_PRIVATE, which is no key; write --private for one without",
        ));
    }
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    let flags =
        IPC_CREAT | args.mode as i32 | flag(args.excl, IPC_EXCL) | flag(args.huge, SHM_HUGETLB);
    let made = match args.semaphores {
        Some(count) => registry::sem::semget(key, count, flags),
        None if args.queue => registry::msg::msgget(key, flags),
        None => registry::shmget(key, args.size.unwrap_or(0), flags),
    };
    let id = made.map_err(|failure| refusal(&failure))?;
    if args.json {
        output::print_json(&Created { id })?;
    } else {
        output::print(&format!("{id}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
