//! `shmshim ls`.

use std::process::ExitCode;

use crate::error::{Error, Outcome};
use crate::place::Place;

/// What `shmshim ls` takes.
#[derive(clap::Args, Debug)]
pub struct Args {}

/// List the segments of a namespace, or all namespaces.
pub fn run(_args: Args, _place: &Place) -> Outcome<ExitCode> {
    Err(Error::usage("shmshim ls is not built yet"))
}
