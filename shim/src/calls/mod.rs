//! The calls: `errno`, panics, the caller's pointers, and the order in which a bad one is noticed.
//!
//! What they have in common stands here; `shm.rs`, `sem.rs` and `msg.rs` have the calls themselves.

mod msg;
mod sem;
mod shm;

pub use msg::{msgctl, msgget, msgrcv, msgrcv_by_number, msgsnd, msgsnd_by_number};
#[cfg(all(target_arch = "x86", target_env = "gnu"))]
pub use sem::semtimedop64;
pub use sem::{TimeForm, semctl, semget, semop, semtimedop, semtimedop_by_number};
pub use shm::{shmat, shmctl, shmdt, shmget};

use core::cell::Cell;
use core::fmt;

use libc::c_int;
use shmshim_core::os::usermem::{self, Frame};
use shmshim_core::os::{errno, own_stack, process};
use shmshim_core::registry::{Blocked, Listener, Outcome};
use shmshim_core::sysv::Ruling;

use crate::abi::Plain;
use crate::trace::{self, Answer, Call, Told, Took};
use crate::{events, fail, guard, panic_guard, procfs, report, settings};

/// glibc's shmctl, semctl and msgctl on i386 take this bit in the command and drop it.
const IPC_64: c_int = if cfg!(target_arch = "x86") { 0x100 } else { 0 };

/// What a caller gets for a call that has panicked.
const PANICKED: &str = "the shim failed inside; this is a defect of it";

/// One call on its way: what was asked, and what its answer told the caller.
///
/// A reason can be long. So it is shown where it arose, by reference, and only the errno goes further: the smallest
/// stack that a thread may have is enough for a call.
struct Asked {
    call: Call,
    told: Told,
    /// A frame that the call came through.
    frame: Frame,
    /// When it began, if the trace tells.
    begun: u64,
    /// When it began to sleep, if it does and the trace is on.
    asleep: Cell<u64>,
    /// The caller's `errno`, which stays as it was on success.
    errno_before: c_int,
    /// Whether a trace, a report or the like is asked for.
    is_watched: bool,
    /// Whether the call makes its object, if it succeeds: known where a report is asked for.
    makes: bool,
}

impl Asked {
    /// The call failed with `errno`, and why.
    fn refuse(&self, errno: c_int, why: &dyn fmt::Display) -> c_int {
        if trace::is_on() {
            let answer = Answer::Refused { errno, why };
            trace::line(&self.call, &self.told, &answer, self.took());
        }
        errno
    }

    fn took(&self) -> Took {
        Took::since(self.begun, self.asleep.get())
    }

    /// What the core tells of a call that begins to sleep: a line of the trace, the first time.
    fn falls_asleep(&self, why: &Blocked) {
        if self.asleep.get() == 0 {
            self.asleep.set(process::fine_nanos());
            // Deep in the call, on a stack that may be small.
            own_stack::call(|| trace::asleep(&self.call, &self.told, why));
        }
    }

    /// The core's answer, and what `tell` makes of it for the caller. In a frame of its own for each call: an answer holds a
    /// reason, which is long.
    #[inline(never)]
    fn answer<T>(
        &mut self,
        core: impl FnOnce() -> Outcome<T>,
        tell: impl FnOnce(&mut Asked, &T) -> Result<u64, c_int>,
    ) -> Result<u64, c_int> {
        match core() {
            Ok(value) => tell(self, &value).inspect(|&value| self.has_value(value)),
            Err(error) => Err(self.refuse(error.errno, &error.why)),
        }
    }

    /// The same of a call that may sleep, whose success means 0.
    #[inline(never)]
    fn answer_of_sleeper(
        &self,
        core: impl FnOnce(Listener<'_>) -> Outcome<()>,
    ) -> Result<u64, c_int> {
        let listener = |why: &Blocked| self.falls_asleep(why);
        match core(if trace::is_on() {
            Some(&listener)
        } else {
            None
        }) {
            Ok(()) => {
                self.has_value(0);
                Ok(0)
            }
            Err(error) => Err(self.refuse(error.errno, &error.why)),
        }
    }

    fn has_value(&self, value: u64) {
        if trace::is_on() {
            let answer = Answer::Value(value);
            trace::line(&self.call, &self.told, &answer, self.took());
        }
    }

    /// The core's answer where success means 0.
    fn zero(&mut self, core: impl FnOnce() -> Outcome<()>) -> Result<u64, c_int> {
        self.answer(core, |_, ()| Ok(0))
    }

    /// Whether the user has asked for this call to fail. Then it has, and `errno` says how.
    #[cold]
    #[inline(never)]
    fn is_to_fail(&self) -> bool {
        let wanted = fail::wanted(&self.call);
        if let Some(error) = wanted {
            self.refuse(error, &fail::WHY);
            errno::set(error);
        }
        wanted.is_some()
    }

    /// What else is to be done when the call has been made.
    #[cold]
    #[inline(never)]
    fn has_answered(&self, answer: Result<u64, c_int>) {
        guard::follow(&self.call, answer);
        report::note(&self.call, answer, self.makes);
        events::follow();
    }

    /// The caller's buffer cannot be used.
    fn bad_pointer(&self, addr: u64, bytes: usize) -> c_int {
        self.refuse(
            libc::EFAULT,
            &format_args!("the {bytes} bytes at {addr:#x} cannot all be accessed"),
        )
    }

    /// What a rule decides.
    fn ruling<T>(&self, ruling: Ruling<T>) -> Result<T, c_int> {
        ruling.map_err(|refusal| self.refuse(refusal.errno.raw(), &refusal.reason))
    }

    /// Copies a structure into the caller's buffer.
    fn give(&self, buf: u64, structure: &impl Plain) -> Result<(), c_int> {
        self.give_bytes(buf, structure.bytes())
    }

    /// Copies bytes into the caller's buffer.
    fn give_bytes(&self, buf: u64, bytes: &[u8]) -> Result<(), c_int> {
        if usermem::copy_out_near(self.frame, buf, bytes) {
            Ok(())
        } else {
            Err(self.bad_pointer(buf, bytes.len()))
        }
    }

    /// Fills bytes from the caller's buffer.
    fn take(&self, buf: u64, bytes: &mut [u8]) -> Result<(), c_int> {
        if usermem::copy_in_near(self.frame, buf, bytes) {
            Ok(())
        } else {
            Err(self.bad_pointer(buf, bytes.len()))
        }
    }

    /// A call begins. Made where it stays: it is large.
    #[inline(always)]
    fn new(call: Call, frame: Frame) -> Asked {
        let errno_before = errno::get();
        procfs::pending::apply();
        Asked {
            call,
            told: Told::Nothing,
            frame,
            begun: 0,
            asleep: Cell::new(0),
            errno_before,
            is_watched: settings::is_on(),
            makes: false,
        }
    }

    /// Whether the call is over before it has begun: the user has asked for it to fail, and it has.
    #[inline(always)]
    fn is_over(&mut self) -> bool {
        self.is_watched && self.watch()
    }

    /// What is to be done before a call of which something is asked for. Whether it is to fail.
    #[cold]
    #[inline(never)]
    fn watch(&mut self) -> bool {
        self.begun = trace::begin();
        panic_guard::catch(|| {
            self.makes = report::will_make(&self.call);
            self.is_to_fail()
        }) == Some(true)
    }

    /// A part of the call. A panic answers with `panicked`, an errno that the call may return and that tells the caller no
    /// untruth about its object.
    #[inline]
    fn run<T>(
        &mut self,
        panicked: c_int,
        body: impl FnOnce(&mut Asked) -> Result<T, c_int>,
    ) -> Result<T, c_int> {
        panic_guard::catch(|| body(self)).unwrap_or_else(|| {
            panic_guard::catch(|| self.refuse(panicked, &PANICKED));
            Err(panicked)
        })
    }

    /// The call ends. `errno` stays as it was on success.
    #[inline]
    fn end(&self, answer: Result<u64, c_int>) -> Option<u64> {
        if self.is_watched {
            panic_guard::catch(|| self.has_answered(answer));
        }
        match answer {
            Ok(value) => {
                errno::set(self.errno_before);
                Some(value)
            }
            Err(error) => {
                errno::set(error);
                None
            }
        }
    }
}

/// Serves one call from its beginning to its end.
#[inline]
fn serve(
    call: Call,
    frame: Frame,
    panicked: c_int,
    body: impl FnOnce(&mut Asked) -> Result<u64, c_int>,
) -> Option<u64> {
    let mut asked = Asked::new(call, frame);
    if asked.is_over() {
        return None;
    }
    let answer = asked.run(panicked, body);
    asked.end(answer)
}

/// Whether nothing is asked for of this call (`settings.rs`), and nothing is to be done before it: then what can be answered at once
/// is. Nothing there can panic or change `errno`.
#[inline(always)]
fn is_plain() -> bool {
    settings::is_known_off() && !procfs::pending::any()
}
