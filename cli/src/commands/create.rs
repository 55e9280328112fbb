//! `shmshim create`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim create` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Create a segment.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim create is not built yet"))
}
