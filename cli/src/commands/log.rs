//! `shmshim log`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim log` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Tell the life of a segment, also after it has gone.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim log is not built yet"))
}
