//! `shmshim restore`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use nix::unistd::{getegid, geteuid};
use shmshim_core::registry::saved::{self, Restoring, Stopped};

use crate::archive::{Described, Description, Objects, Reader, Wrong, unpack};
use crate::client::refusal;
use crate::error::{Error, Outcome};
use crate::output;
use crate::place::Place;

/// What `shmshim restore` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim restore before.shm                        programs go on with the ids that they knew
  shmshim --dir /tmp/copy restore before.shm        beside the namespace that it was saved from
  shmshim restore app.shm --own                     another user's: all segments become yours

The namespace must not be there yet, or hold no object and no process. It appears when it is whole: a file that is damaged,
cut or none of shmshim's changes nothing. Segments of huge pages get ordinary ones.")]
pub struct Args {
    /// The file that save has written, or - for standard input
    file: PathBuf,
    /// Make all segments yours: owner, creator and groups. Without it, other owners' can be restored by root alone
    #[arg(long)]
    own: bool,
}

/// Make a namespace again from a saved file.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let input: Box<dyn Read> = if args.file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(&args.file).map_err(|error| {
            let sentence = format!("{} cannot be opened: {error}", args.file.display());
            match error.kind() {
                io::ErrorKind::NotFound => Error::absent(sentence),
                _ => Error::refused(sentence),
            }
        })?;
        Box::new(BufReader::new(file))
    };
    let damaged = |wrong: Wrong| match wrong {
        Wrong::Archive(why) => Error::refused(format!(
            "{} is no whole saved namespace: {why}; nothing was restored, so save it again, or take another copy",
            args.file.display()
        )),
        Wrong::Target(error) => Error::refused(format!(
            "there is no room for what was saved ({error}); nothing was restored, so make room, or choose another --dir"
        )),
    };
    let (mut archive, behind) = unpack(input);
    let (mut reader, mut description) = Reader::new(&mut archive, behind).map_err(damaged)?;
    choose_owners(&mut description, args.own)?;
    let is_done = saved::restore(&description.limits(), description.cursor(), |restoring| {
        fill(restoring, &mut reader, &description)
    });
    match is_done {
        Ok(true) => {
            report(&description);
            Ok(ExitCode::SUCCESS)
        }
        Ok(false) => Err(in_the_way()),
        Err(Stopped::Failed(failure)) => Err(refusal(&failure)),
        Err(Stopped::ByCaller(wrong)) => Err(damaged(wrong)),
    }
}

/// Adds every segment of the archive.
fn fill<R: Read>(
    restoring: &Restoring<'_>,
    reader: &mut Reader<'_, R>,
    description: &Description,
) -> Result<(), Stopped<Wrong>> {
    let described: BTreeMap<i32, &Described> = description
        .segments
        .iter()
        .map(|segment| (segment.id, segment))
        .collect();
    while let Some(mut bytes) = reader
        .next_segment(description)
        .map_err(Stopped::ByCaller)?
    {
        let id = bytes.id;
        let segment = described
            .get(&id)
            .and_then(|described| described.segment())
            .ok_or_else(|| {
                Stopped::ByCaller(Wrong::Archive(format!(
                    "segment {id} is not described in it"
                )))
            })?;
        let size = segment.stat.segsz;
        restoring.add(&segment, |file| bytes.write_to(&File::from(file), size))?;
        reader.note(bytes);
    }
    match &description.objects {
        Some(objects) => objects.restore(restoring),
        None => Ok(()),
    }
}

/// Other users' files can be made by root alone.
fn choose_owners(description: &mut Description, own: bool) -> Outcome<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if own {
        for segment in &mut description.segments {
            segment.give_to(uid, gid);
        }
        for perm in description.objects.iter_mut().flat_map(Objects::perms) {
            perm.give_to(uid, gid);
        }
        return Ok(());
    }
    let others = description
        .segments
        .iter()
        .filter(|segment| segment.cuid != uid)
        .count();
    if others > 0 && uid != 0 {
        return Err(Error::refused(format!(
            "{others} of {} segments were made by other users; restore them as root, or make all of them yours by --own",
            description.segments.len()
        )));
    }
    Ok(())
}

fn in_the_way() -> Error {
    Error::refused(
        "there is a namespace already, with segments, semaphore sets, message queues or processes in it; name another by --dir, or remove it by rm --namespace",
    )
}

fn report(description: &Description) {
    let huge = description
        .segments
        .iter()
        .filter(|segment| segment.huge_page_bytes.is_some())
        .count();
    if huge > 0 {
        output::complain(&format!(
            "{huge} segments had huge pages, and have ordinary ones now"
        ));
    }
    if description.limits().shm_rmid_forced && !description.segments.is_empty() {
        output::complain(
            "shm_rmid_forced is set as it was: the next call removes each segment whose creator does not run and that nobody has attached",
        );
    }
}
