//! Processes: which are in the namespace, how that is seen, what becomes of the dead, and how a child comes in.

mod cell;
mod fork_cell;
mod probe;
mod processes;
mod reap;
mod serving;

pub use fork_cell::Prepared;
pub use processes::{IsDestroyed, Processes};
pub use reap::reap;
pub use serving::has_ended;
