//! A sleep in which nobody is interrupted.

use super::atomic::AtomicU32;
use super::futex;
use super::signal_mask::Mask;

/// The signals of a sleeping thread, of which there are none.
#[derive(Clone, Copy)]
pub struct Exposure;

impl Exposure {
    pub fn begin() -> Exposure {
        Exposure
    }

    pub fn mask(&mut self) -> Mask {
        0
    }

    pub fn is_exposed(&mut self) {}

    pub fn sleep(&mut self, word: &AtomicU32, seen: u32, nanos: u64) -> bool {
        futex::sleep(&[(word, seen)], nanos);
        false
    }

    pub fn end(&mut self) {}
}
