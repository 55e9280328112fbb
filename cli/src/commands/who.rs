//! `shmshim who`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim who` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Tell which processes have segments attached, since when and where.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim who is not built yet"))
}
