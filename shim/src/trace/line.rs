//! A line in a buffer of fixed size. What does not fit is cut off; the newline always fits.

use core::fmt;

/// Longer than any line but one whose reason tells two long paths.
const ROOM: usize = 1024;

/// The line.
pub struct Line {
    bytes: [u8; ROOM],
    len: usize,
    /// What is appended is the inside of a JSON string.
    is_quoted: bool,
}

impl Line {
    /// An empty one.
    pub fn new() -> Line {
        Line {
            bytes: [0; ROOM],
            len: 0,
            is_quoted: false,
        }
    }

    /// Appends.
    pub fn put(&mut self, what: fmt::Arguments<'_>) {
        // `write_str` below never fails.
        let _ = fmt::write(self, what);
    }

    /// Appends what `put` writes as the inside of a JSON string. Where there is no room for all of it, it ends early and in
    /// front of a whole letter, so that the object can be closed.
    pub fn quote(&mut self, put: impl FnOnce(&mut Line)) {
        self.is_quoted = true;
        put(self);
        self.is_quoted = false;
    }

    fn push_quoted(&mut self, text: &str) {
        for letter in text.chars() {
            let mut whole = [0; 4];
            let whole: &str = match letter {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                letter if letter.is_control() => "?",
                letter => letter.encode_utf8(&mut whole),
            };
            // Two bytes to close the object, one for the newline.
            if self.len + whole.len() > ROOM - 3 {
                return;
            }
            self.push(whole);
        }
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
        if self.is_quoted {
            self.push_quoted(text);
            return Ok(());
        }
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
    fn what_is_quoted_is_the_inside_of_a_string() {
        let mut line = Line::new();
        line.put(format_args!("{{\"a\":\""));
        line.quote(|line| line.put(format_args!("one \"two\" \\ \n\t{}", "ä".repeat(ROOM))));
        line.put(format_args!("\"}}"));
        let text = core::str::from_utf8(line.end()).unwrap();
        assert!(
            text.starts_with("{\"a\":\"one \\\"two\\\" \\\\ \\n?ää"),
            "{text}"
        );
        assert!(text.ends_with("ä\"}\n"), "{text}");
        assert!(text.len() >= ROOM - 1);
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
