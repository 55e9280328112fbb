//! The command `shmshim`, as a user types it: a module per subcommand.
//!
//! All are one program, because linking takes longer than most of them run. `scripts/check-command --test NAME` runs those of
//! one module.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

mod common;

mod check;
mod create;
mod debugging;
mod diff;
mod doctor;
mod dump;
mod import;
mod ipc;
mod ipc_repair;
mod kernel;
mod limits;
mod log;
mod ls;
mod rm;
mod run;
mod run_postgres;
mod run_private;
mod run_refusals;
mod run_terminal;
mod save;
mod save_destination;
mod save_objects;
mod show;
mod trace;
mod typed;
mod watch;
mod who;
