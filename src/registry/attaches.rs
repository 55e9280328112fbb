//! What this process has attached, told to the interface.

use super::error::Outcome;
use super::process::registry_if_open;
use crate::os::signal_mask::Blocked;

/// Calls `each` with the segment, the address and the length of every piece that this process has attached. It may make no
/// call of ours.
pub fn each(each: &mut dyn FnMut(i32, u64, u64)) -> Outcome<()> {
    if let Some(registry) = registry_if_open().filter(|registry| registry.has_attaches()) {
        let session = registry.enter_to_follow()?;
        for entry in session.local.attaches.iter() {
            each(entry.piece.id.raw(), entry.piece.start, entry.piece.len);
        }
    }
    Ok(())
}

/// How many pieces this process has attached.
pub fn count() -> u64 {
    let _blocked = Blocked::all();
    registry_if_open()
        .filter(|registry| registry.has_attaches())
        .and_then(|registry| registry.local.lock_soon().ok())
        .map_or(0, |local| local.attaches.len() as u64)
}
