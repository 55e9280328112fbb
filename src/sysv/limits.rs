//! The limits of a namespace, and the text of the files that show and change them.

use core::fmt;

use super::ids::SLOTS;
use super::reason::{Errno, Reason, Ruling};
use super::segment::PAGE_SIZE;

/// What a namespace allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest size of a segment, in bytes.
    pub shmmax: u64,
    /// Pages that all segments together may have.
    pub shmall: u64,
    /// Number of segments.
    pub shmmni: u32,
    /// Segments that nobody has attached go when they were detached or their creator ends.
    pub shm_rmid_forced: bool,
}

/// One of the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimitName {
    /// Largest size of a segment.
    Shmmax,
    /// Pages of all segments.
    Shmall,
    /// Number of segments.
    Shmmni,
    /// Whether unattached segments go by themselves.
    ShmRmidForced,
}

impl LimitName {
    /// All of them.
    pub const ALL: [LimitName; 4] = [
        LimitName::Shmmax,
        LimitName::Shmall,
        LimitName::Shmmni,
        LimitName::ShmRmidForced,
    ];

    /// The name of its file in `/proc/sys/kernel`.
    pub const fn file_name(self) -> &'static str {
        match self {
            LimitName::Shmmax => "shmmax",
            LimitName::Shmall => "shmall",
            LimitName::Shmmni => "shmmni",
            LimitName::ShmRmidForced => "shm_rmid_forced",
        }
    }

    /// The limit whose file in `/proc/sys/kernel` has this name.
    pub fn from_file_name(name: &[u8]) -> Option<LimitName> {
        LimitName::ALL
            .into_iter()
            .find(|limit| limit.file_name().as_bytes() == name)
    }
}

impl Limits {
    /// What every new namespace starts with.
    ///
    /// "The default value for this limit is: ULONG_MAX - 2^24" - man shmget(2), of shmmax
    /// and shmall alike.
    pub const KERNEL_DEFAULTS: Limits = Limits {
        shmmax: u64::MAX - (1 << 24),
        shmall: u64::MAX - (1 << 24),
        shmmni: 4096,
        shm_rmid_forced: false,
    };

    /// Takes `text`, the bytes of one write to the limit's file, as the kernel would.
    ///
    /// The first number in it counts: white space may stand before it, and only a space, a
    /// tab or a newline right behind it, after which anything may follow unread. A leading
    /// 0 makes it octal, 0x hexadecimal. A write of nothing is accepted and changes nothing.
    pub fn parse_and_set(&mut self, name: LimitName, text: &[u8]) -> Ruling<()> {
        if text.is_empty() {
            return Ok(());
        }
        let Some(number) = Number::parse(text) else {
            // The manual is silent: what is not one number is refused.
            return Err(Errno::Einval.because(Reason::LimitNotANumber(name)));
        };
        // The manual is silent: a number out of the limit's range is refused, and the old
        // value stays.
        let out_of_range = Err(Errno::Einval.because(Reason::LimitOutOfRange {
            name,
            negative: number.negative,
            magnitude: number.magnitude,
        }));
        match (name, number.magnitude, number.negative) {
            (LimitName::Shmmax, value, false) => self.shmmax = value,
            (LimitName::Shmall, value, false) => self.shmall = value,
            // These two are signed in the kernel, so that −0 is a number in range.
            (LimitName::Shmmni, 0, true) => self.shmmni = 0,
            (LimitName::Shmmni, value, false) => match u32::try_from(value) {
                Ok(value) if value <= SLOTS => self.shmmni = value,
                _ => return out_of_range,
            },
            (LimitName::ShmRmidForced, 0, _) => self.shm_rmid_forced = false,
            (LimitName::ShmRmidForced, 1, false) => self.shm_rmid_forced = true,
            _ => return out_of_range,
        }
        Ok(())
    }

    /// Writes what reading the limit's file shows: the number and a newline.
    pub fn write_value(&self, name: LimitName, out: &mut impl fmt::Write) -> fmt::Result {
        let value = match name {
            LimitName::Shmmax => self.shmmax,
            LimitName::Shmall => self.shmall,
            LimitName::Shmmni => u64::from(self.shmmni),
            LimitName::ShmRmidForced => u64::from(self.shm_rmid_forced),
        };
        writeln!(out, "{value}")
    }
}

/// The first number of a write, as the kernel's sysctl files read one.
struct Number {
    negative: bool,
    magnitude: u64,
}

impl Number {
    /// No number may take up this many bytes, sign and prefix included.
    const TOO_LONG: usize = 21;

    fn parse(text: &[u8]) -> Option<Number> {
        // Longer writes are read up to here.
        let text = skip_spaces(text.get(..PAGE_SIZE as usize - 1).unwrap_or(text));
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
        (separated && length < Number::TOO_LONG).then_some(Number {
            negative,
            magnitude,
        })
    }
}

/// `text` without the white space it begins with.
fn skip_spaces(mut text: &[u8]) -> &[u8] {
    // The kernel's table of characters is Latin-1: 0xa0 is a space there.
    while let [b' ' | b'\t'..=b'\r' | 0xa0, rest @ ..] = text {
        text = rest;
    }
    text
}
