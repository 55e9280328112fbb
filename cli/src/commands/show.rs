//! `shmshim show`.

use std::mem::take;
use std::process::ExitCode;

use serde::Serialize;
use shmshim_core::sysv::Kind;

use crate::commands::ls::{attaches, creator};
use crate::commands::who;
use crate::error::{Error, Outcome};
use crate::kinds::OneKind;
use crate::objects::{self, Message, Queue, Set};
use crate::output::{print, print_json, print_table, set_right, size, table};
use crate::place::Place;
use crate::rights::Rights;
use crate::segment::Which;
use crate::semaphore::Semaphore;
use crate::source::{Look, Segment, Source};
use crate::time;
use crate::typed::{Tree, TypeOptions, View};
use crate::uses::Use;

const EXAMPLES: &str = "\
Examples:
  shmshim show 0x162e            the segment with this key
  shmshim show 1530200064        the segment with this id
  shmshim show -s 0x162e         the semaphore set with this key: values, who sleeps, who owes what
  shmshim show -q 0x162e         the message queue with this key: its messages, who sleeps
  shmshim show --kernel 98305    one of the kernel's own
  shmshim show 0x162e --type 'struct shared_state'
  shmshim show 0x162e --type 'struct slot[]' --offset 64 --from ./program

A typed view takes debug information (gcc -g). Of each array it shows 200 different elements, as JSON
all. Of the semaphores of a set, and the messages of a queue, the first 200 are shown, as JSON all.

The value of a semaphore is that of the moment; OWED is what the end of processes adds to it
(SEM_UNDO). What a process owes that has ended already is paid with the next call about the set.

JSON: an object as those of shmshim ls --json, with users: an array as that of shmshim who --json.
Semaphore sets: values with number, value, last_pid, waiting_for_growth, waiting_for_zero, owed.
Message queues: list with type, bytes, the oldest first.
With --type: id, key, type, size, program, reason (why that one), offset, and value: a structure is
an object, an array of characters a string (an array of numbers where it is no UTF-8), a pointer an
object with address and symbol.";

/// What `shmshim show` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    segment: Which,
    #[command(flatten)]
    kind: OneKind,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    types: TypeOptions,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    segment: Segment,
    users: Vec<Use>,
}

#[derive(Serialize)]
struct ShownAsType<'a> {
    id: i32,
    key: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    size: u64,
    program: &'a str,
    reason: &'a str,
    offset: u64,
    value: Tree,
}

/// How many different elements of an array are printed.
const ELEMENTS: usize = 200;

/// Show a segment, a semaphore set or a message queue: what IPC_STAT tells, who uses it, and what is in it.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let source = args.look.existing()?;
    if args.kind.is_given() && args.types.is_given() {
        return Err(Error::usage(
            "--type shows the bytes of a segment; a semaphore set and a message queue have none",
        ));
    }
    match args.kind.kind() {
        Kind::Segment => {}
        Kind::Set => return show_set(source.set(&args.segment)?, args.json),
        Kind::Queue => return show_queue(source.queue(&args.segment)?, args.json),
    }
    let segment = source.segment(&args.segment)?;
    let users = source.uses(Some(segment.id))?;
    if let Some(view) = args.types.view(&segment, &users)? {
        show_as_type(&source, &segment, &view, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.json {
        print_json(&Shown { segment, users })?;
        return Ok(ExitCode::SUCCESS);
    }
    print_lines(lines(&segment))?;
    if !users.is_empty() {
        print("\n")?;
        who::print(&users)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_lines(lines: Vec<(&'static str, String)>) -> Outcome<()> {
    let lines = lines.into_iter();
    let text: String = lines
        .map(|(name, value)| format!("{name:<14}{value}\n"))
        .collect();
    print(&text)
}

#[derive(Serialize)]
struct ShownSet {
    #[serde(flatten)]
    set: Set,
    values: Vec<Semaphore>,
    users: Vec<objects::Use>,
}

fn show_set(mut set: Set, json: bool) -> Outcome<ExitCode> {
    let (values, users) = (take(&mut set.values), take(&mut set.uses));
    if json {
        print_json(&ShownSet { set, values, users })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![
        ("id", format!("{} ({:#x})", set.id, set.id)),
        ("key", set.key.clone()),
        ("semaphores", set.semaphores.to_string()),
    ];
    lines.extend(lines_of_rights(&set.rights));
    lines.extend([
        ("changed", time::long(set.changed)),
        ("operated", time::long(set.operated)),
    ]);
    print_lines(lines)?;
    print("\n")?;
    let mut table = table(&["NUMBER", "VALUE", "OWED", "WAIT >", "WAIT 0", "LAST PID"]);
    set_right(&mut table, &[0, 1, 2, 3, 4, 5]);
    for one in values.iter().take(ELEMENTS) {
        table.add_row([
            one.number.to_string(),
            one.value.to_string(),
            match one.owed {
                None => "-".to_owned(),
                Some(0) => "0".to_owned(),
                Some(owed) => format!("{owed:+}"),
            },
            one.waiting_for_growth.to_string(),
            one.waiting_for_zero.to_string(),
            pid(one.last_pid),
        ]);
    }
    print_table(&table)?;
    say_more(values.len())?;
    if !users.is_empty() {
        print("\n")?;
        who::print_sleepers(&users)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Serialize)]
struct ShownQueue {
    #[serde(flatten)]
    queue: Queue,
    list: Option<Vec<Message>>,
    users: Vec<objects::Use>,
}

fn show_queue(mut queue: Queue, json: bool) -> Outcome<ExitCode> {
    let (list, users) = (queue.list.take(), take(&mut queue.uses));
    if json {
        print_json(&ShownQueue { queue, list, users })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![
        ("id", format!("{} ({:#x})", queue.id, queue.id)),
        ("key", queue.key.clone()),
        ("messages", queue.messages.to_string()),
        (
            "bytes",
            match queue.capacity {
                Some(capacity) => format!("{} of {capacity}", queue.bytes),
                None => queue.bytes.to_string(),
            },
        ),
    ];
    lines.extend(lines_of_rights(&queue.rights));
    lines.extend([
        ("changed", time::long(queue.changed)),
        ("sent", time::long(queue.sent)),
        ("received", time::long(queue.received)),
        ("last sender", pid(queue.last_sender)),
        ("last receiver", pid(queue.last_receiver)),
    ]);
    print_lines(lines)?;
    if let Some(list) = list.filter(|list| !list.is_empty()) {
        print("\n")?;
        let mut table = table(&["MESSAGE", "TYPE", "BYTES"]);
        set_right(&mut table, &[0, 1, 2]);
        for (number, message) in (0..).zip(list.iter().take(ELEMENTS)) {
            let number: usize = number;
            table.add_row([
                number.to_string(),
                message.mtype.to_string(),
                message.bytes.to_string(),
            ]);
        }
        print_table(&table)?;
        say_more(list.len())?;
    }
    if !users.is_empty() {
        print("\n")?;
        who::print_sleepers(&users)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say_more(len: usize) -> Outcome<()> {
    match len.saturating_sub(ELEMENTS) {
        0 => Ok(()),
        more => print(&format!("... and {more} more: --json shows all\n")),
    }
}

fn pid(known: Option<i32>) -> String {
    known.map_or_else(|| "-".to_owned(), |pid| pid.to_string())
}

fn lines_of_rights(rights: &Rights) -> Vec<(&'static str, String)> {
    vec![
        ("owner", named(rights.uid, &rights.owner)),
        ("group", named(rights.gid, &rights.group)),
        ("creator", named(rights.cuid, &rights.creator)),
        ("mode", format!("{} {}", rights.mode, letters(&rights.mode))),
    ]
}

fn named(number: u32, name: &Option<String>) -> String {
    match name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}

fn show_as_type(source: &Source, segment: &Segment, view: &View, json: bool) -> Outcome<()> {
    let bytes = source.bytes(segment)?;
    if !json {
        let tree = view.tree(&bytes, Some(ELEMENTS))?;
        return print(&format!("{}\n\n{}", view.heading(), tree.text()));
    }
    print_json(&ShownAsType {
        id: segment.id,
        key: &segment.key,
        type_name: view.meant.name(),
        size: view.meant.size(),
        program: &view.origin.program,
        reason: &view.origin.reason,
        offset: view.offset(),
        value: view.tree(&bytes, None)?,
    })
}

fn lines(segment: &Segment) -> Vec<(&'static str, String)> {
    let bytes = |bytes: u64| match bytes {
        0..1024 => format!("{bytes} bytes"),
        bytes => format!("{bytes} bytes ({})", size(bytes)),
    };
    let flags = match segment.flags.is_empty() {
        true => "-".to_owned(),
        false => segment.flags.join(", "),
    };
    let mut lines = vec![
        ("id", format!("{} ({:#x})", segment.id, segment.id)),
        ("key", segment.key.clone()),
        ("size", bytes(segment.size)),
        ("resident", bytes(segment.resident)),
    ];
    if let Some(swapped) = segment.swapped {
        lines.push(("swapped", bytes(swapped)));
    }
    if let Some(huge) = segment.huge_page_size {
        lines.push(("huge pages", size(huge)));
    }
    lines.push(("attaches", attaches(segment)));
    lines.extend(lines_of_rights(&segment.rights));
    lines.extend([
        ("flags", flags),
        ("changed", time::long(segment.changed)),
        ("attached", time::long(segment.attached)),
        ("detached", time::long(segment.detached)),
        ("made by", creator(segment)),
        ("last used by", pid(segment.last_pid)),
    ]);
    if let Some(file) = &segment.file {
        lines.push(("file", file.clone()));
    }
    lines
}

/// The permission bits as ls writes them.
fn letters(mode: &str) -> String {
    let bits = u32::from_str_radix(mode, 8).unwrap_or(0);
    let letter = |(at, letter): (u32, char)| match bits >> (8 - at) & 1 {
        1 => letter,
        _ => '-',
    };
    (0..).zip("rwxrwxrwx".chars()).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(letters("0640"), "rw-r-----");
        assert_eq!(letters("0777"), "rwxrwxrwx");
        assert_eq!(letters("0001"), "--------x");
    }
}
