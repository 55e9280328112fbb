//! The text that is written to the file of a limit.

use crate::sysv::page::page_size;

/// The first number of a write, as the kernel's sysctl files read one.
pub struct Number {
    /// It has a minus sign.
    pub negative: bool,
    /// Without the sign.
    pub magnitude: u64,
}

impl Number {
    /// No number may take up this many bytes, sign and prefix included.
    const TOO_LONG: usize = 21;

    /// The number that `text`, the bytes of one write, begins with.
    pub fn parse(text: &[u8]) -> Option<Number> {
        Number::parse_next(as_read(text)).map(|(number, _)| number)
    }

    /// The same of a part of the write, [`as_read`], and what stands behind the number.
    pub fn parse_next(text: &[u8]) -> Option<(Number, &[u8])> {
        let text = skip_spaces(text);
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] if !rest.is_empty() => (true, rest),
            _ => (false, text),
        };
        let (radix, digits) = match unsigned {
            [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                (16, rest)
            }
            [b'0', ..] => (8, unsigned),
            [b'1'..=b'9', ..] => (10, unsigned),
            _ => return None,
        };
        let mut magnitude: u64 = 0;
        let mut rest = digits;
        while let [byte, behind @ ..] = rest {
            let Some(digit) = char::from(*byte).to_digit(radix) else {
                break;
            };
            magnitude = magnitude
                .checked_mul(u64::from(radix))?
                .checked_add(u64::from(digit))?;
            rest = behind;
        }
        let separated = matches!(rest, [] | [b' ' | b'\t' | b'\n', ..]);
        let length = text.len() - rest.len();
        let number = Number {
            negative,
            magnitude,
        };
        (separated && length < Number::TOO_LONG).then_some((number, rest))
    }

    /// The number as an int, if it is one.
    pub fn as_int(&self) -> Option<i32> {
        let magnitude = i64::try_from(self.magnitude).ok()?;
        let value = if self.negative { -magnitude } else { magnitude };
        i32::try_from(value).ok()
    }
}

/// What of a write to a limit's file is read.
pub fn as_read(text: &[u8]) -> &[u8] {
    text.get(..page_size() as usize - 1).unwrap_or(text)
}

/// `text` without the white space it begins with.
pub fn skip_spaces(mut text: &[u8]) -> &[u8] {
    // The kernel's table of characters is Latin-1: 0xa0 is a space there.
    while let [b' ' | b'\t'..=b'\r' | 0xa0, rest @ ..] = text {
        text = rest;
    }
    text
}
