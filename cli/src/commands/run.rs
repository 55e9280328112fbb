//! `shmshim run`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim run` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Run a program with its System V shared memory served by the library.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim run is not built yet"))
}
