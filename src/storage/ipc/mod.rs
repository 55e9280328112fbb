//! Semaphore sets and message queues: the file `ipc`, in which each of them is one block that is never changed.
//!
//! A call makes a copy of the block, lets the rules change the copy, and exchanges the object's root word for one that names the
//! copy ([`root`]). The loser of a race begins again. So there is no lock, nothing is half done when a process is killed,
//! and a handler may call at any time. The sleepers of an object stand in its block, too.

mod arena;
mod audit;
mod directory;
mod file;
#[cfg(test)]
mod for_tests;
mod head;
pub mod layout;
mod mend;
mod owner;
mod place;
mod placed;
mod queue;
mod root;
mod set;
mod sweep;
mod view;
mod words;

pub use arena::{Block, Holding};
pub use directory::{CursorWords, Directory, Entry};
pub use file::{FirstLimits, IpcFile, Undisturbed};
pub(in crate::storage) use file::{NAME, write as write_file};
pub use head::Words;
pub use owner::Presence;
pub use place::Sleeping;
pub use queue::{
    MOST_MESSAGES, MOST_TEXT_BYTES, MoreQueueRoom, QueueBlock, queue_bytes, text_bytes,
};
pub use root::{Kind as ObjectKind, Root, Seen};
pub use set::{MOST_SEMAPHORES, MoreRoom, SetBlock, set_bytes};
pub use view::IpcView;
