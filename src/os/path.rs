//! A path that needs no heap.

use core::ffi::CStr;
use core::fmt;

/// The longest path that we build, its final NUL included.
pub const CAPACITY: usize = 256;

/// A NUL-terminated path in a fixed buffer.
#[derive(Clone, Copy)]
pub struct Path {
    bytes: [u8; CAPACITY],
    len: usize,
}

impl Path {
    /// The empty path.
    pub const fn new() -> Path {
        Path {
            bytes: [0; CAPACITY],
            len: 0,
        }
    }

    /// `text` as a path. `None` when it is too long or holds a NUL.
    pub fn from_bytes(text: &[u8]) -> Option<Path> {
        let mut path = Path::new();
        path.push(text)?;
        Some(path)
    }

    /// Appends `text` as it is. `None`, and nothing appended, when it does not fit or holds a NUL.
    pub fn push(&mut self, text: &[u8]) -> Option<()> {
        if text.contains(&0) {
            return None;
        }
        self.push_checked(text)
    }

    /// Copies what `other` holds, and no more of its room than that. For a path that is empty.
    pub fn begin_with(&mut self, other: &Path) {
        self.len = 0;
        let _ = self.push_checked(other.as_bytes());
    }

    /// [`Path::push`] of text without a NUL.
    #[inline]
    fn push_checked(&mut self, text: &[u8]) -> Option<()> {
        let end = self.len.checked_add(text.len())?;
        if end >= CAPACITY {
            return None;
        }
        self.bytes.get_mut(self.len..end)?.copy_from_slice(text);
        self.len = end;
        Some(())
    }

    /// This path with `/name` behind it.
    pub fn join(&self, name: &[u8]) -> Option<Path> {
        let mut path = *self;
        if path.len > 1 || path.as_bytes() != b"/" {
            path.push(b"/")?;
        }
        path.push(name)?;
        Some(path)
    }

    /// Appends `number` in decimal.
    pub fn push_decimal(&mut self, number: u32) -> Option<()> {
        let mut digits = [0u8; 10];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            *digits.get_mut(at)? = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push_checked(digits.get(at..)?)
    }

    /// Appends `number` as eight lower-case hexadecimal digits.
    pub fn push_hex8(&mut self, number: u32) -> Option<()> {
        let mut digits = [0u8; 8];
        for (place, digit) in digits.iter_mut().enumerate() {
            let nibble = ((number >> (28 - 4 * place)) & 15) as u8;
            *digit = if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            };
        }
        self.push_checked(&digits)
    }

    /// The path without its NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The path for a system call.
    pub fn as_cstr(&self) -> &CStr {
        // A NUL stands behind the text always: the buffer starts as zeros and `push` refuses NUL and the last byte.
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }

    /// The address of the text, for a system call.
    pub(super) fn addr(&self) -> usize {
        self.bytes.as_ptr() as usize
    }
}

impl Default for Path {
    fn default() -> Path {
        Path::new()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Path) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_built_without_a_heap() {
        let mut path = Path::from_bytes(b"/dev/shm")
            .unwrap()
            .join(b"SYSV")
            .unwrap();
        path.push_hex8(0x162e).unwrap();
        path.push(b".").unwrap();
        path.push_decimal(32769).unwrap();
        assert_eq!(path.as_bytes(), b"/dev/shm/SYSV0000162e.32769");
        assert_eq!(path.as_cstr().to_bytes(), path.as_bytes());
        assert_eq!(
            Path::from_bytes(b"/")
                .unwrap()
                .join(b"tmp")
                .unwrap()
                .as_bytes(),
            b"/tmp"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_whole() {
        let mut path = Path::from_bytes(&[b'a'; CAPACITY - 3]).unwrap();
        assert!(path.push(b"bcd").is_none());
        assert_eq!(path.as_bytes().len(), CAPACITY - 3);
        assert!(path.push(b"b").is_some());
        assert!(Path::from_bytes(b"a\0b").is_none());
    }
}
