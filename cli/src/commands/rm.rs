//! `shmshim rm`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim rm` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Remove segments, or a whole namespace.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim rm is not built yet"))
}
