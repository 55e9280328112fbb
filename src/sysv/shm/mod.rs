//! The rules of shared memory segments.

mod destroy;
pub mod flags;
mod huge_pages;
mod limits;
mod mremap;
mod pieces;
mod procfs;
mod segment;
mod shmat;
mod shmctl;
mod shmdt;
pub mod shmget;

#[cfg(test)]
mod pieces_tests;

pub use destroy::{must_destroy, must_destroy_orphan};
pub use huge_pages::{HugePages, check_hugetlb};
pub use limits::{LimitName, Limits};
pub use mremap::{Join, Moved, Mremap, MremapKind, join, moved};
pub use pieces::{Cut, Piece, cut};
pub use procfs::{SHM_HEADER, write_shm_line};
pub use segment::{SHMMIN, Segment, shmlba};
pub use shmat::{AttachRequest, check_range, may_attach, parse as parse_shmat};
pub use shmctl::{
    Command, LockBudget, is_by_index, is_for_all, may_lock, may_remove, may_set, may_stat,
    may_unlock, parse as parse_shmctl,
};
pub use shmdt::{Detach, not_attached};
pub use shmget::{
    check_file_size, check_shmall, check_shmmni, check_size, is_no_lookup, is_too_small,
    missing_key, open_existing,
};
