//! The four calls: `errno`, panics, the caller's pointers, and the order in which a bad one is noticed.

use core::fmt;

use libc::{c_int, c_void, key_t, size_t};
use shmshim_core::os::errno;
use shmshim_core::os::usermem::{self, Frame};
use shmshim_core::registry::{self, Outcome};
use shmshim_core::sysv::{self, Command, Errno, flags};

use crate::abi::{Plain, ShmInfo, ShmidDs, Shminfo};
use crate::trace::{self, Answer, Call, Told};
use crate::{fail, guard, panic_guard, procfs, report, settings};

/// One call on its way: what was asked, and what its answer told the caller.
///
/// A reason can be long. So it is shown where it arose, by reference, and only the errno goes further: the smallest
/// stack that a thread may have is enough for a call.
struct Asked {
    call: Call,
    told: Told,
    /// A frame that the call came through.
    frame: Frame,
}

impl Asked {
    /// The call failed with `errno`, and why.
    fn refuse(&self, errno: c_int, why: &dyn fmt::Display) -> c_int {
        if trace::is_on() {
            trace::line(&self.call, &self.told, &Answer::Refused { errno, why });
        }
        errno
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
            Ok(value) => {
                let value = tell(self, &value)?;
                if trace::is_on() {
                    trace::line(&self.call, &self.told, &Answer::Value(value));
                }
                Ok(value)
            }
            Err(error) => Err(self.refuse(error.errno, &error.why)),
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
        report::note(&self.call, answer);
    }

    /// The caller's buffer cannot be used.
    fn bad_pointer(&self, addr: u64, bytes: usize) -> c_int {
        self.refuse(
            libc::EFAULT,
            &format_args!("the {bytes} bytes at {addr:#x} cannot all be accessed"),
        )
    }

    /// Copies a structure into the caller's buffer.
    fn give(&self, buf: u64, structure: &impl Plain) -> Result<(), c_int> {
        let bytes = structure.bytes();
        if usermem::copy_out_near(self.frame, buf, bytes) {
            Ok(())
        } else {
            Err(self.bad_pointer(buf, bytes.len()))
        }
    }
}

/// Serves one call. `errno` stays as it was on success. A panic answers with `panicked`, an errno that the call may
/// return and that tells the caller no untruth about its segment.
#[inline]
fn serve(
    call: Call,
    frame: Frame,
    panicked: c_int,
    body: impl FnOnce(&mut Asked) -> Result<u64, c_int>,
) -> Option<u64> {
    let before = errno::get();
    procfs::pending::apply();
    let mut asked = Asked {
        call,
        told: Told::Nothing,
        frame,
    };
    let is_watched = settings::is_on();
    if is_watched && panic_guard::catch(|| asked.is_to_fail()) == Some(true) {
        return None;
    }
    let answer = panic_guard::catch(|| body(&mut asked)).unwrap_or_else(|| {
        let why = "the shim failed inside; this is a defect of it";
        panic_guard::catch(|| asked.refuse(panicked, &why));
        Err(panicked)
    });
    if is_watched {
        panic_guard::catch(|| asked.has_answered(answer));
    }
    match answer {
        Ok(value) => {
            errno::set(before);
            Some(value)
        }
        Err(error) => {
            errno::set(error);
            None
        }
    }
}

/// Whether nothing is asked for of this call (`settings.rs`), and nothing is to be done before it: then what can be answered at once
/// is. Nothing there can panic or change `errno`.
#[inline(always)]
fn is_plain() -> bool {
    settings::is_known_off() && !procfs::pending::any()
}

/// shmget(2).
#[inline(always)]
pub fn shmget(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    // The rest is called last, so that a lookup needs neither a frame nor saved registers.
    if is_plain() {
        match registry::shmget_at_first_place(key, size as u64, shmflg) {
            Some(Ok(id)) => return id,
            Some(Err(refused)) => return refused_at_once(refused),
            None => {}
        }
    }
    shmget_further_on(key, size, shmflg)
}

#[inline(never)]
extern "C" fn shmget_further_on(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    if is_plain() {
        match registry::shmget_at_once(key, size as u64, shmflg) {
            Some(Ok(id)) => return id,
            Some(Err(refused)) => return refused_at_once(refused),
            None => {}
        }
    }
    shmget_in_full(key, size, shmflg)
}

#[inline(always)]
fn refused_at_once(refused: Errno) -> c_int {
    errno::set(refused.raw());
    -1
}

#[inline(never)]
extern "C" fn shmget_in_full(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    let size = size as u64;
    let call = Call::Shmget { key, size, shmflg };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(key as u64);
        asked.answer(
            || registry::shmget(key, size, shmflg),
            |_, id| Ok(*id as u64),
        )
    });
    served.map_or(-1, |id| id as c_int)
}

/// shmat(2).
#[inline(never)]
pub extern "C" fn shmat(shmid: c_int, shmaddr: *const c_void, shmflg: c_int) -> *mut c_void {
    let addr = shmaddr as u64;
    let call = Call::Shmat {
        shmid,
        addr,
        shmflg,
    };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(shmid as u64);
        asked.answer(|| registry::shmat(shmid, addr, shmflg), |_, addr| Ok(*addr))
    });
    served.map_or(libc::MAP_FAILED, |addr| addr as usize as *mut c_void)
}

/// shmdt(2).
#[inline(never)]
pub extern "C" fn shmdt(shmaddr: *const c_void) -> c_int {
    let addr = shmaddr as u64;
    let served = serve(Call::Shmdt { addr }, Frame::of(&0), libc::EINVAL, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(addr);
        asked.zero(|| registry::shmdt(addr))
    });
    served.map_or(-1, |_| 0)
}

/// shmctl(2).
#[inline]
pub fn shmctl(shmid: c_int, cmd: c_int, buf: *mut c_void) -> c_int {
    let local = 0;
    let frame = Frame::of(&local);
    if is_plain() && matches!(cmd & !IPC_64, flags::IPC_STAT | flags::SHM_STAT) {
        let answer = stat_at_once(shmid, cmd & !IPC_64, buf as u64, frame);
        if answer >= 0 {
            return answer;
        }
    }
    shmctl_in_full(shmid, cmd, buf, frame)
}

/// IPC_STAT or SHM_STAT, if it can be answered at once: the answer, else -1.
#[inline(never)]
extern "C" fn stat_at_once(shmid: c_int, cmd: c_int, buf: u64, frame: Frame) -> c_int {
    let is_index = cmd == flags::SHM_STAT;
    let command = if is_index {
        Command::ShmStat
    } else {
        Command::IpcStat
    };
    match registry::stat_at_once(shmid, command) {
        // A bad buffer is refused by the full function, which says why.
        Some(segment) if usermem::copy_out_near(frame, buf, ShmidDs::of(&segment).bytes()) => {
            if is_index {
                segment.id.raw()
            } else {
                0
            }
        }
        _ => -1,
    }
}

/// After a panic `ENOMEM`: programs take `EINVAL` as the news that a segment is gone.
#[inline(never)]
extern "C" fn shmctl_in_full(shmid: c_int, cmd: c_int, buf: *mut c_void, frame: Frame) -> c_int {
    let buf = buf as u64;
    let call = Call::Shmctl { shmid, cmd, buf };
    let served = serve(call, frame, libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(shmid as u64);
        control(shmid, cmd, buf, asked)
    });
    served.map_or(-1, |value| value as c_int)
}

/// glibc's shmctl on i386 takes this bit in the command and drops it.
const IPC_64: c_int = if cfg!(target_arch = "x86") { 0x100 } else { 0 };

fn control(shmid: c_int, cmd: c_int, buf: u64, asked: &mut Asked) -> Result<u64, c_int> {
    // Whether command and id can be right at all comes before everything.
    let command = sysv::parse_shmctl(shmid, cmd & !IPC_64)
        .map_err(|refusal| asked.refuse(refusal.errno.raw(), &refusal.reason))?;
    match command {
        Command::IpcRmid => asked.zero(|| registry::remove(shmid)),
        Command::ShmLock => asked.zero(|| registry::lock(shmid)),
        Command::ShmUnlock => asked.zero(|| registry::unlock(shmid)),
        Command::IpcSet => {
            // The whole structure is read, before anything is asked of the segment.
            let mut copied = [0; size_of::<ShmidDs>()];
            if !usermem::copy_in(buf, &mut copied) {
                return Err(asked.bad_pointer(buf, copied.len()));
            }
            let new = ShmidDs::new_perm(&copied);
            asked.told = Told::NewPerm(new);
            asked.zero(|| registry::set(shmid, new))
        }
        Command::IpcStat | Command::ShmStat | Command::ShmStatAny => {
            let is_index = command != Command::IpcStat;
            asked.answer(
                || registry::stat(shmid, command),
                |asked, segment| {
                    asked.give(buf, &ShmidDs::of(segment))?;
                    asked.told = Told::Segment(*segment);
                    Ok(if is_index { segment.id.raw() as u64 } else { 0 })
                },
            )
        }
        Command::IpcInfo => asked.answer(registry::limits, |asked, (limits, highest)| {
            asked.give(buf, &Shminfo::of(limits))?;
            asked.told = Told::Limits(*limits);
            Ok(*highest as u64)
        }),
        Command::ShmInfo => asked.answer(registry::usage, |asked, usage| {
            asked.give(buf, &ShmInfo::of(usage))?;
            asked.told = Told::Usage(*usage);
            Ok(usage.highest as u64)
        }),
    }
}
