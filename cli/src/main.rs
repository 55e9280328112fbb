//! `shmshim`: runs programs under the library, and shows, changes and explains what they do with shared memory.
//!
//! A file per subcommand stands in `commands/`. The namespace's table is read by the core crate alone
//! (`shmshim_core::registry`); nothing here knows its layout.

mod archive;
mod args;
mod client;
mod commands;
mod door;
mod elf;
mod error;
mod launch;
mod library;
mod number;
mod output;
mod place;
mod program;
mod segment;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    cli.place.choose();
    match args::run(cli) {
        Ok(status) => status,
        Err(error) => error.report(),
    }
}
