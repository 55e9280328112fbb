//! `shmshim restore`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim restore` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Make a namespace again from a saved file.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim restore is not built yet"))
}
