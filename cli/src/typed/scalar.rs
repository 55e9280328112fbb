//! Numbers, names and texts from bytes, written as gdb writes them.

use serde_json::{Value as Json, json};

use super::layout::{Enumeration, FloatFormat};

/// A whole number of up to sixteen bytes, the lowest byte first.
pub fn whole(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .take(16)
        .rev()
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The bits of a bit field.
pub fn bit_field(bytes: &[u8], first: u64, count: u64) -> Option<u128> {
    let start = usize::try_from(first / 8).ok()?;
    let end = usize::try_from(first.checked_add(count)?.div_ceil(8)).ok()?;
    let number = whole(bytes.get(start..end)?);
    let mask = 1u128
        .checked_shl(u32::try_from(count).ok()?)?
        .wrapping_sub(1);
    Some(number >> (first % 8) & mask)
}

/// A number of so many bits that may be negative.
pub fn signed(number: u128, bits: u64) -> i128 {
    let unused = 128u32.saturating_sub(u32::try_from(bits).unwrap_or(128));
    (number << unused) as i128 >> unused
}

/// A whole number, as text and for JSON.
pub fn integer(number: u128, bits: u64, is_signed: bool) -> (String, Json) {
    if is_signed {
        let number = signed(number, bits);
        let json = i64::try_from(number).map_or_else(|_| json!(number.to_string()), Json::from);
        (number.to_string(), json)
    } else {
        let json = u64::try_from(number).map_or_else(|_| json!(number.to_string()), Json::from);
        (number.to_string(), json)
    }
}

/// A character: its number and what it looks like.
pub fn character(number: u128, bits: u64, is_signed: bool) -> (String, Json) {
    let (text, json) = integer(number, bits, is_signed);
    let shown = match u32::try_from(number).ok().and_then(char::from_u32) {
        Some(shown) if bits > 8 && !shown.is_control() && !shown.is_ascii() => shown.to_string(),
        _ if is_signed => escaped(&[signed(number, bits) as u8], '\''),
        _ => escaped(&[number as u8], '\''),
    };
    if bits > 8 && number > 0x7f && shown.starts_with('\\') {
        return (text, json);
    }
    (format!("{text} '{shown}'"), json)
}

/// A truth value; what is neither is a number.
pub fn truth(number: u128) -> (String, Json) {
    match number {
        0 => ("false".to_owned(), json!(false)),
        1 => ("true".to_owned(), json!(true)),
        _ => integer(number, 128, false),
    }
}

/// The name of a value; flags are joined by `|`, what has no name is a number.
pub fn enumeration(number: u128, bits: u64, of: &Enumeration) -> (String, Json) {
    let value = if of.signed {
        signed(number, bits)
    } else {
        number as i128
    };
    if let Some((_, name)) = of.names.iter().find(|(named, _)| *named == value) {
        return (name.clone(), json!(name));
    }
    let plain = integer(number, bits, of.signed);
    if value <= 0 || !of.has_flags() {
        return plain;
    }
    let mut rest = value;
    let mut set = Vec::new();
    for (flag, name) in &of.names {
        if rest & flag != 0 {
            set.push(name.clone());
            rest &= !flag;
        }
    }
    if set.is_empty() {
        return plain;
    }
    if rest != 0 {
        set.push(format!("unknown: {rest:#x}"));
    }
    let text = format!("({})", set.join(" | "));
    let json = json!(text);
    (text, json)
}

/// A floating-point number. What is longer than a double is told as the nearest double.
pub fn float(bytes: &[u8], format: FloatFormat) -> (String, Json) {
    let raw = whole(bytes);
    let value = match format {
        FloatFormat::Single => {
            let value = f32::from_bits(raw as u32);
            // As text a single has fewer digits than the double that is equal to it.
            return (
                finite(&format!("{value:?}"), value.into()),
                float_json(value.into()),
            );
        }
        FloatFormat::Brain => f64::from(f32::from_bits((raw as u32) << 16)),
        FloatFormat::Double => f64::from_bits(raw as u64),
        FloatFormat::Half => parts(raw, 5, 10, false),
        FloatFormat::Extended => parts(raw & ((1 << 80) - 1), 15, 63, true),
        FloatFormat::Quad => parts(raw, 15, 112, false),
    };
    (finite(&format!("{value:?}"), value), float_json(value))
}

fn finite(text: &str, value: f64) -> String {
    match (value.is_nan(), value.is_sign_negative()) {
        (true, false) => "nan".to_owned(),
        (true, true) => "-nan".to_owned(),
        _ => text.strip_suffix(".0").unwrap_or(text).to_owned(),
    }
}

fn float_json(value: f64) -> Json {
    if value.is_finite() {
        json!(value)
    } else {
        json!(finite(&format!("{value:?}"), value))
    }
}

/// Sign, exponent and fraction of a format; the x87 writes the bit before the fraction, too.
fn parts(raw: u128, exponent_bits: u32, fraction_bits: u32, is_whole_written: bool) -> f64 {
    let width = fraction_bits + u32::from(is_whole_written);
    let fraction = raw & ((1 << fraction_bits) - 1);
    let exponent = (raw >> width) as i32 & ((1 << exponent_bits) - 1);
    let is_negative = raw >> (width + exponent_bits) & 1 == 1;
    let greatest = (1 << exponent_bits) - 1;
    let bias = greatest >> 1;
    let whole = match is_whole_written {
        true => raw >> fraction_bits & 1,
        false => u128::from(exponent != 0),
    };
    let size = if exponent == greatest {
        if fraction == 0 {
            f64::INFINITY
        } else {
            f64::NAN
        }
    } else {
        let digits = (whole << fraction_bits | fraction) as f64;
        let power = exponent.max(1) - bias - fraction_bits as i32;
        // In two steps: the power alone may be smaller than a double can be.
        digits * 2f64.powi(power / 2) * 2f64.powi(power - power / 2)
    };
    if is_negative { -size } else { size }
}

/// A text in an array of characters: without the zeros at its end; what is no text is escaped. For JSON a text that is no
/// UTF-8 is an array of numbers.
pub fn text(bytes: &[u8]) -> (String, Json) {
    let len = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let bytes = bytes.get(..len).unwrap_or_default();
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let mut shown = String::new();
            for part in text.chars() {
                if part.is_ascii() || part.is_control() {
                    let mut buffer = [0; 4];
                    shown.push_str(&escaped(part.encode_utf8(&mut buffer).as_bytes(), '"'));
                } else {
                    shown.push(part);
                }
            }
            (format!("\"{shown}\""), json!(text))
        }
        Err(_) => (format!("\"{}\"", escaped(bytes, '"')), json!(bytes)),
    }
}

/// Bytes as C writes them between these quotes.
fn escaped(bytes: &[u8], quote: char) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            _ if char::from(*byte) == quote => {
                text.push('\\');
                text.push(quote);
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    text
}

/// Bytes that nothing is known about.
pub fn raw(bytes: &[u8], reason: &str) -> (String, Json) {
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if hex.is_empty() {
        return (format!("<{reason}>"), Json::Null);
    }
    (format!("<{}>", hex.join(" ")), json!(bytes))
}
