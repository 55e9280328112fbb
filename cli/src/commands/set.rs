//! `shmshim set`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim set` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Change a segment's owner, group or mode.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim set is not built yet"))
}
