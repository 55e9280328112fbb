//! `shmshim import`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim import` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// Copy the kernel's segments into a namespace.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim import is not built yet"))
}
