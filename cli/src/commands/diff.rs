//! `shmshim diff`.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::bytes::{Bytes, Range};
use crate::error::{Error, FOUND, Outcome};
use crate::hexdump;
use crate::output::{escaped, has_colour, print, print_json};
use crate::place::Place;
use crate::segment::{Which, number};
use crate::source::{Look, Source};
use crate::typed::{self, TypeOptions, View};

const EXAMPLES: &str = "\
Examples:
  shmshim dump 0x162e --raw >before; ./program; shmshim diff 0x162e before
  shmshim diff 0x162e 0x162f              two segments
  shmshim diff 0x162e ./1234              a file whose name is a number
  shmshim diff 0x162e before --type 'struct shared_state'

Lines that differ stand below each other, the first one's behind a -, the other's behind a +. Exit
status: 0 where all bytes are alike, 1 where they differ (in length, too), higher where that could
not be found out.

JSON: an object with equal, sizes, different_bytes, and differences: an array of offset and length,
which --limit bounds, too. With --type only the members of the type are compared, and a difference
has path, old and new";

/// What `shmshim diff` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The segment: its id (decimal or 0x…), or its key (0x…)
    #[arg(value_name = "ID|KEY")]
    segment: String,
    /// A file, or another segment
    #[arg(value_name = "FILE|ID|KEY")]
    other: PathBuf,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    types: TypeOptions,
    /// Only the bytes from A to before B, decimal or with 0x
    #[arg(long, value_name = "A..B", conflicts_with = "type_name")]
    range: Option<Range>,
    /// Show so many differences at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// How two sequences of bytes differ.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
struct Comparison {
    equal: bool,
    sizes: [u64; 2],
    different_bytes: u64,
    differences: Vec<Difference>,
    /// The lines of sixteen bytes that differ: how many, where the first ones begin, and the one seen last.
    #[serde(skip)]
    lines: u64,
    #[serde(skip)]
    first_lines: Vec<u64>,
    #[serde(skip)]
    last_line: Option<u64>,
}

/// Bytes in a row of which each differs.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Difference {
    offset: u64,
    length: u64,
}

/// How two values of a type differ.
#[derive(Debug, Serialize)]
struct TypedComparison {
    equal: bool,
    different_members: usize,
    differences: Vec<typed::Difference>,
}

/// Compare a segment's bytes with those of a file or of another segment.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let source = args.look.existing()?;
    let segment = source.segment(&Which::named(&args.segment))?;
    let one = source.bytes(&segment)?;
    let other = other(&source, &args.other)?;
    let users = source.uses(Some(segment.id))?;
    if let Some(view) = args.types.view(&segment, &users)? {
        return compare_as_type(&view, &one, &other, &args);
    }
    let range = args.range.unwrap_or(Range::ALL);
    let found = compare(&one, &other, range, args.limit)?;
    if args.json {
        print_json(&found)?;
    } else if !found.equal {
        print_differences(&one, &other, range, &found)?;
    }
    Ok(match found.equal {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FOUND),
    })
}

fn compare_as_type(view: &View, one: &Bytes, other: &Bytes, args: &Args) -> Outcome<ExitCode> {
    let mut differences = view.tree(one, None)?.differences(&view.tree(other, None)?);
    let count = differences.len();
    differences.truncate(args.limit);
    if args.json {
        print_json(&TypedComparison {
            equal: count == 0,
            different_members: count,
            differences,
        })?;
    } else {
        let mut text: String = differences.iter().map(|one| format!("{one}\n")).collect();
        if count > args.limit {
            let left = count - args.limit;
            text.push_str(&format!(
                "{left} more members differ (--limit shows more)\n"
            ));
        }
        print(&text)?;
    }
    Ok(match count {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(FOUND),
    })
}

fn of_segment(source: &Source, name: &str) -> Outcome<Bytes> {
    let segment = source.segment(&Which::named(name))?;
    source.bytes(&segment)
}

/// What is a number is a segment; everything else is a file.
fn other(source: &Source, name: &PathBuf) -> Outcome<Bytes> {
    if let Some(text) = name.to_str().filter(|text| number(text).is_some()) {
        return of_segment(source, text);
    }
    let file = File::open(name).map_err(|error| {
        let sentence = format!("{} cannot be opened: {error}", escaped(&name));
        match error.kind() {
            std::io::ErrorKind::NotFound => Error::absent(sentence),
            _ => Error::refused(sentence),
        }
    })?;
    let facts = file
        .metadata()
        .map_err(|error| Error::refused(format!("{} cannot be read: {error}", escaped(&name))))?;
    if !facts.is_file() {
        return Err(Error::refused(format!(
            "{} is not a regular file; write what is to be compared into one",
            escaped(&name)
        )));
    }
    Ok(Bytes::of_file(file, facts.len()))
}

const LINE: u64 = 16;

fn compare(one: &Bytes, other: &Bytes, range: Range, limit: usize) -> Outcome<Comparison> {
    const PIECE: u64 = 1 << 18;
    let (one_part, other_part) = (range.within(one.len()), range.within(other.len()));
    let (from, to) = (one_part.0, one_part.1.min(other_part.1));
    let mut found = Comparison {
        sizes: [one, other].map(Bytes::len),
        ..Comparison::default()
    };
    let (mut ours, mut theirs) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let mut at = from;
    while at < to {
        // Where both have a hole, both have zeros.
        let data = one.next_data(at).min(other.next_data(at)).min(to);
        if data > at {
            at = data;
            continue;
        }
        let len = PIECE.min(to - at) as usize;
        let (Some(ours), Some(theirs)) = (ours.get_mut(..len), theirs.get_mut(..len)) else {
            break;
        };
        one.read(at, ours)?;
        other.read(at, theirs)?;
        if ours != theirs {
            found.add(at, ours, theirs, limit);
        }
        at += len as u64;
    }
    let ends_alike = one_part.1.max(from) == other_part.1.max(from);
    found.equal = found.different_bytes == 0 && ends_alike;
    Ok(found)
}

impl Comparison {
    fn add(&mut self, start: u64, ours: &[u8], theirs: &[u8], limit: usize) {
        for (offset, (one, other)) in (start..).zip(ours.iter().zip(theirs)) {
            if one == other {
                continue;
            }
            self.different_bytes += 1;
            let line = offset / LINE * LINE;
            if self.last_line != Some(line) {
                self.last_line = Some(line);
                self.lines += 1;
                if self.first_lines.len() < limit {
                    self.first_lines.push(line);
                }
            }
            let has_room = self.differences.len() < limit;
            match self.differences.last_mut() {
                Some(last) if last.offset + last.length == offset => last.length += 1,
                _ if has_room => {
                    self.differences.push(Difference { offset, length: 1 });
                }
                _ => {}
            }
        }
    }
}

fn print_differences(one: &Bytes, other: &Bytes, range: Range, found: &Comparison) -> Outcome<()> {
    let style = |colour: AnsiColor| match has_colour() {
        true => colour.on_default(),
        false => Style::new(),
    };
    let mut text = String::new();
    for &line in &found.first_lines {
        for (sign, bytes, style) in [
            ('-', one, style(AnsiColor::Red)),
            ('+', other, style(AnsiColor::Green)),
        ] {
            let end = range.within(bytes.len()).1.min(line + LINE);
            let mut shown = vec![0; end.saturating_sub(line) as usize];
            bytes.read(line, &mut shown)?;
            let shown = hexdump::text(line, &shown);
            text.push_str(&format!("{style}{sign}{shown}{style:#}\n"));
        }
    }
    let left = found.lines - found.first_lines.len() as u64;
    if left > 0 {
        text.push_str(&format!("{left} more lines differ (--limit shows more)\n"));
    }
    let [one, other] = found.sizes;
    if one != other {
        text.push_str(&format!("the first has {one} bytes, the other {other}\n"));
    }
    print(&text)
}
