//! `shmshim save`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim save` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Save a whole namespace to a file.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim save is not built yet"))
}
