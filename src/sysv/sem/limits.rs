//! The limits of a namespace for semaphores, and the text of the file that shows and changes them.

use core::fmt;

use crate::sysv::ipc::limit_text::{as_read, skip_spaces};
use crate::sysv::ipc::{Number, Ruling, SLOTS, refusal};

/// The name of the file in `/proc/sys/kernel`.
pub const SEM_LIMITS_FILE: &str = "sem";

/// What a namespace allows. All are signed, as the kernel's: a negative one means what follows from the comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SemLimits {
    /// SEMMSL: semaphores in a set.
    pub semmsl: i32,
    /// SEMMNS: semaphores in all sets.
    pub semmns: i32,
    /// SEMOPM: operations in a call of semop.
    pub semopm: i32,
    /// SEMMNI: sets.
    pub semmni: i32,
}

impl SemLimits {
    /// What every new namespace starts with.
    pub const KERNEL_DEFAULTS: SemLimits = SemLimits {
        semmsl: 32000,
        semmns: 1_024_000_000,
        semopm: 500,
        semmni: 32000,
    };

    /// Takes `text`, the bytes of one write to the file, as the kernel would.
    ///
    /// Up to four numbers, apart from each other as in the files of the other limits; what stands behind them is not read.
    /// Fewer set the first ones. **A refused write has set those that stand before what it is refused for**, semmni never.
    pub fn parse_and_set(&mut self, text: &[u8]) -> Ruling<()> {
        if text.is_empty() {
            return Ok(());
        }
        let semmni_before = self.semmni;
        let mut rest = as_read(text);
        let limits = [
            &mut self.semmsl,
            &mut self.semmns,
            &mut self.semopm,
            &mut self.semmni,
        ];
        for (nth, limit) in limits.into_iter().enumerate() {
            rest = skip_spaces(rest);
            // Nothing but white space is not even a first number.
            if rest.is_empty() && nth != 0 {
                break;
            }
            let Some((number, behind)) = Number::parse_next(rest) else {
                // The manual is silent: what is no number is refused.
                return Err(refusal!(
                    Einval,
                    [place = nth + 1],
                    "what was written to {SEM_LIMITS_FILE} is not one number at place {place}"
                ));
            };
            let Some(value) = number.as_int() else {
                // The manual is silent: a number that is no int is refused.
                return Err(refusal!(
                    Einval,
                    [
                        negative = number.negative,
                        magnitude = number.magnitude,
                        place = nth + 1
                    ],
                    "{}{magnitude} at place {place} is out of the range of {SEM_LIMITS_FILE}",
                    if negative != 0 { "-" } else { "" }
                ));
            };
            *limit = value;
            rest = behind;
        }
        let semmni = self.semmni;
        if !self.are_possible() {
            self.semmni = semmni_before;
            // The manual is silent: semmni alone has a range of its own, and an errno.
            return Err(refusal!(
                Erange,
                [semmni],
                "{} is out of the range of semmni, from 0 to {SLOTS}",
                semmni as i32
            ));
        }
        Ok(())
    }

    /// Whether a write can have left them so: semmni alone has a range of its own.
    pub fn are_possible(&self) -> bool {
        (0..=SLOTS as i32).contains(&self.semmni)
    }

    /// What no write can have left so is as in a new namespace.
    pub fn mended(self) -> SemLimits {
        match self.are_possible() {
            true => self,
            false => SemLimits {
                semmni: SemLimits::KERNEL_DEFAULTS.semmni,
                ..self
            },
        }
    }

    /// Writes what reading the file shows: the four numbers in one line.
    pub fn write_values(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(
            out,
            "{}\t{}\t{}\t{}",
            self.semmsl, self.semmns, self.semopm, self.semmni
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno::{self, Einval, Erange};
    use crate::sysv::for_tests::{errno, refused};

    /// What the file shows after `text` was written over four times 7, and the errno.
    fn after(text: &[u8]) -> (Option<Errno>, String) {
        let mut limits = SemLimits {
            semmsl: 7,
            semmns: 7,
            semopm: 7,
            semmni: 7,
        };
        let ruling = limits.parse_and_set(text);
        let mut shown = String::new();
        assert_eq!(limits.write_values(&mut shown), Ok(()));
        (errno(ruling), shown)
    }

    #[test]
    fn a_write_sets_what_it_sets_on_linux() {
        // Each row was written to the file of Linux 6.18.
        let rows: &[(&[u8], Option<Errno>, &str)] = &[
            (b"", None, "7\t7\t7\t7\n"),
            (b"\n", Some(Einval), "7\t7\t7\t7\n"),
            (b" ", Some(Einval), "7\t7\t7\t7\n"),
            (b"1", None, "1\t7\t7\t7\n"),
            (b"1\n", None, "1\t7\t7\t7\n"),
            (b"1 2", None, "1\t2\t7\t7\n"),
            (b"1\t2\n3", None, "1\t2\t3\t7\n"),
            (b"1 2 3 ", None, "1\t2\t3\t7\n"),
            (b"1 2 3 \n", None, "1\t2\t3\t7\n"),
            (b"1 2 3 4", None, "1\t2\t3\t4\n"),
            (b"1 2 3 4 5", None, "1\t2\t3\t4\n"),
            (b"1 2 3 4 x", None, "1\t2\t3\t4\n"),
            (b"1 2 3 4x", Some(Einval), "1\t2\t3\t7\n"),
            (b"1 x", Some(Einval), "1\t7\t7\t7\n"),
            (b"x", Some(Einval), "7\t7\t7\t7\n"),
            (b"1 2 3 32768", None, "1\t2\t3\t32768\n"),
            (b"1 2 3 32769", Some(Erange), "1\t2\t3\t7\n"),
            (b"1 2 3 -1", Some(Erange), "1\t2\t3\t7\n"),
            (b"5 6 7 40000 9", Some(Erange), "5\t6\t7\t7\n"),
            (b"5 6 7 99999999999999999999", Some(Einval), "5\t6\t7\t7\n"),
            (b"-1 -2 -3 0", None, "-1\t-2\t-3\t0\n"),
            (
                b"2147483647 2147483648",
                Some(Einval),
                "2147483647\t7\t7\t7\n",
            ),
            (
                b"-2147483648 -2147483649",
                Some(Einval),
                "-2147483648\t7\t7\t7\n",
            ),
            (b"0x10 010 -0 0x5", None, "16\t8\t0\t5\n"),
            (b"1,2", Some(Einval), "7\t7\t7\t7\n"),
            (b"1\0", Some(Einval), "7\t7\t7\t7\n"),
            (b"1 2\0", Some(Einval), "1\t7\t7\t7\n"),
            (b"1\x0b2", Some(Einval), "7\t7\t7\t7\n"),
            (b"1 \x0b2", None, "1\t2\t7\t7\n"),
            (b"1 \xa02", None, "1\t2\t7\t7\n"),
        ];
        for (text, errno, shown) in rows {
            let written = text.escape_ascii();
            assert_eq!(after(text), (*errno, (*shown).into()), "\"{written}\"");
        }
    }

    #[test]
    fn a_write_is_read_up_to_one_byte_less_than_a_page() {
        let mut text = b"5 6 7 ".to_vec();
        text.resize(4091, b' ');
        text.extend(b"123456");
        assert_eq!(after(&text), (None, "5\t6\t7\t1234\n".into()));
    }

    #[test]
    fn a_new_namespace_shows_the_kernels_defaults() {
        let mut shown = String::new();
        let written = SemLimits::KERNEL_DEFAULTS.write_values(&mut shown);
        assert_eq!(
            (written, shown.as_str()),
            (Ok(()), "32000\t1024000000\t500\t32000\n")
        );
    }

    #[test]
    fn only_what_no_write_can_have_left_so_is_mended() {
        let defaults = SemLimits::KERNEL_DEFAULTS;
        let with = |semmni| SemLimits {
            semmsl: i32::MIN,
            semopm: -1,
            semmni,
            ..defaults
        };
        for semmni in [0, SLOTS as i32] {
            assert_eq!(with(semmni).mended(), with(semmni));
        }
        for semmni in [-1, SLOTS as i32 + 1, i32::MAX] {
            assert_eq!(with(semmni).mended(), with(defaults.semmni));
        }
    }

    #[test]
    fn a_refusal_names_the_place() {
        let said = |text: &[u8]| {
            let mut limits = SemLimits::KERNEL_DEFAULTS;
            refused(limits.parse_and_set(text)).map(|(_, sentence)| sentence)
        };
        for (text, sentence) in [
            (
                "1 x",
                "what was written to sem is not one number at place 2",
            ),
            (
                "-2147483649",
                "-2147483649 at place 1 is out of the range of sem",
            ),
            (
                "1 1 1 -5",
                "-5 is out of the range of semmni, from 0 to 32768",
            ),
        ] {
            assert_eq!(said(text.as_bytes()).as_deref(), Some(sentence));
        }
    }
}
