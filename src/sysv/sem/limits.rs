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
        if !(0..=SLOTS as i32).contains(&semmni) {
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

    /// Writes what reading the file shows: the four numbers in one line.
    pub fn write_values(&self, out: &mut impl fmt::Write) -> fmt::Result {
        writeln!(
            out,
            "{}\t{}\t{}\t{}",
            self.semmsl, self.semmns, self.semopm, self.semmni
        )
    }
}
