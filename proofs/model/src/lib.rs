//! The table's state machine under a model checker.
//!
//! The sources of `src/storage` are compiled as they are (`build.rs` says what little is changed) over an `os` whose
//! shared memory consists of the model checker's words, whose liveness files are flags, and whose threads stand for
//! processes that can die in front of any store.
//!
//! | file | job |
//! |---|---|
//! | `os/` | the ground: words, locks of liveness files, sleeping, the clock |
//! | `checker.rs` | which model checker it is |
//! | `mortal.rs` | processes that die |
//! | `scene.rs` | a small table with something in it |
//! | `audit.rs` | what must be true of a table whose lock is free |

include!(concat!(env!("OUT_DIR"), "/core.rs"));

pub mod audit;
pub mod checker;
pub mod mortal;
pub mod scene;
pub mod stories;
