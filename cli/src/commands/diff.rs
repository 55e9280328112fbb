//! `shmshim diff`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim diff` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Compare a segment's bytes with those of a file or of another segment.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim diff is not built yet"))
}
