//! A path that needs no heap.

use core::ffi::CStr;
use core::fmt::{self, Write};

/// The longest path that we build, its final NUL included.
pub const CAPACITY: usize = 256;

/// A NUL-terminated path in a fixed buffer.
#[derive(Clone, Copy, PartialEq)]
pub struct Path {
    /// Invariant: zeros from `len` on.
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
    #[inline]
    pub fn push(&mut self, text: &[u8]) -> Option<()> {
        if text.contains(&0) {
            return None;
        }
        self.append(text)
    }

    /// Inlined: text of a known length is then stored by an instruction or two.
    #[inline(always)]
    fn append(&mut self, text: &[u8]) -> Option<()> {
        self.room(text.len())?.copy_from_slice(text);
        Some(())
    }

    /// Appends so many bytes, which the caller fills; none of them with a NUL. `None`, and nothing appended, when they do not fit.
    #[inline(always)]
    fn room(&mut self, more: usize) -> Option<&mut [u8]> {
        let end = self.len.checked_add(more)?;
        if end >= CAPACITY {
            return None;
        }
        let room = self.bytes.get_mut(self.len..end)?;
        self.len = end;
        Some(room)
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
    #[inline]
    pub fn push_decimal(&mut self, number: u32) -> Option<()> {
        let count = number.checked_ilog10().unwrap_or(0) as usize + 1;
        let mut rest = number;
        for place in self.room(count)?.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Some(())
    }

    /// Appends `number` as eight lower-case hexadecimal digits.
    #[inline]
    pub fn push_hex8(&mut self, number: u32) -> Option<()> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut rest = number;
        for place in self.room(8)?.iter_mut().rev() {
            *place = DIGITS.get(rest as usize & 15).copied().unwrap_or(b'0');
            rest >>= 4;
        }
        Some(())
    }

    /// The path without its NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The path with its NUL.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }

    /// The last name of the path: all of it where there is no `/`.
    pub fn name(&self) -> &[u8] {
        self.as_bytes().get(self.name_at()..).unwrap_or(&[])
    }

    /// Where the last name begins.
    fn name_at(&self) -> usize {
        let slash = self.as_bytes().iter().rposition(|&byte| byte == b'/');
        slash.map_or(0, |at| at + 1)
    }

    /// The address of the last name, for a system call.
    pub(super) fn name_addr(&self) -> usize {
        self.addr() + self.name_at()
    }

    /// Takes the last name away, and the `/` in front of it: the path of the directory that it lies in.
    pub fn pop(&mut self) {
        let end = self.name_at().saturating_sub(1).max(1).min(self.len);
        if let Some(rest) = self.bytes.get_mut(end..self.len) {
            rest.fill(0);
        }
        self.len = end;
    }

    /// The address of the text, for a system call. A NUL stands behind it always: the buffer starts as zeros, and `push`
    /// refuses NUL and the last byte.
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
        OnOneLine(self.as_bytes()).fmt(f)
    }
}

/// Text of others' as it is shown: on one line, and without what could write elsewhere on a terminal.
#[derive(Clone, Copy, Debug)]
pub struct OnOneLine<'t>(pub &'t [u8]);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char.is_control() {
                    // As the kernel shows it in its own lists: a line of the trace stays one.
                    true => write!(f, "\\{:03o}", u32::from(char))?,
                    false => f.write_char(char)?,
                }
            }
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

/// Fails where the text does not fit.
impl Write for Path {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes()).ok_or(fmt::Error)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
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
    fn numbers_are_written_as_the_standard_library_writes_them() {
        let mut numbers = vec![0, 1, 9, 10, 15, 16, 0x9a9a_f0f0, u32::MAX];
        numbers.extend((0..32).flat_map(|bit| [1 << bit, (1 << bit) - 1, 0x1234_5678 << bit]));
        numbers.extend((0..9).flat_map(|power| [10u32.pow(power), 10u32.pow(power) * 9 + 8]));
        for number in numbers {
            let mut path = Path::new();
            path.push_hex8(number).unwrap();
            path.push_decimal(number).unwrap();
            assert_eq!(path.to_string(), format!("{number:08x}{number}"));
        }
    }

    #[test]
    fn the_last_name_is_what_stands_behind_the_last_slash() {
        let mut path = Path::from_bytes(b"/dev/shm").unwrap();
        assert_eq!(path.name(), b"shm");
        path.pop();
        assert_eq!(path.as_bytes(), b"/dev");
        path.pop();
        assert_eq!(path.as_bytes(), b"/");
        path.pop();
        assert_eq!((path.as_bytes(), path.name()), (&b"/"[..], &b""[..]));
        assert_eq!(Path::from_bytes(b"alone").unwrap().name(), b"alone");
    }

    #[test]
    fn a_path_is_shown_on_one_line() {
        let path = Path::from_bytes(b"/a\nb\x1b[1mc\xc3\xa9").unwrap();
        assert_eq!(path.to_string(), "/a\\012b\\033[1mc\u{e9}");
    }

    #[test]
    fn what_does_not_fit_is_refused_whole() {
        let mut path = Path::from_bytes(&[b'a'; CAPACITY - 3]).unwrap();
        assert!(path.push(b"bcd").is_none());
        assert_eq!(path.as_bytes().len(), CAPACITY - 3);
        assert!(path.push_decimal(100).is_none());
        assert!(path.push_hex8(0).is_none());
        assert!(path.push(b"b").is_some());
        assert!(path.push_decimal(77).is_none());
        assert_eq!(path.as_bytes().len(), CAPACITY - 2);
        assert!(Path::from_bytes(b"a\0b").is_none());
    }
}
