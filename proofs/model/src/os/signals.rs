//! Nobody is interrupted here: what blocks signals does nothing.

pub use super::real::signals::{Mask, are_handled};

use super::atomic::AtomicU64;

/// The two sets in the table's last page, which is always there.
#[derive(Clone, Copy)]
pub struct Sets<'m> {
    /// All signals.
    pub all: &'m AtomicU64,
    /// None.
    pub none: &'m AtomicU64,
}

/// Nothing is blocked while this lives.
pub struct Blocked(());

impl Blocked {
    /// Blocks nothing.
    pub fn all() -> Blocked {
        Blocked(())
    }

    /// Nothing, ever.
    pub fn is_something(&self) -> bool {
        false
    }

    /// Likewise.
    pub fn if_handled_and_there(_: Sets<'_>) -> Option<Blocked> {
        Some(Blocked(()))
    }

    /// Likewise.
    pub fn all_if_there(_: Sets<'_>) -> Option<Blocked> {
        Some(Blocked(()))
    }
}
