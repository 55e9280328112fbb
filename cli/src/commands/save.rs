//! `shmshim save`.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::MemfdFlags;
use shmshim_core::registry::inspect::{self, Inspection};
use shmshim_core::registry::saved::{self, Saved};
use shmshim_core::sysv::flags::{MODE_BITS, SHM_DEST};
use shmshim_core::sysv::{IdCursor, Limits, ShmId};

use crate::archive::{Description, Objects, Unwritten, Writer};
use crate::client::{existing, refusal, refusal_of};
use crate::destination::Destination;
use crate::error::{ABSENT, Error, Outcome};
use crate::kernel;
use crate::kernel_objects;
use crate::output;
use crate::place::Place;
use crate::startup;

/// What `shmshim save` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim save before.shm                           the namespace that programs use
  shmshim --dir /srv/app save app.shm
  shmshim save - | ssh other shmshim restore -
  shmshim save --kernel before.shm                  the kernel's own segments; restore makes a namespace of them
  tar tvf before.shm                                it is a tar archive, with a segment's bytes in a file each

Ids, keys, owners, modes, times and limits are those of one moment. The bytes of the segments are read after that, while
programs may go on writing: end or stop them where that matters. What is still attached and marked to be removed is left
out. Semaphore sets and message queues are saved with their values and messages, each as it is at one moment; who sleeps in
them and what processes owe them is not. Of the kernel's own queues messages are copied and stay where they are, which takes a
kernel with CONFIG_CHECKPOINT_RESTORE. The file is readable for its owner alone, and appears under its name when it is
complete; until then it is FILE.part. A link stays, and the file that it leads to is replaced. A device or a FIFO is written
to as it is; a FIFO waits for its reader.")]
pub struct Args {
    /// Save the kernel's own segments, semaphore sets and message queues; all must be readable for this user
    #[arg(long)]
    kernel: bool,
    /// Where to, or - for standard output; a file that is there is replaced, a device or FIFO written to
    file: PathBuf,
}

/// Save a whole namespace to a file.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let source = match args.kernel {
        true => Source::Kernel,
        false => Source::Namespace(Box::new(existing()?)),
    };
    if args.file.as_os_str() == "-" {
        if io::stdout().is_terminal() {
            return Err(for_no_terminal());
        }
        if !startup::has_output() {
            return Err(Error::refused(
                "standard output cannot be written: it is closed",
            ));
        }
        save(&source, io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let destination = Destination::open(&args.file)?;
    if destination.is_terminal() {
        return Err(for_no_terminal());
    }
    save(&source, destination.file())?;
    destination.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn for_no_terminal() -> Error {
    Error::usage(
        "a saved namespace is nothing for a terminal; redirect standard output, or name a file",
    )
}

/// What is saved.
enum Source {
    Namespace(Box<Inspection>),
    Kernel,
}

impl Source {
    /// The segments, the limits, and where ids go on, all of one moment.
    fn read(&self) -> Outcome<(Vec<Saved>, Limits, IdCursor)> {
        let mut segments = Vec::new();
        match self {
            Source::Namespace(_) => {
                let (limits, cursor) = saved::save(&mut |segment| segments.push(*segment))
                    .map_err(|failure| refusal(&failure))?;
                Ok((segments, limits, cursor))
            }
            Source::Kernel => {
                for listed in kernel::segments()? {
                    let mut stat = listed.stat;
                    stat.mode &= MODE_BITS | SHM_DEST;
                    segments.push(Saved {
                        stat,
                        locker: 0,
                        is_unreserved: false,
                        huge_page_bytes: None,
                    });
                }
                // What is made where they are restored is to have ids that the kernel has not given.
                Ok((segments, kernel::limits(), IdCursor::fresh(now())))
            }
        }
    }

    /// Semaphore sets and message queues, if there have been any.
    fn objects(&self) -> Outcome<Option<Found<'_>>> {
        Ok(match self {
            Source::Namespace(inspection) => {
                let found = inspection.objects()?.map(Box::new);
                found.map(Found::InNamespace)
            }
            Source::Kernel => Some(Found::InKernel),
        })
    }

    /// A segment's bytes; `None`: it was removed meanwhile.
    fn bytes(&self, id: ShmId, size: u64) -> Outcome<Option<File>> {
        match self {
            Source::Namespace(inspection) => inspection
                .open_file(id)
                .map(|file| file.map(File::from))
                .map_err(|failure| refusal_of(id.raw(), &failure)),
            Source::Kernel => {
                let bytes = match kernel::bytes(id) {
                    Err(error) if error.status == ABSENT => return Ok(None),
                    bytes => bytes?,
                };
                let no_copy = |error: io::Error| {
                    Error::refused(format!("segment {id} cannot be copied: {error}"))
                };
                let copy = rustix::fs::memfd_create("segment", MemfdFlags::CLOEXEC)
                    .map_err(|error| no_copy(error.into()))?;
                let copy = File::from(copy);
                copy.set_len(size)
                    .and_then(|()| bytes.copy(size, &mut |chunk, at| copy.write_all_at(chunk, at)))
                    .map_err(no_copy)?;
                Ok(Some(copy))
            }
        }
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Semaphore sets and message queues.
enum Found<'s> {
    InNamespace(Box<inspect::Objects<'s>>),
    InKernel,
}

impl Found<'_> {
    /// What holds for all of them.
    fn describe(&self) -> Outcome<Objects> {
        match self {
            Found::InNamespace(found) => Ok(Objects::of(found)?),
            Found::InKernel => Ok(Objects::of_kernel(IdCursor::fresh(now()))),
        }
    }

    /// Writes each with what is in it, as it is at one moment.
    fn add_to(&self, writer: &mut Writer<impl Write>) -> Outcome<()> {
        match self {
            Found::InNamespace(found) => add_objects(found, writer),
            Found::InKernel => add_kernel_objects(writer),
        }
    }
}

fn add_objects(found: &inspect::Objects<'_>, writer: &mut Writer<impl Write>) -> Outcome<()> {
    let mut written = Ok(());
    found.each_set(&mut |set| {
        if written.is_ok() {
            let semaphores = set.semaphores.iter().map(|one| (one.value, one.pid));
            let semaphores: Vec<(u16, i32)> = semaphores.collect();
            written = writer.add_set(&set.stat, &semaphores);
        }
    })?;
    written.map_err(|why| unwritten(why, DAMAGED))?;
    let mut written = Ok(());
    found.each_queue_with_texts(&mut |queue| {
        if written.is_ok() {
            let mut texts = queue.texts;
            let lens = queue.messages.iter().map(|message| message.len as usize);
            if lens.sum::<usize>() != texts.len() {
                let why = format!("message queue {} has lost a text", queue.stat.perm.id);
                written = Err(Unwritten::Impossible(why));
                return;
            }
            let messages = queue.messages.iter().map(|message| {
                let (text, behind) = texts
                    .split_at_checked(message.len as usize)
                    .unwrap_or((texts, &[]));
                texts = behind;
                (message.mtype, text)
            });
            let messages: Vec<(i64, &[u8])> = messages.collect();
            written = writer.add_queue(&queue.stat, &messages);
        }
    })?;
    written.map_err(|why| unwritten(why, DAMAGED))
}

fn add_kernel_objects(writer: &mut Writer<impl Write>) -> Outcome<()> {
    let too_large = |why| unwritten(why, TOO_LARGE);
    for stat in if_any(kernel_objects::sets())? {
        if let Some(semaphores) = if_there(kernel_objects::semaphores(&stat))? {
            writer.add_set(&stat, &semaphores).map_err(too_large)?;
        }
    }
    for stat in if_any(kernel_objects::queues())? {
        if let Some((stat, messages)) = if_there(kernel_objects::messages(&stat))? {
            let messages = messages.iter().map(|(mtype, text)| (*mtype, &text[..]));
            let messages: Vec<(i64, &[u8])> = messages.collect();
            writer.add_queue(&stat, &messages).map_err(too_large)?;
        }
    }
    Ok(())
}

/// A kernel may have been built without them.
fn if_any<T>(list: Outcome<Vec<T>>) -> Outcome<Vec<T>> {
    Ok(if_there(list)?.unwrap_or_default())
}

/// What is not there, or not any more, is none.
fn if_there<T>(read: Outcome<T>) -> Outcome<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.status == ABSENT => Ok(None),
        Err(error) => Err(error),
    }
}

/// What to do where a namespace holds what it cannot hold.
const DAMAGED: &str = "shmshim check says what is damaged";
/// What to do where the kernel does.
const TOO_LARGE: &str = "shmshim import takes the others one by one";

fn unwritten(why: Unwritten, advice: &str) -> Error {
    match why {
        Unwritten::Failed(error) => broken(error),
        Unwritten::Impossible(why) => Error::refused(format!(
            "the namespace was not saved, because it could not be restored: {why}; {advice}"
        )),
    }
}

fn broken(error: io::Error) -> Error {
    Error::refused(format!("the namespace was not saved: {error}"))
}

/// Writes the namespace.
fn save(source: &Source, out: impl Write) -> Outcome<()> {
    let (mut segments, limits, cursor) = source.read()?;
    let all = segments.len();
    segments.retain(|segment| !segment.stat.is_marked());
    if segments.len() < all {
        output::complain(&format!(
            "{} of {all} segments are left out: they are marked to be removed, and go with their last attach",
            all - segments.len()
        ));
    }
    let mut description = Description::new(&limits, &cursor, &segments, now());
    let objects = source.objects()?;
    description.objects = objects.as_ref().map(Found::describe).transpose()?;
    let mut writer =
        Writer::new(BufWriter::new(out), &description).map_err(|why| unwritten(why, DAMAGED))?;
    if let Some(objects) = objects {
        objects.add_to(&mut writer)?;
    }
    for segment in &description.segments {
        let id = ShmId::from_raw(segment.id).map_err(|refused| refusal(&refused.into()))?;
        match source.bytes(id, segment.size)? {
            Some(file) => writer.add_segment(segment, &file).map_err(broken)?,
            None => writer.note_removed(segment),
        }
    }
    let out = writer.finish().map_err(broken)?;
    out.into_inner()
        .map(drop)
        .map_err(|error| broken(error.into_error()))
}
