//! System V shared memory, semaphores and message queues in user space: the core of `libshmshim.so`.
//!
//! Four rooms, one direction:
//!
//! ```text
//!   shim  →  registry  →  { sysv, storage }  →  os
//! ```
//!
//! - [`sysv`] holds the rules, pure: it decides from values and returns values, or an errno with its reason.
//! - [`storage`] holds the bytes: runtime directory, shared table, segment files, sets and queues, liveness, recovery.
//! - [`registry`] serves a call: asks the rules, then applies the decision to storage, and keeps the list of what
//!   this process has attached.
//! - [`os`] is the only one of them with `unsafe`: a thin safe function per thing asked of the kernel.
//!
//! ARCHITECTURE.md tells the theory behind them.
#![deny(unsafe_code)]
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[allow(unsafe_code)]
pub mod os;
pub mod registry;
pub mod storage;
pub mod sysv;
