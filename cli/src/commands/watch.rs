//! `shmshim watch`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::error::{Error, Outcome};
use crate::place::Place;
use crate::segment::AnyOrWhich;
use crate::source::Look;
use crate::typed::offset;
use crate::watch::{self, Access, Hex, List, Typed, Values, View};

const EXAMPLES: &str = "\
Examples:
  shmshim watch                             segments, who attaches and detaches, semaphore sets and queues
  shmshim watch 0x162e                      the bytes of a segment as they change
  shmshim watch 0x162e --offset 0x1000 --interval 0.1
  shmshim watch 0x162e --type 'struct shared_state'
  shmshim watch --kernel                    the kernel's own segments

The last line of the screen tells the keys. Changes stay lit for three seconds; under NO_COLOR they
are reversed or bold.";

/// What `shmshim watch` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    segment: AnyOrWhich,
    #[command(flatten)]
    look: Look,
    /// Show the bytes as this type of the program that uses them
    #[arg(long = "type", value_name = "TYPE", requires = "segment")]
    type_name: Option<String>,
    /// The program that has the type in its debug information, not the one of a process that uses the segment
    #[arg(long, value_name = "PROGRAM", requires = "type_name")]
    from: Option<PathBuf>,
    /// Begin at this byte of the segment, decimal or with 0x
    #[arg(long, value_name = "OFFSET", requires = "segment", value_parser = offset)]
    offset: Option<u64>,
    /// Look so often
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    interval: Duration,
    /// Print one picture as text, and end
    #[arg(long)]
    once: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.02..=3600.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "write seconds, from 0.02 to 3600".to_owned())
}

/// Watch segments and their attaches, or one segment's bytes, as they change.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let access = Access::new(args.look);
    let offset = args.offset.unwrap_or(0);
    let view: Box<dyn View> = match (args.segment.which(), args.type_name) {
        (None, None) => Box::new(List::new(access)),
        (None, Some(_)) => {
            return Err(Error::usage(
                "--type needs a segment: name it by its id or key",
            ));
        }
        (Some(which), None) => Box::new(Hex::new(access, &which, offset)?),
        (Some(which), Some(name)) => {
            let from = args.from;
            let typed = Typed { name, from, offset };
            Box::new(Values::new(access, &which, &typed)?)
        }
    };
    match args.once {
        true => watch::once(view, args.interval)?,
        false => watch::run(view, args.interval)?,
    }
    Ok(ExitCode::SUCCESS)
}
