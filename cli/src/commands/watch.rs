//! `shmshim watch`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim watch` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Watch segments and their attaches, or one segment's bytes, as they change.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim watch is not built yet"))
}
