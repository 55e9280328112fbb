//! The namespace that the settings name as a whole, for the command: whether anybody lives in it, and its removal. Nothing of
//! this opens the table, which may be beyond use.

use super::error::Outcome;
use crate::os::path::Path;
use crate::storage::Whole;

/// The namespace that a program with these settings would use.
pub struct Found(Whole);

/// Finds it. `None`: there is none.
pub fn find() -> Outcome<Option<Found>> {
    Ok(Whole::chosen()?.map(Found))
}

impl Found {
    /// Its runtime directory.
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// How many processes live in it.
    pub fn count_living(&self) -> Outcome<u32> {
        Ok(self.0.count_living()?)
    }

    /// Removes it with all that is in it. Living processes keep what they have attached, and go on with sets and queues while
    /// the file of these need not grow; new segments and attaches are refused to them.
    pub fn remove(&self) -> Outcome<()> {
        Ok(self.0.remove()?)
    }
}
