//! The subcommands, a file for each: its arguments, its help and what it does.

pub mod check;
pub mod create;
pub mod diff;
pub mod doctor;
pub mod dump;
pub mod generate;
pub mod import;
pub mod limits;
pub mod load;
pub mod log;
pub mod ls;
pub mod restore;
pub mod rm;
pub mod run;
pub mod save;
pub mod set;
pub mod show;
pub mod trace;
pub mod watch;
pub mod who;
