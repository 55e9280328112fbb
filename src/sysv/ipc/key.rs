//! Keys.

use core::fmt;

/// An object's name among the programs that share it. Any number but 0 is an ordinary key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key(pub i32);

impl Key {
    /// IPC_PRIVATE: names nothing, always asks for a new object.
    pub const PRIVATE: Key = Key(0);

    /// Whether this is [`Key::PRIVATE`].
    pub fn is_private(self) -> bool {
        self == Key::PRIVATE
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "0x{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_zero_is_private() {
        assert!(Key(0).is_private());
        for key in [1, -1, i32::MIN, i32::MAX] {
            assert!(!Key(key).is_private());
        }
        assert_eq!(Key(0x162e).to_string(), "0x0000162e");
        assert_eq!(Key(-1).to_string(), "0xffffffff");
    }
}
