//! The limits of a namespace for message queues, and the text of the files that show and change them.

use core::fmt;

use crate::sysv::ipc::{Number, Ruling, SLOTS, refusal};

/// What a namespace allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsgLimits {
    /// Bytes of a message.
    pub msgmax: u32,
    /// Bytes that a new queue may hold.
    pub msgmnb: u32,
    /// Queues.
    pub msgmni: u32,
}

/// One of the limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MsgLimitName {
    /// Bytes of a message.
    Msgmax,
    /// Bytes that a new queue may hold.
    Msgmnb,
    /// Queues.
    Msgmni,
}

impl MsgLimitName {
    /// All of them.
    pub const ALL: [MsgLimitName; 3] = [
        MsgLimitName::Msgmax,
        MsgLimitName::Msgmnb,
        MsgLimitName::Msgmni,
    ];

    /// [`Self::file_name`] of the limit with this number.
    fn file_name_of(number: u64) -> &'static str {
        let named = MsgLimitName::ALL.get(number as usize);
        named.map_or("", |limit| limit.file_name())
    }

    /// The name of its file in `/proc/sys/kernel`.
    pub const fn file_name(self) -> &'static str {
        match self {
            MsgLimitName::Msgmax => "msgmax",
            MsgLimitName::Msgmnb => "msgmnb",
            MsgLimitName::Msgmni => "msgmni",
        }
    }

    /// The largest number that it takes.
    const fn highest(self) -> u32 {
        match self {
            MsgLimitName::Msgmax | MsgLimitName::Msgmnb => i32::MAX as u32,
            MsgLimitName::Msgmni => SLOTS,
        }
    }
}

impl MsgLimits {
    /// What every new namespace starts with.
    pub const KERNEL_DEFAULTS: MsgLimits = MsgLimits {
        msgmax: 8192,
        msgmnb: 16384,
        msgmni: 32000,
    };

    /// Takes `text`, the bytes of one write to the limit's file, as the kernel would. What a number is, tells
    /// [`Number::parse`]; a write of nothing is accepted and changes nothing.
    pub fn parse_and_set(&mut self, name: MsgLimitName, text: &[u8]) -> Ruling<()> {
        if text.is_empty() {
            return Ok(());
        }
        let Some(number) = Number::parse(text) else {
            // The manual is silent: what is not one number is refused.
            return Err(refusal!(
                Einval,
                [name],
                "what was written to {} is not one number",
                MsgLimitName::file_name_of(name)
            ));
        };
        let value = match (u32::try_from(number.magnitude), number.negative) {
            // All three are signed in the kernel, so that −0 is a number in range.
            (Ok(0), true) => 0,
            (Ok(value), false) if value <= name.highest() => value,
            _ => {
                // The manual is silent: a number out of the limit's range is refused, and the old value stays.
                return Err(refusal!(
                    Einval,
                    [
                        name,
                        negative = number.negative,
                        magnitude = number.magnitude
                    ],
                    "{}{magnitude} is out of the range of {}",
                    if negative != 0 { "-" } else { "" },
                    MsgLimitName::file_name_of(name)
                ));
            }
        };
        *self.value_mut(name) = value;
        Ok(())
    }

    fn value_mut(&mut self, name: MsgLimitName) -> &mut u32 {
        match name {
            MsgLimitName::Msgmax => &mut self.msgmax,
            MsgLimitName::Msgmnb => &mut self.msgmnb,
            MsgLimitName::Msgmni => &mut self.msgmni,
        }
    }

    /// Whether writes can have left them so: each has a range of its own.
    pub fn are_possible(&self) -> bool {
        *self == self.mended()
    }

    /// What no write can have left so is as in a new namespace.
    pub fn mended(mut self) -> MsgLimits {
        for name in MsgLimitName::ALL {
            let value = self.value_mut(name);
            if *value > name.highest() {
                *value = *{ MsgLimits::KERNEL_DEFAULTS }.value_mut(name);
            }
        }
        self
    }

    /// Writes what reading the limit's file shows: the number and a newline.
    pub fn write_value(&self, name: MsgLimitName, out: &mut impl fmt::Write) -> fmt::Result {
        let value = match name {
            MsgLimitName::Msgmax => self.msgmax,
            MsgLimitName::Msgmnb => self.msgmnb,
            MsgLimitName::Msgmni => self.msgmni,
        };
        writeln!(out, "{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::for_tests::{errno, refused};

    const BEFORE: MsgLimits = MsgLimits {
        msgmax: 7,
        msgmnb: 7,
        msgmni: 7,
    };

    /// What the three files show.
    fn shown(limits: &MsgLimits) -> String {
        let mut shown = String::new();
        for name in MsgLimitName::ALL {
            assert_eq!(limits.write_value(name, &mut shown), Ok(()));
        }
        shown
    }

    /// `None`: refused, and nothing changed.
    fn check(name: MsgLimitName, rows: &[(&[u8], Option<u32>)]) {
        for (text, expected) in rows {
            let mut limits = BEFORE;
            let ruling = limits.parse_and_set(name, text);
            let text = text.escape_ascii();
            let mut after = BEFORE;
            match (name, expected) {
                (_, None) => {}
                (MsgLimitName::Msgmax, Some(value)) => after.msgmax = *value,
                (MsgLimitName::Msgmnb, Some(value)) => after.msgmnb = *value,
                (MsgLimitName::Msgmni, Some(value)) => after.msgmni = *value,
            }
            assert_eq!(limits, after, "{name:?} \"{text}\"");
            let refused = expected.is_none().then_some(Errno::Einval);
            assert_eq!(errno(ruling), refused, "{name:?} \"{text}\"");
        }
    }

    #[test]
    fn only_what_no_write_can_have_left_so_is_mended() {
        let of = |msgmax, msgmnb, msgmni| MsgLimits {
            msgmax,
            msgmnb,
            msgmni,
        };
        let highest = of(i32::MAX as u32, i32::MAX as u32, SLOTS);
        for possible in [of(0, 0, 0), highest, MsgLimits::KERNEL_DEFAULTS] {
            assert_eq!(possible.mended(), possible);
            assert!(possible.are_possible());
        }
        assert!(!of(9, 1 << 31, 7).are_possible());
        assert_eq!(of(1 << 31, 7, u32::MAX).mended(), of(8192, 7, 32000));
        assert_eq!(of(9, u32::MAX, SLOTS + 1).mended(), of(9, 16384, 32000));
    }

    #[test]
    fn every_limit_reads_numbers_the_same_way() {
        for name in MsgLimitName::ALL {
            check(
                name,
                &[
                    (b"", Some(7)),
                    (b"\n", None),
                    (b" 1\n", Some(1)),
                    (b"0", Some(0)),
                    (b"-0", Some(0)),
                    (b"0x10", Some(16)),
                    (b"010 5", Some(8)),
                    (b"-1", None),
                    (b"1x", None),
                    (b"x", None),
                    (b"2147483648", None),
                    (b"4294967297", None),
                    (b"18446744073709551615", None),
                ],
            );
        }
    }

    #[test]
    fn sizes_go_up_to_the_largest_signed_number() {
        for name in [MsgLimitName::Msgmax, MsgLimitName::Msgmnb] {
            check(
                name,
                &[(b"32769", Some(32769)), (b"2147483647", Some(2147483647))],
            );
        }
    }

    #[test]
    fn msgmni_goes_up_to_the_number_of_slots() {
        check(
            MsgLimitName::Msgmni,
            &[(b"32768", Some(32768)), (b"32769", None)],
        );
    }

    #[test]
    fn a_new_namespace_shows_the_kernels_defaults() {
        assert_eq!(shown(&MsgLimits::KERNEL_DEFAULTS), "8192\n16384\n32000\n");
    }

    #[test]
    fn a_limit_is_refused_by_its_name() {
        for (limit, text, sentence) in [
            (
                MsgLimitName::Msgmax,
                "x",
                "what was written to msgmax is not one number",
            ),
            (
                MsgLimitName::Msgmnb,
                "-1",
                "-1 is out of the range of msgmnb",
            ),
            (
                MsgLimitName::Msgmni,
                "32769",
                "32769 is out of the range of msgmni",
            ),
        ] {
            let mut limits = MsgLimits::KERNEL_DEFAULTS;
            assert_eq!(
                refused(limits.parse_and_set(limit, text.as_bytes())),
                Some((Errno::Einval, sentence.into()))
            );
        }
    }
}
