//! `shmshim doctor`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim doctor` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Tell which namespace would be used and whether a program can be served.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim doctor is not built yet"))
}
