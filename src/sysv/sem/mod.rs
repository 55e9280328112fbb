//! The rules of semaphore sets.

mod limits;
mod semctl;
mod state;

pub use limits::SemLimits;
pub use semctl::{Question, SemCommand};
pub use state::{Answer, Operation, SetPerm, SetState, Sleeper, Undo};
