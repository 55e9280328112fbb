//! Every refusal: an errno for the caller, and a sentence for the trace, which stands at the rule that refuses.

use core::fmt;

/// The errno values that the calls return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Errno {
    /// Too many operations, or a message longer than the caller's buffer.
    E2big = libc::E2BIG,
    /// Permission denied: the mode's bits.
    Eacces = libc::EACCES,
    /// The key has an object already.
    Eexist = libc::EEXIST,
    /// Bad address.
    Efault = libc::EFAULT,
    /// No such semaphore in the set.
    Efbig = libc::EFBIG,
    /// Identifier removed.
    Eidrm = libc::EIDRM,
    /// A signal's handler has run.
    Eintr = libc::EINTR,
    /// Invalid argument.
    Einval = libc::EINVAL,
    /// The key has no object.
    Enoent = libc::ENOENT,
    /// No memory, no room.
    Enomem = libc::ENOMEM,
    /// No message that fits what was asked.
    Enomsg = libc::ENOMSG,
    /// A limit of the namespace is reached.
    Enospc = libc::ENOSPC,
    /// Not served at all.
    Enosys = libc::ENOSYS,
    /// Not owner and not privileged.
    Eperm = libc::EPERM,
    /// A value would leave its range.
    Erange = libc::ERANGE,
    /// Try again: the call would sleep, or locked memory is limited.
    Eagain = libc::EAGAIN,
}

impl Errno {
    /// The number.
    pub const fn raw(self) -> i32 {
        self as i32
    }
}

/// What a call is refused with. Made by [`refusal!`].
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Refusal {
    /// For the caller.
    pub errno: Errno,
    /// For the trace.
    pub reason: Reason,
}

/// What a rule decides: a value, or why not.
pub type Ruling<T> = Result<T, Refusal>;

/// Why a call was refused. Displays as one sentence without its final dot.
///
/// It is put together only when it is read: until then it is what writes it, and the numbers that it names.
#[derive(Clone, Copy)]
pub struct Reason {
    write: Sentence,
    numbers: Numbers,
}

/// What a sentence may name.
pub type Numbers = [u64; 4];

/// Writes a sentence with its numbers.
pub type Sentence = fn(&mut fmt::Formatter<'_>, &Numbers) -> fmt::Result;

impl Reason {
    /// What `write` makes of `numbers`.
    pub const fn new(write: Sentence, numbers: Numbers) -> Reason {
        Reason { write, numbers }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.write)(out, &self.numbers)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Reasons are the same when their sentences are.
#[cfg(test)]
impl PartialEq for Reason {
    fn eq(&self, other: &Reason) -> bool {
        self.to_string() == other.to_string()
    }
}

/// A refusal: the errno, four numbers at most, and the sentence that names them, in the form of [`write!`].
///
/// `refusal!(Einval, [id, asked = size], "segment {id} has less than {asked} bytes")`. Signed numbers are kept as they
/// are: `[raw], "no identifier is negative, {} is", raw as i32`.
macro_rules! refusal {
    ($errno:ident, [$($name:ident $(= $value:expr)?),*], $($sentence:tt)+) => {{
        let [first, second, third, fourth, ..] =
            [$(refusal!(@number $name $(= $value)?) as u64,)* 0, 0, 0, 0];
        $crate::sysv::Refusal {
            errno: $crate::sysv::Errno::$errno,
            reason: $crate::sysv::Reason::new(
                |out, numbers| {
                    let [$($name,)* ..] = *numbers;
                    write!(out, $($sentence)+)
                },
                [first, second, third, fourth],
            ),
        }
    }};
    (@number $name:ident = $value:expr) => { $value };
    (@number $name:ident) => { $name };
}
pub(crate) use refusal;
