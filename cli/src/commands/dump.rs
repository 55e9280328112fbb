//! `shmshim dump`.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use crate::bytes::{Bytes, Piece, Range, for_each_piece};
use crate::error::Outcome;
use crate::hexdump::Hexdump;
use crate::output;
use crate::place::Place;
use crate::segment::Which;
use crate::source::Look;

const EXAMPLES: &str = "\
Examples:
  shmshim dump 0x162e                       as hexdump -C shows a file; what repeats is a *
  shmshim dump 0x162e --range 0x100..0x180  a part of it, by offsets
  shmshim dump 0x162e --raw >state.bin      the bytes themselves
  shmshim dump --kernel 98305               a segment of the kernel's, which counts that as an attach

The bytes are read while programs may write them. Other users' segments can be read as far as their
mode allows it";

/// What `shmshim dump` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    segment: Which,
    #[command(flatten)]
    look: Look,
    /// Write the bytes themselves
    #[arg(long, conflicts_with = "hex")]
    raw: bool,
    /// Write them as hexdump -C does, which is done anyway
    #[arg(long)]
    hex: bool,
    /// Only the bytes from A to before B, decimal or with 0x
    #[arg(long, value_name = "A..B")]
    range: Option<Range>,
}

/// Print a segment's bytes.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let source = args.look.existing()?;
    let segment = source.segment(&args.segment)?;
    let bytes = source.bytes(&segment)?;
    let part = args.range.unwrap_or(Range::ALL).within(bytes.len());
    if args.raw {
        write_raw(&bytes, part)?;
    } else {
        write_hex(&bytes, part)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write_raw(bytes: &Bytes, part: (u64, u64)) -> Outcome<()> {
    let mut out = io::stdout().lock();
    let zeros = [0; 1 << 16];
    for_each_piece(bytes, part, &mut |piece| match piece {
        Piece::Bytes(bytes) => out.write_all(bytes),
        Piece::Zeros(mut left) => {
            while left > 0 {
                let now = left.min(zeros.len() as u64);
                out.write_all(zeros.get(..now as usize).unwrap_or(&[]))?;
                left -= now;
            }
            Ok(())
        }
    })?;
    output::written(out.flush()).map(drop)
}

fn write_hex(bytes: &Bytes, part: (u64, u64)) -> Outcome<()> {
    let mut dump = Hexdump::new(BufWriter::new(io::stdout().lock()), part.0);
    let is_read = for_each_piece(bytes, part, &mut |piece| match piece {
        Piece::Bytes(bytes) => dump.bytes(bytes),
        Piece::Zeros(count) => dump.zeros(count),
    })?;
    match is_read {
        true => output::written(dump.finish()).map(drop),
        false => Ok(()),
    }
}
