//! Exit statuses, and the one sentence that stands on standard error when something cannot be done.

use std::fmt;

/// Something was found: a leak with `--fail-on-leak`, a difference, a broken invariant, a problem of `doctor`.
pub const FOUND: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// What was asked for is not there: no such segment, key, namespace or file.
pub const ABSENT: u8 = 3;
/// It is there, and it cannot be done: no right, no room, a refusal of the surroundings.
pub const REFUSED: u8 = 4;
/// `run --fail-on-leak` and the program left segments behind.
pub const LEAK: u8 = 70;
/// `run` itself failed, as `env` and `timeout` say it.
pub const RUN_FAILED: u8 = 125;
/// The program is there and cannot be run, or could not be served.
pub const NOT_SERVED: u8 = 126;
/// There is no such program.
pub const NO_PROGRAM: u8 = 127;

/// What went wrong: one sentence with what to do, and the exit status.
#[derive(Debug)]
pub struct Error {
    /// The exit status.
    pub status: u8,
    /// The sentence, without its final dot.
    pub sentence: String,
}

/// A value, or what to say on standard error.
pub type Outcome<T> = Result<T, Error>;

impl Error {
    /// An error with that status.
    pub fn new(status: u8, sentence: impl Into<String>) -> Error {
        Error {
            status,
            sentence: sentence.into(),
        }
    }

    /// The command line is wrong.
    pub fn usage(sentence: impl Into<String>) -> Error {
        Error::new(USAGE, sentence)
    }

    /// What was asked for is not there.
    pub fn absent(sentence: impl Into<String>) -> Error {
        Error::new(ABSENT, sentence)
    }

    /// It cannot be done.
    pub fn refused(sentence: impl Into<String>) -> Error {
        Error::new(REFUSED, sentence)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}
