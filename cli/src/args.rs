//! The command line: `shmshim [--dir DIR] [--scope SCOPE] COMMAND ...`.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands;
use crate::error::{Outcome, RUN_FAILED, USAGE};
use crate::place::Place;

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "shmshim",
    version,
    about = "System V IPC without the kernel's: run programs, and see what they do with it",
    after_help = "Exit statuses and the environment: shmshim(1). What the library does: shmshim(7).",
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Which namespace is meant.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a program with its System V IPC served by the library
    Run(commands::run::Args),
    /// Run a program and print, count or draw each of its calls
    Trace(commands::trace::Args),
    /// List the segments, semaphore sets and message queues of a namespace, or all namespaces
    Ls(commands::ls::Args),
    /// Show a segment, a semaphore set or a message queue: what IPC_STAT tells, who uses it, and what is in it
    Show(commands::show::Args),
    /// Tell which processes have segments attached, since when and where, or sleep in semaphore sets and message queues
    Who(commands::who::Args),
    /// Print a segment's bytes
    Dump(commands::dump::Args),
    /// Compare a segment's bytes with those of a file or of another segment
    Diff(commands::diff::Args),
    /// Show or set the limits of a namespace
    Limits(commands::limits::Args),
    /// Watch segments and their attaches, semaphore sets and message queues, or one segment's bytes, as they change
    Watch(commands::watch::Args),
    /// Tell the life of a segment, also after it has gone
    Log(commands::log::Args),
    /// Remove segments, semaphore sets and message queues, or a whole namespace
    Rm(commands::rm::Args),
    /// Create a segment, a semaphore set or a message queue
    Create(commands::create::Args),
    /// Change owner, group or mode of a segment, a semaphore set or a message queue, or a semaphore's value
    Set(commands::set::Args),
    /// Write the bytes of a file into a segment
    Load(commands::load::Args),
    /// Save a whole namespace to a file
    Save(commands::save::Args),
    /// Make a namespace again from a saved file
    Restore(commands::restore::Args),
    /// Copy the kernel's segments, semaphore sets and message queues into a namespace
    Import(commands::import::Args),
    /// Check every invariant of a namespace
    Check(commands::check::Args),
    /// Tell which namespace would be used and whether a program can be served
    Doctor(commands::doctor::Args),
    /// Write the manual pages and the shells' completions into a directory
    #[command(hide = true)]
    Generate(commands::generate::Args),
}

/// The exit status for a command line that is wrong, or asks for help alone. What runs a program keeps apart from it, as
/// `env` and `timeout` do.
pub fn status_of(error: &clap::Error) -> u8 {
    let runs_a_program = |word: std::ffi::OsString| word == "run" || word == "trace";
    if !error.use_stderr() {
        0
    } else if std::env::args_os().any(runs_a_program) {
        RUN_FAILED
    } else {
        USAGE
    }
}

/// Carries a command out.
pub fn run(cli: Cli) -> Outcome<ExitCode> {
    let place = &cli.place;
    match cli.command {
        Command::Run(args) => commands::run::run(args, place),
        Command::Trace(args) => commands::trace::run(args, place),
        Command::Ls(args) => commands::ls::run(args, place),
        Command::Show(args) => commands::show::run(args, place),
        Command::Who(args) => commands::who::run(args, place),
        Command::Dump(args) => commands::dump::run(args, place),
        Command::Diff(args) => commands::diff::run(args, place),
        Command::Limits(args) => commands::limits::run(args, place),
        Command::Watch(args) => commands::watch::run(args, place),
        Command::Log(args) => commands::log::run(args, place),
        Command::Rm(args) => commands::rm::run(args, place),
        Command::Create(args) => commands::create::run(args, place),
        Command::Set(args) => commands::set::run(args, place),
        Command::Load(args) => commands::load::run(args, place),
        Command::Save(args) => commands::save::run(args, place),
        Command::Restore(args) => commands::restore::run(args, place),
        Command::Import(args) => commands::import::run(args, place),
        Command::Check(args) => commands::check::run(args, place),
        Command::Doctor(args) => commands::doctor::run(args, place),
        Command::Generate(args) => commands::generate::run(args, Cli::command()),
    }
}
