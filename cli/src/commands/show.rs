//! `shmshim show`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim show` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Show a segment: what IPC_STAT tells, who has it attached, and what its bytes mean.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim show is not built yet"))
}
