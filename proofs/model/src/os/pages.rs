//! Memory of a process, which lives as long as the story.

pub use super::real::pages::*;

use super::OsResult;
use crate::mortal;

/// Keeps `value` until the next story begins.
pub fn leak<T: 'static>(value: T) -> OsResult<&'static T> {
    Ok(mortal::keep(value))
}
