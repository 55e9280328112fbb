//! `shmshim limits`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim limits` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Show or set the limits of a namespace.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim limits is not built yet"))
}
