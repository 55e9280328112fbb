//! `shmshim`: runs programs under the library, and shows, changes and explains what they do with shared memory.
//!
//! A file per subcommand stands in `commands/`. The namespace's table is read by the core crate alone
//! (`shmshim_core::registry`); nothing here knows its layout.

mod args;
mod bytes;
mod commands;
mod door;
mod elf;
mod error;
mod hexdump;
mod kernel;
mod launch;
mod library;
mod namespaces;
mod output;
mod place;
mod process;
mod program;
mod segment;
mod source;
mod time;
mod typed;
mod users;
mod watch;

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
