//! The rules of semaphore sets.

mod attempt;
pub mod flags;
mod limits;
mod procfs;
mod semctl;
mod semget;
mod semop;
mod state;
mod undo;
mod wake;

#[cfg(test)]
mod wake_tests;

pub use attempt::{Attempt, Process, blocks, has_undo_of, outlook};
pub use limits::{SEM_LIMITS_FILE, SemLimits};
pub use procfs::{SEM_HEADER, write_sem_line};
pub use semctl::{
    Question, SemCommand, ask, check_number, check_value, check_values, may_alter_set,
    may_read_set, may_remove_set, may_set_set, may_stat_set, parse_semctl, set_value, set_values,
};
pub use semget::{check_count, check_new_set, missing_set_key, open_set};
pub use semop::{
    alters, check_limit, check_operations, check_operations_count, operate, sleep, would_block,
};
pub use state::{Answer, Operation, SetPerm, SetState, Sleeper, Undo};
pub use undo::{drop_sleepers, end_process, forget, forget_all, note_undo};
pub use wake::serve_all;
