//! The code of shared memory under a model checker.
//!
//! The sources of `src/storage`, and of `src/registry` what serves calls on sets and queues, are compiled as they are, with `cfg(shmshim_model)`, over an `os` whose shared memory
//! consists of the model checker's words, whose liveness files are flags, and whose threads stand for processes that can
//! die in front of any store. How large the table is and how often a loop tries, the sources say themselves
//! (`os::atomic::real_or_model`).
//!
//! | file | job |
//! |---|---|
//! | `../breaks.txt` | the sources broken on purpose, which `../build.rs` does |
//! | `os/` | the ground: words, locks of liveness files, sleeping, the clock |
//! | `checker.rs` | which model checker it is |
//! | `explore.rs` | runs a story in every way |
//! | `mortal.rs` | processes that die |
//! | `scene.rs` | a small table with something in it |
//! | `stories.rs` | what happens to a segment |
//! | `seen.rs` | what may be seen of it meanwhile, and what a death must leave behind |
//! | `registry.rs` | stands for the rest of `src/registry` |
//! | `objects.rs` | a small file of sets and queues, and what must be true of it at rest |
//! | `audit.rs` | what must be true of a table whose lock is free |

// Where the sources of the storage are: see `build.rs`.
include!(concat!(env!("OUT_DIR"), "/storage.rs"));

pub mod audit;
pub mod checker;
#[cfg(all(feature = "loom", not(feature = "shuttle")))]
pub mod explore;
pub mod mortal;
pub mod objects;
pub mod os;
pub mod registry;
pub mod scene;
pub mod seen;
pub mod stories;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/sysv/mod.rs"]
pub mod sysv;
