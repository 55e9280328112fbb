//! `shmshim import`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use nix::unistd::{getegid, geteuid};
use serde::Serialize;
use shmshim_core::registry;
use shmshim_core::registry::placed::{self, Placed};
use shmshim_core::registry::saved::{Saved, Stopped};
use shmshim_core::sysv::flags::{IPC_CREAT, IPC_EXCL, MODE_BITS};
use shmshim_core::sysv::{NewPerm, Segment};

use crate::client::{Attach, refusal, refusal_of};
use crate::error::{Error, Outcome, REFUSED};
use crate::kernel;
use crate::number;
use crate::output;
use crate::place::Place;

/// What `shmshim import` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim import --all                              every segment of the kernel's that this user may read
  shmshim import --key 0x162e --key 0x162f
  shmshim import 98305

The kernel's segments stay as they are; end the programs that use them first, for what they write afterwards is not copied.
Keys, modes, contents and, where its place is free in the namespace, the id of each segment are kept, so that a program goes
on with its data under the library. Root keeps owners, too; for others what is imported becomes theirs. Pages of zeros take
no memory. The kernel's semaphore sets and message queues are not imported: their programs make them again.")]
pub struct Args {
    #[command(flatten)]
    what: What,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct What {
    /// Segments of the kernel's by id
    #[arg(value_name = "ID", conflicts_with = "all")]
    ids: Vec<i32>,
    /// The kernel's segment with this key (decimal or 0x…)
    #[arg(long, value_parser = number::key, allow_hyphen_values = true, conflicts_with = "all")]
    key: Vec<i32>,
    /// All segments of the kernel's
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Imported {
    /// Its id in the kernel.
    kernel_id: i32,
    /// Its id in the namespace.
    id: i32,
    key: String,
    size: u64,
}

/// Copy the kernel's segments into a namespace.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let mut imported = Vec::new();
    let mut failed = false;
    for segment in chosen(&args.what)? {
        match import(&segment) {
            Ok(id) => imported.push(Imported {
                kernel_id: segment.id.raw(),
                id,
                key: format!("{:#010x}", segment.key.0),
                size: segment.segsz,
            }),
            Err(error) => {
                output::complain(&error.sentence);
                failed = true;
            }
        }
    }
    if args.json {
        output::print_json(&imported)?;
    } else {
        let lines: String = imported.iter().map(line).collect();
        output::print(&lines)?;
    }
    Ok(match failed {
        true => ExitCode::from(REFUSED),
        false => ExitCode::SUCCESS,
    })
}

fn line(one: &Imported) -> String {
    let Imported {
        kernel_id, id, key, ..
    } = one;
    let size = output::size(one.size);
    match kernel_id == id {
        true => format!("imported segment {id}, key {key}, {size}\n"),
        false => format!(
            "imported segment {kernel_id} as {id}, key {key}, {size}: the place of its id was taken\n"
        ),
    }
}

/// The kernel's segments that are meant.
fn chosen(what: &What) -> Outcome<Vec<Segment>> {
    let all: Vec<Segment> = kernel::segments()?
        .into_iter()
        .map(|listed| listed.stat)
        .collect();
    if what.all {
        // What is marked has no key, and goes with its last attach.
        return Ok(all.into_iter().filter(|one| !one.is_marked()).collect());
    }
    let by_id = what.ids.iter().map(|id| {
        let found = all.iter().find(|one| one.id.raw() == *id);
        found.ok_or_else(|| format!("no segment with id {id}"))
    });
    let by_key = what.key.iter().map(|key| {
        let found = all.iter().find(|one| one.key.0 == *key && *key != 0);
        found.ok_or_else(|| format!("no segment with key {key:#010x}"))
    });
    by_id
        .chain(by_key)
        .map(|found| {
            found.copied().map_err(|what| {
                Error::absent(format!(
                    "the kernel has {what}; shmshim ls --kernel lists them"
                ))
            })
        })
        .collect()
}

/// Copies one segment, and returns its id in the namespace.
fn import(segment: &Segment) -> Outcome<i32> {
    let id = segment.id.raw();
    let bytes = kernel::bytes(segment.id)?;
    let wanted = wanted(segment);
    let copy = |file| {
        let file = File::from(file);
        bytes.copy(segment.segsz, &mut |chunk, at| file.write_all_at(chunk, at))
    };
    let no_room = |error: io::Error| {
        Error::refused(format!(
            "segment {id} cannot be copied ({error}); most likely there is no room: remove something, or choose another --dir"
        ))
    };
    match placed::place(&wanted, copy) {
        Ok(Placed::Done) => Ok(id),
        Ok(Placed::KeyIsTaken) => Err(Error::refused(format!(
            "the namespace has a segment with key {:#010x} already; remove it (shmshim rm --key {:#x}) and import segment {id} again",
            segment.key.0, segment.key.0
        ))),
        Ok(Placed::IdIsTaken) => import_elsewhere(&wanted.stat, &bytes),
        Err(Stopped::Failed(failure)) => Err(refusal_of(id, &failure)),
        Err(Stopped::ByCaller(error)) => Err(no_room(error)),
    }
}

/// The segment as it is to be in the namespace. Who is not root can make no files for others.
fn wanted(segment: &Segment) -> Saved {
    let mut stat = *segment;
    // That it is locked is a right which its user has not asked for here.
    stat.mode &= MODE_BITS;
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid != 0 {
        (stat.uid, stat.cuid, stat.gid, stat.cgid) = (uid, uid, gid, gid);
    }
    Saved {
        stat,
        locker: 0,
        is_unreserved: false,
        huge_page_bytes: None,
    }
}

/// The same with an id that the namespace gives.
fn import_elsewhere(wanted: &Segment, bytes: &kernel::Bytes) -> Outcome<i32> {
    let flags = IPC_CREAT | IPC_EXCL | 0o600;
    let id =
        registry::shmget(wanted.key.0, wanted.segsz, flags).map_err(|failure| refusal(&failure))?;
    let filled = Attach::to_write(id).and_then(|attach| {
        let mut refused = None;
        let copied = bytes.copy(wanted.segsz, &mut |chunk, at| {
            attach.write(at, chunk).map_err(|error| {
                refused = Some(error);
                io::Error::from(io::ErrorKind::StorageFull)
            })
        });
        copied.map_err(|error| {
            refused.unwrap_or_else(|| Error::refused(format!("segment {id}: {error}")))
        })
    });
    let new = NewPerm {
        uid: wanted.uid,
        gid: wanted.gid,
        mode: wanted.mode,
    };
    let done =
        filled.and_then(|()| registry::set(id, new).map_err(|failure| refusal_of(id, &failure)));
    if done.is_err() {
        let _ = registry::remove(id);
    }
    done.map(|()| id)
}
