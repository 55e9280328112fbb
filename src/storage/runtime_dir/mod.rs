//! The runtime directory: where it is, how it is checked and made, and whether it is still there.

mod base;
mod found;
mod make;
mod opened;
mod place;
mod remove;

pub use base::Choice;
pub use found::scope_of_name;
pub use opened::RuntimeDir;
pub(in crate::storage) use place::{PARTS, TABLE_MODES};
pub use place::{Place, Scope, check, parse_scope};
