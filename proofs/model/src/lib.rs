//! The table's state machine under a model checker.
//!
//! The sources of `src/storage` are compiled as they are, with `cfg(shmshim_model)`, over an `os` whose shared memory
//! consists of the model checker's words, whose liveness files are flags, and whose threads stand for processes that can
//! die in front of any store. How large the table is and how often a loop tries, the sources say themselves
//! (`os::atomic::real_or_model`).
//!
//! | file | job |
//! |---|---|
//! | `../breaks.txt` | the sources broken on purpose, which `../build.rs` does |
//! | `os/` | the ground: words, locks of liveness files, sleeping, the clock |
//! | `checker.rs` | which model checker it is |
//! | `mortal.rs` | processes that die |
//! | `scene.rs` | a small table with something in it |
//! | `ipc.rs` | stands for the file of sets and queues, which is not in the model |
//! | `audit.rs` | what must be true of a table whose lock is free |

// Where the sources of the storage are: see `build.rs`.
include!(concat!(env!("OUT_DIR"), "/storage.rs"));

pub mod audit;
pub mod checker;
pub mod ipc;
pub mod mortal;
pub mod os;
pub mod scene;
pub mod stories;
