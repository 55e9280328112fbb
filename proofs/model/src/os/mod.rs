//! The ground under the storage: that of `src/os`, but for what is told here.

#[allow(dead_code, unused_imports)]
#[path = "../../../../src/os/mod.rs"]
mod real;
// What is declared below comes before what is taken over.
pub use real::*;

pub mod atomic;
pub mod exposed_sleep;
pub mod file;
pub mod futex;
pub mod map;
pub mod own_stack;
pub mod pages;
pub mod process;
pub mod robust;
pub mod signal_mask;
pub mod span;
pub mod threads;
pub mod usermem;
pub mod wipe_on_fork;
