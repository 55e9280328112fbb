//! How the file of a segment is called.

use crate::os::path::Path;
use crate::storage::table::SlotImage;

/// Puts `/SYSVkkkkkkkk.<id>` behind `path`.
#[inline(never)]
pub(super) fn push_file_name(path: &mut Path, image: &SlotImage) -> Option<()> {
    path.push(b"/SYSV")?;
    path.push_hex8(image.name_key as u32)?;
    path.push(b".")?;
    path.push_decimal(image.id as u32)
}

/// Key and id in a segment file's name, `SYSV0000162e.32769`, if it is one exactly as we write it.
pub fn parse_name(name: &[u8]) -> Option<(i32, i32)> {
    let rest = name.strip_prefix(b"SYSV")?;
    let (key, rest) = rest.split_at_checked(8)?;
    let id = rest.strip_prefix(b".")?;
    let lower_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let plain = id == b"0" || id.first().is_some_and(|first| *first != b'0');
    if !key.iter().all(lower_hex) || !plain || !id.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let key = u32::from_str_radix(core::str::from_utf8(key).ok()?, 16).ok()?;
    let id = core::str::from_utf8(id).ok()?.parse().ok()?;
    Some((key as i32, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_write_are_segments() {
        assert_eq!(parse_name(b"SYSV0000162e.32769"), Some((0x162e, 32769)));
        assert_eq!(parse_name(b"SYSVffffffff.0"), Some((-1, 0)));
        for other in [
            &b"SYSV0000162E.1"[..],
            b"SYSV0000162e.01",
            b"SYSV0000162e.",
            b"SYSV0000162e",
            b"SYSV162e.1",
            b"SYSV0000162e.-1",
            b"SYSV0000162e.2147483648",
            b"SYSV+000162e.1",
            b"sysv0000162e.1",
            b"",
        ] {
            assert_eq!(
                parse_name(other),
                None,
                "{}",
                String::from_utf8_lossy(other)
            );
        }
    }
}
