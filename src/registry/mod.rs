//! What the four calls do: ask the rules, apply the answer to storage, keep this process's own books.
//!
//! Lock order: the in-process lock ([`host::Session`], with all signals blocked), then the in-table lock
//! (`storage::lock`). Neither is held while the other process is waited for; files are opened, made and unlinked
//! under the first alone.
//!
//! What can be answered from the table alone takes no lock and blocks no signal: shmget of a key that exists, stat of
//! a segment that nobody else has attached.

mod attach_list;
mod caller;
mod credentials;
mod error;
mod exit;
mod fork;
mod host;
mod huge_pages;
mod mapping;
pub mod quick;
mod reap;
mod resident;
mod shmat;
mod shmctl;
mod shmdt;
mod shmget;

pub use credentials::before_change as before_change_of_credentials;
pub use error::{Failure, Outcome, Why};
pub use exit::at_exit;
pub use fork::{install_handlers, on_fork_prepare};
pub use host::{on_giving_up_root, rules_for_storage};
pub use mapping::{madvise, may_touch, mmap_fixed, mremap, munmap};
pub use shmat::shmat;
pub use shmctl::{
    Usage, limits, list, lock, may_set_limits, remove, set, set_limit, stat, unlock, usage,
};
pub use shmdt::shmdt;
pub use shmget::shmget;

use crate::storage::slots::Cursor;
use crate::storage::table::SlotImage;
use crate::sysv::{IdCursor, Key, Segment, ShmId};

/// A slot as the rules see it.
fn segment(image: &SlotImage) -> Segment {
    Segment {
        id: ShmId::from_raw(image.id).unwrap_or(ShmId::new(image.slot, 0)),
        key: Key(image.key),
        uid: image.uid,
        gid: image.gid,
        cuid: image.cuid,
        cgid: image.cgid,
        mode: image.mode,
        segsz: image.segsz,
        atime: image.atime,
        dtime: image.dtime,
        ctime: image.ctime,
        cpid: image.cpid,
        lpid: image.lpid,
        nattch: u64::from(image.nattch),
    }
}

/// The cursor of ids as the table stores it.
fn cursor_words(cursor: IdCursor) -> Cursor {
    Cursor {
        next: cursor.next,
        last: cursor.last,
        seq: cursor.seq,
    }
}
