//! `shmshim load`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::client::{Attach, find};
use crate::error::{Error, Outcome};
use crate::number;
use crate::output::escaped;
use crate::place::Place;
use crate::segment::Which;

/// What `shmshim load` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim load 1073741824 state.bin                 writes the file at the segment's beginning
  shmshim load 0x162e patch.bin --offset 0x40
  shmshim dump 0x162e --raw | shmshim load 1073741825 -

What stands behind the file's bytes stays. A file that reaches beyond the segment's end is refused before anything is
written; of standard input that is known only when it has been written up to there.")]
pub struct Args {
    /// The segment: its id (decimal or 0x…), or its key (0x…)
    #[arg(value_name = "ID|KEY")]
    segment: String,
    /// The file, or - for standard input
    file: PathBuf,
    /// Where in the segment the first byte goes
    #[arg(long, value_parser = number::size, default_value = "0")]
    offset: u64,
}

/// Write the bytes of a file into a segment.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let segment = find(&Which::named(&args.segment))?;
    let room = segment.segsz.checked_sub(args.offset).ok_or_else(|| {
        Error::refused(format!(
            "segment {} has {} bytes, and ends before offset {}",
            segment.id, segment.segsz, args.offset
        ))
    })?;
    let too_long = || {
        Error::refused(format!(
            "segment {} has room for {room} bytes at offset {}, and there are more; cut them off, or make a larger segment",
            segment.id, args.offset
        ))
    };
    let mut input = open(&args.file)?;
    if input.len.is_some_and(|len| len > room) {
        return Err(too_long());
    }
    let attach = Attach::to_write(segment.id.raw())?;
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let count = input.reader.read(&mut chunk).map_err(|error| {
            Error::refused(format!("{} cannot be read: {error}", escaped(&args.file)))
        })?;
        let bytes = chunk.get(..count).unwrap_or(&[]);
        let fits = usize::try_from(room - at).unwrap_or(usize::MAX);
        let (inside, beyond) = bytes.split_at(count.min(fits));
        attach.write(args.offset + at, inside)?;
        at += inside.len() as u64;
        if !beyond.is_empty() {
            return Err(too_long());
        }
        if count == 0 {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

struct Input {
    reader: Box<dyn Read>,
    /// How long it is, if that is known.
    len: Option<u64>,
}

fn open(path: &Path) -> Outcome<Input> {
    if path.as_os_str() == "-" {
        let reader = Box::new(io::stdin().lock());
        return Ok(Input { reader, len: None });
    }
    let file = File::open(path).map_err(|error| {
        let sentence = format!("{} cannot be opened: {error}", escaped(&path));
        match error.kind() {
            io::ErrorKind::NotFound => Error::absent(sentence),
            _ => Error::refused(sentence),
        }
    })?;
    let len = file
        .metadata()
        .ok()
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| metadata.len());
    Ok(Input {
        reader: Box::new(file),
        len,
    })
}
