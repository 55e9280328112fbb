//! The four calls: `errno`, panics, the caller's pointers, and the order in which a bad one is noticed.

use core::fmt;

use libc::{c_int, c_void, key_t, size_t};
use shmshim_core::os::{errno, usermem};
use shmshim_core::registry::{self, Failure, Outcome, Why};
use shmshim_core::sysv::{self, Command, Refusal};

use crate::abi::{Plain, ShmInfo, ShmidDs, Shminfo};
use crate::trace::{self, Call, Told};
use crate::{border, procfs};

/// Why a call failed: the caller's errno, and the reason for the trace.
pub struct Refused {
    pub errno: c_int,
    pub why: Because,
}

/// The reason.
pub enum Because {
    /// The core's.
    Core(Why),
    /// A rule that needs no segment.
    Rule(sysv::Reason),
    /// The caller's buffer.
    BadPointer { addr: u64, bytes: usize },
    /// Ours to mend.
    Panicked,
}

impl fmt::Display for Because {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Core(why) => why.fmt(out),
            Because::Rule(reason) => reason.fmt(out),
            Because::BadPointer { addr, bytes } => {
                write!(out, "the {bytes} bytes at {addr:#x} cannot all be accessed")
            }
            Because::Panicked => out.write_str("the shim failed inside; this is a defect of it"),
        }
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused {
            errno: failure.errno,
            why: Because::Core(failure.why),
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused {
            errno: refusal.errno.raw(),
            why: Because::Rule(refusal.reason),
        }
    }
}

/// Serves one call: `body` does it, and may note what it told the caller. `errno` stays as it was on success.
/// A panic answers with `panicked`, an errno that the call may return and that tells the caller no untruth about
/// its segment.
#[inline]
fn serve(
    call: Call,
    panicked: c_int,
    body: impl FnOnce(&mut Told) -> Result<u64, Refused>,
) -> Option<u64> {
    let before = errno::get();
    procfs::pending::apply();
    let mut told = Told::Nothing;
    let answer = border::catch(|| body(&mut told)).unwrap_or(Err(Refused {
        errno: panicked,
        why: Because::Panicked,
    }));
    if trace::is_on() {
        border::catch(|| trace::line(&call, &told, &answer));
    }
    match answer {
        Ok(value) => {
            errno::set(before);
            Some(value)
        }
        Err(refused) => {
            errno::set(refused.errno);
            None
        }
    }
}

/// An answer of the core as a number.
fn number<T: Into<i64>>(outcome: Outcome<T>) -> Result<u64, Refused> {
    Ok(outcome?.into() as u64)
}

/// An answer that is 0.
fn zero(outcome: Outcome<()>) -> Result<u64, Refused> {
    outcome?;
    Ok(0)
}

/// shmget(2).
pub extern "C" fn shmget(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    let size = size as u64;
    let call = Call::Shmget { key, size, shmflg };
    let served = serve(call, libc::ENOMEM, |_| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(key as u64);
        number(registry::shmget(key, size, shmflg))
    });
    served.map_or(-1, |id| id as c_int)
}

/// shmat(2).
pub extern "C" fn shmat(shmid: c_int, shmaddr: *const c_void, shmflg: c_int) -> *mut c_void {
    let addr = shmaddr as u64;
    let call = Call::Shmat {
        shmid,
        addr,
        shmflg,
    };
    let served = serve(call, libc::ENOMEM, |_| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(shmid as u64);
        Ok(registry::shmat(shmid, addr, shmflg)?)
    });
    served.map_or(libc::MAP_FAILED, |addr| addr as usize as *mut c_void)
}

/// shmdt(2).
pub extern "C" fn shmdt(shmaddr: *const c_void) -> c_int {
    let addr = shmaddr as u64;
    let served = serve(Call::Shmdt { addr }, libc::EINVAL, |_| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(addr);
        zero(registry::shmdt(addr))
    });
    served.map_or(-1, |_| 0)
}

/// shmctl(2). After a panic `ENOMEM`: programs take `EINVAL` as the news that a segment is gone.
pub extern "C" fn shmctl(shmid: c_int, cmd: c_int, buf: *mut c_void) -> c_int {
    let buf = buf as u64;
    let call = Call::Shmctl { shmid, cmd, buf };
    let served = serve(call, libc::ENOMEM, |told| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(shmid as u64);
        control(shmid, cmd, buf, told)
    });
    served.map_or(-1, |value| value as c_int)
}

/// glibc's shmctl on i386 takes this bit in the command and drops it.
const IPC_64: c_int = if cfg!(target_arch = "x86") { 0x100 } else { 0 };

fn control(shmid: c_int, cmd: c_int, buf: u64, told: &mut Told) -> Result<u64, Refused> {
    // Whether command and id can be right at all comes before everything.
    let command = sysv::parse_shmctl(shmid, cmd & !IPC_64)?;
    match command {
        Command::IpcRmid => zero(registry::remove(shmid)),
        Command::ShmLock => zero(registry::lock(shmid)),
        Command::ShmUnlock => zero(registry::unlock(shmid)),
        Command::IpcSet => {
            // The whole structure is read, before anything is asked of the segment.
            let mut copied = [0; size_of::<ShmidDs>()];
            if !usermem::copy_in(buf, &mut copied) {
                return Err(bad_pointer(buf, copied.len()));
            }
            let new = ShmidDs::new_perm(&copied);
            *told = Told::NewPerm(new);
            zero(registry::set(shmid, new))
        }
        Command::IpcStat | Command::ShmStat | Command::ShmStatAny => {
            let segment = registry::stat(shmid, command)?;
            give(buf, &ShmidDs::of(&segment))?;
            *told = Told::Segment(segment);
            Ok(match command {
                Command::IpcStat => 0,
                _ => segment.id.raw() as u64,
            })
        }
        Command::IpcInfo => {
            let (limits, highest) = registry::limits()?;
            give(buf, &Shminfo::of(&limits))?;
            *told = Told::Limits(limits);
            Ok(highest as u64)
        }
        Command::ShmInfo => {
            let usage = registry::usage()?;
            give(buf, &ShmInfo::of(&usage))?;
            let highest = usage.highest;
            *told = Told::Usage(usage);
            Ok(highest as u64)
        }
    }
}

/// Copies `structure` into the caller's buffer.
fn give(buf: u64, structure: &impl Plain) -> Result<(), Refused> {
    let bytes = structure.bytes();
    if usermem::copy_out(buf, bytes) {
        Ok(())
    } else {
        Err(bad_pointer(buf, bytes.len()))
    }
}

fn bad_pointer(addr: u64, bytes: usize) -> Refused {
    Refused {
        errno: libc::EFAULT,
        why: Because::BadPointer { addr, bytes },
    }
}
