//! `shmshim import`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::ExitCode;

use nix::unistd::{getegid, geteuid};
use serde::Serialize;
use shmshim_core::registry;
use shmshim_core::registry::imported;
use shmshim_core::registry::placed::{self, Placed};
use shmshim_core::registry::saved::{Saved, Stopped};
use shmshim_core::sysv::flags::{IPC_CREAT, IPC_EXCL, MODE_BITS};
use shmshim_core::sysv::msg::QueueFacts;
use shmshim_core::sysv::sem::SetPerm;
use shmshim_core::sysv::{IpcPerm, Key, Kind, NewPerm, Segment};

use crate::client::{Attach, refusal, refusal_of};
use crate::error::{ABSENT, Error, Outcome, REFUSED};
use crate::kernel;
use crate::kernel_objects;
use crate::kinds::{self, Kinds};
use crate::number;
use crate::output;
use crate::place::Place;

/// What `shmshim import` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim import --all                              every segment, semaphore set and message queue of the kernel's
  shmshim import --all -s -q                        the sets and queues alone
  shmshim import --key 0x162e --key 0x162f
  shmshim import 98305
  shmshim import -q 3

What is the kernel's stays as it is; end the programs that use it first, for what they do afterwards is not copied. Keys,
modes, contents and, where its place is free in the namespace, the id of each are kept, so that a program goes on with its
data under the library. Root keeps owners, too; for others what is imported becomes theirs. Pages of zeros take no memory.
Of a semaphore set values, process ids and times come; who sleeps in it, and what processes owe it (SEM_UNDO), the kernel tells
nobody. Messages are copied by MSG_COPY and stay in the kernel's queue: a kernel without CONFIG_CHECKPOINT_RESTORE cannot do
that, and its queues are refused unless they are empty.")]
pub struct Args {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    kinds: Kinds,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
struct What {
    /// Objects of the kernel's by id: segments without -s and -q
    #[arg(value_name = "ID", conflicts_with = "all")]
    ids: Vec<i32>,
    /// The kernel's object with this key (decimal or 0x…)
    #[arg(long, value_parser = number::key, allow_hyphen_values = true, conflicts_with = "all")]
    key: Vec<i32>,
    /// All objects of the kernel's
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Imported {
    kind: &'static str,
    /// Its id in the kernel.
    kernel_id: i32,
    /// Its id in the namespace.
    id: i32,
    key: String,
    /// Bytes of a segment, or of all messages of a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    semaphores: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<usize>,
}

/// Copy the kernel's segments, semaphore sets and message queues into a namespace.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let mut imported = Vec::new();
    let mut failed = false;
    for one in chosen(&args)? {
        match one.import() {
            Ok(one) => imported.push(one),
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
    let size = one.size.map_or_else(String::new, output::size);
    let (what, content) = match (one.semaphores, one.messages) {
        (Some(semaphores), _) => ("semaphore set", format!("{semaphores} semaphores")),
        (_, Some(messages)) => ("message queue", format!("{messages} messages, {size}")),
        _ => ("segment", size),
    };
    match kernel_id == id {
        true => format!("imported {what} {id}, key {key}, {content}\n"),
        false => format!(
            "imported {what} {kernel_id} as {id}, key {key}, {content}: the place of its id was taken\n"
        ),
    }
}

/// An object of the kernel's.
#[derive(Clone, Copy)]
enum One {
    Segment(Segment),
    Set(SetPerm),
    Queue(QueueFacts),
}

impl One {
    fn id(&self) -> i32 {
        match self {
            One::Segment(segment) => segment.id.raw(),
            One::Set(set) => set.perm.id.raw(),
            One::Queue(queue) => queue.perm.id.raw(),
        }
    }

    fn key(&self) -> Key {
        match self {
            One::Segment(segment) => segment.key,
            One::Set(set) => set.key,
            One::Queue(queue) => queue.key,
        }
    }

    /// Copies it.
    fn import(&self) -> Outcome<Imported> {
        let (id, mut size, mut semaphores, mut messages) = (self.id(), None, None, None);
        let (kind, new) = match self {
            One::Segment(segment) => {
                size = Some(segment.segsz);
                (Kind::Segment, import_segment(segment)?)
            }
            One::Set(set) => {
                let values = kernel_objects::semaphores(set)?;
                semaphores = Some(values.len());
                let mut wanted = *set;
                choose_owners(&mut wanted.perm);
                (
                    Kind::Set,
                    placed(imported::import_set(&wanted, &values), Kind::Set, self)?,
                )
            }
            One::Queue(queue) => {
                let (mut wanted, copied) = kernel_objects::messages(queue)?;
                choose_owners(&mut wanted.perm);
                messages = Some(copied.len());
                let copied = copied.iter().map(|(mtype, text)| (*mtype, text.as_slice()));
                let copied: Vec<(i64, &[u8])> = copied.collect();
                size = Some(copied.iter().map(|(_, text)| text.len() as u64).sum());
                (
                    Kind::Queue,
                    placed(imported::import_queue(&wanted, &copied), Kind::Queue, self)?,
                )
            }
        };
        Ok(Imported {
            kind: kinds::name(kind),
            kernel_id: id,
            id: new,
            key: self.key().to_string(),
            size,
            semaphores,
            messages,
        })
    }
}

/// The objects of the kernel's that are meant.
fn chosen(args: &Args) -> Outcome<Vec<One>> {
    let what = &args.what;
    let wanted = match (what.all, args.kinds.is_given()) {
        (false, false) => vec![Kind::Segment],
        _ => [Kind::Segment, Kind::Set, Kind::Queue]
            .into_iter()
            .filter(|kind| args.kinds.has(*kind))
            .collect(),
    };
    if what.all {
        let mut all = Vec::new();
        for kind in wanted {
            match all_of(kind) {
                Ok(mut found) => all.append(&mut found),
                // A kernel may have been built without one of them.
                Err(error) if error.status == ABSENT && !args.kinds.is_given() => {}
                Err(error) => return Err(error),
            }
        }
        // What is marked has no key, and goes with its last attach.
        all.retain(|one| !matches!(one, One::Segment(segment) if segment.is_marked()));
        return Ok(all);
    }
    let [kind] = wanted[..] else {
        return Err(Error::usage(
            "ids and keys are those of one kind: give one of -m, -s and -q, or --all",
        ));
    };
    let all = all_of(kind)?;
    let by_id = what.ids.iter().map(|id| {
        let found = all.iter().find(|one| one.id() == *id);
        found.ok_or_else(|| format!("no {} with id {id}", kind.word()))
    });
    let by_key = what.key.iter().map(|key| {
        let found = all.iter().find(|one| one.key().0 == *key && *key != 0);
        found.ok_or_else(|| format!("no {} with key {key:#010x}", kind.word()))
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

fn all_of(kind: Kind) -> Outcome<Vec<One>> {
    Ok(match kind {
        Kind::Segment => {
            let segments = kernel::segments()?.into_iter();
            segments.map(|listed| One::Segment(listed.stat)).collect()
        }
        Kind::Set => kernel_objects::sets()?.into_iter().map(One::Set).collect(),
        Kind::Queue => {
            let queues = kernel_objects::queues()?.into_iter();
            queues.map(One::Queue).collect()
        }
    })
}

/// A caller that is not root can make nothing for other users.
fn choose_owners(perm: &mut IpcPerm) {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if uid != 0 {
        (perm.uid, perm.cuid, perm.gid, perm.cgid) = (uid, uid, gid, gid);
    }
}

/// The id of a set or a queue in the namespace.
fn placed(made: registry::Outcome<Option<i32>>, kind: Kind, one: &One) -> Outcome<i32> {
    let (id, key, noun) = (one.id(), one.key(), kind.word());
    let letter = if kind == Kind::Set { "s" } else { "q" };
    match made {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(Error::refused(format!(
            "the namespace has a {noun} with key {key} already; remove it (shmshim rm -{letter} --key {:#x}) and import {noun} {id} again",
            key.0
        ))),
        Err(failure) => Err(Error::refused(format!(
            "{noun} {id} cannot be imported: {}",
            failure.why
        ))),
    }
}

/// Copies one segment, and returns its id in the namespace.
fn import_segment(segment: &Segment) -> Outcome<i32> {
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

/// The segment as it is to be in the namespace. A caller that is not root can make no files for other users.
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
