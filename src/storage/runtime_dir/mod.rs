//! The runtime directory: where it is, how it is checked and made, and whether it is still there.

mod base;
mod make;
mod opened;
mod place;

pub use base::Choice;
pub use opened::RuntimeDir;
pub(in crate::storage) use place::TABLE_MODES;
pub use place::{Place, Scope, check, parse_scope};
