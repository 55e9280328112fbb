//! What this process has attached, told to the interface.

use super::error::Outcome;
use super::process::registry_if_open;

/// Calls `each` with the segment, the address and the length of every piece that this process has attached. It may make no
/// call of ours.
pub fn each(each: &mut dyn FnMut(i32, u64, u64)) -> Outcome<()> {
    if let Some(registry) = registry_if_open().filter(|registry| registry.has_attaches()) {
        let session = registry.enter_to_follow()?;
        for entry in session.local.attaches.entries() {
            each(entry.piece.id.raw(), entry.piece.start, entry.piece.len);
        }
    }
    Ok(())
}
