//! Sizes, modes, times, users and groups as they are written on the command line.

use std::time::Duration;

use nix::unistd::{Group, User};

/// A size in bytes: `4096`, `0x1000`, `64K`, `2MiB`, `1G`.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size; write bytes, or a number with K, M, G or T");
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).map_err(|_| wrong());
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KIB" => 10,
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Permission bits in octal: `600`, `0644`.
pub fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
        .ok_or_else(|| format!("{text:?} is no mode; write permission bits in octal, such as 600"))
}

/// A time: `90`, `90s`, `15m`, `1h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time; write a number with s, m, h or d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(seconds)
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

/// A segment's key: decimal, or hexadecimal with 0x.
pub fn key(text: &str) -> Result<i32, String> {
    crate::segment::number(text)
        .ok_or_else(|| format!("{text:?} is no key; write a number, decimal or with 0x in front"))
}

/// A user, by name or number.
pub fn user(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(format!(
            "there is no user {text:?}; write a name or a number"
        )),
    }
}

/// A group, by name or number.
pub fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        _ => Err(format!(
            "there is no group {text:?}; write a name or a number"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("0x1000"), Ok(4096));
        assert_eq!(size("64K"), Ok(65536));
        assert_eq!(size("2MiB"), Ok(2 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        for wrong in ["", "K", "-1", "1X", "99999999T", "0x", "1.5G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(mode("600"), Ok(0o600));
        assert_eq!(mode("0644"), Ok(0o644));
        for wrong in ["", "8", "1777", "+600", "rw"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "h", "1w", "-1"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
