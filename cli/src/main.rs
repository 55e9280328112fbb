//! `shmshim`: runs programs under the library, and shows, changes and explains what they do with System V IPC.
//!
//! A file per subcommand stands in `commands/`. The namespace's table is read by the core crate alone
//! (`shmshim_core::registry`); nothing here knows its layout.

mod archive;
mod args;
mod bytes;
mod calls;
mod client;
mod commands;
mod destination;
mod diagnosis;
mod door;
mod elf;
mod error;
mod hexdump;
mod kernel;
mod kernel_objects;
mod kinds;
mod launch;
mod library;
mod limits;
mod logind;
mod namespaces;
mod number;
mod objects;
mod output;
mod parent;
mod participant;
mod place;
mod private;
mod process;
mod program;
mod rights;
mod segment;
mod semaphore;
mod source;
mod startup;
mod time;
mod typed;
mod users;
mod uses;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    startup::close_again();
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(args::status_of(&error));
        }
    };
    cli.place.choose();
    match args::run(cli) {
        Ok(status) => status,
        Err(error) => {
            output::complain(&error.sentence);
            ExitCode::from(error.status)
        }
    }
}
