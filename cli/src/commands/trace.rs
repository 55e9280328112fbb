//! `shmshim trace`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim trace` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Run a program and print, count or draw each of its calls.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim trace is not built yet"))
}
