//! `shmshim show`.

use std::process::ExitCode;

use serde::Serialize;

use crate::commands::ls::{attaches, creator};
use crate::commands::who;
use crate::error::Outcome;
use crate::output::{print, print_json, size};
use crate::place::Place;
use crate::segment::Which;
use crate::source::{Look, Segment, Source, Use};
use crate::time;
use crate::typed::{Tree, TypeOptions, View};

const EXAMPLES: &str = "\
Examples:
  shmshim show 0x162e            the segment with this key
  shmshim show 1530200064        the segment with this id
  shmshim show --kernel 98305    one of the kernel's own
  shmshim show 0x162e --type 'struct shared_state'
  shmshim show 0x162e --type 'struct slot[]' --offset 64 --from ./program

A typed view takes debug information (gcc -g). Of each array it shows 200 different elements, as JSON
all.

JSON: an object as those of shmshim ls --json, with users: an array as that of shmshim who --json.
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

/// Show a segment: what IPC_STAT tells, who has it attached, and what its bytes mean.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let source = args.look.existing()?;
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
    let mut text = String::new();
    for (name, value) in lines(&segment) {
        text.push_str(&format!("{name:<14}{value}\n"));
    }
    print(&text)?;
    if !users.is_empty() {
        print("\n")?;
        who::print(&users)?;
    }
    Ok(ExitCode::SUCCESS)
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
    let named = |number: u32, name: &Option<String>| match name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    };
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
    lines.extend([
        ("attaches", attaches(segment)),
        ("owner", named(segment.uid, &segment.owner)),
        ("group", named(segment.gid, &segment.group)),
        ("creator", named(segment.cuid, &segment.creator)),
        (
            "mode",
            format!("{} {}", segment.mode, letters(&segment.mode)),
        ),
        ("flags", flags),
        ("changed", time::long(segment.changed)),
        ("attached", time::long(segment.attached)),
        ("detached", time::long(segment.detached)),
        ("made by", creator(segment)),
        (
            "last used by",
            segment
                .last_pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
        ),
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
