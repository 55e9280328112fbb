//! `shmshim restore`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use nix::unistd::{getegid, geteuid};
use shmshim_core::registry::saved::{self, Restoring, Stopped};
use shmshim_core::sysv::{IdCursor, Kind};

use crate::archive::{
    Described, Description, Known, Member, Objects, Perm, QueueReader, Reader, Wrong, read_set,
    unpack,
};
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
    let owner = choose_owners(&mut description, args.own)?;
    let is_done = saved::restore(&description.limits(), description.cursor(), |restoring| {
        fill(restoring, &mut reader, &description, owner)
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

/// Adds every object of the archive.
fn fill<R: Read>(
    restoring: &Restoring<'_>,
    reader: &mut Reader<'_, R>,
    description: &Description,
    owner: Option<(u32, u32)>,
) -> Result<(), Stopped<Wrong>> {
    if let Some(objects) = &description.objects {
        objects.restore_limits(restoring);
    }
    let described = description.segments.iter();
    let filling = Filling {
        restoring,
        segments: described.map(|segment| (segment.id, segment)).collect(),
        objects: description.objects.as_ref(),
        owner,
    };
    let mut known = Known::new();
    while let Some(mut member) = reader.next_member(description).map_err(Stopped::ByCaller)? {
        match member.kind {
            Kind::Segment => filling.add_segment(&mut member)?,
            Kind::Set => filling.add_set(&mut member, &mut known)?,
            Kind::Queue => filling.add_queue(&mut member, &mut known)?,
        }
        reader.note(member);
    }
    Ok(())
}

/// What is added to, and what is known of what is added.
struct Filling<'f> {
    restoring: &'f Restoring<'f>,
    segments: BTreeMap<i32, &'f Described>,
    objects: Option<&'f Objects>,
    /// Who gets sets and queues; `None`: who had them.
    owner: Option<(u32, u32)>,
}

fn not_described(kind: Kind, id: i32) -> Stopped<Wrong> {
    let word = kind.word();
    Stopped::ByCaller(format!("{word} {id} is not described in it").into())
}

impl Filling<'_> {
    fn add_segment(&self, member: &mut Member<'_, impl Read>) -> Result<(), Stopped<Wrong>> {
        let described = self.segments.get(&member.id);
        let segment = described
            .and_then(|described| described.segment())
            .ok_or_else(|| not_described(member.kind, member.id))?;
        let size = segment.stat.segsz;
        self.restoring
            .add(&segment, |file| member.write_to(&File::from(file), size))
    }

    fn cursor(&self, kind: Kind, id: i32) -> Result<IdCursor, Stopped<Wrong>> {
        let objects = self.objects.ok_or_else(|| not_described(kind, id))?;
        Ok(objects.cursor(kind))
    }

    fn choose_owner(&self, perm: &mut Perm) {
        if let Some((uid, gid)) = self.owner {
            perm.give_to(uid, gid);
        }
    }

    fn add_set(
        &self,
        member: &mut Member<'_, impl Read>,
        known: &mut Known,
    ) -> Result<(), Stopped<Wrong>> {
        let (kind, id) = (member.kind, member.id);
        let cursor = self.cursor(kind, id)?;
        let (mut set, semaphores) =
            read_set(&mut BufReader::new(member), id, known).map_err(Stopped::ByCaller)?;
        self.choose_owner(&mut set.perm);
        let stat = set.stat().ok_or_else(|| not_described(kind, id))?;
        self.restoring.add_set(&stat, &semaphores, cursor)
    }

    fn add_queue(
        &self,
        member: &mut Member<'_, impl Read>,
        known: &mut Known,
    ) -> Result<(), Stopped<Wrong>> {
        let (kind, id) = (member.kind, member.id);
        let cursor = self.cursor(kind, id)?;
        let mut reader =
            QueueReader::new(BufReader::new(member), id, known).map_err(Stopped::ByCaller)?;
        self.choose_owner(&mut reader.queue.perm);
        let facts = reader.queue.facts();
        let stat = facts.ok_or_else(|| not_described(kind, id))?;
        let messages = reader.queue.messages;
        self.restoring.add_queue(&stat, messages, cursor, |add| {
            let mut text = Vec::new();
            while let Some(mtype) = reader.next(&mut text).map_err(Stopped::ByCaller)? {
                add(mtype, &text)?;
            }
            Ok(())
        })
    }
}

/// Other users' files can be made by root alone. Who is to have everything, if that is asked.
fn choose_owners(description: &mut Description, own: bool) -> Outcome<Option<(u32, u32)>> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    if own {
        for segment in &mut description.segments {
            segment.give_to(uid, gid);
        }
        return Ok(Some((uid, gid)));
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
    Ok(None)
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
