//! Bytes as `hexdump -C` writes them: sixteen a line, what repeats as one star.

use std::io::{self, Write};

const LINE: usize = 16;

/// Writes lines of bytes that come one after the other.
pub struct Hexdump<W: Write> {
    out: W,
    /// Where the next line begins.
    offset: u64,
    line: Vec<u8>,
    /// The line before, and whether a star stands for what follows it.
    last: Option<[u8; LINE]>,
    has_star: bool,
}

impl<W: Write> Hexdump<W> {
    /// Begins at this offset.
    pub fn new(out: W, offset: u64) -> Hexdump<W> {
        Hexdump {
            out,
            offset,
            line: Vec::with_capacity(LINE),
            last: None,
            has_star: false,
        }
    }

    /// Adds bytes.
    pub fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(LINE - self.line.len()));
            self.line.extend_from_slice(now);
            bytes = rest;
            if self.line.len() == LINE {
                self.full_line()?;
            }
        }
        Ok(())
    }

    /// Adds zeros, as many as there may be.
    pub fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            if self.line.is_empty() && self.has_star && self.last == Some([0; LINE]) {
                let lines = count / LINE as u64;
                self.offset += lines * LINE as u64;
                count -= lines * LINE as u64;
            }
            let now = count.min((LINE - self.line.len()) as u64);
            self.bytes([0; LINE].get(..now as usize).unwrap_or(&[]))?;
            count -= now;
        }
        Ok(())
    }

    fn full_line(&mut self) -> io::Result<()> {
        let mut line = [0; LINE];
        line.copy_from_slice(&self.line);
        if self.last != Some(line) {
            writeln!(self.out, "{}", text(self.offset, &self.line))?;
            self.has_star = false;
        } else if !self.has_star {
            writeln!(self.out, "*")?;
            self.has_star = true;
        }
        self.last = Some(line);
        self.offset += LINE as u64;
        self.line.clear();
        Ok(())
    }

    /// The last line, and the offset of the end; nothing, if there was nothing.
    pub fn finish(mut self) -> io::Result<()> {
        if self.last.is_none() && self.line.is_empty() {
            return self.out.flush();
        }
        if !self.line.is_empty() {
            writeln!(self.out, "{}", text(self.offset, &self.line))?;
        }
        writeln!(self.out, "{:08x}", self.offset + self.line.len() as u64)?;
        self.out.flush()
    }
}

/// One line of up to sixteen bytes.
pub fn text(offset: u64, bytes: &[u8]) -> String {
    let mut line = format!("{offset:08x}");
    for at in 0..LINE {
        line.push_str(if at % 8 == 0 { "  " } else { " " });
        match bytes.get(at) {
            Some(byte) => line.push_str(&format!("{byte:02x}")),
            None => line.push_str("  "),
        }
    }
    line.push_str("  |");
    line.extend(bytes.iter().map(|&byte| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '.',
    }));
    line.push('|');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// What the real one writes.
    fn hexdump(bytes: &[u8]) -> String {
        let mut child = Command::new("hexdump")
            .arg("-C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    fn ours(pieces: &[(&[u8], u64)]) -> String {
        let mut out = Vec::new();
        let mut dump = Hexdump::new(&mut out, 0);
        for (bytes, zeros) in pieces {
            dump.bytes(bytes).unwrap();
            dump.zeros(*zeros).unwrap();
        }
        dump.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_those_of_hexdump() {
        let all: Vec<u8> = (0..=255).collect();
        let pieces: [(&[u8], u64); 4] =
            [(&all, 100), (b"hello", 0), (&[b'x'; 80], 7), (b"\xff", 3)];
        let flat: Vec<u8> = pieces
            .iter()
            .flat_map(|(bytes, zeros)| [bytes.to_vec(), vec![0; *zeros as usize]].concat())
            .collect();
        assert_eq!(ours(&pieces), hexdump(&flat));
        let repeated = [7u8; 64];
        assert_eq!(ours(&[(&repeated, 0)]), hexdump(&repeated));
        assert_eq!(ours(&[]), hexdump(b""));
    }

    #[test]
    fn zeros_without_number_are_one_star() {
        let written = ours(&[(b"a", (1 << 40) - 1), (b"b", 0)]);
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(lines.len(), 5, "{written}");
        assert_eq!(lines[2], "*");
        assert!(lines[3].starts_with("10000000000  62"));
        assert_eq!(lines[4], "10000000001");
    }
}
