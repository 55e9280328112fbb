//! What the calls do: ask the rules, apply the answer to storage, keep the list of what this process has attached.
//!
//! Lock order: the in-process lock (a `Session` holds it, with all signals blocked), then the in-table lock
//! (`storage::table::lock`). Neither is held while the other process is waited for; files are opened, made and unlinked
//! under the first alone.
//!
//! What can be answered from the table alone takes no lock and blocks no signal: shmget of a key that exists, stat of
//! a segment that no other process has attached. Nor do calls on semaphore sets and message queues ([`sem`], [`msg`]), but where
//! they open or enlarge their file, register the process, or sleep.

mod attach_list;
mod attaches;
mod blocked;
pub mod check;
mod credentials;
mod error;
pub mod events;
mod exit;
mod fork;
mod holder;
mod huge_pages;
mod identity;
pub mod imported;
pub mod inspect;
mod inspect_objects;
mod mapping;
pub mod msg;
mod objects;
mod owner;
pub mod placed;
mod process;
mod reap;
mod resident;
mod rules;
pub mod saved;
pub mod sem;
pub mod served;
mod session;
mod shmat;
mod shmctl;
mod shmdt;
mod shmget;
mod sleep;
pub mod whole;

#[cfg(test)]
mod inspect_tests;

/// Where a namespace lies and why there, for what explains it to a person.
pub use crate::storage::runtime_dir::{Choice, Place, Scope, parse_scope as scope_of_setting};
pub use attaches::count as count_attaches;
pub use attaches::each as each_attach;
pub use blocked::{Blocked, Listener};
pub use credentials::before_change as before_change_of_credentials;
pub use credentials::{may_set_limits, on_giving_up_root};
pub use error::{Error, Outcome, Why};
pub use exit::at_exit;
pub use fork::{after_fork_in_child, after_fork_in_parent, before_fork};
pub use mapping::{madvise, may_touch, mmap_fixed, mremap, munmap};
pub use process::chosen_place;
pub use rules::for_storage as rules_for_storage;
pub use shmat::shmat;
pub use shmctl::{
    Usage, limits, list, lock, remove, set, set_limit, stat, stat_at_once, unlock, usage,
};
pub use shmdt::shmdt;
pub use shmget::{shmget, shmget_at_once};
pub use sleep::{abandon_sleeps, leave_sleeps};
