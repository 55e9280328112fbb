//! A line in a buffer of fixed size. What does not fit is cut off; the newline always fits.

use core::fmt;

/// Longer than any line but one whose reason tells two long paths.
const ROOM: usize = 1024;

/// The line.
pub struct Line {
    bytes: [u8; ROOM],
    len: usize,
}

impl Line {
    /// An empty one.
    pub fn new() -> Line {
        Line {
            bytes: [0; ROOM],
            len: 0,
        }
    }

    /// Appends.
    pub fn put(&mut self, what: fmt::Arguments<'_>) {
        // `write_str` below never fails.
        let _ = fmt::write(self, what);
    }

    fn push(&mut self, text: &str) {
        // One byte stays free for the newline.
        let room = self.bytes.get_mut(self.len..ROOM - 1).unwrap_or_default();
        let fits = room.iter_mut().zip(text.bytes());
        self.len += fits.map(|(to, byte)| *to = byte).count();
    }

    /// What has been appended so far.
    pub fn text(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The whole line, its newline included.
    pub fn end(&mut self) -> &[u8] {
        if let Some(last) = self.bytes.get_mut(self.len) {
            *last = b'\n';
            self.len += 1;
        }
        self.text()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // A path may hold a newline: it must not look like the end of the line.
        for (index, part) in text.split('\n').enumerate() {
            if index > 0 {
                self.push("\\n");
            }
            self.push(part);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_one_newline() {
        let mut line = Line::new();
        line.put(format_args!("{} {}", 1, "b"));
        assert_eq!(line.end(), b"1 b\n");
    }

    #[test]
    fn a_newline_within_a_line_is_escaped() {
        let mut line = Line::new();
        line.put(format_args!("{} b\n", "a\n\nx"));
        assert_eq!(line.end(), b"a\\n\\nx b\\n\n");
    }

    #[test]
    fn a_line_too_long_is_cut_and_still_ends() {
        let mut line = Line::new();
        for _ in 0..ROOM {
            line.put(format_args!("abc"));
        }
        let whole = line.end();
        assert_eq!(whole.len(), ROOM);
        assert!(whole.ends_with(b"\n"));
        assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
