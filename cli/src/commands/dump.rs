//! `shmshim dump`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim dump` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Print a segment's bytes.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim dump is not built yet"))
}
