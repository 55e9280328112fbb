//! The limits of a namespace, and the text of the files that show and change them.

use core::fmt;

use crate::sysv::ipc::{Number, Ruling, SLOTS, refusal};

/// What a namespace allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Largest size of a segment, in bytes.
    pub shmmax: u64,
    /// Pages that all segments together may have.
    pub shmall: u64,
    /// Number of segments.
    pub shmmni: u32,
    /// Segments that no process has attached go when they were detached or their creator ends.
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

    /// [`Self::file_name`] of the limit with this number.
    fn file_name_of(number: u64) -> &'static str {
        let named = LimitName::ALL.get(number as usize);
        named.map_or("", |limit| limit.file_name())
    }

    /// The name of its file in `/proc/sys/kernel`.
    pub const fn file_name(self) -> &'static str {
        match self {
            LimitName::Shmmax => "shmmax",
            LimitName::Shmall => "shmall",
            LimitName::Shmmni => "shmmni",
            LimitName::ShmRmidForced => "shm_rmid_forced",
        }
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
            return Err(refusal!(
                Einval,
                [name],
                "what was written to {} is not one number",
                LimitName::file_name_of(name)
            ));
        };
        // The manual is silent: a number out of the limit's range is refused, and the old
        // value stays.
        let out_of_range = Err(refusal!(
            Einval,
            [
                name,
                negative = number.negative,
                magnitude = number.magnitude
            ],
            "{}{magnitude} is out of the range of {}",
            if negative != 0 { "-" } else { "" },
            LimitName::file_name_of(name)
        ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::testing::errno;

    const BEFORE: Limits = Limits {
        shmmax: 7,
        shmall: 7,
        shmmni: 7,
        shm_rmid_forced: false,
    };

    /// What the file shows after `text` was written over 7 (0 for shm_rmid_forced).
    fn after(name: LimitName, text: &[u8]) -> Result<String, Option<Errno>> {
        let mut limits = BEFORE;
        let ruling = limits.parse_and_set(name, text);
        if ruling.is_err() {
            assert_eq!(limits, BEFORE, "a refused write changed something");
            return Err(errno(ruling));
        }
        let mut shown = String::new();
        assert_eq!(limits.write_value(name, &mut shown), Ok(()));
        Ok(shown)
    }

    /// `None`: refused.
    fn check(names: &[LimitName], rows: &[(&[u8], Option<u64>)]) {
        for name in names {
            for (text, expected) in rows {
                let expected = expected
                    .map(|value| format!("{value}\n"))
                    .ok_or(Some(Errno::Einval));
                let text_shown = text.escape_ascii();
                assert_eq!(after(*name, text), expected, "{name:?} \"{text_shown}\"");
            }
        }
    }

    #[test]
    fn every_limit_reads_numbers_the_same_way() {
        // Each row was written to the four files of Linux 6.18.
        check(
            &LimitName::ALL,
            &[
                (b"\n", None),
                (b" ", None),
                (b"1", Some(1)),
                (b"1\n", Some(1)),
                (b"0", Some(0)),
                (b" \t\n\x0b\x0c\r1 \t\n\x0b", Some(1)),
                (b"1\x0b", None),
                (b"1\r\n", None),
                (b"\xa01", Some(1)),
                (b"0X1", Some(1)),
                (b"0x", None),
                (b"0xg", None),
                (b"08", None),
                (b"-1", None),
                (b"-", None),
                (b"+1", None),
                (b"- 1", None),
                (b" -1", None),
                (b"--1", None),
                (b"1 6", Some(1)),
                (b"1 x", Some(1)),
                (b"1x", None),
                (b"1,2", None),
                (b"1.5", None),
                (b"1e3", None),
                (b"1\0", None),
                (b"\0", None),
                (b"18446744073709551616", None),
                (b"0000000000000000001", Some(1)),
                (b"00000000000000000001", Some(1)),
                (b"000000000000000000001", None),
                (b" 00000000000000000001", Some(1)),
                (b"00000000000000000001 ", Some(1)),
                (b"00000000000000000001\n5", Some(1)),
                (b"0x0000000000000000001", None),
                (b"-00000000000000000000", None),
            ],
        );
    }

    #[test]
    fn sizes_take_any_number_that_is_not_negative() {
        check(
            &[LimitName::Shmmax, LimitName::Shmall],
            &[
                (b"", Some(7)),
                (b"0x10", Some(16)),
                (b"010", Some(8)),
                (b"-0", None),
                (b"32769", Some(32769)),
                (b"4294967297", Some(4294967297)),
                (b"18446744073709551615", Some(u64::MAX)),
                (b"0xffffffffffffffff", Some(u64::MAX)),
            ],
        );
    }

    #[test]
    fn shmmni_goes_up_to_the_number_of_slots() {
        check(
            &[LimitName::Shmmni],
            &[
                (b"", Some(7)),
                (b"0x10", Some(16)),
                (b"010", Some(8)),
                (b"-0", Some(0)),
                (b"-0000000000000000000", Some(0)),
                (b"32768", Some(32768)),
                (b"32769", None),
                (b"2147483648", None),
                (b"4294967297", None),
                (b"18446744073709551615", None),
            ],
        );
    }

    #[test]
    fn shm_rmid_forced_is_nought_or_one() {
        check(
            &[LimitName::ShmRmidForced],
            &[
                (b"", Some(0)),
                (b"-0", Some(0)),
                (b"0x1", Some(1)),
                (b"2", None),
                (b"010", None),
                (b"32768", None),
                (b"4294967297", None),
            ],
        );
    }

    #[test]
    fn a_write_is_read_up_to_one_byte_less_than_a_page() {
        let padded = |number: &[u8], at: usize| {
            let mut text = vec![b' '; 5000];
            text.splice(at..at + number.len(), number.iter().copied());
            text
        };
        let expected = |value| Ok(format!("{value}\n"));
        assert_eq!(after(LimitName::Shmmni, &padded(b"5", 4094)), expected(5));
        assert!(after(LimitName::Shmmni, &padded(b"5", 4095)).is_err());
        assert_eq!(after(LimitName::Shmmni, &padded(b"56", 4094)), expected(5));
        assert_eq!(
            after(LimitName::Shmmni, &padded(b"123456", 4090)),
            expected(12345)
        );
        assert_eq!(after(LimitName::Shmmni, &padded(b"9", 0)), expected(9));
    }

    #[test]
    fn a_new_namespace_shows_the_kernels_defaults() {
        let shown = LimitName::ALL.map(|name| {
            let mut shown = String::new();
            assert_eq!(
                Limits::KERNEL_DEFAULTS.write_value(name, &mut shown),
                Ok(())
            );
            shown
        });
        assert_eq!(
            shown,
            [
                "18446744073692774399\n",
                "18446744073692774399\n",
                "4096\n",
                "0\n"
            ]
        );
    }
}
