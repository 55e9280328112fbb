//! `shmshim run`.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::error::Outcome;
use crate::launch::Launch;
use crate::place::Place;

/// What `shmshim run` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Run a program that the kernel would serve all the same, with a warning
    #[arg(long)]
    allow_kernel: bool,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    words: Vec<OsString>,
}

/// Run a program with its System V shared memory served by the library.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let launch = Launch::new(&args.words, args.allow_kernel)?;
    Err(launch.exec())
}
