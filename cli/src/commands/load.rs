//! `shmshim load`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim load` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Write the bytes of a file into a segment.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim load is not built yet"))
}
